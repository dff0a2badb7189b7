"""A stdio server under control: the official client in front, the program as a real process, a real server behind."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from remit.core.events import Kind
from tests.cli.program import PROGRAM, Run, process, served, write
from tests.cli.steps import AGENT, ok, working
from tests.cli.wrapping import GRANT, SERVER, Scene, until, wrapping


@pytest.fixture
def scene(run: Run, home: Path, tmp_path: Path) -> Scene:
    _, env = working(run, tmp_path)
    return Scene(run, home, env, tmp_path / "acts.txt")


@contextlib.asynccontextmanager
async def client(scene: Scene, said: Path) -> AsyncIterator[Client]:
    """The official client, which starts ``remit wrap`` as it starts any server."""
    env = {**os.environ, "REMIT_HOST_KEY": scene.env["REMIT_HOST_KEY"]}
    started = StdioServerParameters(command=PROGRAM[0], args=[*PROGRAM[1:], *scene.wrapped()], env=env)
    with said.open("w") as errors:
        async with Client(stdio_client(started, errlog=errors)) as connected:
            yield connected


@pytest.mark.anyio
@pytest.mark.claim("tool:quarantined-until-reviewed")
@pytest.mark.parametrize("live", [False, True])
async def test_nothing_is_there_until_it_is_reviewed_and_then_what_is_granted(
    scene: Scene, tmp_path: Path, live: bool
) -> None:
    said = tmp_path / "said.txt"
    with served(scene.home) if live else contextlib.nullcontext():
        async with client(scene, said) as connected:
            assert connected.protocol_version == "2026-07-28"
            assert (await connected.list_tools()).tools == []
            refused = await connected.call_tool("whoami", {})
            assert refused.is_error
            assert (refused.meta or {})["remit/decision"]["decision"] == "deny"
            assert scene.acted() == []
            await asyncio.to_thread(scene.reviewed)
            assert sorted(tool.name for tool in (await connected.list_tools()).tools) == ["hang", "whoami"]
            answered = await connected.call_tool("whoami", {"id": "a"})
            assert not answered.is_error, answered
            assert (await connected.call_tool("die", {})).is_error
            assert scene.acted() == ["whoami"]
        [session] = {word.strip(",;.") for word in said.read_text().split() if word.startswith("ses_")}
        assert await asyncio.to_thread(scene.state, session) == "ended"
    start = said.read_text()
    for words in ("Agent reader", "host key key_", "server child", "no wall", "until they are reviewed: 4."):
        assert words in start
    assert scene.env["REMIT_HOST_KEY"] not in start


def test_a_line_that_is_no_json_gets_an_error_and_nothing_is_lost(scene: Scene) -> None:
    with wrapping(scene, REMIT_MAX_BODY="2000") as wrapped:
        for line in (b"{nonsense", b"[]", b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', b"x" * 5_000, b"\xff"):
            wrapped.tell(line)
            answer = wrapped.answer()
            assert answer["id"] is None
            assert answer["error"]["code"] in (-32700, -32600)
        wrapped.tell(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        wrapped.ask(9)
        assert wrapped.answer() == {"jsonrpc": "2.0", "id": 9, "result": {}}
        wrapped.ask(10, "resources/subscribe")
        assert wrapped.answer()["error"]["code"] == -32601


@pytest.mark.parametrize("live", [False, True])
def test_the_end_of_its_input_ends_the_session_once_what_was_under_way_is_answered(scene: Scene, live: bool) -> None:
    with (
        served(scene.home, env={"REMIT_CALL_TIMEOUT": "1"}) if live else contextlib.nullcontext(),
        wrapping(scene, REMIT_CALL_TIMEOUT="1") as wrapped,
    ):
        scene.reviewed()
        wrapped.call(1, "hang")
        until(lambda: scene.acted() == ["hang"], wrapped.process)
        wrapped.call(2, "whoami")
        assert wrapped.answer()["id"] == 2  # the slow call holds up nobody
        assert wrapped.process.stdin is not None
        wrapped.process.stdin.close()
        late = wrapped.answer()
        assert late["id"] == 1
        assert "not known" in late["result"]["content"][0]["text"]
        assert wrapped.process.wait(30) == 0, wrapped.stderr()
        assert scene.state(wrapped.session()) == "ended"


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_session_at_once(scene: Scene, live: bool, ending: signal.Signals) -> None:
    with served(scene.home) if live else contextlib.nullcontext(), wrapping(scene) as wrapped:
        scene.reviewed()
        wrapped.call(1, "hang")
        until(lambda: scene.acted() == ["hang"], wrapped.process)
        wrapped.process.send_signal(ending)
        assert wrapped.process.wait(30) == 0, wrapped.stderr()
        assert "Traceback" not in wrapped.stderr()
        assert scene.state(wrapped.session()) == "ended"
        assert scene.remit("audit", "verify")["ok"]


def test_a_client_that_is_gone_ends_the_session(scene: Scene) -> None:
    with wrapping(scene) as wrapped:
        assert wrapped.process.stdout is not None
        wrapped.process.stdout.close()
        wrapped.ask(1)
        assert wrapped.process.wait(30) == 1
        assert "Traceback" not in wrapped.stderr()
        assert scene.state(wrapped.session()) == "ended"


def test_a_session_that_is_stopped_refuses_what_is_wrapped(scene: Scene) -> None:
    with wrapping(scene) as wrapped:
        scene.reviewed()
        scene.remit("session", "kill", wrapped.session())
        wrapped.call(1, "whoami")
        answer = wrapped.answer()
        assert answer["id"] == 1
        assert answer["result"]["isError"]
        assert scene.acted() == []


def test_a_session_that_is_given_is_used_and_lives_on(run: Run, scene: Scene) -> None:
    session = ok(run("session", "start", "--agent", "reader", "--json", env=scene.env), "SessionStarted")
    with wrapping(
        scene, "--session", session["session"], REMIT_HOST_KEY="", REMIT_SESSION_TOKEN=session["token"]
    ) as one:
        assert "not renewed" in one.stderr()
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(30) == 0
    with wrapping(scene, "--session", session["session"]) as two:  # the host key alone does as well
        assert two.session() == session["session"]
    assert scene.state(session["session"]) == "active"


@pytest.mark.claim("cli:no-credential-stands-in-for-another")
def test_no_other_credential_lets_it_begin(run: Run, scene: Scene, tmp_path: Path) -> None:
    other = AGENT.replace("name: reader", "name: writer")
    ok(run("agent", "create", "-f", write(tmp_path / "other.yaml", other), "--json"), "Agent")
    grant = GRANT.replace("reader", "writer").replace("child/whoami, child/hang", "files/read")
    ok(run("grant", "apply", write(tmp_path / "other-grant.yaml", grant), "--json"), "Grant")
    ok(run("agent", "activate", "writer", "--json"), "Agent")
    theirs = ok(run("key", "create", "--agent", "writer", "--for", "host", "--expires", "P1D", "--json"), "Key")
    calls = ok(run("key", "create", "--agent", "reader", "--for", "session", "--expires", "P1D", "--json"), "Key")
    person = (scene.home / "keys" / "person.key").read_text().strip()
    token, session = scene.env["REMIT_SESSION_TOKEN"], "ses_00000000000000000000000000"
    for more, env in (
        ((), {}),
        ((), {"REMIT_HOST_KEY": theirs["secret"]}),
        ((), {"REMIT_HOST_KEY": calls["secret"]}),
        ((), {"REMIT_HOST_KEY": person}),
        ((), {"REMIT_HOST_KEY": token}),
        (("--session", session), {}),
        (("--session", session), {"REMIT_SESSION_TOKEN": token}),
        (("--session", session), {"REMIT_SESSION_TOKEN": calls["secret"]}),
    ):
        answer = run(*scene.wrapped(*more), env=env)
        assert answer.code == 4, answer.stderr
        assert answer.stdout == ""
    assert run("server", "list", "--json").stdout.count('"child"') == 0  # nothing was registered on the way


def test_a_name_that_is_another_command_s_is_a_conflict(run: Run, scene: Scene) -> None:
    for other in (["sh", "-c", "exit"], [*scene.command, "more"]):
        with wrapping(scene):
            pass
        answer = run(*scene.wrapped(command=other), env=scene.env)
        assert answer.code == 5
        assert str(SERVER) in answer.stderr
        assert answer.stdout == ""
    ok(run("server", "rm", "child", "--json"), "Server")
    assert run(*scene.wrapped(), env=scene.env).code == 5
    assert run(*scene.wrapped(command=["no-such-program"]), env=scene.env).code == 2


def test_a_server_is_named_after_its_program_and_a_program_that_speaks_no_mcp_is_said(run: Run, scene: Scene) -> None:
    answer = run("wrap", "--agent", "reader", "--", "true", env=scene.env)
    assert answer.code == 6
    assert answer.stdout == ""
    assert "server true" in answer.stderr
    assert [one["name"] for one in scene.remit("server", "list")["items"]] == ["files", "true"]


def test_what_is_wrapped_is_in_the_log(scene: Scene) -> None:
    with wrapping(scene) as wrapped:
        scene.reviewed()
        wrapped.call(1, "whoami")
        assert "isError" not in wrapped.answer()["result"]
        wrapped.process.send_signal(signal.SIGTERM)
        wrapped.process.wait(30)
    tail = scene.run("audit", "tail", "--json", "-n", "50").stdout.splitlines()
    kinds = [event["k"] for event in map(json.loads, tail) if event.get("session") == wrapped.session()]
    assert kinds == [Kind.SESSION_STARTED, Kind.INTENT, Kind.OUTCOME, Kind.SESSION_ENDED]


def test_input_that_is_a_file_or_nothing_is_read_to_its_end(scene: Scene, tmp_path: Path) -> None:
    asked = write(tmp_path / "asked.txt", '{"jsonrpc":"2.0","id":1,"method":"ping"}')
    for source, answers in ((asked, 1), (os.devnull, 0)):
        with Path(source).open("rb") as stdin:
            ended = process("--quiet", *scene.wrapped(), stdin=stdin, env={**os.environ, **scene.env})
        assert (ended.returncode, ended.stdout.count("\n"), ended.stderr) == (0, answers, "")


def test_a_person_is_named_for_a_delegated_agent_only(scene: Scene) -> None:
    answer = scene.run(*scene.wrapped("--as", "ada@example.test"), env=scene.env)
    assert answer.code == 2
    assert "autonomous" in answer.stderr
