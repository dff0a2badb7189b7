"""Blueprints: approved once, instances made by their owner, narrowed with the blueprint, stopped with it, never widened."""

from typing import Any

import pytest

from remit.core.credentials import PersonCaller, SessionCaller
from remit.core.errors import Forbidden, InvalidDocument, InvalidPolicy, NameTaken, NotFound, WrongState
from remit.core.events import Kind
from remit.core.times import DAY, HOUR
from remit.guards.documents import check_answer
from remit.services import agents, blueprints, departures, grants, people
from tests.services.desk import Desk, allowed, codes, host_of
from tests.services.world import READ, World, tool

pytestmark = pytest.mark.anyio

OWNER = "own@example.test"
READING: dict[str, Any] = {"name": "reading", "tools": ["office/read_mail"]}
PAYING: dict[str, Any] = {
    "name": "paying",
    "tools": ["office/pay_invoice"],
    "limits": [{"eur": "100.00", "per": "call"}, {"eur": "250.00", "per": "day"}],
}


def file(*templates: Any, **members: Any) -> dict[str, Any]:
    """A blueprint as a file has it."""
    return {
        "kind": "Blueprint",
        "name": "clerks",
        "owner": OWNER,
        "purpose": "Reads and pays",
        "life": "P7D",
        "grants": list(templates),
        **members,
    }


async def apply(world: World, *templates: Any, by: PersonCaller | None = None, **members: Any) -> dict[str, Any]:
    world.later()
    answer: dict[str, Any] = await blueprints.apply(world.deps, by or world.admin, file(*templates, **members))
    check_answer("Blueprint", answer)
    return answer


async def instance(desk: Desk, name: str = "clerk-1", by: PersonCaller | None = None, **members: Any) -> dict[str, Any]:
    desk.world.later()
    document = {"kind": "Agent", "name": name, "blueprint": "clerks", **members}
    answer: dict[str, Any] = await blueprints.create_instance(desk.deps, by or desk.world.admin, document)
    check_answer("Agent", answer)
    return answer


async def at_work(desk: Desk, name: str = "clerk-1") -> SessionCaller:
    """A session of an instance."""
    return await desk.session(await host_of(desk.world, name), ttl="P6D")


async def owner_of_clerks(desk: Desk) -> PersonCaller:
    await desk.world.without_demands()
    return await desk.world.person(OWNER, "viewer")


@pytest.mark.claim("blueprint:bounds-its-instances")
async def test_an_instance_is_active_at_once_and_holds_what_its_blueprint_gives(desk: Desk) -> None:
    """Made by the blueprint's owner, who could grant nothing: the control is the same grant, applied by them."""
    owner = await owner_of_clerks(desk)
    applied = await apply(desk.world, READING, PAYING, model="openai:gpt-5")
    assert (applied["version"], applied["instances"], applied["narrowed"]) == (1, [], [])
    made = await instance(desk, by=owner)
    assert (made["state"], made["owner"], made["blueprint"], made["blueprint_version"]) == (
        "active",
        OWNER,
        "clerks",
        1,
    )
    assert (made["purpose"], made["mode"], made["model"]) == ("Reads and pays", "delegated", "openai:gpt-5")
    session = await at_work(desk)
    assert allowed(await desk.open(session))
    assert allowed(await desk.pay(session, 100))
    assert codes(await desk.pay(session, 101)) == ["budget.exceeded"]
    assert [one["template"] for one in await grants.list_all(desk.deps, owner, "clerk-1")] in (
        ["reading", "paying"],
        ["paying", "reading"],
    )
    with pytest.raises(Forbidden):
        await grants.apply(desk.deps, owner, {"kind": "Grant", "agent": "clerk-1", "tools": ["office/read_mail"]})
    kinds = await desk.world.kinds()
    assert kinds.count(Kind.BLUEPRINT_APPLIED) == 1


@pytest.mark.claim("blueprint:bounds-its-instances")
async def test_nobody_gives_an_instance_more_than_its_blueprint(desk: Desk) -> None:
    """The administrator's grant is refused too. The same grant to the desk's own agent is the control."""
    await owner_of_clerks(desk)
    await apply(desk.world, READING)
    await instance(desk)
    with pytest.raises(WrongState, match="an instance"):
        await desk.world.grant("office/pay_invoice", agent="clerk-1")
    await desk.world.grant("office/pay_invoice")
    document = {
        "kind": "Agent",
        "name": "clerk-1",
        "owner": OWNER,
        "purpose": "Other",
        "expires": desk.world.in_future(),
    }
    with pytest.raises(WrongState, match="an instance"):
        await agents.change(desk.deps, desk.world.admin, document)
    assert codes(await desk.pay(await at_work(desk))) == ["tool.unknown"]
    for name in ("purpose", "mode", "review_by", "deputy"):
        value = (
            desk.world.in_future() if name == "review_by" else {"mode": "autonomous", "deputy": OWNER}.get(name, "x")
        )
        with pytest.raises(InvalidDocument) as refused:
            await instance(desk, "clerk-2", None, **{name: value})
        assert refused.value.pointer == f"/{name}"
    with pytest.raises(InvalidDocument):
        await agents.create(desk.deps, desk.world.admin, {"kind": "Agent", "name": "clerk-2", "blueprint": "clerks"})


@pytest.mark.claim("blueprint:never-widens-an-instance")
async def test_a_wider_version_gives_nothing_to_instances_there_are_and_everything_to_new_ones(desk: Desk) -> None:
    await owner_of_clerks(desk)
    await apply(desk.world, READING)
    await instance(desk)
    session = await at_work(desk)
    wider = await apply(desk.world, READING, PAYING, life="P30D")
    assert (wider["version"], wider["narrowed"]) == (2, [])
    assert wider["instances"] == [{"agent": "clerk-1", "version": 1, "state": "active"}]
    assert codes(await desk.pay(session)) == ["tool.unknown"]
    assert (await agents.get(desk.deps, desk.world.admin, "clerk-1"))["blueprint_version"] == 1
    await instance(desk, "clerk-2")
    assert allowed(await desk.pay(await at_work(desk, "clerk-2"))), "the control"
    desk.world.later(7 * DAY)
    assert codes(await desk.open(session)) == ["agent.not_live"]


@pytest.mark.claim("blueprint:never-widens-an-instance")
async def test_a_narrower_version_takes_a_tool_a_ceiling_a_condition_and_time_from_instances_at_once(
    desk: Desk,
) -> None:
    await owner_of_clerks(desk)
    await apply(desk.world, READING, PAYING)
    await instance(desk)
    session = await at_work(desk)
    assert allowed(await desk.pay(session, 80))
    lower = {**PAYING, "limits": {"eur": "50.00", "per": "call"}}
    assert (await apply(desk.world, READING, lower))["narrowed"] == ["clerk-1"]
    assert codes(await desk.pay(session, 51)) == ["budget.exceeded"]
    assert allowed(await desk.pay(session, 50)), "the control"
    conditioned = {**lower, "when": 'context.args.recipient == "NL91ABNA0417164300"'}
    assert (await apply(desk.world, READING, conditioned))["narrowed"] == ["clerk-1"]
    assert codes(await desk.pay(session, 49)) == ["policy.denied"]
    assert (await apply(desk.world, READING, conditioned))["narrowed"] == []
    assert (await apply(desk.world, READING))["narrowed"] == ["clerk-1"]
    assert codes(await desk.pay(session, 1)) == ["tool.unknown"]
    assert allowed(await desk.open(session))
    # And what was taken is not given back by a version that gives it again.
    assert (await apply(desk.world, READING, PAYING))["narrowed"] == []
    assert codes(await desk.pay(session, 1)) == ["tool.unknown"]
    assert (await apply(desk.world, READING, PAYING, life="PT1H"))["narrowed"] == ["clerk-1"]
    desk.world.later(HOUR)
    assert codes(await desk.open(session)) == ["agent.not_live"]


@pytest.mark.claim("blueprint:never-widens-an-instance")
async def test_what_an_instance_spent_today_still_counts_after_it_was_narrowed(desk: Desk) -> None:
    """A grant is counted under its id: a narrower one in its place would begin anew."""
    await owner_of_clerks(desk)
    await apply(desk.world, PAYING)
    await instance(desk)
    session = await at_work(desk)
    for _ in range(2):
        assert allowed(await desk.pay(session, 100))
    await apply(desk.world, {**PAYING, "limits": {"eur": "60.00", "per": "call"}})
    assert codes(await desk.pay(session, 60)) == ["budget.exceeded"], "200 of 250 are spent"
    assert allowed(await desk.pay(session, 50))


@pytest.mark.claim("grant:never-widens")
async def test_a_tool_approved_after_a_version_is_reached_by_no_instance_of_it_not_even_a_new_one(desk: Desk) -> None:
    """By effect. The control is the next version, and an instance of it."""
    await owner_of_clerks(desk)
    by_effect = {"name": "reading", "tools": [{"server": "office", "effects": ["read"]}]}
    await apply(desk.world, by_effect)
    await desk.world.sync(*desk.world.lists.get("office", []), READ, tool("late"))
    await desk.world.review("office/late")
    await instance(desk)
    assert codes(await desk.open(await at_work(desk), "office/late", {})) == ["tool.unknown"]
    await apply(desk.world, by_effect)
    assert codes(await desk.open(await at_work(desk), "office/late", {})) == ["tool.unknown"]
    await instance(desk, "clerk-2")
    assert allowed(await desk.open(await at_work(desk, "clerk-2"), "office/late", {}))


@pytest.mark.claim("blueprint:bounds-its-instances")
@pytest.mark.parametrize("fate", ["retired", "suspended"])
async def test_a_retired_blueprint_takes_its_instances_with_it_and_no_other_agent(desk: Desk, fate: str) -> None:
    owner = await owner_of_clerks(desk)
    await apply(desk.world, READING)
    await instance(desk, by=owner)
    session, other = await at_work(desk), await desk.session()
    answer = await blueprints.retire(desk.deps, owner, "clerks", {"instances": fate, "reason": "over"})
    check_answer("Blueprint", answer)
    assert (answer["state"], answer["stopped"]) == ("retired", ["clerk-1"])
    assert codes(await desk.open(session)) == ["agent.not_live"]
    assert allowed(await desk.open(other))
    assert (await agents.get(desk.deps, owner, "clerk-1"))["state"] == fate
    with pytest.raises(WrongState):
        await agents.activate(desk.deps, owner, "clerk-1")
    for caller in (owner, desk.world.admin):
        with pytest.raises(WrongState):
            await instance(desk, "clerk-2", by=caller)
    with pytest.raises(WrongState):
        await apply(desk.world, READING)
    with pytest.raises(WrongState):
        await blueprints.retire(desk.deps, owner, "clerks", {})


async def test_only_as_many_instances_live_as_may_and_an_ended_one_makes_room(desk: Desk) -> None:
    await owner_of_clerks(desk)
    await apply(desk.world, READING, most_instances=2)
    await instance(desk, "clerk-1", expires=desk.world.in_future(HOUR))
    await instance(desk, "clerk-2")
    with pytest.raises(WrongState, match="as many as may"):
        await instance(desk, "clerk-3")
    desk.world.later(HOUR)
    await instance(desk, "clerk-3")
    await agents.retire(desk.deps, desk.world.admin, "clerk-2")
    await instance(desk, "clerk-4")
    with pytest.raises(WrongState):
        await instance(desk, "clerk-5")


async def test_who_may_apply_a_blueprint_and_who_may_make_instances_of_it(desk: Desk) -> None:
    owner = await owner_of_clerks(desk)
    deputy = await desk.world.person("dep@example.test", "viewer")
    for role in ("reviewer", "approver", "auditor", "owner", "viewer"):
        other = await desk.world.person(f"{role}@example.test", role)
        with pytest.raises(Forbidden):
            await apply(desk.world, READING, by=other)
    with pytest.raises(Forbidden):
        await apply(desk.world, READING, by=owner)
    await apply(desk.world, READING, deputy="dep@example.test")
    stranger = await desk.world.person("x@example.test", "owner")
    for refused in (
        lambda: instance(desk, by=stranger),
        lambda: instance(desk, by=owner, owner="x@example.test"),
        lambda: blueprints.retire(desk.deps, stranger, "clerks", {}),
    ):
        with pytest.raises(Forbidden):
            await refused()
    assert (await instance(desk, "clerk-1", by=deputy))["deputy"] == "dep@example.test"
    assert (await instance(desk, "clerk-2", owner="x@example.test"))["owner"] == "x@example.test"
    assert "deputy" not in await instance(desk, "clerk-3", owner="dep@example.test")
    with pytest.raises(NameTaken):
        await instance(desk, "clerk-1")
    await people.suspend(desk.deps, desk.world.admin, OWNER)
    with pytest.raises(WrongState, match="not active"):
        await instance(desk, "clerk-4")
    with pytest.raises(Forbidden):
        await instance(desk, "clerk-4", by=await desk.world.signed_in(owner.person.id))


async def test_a_blueprint_that_could_not_be_granted_is_refused_with_the_place(desk: Desk) -> None:
    await owner_of_clerks(desk)
    size, epoch = len(await desk.world.leaves()), await desk.world.epoch()
    bad: list[tuple[list[Any], str]] = [
        ([READING, {"name": "x", "tools": ["office/none"]}], "/grants/1/tools/0"),
        ([READING, READING], "/grants/1/name"),
        ([{**READING, "limits": {"eur": "1.00", "per": "day"}}], "/grants/0/limits/0"),
        ([{"name": "x", "tools": [{"server": "office", "effects": ["destroy"]}]}], "/grants/0/tools/0"),
    ]
    for templates, pointer in bad:
        with pytest.raises(InvalidDocument) as refused:
            await apply(desk.world, *templates)
        assert refused.value.pointer == pointer
    with pytest.raises(InvalidPolicy):
        await apply(desk.world, {**READING, "when": "true) || (true"})
    for members in ({"life": "P366D"}, {"deputy": OWNER}, {"owner": "nobody@example.test"}, {"state": "active"}):
        with pytest.raises(InvalidDocument):
            await apply(desk.world, READING, by=None, **members)
    assert (len(await desk.world.leaves()), await desk.world.epoch()) == (size, epoch)
    with pytest.raises(NotFound):
        await blueprints.get(desk.deps, desk.world.admin, "clerks")
    await apply(desk.world, READING)
    for expires in (desk.world.in_future(8 * DAY), desk.world.in_future(-DAY)):
        with pytest.raises(InvalidDocument):
            await instance(desk, expires=expires)


async def test_blueprints_are_handed_on_with_the_agents_of_who_departs(desk: Desk) -> None:
    await owner_of_clerks(desk)
    heir = await desk.world.person("heir@example.test", "viewer")
    await apply(desk.world, READING)
    await instance(desk)
    await departures.depart(desk.deps, desk.world.admin, OWNER, {"to": "heir@example.test"})
    shown = await blueprints.get(desk.deps, heir, "clerks")
    assert shown["owner"] == "heir@example.test"
    assert (await agents.get(desk.deps, heir, "clerk-1"))["state"] == "suspended"
    await agents.activate(desk.deps, heir, "clerk-1")
    await instance(desk, "clerk-2", by=heir)
    assert [one["name"] for one in await blueprints.list_all(desk.deps, heir)] == ["clerks"]


async def test_a_ceiling_that_nothing_counts_any_more_stands_in_no_reviewer_s_way(desk: Desk) -> None:
    """One template for reading and paying loses the paying: its ceiling in EUR goes with it, that of calls stays."""
    await owner_of_clerks(desk)
    limits = [{"eur": "100.00", "calls": 9, "per": "day"}]
    await apply(desk.world, {"name": "all", "tools": ["office/read_mail", "office/pay_invoice"], "limits": limits})
    await instance(desk)
    await apply(desk.world, {"name": "all", "tools": ["office/read_mail"]})
    (held,) = await grants.list_all(desk.deps, desk.world.admin, "clerk-1")
    assert (held["tools"], held["limits"]) == (["office/read_mail"], [{"per": "day", "calls": 9}])
    await desk.world.review("office/read_mail", output={"from": "structured", "fields": {}})
    assert allowed(await desk.open(await at_work(desk)))
