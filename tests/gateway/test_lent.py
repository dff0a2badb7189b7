"""What a worker lends to another behaves as what it would open itself: hints, backoff, frames and the end of a session."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from remit.core.canonical import Json
from remit.gateway.worker_door import WorkerDoor
from remit.gateway.workers import Call
from remit.services import servers
from remit.wiring import close_dead
from tests.gateway import talker
from tests.gateway.streaming import kept_frames, params_for
from tests.gateway.streaming import opened as stream_opened
from tests.gateway.test_two_workers import Pair, lives, opened, until, with_child
from tests.services.world import World
from tests.simulators import Request, http
from tests.web.house import Upstream, text_of

pytestmark = pytest.mark.anyio


async def office(both: Pair) -> str:
    """The id of the office."""
    async with both.houses[0].world.deps.store.view("main") as view:
        return next(one.id for one in (await both.houses[0].world.deps.authority.current(view)).servers.values())


def hinting(upstream: Upstream, *, every_call: bool = False) -> None:
    """From here on the office says with each list, or with each answer, that its list changed."""
    honest, _ = upstream.honest()

    def answer(request: Request) -> Any:
        reply: Any = honest(request)
        if request.message.get("method") != "tools/list" and not every_call:
            return reply
        hint = json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}).encode()
        body = b"".join(b"data: " + one + b"\n\n" for one in (hint, reply.partition(b"\r\n\r\n")[2]))
        return http(200, body, "text/event-stream", Connection="close")

    upstream.simulator.answer = answer


@pytest.mark.claim("worker:sent-at-most-once")
async def test_a_server_that_hints_with_each_list_is_called_by_every_worker(world: World, tmp_path: Path) -> None:
    """And each compares before each call, as its owner does."""
    async with opened(world, tmp_path / "w") as both:
        _, token = await both.session_owned_by(0, await office(both))
        hinting(both.upstream)
        for house in both.houses:
            listed = len(both.upstream.simulator.calls("tools/list"))
            said = [text_of(await house.call("office__read_mail", {"id": "1"}, who=token)) for _ in range(3)]
            assert said == ["ok"] * 3
            assert len(both.upstream.simulator.calls("tools/list")) - listed >= 3


@pytest.mark.claim("worker:sent-at-most-once")
@pytest.mark.parametrize("told", [True, False])
async def test_a_hint_that_came_while_it_listed_is_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """The control: untold, the borrower does not compare again."""
    if not told:
        monkeypatch.setattr(WorkerDoor, "_absorbed", _silently)
    async with opened(world, tmp_path / "w") as both:
        _, token = await both.session_owned_by(0, await office(both))
        hinting(both.upstream)
        await both.houses[1].call("office__read_mail", {"id": "1"}, who=token)
        listed = len(both.upstream.simulator.calls("tools/list"))
        await both.houses[1].call("office__read_mail", {"id": "1"}, who=token)
        assert (len(both.upstream.simulator.calls("tools/list")) > listed) is told


_absorbed = WorkerDoor._absorbed


def _silently(door: WorkerDoor, call: Call, hints: int) -> bool:
    _absorbed(door, call, hints)
    return False


@pytest.mark.claim("upstream:one-server-starves-no-other")
async def test_an_agent_whose_child_dies_shuts_the_server_to_nobody_at_another_worker(
    world: World, tmp_path: Path
) -> None:
    async with opened(world, tmp_path / "w") as both:
        desk = await with_child(both, tmp_path / "acted")
        _, bad = await both.session_owned_by(0, desk)
        _, good = await both.session_owned_by(0, desk)
        house = both.houses[1]
        assert "isError" not in await house.call("desk__whoami", who=good)
        for _ in range(8):
            await house.call("desk__die", who=bad)
        assert "isError" not in await house.call("desk__whoami", who=good)


@pytest.mark.parametrize("carried", [True, False])
async def test_the_child_of_a_killed_session_ends_also_where_another_worker_called_it(
    world: World, tmp_path: Path, *, carried: bool
) -> None:
    async with opened(world, tmp_path / "w") as both:
        desk = await with_child(both, tmp_path / "acted")
        _, token = await both.session_owned_by(0, desk)
        pid = int(text_of(await both.houses[1 if carried else 0].call("desk__whoami", who=token)))
        killed = await both.houses[1].ask("POST", "/v1/agents/bookkeeper/kill", "ada", {"reason": "x"})
        assert killed.status_code == 200, killed.text
        for house in both.houses:
            await close_dead(house.world.deps, house.servers)
        await until(lambda: not lives(pid))


async def test_the_child_that_hinted_last_ends_with_its_session(world: World, tmp_path: Path) -> None:
    async with opened(world, tmp_path / "w", joined=False) as both:
        await with_child(both, tmp_path / "acted")
        house = both.houses[0]
        session, token = await house.started()
        pid = int(text_of(await house.call("desk__whoami", who=token)))
        key = next(one for one in house.servers._compared if one.session == session)
        house.servers._changed(key)
        await house.ask("POST", "/v1/agents/bookkeeper/kill", "ada", {"reason": "x"})
        await close_dead(house.world.deps, house.servers)
        await until(lambda: not lives(pid))
        assert session not in house.servers.sessions()


@pytest.mark.claim("stream:checked-frames")
@pytest.mark.parametrize("number", [1, 0])
async def test_frames_that_are_dropped_on_the_way_are_counted_at_every_worker(
    world: World, tmp_path: Path, number: int
) -> None:
    async with opened(world, tmp_path / "w") as both:
        house = both.houses[0]
        stdio: Json = {"command": sys.executable, "args": ["-I", "-S", talker.__file__, str(tmp_path / "h")], "env": {}}
        made = await servers.add(
            house.world.deps, house.world.admin, {"kind": "Server", "name": "talk", "stdio": stdio}
        )
        await house.servers.sync(house.world.admin, "talk")
        await house.world.review("talk/work")
        await house.world.grant("talk/work")
        _, token = await both.session_owned_by(0, str(made["id"]))
        size, _ = await house.state()
        params = params_for("2026-07-28", {"name": "talk__work", "arguments": {"steps": 900}}, progressToken="t")
        async with stream_opened(both.houses[number], "tools/call", params, who=token) as (_, messages):
            async for _ in messages:
                pass
        leaves = await world.leaves()
        frames = await kept_frames(house, next(at for at in range(size, len(leaves)) if leaves[at]["k"] == 63))
        assert len(frames["shown"]) + frames["dropped"] + frames["withheld"] == 900
