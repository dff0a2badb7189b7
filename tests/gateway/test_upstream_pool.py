"""The pool: who shares a connection and who never does, when a dead child starts again, and whole tool lists."""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import UpstreamUnavailable
from remit.gateway.upstream import (
    HEALTHY_SECONDS,
    LONGEST_BACKOFF,
    Backoff,
    Connection,
    HttpTarget,
    Limits,
    NotSent,
    OutcomeUnknown,
    Result,
    StdioTarget,
    UpstreamKey,
    Upstreams,
    list_tools,
)
from tests.simulators import HELLO, HttpSimulator, Request, child, http, result

pytestmark = pytest.mark.anyio
CALL = b'{"name":"x","arguments":{}}'
QUICK = Limits(open_seconds=10, ping_seconds=0.3, stop_seconds=0.3)
KEY = UpstreamKey("main", "office", "ada", "ses_1")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        """Somewhere in its life."""
        self.seconds = 1000.0

    def __call__(self) -> float:
        """The time now, in seconds."""
        return self.seconds


def simulated(mode: str, *args: str) -> StdioTarget:
    command, arguments = child(mode, *args)
    return StdioTarget(command, arguments)


@asynccontextmanager
async def pool(clock: Clock | None = None, limits: Limits = QUICK) -> AsyncIterator[Upstreams]:
    with anyio.fail_after(30):
        upstreams = Upstreams(clock or Clock(), limits)
        try:
            yield upstreams
        finally:
            await upstreams.aclose()


async def environment(connection: Connection) -> dict[str, object]:
    reply = await connection.call("tools/call", CALL, 10)
    assert isinstance(reply, Result)
    seen = json.loads(reply.raw)
    assert isinstance(seen, dict)
    return seen


def is_running(pid: object) -> bool:
    assert isinstance(pid, int)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ----------------------------------------------------------------------------------------------------- who shares what


@pytest.mark.claim("upstream:never-shared")
@pytest.mark.parametrize("other", [{"org": "b"}, {"server": "git"}, {"owner": "ben"}, {"session": "ses_2"}])
async def test_keys_that_differ_in_any_part_get_children_of_their_own(other: dict[str, str]) -> None:
    target = simulated("environment")
    async with pool() as upstreams:
        mine = await upstreams.get(KEY, target)
        theirs = await upstreams.get(replace(KEY, **other), target)
        assert mine is not theirs
        assert (await environment(mine))["pid"] != (await environment(theirs))["pid"]
        # The control: the same key shares.
        assert await upstreams.get(KEY, target) is mine
        assert (await environment(await upstreams.get(KEY, target)))["pid"] == (await environment(mine))["pid"]


@pytest.mark.claim("upstream:never-shared")
async def test_two_agent_sessions_never_share_a_transport_session() -> None:
    count = 0

    def hello(request: Request) -> bytes:
        nonlocal count
        count += 1
        return http(200, result(request.message, HELLO), Mcp_Session_Id=f"s-{count}")

    def told(request: Request) -> bytes:
        return http(200, result(request.message, request.headers["mcp-session-id"]))

    async with HttpSimulator(told, hello=hello).serving() as server, pool() as upstreams:
        target = HttpTarget(server.url)
        answers = []
        for session in ("ses_1", "ses_2", "ses_1"):
            connection = await upstreams.get(replace(KEY, session=session), target)
            reply = await connection.call("tools/call", CALL, 10)
            assert isinstance(reply, Result)
            answers.append(reply.raw)
        assert answers == [b'"s-1"', b'"s-2"', b'"s-1"']
        assert server.connections == 2


async def test_callers_at_once_share_one_opening() -> None:
    async with HttpSimulator(lambda r: http(200, result(r.message, 1))).serving() as server, pool() as upstreams:
        found: list[Connection] = []

        async def one() -> None:
            found.append(await upstreams.get(KEY, HttpTarget(server.url)))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one)
        assert len({id(connection) for connection in found}) == 1
        assert len(server.calls("initialize")) == 1


async def test_callers_at_once_share_one_failure() -> None:
    async with pool() as upstreams:
        failures: list[NotSent] = []

        async def one() -> None:
            try:
                await upstreams.get(KEY, simulated("old"))
            except NotSent as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)
    assert len(failures) == 5


async def test_a_caller_that_goes_away_does_not_take_the_opening_with_it() -> None:
    asked = anyio.Event()
    go = anyio.Event()

    async def slow(request: Request) -> bytes:
        asked.set()
        await go.wait()
        return http(200, result(request.message, HELLO))

    async with HttpSimulator(lambda _: None, hello=slow).serving() as server, pool() as upstreams:
        async with anyio.create_task_group() as group:
            group.start_soon(upstreams.get, KEY, HttpTarget(server.url))
            await asked.wait()
            group.cancel_scope.cancel()
        go.set()
        assert (await upstreams.get(KEY, HttpTarget(server.url))).alive
        assert len(server.calls("initialize")) == 1


async def test_a_changed_credential_opens_another_connection_and_the_old_one_serves_nobody() -> None:
    async with HttpSimulator(lambda r: http(200, result(r.message, 1))).serving() as server, pool() as upstreams:
        old = await upstreams.get(KEY, HttpTarget(server.url, (("X-Key", "old"),)))
        new = await upstreams.get(KEY, HttpTarget(server.url, (("X-Key", "new"),)))
        assert new is not old
        assert await upstreams.get(KEY, HttpTarget(server.url, (("X-Key", "new"),))) is new
        await upstreams.close_idle()
        assert not old.alive
        assert new.alive


# ------------------------------------------------------------------------------------------------------------ the end


async def test_the_end_of_an_agent_session_ends_its_children_and_no_others() -> None:
    target = simulated("environment")
    async with pool() as upstreams:
        pids = {}
        for session in ("ses_1", "ses_2", None):
            pids[session] = (await environment(await upstreams.get(replace(KEY, session=session), target)))["pid"]
        await upstreams.close_session("ses_1")
        assert {session: is_running(pid) for session, pid in pids.items()} == {
            "ses_1": False,
            "ses_2": True,
            None: True,
        }
        await upstreams.aclose()
        assert not any(is_running(pid) for pid in pids.values())
        with pytest.raises(NotSent):
            await upstreams.get(KEY, target)


async def test_a_session_that_ends_while_its_connection_opens_gets_none() -> None:
    asked = anyio.Event()

    async def never(_: Request) -> None:
        asked.set()
        await anyio.sleep_forever()

    async with pool() as upstreams:
        failures: list[NotSent] = []
        silent = HttpSimulator(lambda _: None, hello=never)
        async with silent.serving() as server:

            async def one() -> None:
                try:
                    await upstreams.get(KEY, HttpTarget(server.url))
                except NotSent as error:
                    failures.append(error)

            async with anyio.create_task_group() as group:
                group.start_soon(one)
                await asked.wait()
                await upstreams.close_session("ses_1")
                group.start_soon(one)
                await anyio.lowlevel.checkpoint()
                await upstreams.close_session("ses_1")
    assert len(failures) == 2


async def test_what_nobody_uses_is_closed_and_what_is_used_stays() -> None:
    clock = Clock()
    target = simulated("environment")
    async with pool(clock, replace(QUICK, idle_seconds=100)) as upstreams:
        idle = await upstreams.get(KEY, target)
        clock.seconds += 99
        used = await upstreams.get(replace(KEY, server="git"), target)
        await upstreams.close_idle()
        assert idle.alive
        clock.seconds += 1
        await upstreams.close_idle()
        assert (idle.alive, used.alive) == (False, True)
        assert await upstreams.get(KEY, target) is not idle


async def test_a_call_under_way_keeps_its_connection() -> None:
    clock = Clock()
    async with pool(clock, replace(QUICK, idle_seconds=100)) as upstreams:
        connection = await upstreams.get(KEY, simulated("hang"))
        async with anyio.create_task_group() as group:
            group.start_soon(connection.call, "tools/call", CALL, 20)
            await anyio.lowlevel.checkpoint()
            clock.seconds += 1000
            await upstreams.close_idle()
            assert connection.alive
            group.cancel_scope.cancel()
        clock.seconds += 1000
        await upstreams.close_idle()
        assert not connection.alive


async def held(connection: Connection, group: anyio.abc.TaskGroup) -> None:
    """A call on this connection is under way until the group is cancelled."""

    async def call() -> None:
        with contextlib.suppress(NotSent, OutcomeUnknown):
            await connection.call("tools/call", CALL, 20)

    group.start_soon(call)
    while not connection.usage.in_flight:
        await anyio.lowlevel.checkpoint()


@pytest.mark.claim("upstream:one-server-starves-no-other")
async def test_only_so_many_connections_are_open_at_once_and_the_longest_idle_one_makes_room() -> None:
    clock = Clock()
    async with pool(clock, replace(QUICK, connections=2)) as upstreams, anyio.create_task_group() as group:
        first, second = [
            await upstreams.get(replace(KEY, session=session), simulated("hang")) for session in ("ses_1", "ses_2")
        ]
        clock.seconds += 1
        await upstreams.get(replace(KEY, session="ses_1"), simulated("hang"))
        third = await upstreams.get(replace(KEY, session="ses_3"), simulated("hang"))
        while second.alive:
            await anyio.lowlevel.checkpoint()
        assert first.alive
        assert third.alive
        for one in (first, third):
            await held(one, group)
        with pytest.raises(NotSent, match="bound"):
            await upstreams.get(replace(KEY, session="ses_4"), simulated("hang"))
        assert first.alive
        assert third.alive
        group.cancel_scope.cancel()


@pytest.mark.claim("upstream:one-server-starves-no-other")
@pytest.mark.parametrize("bound", [2, 3])
async def test_one_server_s_sessions_never_take_the_places_of_another_server(bound: int) -> None:
    """Attack: a server keeps all its connections busy. The control is the same with no bound of its own."""
    limits = replace(QUICK, connections=3, server_connections=bound)
    async with pool(limits=limits) as upstreams, anyio.create_task_group() as group:
        for number in range(bound):
            one = await upstreams.get(replace(KEY, session=f"ses_{number}"), simulated("hang"))
            await held(one, group)
        with pytest.raises(NotSent, match="bound"):
            await upstreams.get(replace(KEY, session="ses_9"), simulated("hang"))
        other = replace(KEY, server="git")
        if bound == limits.connections:
            with pytest.raises(NotSent, match="bound"):
                await upstreams.get(other, simulated("echo"))
        else:
            assert (await upstreams.get(other, simulated("echo"))).alive
        group.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------- starting it again


async def test_a_dead_child_is_started_again_only_after_its_backoff(tmp_path: Path) -> None:
    clock = Clock()
    target = simulated("die", str(tmp_path / "acted"))
    async with pool(clock) as upstreams:
        waits = []
        for _ in range(4):
            connection = await upstreams.get(KEY, target)
            with pytest.raises(OutcomeUnknown):
                await connection.call("tools/call", CALL, 10)
            died = clock.seconds
            with pytest.raises(NotSent, match="next start in"):
                await upstreams.get(KEY, target)
            while True:
                clock.seconds += 0.5
                try:
                    await upstreams.get(KEY, target)
                except NotSent:
                    continue
                break
            waits.append(clock.seconds - died)
    assert waits == [1.0, 2.0, 4.0, 8.0]


async def test_a_child_that_does_not_start_waits_too() -> None:
    clock = Clock()
    async with pool(clock) as upstreams:
        with pytest.raises(NotSent, match="did not start"):
            await upstreams.get(KEY, StdioTarget("/nonexistent"))
        with pytest.raises(NotSent, match=r"next start in 1\.0 s"):
            await upstreams.get(KEY, StdioTarget("/nonexistent"))
        clock.seconds += 1
        with pytest.raises(NotSent, match="did not start"):
            await upstreams.get(KEY, StdioTarget("/nonexistent"))
        # The control: another target is another matter, and starts at once.
        assert (await upstreams.get(KEY, simulated("echo"))).alive


async def test_a_session_that_an_http_server_forgot_is_opened_anew_at_once() -> None:
    forgotten = {"s-1"}
    count = 0

    def hello(request: Request) -> bytes:
        nonlocal count
        count += 1
        return http(200, result(request.message, HELLO), Mcp_Session_Id=f"s-{count}")

    def answer(request: Request) -> bytes:
        return http(404) if request.headers["mcp-session-id"] in forgotten else http(200, result(request.message, 1))

    async with HttpSimulator(answer, hello=hello).serving() as server, pool() as upstreams:
        target = HttpTarget(server.url)
        with pytest.raises(NotSent):
            await (await upstreams.get(KEY, target)).call("tools/call", CALL, 10)
        assert isinstance(await (await upstreams.get(KEY, target)).call("tools/call", CALL, 10), Result)


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 200)), max_size=30))
def test_a_backoff_grows_to_its_bound_and_a_healthy_minute_ends_it(lives: list[tuple[float, float]]) -> None:
    backoff, now = Backoff(), 0.0
    for lived, extra in lives:
        started = max(now, backoff.not_before) + extra
        now = started + lived
        following = backoff.after(started, now)
        wait = following.not_before - now
        assert 0.999 <= wait <= LONGEST_BACKOFF + 0.001
        assert following.failures == (1 if now - started >= HEALTHY_SECONDS else backoff.failures + 1)
        backoff = following


# --------------------------------------------------------------------------------------------------------- tool lists


async def test_a_tool_list_is_read_to_its_last_page_byte_for_byte() -> None:
    async with pool() as upstreams:
        tools = await list_tools(await upstreams.get(KEY, simulated("page", "7")))
    assert tools == tuple(b'{"name": "t%d", "x-unknown": {"b": 1.0}}' % page for page in range(7))


@pytest.mark.parametrize(("kind", "what"), [("endless", "more than 100 pages"), ("loop", "comes back")])
async def test_a_tool_list_without_an_end_is_no_list(kind: str, what: str) -> None:
    async with pool() as upstreams:
        with pytest.raises(UpstreamUnavailable, match=what):
            await list_tools(await upstreams.get(KEY, simulated("page", kind)))


@pytest.mark.parametrize(
    "page",
    [{}, [], {"tools": {}}, {"tools": [], "nextCursor": 1}, {"tools": [{}] * 10_001}, {"tools": ["x" * 9_000_000] * 4}],
)
async def test_an_odd_or_huge_tool_list_is_refused(page: object) -> None:
    server = HttpSimulator(lambda r: http(200, result(r.message, page)))
    async with server.serving(), pool(limits=Limits(reply_bytes=50_000_000)) as upstreams:
        with pytest.raises(UpstreamUnavailable):
            await list_tools(await upstreams.get(KEY, HttpTarget(server.url)))


async def test_a_hint_that_the_list_changed_reaches_the_pool_with_its_key() -> None:
    told: list[UpstreamKey] = []
    with anyio.fail_after(30):
        upstreams = Upstreams(Clock(), QUICK, told.append)
        await (await upstreams.get(KEY, simulated("asks"))).call("tools/call", CALL, 10)
        await upstreams.aclose()
    assert told == [KEY]
