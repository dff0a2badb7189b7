"""The whole of the command line on one home: from a server's first sync to a decision, an approval and a proof."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from remit.guards.documents import check_answer
from tests.cli.hostile_server import DESCRIPTION
from tests.cli.program import PROGRAM, Run, process, served, write
from tests.cli.steps import AGENT, add_server, decide, ok, reviewed, working


@pytest.mark.usefixtures("home")
def test_from_a_server_to_a_proof(run: Run, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    allowed = decide(run, session, env, "c1")
    decision = ok(allowed, "Decision")
    assert decision["decision"] == "allow"
    ok(run("session", "show", session, "--json"), "Session")
    ok(run("session", "token", session, "--json", env=env), "Token")
    ok(run("status", "--json"), "Status")
    event = ok(run("audit", "show", str(decision["intent"]), "--json"), "Event")
    assert event["call"] == "c1"
    for noun in ("person", "server", "tool", "agent", "grant", "key", "approval"):
        page = ok(run(noun, "list", "--json"), "Page")
        assert page["next"] is None
    verified = ok(run("audit", "verify", "--json"), "VerifyAnswer")
    assert verified["ok"]
    proof = run("audit", "prove", str(decision["intent"]))
    assert "tlog-proof" in proof.stdout
    ok(run("agent", "kill", "reader", "--reason", "done", "--json"), "Killed")
    refused = decide(run, session, env, "c2")
    assert refused.code in (1, 4)


@pytest.mark.usefixtures("home")
def test_an_unlisted_argument_is_denied_with_exit_one_and_a_reason(run: Run, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    answer = decide(run, session, env, "c1", '{"id": "a", "more": 1}')
    assert answer.code == 1
    check_answer("Decision", answer.json())
    assert answer.json()["reasons"][0]["code"] == "arguments.shape"
    for text in ("[]", "{", '{"a":1,"a":2}', '{"a":NaN}'):
        wrong = decide(run, session, env, "c3", text)
        assert wrong.code == 2
        assert wrong.stdout == ""


@pytest.mark.usefixtures("home")
def test_an_ask_is_answered_by_the_person_once(run: Run, tmp_path: Path) -> None:
    session, env = working(run, tmp_path, "destroy")
    asked = decide(run, session, env, "c1")
    assert asked.code == 1
    assert asked.json()["decision"] == "ask"
    approval = asked.json()["approval"]["approval"]
    assert f"remit approval approve {approval}" in asked.stderr
    ok(run("approval", "show", approval, "--json"), "Approval")
    assert run("approval", "approve", approval, "--scope", "session").code == 5
    assert run("approval", "approve", approval, "--as", "grace@example.test").code == 4
    assert run("approval", "approve", approval, "--as", "../keys/person").code == 4
    answered = ok(run("approval", "approve", approval, "--json"), "Approval")
    assert answered["state"] == "approved"
    assert run("approval", "deny", approval).code == 5
    assert decide(run, session, env, "c2").code == 0
    assert decide(run, session, env, "c3").code == 1  # used: the next call is another question


@pytest.mark.claim("cli:no-credential-stands-in-for-another")
@pytest.mark.usefixtures("home")
def test_a_person_key_never_stands_in_for_a_host_key_or_a_session_token(run: Run, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    started = run("session", "start", "--agent", "reader")
    assert started.code == 4
    assert "remit key create" in started.stderr
    decided = decide(run, session, {}, "c1")
    assert decided.code == 4
    assert "REMIT_SESSION_TOKEN" in decided.stderr
    assert decided.stdout == ""
    swapped = {"REMIT_HOST_KEY": env["REMIT_SESSION_TOKEN"], "REMIT_SESSION_TOKEN": env["REMIT_HOST_KEY"]}
    assert run("session", "start", "--agent", "reader", env=swapped).code == 4
    assert decide(run, session, swapped, "c1").code == 4
    assert decide(run, session, env, "c1").code == 0  # the control: the right one works


@pytest.mark.claim("cli:text-cannot-act")
@pytest.mark.usefixtures("home")
def test_a_hostile_description_is_shown_and_not_executed(run: Run) -> None:
    add_server(run)
    run("server", "sync", "files")
    for command in (("tool", "show", "files/read"), ("tool", "diff", "files/read"), ("tool", "list")):
        answer = run(*command)
        assert answer.code == 0, answer.stderr
        for text in (answer.stdout, answer.stderr):
            assert all(char.isprintable() or char == "\n" for char in text)
    shown = run("tool", "show", "files/read")
    assert "⟨U+202E⟩" in shown.stdout or "\\u202e" in shown.stdout
    assert "would not see" in shown.stderr
    found = ok(run("tool", "show", "files/read", "--json"), "Tool")
    assert found["definition"]["description"] == DESCRIPTION  # the control: the data is whole, only its form is inert


@pytest.mark.usefixtures("home")
def test_a_stale_fingerprint_is_a_conflict(run: Run, tmp_path: Path) -> None:
    add_server(run)
    fingerprint = reviewed(run, tmp_path)
    stale = "sha256:" + "0" * 64
    assert run("tool", "approve", "files/read", "--fingerprint", stale).code == 5
    assert run("tool", "approve", "files/read", "--fingerprint", fingerprint, "--json").code == 0
    assert run("tool", "approve", "files/none", "--fingerprint", stale).code == 3


@pytest.mark.usefixtures("home")
def test_exported_reviews_apply_again(run: Run, tmp_path: Path) -> None:
    add_server(run)
    reviewed(run, tmp_path)
    out = tmp_path / "out"
    page = ok(run("tool", "review", "export", str(out), "--json"))
    assert [item["tool"] for item in page["items"]] == ["files/read"]
    ok(run("tool", "review", "apply", page["items"][0]["file"], "--json"), "ToolReview")


@pytest.mark.usefixtures("home")
def test_a_refused_document_names_file_line_and_member_and_what_stayed(run: Run, tmp_path: Path) -> None:
    second = AGENT.replace("reader", "writer").replace("ada@", "nobody@")
    path = write(tmp_path / "two.yaml", AGENT + "---\n" + second)
    answer = run("agent", "create", "-f", path)
    assert answer.code == 2
    assert f"{path}, line 10, /owner" in answer.stderr
    assert "1 of 2" in answer.stderr
    assert run("agent", "create", "-f", write(tmp_path / "one.yaml", AGENT)).code == 5  # the name is taken
    assert run("agent", "activate", "reader").code == 5  # no grant yet
    assert run("agent", "activate", "nobody").code == 3


@pytest.mark.usefixtures("home")
def test_a_secret_comes_from_stdin_and_is_shown_nowhere(run: Run) -> None:
    answer = run(
        *("server", "add", "http", "--url", "http://127.0.0.1:9/mcp", "--secret", "header:Authorization", "--json"),
        stdin="Bearer s3cr3t-value\n",
    )
    assert ok(answer, "Server")["secrets"] == ["header:Authorization"]
    assert "s3cr3t" not in answer.stdout + answer.stderr
    assert run("server", "secret", "http", "header:X-Key", stdin="").code == 2
    assert run("server", "secret", "http", "cookie:x", stdin="v").code == 2
    assert run("server", "sync", "http").code == 6
    ok(run("server", "rm", "http", "--json"), "Server")


def test_a_stdio_program_is_resolved_at_once_or_refused(run: Run, home: Path, tmp_path: Path) -> None:
    absent = run("server", "add", "x", "--stdio", "--", "no-such-program")
    assert absent.code == 2
    assert "no-such-program" in absent.stderr
    made = ok(run("server", "add", "x", "--stdio", "--json", "--", "sh", "-c", "exit"), "Server")
    assert Path(made["stdio"]["command"]).is_absolute()
    assert made["stdio"]["args"] == ["-c", "exit"]
    for wrong in (("--url", "http://x/", "--stdio"), (), ("--caller", "--", "sh")):
        assert run("server", "add", "y", *wrong).code == 2


@pytest.mark.usefixtures("home")
def test_policies_are_checked_whole_and_a_bad_set_changes_nothing(run: Run, home: Path, tmp_path: Path) -> None:
    before = ok(run("policy", "show", "--json"), "PolicyReport")
    ok(run("policy", "check", str(home / "policies"), "--json"), "PolicyReport")
    bad = tmp_path / "bad"
    bad.mkdir()
    write(bad / "x.cedar", '@id("x")\npermit(principal, action, resource) when { nonsense };')
    answer = run("policy", "check", str(bad), "--json")
    assert answer.code == 1
    check_answer("PolicyReport", answer.json())
    assert answer.json()["errors"][0]["file"] == "x.cedar"
    assert run("policy", "apply", str(bad)).code == 2
    assert ok(run("policy", "show", "--json"))["policy_version"] == before["policy_version"]
    assert run("policy", "check", str(tmp_path / "none")).code == 3
    (tmp_path / "empty").mkdir()
    assert run("policy", "apply", str(tmp_path / "empty")).code == 2
    ok(run("policy", "apply", str(home / "policies"), "--json"), "PolicyReport")
    ok(run("policy", "rollback", "1", "--json"), "PolicyReport")


@pytest.mark.claim("log:tamper-evident")
@pytest.mark.usefixtures("home")
def test_a_changed_export_does_not_verify(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert run("audit", "export", "--output", str(path)).code == 0
    assert run("audit", "export", "--output", str(path)).code == 2  # never over a file
    ok(run("audit", "verify", str(path), "--json"), "VerifyAnswer")
    data = bytearray(path.read_bytes())
    spot = data.index(b'"leaf"') + 12
    data[spot] ^= 1
    path.write_bytes(data)
    answer = run("audit", "verify", str(path), "--json")
    assert answer.code == 1
    check_answer("VerifyAnswer", answer.json())
    assert answer.json()["problems"]
    assert run("audit", "verify", str(tmp_path / "none")).code == 3


@pytest.mark.claim("log:tamper-evident")
def test_an_export_of_another_log_does_not_verify_under_this_homes_key(run: Run, home: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    assert run("init", "--home", other).code == 0
    path = tmp_path / "other.jsonl"
    assert run("audit", "export", "--home", other, "--output", str(path)).code == 0
    assert run("audit", "verify", "--home", other, str(path)).code == 0  # the control
    assert run("audit", "verify", str(path)).code == 1


@pytest.mark.usefixtures("home")
def test_a_stream_is_one_event_a_line(run: Run) -> None:
    answer = run("audit", "tail", "--lines", "3", "--json")
    events = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [event["i"] for event in events] == list(range(events[0]["i"], events[0]["i"] + 3))
    for event in events:
        check_answer("Event", event)
    only = run("audit", "tail", "--kind", "genesis", "--json")
    assert [json.loads(line)["k"] for line in only.stdout.splitlines()] == [1]
    assert run("audit", "tail", "--kind", "nonsense").code == 2
    assert run("audit", "show", "99999").code == 3
    assert ok(run("audit", "unknown", "--json"), "Page")["items"] == []
    assert run("audit", "unknown", "settle", "c1", "done", "--because", "seen").code == 3


def test_a_quiet_answer_is_only_the_answer(run: Run, home: Path) -> None:
    assert run("agent", "list", "--quiet").stderr == ""
    assert run("--quiet", "--json", "agent", "list").stderr == ""
    assert run("agent", "list").stderr != ""


def test_a_person_is_added_suspended_and_reinstated(run: Run, home: Path, tmp_path: Path) -> None:
    text = "kind: Person\nemail: grace@example.test\nname: Grace\nroles: [approver]\n"
    made = ok(run("person", "add", "-f", write(tmp_path / "grace.yaml", text), "--json"), "Person")
    assert ok(run("person", "suspend", "grace@example.test", "--json"), "Person")["state"] == "suspended"
    assert ok(run("person", "reinstate", made["id"], "--json"), "Person")["state"] == "active"
    assert run("person", "suspend", "ada@example.test").code == 5  # the last administrator


def test_a_live_server_and_the_command_line_write_one_log(home: Path) -> None:
    with served(home) as (facts, child):
        assert set(facts) == {"url", "mcp", "pid", "home"}
        assert facts["pid"] == child.pid
        found = process("--home", str(home), "status")
        assert found.returncode == 0, found.stderr
        assert facts["url"] in found.stdout
        assert process("--home", str(home), "audit", "verify", "--quiet").returncode == 0
    assert child.returncode == 0
    assert not (home / "run" / "server.json").exists()
    assert "not running" in process("--home", str(home), "status").stdout


def test_an_interrupted_server_ends_in_good_order(home: Path) -> None:
    with served(home, signal.SIGINT) as (facts, child):
        assert facts["home"] == str(home)
    assert child.returncode == 0
    assert not (home / "run" / "server.json").exists()


def test_a_note_left_by_a_dead_server_counts_for_nothing(run: Run, home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        url = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        for pid in (dead.pid, os.getpid(), 0, -1, 2**40, "1", True):
            note = {"url": url, "mcp": "x", "pid": pid, "home": str(home)}
            write(home / "run" / "server.json", json.dumps(note))
            assert run("status").code == 0
        with pytest.raises(BlockingIOError):  # nobody knocked, so nobody was shown a key
            stranger.accept()
    write(home / "run" / "server.json", "{")
    assert run("status").code == 0


def test_a_followed_log_goes_on_with_new_events_until_it_is_interrupted(run: Run, home: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, "--home", str(home), "audit", "tail", "-f", "-n", "1", "--json"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        first = json.loads(child.stdout.readline())
        assert run("agent", "create", "-f", write(tmp_path / "agent.yaml", AGENT)).code == 0
        second = json.loads(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
    assert second["i"] == first["i"] + 1
    assert second["k"] == 10


def test_a_proof_and_a_payload_are_given_to_those_who_ask(run: Run, home: Path, tmp_path: Path) -> None:
    assert ok(run("audit", "prove", "0", "--json"))["event"] == 0
    plain, private = run("audit", "export").stdout, run("audit", "export", "--private").stdout
    assert '"payload"' not in plain
    assert '"payload"' in private
    assert run("audit", "verify", write(tmp_path / "private.jsonl", private)).code == 0
    assert run("audit", "verify", str(tmp_path / "private.jsonl"), "--key", "nonsense").code == 2
    assert run("audit", "prove", "99999").code == 3


def test_a_terminal_that_knows_only_ascii_gets_the_answer_all_the_same(home: Path, tmp_path: Path) -> None:
    text = AGENT.replace("Reads records", "Prüft Rechnungen 支払い")
    made = process("--home", str(home), "agent", "create", "-f", write(tmp_path / "agent.yaml", text))
    assert made.returncode == 0
    listed = process("--home", str(home), "agent", "list", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert listed.returncode == 0, listed.stderr
    assert "Pr\\xfcft" in listed.stdout


def test_a_reader_that_goes_away_is_no_fault(home: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, "--home", str(home), "schema", "ToolReview"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        child.wait(30)
        assert child.stderr is not None
        assert b"Traceback" not in child.stderr.read()


@pytest.mark.claim("log:tamper-evident")
def test_an_export_that_breaks_off_is_no_export(run: Run, home: Path, tmp_path: Path) -> None:
    """One value that can't be unsealed ends the stream half-way. Without private values, as the control, it is whole."""
    raw = apsw.Connection(str(home / "remit.db"))
    subject = raw.execute("SELECT subject FROM private ORDER BY idx DESC LIMIT 1").get
    raw.close()
    [key] = [path for path in (home / "subjects").rglob("*") if path.is_file() and str(subject) in str(path)]
    key.write_bytes(b"short")
    out = tmp_path / "log.jsonl"
    answer = run("audit", "export", "--private", "--output", str(out))
    assert answer.code == 6, answer.stderr
    assert "Written" not in answer.stderr
    assert run("audit", "export", "--private").code == 6
    assert list(tmp_path.glob("*log.jsonl*")) == []
    assert run("audit", "export", "--output", str(out)).code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.claim("log:tamper-evident")
@pytest.mark.usefixtures("home")
def test_a_head_kept_from_an_export_s_last_line_is_held_against_a_later_log(run: Run, tmp_path: Path) -> None:
    first, head = tmp_path / "first.jsonl", tmp_path / "head.json"
    assert run("audit", "export", "--output", str(first)).code == 0
    head.write_bytes(first.read_bytes().splitlines(keepends=True)[-1])
    carl = write(tmp_path / "carl.yaml", "kind: Person\nname: Carl\nemail: carl@example.test\nroles: [viewer]\n")
    ok(run("person", "add", "-f", carl, "--json"))
    assert run("audit", "verify", "--seen", str(head)).code == 0
    other = str(tmp_path / "other")
    assert run("init", "--home", other).code == 0
    assert run("audit", "verify", "--home", other, "--seen", str(head)).code == 1
    for nothing in (b"{}\n", first.read_bytes(), b"\xff", b"x" * (1 << 20) + b"x"):
        head.write_bytes(nothing)
        assert run("audit", "verify", "--seen", str(head)).code == 2


def test_a_tree_with_a_hole_is_said_and_nothing_is_signed_over_it(run: Run, home: Path) -> None:
    raw = apsw.Connection(str(home / "remit.db"))
    raw.execute("DELETE FROM tree_hash WHERE level = 1")
    raw.close()
    answer = run("audit", "prove", "1")
    assert answer.code == 6, answer.stderr
    assert "restore" in answer.stderr


@pytest.mark.claim("log:append-only")
@pytest.mark.parametrize("loss", ["its last events", "its head"])
def test_a_log_that_lost_something_is_said_and_never_signed_again(run: Run, home: Path, loss: str) -> None:
    """Whoever puts an older store in its place, or cuts the newest events off, gets no fresh head over what is left."""
    assert run("audit", "export").code == 0
    raw = apsw.Connection(str(home / "remit.db"))
    if loss == "its head":
        raw.execute("UPDATE checkpoint SET note = 'nonsense'")
    else:
        raw.execute("DROP TRIGGER leaf_kept")
        raw.execute("DELETE FROM leaf WHERE idx > 1")
        raw.execute("UPDATE org SET next_index = 2")
    raw.close()
    for command in (("audit", "export"), ("audit", "verify"), ("audit", "prove", "0")):
        answer = run(*command)
        assert answer.code == 6, (command, answer.stderr)
    assert "restore" in run("audit", "prove", "0").stderr


@pytest.mark.usefixtures("home")
def test_a_number_of_lines_beyond_all_measure_is_refused(run: Run) -> None:
    assert run("audit", "tail", "-n", "9" * 30).code == 2
