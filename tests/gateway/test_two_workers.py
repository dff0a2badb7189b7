"""Two workers on one home: what one of them opened for a session is used by both, and a call is forwarded at most once.

Both are whole gateways in this process, each with its own store connections and caches, joined by their sockets as
``remit up --workers`` joins them. What takes processes (kill -9) is in ``tests/cli/test_workers.py``.
"""

import asyncio
import contextlib
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.canonical import Json
from remit.core.events import Kind
from remit.gateway import workers as protocol
from remit.gateway.servers import Servers
from remit.gateway.upstream import UpstreamKey
from remit.gateway.workers import Ended, LentConnection, Workers
from remit.services import servers
from remit.storage.sqlite import SqliteStore
from tests.gateway import child
from tests.services.desk import second
from tests.services.world import PAY, World, tool
from tests.simulators import HELLO, Request, http, result
from tests.web.house import House, Upstream, answered, open_doors, open_house, text_of

pytestmark = pytest.mark.anyio

OK = b'{"content":[{"type":"text","text":"ok"}]}'
OTHER_READ = tool("read_mail", {"type": "object", "properties": {"id": {"type": "string"}}}, description="Another.")


@dataclass
class Pair:
    """Two workers, by number."""

    houses: tuple[House, House]
    folder: Path

    @property
    def upstream(self) -> Upstream:
        """The one server behind both."""
        return self.houses[0].upstream

    def owner(self, session: str, server: str, *, bounded: bool = False) -> int:
        """Who owns the connection of a session to a server."""
        key = UpstreamKey("main", server, server, session)
        return Workers(0, 2, self.folder).owner(key, bounded=bounded)

    async def session_owned_by(self, number: int, server: str) -> tuple[str, str]:
        """A session, with its token, whose connection to this server belongs to this worker."""
        for _ in range(64):
            session, token = await self.houses[0].started()
            if self.owner(session, server) == number:
                return session, token
        raise AssertionError("no session in 64 belongs to it")


@asynccontextmanager
async def opened(world: World, folder: Path, *, joined: bool = True) -> AsyncIterator[Pair]:
    """Both workers, or with ``joined`` off two processes that know nothing of each other."""
    folder.mkdir(mode=0o700)
    by = [Workers(number, 2, folder) if joined else None for number in (0, 1)]
    deps = await second(world.path, world.deps, world.clock)
    try:
        async with (
            open_house(world, Upstream(), workers=by[0]) as one,
            open_doors(replace(world, deps=deps), one.upstream, workers=by[1]) as two,
        ):
            two.credentials = one.credentials
            yield Pair((one, two), folder)
    finally:
        assert isinstance(deps.store, SqliteStore)
        await deps.store.close()


@pytest.fixture
async def pair(world: World, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two workers."""
    async with opened(world, tmp_path / "w") as both:
        yield both


async def until(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds; a test that waits in vain fails."""
    with anyio.fail_after(20):
        while not condition():
            await asyncio.sleep(0.005)


async def with_child(both: Pair, acted: Path) -> str:
    """A stdio server ``desk``, all of its tools granted; its id."""
    house = both.houses[0]
    stdio: Json = {"command": sys.executable, "args": ["-I", "-S", child.__file__, str(acted)], "env": {}}
    made = await servers.add(house.world.deps, house.world.admin, {"kind": "Server", "name": "desk", "stdio": stdio})
    await house.servers.sync(house.world.admin, "desk")
    for name in child.NAMES:
        await house.world.review(f"desk/{name}")
    await house.world.grant({"server": "desk", "effects": ["read"]})
    return str(made["id"])


async def office(both: Pair) -> str:
    """The id of the HTTP server."""
    async with both.houses[0].world.deps.store.view("main") as view:
        authority = await both.houses[0].world.deps.authority.current(view)
    return next(server.id for server in authority.servers.values() if server.name == "office")


def lives(pid: int) -> bool:
    """Whether a process is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- one owner


@pytest.mark.claim("worker:one-owner")
async def test_a_session_has_one_child_whichever_worker_takes_its_calls(pair: Pair, tmp_path: Path) -> None:
    desk = await with_child(pair, tmp_path / "acted")
    for number in (0, 1):
        _, token = await pair.session_owned_by(number, desk)
        pids = {text_of(await house.call("desk__whoami", who=token)) for house in (*pair.houses, *pair.houses)}
        assert len(pids) == 1


@pytest.mark.claim("worker:one-owner")
async def test_without_owners_a_session_has_a_child_at_each_worker(world: World, tmp_path: Path) -> None:
    """The control: it is ownership that keeps the child one."""
    async with opened(world, tmp_path / "w", joined=False) as both:
        await with_child(both, tmp_path / "acted")
        pids = {text_of(await house.call("desk__whoami")) for house in both.houses}
        assert len(pids) == 2


@pytest.mark.claim("worker:one-owner")
async def test_a_session_greets_a_server_with_a_handshake_once(pair: Pair) -> None:
    names: list[str] = []

    def hello(request: Request) -> bytes:
        names.append(f"s-{len(names)}")
        return http(200, result(request.message, HELLO), Mcp_Session_Id=names[-1])

    pair.upstream.simulator.hello = hello
    _, token = await pair.houses[0].started()
    for house in (*pair.houses, *pair.houses):
        assert text_of(await house.call("office__read_mail", {"id": "1"}, who=token)) == "ok"
    assert len({effect.headers["mcp-session-id"] for effect in pair.upstream.effects}) == 1
    assert len(names) == 1


async def test_a_server_that_keeps_no_session_is_called_by_each_worker_itself(pair: Pair) -> None:
    pair.upstream.revision = "2026-07-28"
    await pair.houses[0].resynced()
    _, token = await pair.houses[0].started()
    for house in pair.houses:
        assert text_of(await house.call("office__read_mail", {"id": "1"}, who=token)) == "ok"
    server = await office(pair)
    for house in pair.houses:
        keys = [key for key in house.servers._compared if key.server == server]
        assert keys
        assert not any(isinstance(house.servers.current(key), LentConnection) for key in keys)


@given(st.integers(1, 64), st.text(max_size=8), st.one_of(st.none(), st.text(max_size=8)), st.booleans())
def test_all_workers_name_the_same_owner_and_more_of_them_take_from_each_alike(
    count: int, server: str, session: str | None, bounded: bool
) -> None:
    key, folder = UpstreamKey("main", server, server, session), Path()
    owners = {Workers(index, count, folder).owner(key, bounded=bounded) for index in range(count)}
    assert len(owners) == 1
    assert owners <= set(range(count))
    more = Workers(0, count + 1, folder).owner(key, bounded=bounded)
    assert more in {*owners, count}, "one more worker takes what is its own and moves nothing else"


# ------------------------------------------------------------------------------------- what holds across workers


@pytest.mark.claim("worker:one-owner")
@pytest.mark.parametrize(("joined", "most"), [(True, 1), (False, 2)])
async def test_a_bound_on_calls_holds_for_all_workers_together(
    world: World, tmp_path: Path, joined: bool, most: int
) -> None:
    """Attack: two sessions at two workers call a server that takes one call. The control: no worker knows another."""
    async with opened(world, tmp_path / "w", joined=joined) as both:
        house, at_once, top = both.houses[0], 0, 0
        document: dict[str, Json] = {"kind": "Server", "name": "office", "url": both.upstream.simulator.url}
        await servers.change(world.deps, world.admin, "office", {**document, "concurrency": 1})

        met = asyncio.Event()

        async def slow(request: Request) -> bytes:
            nonlocal at_once, top
            at_once += 1
            top = max(top, at_once)
            if top > 1:
                met.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):  # for another to come, if it can
                    await met.wait()
            at_once -= 1
            return answered(request, OK)

        both.upstream.on_call = slow
        tokens = [(await house.started())[1] for _ in range(2)]
        async with anyio.create_task_group() as group:
            for number, token in enumerate(tokens):
                group.start_soon(both.houses[number].call, "office__read_mail", {"id": "1"}, None, token)
        assert len(both.upstream.effects) == 2
        assert top == most


@pytest.mark.claim("tool:pinned")
@pytest.mark.parametrize("defended", [True, False])
async def test_a_list_that_changed_is_seen_by_the_worker_that_does_not_hold_the_connection(
    pair: Pair, defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: show the owner a change while another worker has compared the old list. The control: no loans end."""
    _, token = await pair.session_owned_by(0, await office(pair))
    mine, others = pair.houses

    def changing(request: Request) -> bytes:
        pair.upstream.tools = [PAY, OTHER_READ]
        ours = json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}).encode()
        answer = answered(request, OK).partition(b"\r\n\r\n")[2]
        body = b"".join(b"data: " + one + b"\n\n" for one in (ours, answer))
        return http(200, body, "text/event-stream", Connection="close")

    assert text_of(await others.call("office__read_mail", {"id": "1"}, who=token)) == "ok"
    pair.upstream.on_call = changing
    assert text_of(await mine.call("office__read_mail", {"id": "2"}, who=token)) == "ok"
    sent = len(pair.upstream.effects)
    if not defended:
        monkeypatch.setattr(Servers, "hints", lambda _self, _key: 0)
    answer = await others.call("office__read_mail", {"id": "3"}, who=token)
    assert (len(pair.upstream.effects) == sent) is defended
    assert ("tool.changed" in text_of(answer)) is defended


@pytest.mark.claim("upstream:never-shared")
async def test_a_session_that_ends_at_one_worker_is_closed_at_the_other(pair: Pair, tmp_path: Path) -> None:
    desk = await with_child(pair, tmp_path / "acted")
    for number in (0, 1):
        session, token = await pair.session_owned_by(number, desk)
        pid = int(text_of(await pair.houses[1 - number].call("desk__whoami", who=token)))
        await pair.houses[1 - number].ask("POST", f"/v1/sessions/{session}/end", "host", {})
        await until(lambda gone=pid: not lives(gone))  # type: ignore[misc]


@pytest.mark.claim("stream:cancelled-by-its-own")
async def test_a_call_is_given_up_at_whichever_worker_its_client_says_so(pair: Pair, tmp_path: Path) -> None:
    desk, acted = await with_child(pair, tmp_path / "acted"), tmp_path / "acted"
    _, token = await pair.session_owned_by(0, desk)
    _, stranger = await pair.houses[0].started()
    for number in (0, 1):
        async with anyio.create_task_group() as group:
            said: list[dict[str, Any]] = []

            async def hang(house: House, into: list[dict[str, Any]]) -> None:
                into.append(await house.call("desk__hang", who=token))

            group.start_soon(hang, pair.houses[number], said)
            await until(lambda many=number: acted.exists() and acted.read_text().count("hang") == many + 1)  # type: ignore[misc]
            for who in (stranger, token):
                assert said == [], "the control: another session's word ends nothing"
                body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
                await pair.houses[1 - number].ask("POST", "/mcp", who, body)
            await until(lambda into=said: bool(into))  # type: ignore[misc]
            assert "its client gave it up" in text_of(said[0])


# ------------------------------------------------------------------------------------------ owners that go away


@pytest.mark.claim("worker:sent-at-most-once")
async def test_a_call_whose_owner_ends_is_unknown_once_it_was_sent_and_never_sent_again(
    pair: Pair, tmp_path: Path
) -> None:
    desk, acted = await with_child(pair, tmp_path / "acted"), tmp_path / "acted"
    session, token = await pair.session_owned_by(0, desk)
    size, _ = await pair.houses[0].state()
    async with anyio.create_task_group() as group:
        said: list[dict[str, Any]] = []

        async def hang() -> None:
            said.append(await pair.houses[1].call("desk__hang", who=token))

        group.start_soon(hang)
        await until(lambda: acted.exists() and "hang" in acted.read_text())
        await pair.houses[0].servers.close_session(session)  # the child ends, and with it the answer
    assert "not known" in text_of(said[0])
    assert (await pair.houses[0].kinds_since(size))[-1] == Kind.UNKNOWN
    assert acted.read_text().count("hang") == 1


@pytest.mark.claim("worker:sent-at-most-once")
async def test_a_call_to_an_owner_that_is_not_there_is_not_sent_and_its_place_is_taken_up_again(
    pair: Pair, tmp_path: Path
) -> None:
    desk, acted = await with_child(pair, tmp_path / "acted"), tmp_path / "acted"
    _, token = await pair.session_owned_by(0, desk)
    assert "isError" not in await pair.houses[1].call("desk__whoami", who=token)
    socket = pair.folder / "0.sock"
    away = socket.rename(pair.folder / "away.sock")
    size, _ = await pair.houses[0].state()
    refused = await pair.houses[1].call("desk__whoami", who=token)
    assert "was not called" in text_of(refused)
    assert Kind.UNKNOWN not in await pair.houses[0].kinds_since(size)
    assert acted.read_text().count("whoami") == 1
    away.rename(socket)
    await until_ok(pair.houses[1], token)


async def until_ok(house: House, token: str) -> None:
    """Call until the server is reached again."""
    with anyio.fail_after(20):
        while (await house.call("desk__whoami", who=token)).get("isError"):
            await asyncio.sleep(0.05)


# --------------------------------------------------------------------------------------------------- the socket


@pytest.mark.claim("worker:closed-to-others")
async def test_the_socket_is_closed_to_other_users_and_takes_no_harm_from_what_comes(pair: Pair) -> None:
    path = pair.folder / "0.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(pair.folder.stat().st_mode) == 0o700
    for bytes_sent in (b"", b"\0", b"\xff" * 8, b"\0\0\0\1\xc1", b"\0\0\0\2\x81\xa4", b"GET / HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(bytes_sent)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    assert text_of(await pair.houses[1].call("office__read_mail", {"id": "1"})) == "ok"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_of_a_frame_are_read_as_anything_but_a_question(data: bytes) -> None:
    with contextlib.suppress(ValueError):  # msgspec's errors are
        assert isinstance(protocol.asked.decode(data), (protocol.Open, protocol.Call, Ended, protocol.GiveUp))
