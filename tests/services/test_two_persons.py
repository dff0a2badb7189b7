"""Two persons for one effect: no one person, and no way round, makes it one."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller, SessionCaller
from remit.core.decisions import Decision
from remit.core.errors import AlreadyAnswered, InvalidDocument
from remit.services import approve, people, rules
from tests.services.desk import Desk, allowed, codes, done

pytestmark = pytest.mark.anyio

TWO: dict[str, Json] = {
    "kind": "Rule",
    "name": "two-persons",
    "says": "Above 50 EUR two persons say yes.",
    "tools": [{"effects": ["spend"]}],
    "per": "organisation",
    "approvals": {"persons": 2, "above": {"eur": "50.00", "unit": "EUR"}},
}


async def approvers(desk: Desk, count: int = 2) -> list[PersonCaller]:
    """So many beside the agent's owner."""
    return [await desk.world.person(f"approver{at}@example.test", "approver") for at in range(count)]


async def ruled(desk: Desk, **members: Any) -> tuple[SessionCaller, list[PersonCaller]]:
    """A session under the rule, and two who may answer."""
    await desk.world.without_demands()
    found = await approvers(desk)
    await rules.apply(desk.deps, desk.world.admin, {**TWO, **members})
    return await desk.session(), found


async def shown(desk: Desk, decision: Decision) -> dict[str, Json]:
    """The question."""
    asked = decision.document()["approval"]
    assert isinstance(asked, dict)
    approval = await approve.show(desk.deps, desk.world.admin, str(asked["approval"]))
    return approve.document(approval, desk.deps.clock.now())


@pytest.mark.claim("rule:two-persons")
async def test_a_call_above_the_bound_passes_after_two_different_persons_said_yes_and_not_before(desk: Desk) -> None:
    session, (one, other) = await ruled(desk)
    assert allowed(await desk.pay(session, 50)), "the control: at the bound nobody is asked"
    asked = await desk.pay(session, 60)
    assert codes(asked) == ["approval.needed"]
    await desk.answer(asked, by=one)
    half = await desk.pay(session, 60)
    assert codes(half) == ["approval.needed"]
    assert (await shown(desk, half))["yes_by"] == [one.person.id]
    await desk.answer(half, by=other)
    assert allowed(await desk.pay(session, 60))
    assert codes(await desk.pay(session, 60)) == ["approval.needed"], "it was for one call"


@pytest.mark.claim("rule:two-persons")
async def test_with_the_rule_revoked_nobody_is_asked(desk: Desk) -> None:
    """The negative control."""
    session, _ = await ruled(desk)
    await rules.revoke(desk.deps, desk.world.admin, "two-persons")
    assert allowed(await desk.pay(session, 60))


@pytest.mark.claim("rule:two-persons")
async def test_one_person_twice_is_one_also_in_another_role_and_at_once(desk: Desk) -> None:
    session, (one, _) = await ruled(desk)
    asked = await desk.pay(session, 60)
    results = await asyncio.gather(*(desk.answer(asked, by=one) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(result, AlreadyAnswered) for result in results) == 3
    renamed = replace(one, key="key_other", person=replace(one.person, roles=("approver", "administrator")))
    with pytest.raises(AlreadyAnswered):
        await desk.answer(asked, by=renamed)
    assert codes(await desk.pay(session, 60)) == ["approval.needed"]


@pytest.mark.claim("rule:two-persons")
async def test_two_answers_at_once_are_two(desk: Desk) -> None:
    session, both = await ruled(desk)
    asked = await desk.pay(session, 60)
    await asyncio.gather(*(desk.answer(asked, by=one) for one in both))
    assert allowed(await desk.pay(session, 60))


@pytest.mark.claim("rule:two-persons")
async def test_one_no_is_a_no_also_after_a_yes(desk: Desk) -> None:
    session, (one, other) = await ruled(desk)
    asked = await desk.pay(session, 60)
    await desk.answer(asked, by=one)
    await desk.answer(asked, "deny", by=other)
    assert codes(await desk.pay(session, 60)) == ["approval.denied"]


@pytest.mark.claim("rule:two-persons")
async def test_who_is_no_approver_any_more_when_it_is_used_does_not_count(desk: Desk) -> None:
    session, (one, other) = await ruled(desk)
    asked = await desk.pay(session, 60)
    await desk.answer(asked, by=one)
    await desk.answer(asked, by=other)
    await people.suspend(desk.deps, desk.world.admin, one.person.id)
    assert codes(await desk.pay(session, 60)) == ["approval.void"]


@pytest.mark.claim("rule:two-persons")
async def test_a_rule_that_comes_after_one_yes_voids_it(desk: Desk) -> None:
    await desk.world.without_demands()
    one, _ = await approvers(desk)
    await desk.with_ask_policy()
    session = await desk.session()
    asked = await desk.pay(session, 60)
    await desk.answer(asked, by=one)
    await rules.apply(desk.deps, desk.world.admin, TWO)
    assert codes(await desk.pay(session, 60)) == ["approval.void"]


async def test_a_rule_that_nobody_could_ever_meet_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidDocument, match="no call would ever pass"):
        await rules.apply(desk.deps, desk.world.admin, TWO)
    await approvers(desk)
    for wrong in ({"per": "session"}, {"window": "P1D"}, {"approvals": {"persons": 1}}, {"once": {"by": ["/note"]}}):
        with pytest.raises(InvalidDocument):
            await rules.apply(desk.deps, desk.world.admin, {**TWO, **wrong})
    above: Json = {"persons": 2, "above": {"usd": "50.00", "unit": "USD"}}
    with pytest.raises(InvalidDocument):
        await rules.apply(desk.deps, desk.world.admin, {**TWO, "approvals": above})
    made = await rules.apply(desk.deps, desk.world.admin, TWO)
    assert made["approvals"] == {"persons": 2, "above": {"eur": "50", "unit": "EUR"}}


async def test_an_amount_that_can_t_be_told_is_refused_and_a_call_that_did_nothing_gives_the_yes_back(
    desk: Desk,
) -> None:
    session, both = await ruled(desk)
    asked = await desk.pay(session, 60)
    for one in both:
        await desk.answer(asked, by=one)
    used = await desk.pay(session, 60)
    await desk.close(session, used, replace(done(None), kind="failed", not_acted=True))
    assert allowed(await desk.pay(session, 60)), "both said yes to an effect, and there was none"
