"""Subscriptions to changes: what is agreed to, what is told and to whom, and when one ends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from mcp.client.subscriptions import ToolsListChanged

from remit.core.times import MINUTE, to_text
from remit.gateway import listen
from remit.services import agents, grants, keys, sessions
from tests.gateway.streaming import BOTH, Heard, opened, params_for, told
from tests.gateway.test_cancellation import noticed
from tests.gateway.test_proxy_client import agent
from tests.services.desk import host_of
from tests.services.world import World, tool
from tests.web.house import PERSON, House, Upstream, open_house

pytestmark = pytest.mark.anyio
NEWEST = "2026-07-28"
MARK = "io.modelcontextprotocol/subscriptionId"
EVERYTHING = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
NEW = tool("new_tool", {"type": "object"}, description="New.")


@pytest.fixture(autouse=True)
def _looked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked again so soon that no test has to wait for it."""
    monkeypatch.setattr(listen, "LOOK_EVERY", 0.01)


class Listening:
    """One subscription as its client has it."""

    def __init__(self, heard: Heard, messages: AsyncIterator[dict[str, Any]]) -> None:
        """What came of it so far, and what is to come."""
        self.heard = heard
        self._messages = messages

    async def next(self) -> dict[str, Any]:
        """The next message; a test that waits in vain fails."""
        async with asyncio.timeout(20):
            return await anext(self._messages)

    async def end(self) -> dict[str, Any]:
        """The result, after which nothing comes."""
        last = await self.next()
        with pytest.raises(StopAsyncIteration):
            await self.next()
        found: dict[str, Any] = last["result"]
        return found


@asynccontextmanager
async def listening(
    house: House, wanted: object = None, *, who: str = "token", ident: object = "l-1"
) -> AsyncIterator[Listening]:
    """An open subscription, acknowledged."""
    params = params_for(NEWEST, {"notifications": {"toolsListChanged": True} if wanted is None else wanted})
    async with opened(house, "subscriptions/listen", params, who=who, ident=ident) as (heard, messages):
        assert heard.streamed, [message async for message in messages]
        here = Listening(heard, messages)
        first = await here.next()
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert first["params"]["_meta"] == {MARK: ident}
        yield here


async def refused(house: House, params: dict[str, Any], accept: str = BOTH, revision: str = NEWEST) -> int:
    """The code of the error that a subscription is answered with."""
    found = params_for(revision, params)
    async with opened(house, "subscriptions/listen", found, accept=accept, revision=revision) as (heard, messages):
        message = await anext(messages)
    assert not heard.streamed
    return int(message["error"]["code"])


async def grant_new(house: House) -> None:
    """The office has one more tool, which the agent may call."""
    house.upstream.tools.append(NEW)
    await house.servers.sync(house.world.admin, "office")
    await house.world.review("office/new_tool")
    await house.world.grant("office/new_tool")


# ------------------------------------------------------------------------------------------------- what is agreed to


@pytest.mark.parametrize("ident", ["l-1", 0, -5, 2**53 + 1, ""])
async def test_what_is_granted_is_acknowledged_first_and_the_rest_is_left_out(house: House, ident: object) -> None:
    asked = {**EVERYTHING, "resourceSubscriptions": ["file:///a"], "taskIds": ["t"], "x": 1}
    async with listening(house, asked, ident=ident) as here:
        assert here.heard.messages[0]["params"]["notifications"] == {"toolsListChanged": True}
        assert here.heard.headers["cache-control"] == "no-store"
    async with listening(house, {"promptsListChanged": True, "toolsListChanged": False}) as here:
        assert here.heard.messages[0]["params"]["notifications"] == {}


@pytest.mark.claim("gateway:closed-method-table")
async def test_what_is_no_subscription_is_refused(house: House) -> None:
    wrong: list[dict[str, Any]] = [{}, {"notifications": []}, {"notifications": None}]
    odd: tuple[object, ...] = (1, "yes", None, {})
    wrong += [{"notifications": {"toolsListChanged": value}} for value in odd]
    wrong += [{"notifications": {"resourceSubscriptions": value}} for value in (*odd, [1])]
    for params in wrong:
        assert await refused(house, params) == -32602, params
    for accept in ("application/json", "*/*"):
        assert await refused(house, {"notifications": {}}, accept) == -32600
    for revision in ("2025-06-18", "2025-11-25"):
        assert await refused(house, {"notifications": {}}, revision=revision) == -32601


async def test_it_is_announced_to_stateless_clients_alone(house: House) -> None:
    async with opened(house, "server/discover", params_for(NEWEST, {})) as (heard, messages):
        assert (await anext(messages))["result"]["capabilities"]["tools"] == {"listChanged": True}
    hello = (await house.rpc("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}))["result"]
    assert hello["capabilities"]["tools"] == {}
    assert heard.status == 200


# ---------------------------------------------------------------------------------------------------- what is told


@pytest.mark.claim("stream:listen-shows-what-is-seen")
async def test_a_change_of_what_the_chain_sees_is_told_once_and_tagged(house: House) -> None:
    async with listening(house) as here:
        await grant_new(house)
        changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": {MARK: "l-1"}}}
        assert await here.next() == changed
        granted = await house.world.grant("office/new_tool", expires=to_text(house.world.clock.at + MINUTE))
        await grants.revoke(house.world.deps, house.world.admin, str(granted["id"]))
        # Neither changed what is seen. What comes next is the end.
        await sessions.kill(house.world.deps, house.world.admin, house.session, "enough")
        assert await here.end() == {"resultType": "complete", "_meta": {MARK: "l-1"}}


@pytest.mark.claim("stream:listen-shows-what-is-seen")
async def test_a_change_of_a_tool_that_is_hidden_sends_nothing(house: House) -> None:
    """The registry moves, time and again, in everything that this chain does not see; then in what it sees."""
    who = await another_agent(house)
    async with listening(house) as here, listening(house, {}, ident="l-2") as deaf, listening(house, who=who) as sees:
        for description in ("New.", "Changed.", "Changed again."):
            house.upstream.tools[2:] = [tool("new_tool", {"type": "object"}, description=description)]
            await house.servers.sync(house.world.admin, "office")
            await house.world.review("office/new_tool")
            await house.world.grant("office/new_tool", agent="other")
            # The control: another chain, which sees the tool, is told.
            assert (await sees.next())["method"] == "notifications/tools/list_changed"
            await noticed(house)
        await house.world.grant("office/new_tool")
        assert (await here.next())["method"] == "notifications/tools/list_changed"
        await sessions.kill(house.world.deps, house.world.admin, house.session, "enough")
        assert "resultType" in await here.end()
        assert "resultType" in await deaf.end()


async def another_agent(house: House) -> str:
    """A session of another agent, which may do nothing that the bookkeeper may not."""
    world = house.world
    await world.agent("other")
    await world.grant("office/read_mail", agent="other")
    await agents.activate(world.deps, world.admin, "other")
    request: dict[str, Any] = {"agent": "other", "principal": PERSON}
    return (await sessions.start(world.deps, await host_of(world, "other"), request)).token


@pytest.mark.claim("stream:listen-shows-what-is-seen")
async def test_the_door_of_one_server_tells_of_no_other(house: House) -> None:
    params = params_for(NEWEST, {"notifications": {"toolsListChanged": True}})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
    headers = {"accept": BOTH, "content-type": "application/json", "mcp-protocol-version": NEWEST}
    headers |= {"mcp-method": "subscriptions/listen", "authorization": f"Bearer {house.credentials['token']}"}
    url = "/mcp/elsewhere"
    async with house.http.stream("POST", url, headers=headers, content=body) as response:
        lines = response.aiter_lines()
        assert "acknowledged" in [await anext(lines), await anext(lines)][1]
        await grant_new(house)
        await sessions.kill(house.world.deps, house.world.admin, house.session, "enough")
        data = [line async for line in lines if line.startswith("data: ")]
    assert len(data) == 1
    assert "resultType" in data[0]


async def test_a_grant_that_lapses_is_told_although_the_registry_did_not_move(house: House) -> None:
    house.upstream.tools.append(NEW)
    await house.servers.sync(house.world.admin, "office")
    await house.world.review("office/new_tool")
    await house.world.grant("office/new_tool", expires=to_text(house.world.clock.at + MINUTE))
    async with listening(house) as here:
        house.world.later(MINUTE)
        assert (await here.next())["method"] == "notifications/tools/list_changed"


async def test_nothing_of_it_reaches_a_server(house: House) -> None:
    before = len(house.upstream.simulator.requests)
    async with listening(house, {**EVERYTHING, "resourceSubscriptions": ["file:///a"]}):
        await noticed(house)
    assert len(house.upstream.simulator.requests) == before
    assert told(house) == []


# ------------------------------------------------------------------------------------------------------- the end


async def kill_session(house: House) -> None:
    await sessions.kill(house.world.deps, house.world.admin, house.session, "enough")


async def end_session(house: House) -> None:
    assert (await house.ask("POST", f"/v1/sessions/{house.session}/end", "host", {})).status_code == 204


async def session_runs_out(house: House) -> None:
    house.world.later(61 * MINUTE)


async def kill_agent(house: House) -> None:
    await agents.kill(house.world.deps, house.world.admin, "bookkeeper", "enough")


async def revoke_key(house: House) -> None:
    for key in await keys.list_all(house.world.deps, house.world.admin, None):
        if key["for"] == "host":
            await keys.revoke(house.world.deps, house.world.admin, str(key["key"]))


@pytest.mark.claim("stream:listen-shows-what-is-seen")
@pytest.mark.parametrize("how", [kill_session, end_session, session_runs_out, kill_agent, revoke_key])
async def test_a_subscription_ends_with_what_it_stands_on(
    house: House, how: Callable[[House], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # as often as it really is looked
    assert listen.LOOK_EVERY < 1
    _, other = await house.started()
    async with listening(house) as here:
        await how(house)
        assert "resultType" in await here.end()
    if how in (kill_session, end_session):
        async with listening(house, who=other):
            pass


async def test_a_subscription_ends_when_the_process_is_about_to_stop(house: House) -> None:
    async with listening(house) as here:
        house.leave()
        assert "resultType" in await here.end()
    async with listening(house) as late:
        assert "resultType" in await late.end()


async def test_a_subscription_ends_after_its_time(world: World) -> None:
    async with open_house(world, Upstream(), listen=0.05) as house, listening(house) as here:
        assert "resultType" in await here.end()


async def test_a_client_that_leaves_frees_its_place_and_there_are_so_many_places(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as open_ones:
        for number in range(listen.MOST_OF_SESSION):
            await open_ones.enter_async_context(listening(house, ident=number))
        assert await refused(house, {"notifications": {}}) == -32600
        _, other = await house.started()
        async with listening(house, who=other):
            monkeypatch.setattr(listen, "MOST", listen.MOST_OF_SESSION + 1)
            _, third = await house.started()
            with pytest.raises(AssertionError, match="no more subscriptions"):
                async with listening(house, who=third):
                    pass
    # They left; that is known once it is looked again.
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(AssertionError):
                async with listening(house):
                    return


# ------------------------------------------------------------------------------------------------ the official client


async def test_the_official_client_hears_of_a_change_and_reads_the_new_list(house: House) -> None:
    async with (
        agent(house) as client,
        client.listen(tools_list_changed=True, resource_subscriptions=["file:///a"]) as subscription,
    ):
        assert subscription.honored.tools_list_changed is True
        assert subscription.honored.resource_subscriptions is None
        await grant_new(house)
        async with asyncio.timeout(20):
            assert isinstance(await anext(subscription), ToolsListChanged)
        assert "office__new_tool" in {one.name for one in (await client.list_tools()).tools}
        await kill_session(house)
        async with asyncio.timeout(20):
            assert [event async for event in subscription] == []
