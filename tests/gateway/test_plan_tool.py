"""``remit__plan``: an agent narrows its own session, and nobody can make it wider, clean or shut for good with it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from remit.core.errors import InvalidDocument
from remit.services import narrowing, servers
from tests.gateway.test_proxy_client import agent
from tests.services.world import World
from tests.web.house import House, Upstream, open_house

PLAN = "remit__plan"
MAIL = "office__read_mail"
PAY = "office__pay_invoice"


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    """A house that lists the tool."""
    async with open_house(world, Upstream(), plan_tool=True) as opened:
        yield opened


def code_of(result: dict[str, Any]) -> str:
    """The reason of a refusal; nothing for a call that was made."""
    if "_meta" not in result:
        return ""
    return str(result["_meta"]["remit/decision"]["reasons"][0]["code"])


async def narrow(house: House, *tools: str, **more: Any) -> dict[str, Any]:
    """One plan."""
    return await house.call(PLAN, {"tools": list(tools), **more})


@pytest.mark.claim("flow:plan-only-narrows")
async def test_the_official_client_narrows_its_session_and_what_it_left_is_gone(house: House) -> None:
    async with agent(house) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [PAY, MAIL, PLAN]
        sealed = await client.call_tool(PLAN, {"tools": [MAIL]})
        assert not sealed.is_error
    assert code_of(await house.call(PAY, {"recipient": "x", "amount": 1})) == "plan.tool"
    await house.call(MAIL, {"id": "m1"})
    assert len(house.upstream.effects) == 1
    [leaf] = [leaf for leaf in await house.world.leaves() if leaf["k"] == 55]
    assert leaf["session"] == house.session


@pytest.mark.claim("flow:plan-only-narrows")
async def test_a_second_plan_widens_nothing_whoever_asks_for_it(house: House) -> None:
    await narrow(house, MAIL)
    wider = await narrow(house, MAIL, PAY)
    assert wider["isError"] is True
    assert "there is no tool" in wider["content"][0]["text"]
    assert (await narrow(house, PAY))["isError"] is True
    assert code_of(await house.call(PAY, {"recipient": "x", "amount": 1})) == "plan.tool"
    assert house.upstream.effects == []


async def test_control_before_any_plan_the_same_tool_is_reached(house: House) -> None:
    assert code_of(await house.call(PAY, {"recipient": "x", "amount": 1})) != "plan.tool"


@pytest.mark.claim("flow:plan-only-narrows")
async def test_a_plan_vouches_for_no_tool_and_states_no_task(house: House) -> None:
    house.session, house.credentials["token"] = await house.started(task=[], context="unattested")
    arguments = {"recipient": "DE89370400440532013000", "amount": 1}
    before = await house.call(PAY, arguments)
    await narrow(house, PAY)
    after = await house.call(PAY, {**arguments, "note": "again"})
    rules = [{one.get("rule") for one in each["_meta"]["remit/decision"]["reasons"]} for each in (before, after)]
    assert "C8" in rules[0] & rules[1]


@pytest.mark.claim("flow:plan-only-narrows")
async def test_a_plan_that_is_none_changes_nothing(house: House) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"tools": []},
        {"tools": MAIL},
        {"tools": ["office__nope"]},
        {"tools": [MAIL], "limits": 5},
        {"tools": [MAIL], "limits": {"eur": "-1"}},
    )
    for arguments in wrong:
        answer = await house.call(PLAN, arguments)
        assert answer["isError"] is True, arguments
    assert 55 not in [leaf["k"] for leaf in await house.world.leaves()]
    assert code_of(await house.call(PAY, {"recipient": "x", "amount": 1})) != "plan.tool"


@pytest.mark.claim("flow:plan-only-narrows")
async def test_a_stranger_s_plan_can_t_shut_a_session_that_lives_as_long_as_its_key(house: House) -> None:
    answer = await house.call(PLAN, {"tools": [MAIL]}, who="standing")
    assert answer["isError"] is True
    assert "standing" in answer["content"][0]["text"]


async def test_a_ceiling_of_a_plan_holds_beside_those_of_the_grant(house: House) -> None:
    await house.world.without_demands()
    house.session, house.credentials["token"] = await house.started()
    await narrow(house, PAY, limits={"eur": "5.00"})
    assert code_of(await house.call(PAY, {"recipient": "x", "amount": 6})).startswith("budget.")
    await house.call(PAY, {"recipient": "x", "amount": 5})
    assert len(house.upstream.effects) == 1


async def test_sessions_below_are_narrowed_too(house: House) -> None:
    child, token = await house.started(parent=house.session)
    await narrow(house, MAIL)
    assert code_of(await house.call(PAY, {"recipient": "x", "amount": 1}, who=token)) == "plan.tool"
    assert child != house.session


async def test_it_is_on_the_flat_list_alone_and_no_server_can_take_its_name(house: House) -> None:
    listed = (await house.rpc("tools/list", at="/mcp/office"))["result"]["tools"]
    assert [one["name"] for one in listed] == ["pay_invoice", "read_mail"]
    with pytest.raises(InvalidDocument, match="own tools"):
        await servers.add(
            house.world.deps, house.world.admin, {"kind": "Server", "name": "remit", "url": "http://127.0.0.1:1/"}
        )


async def test_where_the_setting_is_off_it_is_not_there(world: World) -> None:
    async with open_house(world, Upstream()) as house:
        listed = (await house.rpc("tools/list"))["result"]["tools"]
        assert PLAN not in [one["name"] for one in listed]
        assert code_of(await house.call(PLAN, {"tools": [MAIL]})) == "tool.unknown"
    assert narrowing.MOST_TOOLS == 1_000
