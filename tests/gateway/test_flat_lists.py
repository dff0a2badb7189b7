"""The flat list of resources over several servers: it comes to its end, and nothing of one server goes to another."""

import asyncio
import json
from typing import Any

import pytest

from remit.services import servers
from tests.gateway.streaming import HEAD, kept_frames, notified, opened, params_for
from tests.gateway.surfaced import Surfaced, asked
from tests.services.world import World
from tests.simulators import Request
from tests.web.house import House, answered, open_house

pytestmark = pytest.mark.anyio


async def beside(house: House, other: Surfaced, name: str) -> None:
    """A second server whose resources the bookkeeper may list."""
    document: Any = {"kind": "Server", "name": name, "url": other.simulator.url}
    await servers.add(house.world.deps, house.world.admin, document)
    await house.servers.sync(house.world.admin, name)
    await house.world.review(f"{name}/resources/list")
    await house.world.grant(f"{name}/resources/list")


async def test_every_page_is_reached_also_where_a_name_begins_with_another(world: World) -> None:
    """``office-2`` stands before ``office`` by reference ('-' < '/'), and after it by name."""
    many = [b'{"uri":"n:///%d","name":"a"}' % number for number in range(250)]
    other = Surfaced(resources=many, page=125)
    seen: list[str] = []
    cursor: str | None = None
    office = Surfaced(resources=[b'{"uri":"n:///only","name":"o"}'])
    async with open_house(world, office) as house, other.simulator.serving():
        await house.govern("resources/list")
        await beside(house, other, "office-2")
        for _ in range(6):
            got = (await asked(house, "resources/list", {} if cursor is None else {"cursor": cursor}))["result"]
            seen += [one["uri"] for one in got["resources"]]
            cursor = got.get("nextCursor")
            if cursor is None:
                break
    assert cursor is None
    assert sorted(seen) == sorted(["office+n:///only", *(f"office-2+n:///{number}" for number in range(250))])


@pytest.mark.claim("surface:cursors-are-bound")
async def test_a_cursor_goes_to_the_server_that_gave_it_and_to_no_other(world: World) -> None:
    """Also where that server is not reached any more when the list goes on."""

    class Secretive(Surfaced):
        def _answer(self, request: Request) -> Any:
            if request.message.get("method") == "resources/list":
                items = b",".join(b'{"uri":"n:///%d","name":"a"}' % number for number in range(150))
                return answered(request, b'{"resources":[' + items + b'],"nextCursor":"SECRET-OF-OFFICE"}')
            return Surfaced._answer(self, request)

    other = Surfaced(resources=[b'{"uri":"n:///x","name":"x"}'])
    async with open_house(world, Secretive()) as house, other.simulator.serving():
        await house.govern("resources/list")
        await beside(house, other, "zulu")
        got = (await asked(house, "resources/list"))["result"]
        await servers.retire(world.deps, world.admin, "office")
        world.later(1_500)
        after = (await asked(house, "resources/list", {"cursor": got["nextCursor"]}))["result"]
    assert [one["uri"] for one in after["resources"]] == ["zulu+n:///x"]
    assert all("SECRET" not in json.dumps(one) for one in other.sent("resources/list"))
    assert other.sent("resources/list")


@pytest.mark.claim("stream:checked-frames")
async def test_what_one_server_says_is_not_kept_with_the_call_of_another(world: World) -> None:
    other = Surfaced()

    def talkative(house: House) -> Any:
        def answer(request: Request) -> Any:
            if request.message.get("method") != "resources/list":
                return Surfaced._answer(house.upstream, request)  # type: ignore[arg-type]

            async def live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                params: Any = request.message["params"]
                token = params["_meta"]["progressToken"]
                said = notified("notifications/progress", progressToken=token, progress=1, message="words of OFFICE")
                found = {"jsonrpc": "2.0", "id": request.message["id"], "result": {"resources": []}}
                writer.write(HEAD + b"data: " + said + b"\n\n")
                await writer.drain()
                writer.write(b"data: " + json.dumps(found).encode() + b"\n\n")
                await writer.drain()

            return live

        return answer

    async with open_house(world, Surfaced()) as house:
        async with other.simulator.serving():
            await house.govern("resources/list")
            await beside(house, other, "zulu")
            house.upstream.simulator.answer = talkative(house)
            await asked(house, "resources/list", at="/mcp/zulu")
        # It is gone by now, so its own call ends before anything is asked of it.
        size, _ = await house.state()
        await house.servers.close_session(house.session)
        params = params_for("2026-07-28", {}, progressToken="t")
        async with opened(house, "resources/list", params) as (_, messages):
            async for _ in messages:
                pass
        leaves = await world.leaves()
        ends = [at for at in range(size, len(leaves)) if leaves[at]["k"] == 63]
        found = {str(leaves[at]["tool"]).partition("/")[0]: await kept_frames(house, at) for at in ends}
    assert "words of OFFICE" in json.dumps(found["office"])
    assert "words of OFFICE" not in json.dumps(found["zulu"])
