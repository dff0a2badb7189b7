"""People, delegated and autonomous agents apart: each tries what is another's, on every route there is."""

from typing import Any

import pytest

from remit.services import agents, grants, keys
from remit.services.authenticate import as_person, authenticate
from remit.web.server import ROUTES
from tests.services.desk import as_session_caller, codes, host_of, make_desk
from tests.services.world import World
from tests.web.house import House

pytestmark = pytest.mark.anyio

OF_AGENTS = ("host", "token", "standing")


def filled(path: str) -> str:
    """A route's path with something in each of its places."""
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


@pytest.mark.claim("separation:no-key-of-an-agent-is-a-person")
@pytest.mark.parametrize("who", OF_AGENTS)
async def test_no_credential_of_an_agent_acts_as_a_person_on_any_route(house: House, who: str) -> None:
    """The body is refused before or after: what counts is that none gets further than a person's credential would.

    The control is a person's key on the same route with the same body: it is never refused for what it is.
    """
    await house.rpc("ping", who="standing")  # its first use makes its session
    asked = 0
    for route in ROUTES:
        if route.who != "person":
            continue
        body: Any = {} if route.takes is not None else None
        size, epoch = await house.state()
        answer = await house.ask(route.method, filled(route.path), who, body)
        if answer.status_code == 422:  # its body is looked at first; then nothing else is
            assert await house.state() == (size, epoch), route.path
            continue
        asked += 1
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (route.path, answer.text)
        assert "for a signed-in person" in answer.json()["detail"], route.path
        assert (await house.state())[1] == epoch, route.path
        assert (await house.kinds_since(size)) == [45], route.path
        control = await house.ask(route.method, filled(route.path), "administrator", body)
        assert "for a signed-in person" not in control.text, route.path
    assert asked > 30


@pytest.mark.claim("separation:no-person-is-an-agent")
async def test_no_person_s_key_starts_a_session_or_calls_a_tool_at_any_door(house: House) -> None:
    """An administrator's neither. The host's and the session's own credentials are the control."""
    start = {"agent": "bookkeeper", "principal": "ada@example.test"}
    call = {"call_id": "c-1", "tool": "office/read_mail", "arguments": {"id": "m1"}}
    path = f"/v1/sessions/{house.session}"
    rpc = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "office__read_mail", "arguments": {}}}
    tries: list[tuple[str, Any, str]] = [
        ("/v1/sessions", start, "host"),
        (f"{path}/token", {}, "host"),
        (f"{path}/decide", call, "token"),
        ("/mcp", rpc, "token"),
        ("/mcp/office", {**rpc, "params": {"name": "read_mail", "arguments": {}}}, "token"),
    ]
    for where, body, own in tries:
        for who in ("administrator", "ada"):
            size = len(await house.world.leaves())
            answer = await house.ask("POST", where, who, body)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (where, answer.text)
            assert await house.kinds_since(size) == [45]
        assert (await house.ask("POST", where, own, body)).status_code in (200, 201), where
    assert len(house.upstream.effects) == 2, "and only the agent's own calls reached the server"


@pytest.mark.claim("separation:no-key-of-an-agent-is-a-person")
async def test_a_person_behind_an_agent_lends_it_nothing_of_their_own(world: World) -> None:
    """The owner is an administrator and an approver: their agent's keys are not. The owner's own key is the control."""
    await make_desk(world)
    for purpose in ("host", "session"):
        made = await keys.create(world.deps, world.admin, {"agent": "bookkeeper", "for": purpose, "expires": "P1D"})
        caller = await authenticate(world.deps, f"Bearer {made['secret']}")
        with pytest.raises(Exception, match="for a signed-in person"):
            await as_person(world.deps, caller)
    own = await keys.create_person_key(world.deps, world.admin.person)
    assert (await as_person(world.deps, await authenticate(world.deps, f"Bearer {own}"))).person == world.admin.person


@pytest.mark.claim("separation:autonomous-from-delegated")
async def test_an_autonomous_agent_uses_nothing_of_a_delegated_one_s(world: World) -> None:
    """Of the same owner, with the same tool on the same server: neither its grants, its sessions nor its person.

    The controls: the delegated agent's own call, and the autonomous one's once it is granted the same itself.
    """
    desk = await make_desk(world)
    await world.without_demands()
    await world.agent("robot", mode="autonomous")
    await world.grant("office/read_mail", agent="robot")
    await agents.activate(world.deps, world.admin, "robot")
    robot = await host_of(world, "robot")
    delegated = await desk.session()
    principal, desk.principal = desk.principal, None
    alone = await desk.session(robot)
    assert codes(await desk.pay(alone)) == ["tool.unknown"]
    for members in ({"parent": delegated.session}, {"principal": principal}, {"agent": "bookkeeper"}):
        with pytest.raises(Exception, match=r"same person|acts for nobody|its own agent"):
            await desk.session(robot, **members)
    posing = as_session_caller(type(alone)(org="main", key=alone.key, agent=alone.agent, session=delegated.session))
    assert codes(await desk.pay(posing)) == ["session.not_live"]
    assert codes(await desk.pay(delegated)) == []
    await world.grant("office/pay_invoice", agent="robot")
    assert codes(await desk.pay(alone)) == []


@pytest.mark.claim("separation:autonomous-from-delegated")
async def test_a_delegated_agent_works_neither_alone_nor_under_an_autonomous_one(world: World) -> None:
    desk = await make_desk(world)
    await world.agent("robot", mode="autonomous")
    await world.grant("office/read_mail", agent="robot")
    await agents.activate(world.deps, world.admin, "robot")
    principal, desk.principal = desk.principal, None
    alone = await desk.session(await host_of(world, "robot"))
    with pytest.raises(Exception, match="name the principal"):
        await desk.session()
    desk.principal = principal
    with pytest.raises(Exception, match="same person"):
        await desk.session(parent=alone.session)
    assert codes(await desk.open(await desk.session())) == []


@pytest.mark.claim("separation:autonomous-from-delegated")
async def test_an_autonomous_agent_is_not_helped_by_what_its_owner_was_granted(world: World) -> None:
    """A grant to a person bounds chains that act for them; it gives no agent anything."""
    desk = await make_desk(world, "autonomous")
    await world.without_demands()
    session = await desk.session()
    await grants.revoke(world.deps, world.admin, desk.grants["pay"])
    document: Any = {"kind": "Grant", "person": world.admin.person.email, "tools": ["office/pay_invoice"]}
    await grants.apply(world.deps, world.admin, document | {"expires": world.in_future()})
    assert codes(await desk.pay(session)) == ["tool.unknown"]
    await world.grant("office/pay_invoice")
    assert codes(await desk.pay(session)) == []
