"""A server that runs as our child: what it sees, what it can do to us, and what a call says when it breaks."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidDocument
from remit.gateway.revisions import SERVER
from remit.gateway.upstream import (
    ErrorReply,
    Limits,
    NotSent,
    OutcomeUnknown,
    Result,
    StdioConnection,
    StdioTarget,
    list_tools,
    open_stdio,
)
from remit.gateway.upstream_stdio import STDERR_LINES, StderrRing
from tests.simulators import HELLO, child

pytestmark = pytest.mark.anyio
CALL = b'{"name":"x","arguments":{}}'
QUICK = Limits(open_seconds=10, ping_seconds=0.3, stop_seconds=0.3)


def clock() -> float:
    return 0.0


def simulated(mode: str, *args: str, env: tuple[tuple[str, str], ...] = ()) -> StdioTarget:
    command, arguments = child(mode, *args)
    return StdioTarget(command, arguments, env)


@asynccontextmanager
async def opened(target: StdioTarget, limits: Limits = QUICK) -> AsyncIterator[StdioConnection]:
    with anyio.fail_after(30):
        connection = await open_stdio(target, limits, clock)
        try:
            yield connection
        finally:
            await connection.aclose()


def is_running(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def muted() -> list[str]:
    """The children in mode ``mute`` that are running now."""
    listed = subprocess.run(["ps", "-ww", "-eo", "ppid,args"], capture_output=True, text=True, check=True)  # noqa: S607
    mine = f"{os.getpid()} "
    return [line for line in listed.stdout.splitlines() if line.lstrip().startswith(mine) and line.endswith(" mute")]


async def until_dead(connection: StdioConnection) -> None:
    while connection.alive:
        await anyio.sleep(0.005)


def value(reply: object) -> object:
    assert isinstance(reply, Result), reply
    return json.loads(reply.raw)


# ------------------------------------------------------------------------------------------------------ real servers


async def test_the_official_time_server_lists_and_answers() -> None:
    target = StdioTarget(sys.executable, ("-m", "mcp_server_time", "--local-timezone", "UTC"))
    async with opened(target) as connection:
        names = [json.loads(tool)["name"] for tool in await list_tools(connection)]
        params = b'{"name":"get_current_time","arguments":{"timezone":"Asia/Tokyo"}}'
        answer = value(await connection.call("tools/call", params, 10))
        refusal = await connection.call("no/such/method", None, 10)
    assert sorted(names) == ["convert_time", "get_current_time"]
    assert "Asia/Tokyo" in json.dumps(answer)
    assert connection.stateless
    assert json.loads(connection.server_info)["_meta"][SERVER]["name"] == "mcp-time"
    assert isinstance(refusal, ErrorReply)
    assert json.loads(refusal.raw)["code"] == -32601


async def test_the_official_git_server_needs_only_a_path(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: S607, ASYNC221 - once, before the test
    env = (("PATH", "/usr/bin:/bin:/usr/local/bin"), ("HOME", str(tmp_path)))
    target = StdioTarget(sys.executable, ("-m", "mcp_server_git", "--repository", str(tmp_path)), env)
    async with opened(target) as connection:
        assert len(await list_tools(connection)) == 12
        params = json.dumps({"name": "git_status", "arguments": {"repo_path": str(tmp_path)}}).encode()
        answer = value(await connection.call("tools/call", params, 20))
    assert "No commits yet" in json.dumps(answer)


# ------------------------------------------------------------------------------------------------- what a child sees


@pytest.mark.claim("upstream:child-environment")
async def test_a_child_sees_only_the_environment_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_TEST_HIDDEN", "hunter2-hunter2")
    async with opened(simulated("environment", env=(("LISTED", "yes"),))) as connection:
        seen = value(await connection.call("tools/call", CALL, 10))
    assert isinstance(seen, dict)
    # LC_CTYPE is what Python itself adds in a C locale (PEP 538).
    assert {name for name in seen["env"] if name != "LC_CTYPE"} == {"LISTED"}


async def test_control_a_child_that_is_given_our_environment_shows_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_TEST_HIDDEN", "hunter2-hunter2")
    async with opened(simulated("environment", env=tuple(os.environ.items()))) as connection:
        seen = value(await connection.call("tools/call", CALL, 10))
    assert isinstance(seen, dict)
    assert seen["env"]["REMIT_TEST_HIDDEN"] == "hunter2-hunter2"


async def test_a_child_has_a_process_group_of_its_own() -> None:
    async with opened(simulated("environment")) as connection:
        seen = value(await connection.call("tools/call", CALL, 10))
    assert isinstance(seen, dict)
    assert seen["group"] == seen["pid"] == connection.pid
    assert seen["group"] != os.getpgid(0)


async def test_pretty_printed_params_arrive_intact() -> None:
    meant = {"name": "x", "arguments": {"text": "one\ntwo\r\n\u2028three", "n": [1, {"deep": None}]}}
    params = json.dumps(meant, indent=4).replace("\n", "\r\n").encode()
    assert b"\n" in params
    async with opened(simulated("echo")) as connection:
        assert value(await connection.call("tools/call", params, 10)) == meant
        assert value(await connection.call("tools/call", CALL, 10)) == json.loads(CALL)


@pytest.mark.parametrize("params", [b'{}\n{"jsonrpc":"2.0"}', b'{}},{"x":{}', b"[1]", b"", b'{"a":"x\ny"}', b"{"])
async def test_params_that_reach_past_their_braces_are_not_sent(params: bytes) -> None:
    async with opened(simulated("echo")) as connection:
        with pytest.raises(NotSent):
            await connection.call("tools/call", params, 10)
        assert value(await connection.call("tools/call", CALL, 10)) == json.loads(CALL)


async def test_members_of_a_result_that_we_do_not_know_stay_byte_for_byte() -> None:
    async with opened(simulated("echo")) as connection:
        assert json.loads(connection.server_info) == HELLO
        assert b"2.5" in connection.server_info
        params = b'{"x":[1.50,  1e2],"_meta":{"a/b":1}}'
        reply = await connection.call("tools/call", params, 10)
    assert isinstance(reply, Result)
    assert json.loads(reply.raw) == json.loads(params)


# --------------------------------------------------------------------------------------------------- breaking children


@pytest.mark.claim("upstream:unknown-not-retried")
async def test_a_call_on_which_the_child_dies_is_unknown_and_is_made_once(tmp_path: Path) -> None:
    acted = tmp_path / "acted"
    async with opened(simulated("die", str(acted))) as connection:
        with pytest.raises(OutcomeUnknown):
            await connection.call("tools/call", CALL, 10)
        assert not connection.alive
        assert connection.died_at is not None
        with pytest.raises(NotSent):
            await connection.call("tools/call", CALL, 10)
    assert acted.read_text("utf-8") == "acted\n"


async def test_control_a_caller_that_repeats_an_unknown_call_acts_twice(tmp_path: Path) -> None:
    acted = tmp_path / "acted"
    for _ in range(2):
        async with opened(simulated("die", str(acted))) as connection:
            with pytest.raises(OutcomeUnknown):
                await connection.call("tools/call", CALL, 10)
    assert acted.read_text("utf-8") == "acted\nacted\n"


async def test_every_call_under_way_learns_that_the_child_died(tmp_path: Path) -> None:
    async with opened(simulated("die", str(tmp_path / "acted"))) as connection:
        failures: list[Exception] = []

        async def one() -> None:
            try:
                await connection.call("tools/call", CALL, 10)
            except (OutcomeUnknown, NotSent) as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
    assert [type(failure) for failure in failures] == [OutcomeUnknown] * 5


async def test_an_answer_that_a_child_writes_before_it_ends_still_counts() -> None:
    async with opened(simulated("last-words")) as connection:
        assert value(await connection.call("tools/call", CALL, 10)) == "last words"
        await until_dead(connection)


async def test_a_call_that_hangs_is_unknown_and_a_child_that_answers_a_ping_is_kept() -> None:
    async with opened(simulated("hang")) as connection:
        with pytest.raises(OutcomeUnknown):
            await connection.call("tools/call", CALL, 0.05)
        assert value(await connection.call("tools/list", None, 10)) == {}
        assert connection.alive


async def test_a_child_that_answers_no_ping_is_stopped() -> None:
    async with opened(simulated("deaf")) as connection:
        with pytest.raises(OutcomeUnknown):
            await connection.call("tools/call", CALL, 0.05)
        await until_dead(connection)
        await connection.aclose()
        assert not is_running(connection.pid)


async def test_closing_ends_a_child_that_ignores_the_end_of_its_input_and_sigterm() -> None:
    with anyio.fail_after(30):
        connection = await open_stdio(simulated("deaf"), QUICK, clock)
        async with anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(OutcomeUnknown):
                    await connection.call("tools/call", CALL, 20)

            group.start_soon(call)
            await anyio.lowlevel.checkpoint()
            await connection.aclose()
        await connection.aclose()
    assert not is_running(connection.pid)
    assert connection.died_at is None


async def test_a_line_over_the_bound_ends_the_connection() -> None:
    limits = Limits(reply_bytes=100_000, stop_seconds=0.3)
    async with opened(simulated("oversize", "99000"), limits) as connection:
        assert value(await connection.call("tools/call", CALL, 10)) == "x" * 99_000
    async with opened(simulated("oversize", "3000000"), limits) as connection:
        with pytest.raises(OutcomeUnknown, match="more than 100000 bytes"):
            await connection.call("tools/call", CALL, 10)
        assert not connection.alive


async def test_garbage_on_stdout_is_counted_and_skipped() -> None:
    async with opened(simulated("garbage")) as connection:
        assert value(await connection.call("tools/call", CALL, 10)) == "after garbage"
        assert connection.counters.garbage == 4


async def test_a_response_to_an_id_that_was_not_asked_answers_nobody() -> None:
    async with opened(simulated("strangers")) as connection:
        for _ in range(2):
            assert value(await connection.call("tools/call", CALL, 10)) == "mine"
        await connection.call("tools/call", CALL, 10)
        assert connection.counters.unmatched >= 14


async def test_an_answer_that_holds_both_result_and_error_is_unknown() -> None:
    async with opened(simulated("both")) as connection:
        with pytest.raises(OutcomeUnknown):
            await connection.call("tools/call", CALL, 10)


async def test_a_request_for_sampling_is_refused_and_a_ping_is_answered() -> None:
    async with opened(simulated("asks")) as connection:
        told: list[str] = []
        connection.on_list_changed = lambda: told.append("changed")
        answers = value(await connection.call("tools/call", CALL, 10))
        assert isinstance(answers, list)
        assert answers[0]["id"] == "s1"
        assert answers[0]["error"]["code"] == -32601
        assert answers[1] == {"jsonrpc": "2.0", "id": 7, "result": {}}
        assert connection.counters.server_requests == 3
        assert told == ["changed"]


@pytest.mark.parametrize("mode", ["old", "mute"])
async def test_a_server_that_does_not_shake_hands_was_sent_nothing_and_leaves_no_child(mode: str) -> None:
    limits = Limits(open_seconds=0.3, stop_seconds=0.3)
    with anyio.fail_after(30), pytest.raises(NotSent):
        await open_stdio(simulated(mode), limits, clock)


async def test_a_command_that_does_not_exist_was_sent_nothing_and_its_arguments_are_not_told() -> None:
    with pytest.raises(NotSent) as caught:
        await open_stdio(StdioTarget("/nonexistent/server", ("--key", "hunter2")), QUICK, clock)
    assert "hunter2" not in str(caught.value)
    assert "nonexistent" not in str(caught.value)


async def test_an_opening_that_is_cancelled_leaves_no_child() -> None:
    with anyio.fail_after(30):
        opening = asyncio.ensure_future(open_stdio(simulated("mute"), QUICK, clock))
        while not muted():
            await anyio.sleep(0.005)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert not muted()


# ---------------------------------------------------------------------------------------------------------- the rest


async def test_stderr_is_kept_bounded_printable_and_without_our_secret() -> None:
    async with opened(simulated("stderr", env=(("API_KEY", "sk-hunter2-hunter2"),))) as connection:
        await connection.call("tools/call", CALL, 10)
        while not any("red" in line for line in connection.stderr_lines()):
            await anyio.sleep(0.005)
        lines = connection.stderr_lines()
    assert lines[0] == "key is [env API_KEY]"
    assert lines[1] == "\\x1b[31mred\\u202eltr"
    assert all(len(line) <= 500 for line in lines)


@given(st.lists(st.binary(max_size=200), max_size=50), st.text(min_size=6, max_size=20))
def test_the_ring_shows_only_printable_ascii_of_bounded_length(chunks: list[bytes], secret: str) -> None:
    ring = StderrRing((("KEY", secret),))
    for chunk in chunks:
        ring.feed(chunk + secret.encode("utf-8", "replace") + b"\n")
    lines = ring.lines()
    assert len(lines) <= STDERR_LINES
    assert all(len(line) <= 500 and line.isascii() and (line.isprintable() or not line) for line in lines)


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": ""},
        {"command": "a\0b"},
        {"command": "a", "args": ("\0",)},
        {"command": "a", "env": (("A=B", "c"),)},
        {"command": "a", "env": (("A", "c\0"),)},
        {"command": "a", "env": (("A", "1"), ("A", "2"))},
    ],
)
def test_a_target_that_no_system_could_start_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidDocument):
        StdioTarget(**wrong)  # type: ignore[arg-type]


def test_a_target_does_not_show_its_environment() -> None:
    assert "hunter2" not in repr(StdioTarget("a", env=(("KEY", "hunter2"),)))


def test_on_the_loop_that_the_program_runs_on_a_child_that_ends_at_once_was_not_sent_anything() -> None:
    """Uvloop raises what asyncio does not where a pipe was closed by the other end a moment ago."""

    async def many() -> None:
        for _ in range(40):
            with pytest.raises(NotSent):
                await open_stdio(StdioTarget("/usr/bin/env", ("true",)), Limits(), time.monotonic)

    uvloop.run(many())
