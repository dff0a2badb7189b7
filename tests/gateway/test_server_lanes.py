"""One server as a process meets it: places for calls, rest after failures, and that nobody waits for somebody else's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.canonical import Json
from remit.core.events import Kind
from remit.core.servers import Server
from remit.gateway import lanes
from remit.gateway.lanes import FAILURES, LONGEST_REST, TRIAL, Lane, Sources
from remit.gateway.servers import Servers
from remit.gateway.upstream import NotSent, OutcomeUnknown, Unreached
from remit.services import servers
from remit.services.registry import find
from tests.services.world import READ, World
from tests.simulators import HELLO, HttpSimulator, Request, child, http, result
from tests.web.house import House, Upstream, answered, open_house, refused, text_of

pytestmark = pytest.mark.anyio
OK = b'{"content":[{"type":"text","text":"ok"}]}'


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        """Somewhere in its life."""
        self.seconds = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.seconds


def lane(hand: Hand, chance: float = 1.0, concurrency: int = 2) -> Lane:
    return Lane(Sources(hand, lambda: 1_000, lambda: chance), concurrency)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await asyncio.sleep(0.001)


async def record(world: World, name: str) -> Server:
    async with world.deps.store.view(world.deps.org) as view:
        return await find(view, Server, name)


# ------------------------------------------------------------------------------------------------------ the circuit


@pytest.mark.claim("upstream:circuit-is-no-weapon")
@given(st.floats(0, 1), st.integers(0, 30))
def test_a_server_rests_after_failures_in_a_row_ever_longer_and_one_at_a_time_tries_again(
    chance: float, further: int
) -> None:
    hand = Hand()
    road = lane(hand, chance)
    for _ in range(FAILURES - 1):
        road.failed(Unreached("gone"), unreached=True)
        road.admit()
    for number in range(further + 1):
        road.failed(Unreached("gone"), unreached=True)
        rest = min(LONGEST_REST, 2.0 ** min(number, 10))
        assert rest / 2 <= road.rests_until - hand.seconds <= rest
        with pytest.raises(NotSent, match="in a row"):
            road.admit()
        hand.seconds = road.rests_until
        road.admit()
        with pytest.raises(NotSent):
            road.admit()
        hand.seconds += TRIAL
        road.admit()  # the one who tried never came to an answer
    assert road.state() == "resting"
    road.succeeded()
    road.admit()
    assert (road.state(), road.failures) == ("well", 0)


@pytest.mark.claim("upstream:circuit-is-no-weapon")
async def test_an_unknown_outcome_and_a_refusal_never_make_a_server_rest() -> None:
    road = lane(Hand())
    for error in (OutcomeUnknown("hung"), NotSent("refused with HTTP status 413")):
        for _ in range(3 * FAILURES):
            with pytest.raises(type(error)):
                async with road.turn():
                    raise error
            road.admit()
    assert (road.state(), road.failures, road.in_flight) == ("unused", 0, 0)
    # The control: what does count.
    for _ in range(FAILURES):
        with pytest.raises(Unreached):
            async with road.turn():
                raise Unreached("gone")
    with pytest.raises(NotSent):
        road.admit()


@pytest.mark.claim("upstream:circuit-is-no-weapon")
@pytest.mark.parametrize("status", [401, 403, 404, 413, 415, 429, 500, 502])
async def test_no_agent_shuts_a_server_to_others_by_what_it_sends(house: House, status: int) -> None:
    """Attack: calls that the server refuses, again and again. Another session's call goes through all the same."""
    _, other = await house.started()

    def picky(request: Request) -> bytes:
        arguments: Json = request.message["params"]["arguments"]  # type: ignore[index]  # JSON of our own
        return http(status) if arguments == {"id": "bad"} else answered(request, OK)

    house.upstream.on_call = picky
    await house.call("office__read_mail", {"id": "good"}, who=other)
    for _ in range(2 * FAILURES):
        await house.call("office__read_mail", {"id": "bad"})
    assert text_of(await house.call("office__read_mail", {"id": "good"}, who=other)) == "ok"


async def test_a_server_that_is_gone_is_answered_for_at_once_and_comes_back_by_itself(world: World) -> None:
    async with HttpSimulator(lambda request: answered(request, OK)).serving() as gone:
        url = gone.url
    hand = Hand()
    await servers.add(world.deps, world.admin, {"kind": "Server", "name": "office", "url": url})
    behind = Servers(world.deps, hand, 1_000.0)
    office = await record(world, "office")
    assert behind.health(office.id) is None
    try:
        for number in range(FAILURES):
            with pytest.raises(Unreached):
                await behind.ready(office, f"ses_{number}")
        with pytest.raises(NotSent, match="in a row") as resting:
            await behind.ready(office, "ses_9")
        assert "tried again in" in resting.value.hint
        health = behind.health(office.id)
        assert isinstance(health, dict)
        assert (health["state"], health["failures"], health["last_success"]) == ("resting", FAILURES, None)
        assert health["failure"] == "the server refused the connection"
        hand.seconds += LONGEST_REST
        upstream = Upstream()
        upstream.simulator.port = int(url.split(":")[2].partition("/")[0])
        server = await asyncio.start_server(upstream.simulator._talk, "127.0.0.1", upstream.simulator.port)
        async with server:
            await behind.ready(office, "ses_9")
            health = behind.health(office.id)
            assert isinstance(health, dict)
            assert (health["state"], health["failures"], health["connections"]) == ("well", 0, 1)
            await behind.aclose()
    finally:
        await behind.aclose()


@pytest.mark.parametrize("looked", ["check", "sync"])
async def test_a_server_that_rests_is_called_again_as_soon_as_an_administrator_has_reached_it(
    house: House, looked: str
) -> None:
    office = await record(house.world, "office")
    for _ in range(FAILURES):
        house.servers._lane(office).failed(Unreached("gone"), unreached=True)
    assert "in a row" in text_of(await house.call("office__read_mail", {"id": "1"})), "the control"
    assert house.upstream.effects == []
    await house.ask("POST", f"/v1/servers/office/{looked}", "administrator", {})
    assert text_of(await house.call("office__read_mail", {"id": "1"})) == "ok"


# ------------------------------------------------------------------------------------------------------ places


async def test_only_so_many_calls_are_under_way_and_the_others_come_on_in_turn() -> None:
    road, order, gate = lane(Hand()), list[int](), asyncio.Event()

    async def one(number: int) -> None:
        async with road.turn():
            order.append(number)
            assert road.in_flight <= 2
            await gate.wait()

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(one, number)
            await until(lambda number=number: len(order) + len(road._waiting) == number + 1)  # type: ignore[misc]  # bound now
        assert order == [0, 1]
        gate.set()
    assert order == [0, 1, 2, 3, 4, 5]
    assert (road.in_flight, len(road._waiting)) == (0, 0)


@pytest.mark.parametrize("late", [False, True])
async def test_who_goes_away_while_waiting_leaves_no_place_behind_taken(late: bool) -> None:
    road = lane(Hand(), concurrency=1)
    async with road.turn():
        waiting = [asyncio.create_task(road.wait()) for _ in range(2)]
        await until(lambda: len(road._waiting) == 2)
        if not late:
            waiting[0].cancel()
    if late:
        waiting[0].cancel()  # in the very moment in which it was given the place
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[0].cancelled()
    assert road.in_flight == 1
    road.leave()
    assert (road.in_flight, len(road._waiting)) == (0, 0)


@asynccontextmanager
async def narrow(world: World, monkeypatch: pytest.MonkeyPatch, **members: Json) -> AsyncIterator[House]:
    """A house whose office takes one call at a time, and has callers wait hardly at all."""
    monkeypatch.setattr(lanes, "WAITING", 0.05)
    async with open_house(world, Upstream()) as house:
        document: dict[str, Json] = {"kind": "Server", "name": "office", "url": house.upstream.simulator.url}
        await servers.change(world.deps, world.admin, "office", {**document, "concurrency": 1, **members})
        yield house


async def test_a_call_over_the_bound_is_decided_recorded_not_sent_and_its_budget_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(world, monkeypatch) as house:
        await world.without_demands()
        gate = asyncio.Event()

        async def slow(request: Request) -> bytes:
            await gate.wait()
            return answered(request, OK)

        house.upstream.on_call = slow
        pay = {"recipient": "DE89370400440532013000", "amount": 200}
        async with anyio.create_task_group() as group:
            group.start_soon(house.call, "office__read_mail", {"id": "1"})
            await until(lambda: len(house.upstream.effects) == 1)
            size, _ = await house.state()
            answer = await house.call("office__pay_invoice", pay)
            assert "1 calls are under way" in text_of(answer)
            assert await house.kinds_since(size) == [Kind.INTENT, Kind.OUTCOME]
            gate.set()
        assert len(house.upstream.effects) == 1
        assert text_of(await house.call("office__pay_invoice", pay)) == "ok", "the control: the budget was let go"


async def test_a_record_narrows_how_long_a_call_may_take_and_the_setting_bounds_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(world, monkeypatch, timeout="PT1S") as house:
        office = await record(world, "office")
        assert house.servers.timeout(office) == 1.0
        assert Servers(world.deps, Hand(), 1.0, 0.25).timeout(office) == 0.25
        house.upstream.on_call = lambda _: asyncio.Event().wait()  # type: ignore[assignment,return-value]  # never
        answer = await house.call("office__read_mail", {"id": "1"})
        assert "did not answer within 1 s" in text_of(answer)


# ------------------------------------------------------------------------------------------------------ nobody waits


@pytest.mark.claim("upstream:one-server-starves-no-other")
async def test_waiters_behind_a_hung_list_all_end_with_it_and_other_servers_answer_meanwhile(world: World) -> None:
    """Attack: a server hangs in tools/list. One after the other, each waiter would wait for those before it."""
    async with open_house(world, Upstream()) as house:
        hung = HttpSimulator(lambda _: asyncio.Event().wait())  # type: ignore[arg-type,return-value]  # never answers
        async with hung.serving():
            document: dict[str, Json] = {"kind": "Server", "name": "hung", "url": hung.url, "timeout": "PT1S"}
            await servers.add(world.deps, world.admin, document)
            server = await record(world, "hung")
            waiters = [asyncio.create_task(house.servers.ready(server, "ses_1")) for _ in range(20)]
            await until(lambda: len(hung.calls("tools/list")) == 1)
            assert text_of(await house.call("office__read_mail", {"id": "1"})) == "ok"
            with anyio.fail_after(5):  # twenty in a row would take twenty seconds
                found = await asyncio.gather(*waiters, return_exceptions=True)
            assert {type(one) for one in found} == {Unreached} or all(isinstance(one, NotSent) for one in found)
            assert len(hung.calls("tools/list")) == 1
            await house.servers.close_session("ses_1")


@pytest.mark.claim("upstream:never-shared")
async def test_who_waits_with_an_older_record_never_gets_the_connection_of_a_newer_one(world: World) -> None:
    """A record changed while its server was being opened: each caller ends at the address of its own record."""
    gate = asyncio.Event()

    def site(name: str) -> HttpSimulator:
        async def hello(request: Request) -> bytes:
            await gate.wait()
            return http(200, result(request.message, {**HELLO, "serverInfo": {"name": name, "version": "1"}}))

        return HttpSimulator(lambda request: answered(request, b'{"tools":[' + READ + b"]}"), hello=hello)

    async with site("old").serving() as old, site("new").serving() as new:
        document: dict[str, Json] = {"kind": "Server", "name": "office", "url": old.url}
        await servers.add(world.deps, world.admin, document)
        behind = Servers(world.deps, Hand(), 1_000.0)
        before = await record(world, "office")
        first = asyncio.create_task(behind.ready(before, "ses_1"))
        await until(lambda: len(old.calls("initialize")) == 1)
        await servers.change(world.deps, world.admin, "office", {**document, "url": new.url})
        second = asyncio.create_task(behind.ready(await record(world, "office"), "ses_1"))
        await until(lambda: len(new.calls("initialize")) == 1)
        gate.set()
        assert b'"new"' in (await second).connection.server_info
        with contextlib.suppress(NotSent):
            assert b'"old"' in (await first).connection.server_info
        await behind.aclose()


async def test_closing_the_gateway_tells_those_who_wait(world: World) -> None:
    hung = HttpSimulator(lambda _: asyncio.Event().wait())  # type: ignore[arg-type,return-value]  # never answers
    async with hung.serving():
        await servers.add(world.deps, world.admin, {"kind": "Server", "name": "hung", "url": hung.url})
        behind = Servers(world.deps, Hand(), 1_000.0)
        waiting = asyncio.create_task(behind.ready(await record(world, "hung"), "ses_1"))
        await until(lambda: len(hung.calls("tools/list")) == 1)
        with anyio.fail_after(10):
            await behind.aclose()
            with pytest.raises(NotSent):
                await waiting


# ------------------------------------------------------------------------------------------------------ sent once


@pytest.mark.claim("upstream:unknown-not-retried")
@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (lambda _: None, 1),
        (lambda _: http(500), 1),
        (lambda _: http(503), 1),
        (lambda _: http(302, Location="http://127.0.0.1:9/"), 1),
        (lambda _: http(307, Location="http://127.0.0.1:9/"), 1),
        (lambda _: http(401), 1),
        (lambda _: http(429), 1),
        (
            lambda _: (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{"
            ),
            1,
        ),
        (lambda request: refused(request, b'{"code":-32000,"message":"later"}'), 1),
        (lambda _: http(404), 2),
    ],
)
async def test_nothing_is_sent_twice_but_to_a_server_that_forgot_our_session(
    house: House, answer: Callable[[Request], bytes | None], sent: int
) -> None:
    """404 to a session is the one answer after which a fresh connection may do better; and that once."""
    house.upstream.on_call = answer
    await house.call("office__read_mail", {"id": "1"})
    assert len(house.upstream.effects) == sent


# ------------------------------------------------------------------------------------------------------ what to do


async def checked(house: House, **record: Json) -> dict[str, Json]:
    name = f"s{len(await house.world.leaves())}"
    await servers.add(house.world.deps, house.world.admin, {"kind": "Server", "name": name, **record})
    found = await house.ask("POST", f"/v1/servers/{name}/check", "administrator", {})
    assert found.status_code == 200, found.text
    document: dict[str, Json] = found.json()
    return document


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (lambda _: http(401), "remit server secret"),
        (lambda _: http(403), "remit server secret"),
        (lambda _: http(404), "path often ends in /mcp"),
        (lambda _: http(200, b"<html>", "text/html"), "does not speak MCP"),
        (lambda _: http(405), "does not speak MCP"),
        (lambda _: None, "does not speak MCP"),
        (lambda _: http(307, Location="http://127.0.0.1:9/"), "register that URL"),
    ],
)
async def test_a_check_says_what_to_do_about_each_answer(
    house: House, answer: Callable[[Request], bytes | None], advice: str
) -> None:
    async with HttpSimulator(answer, hello=answer).serving() as server:
        found = await checked(house, url=server.url)
    assert found["ok"] is False
    assert advice in str(found["hint"])


async def test_a_check_says_what_to_do_when_nothing_answers(house: House) -> None:
    async with HttpSimulator(lambda _: None).serving() as gone:
        url = gone.url
    assert "Nothing listens there" in str((await checked(house, url=url))["hint"])
    assert "resolve it" in str((await checked(house, url="https://no-such-host.invalid/mcp"))["hint"])
    plain = await checked(house, url="http://no-such-host.invalid/mcp", insecure=True)
    assert "plain http" in str(plain["warning"])


async def test_a_check_of_a_program_gives_its_last_words_made_harmless(house: House, tmp_path: Path) -> None:
    missing = await checked(house, stdio={"command": str(tmp_path / "none"), "args": []})
    assert "can't be started" in str(missing["hint"])
    command, _ = child("echo")
    words = "import sys; sys.stderr.write('key is hunter2-hunter2\\n\\x1b[31mno database\\n'); sys.exit(3)"
    stdio: Json = {"command": command, "args": ["-I", "-S", "-c", words], "env": {"KEY": "hunter2-hunter2"}}
    ended = await checked(house, stdio=stdio)
    assert "Run it by hand" in str(ended["hint"])
    assert ended["last_words"] == ["key is [env KEY]", "\\x1b[31mno database"]


async def test_health_shows_where_servers_do_and_is_one_process_s_own(house: House) -> None:
    await house.call("office__read_mail", {"id": "1"})
    shown = (await house.ask("GET", "/v1/servers/office", "viewer")).json()["health"]
    assert (shown["state"], shown["process"], shown["connections"]) == ("well", house.world.deps.instance, 1)
    listed = (await house.ask("GET", "/v1/servers", "viewer")).json()["items"]
    assert [one["health"]["state"] for one in listed] == ["well"]
    assert (await house.ask("GET", "/v1/status", "viewer")).json()["counts"]["failing"] == 0
    assert Servers(house.world.deps, Hand(), 1.0).health(shown["process"]) is None
