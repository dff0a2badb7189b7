"""The command line on a server's record: shown, changed, watched in observe mode, and what doctor says of it."""

from pathlib import Path

import pytest

from tests.cli.program import Run, write
from tests.cli.steps import decide, ok, working

RECORD = """kind: Server
name: http
url: URL
timeout: PT20S
concurrency: 8
"""


@pytest.mark.claim("observe:visible")
def test_observe_mode_shows_wherever_a_server_does_and_reports_what_it_let_through(
    run: Run, home: Path, tmp_path: Path
) -> None:
    session, env = working(run, tmp_path)
    action = 'action == Remit::Action::"files/read"'
    policy = (
        f'@id("no-b") forbid (principal, {action}, resource) when {{ context.args has id && context.args.id == "b" }};'
    )
    policies = tmp_path / "policies"
    policies.mkdir()
    write(policies / "b.cedar", policy)
    assert run("policy", "apply", str(policies)).code == 0
    assert decide(run, session, env, "c-1", '{"id": "b"}').code == 1
    assert run("server", "observe", "files").code == 2
    assert run("server", "observe", "files", "--for", "P31D").code == 2
    made = ok(run("server", "observe", "files", "--for", "P7D", "--json"), "Server")
    assert made["observe"]["until"]
    allowed = ok(decide(run, session, env, "c-2", '{"id": "b"}'), "Decision")
    assert [one["code"] for one in allowed["reasons"]] == ["observe.would_deny", "policy.denied"]
    for command in (("server", "list"), ("server", "show", "files")):
        assert "ON until" in run(*command).stdout
    assert ok(run("status", "--json"), "Status")["counts"]["observing"] == 1
    doctor = run("doctor", "--json")
    assert doctor.code == 1
    assert "observe:files" in [one["id"] for one in doctor.json()["checks"] if not one["ok"]]
    [line] = ok(run("server", "observed", "files", "--json"), "Observed")["items"]
    assert (line["tool"], line["code"], line["rule"], line["calls"]) == ("files/read", "policy.denied", "no-b", 1)
    assert "no-b" in run("server", "observed", "files").stdout
    ok(run("server", "observe", "files", "--off", "--json"), "Server")
    assert decide(run, session, env, "c-3", '{"id": "b"}').code == 1
    assert ok(run("status", "--json"), "Status")["counts"]["observing"] == 0
    assert "observe:files" not in run("doctor", "--json").stdout


@pytest.mark.claim("upstream:tls-checked")
def test_plain_http_to_another_machine_is_refused_unless_the_record_says_so_and_doctor_tells(
    run: Run, home: Path, tmp_path: Path
) -> None:
    away = "http://crm.example.test/mcp"
    refused = run("server", "add", "http", "--url", away)
    assert refused.code == 2
    assert "insecure: true" in refused.stderr
    ok(run("server", "add", "http", "--url", away, "--insecure", "--json"), "Server")
    assert "insecure:http" in run("doctor", "--json").stdout
    path = tmp_path / "http.yaml"
    write(path, RECORD.replace("URL", away))
    assert run("server", "change", "-f", str(path)).code == 2
    write(path, RECORD.replace("URL", "https://crm.example.test/mcp"))
    changed = ok(run("server", "change", "-f", str(path), "--json"), "Server")
    assert (changed["timeout"], changed["concurrency"], changed.get("insecure")) == ("PT20S", 8, None)
    assert "insecure:http" not in run("doctor", "--json").stdout
