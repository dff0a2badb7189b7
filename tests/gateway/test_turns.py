"""Between the Allow and the call lie connecting and waiting in line; what is stopped in that time is not sent after all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx
import pytest

from remit.core.canonical import Json
from remit.services import live, reconcile, servers
from tests.gateway.streaming import until
from tests.gateway.test_cancellation import cancel
from tests.services.world import PAY, READ, World
from tests.simulators import HELLO, Request, http, result
from tests.web.house import House, Upstream, answered, open_house, text_of

pytestmark = pytest.mark.anyio

OK = b'{"content":[{"type":"text","text":"ok"}]}'
Stop = Callable[[House], Awaitable[None]]


class OneAtATime:
    """The office takes one call at a time; the first is held, and a second waits behind it."""

    def __init__(self, house: House) -> None:
        """Nothing is called yet."""
        self.house = house
        self.go = asyncio.Event()

    async def __aenter__(self) -> Self:
        """The first is under way, and the second in line."""
        house = self.house
        document: dict[str, Json] = {"kind": "Server", "name": "office", "url": house.upstream.simulator.url}
        await servers.change(house.world.deps, house.world.admin, "office", {**document, "concurrency": 1})

        async def held(request: Request) -> bytes:
            await self.go.wait()
            return answered(request, OK)

        house.upstream.on_call = held
        self.first = asyncio.create_task(self.call(1))
        await until(lambda: len(house.upstream.effects) == 1)
        self.second = asyncio.create_task(self.call(2))
        (lane,) = house.servers._lanes.values()
        await until(lambda: len(lane._waiting) == 1)
        return self

    async def call(self, number: int) -> Any:
        """One call, under an id that a client could cancel it by."""
        params = {"name": "office__read_mail", "arguments": {"id": str(number)}}
        return (await self.house.rpc("tools/call", params, ident=number))["result"]

    async def __aexit__(self, *_: object) -> None:
        """What still waits is let go."""
        self.go.set()
        await asyncio.gather(self.first, self.second, return_exceptions=True)

    async def after(self) -> tuple[int, str]:
        """Let the first go: how many calls were sent, and what was said to the second."""
        self.go.set()
        await self.first
        said = text_of(await self.second)
        return len(self.house.upstream.effects), said


async def kill_agent(house: House) -> None:
    """An administrator stops the agent."""
    answer = await house.ask("POST", "/v1/agents/bookkeeper/kill", "ada", {"reason": "x"})
    assert answer.status_code == 200, answer.text


async def suspend_agent(house: House) -> None:
    """Its owner suspends it, which ends no session."""
    answer = await house.ask("PATCH", "/v1/agents/bookkeeper", "ada", {"state": "suspended"})
    assert answer.status_code == 200, answer.text


async def end_session(house: House) -> None:
    """Its host ends the session."""
    answer = await house.ask("POST", f"/v1/sessions/{house.session}/end", "host", {})
    assert answer.status_code in (200, 204), answer.text


async def change_tool(house: House) -> None:
    """Another session's look at the server found another definition of it."""
    house.upstream.tools = [PAY, READ.replace(b"Read one mail", b"Send one mail")]
    await house.servers.sync(house.world.admin, "office")


@pytest.mark.claim("call:stopped-while-it-waits")
@pytest.mark.parametrize("stop", [kill_agent, suspend_agent, end_session, change_tool])
async def test_what_is_stopped_while_it_waits_for_its_turn_is_not_sent(house: House, stop: Stop) -> None:
    async with OneAtATime(house) as line:
        house.world.later(1_500)
        await stop(house)
        sent, said = await line.after()
    assert (sent, said == "ok") == (1, False), said


@pytest.mark.claim("call:stopped-while-it-waits")
async def test_without_a_second_look_it_would_be(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(live, "since", nothing)
    async with OneAtATime(house) as line:
        house.world.later(1_500)
        await kill_agent(house)
        sent, _ = await line.after()
    assert sent == 2


async def test_what_nobody_stopped_is_sent_when_its_turn_comes(house: House) -> None:
    async with OneAtATime(house) as line:
        house.world.later(1_500)
        assert await line.after() == (2, "ok")


@pytest.mark.claim("stream:cancelled-by-its-own")
async def test_what_is_given_up_while_it_waits_for_its_turn_is_not_sent(house: House) -> None:
    async with OneAtATime(house) as line:
        await cancel(house, 2)
        sent, said = await line.after()
    assert (sent, "gave it up" in said) == (1, True), said


@pytest.mark.claim("call:answered-within-its-intent")
@pytest.mark.parametrize(("opening", "sent"), [(25_000, 1), (39_000, 0)])
async def test_a_call_has_what_its_connection_left_of_the_time(world: World, opening: int, sent: int) -> None:
    """An intent that is swept away under a call counts as unknown, and what came back was withheld."""
    async with open_house(world, Upstream(), timeout=30.0) as house:  # so that an intent lasts 40 s
        assert text_of(await house.call("office__read_mail", {"id": "0"})) == "ok"
        second = Upstream()
        begun, go, asked = asyncio.Event(), asyncio.Event(), []

        async def slow_hello(request: Request) -> bytes:
            begun.set()
            await go.wait()
            return http(200, result(request.message, HELLO), Mcp_Session_Id="s-2")

        second.simulator.hello = slow_hello
        async with second.simulator.serving():
            # The record names another URL, while what this caller saw of it is kept for a second.
            document: dict[str, Json] = {"kind": "Server", "name": "office", "url": second.simulator.url}
            await servers.change(world.deps, world.admin, "office", document)
            calling = asyncio.create_task(house.call("office__read_mail", {"id": "1"}))
            await asyncio.wait_for(begun.wait(), 8)
            world.later(opening)
            go.set()
            said = text_of(await calling)
            await reconcile.sweep(world.deps, lambda _: True)
            asked = second.effects
        assert len(asked) == sent
        assert said == "ok" if sent else "too little of its time was left" in said
        assert (await house.kinds_since(0))[-1] == 63, "its outcome stands, and no sweep took it for unknown"


async def test_slow_calls_of_one_session_do_not_shut_the_server_to_others(world: World) -> None:
    """More at once than a client library's own bound, which would count as a server that can't be reached."""
    async with open_house(world, Upstream(), timeout=8.0) as house:
        _, other = await house.started()
        go = asyncio.Event()

        async def slow(request: Request) -> bytes:
            await go.wait()
            return answered(request, OK)

        at_once = house.upstream.on_call
        await house.call("office__read_mail", {"id": "x"})
        house.upstream.on_call = slow
        wide = httpx.AsyncClient(
            base_url=house.url, trust_env=False, timeout=30, limits=httpx.Limits(max_connections=None)
        )
        async with wide:
            house.http, narrow = wide, house.http
            calls = [asyncio.create_task(house.call("office__read_mail", {"id": str(n)})) for n in range(110)]
            await until(lambda: len(house.upstream.effects) == 111)
            house.http = narrow
            house.upstream.on_call = at_once
            said = text_of(await house.call("office__read_mail", {"id": "good"}, who=other))
            go.set()
            done = await asyncio.gather(*calls)
    assert said == "ok"
    assert {text_of(one) for one in done} == {"ok"}
