"""Attacks on grants: what grows by itself, what can't be counted, what is pasted into Cedar."""

from dataclasses import replace
from typing import Any

import pytest

from remit.core.errors import Conflict, Forbidden, InvalidDocument, InvalidPolicy, NotFound, WrongState
from remit.core.events import Kind
from remit.core.tools import Tool
from remit.guards.documents import check_answer
from remit.services import agents, grants, people
from remit.services.registry import find
from tests.services.world import PAY, PAY_SCHEMA, READ, World, tool

pytestmark = pytest.mark.anyio

REF, MAIL = "office/pay_invoice", "office/read_mail"
LIST = tool("list_mail", {"type": "object", "properties": {"limit": {"type": "integer"}}})


async def office(world: World) -> None:
    """Pay and read are reviewed, list is not; there is an agent."""
    await world.server(PAY, READ, LIST)
    await world.review_pay()
    await world.review(MAIL)
    await world.agent()


@pytest.mark.claim("grant:never-widens")
async def test_a_tool_that_its_server_hides_while_a_grant_is_made_escapes_none_of_its_checks(world: World) -> None:
    """A server chooses when it lists a tool: here one that destroys, whose review counts nothing."""
    wipe = tool("wipe")
    await world.server(READ, wipe)
    await world.review(MAIL)
    await world.review("office/wipe", effect="destroy")
    await world.agent()
    wide = {"server": "office", "effects": ["read", "destroy"]}
    with pytest.raises(InvalidDocument, match="can be limited"):
        await world.grant(wide)
    await world.sync(READ)
    with pytest.raises(InvalidDocument, match="can be limited"):
        await world.grant(wide)
    await world.grant(MAIL)


@pytest.mark.claim("grant:never-widens")
@pytest.mark.parametrize("future", [False, True])
async def test_approving_another_tool_does_not_widen_an_earlier_grant_by_effect(world: World, future: bool) -> None:
    await office(world)
    await world.grant({"server": "office", "effects": ["read"], "future": future})
    assert await world.reaches(MAIL)
    answer = await world.review("office/list_mail")
    # The control is ``future: true``: then the same review does reach the agent, and its answer says whose reach grew.
    assert await world.reaches("office/list_mail") is future
    assert answer["reach"] == (["bookkeeper"] if future else [])


@pytest.mark.claim("grant:never-widens")
async def test_an_approval_in_the_same_millisecond_does_not_widen_a_grant(world: World) -> None:
    await office(world)
    fingerprint = await world.offered("office/list_mail")
    await world.grant({"server": "office", "effects": ["read"]})
    world.clock.at -= 1_000  # and with the next reviewer's clock behind, as in another process
    await world.review("office/list_mail", fingerprint=fingerprint)
    assert not await world.reaches("office/list_mail")


@pytest.mark.claim("grant:never-widens")
async def test_a_grant_by_effect_never_reaches_another_effect(world: World) -> None:
    await office(world)
    await world.grant({"server": "office", "effects": ["read"], "future": True})
    assert not await world.reaches(REF)


@pytest.mark.claim("grant:never-widens")
async def test_a_tool_reviewed_anew_as_harmless_does_not_slip_into_an_earlier_grant(world: World) -> None:
    await office(world)
    await world.grant({"server": "office", "effects": ["read"]})
    await world.review_pay(effect="read")
    assert not await world.reaches(REF)


@pytest.mark.claim("grant:never-widens")
async def test_a_review_with_another_effect_drops_the_earlier_named_grant(world: World) -> None:
    await office(world)
    await world.grant(MAIL)
    assert await world.reaches(MAIL)
    await world.review(MAIL, effect="write")
    assert not await world.reaches(MAIL)
    await world.review(MAIL, effect="read")
    assert await world.reaches(MAIL)


@pytest.mark.claim("grant:never-widens")
async def test_a_changed_definition_signed_again_does_not_come_under_an_earlier_grant_by_effect(world: World) -> None:
    await office(world)
    await world.grant({"server": "office", "effects": ["read"]})
    changed = tool("read_mail", {"type": "object", "properties": {"id": {"type": "string"}}}, description="Reads all.")
    await world.sync(PAY, changed, LIST)
    await world.review(MAIL)
    assert not await world.reaches(MAIL)


@pytest.mark.claim("grant:never-widens")
@pytest.mark.parametrize(
    "limits",
    [
        [{"name": "euro", "of": "/amount", "unit": "EUR"}],
        [{"name": "eur", "of": "/amount", "unit": "JPY"}],
        [{"name": "calls", "of": "call"}],
    ],
)
async def test_a_review_does_not_take_away_what_a_grant_limits(world: World, limits: list[dict[str, str]]) -> None:
    await office(world)
    grant = await world.grant(REF, limits={"eur": "250.00", "per": "day"})
    with pytest.raises(Conflict, match=str(grant["id"])):
        await world.review_pay(limits=limits)
    await world.review_pay()
    await grants.revoke(world.deps, world.admin, str(grant["id"]))
    await world.review_pay(limits=limits)


async def test_signing_the_same_again_changes_nobodys_reach(world: World) -> None:
    await office(world)
    await world.grant({"server": "office", "effects": ["read"]})
    answer = await world.review(MAIL)
    assert answer["reach"] == ["bookkeeper"]
    assert await world.reaches(MAIL)


@pytest.mark.claim("tool:pinned")
async def test_were_the_pin_to_follow_the_offer_the_attack_would_succeed(world: World) -> None:
    """The control of every pin test: with the defense off, the hostile definition is reached."""
    await office(world)
    await world.grant(REF)
    await world.sync(tool("pay_invoice", PAY_SCHEMA, description="Evil."), READ, LIST)
    assert not await world.reaches(REF)
    async with world.deps.store.unit(world.deps.org) as unit:
        overwritten = await find(unit, Tool, REF)
        await unit.nouns.replace(replace(overwritten, pinned=overwritten.offered))
    assert await world.reaches(REF)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"tools": ["office/list_mail"]}, InvalidDocument),
        ({"tools": ["office/nothing"]}, InvalidDocument),
        ({"tools": ["git/commit"]}, InvalidDocument),
        ({"tools": [{"server": "git", "effects": ["read"]}]}, InvalidDocument),
        ({"tools": [{"server": "office", "effects": ["admin"]}]}, InvalidDocument),
        ({"tools": []}, InvalidDocument),
        ({"limits": {"gbp": "1.00", "per": "day"}}, InvalidDocument),
        ({"limits": {"eur": "-1", "per": "day"}}, InvalidDocument),
        ({"limits": {"eur": "1e3", "per": "day"}}, InvalidDocument),
        ({"limits": {"eur": 1.5, "per": "day"}}, InvalidDocument),
        ({"limits": {"calls": "1.5", "per": "day"}}, InvalidDocument),
        ({"limits": {"eur": "1"}}, InvalidDocument),
        ({"limits": {"eur": "1", "per": "year"}}, InvalidDocument),
        ({"expires": "2020-01-01T00:00:00.000Z"}, InvalidDocument),
        ({"agent": "nobody"}, InvalidDocument),
        ({"person": "ada@example.test"}, InvalidDocument),
        ({"id": "grt_1"}, InvalidDocument),
        ({"when": "true) }; permit(principal,action,resource) when { (true"}, InvalidPolicy),
        ({"when": "context.args.amont > 1"}, InvalidPolicy),
        ({"when": "true;"}, InvalidPolicy),
        ({"when": "// nothing"}, InvalidPolicy),
    ],
)
async def test_a_grant_that_says_what_cannot_be_held_stores_nothing(
    world: World, members: dict[str, Any], error: type[Exception]
) -> None:
    await office(world)
    before = (await world.epoch(), len(await world.raw_leaves()))
    document = {"tools": [REF], "agent": "bookkeeper", **members}
    with pytest.raises(error):
        await world.grant(*document.pop("tools"), **document)
    assert (await world.epoch(), len(await world.raw_leaves())) == before


async def test_a_good_grant_is_stored_shown_and_revoked(world: World) -> None:
    await office(world)
    made = await world.grant(
        REF,
        when='context.args.amount.lessThanOrEqual(decimal("100.00"))',
        limits=[{"calls": 20, "eur": "250.00", "per": "day"}, {"eur": 50, "per": "call"}],
    )
    check_answer("Grant", made)
    assert made["limits"] == [{"per": "day", "calls": 20, "eur": "250"}, {"per": "call", "eur": "50"}]
    assert await grants.list_all(world.deps, world.admin, "bookkeeper") == (made,)
    assert await world.reaches(REF)
    revoked = await grants.revoke(world.deps, world.admin, str(made["id"]))
    assert revoked["state"] == "revoked"
    assert not await world.reaches(REF)
    with pytest.raises(WrongState):
        await grants.revoke(world.deps, world.admin, str(made["id"]))
    with pytest.raises(NotFound):
        await grants.revoke(world.deps, world.admin, "grt_nothing")
    assert (await world.kinds())[-1] == Kind.GRANT_REVOKED


@pytest.mark.parametrize("effect", ["spend", "destroy"])
async def test_a_tool_that_spends_or_destroys_without_a_limit_is_not_granted(world: World, effect: str) -> None:
    await world.server(PAY)
    await world.agent()
    await world.review_pay(effect=effect, limits=[])
    for selector in (REF, {"server": "office", "effects": [effect]}):
        with pytest.raises(InvalidDocument, match="nothing that can be limited"):
            await world.grant(selector)
    await world.review_pay(effect=effect, limits=[{"name": "calls", "of": "call"}])
    await world.grant(REF)


async def test_one_limit_name_is_not_counted_in_two_units(world: World) -> None:
    await office(world)
    await world.sync(PAY, READ, LIST, tool("pay_other", PAY_SCHEMA))
    arguments = {"/amount": {"role": "how_much", "type": "money", "unit": "USD"}}
    await world.review(
        "office/pay_other",
        effect="spend",
        arguments=arguments,
        limits=[{"name": "eur", "of": "/amount", "unit": "USD"}],
    )
    with pytest.raises(InvalidDocument, match="more than one unit"):
        await world.grant(REF, "office/pay_other", limits={"eur": "1", "per": "day"})


async def test_a_grant_for_a_person_bounds_that_person(world: World) -> None:
    await office(world)
    await world.person("own@example.test", "owner")
    document = {"kind": "Grant", "person": "own@example.test", "tools": [MAIL], "expires": world.in_future()}
    made = await grants.apply(world.deps, world.admin, document)
    assert made["person"] == "own@example.test"
    await people.suspend(world.deps, world.admin, "own@example.test")
    with pytest.raises(WrongState):
        await grants.apply(world.deps, world.admin, document)


async def test_a_retired_agent_is_granted_nothing_and_only_administrators_grant(world: World) -> None:
    await office(world)
    other = await world.person("rev@example.test", "reviewer", "owner", "approver", "auditor", "viewer")
    document = {"kind": "Grant", "agent": "bookkeeper", "tools": [MAIL], "expires": world.in_future()}
    with pytest.raises(Forbidden):
        await grants.apply(world.deps, other, document)
    await agents.retire(world.deps, world.admin, "bookkeeper")
    with pytest.raises(WrongState):
        await grants.apply(world.deps, world.admin, document)


async def test_a_quarantined_tool_is_not_granted(world: World) -> None:
    await office(world)
    await world.sync(tool("pay_invoice", PAY_SCHEMA, description="Other."), READ, LIST)
    with pytest.raises(InvalidDocument, match="no approved tool"):
        await world.grant(REF)


@pytest.mark.claim("grant:never-widens")
@pytest.mark.parametrize(
    ("limits", "signed"),
    [
        ([{"name": "eur", "of": "call"}], False),
        ([{"name": "eur", "of": "/amount", "unit": "USD"}], False),
        ([{"name": "eur", "of": "/amount", "unit": "EUR"}], True),
    ],
    ids=["counted as calls", "another currency", "the same: the control"],
)
async def test_a_later_tool_can_t_turn_a_grant_s_limit_into_another(
    world: World, limits: list[dict[str, str]], *, signed: bool
) -> None:
    """A grant for tools to come limits 250 EUR a day. Counted as calls, 250 payments of any size would fit."""
    await world.server(PAY, PAY.replace(b"pay_invoice", b"pay_again"))
    await world.review_pay()
    await world.agent()
    every = {"server": "office", "effects": ["spend"], "future": True}
    await world.grant(every, limits={"eur": "250.00", "per": "day"})
    money = {"/amount": {"role": "how_much", "type": "money", "unit": limits[0].get("unit", "EUR")}}
    review = world.review("office/pay_again", effect="spend", arguments=money, limits=limits)
    if signed:
        await review
    else:
        with pytest.raises(Conflict, match="no longer hold"):
            await review


@pytest.mark.claim("grant:never-widens")
async def test_a_limit_can_t_be_renamed_away_by_a_review_in_between(world: World) -> None:
    """As a write, the tool is out of the grant's reach, and its limit may change; back as a spend it must count."""
    await world.server(PAY)
    await world.review_pay()
    await world.agent()
    await world.grant("office/pay_invoice", limits={"eur": "250.00", "per": "day"})
    renamed = {"limits": [{"name": "amount", "of": "/amount", "unit": "EUR"}]}
    await world.review_pay(effect="write", **renamed)
    with pytest.raises(Conflict, match="no longer hold"):
        await world.review_pay(**renamed)
    await world.review_pay()


@pytest.mark.claim("grant:never-widens")
async def test_a_limit_can_t_be_pointed_at_another_argument_while_a_grant_counts_by_it(world: World) -> None:
    """Counted by a price that is always small, 250 EUR a day would be any sum. The same review again is the control."""
    await world.server(PAY)
    await world.review_pay()
    await world.agent()
    grant = await world.grant("office/pay_invoice", limits={"eur": "250.00", "per": "day"})
    money = {"role": "how_much", "type": "money", "unit": "EUR"}
    moved = {
        "arguments": {"/amount": money, "/lines/*/price": money},
        "limits": [{"name": "eur", "of": "/lines/*/price", "unit": "EUR"}],
    }
    with pytest.raises(Conflict, match=str(grant["id"])):
        await world.review_pay(**moved)
    await world.review_pay()
