"""What a person is shown when they are asked, who may answer, and what becomes of calls that nobody knows the end of."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit import wiring
from remit.audit.verify import verify
from remit.cli.output import json_text
from remit.core.canonical import canonical
from remit.core.people import Person
from remit.guards.documents import check_answer
from remit.guards.hidden_text import hides
from remit.sdk import RemitClient
from remit.services import keys
from remit.settings import load
from tests.cli.program import Run, served, write
from tests.cli.steps import add_server, decide, ok, working


def _asked(run: Run, tmp_path: Path, arguments: str = '{"id": "a"}') -> str:
    session, env = working(run, tmp_path, "destroy")
    found = decide(run, session, env, "c1", arguments)
    assert found.code == 1, found.stderr
    return str(found.json()["approval"]["approval"])


def _key_of(home: Path, email: str) -> None:
    """A key for another person beside the local one, as signing in will give them one."""

    async def make() -> str:
        async with wiring.open_remit(home, load(home)) as remit:
            async with remit.deps.store.view(remit.deps.org) as view:
                person = await view.nouns.named(Person, email)
            assert person is not None
            return await keys.create_person_key(remit.deps, person)

    path = Path(write(home / "keys" / f"{email}.key", asyncio.run(make()) + "\n"))
    path.chmod(0o600)


@pytest.mark.claim("approval:shown-is-hashed")
@pytest.mark.usefixtures("home")
def test_a_question_names_who_asks_for_whom_and_what_it_does(run: Run, tmp_path: Path) -> None:
    approval = _asked(run, tmp_path)
    found = ok(run("approval", "show", approval, "--json"), "Approval")
    shown = run("approval", "show", approval)
    assert shown.code == 0
    for words in ("reader (agt_", "ada@example.test", "Reads records", "files/read", "destroy"):
        assert words in shown.stdout
    for member in ("approval", "session", "fingerprint", "arguments_hash", "authority_version", "expires_at"):
        assert found[member] in shown.stdout
    assert "reader" in run("approval", "list").stdout


@pytest.mark.claim("approval:shown-is-hashed")
@pytest.mark.usefixtures("home")
def test_hidden_and_look_alike_characters_of_a_question_are_written_out(run: Run, tmp_path: Path) -> None:
    approval = _asked(run, tmp_path, '{"id": "p\u0430y\u202e\u200bpal\\n\\u001b[2J"}')
    shown = run("approval", "show", approval).stdout
    assert not any(hides(char) for char in shown.replace("\n", ""))
    assert "p\\u0430y\\u202e\\u200bpal" in shown  # the Cyrillic letter can't pass for a Latin one
    assert "p\u0430y⟨U+202E⟩⟨U+200B⟩pal" in shown
    assert "\u202e" in ok(run("approval", "show", approval, "--json"), "Approval")["arguments"]["id"]  # the control


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=6), st.text(max_size=8) | st.integers(-(2**63), 2**63 - 1), max_size=3))
@pytest.mark.claim("approval:shown-is-hashed")
def test_what_is_drawn_is_all_that_is_hashed(arguments: dict[str, str | int]) -> None:
    from remit.sdk.answers import read_json  # noqa: PLC0415  # the reader that has no part in drawing

    assert canonical(read_json(json_text(arguments))) == canonical(arguments)


@pytest.mark.claim("approval:never-by-an-agent")
def test_who_is_no_approver_may_not_answer(run: Run, home: Path, tmp_path: Path) -> None:
    approval = _asked(run, tmp_path)
    for name, role in (("grace", "auditor"), ("bob", "approver")):
        text = f"{{kind: Person, email: {name}@example.test, name: X, roles: [{role}]}}"
        ok(run("person", "add", "-f", write(tmp_path / f"{name}.yaml", text), "--json"), "Person")
        _key_of(home, f"{name}@example.test")
    refused = run("approval", "approve", approval, "--as", "grace@example.test")
    assert refused.code == 4
    assert "approver" in refused.stderr
    own = run("approval", "approve", approval)
    assert own.code == 4
    assert "four eyes" in own.stderr
    answered = run("approval", "approve", approval, "--as", "bob@example.test", "--json")
    assert ok(answered, "Approval")["state"] == "approved"  # the control


@pytest.mark.usefixtures("home")
def test_a_no_is_a_veto_that_is_told(run: Run, tmp_path: Path) -> None:
    session, env = working(run, tmp_path, "destroy")
    approval = decide(run, session, env, "c1").json()["approval"]["approval"]
    assert ok(run("approval", "deny", approval, "--note", "not this", "--json"), "Approval")["state"] == "denied"
    again = decide(run, session, env, "c2")
    assert again.json()["decision"] == "deny"
    assert again.json()["reasons"][0]["code"].startswith("approval.")


def test_an_unknown_call_is_listed_shown_and_settled_once(run: Run, home: Path, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    with served(home) as (facts, _):
        assert decide(run, session, env, "c1").code == 0

        async def lose() -> None:
            async with RemitClient(facts["url"], env["REMIT_SESSION_TOKEN"]) as client:
                await client.observe(session, "c1", "unknown")

        asyncio.run(lose())
        [item] = ok(run("audit", "unknown", "--json"), "Page")["items"]
        assert item["call"] == "c1"
        event = ok(run("audit", "show", str(item["intent"]), "--json"), "Event")
        assert {"id": "a"} in event["payload"].values()
    assert "c1" in run("audit", "unknown").stdout
    assert run("audit", "unknown", "settle", "c1", "maybe", "--because", "x").code == 2
    settled = run("audit", "unknown", "settle", "c1", "done", "--because", "the server shows it", "--json")
    assert ok(settled)["event"] > item["intent"]
    assert run("audit", "unknown", "settle", "c1", "failed", "--because", "no").code in (3, 5)
    assert ok(run("audit", "unknown", "--json"), "Page")["items"] == []


@pytest.mark.claim("log:tamper-evident")
def test_any_changed_bit_of_an_export_is_found_by_the_command(run: Run, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert run("audit", "export", "--output", str(path)).code == 0
    whole = path.read_bytes()
    assert run("audit", "verify", str(path)).code == 0  # the control
    for place in range(0, len(whole), max(1, len(whole) // 24)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        answer = run("audit", "verify", str(path), "--json")
        assert answer.code == 1, place
        check_answer("VerifyAnswer", answer.json())
        assert answer.json()["problems"]
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert run("audit", "verify", str(path)).code == 1
    with path.open("wb") as file:
        file.write(whole)
    with path.open("rb") as file:
        assert verify(file, (home / "keys" / "log.vkey").read_text().strip(), [])["ok"]


def test_a_server_comes_from_a_file_too(run: Run, home: Path, tmp_path: Path) -> None:
    text = "kind: Server\nname: crm\nurl: https://crm.example.test/mcp\nclearance: [finance]\noperator: vendor\n"
    made = ok(run("server", "add", "-f", write(tmp_path / "crm.yaml", text), "--json"), "Server")
    assert made["clearance"] == ["finance"]
    path = write(tmp_path / "two.yaml", text.replace("crm\n", "crm2\n") + "state: active\n")
    refused = run("server", "add", "-f", path)
    assert refused.code == 2
    assert "line 6, /state" in refused.stderr
    for wrong in (("x", "-f", path), ("-f", path, "--url", "http://x/"), ("-f", path, "--shared"), ()):
        assert run("server", "add", *wrong).code == 2
    assert [one["name"] for one in ok(run("server", "list", "--json"), "Page")["items"]] == ["crm"]


@pytest.mark.usefixtures("home")
def test_a_check_says_whether_a_server_can_be_reached_and_what_to_do_and_changes_nothing(run: Run) -> None:
    add_server(run)
    size = ok(run("status", "--json"))["counts"]["events"]
    good = ok(run("server", "check", "files", "--json"), "ServerCheck")
    assert (good["ok"], good["handshake"], good["tools"]) == (True, True, 1)
    assert run("server", "add", "gone", "--url", "http://127.0.0.1:9/mcp").code == 0
    bad = run("server", "check", "gone")
    assert bad.code == 6
    assert "refused the connection" in bad.stdout
    assert "next" in bad.stderr.lower()
    assert run("server", "check", "nobody").code == 3
    assert ok(run("status", "--json"))["counts"]["events"] == size + 1


def test_a_server_that_can_not_be_reached_is_named(run: Run, home: Path) -> None:
    assert run("server", "add", "gone", "--stdio", "--", "true").code == 0
    answer = run("server", "sync", "gone")
    assert answer.code == 6
    assert "server gone:" in answer.stderr
