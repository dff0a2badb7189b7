"""Agents that a person must look at: reviews that run out, deputies, orphans, and who makes no calls."""

from typing import Any

import pytest

from remit.core.credentials import PersonCaller
from remit.core.decisions import Ask, Deny
from remit.core.errors import Forbidden, InvalidDocument, NotFound, WrongState
from remit.core.times import DAY, HOUR, to_text
from remit.guards.documents import check_answer
from remit.services import access, agents, approve, audit, keys, people, sessions
from remit.services.attention import NOTICE
from tests.services.desk import Desk, allowed, codes, host_of
from tests.services.world import World

pytestmark = pytest.mark.anyio

OWNER, DEPUTY = "own@example.test", "dep@example.test"


async def changed(desk: Desk, **members: Any) -> dict[str, Any]:
    """The desk's agent, as another file has it."""
    document = {
        "kind": "Agent",
        "name": "bookkeeper",
        "owner": desk.world.admin.person.email,
        "purpose": "Pays approved supplier invoices",
        "expires": desk.world.in_future(),
        **members,
    }
    return await agents.change(desk.deps, desk.world.admin, document)


async def owned(desk: Desk) -> tuple[PersonCaller, PersonCaller]:
    """Give the desk's agent an owner and a deputy who hold no other role."""
    owner = await desk.world.person(OWNER, "viewer")
    deputy = await desk.world.person(DEPUTY, "viewer")
    await changed(desk, owner=OWNER, deputy=DEPUTY)
    return owner, deputy


async def found(world: World, **asked: Any) -> dict[str, list[Any]]:
    """The agents of a filtered list, each with why."""
    lines = await agents.list_all(world.deps, world.admin, **asked)
    for line in lines:
        check_answer("Agent", line)
    return {str(line["name"]): list(line.get("attention", [])) for line in lines}  # type: ignore[arg-type]


@pytest.mark.claim("registry:review-overdue-refused")
async def test_an_agent_past_its_review_date_is_refused_at_that_millisecond_and_goes_on_once_reviewed(
    desk: Desk,
) -> None:
    """No job marks it: the same session, before, at and after the date. Before it, and after a review, is the control."""
    await changed(desk, review_by=desk.world.in_future(HOUR))
    session = await desk.session(ttl="P3D")
    desk.world.later(HOUR - 1)
    assert allowed(await desk.open(session))
    desk.world.later(1)
    decision = await desk.open(session)
    assert codes(decision) == ["agent.review_due"]
    assert isinstance(decision.verdict, Deny)
    assert "remit agent review" in decision.sentence()
    with pytest.raises(WrongState, match="past its review date"):
        await desk.session()
    with pytest.raises(WrongState):
        await keys.create(desk.deps, desk.world.admin, {"agent": "bookkeeper", "for": "host", "expires": "P1D"})
    with pytest.raises(WrongState):
        await keys.rotate(desk.deps, desk.world.admin, desk.host.key)
    check_answer("Agent", await agents.review(desk.deps, desk.world.admin, "bookkeeper", {"note": "still needed"}))
    assert allowed(await desk.open(session))
    assert (await desk.world.kinds()).count(19) == 1


@pytest.mark.claim("registry:review-overdue-refused")
async def test_a_sub_agent_is_refused_while_an_agent_above_it_is_past_its_review_date(desk: Desk) -> None:
    await desk.world.agent("helper")
    await desk.world.grant("office/read_mail", agent="helper")
    await agents.activate(desk.deps, desk.world.admin, "helper")
    await changed(desk, review_by=desk.world.in_future(HOUR))
    root = await desk.session(ttl="P1D")
    child = await desk.session(await host_of(desk.world, "helper"), parent=root.session, ttl="P1D")
    assert allowed(await desk.open(child))
    desk.world.later(HOUR)
    assert codes(await desk.open(child)) == ["agent.review_due"]


async def test_an_overdue_agent_is_not_activated_and_what_has_ended_otherwise_says_so(desk: Desk) -> None:
    await changed(desk, review_by=desk.world.in_future(HOUR), expires=desk.world.in_future(2 * HOUR))
    session = await desk.session(ttl="P1D")
    desk.world.later(HOUR)
    await agents.suspend(desk.deps, desk.world.admin, "bookkeeper")
    assert codes(await desk.open(session)) == ["agent.not_live"]
    with pytest.raises(WrongState, match="a review date in the future"):
        await agents.activate(desk.deps, desk.world.admin, "bookkeeper")
    await agents.review(desk.deps, desk.world.admin, "bookkeeper", {})
    await agents.activate(desk.deps, desk.world.admin, "bookkeeper")


@pytest.mark.parametrize("until", ["P366D", "PT0S", "2020-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z", "soon"])
async def test_the_next_review_is_in_the_future_and_within_a_year(desk: Desk, until: str) -> None:
    with pytest.raises(InvalidDocument):
        await agents.review(desk.deps, desk.world.admin, "bookkeeper", {"until": until})


async def test_a_review_is_for_half_a_year_unless_it_says_otherwise(desk: Desk) -> None:
    seen = await agents.review(desk.deps, desk.world.admin, "bookkeeper", {})
    assert seen["review_by"] == to_text(desk.world.clock.at + agents.REVIEW_AFTER)
    seen = await agents.review(desk.deps, desk.world.admin, "bookkeeper", {"until": "P7D"})
    assert seen["review_by"] == desk.world.in_future(7 * DAY)
    await agents.retire(desk.deps, desk.world.admin, "bookkeeper")
    with pytest.raises(WrongState):
        await agents.review(desk.deps, desk.world.admin, "bookkeeper", {})


@pytest.mark.claim("registry:review-by-who-answers-for-it")
async def test_only_who_answers_for_an_agent_reviews_it(desk: Desk) -> None:
    owner, deputy = await owned(desk)
    for role in ("reviewer", "approver", "auditor", "owner", "viewer"):
        other = await desk.world.person(f"{role}@example.test", role)
        with pytest.raises(Forbidden):
            await agents.review(desk.deps, other, "bookkeeper", {})
    for caller in (owner, deputy, desk.world.admin):
        await agents.review(desk.deps, caller, "bookkeeper", {})
    await people.suspend(desk.deps, desk.world.admin, DEPUTY)
    with pytest.raises(Forbidden):
        await agents.review(desk.deps, await desk.world.signed_in(deputy.person.id), "bookkeeper", {})


@pytest.mark.claim("registry:deputy-as-owner")
async def test_a_deputy_does_what_the_owner_does_for_that_agent_and_for_no_other(desk: Desk) -> None:
    _, deputy = await owned(desk)
    session = await desk.session()
    deps = desk.deps
    made = await keys.create(deps, deputy, {"agent": "bookkeeper", "for": "host", "expires": "P1D"})
    assert {line["key"] for line in await keys.list_all(deps, deputy)} == {desk.host.key, made["key"]}
    await keys.revoke(deps, deputy, str(made["key"]))
    await sessions.kill(deps, deputy, session.session, "enough")
    await agents.suspend(deps, deputy, "bookkeeper")
    await agents.activate(deps, deputy, "bookkeeper")
    assert await audit.find(deps, deputy, after=-1, kinds=[62, 52], session=None, agent=None, limit=10)
    # Another agent of the same owner is none of the deputy's.
    await desk.world.agent("other", owner=OWNER)
    await desk.world.grant("office/read_mail", agent="other")
    with pytest.raises(Forbidden):
        await agents.activate(deps, deputy, "other")
    with pytest.raises(Forbidden):
        await keys.create(deps, deputy, {"agent": "other", "for": "host", "expires": "P1D"})


@pytest.mark.claim("registry:deputy-as-owner")
async def test_a_deputy_keeps_nothing_alive_that_its_owner_does_not(desk: Desk) -> None:
    await owned(desk)
    session = await desk.session()
    await people.suspend(desk.deps, desk.world.admin, OWNER)
    assert not allowed(await desk.open(session))
    with pytest.raises(WrongState):
        await desk.session()


async def test_a_deputy_is_another_person_than_the_owner_and_there_is_no_deputy_of_nobody(world: World) -> None:
    with pytest.raises(InvalidDocument) as refused:
        await world.agent(deputy=world.admin.person.email)
    assert refused.value.pointer == "/deputy"
    with pytest.raises(InvalidDocument):
        await world.agent(owner=None, deputy=world.admin.person.email)
    with pytest.raises(InvalidDocument):
        await world.agent(deputy="nobody@example.test")


@pytest.mark.claim("registry:deputy-as-owner")
async def test_a_deputy_answers_only_where_no_approver_is_left_who_does_not_answer_for_the_agent(desk: Desk) -> None:
    """Control: the approver who has nothing to do with the agent."""
    owner = await desk.world.person(OWNER, "approver")
    deputy = await desk.world.person(DEPUTY, "approver")
    await changed(desk, owner=OWNER, deputy=DEPUTY)
    await desk.with_ask_policy()
    await desk.world.person("carl@example.test", "viewer")
    session = await desk.session(principal="carl@example.test")
    asked = await desk.pay(session)
    assert isinstance(asked.verdict, Ask)
    for caller in (owner, deputy):
        with pytest.raises(Forbidden, match="four eyes"):
            await desk.answer(asked, by=caller)
    await desk.answer(asked, by=desk.world.admin)
    asked = await desk.pay(session, 81)
    # With the administrator gone as an approver, the deputy answers; the owner still does not.
    await desk.world.person("root@example.test", "administrator")
    root = next(p for p in await people.list_all(desk.deps, desk.world.admin) if p["email"] == "root@example.test")
    await people.suspend(desk.deps, await desk.world.signed_in(str(root["id"])), desk.world.admin.person.id)
    with pytest.raises(Forbidden, match="four eyes"):
        await desk.answer(asked, by=owner)
    assert isinstance(asked.verdict, Ask)
    await approve.answer(desk.deps, deputy, asked.verdict.approval, {"answer": "deny"})


@pytest.mark.claim("registry:orphans-found")
async def test_orphans_are_those_without_an_active_owner_and_the_owned_one_is_the_control(world: World) -> None:
    await world.person(OWNER, "owner")
    await world.live_agent("kept")
    await world.live_agent("left", owner=OWNER)
    await world.agent("nobodys", owner=None)
    await world.agent("over", owner=None)
    await agents.retire(world.deps, world.admin, "over")
    assert await found(world, orphans=True) == {"nobodys": ["orphan"]}
    await people.suspend(world.deps, world.admin, OWNER)
    assert await found(world, orphans=True) == {"left": ["orphan"], "nobodys": ["orphan"]}
    assert (await found(world))["kept"] == []


@pytest.mark.claim("registry:review-overdue-refused")
async def test_a_review_is_announced_two_weeks_before_and_from_its_date_on(world: World) -> None:
    await world.live_agent("soon", review_by=world.in_future(NOTICE + DAY), expires=world.in_future(60 * DAY))
    await world.live_agent("never")
    assert await found(world, stale=True) == {}
    world.later(DAY)
    assert await found(world, stale=True) == {"soon": ["stale"]}
    world.later(NOTICE)
    assert await found(world, stale=True) == {"soon": ["stale"]}
    assert (await agents.get(world.deps, world.admin, "soon"))["attention"] == ["stale"]
    await agents.review(world.deps, world.admin, "soon", {})
    assert await found(world, stale=True) == {}


async def test_unused_are_active_agents_older_than_the_window_without_an_allowed_call_in_it(desk: Desk) -> None:
    await desk.world.agent("idle")
    await desk.world.grant("office/read_mail", agent="idle")
    await agents.activate(desk.deps, desk.world.admin, "idle")
    assert await found(desk.world, unused=DAY) == {}, "nothing here is older than a day"
    session = await desk.session(ttl="P5D")
    desk.world.later(DAY)
    await desk.open(session)
    assert await found(desk.world, unused=DAY) == {"idle": ["unused"]}
    desk.world.later(DAY)
    assert await found(desk.world, unused=DAY) == {"idle": ["unused"]}, "a call at the first millisecond counts"
    desk.world.later(1)
    assert await found(desk.world, unused=DAY) == {"idle": ["unused"], "bookkeeper": ["unused"]}
    assert await found(desk.world, unused=3 * DAY) == {}
    await desk.open(session, "office/none")
    assert "bookkeeper" in await found(desk.world, unused=DAY), "what was refused is no use"


async def test_filters_are_joined_and_none_lists_all(world: World) -> None:
    await world.live_agent("plain")
    await world.agent("nobodys", owner=None)
    await world.live_agent("soon", review_by=world.in_future(DAY))
    assert set(await found(world, orphans=True, stale=True)) == {"nobodys", "soon"}
    assert set(await found(world)) == {"plain", "nobodys", "soon"}
    with pytest.raises(Forbidden):
        await agents.list_all(world.deps, await world.signed_in(await suspended(world)))


async def suspended(world: World) -> str:
    """A person who was stopped."""
    caller = await world.person("gone@example.test", "viewer")
    await people.suspend(world.deps, world.admin, caller.person.id)
    return caller.person.id


async def test_an_access_request_is_the_deputy_s_to_see_and_to_close(desk: Desk) -> None:
    _, deputy = await owned(desk)
    session = await desk.session()
    await desk.open(session, "office/none")
    (request,), _ = await access.listing(desk.deps, deputy, None, 10, None)
    assert isinstance(request, dict)
    stranger = await desk.world.person("x@example.test", "viewer")
    with pytest.raises(NotFound):
        await access.close(desk.deps, stranger, str(request["request"]), "")
    await access.close(desk.deps, deputy, str(request["request"]), "seen")
