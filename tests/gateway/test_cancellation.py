"""Who may give up a call that is under way, what its server is told, and that it has exactly one end whatever came first."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.gateway import exchange as exchanges
from remit.gateway.exchange import Exchange, GivenUp
from remit.services import servers
from tests.gateway.streaming import (
    Said,
    headers_of,
    opened,
    outcomes,
    params_for,
    read_mail,
    streams,
    told,
    until,
    whole,
)
from tests.gateway.test_streams import TALKER
from tests.simulators import Request
from tests.web.house import House, text_of

pytestmark = pytest.mark.anyio
HANDSHAKE = ("2025-06-18", "2025-11-25")
EVERY = (*HANDSHAKE, "2026-07-28")
UNKNOWN, OUTCOME = 64, 63


@pytest.fixture(autouse=True)
def _watched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is watched for its end from the start, so that no test has to wait for it."""
    monkeypatch.setattr(exchanges, "WATCH_AFTER", 0.0)


async def noticed(house: House) -> None:
    """Return once a connection that was closed before is known to be: what comes in later is served."""
    for _ in range(3):
        await house.rpc("ping")


class Held:
    """Calls at the office that it has and does not answer before it is let; and whether their clients left it."""

    def __init__(self, house: House) -> None:
        """From here on every call is held."""
        self.arrived: list[Said] = []
        self.left = 0
        self.go = asyncio.Event()
        streams(house, self._talk)

    async def _talk(self, said: Said) -> None:
        self.arrived.append(said)
        waits = [asyncio.ensure_future(self.go.wait()), asyncio.ensure_future(said.left())]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if waits[1] in done:
            self.left += 1
        else:
            with contextlib.suppress(ConnectionError):
                await said.answer()


@asynccontextmanager
async def socket_call(
    house: House, params: dict[str, Any], revision: str, who: str = "token", ident: object = 7
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One call over a connection of its own, which ends with the block."""
    host, _, port = house.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}).encode()
    headers = headers_of(house, revision, "tools/call", params, who)
    lines = [f"{name}: {value}" for name, value in {**headers, "host": "x", "content-length": str(len(body))}.items()]
    writer.write("\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + body)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def cancel(house: House, ident: object, who: str = "token") -> None:
    """What a client with a handshake says of a call that it does not want any more."""
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": ident, "reason": "x"}}
    answer = await house.ask("POST", "/mcp", who, body)
    assert (answer.status_code, answer.content) == (202, b"")


async def ends(house: House, size: int, count: int = 1) -> list[dict[str, Any]]:
    """The ends of calls in the log from index ``size`` on, once there are so many."""
    async with asyncio.timeout(20):
        while len(found := await outcomes(house, size)) < count:
            await asyncio.sleep(0.005)
    return found


# ---------------------------------------------------------------------------------------------------- by closing


@pytest.mark.claim("stream:cancelled-by-its-own")
@pytest.mark.parametrize("server", EVERY)
async def test_a_stateless_client_gives_a_call_up_by_closing_its_connection(house: House, server: str) -> None:
    house.upstream.revision = server
    await house.resynced()
    held = Held(house)
    size, _ = await house.state()
    async with socket_call(house, read_mail(), "2026-07-28"):
        await until(lambda: len(held.arrived) == 1)
    [end] = await ends(house, size)
    assert (end["k"], end["outcome"]) == (UNKNOWN, "unknown")
    await until(lambda: held.left == 1)
    if server in HANDSHAKE:
        await until(lambda: told(house) == [held.arrived[0].request.message["id"]])
    else:
        assert told(house) == []
    assert len(house.upstream.effects) == 1
    assert text_of((await whole_call(house))["result"]) == "ok"
    assert len(await outcomes(house, size)) == 2


async def whole_call(house: House) -> dict[str, Any]:
    """Another call, answered at once, with its stream."""
    house.upstream.says(b'{"content":[{"type":"text","text":"ok"}]}')
    heard = await whole(house, read_mail())
    return heard.messages[-1]


@pytest.mark.claim("stream:cancelled-by-its-own")
async def test_a_stateless_client_that_closes_its_stream_between_two_frames_gives_the_call_up(house: House) -> None:
    held: list[Said] = []

    async def talk(said: Said) -> None:
        held.append(said)
        await said.progress(1)
        await said.left()

    streams(house, talk)
    size, _ = await house.state()
    async with opened(house, "tools/call", read_mail(progressToken=1)) as (_, messages):
        assert (await anext(messages))["params"]["progress"] == 1
    [end] = await ends(house, size)
    assert (end["k"], end["outcome"]) == (UNKNOWN, "unknown")


@pytest.mark.parametrize("client", HANDSHAKE)
async def test_a_client_with_a_handshake_that_loses_its_connection_has_given_up_nothing(
    house: House, client: str
) -> None:
    held = Held(house)
    size, _ = await house.state()
    async with socket_call(house, read_mail(client, progressToken=1), client):
        await until(lambda: len(held.arrived) == 1)
    await noticed(house)
    assert await outcomes(house, size) == []
    held.go.set()
    [end] = await ends(house, size)
    assert (end["k"], end["outcome"]) == (OUTCOME, "done")
    assert (held.left, told(house)) == (0, [])


@pytest.mark.claim("stream:cancelled-by-its-own")
async def test_a_call_that_was_given_up_before_it_was_sent_is_not_sent_and_gives_back_what_it_held(
    house: House,
) -> None:
    """The connection to the server is still being opened when the client goes."""
    opening, go = asyncio.Event(), asyncio.Event()
    answer, _ = house.upstream.honest()

    async def slow(request: Request) -> Any:
        if request.message.get("method") == "tools/list":
            opening.set()
            await go.wait()
        said = answer(request)
        assert isinstance(said, bytes)
        return said

    house.upstream.simulator.answer = slow
    house.session, house.credentials["token"] = await house.started()
    size, _ = await house.state()
    pay = {"name": "office__pay_invoice", "arguments": {"recipient": "DE89370400440532013000", "amount": 200}}
    async with socket_call(house, params_for("2026-07-28", pay), "2026-07-28"):
        await opening.wait()
    await noticed(house)
    go.set()
    [end] = await ends(house, size)
    assert (end["k"], end["outcome"]) == (OUTCOME, "failed")
    assert house.upstream.effects == []
    assert text_of((await whole(house, params_for("2026-07-28", pay))).result) == "ok"


# ------------------------------------------------------------------------------------------------- by saying so


@pytest.mark.claim("stream:cancelled-by-its-own")
@pytest.mark.parametrize("client", EVERY)
@pytest.mark.parametrize("ident", [7, "seven", 0, ""])
async def test_a_client_gives_a_call_up_by_saying_so(house: House, client: str, ident: Any) -> None:
    held = Held(house)
    size, _ = await house.state()
    async with socket_call(house, read_mail(client), client, ident=ident) as (reader, _):
        await until(lambda: len(held.arrived) == 1)
        await cancel(house, ident)
        [end] = await ends(house, size)
        assert (end["k"], end["outcome"]) == (UNKNOWN, "unknown")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
    await until(lambda: told(house) == [held.arrived[0].request.message["id"]])


@pytest.mark.claim("stream:cancelled-by-its-own")
async def test_nobody_gives_up_another_s_call_nor_one_that_is_not_named_alone(house: House) -> None:
    """Another session of the same agent, the same agent's standing key, an id of another kind, an id that two calls have."""
    held = Held(house)
    other_session, other = await house.started()
    assert other_session != house.session
    size, _ = await house.state()
    params = read_mail("2025-11-25")
    async with AsyncExitStack() as calls:
        for made in (7, "twice", "twice"):
            await calls.enter_async_context(socket_call(house, params, "2025-11-25", ident=made))
        await until(lambda: len(held.arrived) == 3)
        for who in (other, "standing"):
            await cancel(house, 7, who)
        for named in ("7", 7.0, 8, True, None, [7], {"a": 7}, "twice", "twice", "", 2**62):
            await cancel(house, named)
        assert await outcomes(house, size) == []
        assert (told(house), held.left) == ([], 0)
        await cancel(house, 7)  # the control: said by its own client, it counts
        assert [end["outcome"] for end in await ends(house, size)] == ["unknown"]
        held.go.set()
        done = (await ends(house, size, 3))[1:]
    assert [end["outcome"] for end in done] == ["done"] * 2


@pytest.mark.claim("stream:cancelled-by-its-own")
@pytest.mark.parametrize("client", ["2025-11-25", "2026-07-28"])
async def test_a_child_is_told_which_call_nobody_waits_for(house: House, tmp_path: Path, client: str) -> None:
    heard = tmp_path / "heard"
    stdio: Any = {"command": sys.executable, "args": ["-I", "-S", str(TALKER), str(heard)], "env": {}}
    await servers.add(house.world.deps, house.world.admin, {"kind": "Server", "name": "pipe", "stdio": stdio})
    await house.servers.sync(house.world.admin, "pipe")
    await house.world.review("pipe/work")
    await house.world.grant("pipe/work")
    size, _ = await house.state()
    call = params_for(client, {"name": "pipe__work", "arguments": {"steps": 1, "wait": True}}, progressToken=1)
    async with opened(house, "tools/call", call, revision=client) as (_, messages):
        assert (await anext(messages))["params"]["progress"] == 1
        if client == "2025-11-25":
            await cancel(house, 7)
            assert "gave it up" in text_of((await anext(messages))["result"])
    [end] = await ends(house, size)
    assert end["outcome"] == "unknown"
    await until(lambda: heard.exists() and heard.read_text("utf-8").endswith("\n"))
    assert len(heard.read_text("utf-8").split()) == 1


# ---------------------------------------------------------------------------------------------- whichever came first


@pytest.mark.claim("stream:cancelled-by-its-own")
@pytest.mark.parametrize("first", ["answer", "cancel"])
@pytest.mark.parametrize("client", ["2025-11-25", "2026-07-28"])
async def test_an_answer_and_a_cancellation_at_once_make_one_end(house: House, client: str, first: str) -> None:
    """Twenty calls, each answered and given up in one breath, in either order: one end each, no intent left open."""
    size, _ = await house.state()
    calls = 20
    for number in range(calls):
        held = Held(house)
        async with socket_call(house, read_mail(client), client, ident=number) as (_, writer):
            await until(lambda held=held: len(held.arrived) == 1)  # type: ignore[misc]
            if first == "answer":
                held.go.set()
            if client == "2026-07-28":
                writer.close()
            else:
                cancelling = asyncio.ensure_future(cancel(house, number))
            if first == "cancel":
                await asyncio.sleep(0)
                held.go.set()
            if client != "2026-07-28":
                await cancelling
    found = await ends(house, size, calls)
    assert len(found) == calls
    assert {end["outcome"] for end in found} <= {"done", "unknown"}
    leaves = (await house.world.leaves())[size:]
    intents = [leaf["i"] for leaf in leaves if leaf["k"] == 62]
    assert sorted(end["intent"] for end in found) == intents


async def _ends(steps: list[str], *, swallows: bool) -> tuple[str, int]:
    """How a wait ends that is answered and given up in these steps; and what is left of its cancellation."""
    exchange = Exchange()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def waiting() -> str:
        try:
            return await answer
        except asyncio.CancelledError:
            if swallows:
                return "swallowed"
            raise

    async def call() -> str:
        try:
            found = await exchange.during(waiting())
        except GivenUp:
            found = "given up"
        for _ in range(2):
            await asyncio.sleep(0)  # the outcome being recorded
        return found

    task = asyncio.ensure_future(call())
    for step in ("turn", *steps, "answer"):
        if step == "give up":
            exchange.give_up()
        elif step == "answer" and not answer.done():
            answer.set_result("answered")
        else:
            await asyncio.sleep(0)
    return await task, task.cancelling()


@pytest.mark.claim("stream:cancelled-by-its-own")
@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.sampled_from(["answer", "give up", "turn"]), max_size=8), swallows=st.booleans())
def test_a_wait_ends_one_way_and_what_comes_after_it_is_never_cancelled(steps: list[str], swallows: bool) -> None:
    """A law, in whatever order: else the recording of an outcome would be what is cancelled."""
    found, left = asyncio.run(_ends(steps, swallows=swallows))
    assert left == 0
    assert found in ({"answered", "given up", "swallowed"} if "give up" in steps else {"answered"})


# --------------------------------------------------------------------------------------------------- the plain path


async def test_a_call_that_is_over_soon_is_never_watched(house: House) -> None:
    """Being watched is a task and a wait; a client that closes a kept connection after its answer has given up nothing."""
    waits = 0

    async def receive() -> Any:
        nonlocal waits
        waits += 1
        return {"type": "http.disconnect"}

    gone: list[int] = []
    exchange = Exchange(receive)
    exchange.watch(lambda: gone.append(1))
    exchange.unwatch()
    other = Exchange(receive)
    other.watch(lambda: gone.append(2))
    await until(lambda: gone == [2])
    assert waits == 1
    size, _ = await house.state()
    async with socket_call(house, read_mail(), "2026-07-28") as (reader, _):
        await reader.readuntil(b"ok")
    assert [end["outcome"] for end in await ends(house, size)] == ["done"]
