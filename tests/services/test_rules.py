"""Countable rules: what is allowed once happens once, and no way round a rule is shorter than the rule itself."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.decisions import Decision
from remit.core.errors import Conflict, Forbidden, InvalidDocument, WrongState
from remit.core.events import Kind
from remit.core.times import DAY, MINUTE
from remit.services import agents, grants, observing, policies, rules
from remit.services.close import give_up
from remit.services.decide import open_call
from remit.services.sealing import Sealer
from remit.storage.sqlite import open_store
from remit.storage.subject_keys import SubjectKeys
from tests.services.desk import PAYMENT, Desk, allowed, codes, host_of
from tests.services.world import PAY, PAY_SCHEMA, READ, UNDEMANDING, HandClock, SystemEntropy, make_deps, tool

pytestmark = pytest.mark.anyio

ONCE: dict[str, Json] = {
    "name": "invoice-once",
    "says": "An invoice is paid once.",
    "tools": ["office/pay_invoice"],
    "per": "organisation",
    "once": {"by": ["/note"]},
}
DAILY: dict[str, Json] = {
    "name": "eur-a-day",
    "says": "At most 100 EUR a day are paid.",
    "tools": [{"effects": ["spend"]}],
    "per": "organisation",
    "window": "P1D",
    "limit": {"eur": "100.00", "unit": "EUR"},
}
FIRST: dict[str, Json] = {
    "name": "mail-first",
    "says": "The mail is read before it is paid.",
    "tools": ["office/pay_invoice"],
    "per": "session",
    "first": {"tools": ["office/read_mail"], "same": {"/note": "/id"}},
}
NOTHING: Json = {"content": []}


async def apply(desk: Desk, rule: Mapping[str, Json], **members: Json) -> dict[str, Json]:
    """Signed off by the administrator."""
    return await rules.apply(desk.deps, desk.world.admin, {"kind": "Rule", **rule, **members})


async def pay(desk: Desk, caller: SessionCaller, note: Json, amount: Json = 10, **options: Any) -> Decision:
    """One payment of an invoice."""
    return await desk.open(caller, "office/pay_invoice", {**PAYMENT, "amount": amount, "note": note}, **options)


async def helper(desk: Desk, **members: Any) -> SessionCaller:
    """A session of another agent that may pay too."""
    await desk.world.agent("helper")
    await desk.world.grant("office/pay_invoice", agent="helper", limits={"eur": "300.00", "per": "session"})
    await agents.activate(desk.deps, desk.world.admin, "helper")
    return await desk.session(await host_of(desk.world, "helper"), **members)


# Once per key


@pytest.mark.claim("rule:once-per-key")
@pytest.mark.parametrize("spelling", ["INV-17", "inv 17", " INV_17.", "INV-0017", "I N V 1 7", "\uff29NV-17"])
async def test_an_invoice_is_paid_once_under_any_spelling_and_by_any_agent(desk: Desk, spelling: str) -> None:
    await apply(desk, ONCE)
    first, second = await desk.session(), await helper(desk)
    assert allowed(await pay(desk, first, "INV-17"))
    for caller in (first, second, await desk.session()):
        refused = await pay(desk, caller, spelling)
        assert codes(refused)[0] in ("rule.once", "rule.uncountable")
        assert refused.reasons[0].rule == "invoice-once"
    assert allowed(await pay(desk, second, "INV-18"))
    # The control: with the rule gone the same payment is made again.
    await rules.revoke(desk.deps, desk.world.admin, "invoice-once")
    assert allowed(await pay(desk, second, spelling))


@pytest.mark.claim("rule:once-per-key")
@pytest.mark.parametrize("key", ["", "--", "INV\u200b-17", "INV-17\u0661", "\u0406NV-17", "x" * 3_000])
async def test_a_key_with_no_one_reading_is_refused(desk: Desk, key: str) -> None:
    await apply(desk, ONCE)
    session = await desk.session()
    assert codes(await pay(desk, session, key)) == ["rule.uncountable"]
    assert codes(await desk.pay(session)) == ["rule.uncountable"], "left out, the server may choose a key itself"


@pytest.mark.claim("rule:once-per-key")
@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (Outcome("done", result=NOTHING), False),
        (Outcome("unknown"), False),
        (Outcome("failed", error="paid, then fell over", may_have_acted=True), False),
        (Outcome("failed", result={"content": [], "isError": True}), False),
        (Outcome("failed", not_acted=True), True),
    ],
    ids=["done", "unknown", "error", "tool error", "not sent"],
)
async def test_only_what_was_not_acted_on_may_be_tried_again(desk: Desk, outcome: Outcome, again: bool) -> None:
    await apply(desk, ONCE)
    await desk.world.without_demands()
    session = await desk.session()
    paid = await pay(desk, session, "INV-17")
    assert codes(await pay(desk, session, "INV-17")) == ["rule.once"], "also while the first is under way"
    await desk.close(session, paid, outcome)
    assert allowed(await pay(desk, session, "INV-17")) is again


@pytest.mark.claim("rule:once-per-key")
async def test_a_replay_is_the_same_call_and_no_second_one(desk: Desk) -> None:
    await apply(desk, ONCE)
    session = await desk.session()
    paid = await pay(desk, session, "INV-17", call_id="one")
    again = await pay(desk, session, "INV-17", call_id="one")
    assert (again.verdict, again.replayed) == (paid.verdict, True)
    assert codes(await pay(desk, session, "INV-17", call_id="two")) == ["rule.once"]
    assert [leaf["k"] for leaf in await desk.world.leaves()].count(Kind.INTENT) == 1


async def test_a_list_in_one_call_pays_each_key_once(desk: Desk) -> None:
    await apply(desk, ONCE, once={"by": ["/lines/*/price"]})
    session = await desk.session()

    async def lines(*prices: int) -> Decision:
        named: list[Json] = [{"price": price} for price in prices]
        return await desk.open(session, "office/pay_invoice", {**PAYMENT, "amount": 1, "lines": named})

    assert codes(await lines(1, 2, 1)) == ["rule.once"]
    assert allowed(await lines(1, 2))
    assert codes(await lines(3, 2)) == ["rule.once"]
    assert allowed(await lines(3)), "what was refused took nothing"
    assert codes(await lines()) == ["rule.uncountable"]


# Limits


@pytest.mark.claim("rule:only-narrows")
async def test_a_limit_holds_over_agents_sessions_and_grants_and_rolls(desk: Desk) -> None:
    session, other = await desk.session(ttl="P3D"), await helper(desk, ttl="P3D")
    await apply(desk, DAILY)
    assert allowed(await desk.pay(session, 60))
    refused = await desk.pay(other, 41)
    assert codes(refused) == ["rule.exceeded"]
    assert (refused.reasons[0].rule, refused.reasons[0].step) == ("eur-a-day", 6)
    assert "At most 100 EUR a day are paid." in refused.sentence()
    assert allowed(await desk.pay(other, 40))
    desk.world.later(DAY - 2 * MINUTE)
    assert codes(await desk.pay(session, 1)) == ["rule.exceeded"]
    desk.world.later(4 * MINUTE)
    assert allowed(await desk.pay(session, 100))
    await rules.revoke(desk.deps, desk.world.admin, "eur-a-day")
    assert allowed(await desk.pay(other, 100)), "the control: without the rule the grant alone decides"


@pytest.mark.parametrize(
    ("per", "own", "others"),
    [("session", False, True), ("agent", False, True), ("person", False, False), ("team", False, True)],
)
async def test_whose_calls_are_counted_together(desk: Desk, per: str, own: bool, others: bool) -> None:
    session, other = await desk.session(), await helper(desk)
    team: dict[str, Json] = {"agents": ["bookkeeper"]} if per == "team" else {}
    await apply(desk, DAILY, per=per, **team)
    assert allowed(await desk.pay(session, 100))
    assert allowed(await desk.pay(session, 1)) is own
    assert allowed(await desk.pay(other, 1)) is others


@pytest.mark.claim("rule:only-narrows")
async def test_a_sub_agent_counts_for_every_agent_above_it(desk: Desk) -> None:
    root = await desk.session()
    child = await helper(desk, parent=root.session)
    await apply(desk, DAILY, per="agent", agents=["bookkeeper"])
    # The child calls with what both may: the bookkeeper's own grant is 100 EUR a call.
    assert allowed(await desk.pay(child, 100))
    assert codes(await desk.pay(root, 1)) == ["rule.exceeded"]


@pytest.mark.claim("rule:only-narrows")
async def test_a_plan_tightens_a_rule_and_never_loosens_it(desk: Desk) -> None:
    await apply(desk, DAILY, per="session")
    tight = await desk.session(plan={"tools": ["office/pay_invoice"], "limits": {"eur": "20"}})
    loose = await desk.session(plan={"tools": ["office/pay_invoice"], "limits": {"eur": "9000"}})
    assert codes(await desk.pay(tight, 21)) == ["budget.exceeded"]
    assert allowed(await desk.pay(loose, 60))
    assert codes(await desk.pay(loose, 41)) == ["rule.exceeded"]


async def test_observe_mode_and_a_person_s_yes_pass_no_rule(desk: Desk) -> None:
    await desk.with_ask_policy()
    await apply(desk, ONCE)
    session = await desk.session()
    first, second = await pay(desk, session, "INV-17"), await pay(desk, session, "INV-17", amount=11)
    await desk.answer(first)
    await desk.answer(second)
    assert allowed(await pay(desk, session, "INV-17"))
    assert codes(await pay(desk, session, "INV-17", amount=11)) == ["rule.once"]
    await policies.apply(desk.deps, desk.world.admin, (("none.cedar", "// none\n"),))
    await observing.switch(desk.deps, desk.world.admin, "office", DAY)
    assert codes(await pay(desk, session, "INV-17", amount=12)) == ["rule.once"]


# One before another


@pytest.mark.claim("rule:in-order")
async def test_one_call_comes_before_another_and_is_done(desk: Desk) -> None:
    await apply(desk, FIRST)
    await desk.world.without_demands()
    session = await desk.session()
    refused = await pay(desk, session, "m1")
    assert (codes(refused), refused.reasons[0].rule) == (["rule.first"], "mail-first")
    read = await desk.open(session, "office/read_mail", {"id": "m1"})
    assert codes(await pay(desk, session, "m1")) == ["rule.first"], "under way is not done"
    await desk.close(session, read)
    assert codes(await pay(desk, session, "M1")) == ["rule.first"], "here two spellings are two"
    assert codes(await pay(desk, session, "m2")) == ["rule.first"]
    assert codes(await pay(desk, await desk.session(), "m1")) == ["rule.first"], "another session read nothing"
    assert allowed(await pay(desk, session, "m1"))


@pytest.mark.claim("rule:in-order")
@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("unknown"),
        Outcome("failed", not_acted=True),
        Outcome("failed", error="late", may_have_acted=True),
        Outcome("done", result={"content": [], "isError": True}),
    ],
    ids=["unknown", "not sent", "error", "tool error"],
)
async def test_what_was_not_done_proves_nothing(desk: Desk, outcome: Outcome) -> None:
    await apply(desk, FIRST)
    await desk.world.without_demands()
    session = await desk.session()
    await desk.close(session, await desk.open(session, "office/read_mail", {"id": "m1"}), outcome)
    assert codes(await pay(desk, session, "m1")) == ["rule.first"]
    await rules.revoke(desk.deps, desk.world.admin, "mail-first")
    assert allowed(await pay(desk, session, "m1")), "the control"


# Real processes


def rush(path: Path, session: tuple[str, str, str], at: int, barrier: Any, outcomes: Any) -> None:
    """In a process of its own: ten payments of one invoice, at the same moment as another process."""
    anyio.run(_rush, path, session, at, barrier, outcomes)


async def _rush(path: Path, session: tuple[str, str, str], at: int, barrier: Any, outcomes: Any) -> None:
    clock = HandClock(at)
    sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
    store = await open_store(path / "remit.db", clock, sealer)
    deps = make_deps(store, clock, sealer)
    key, agent, name = session
    caller = SessionCaller(org="main", key=key, agent=agent, session=name)
    who = multiprocessing.current_process().pid
    calls = [
        ProposedCall(
            f"p{who}-{n}", "office/pay_invoice", {**PAYMENT, "amount": 10, "note": "INV-17" if n % 2 else "inv 17"}
        )
        for n in range(10)
    ]
    barrier.wait(30)
    answers = await asyncio.gather(*(open_call(deps, caller, call) for call in calls))
    outcomes.put([allowed(one) for one in answers])
    await store.close()


async def _rushed(desk: Desk, *callers: SessionCaller) -> list[bool]:
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(len(callers)), context.Queue()
    processes = [
        context.Process(
            target=rush,
            args=(desk.world.path, (one.key, one.agent, one.session), desk.world.clock.at, barrier, outcomes),
        )
        for one in callers
    ]
    for process in processes:
        process.start()
    answers = [one for _ in processes for one in await asyncio.to_thread(outcomes.get, True, 60)]
    for process in processes:
        process.join(30)
    return answers


@pytest.mark.claim("rule:exact-under-concurrency")
@pytest.mark.parametrize(
    ("rule", "fit"), [(ONCE, 1), (DAILY, 10), (None, 20)], ids=["once", "limit", "the control, no rule"]
)
async def test_two_processes_and_two_agents_at_once_pass_no_rule(
    desk: Desk, rule: dict[str, Json] | None, fit: int
) -> None:
    callers = (await desk.session(), await helper(desk))
    if rule is not None:
        await apply(desk, rule)
    answers = await _rushed(desk, *callers)
    assert (len(answers), sum(answers)) == (20, fit)


def die(path: Path, session: tuple[str, str, str], at: int) -> None:
    """In a process of its own: get an intent, and be killed before there is an outcome."""

    async def work() -> None:
        clock = HandClock(at)
        sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
        store = await open_store(path / "remit.db", clock, sealer)
        key, agent, name = session
        caller = SessionCaller(org="main", key=key, agent=agent, session=name)
        call = ProposedCall("last", "office/pay_invoice", {**PAYMENT, "amount": 10, "note": "INV-17"})
        assert allowed(await open_call(make_deps(store, clock, sealer), caller, call))
        os.kill(os.getpid(), signal.SIGKILL)

    anyio.run(work)


@pytest.mark.claim("rule:once-per-key")
async def test_a_process_killed_between_intent_and_outcome_leaves_the_key_taken(desk: Desk) -> None:
    await apply(desk, ONCE)
    session = await desk.session()
    context = multiprocessing.get_context("spawn")
    facts = (session.key, session.agent, session.session)
    process = context.Process(target=die, args=(desk.world.path, facts, desk.world.clock.at))
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL
    assert codes(await pay(desk, session, "inv 17")) == ["rule.once"]
    async with desk.deps.store.unit("main") as unit:
        for call in await unit.calls.unfinished():
            await give_up(unit, call, None, None)
    assert codes(await pay(desk, await desk.session(), "inv 17")) == ["rule.once"], "unknown stays spent"
    await rules.revoke(desk.deps, desk.world.admin, "invoice-once")
    assert allowed(await pay(desk, session, "inv 17")), "the control"


# Signed off


async def test_only_an_administrator_signs_and_every_version_is_an_event_and_another_authority(desk: Desk) -> None:
    session = await desk.session()
    versions = [(await desk.pay(session, 1)).authority_version]
    for role in ("reviewer", "approver", "owner", "auditor"):
        someone = await desk.world.person(f"{role}@example.test", role)
        with pytest.raises(Forbidden):
            await rules.apply(desk.deps, someone, {"kind": "Rule", **DAILY})
        with pytest.raises(Forbidden):
            await rules.revoke(desk.deps, someone, "eur-a-day")
    made = await apply(desk, DAILY)
    versions.append((await desk.pay(session, 1)).authority_version)
    changed = await apply(desk, DAILY, limit={"eur": "90", "unit": "EUR"})
    versions.append((await desk.pay(session, 1)).authority_version)
    assert (made["version"], changed["version"], made["id"] == changed["id"]) == (1, 2, True)
    assert codes(await desk.pay(session, 89)) == ["rule.exceeded"], "what was taken before counts under the new version"
    await rules.revoke(desk.deps, desk.world.admin, "eur-a-day")
    versions.append((await desk.pay(session, 1)).authority_version)
    assert len(set(versions[:3])) == 3
    assert versions[3] != versions[2]
    found = [leaf for leaf in await desk.world.leaves() if leaf["k"] in (Kind.RULE_APPLIED, Kind.RULE_REVOKED)]
    assert [(leaf["k"], leaf["about"]) for leaf in found] == [(38, made["id"]), (38, made["id"]), (39, made["id"])]


@pytest.mark.claim("rule:only-narrows")
async def test_a_rule_never_begins_again_at_nothing_under_its_name(desk: Desk) -> None:
    await apply(desk, DAILY)
    for other in ({"per": "session"}, {"limit": {"calls": 3}}, {"window": None}):
        changed = {name: value for name, value in {**DAILY, **other}.items() if value is not None}
        with pytest.raises(WrongState):
            await apply(desk, changed)
    await rules.revoke(desk.deps, desk.world.admin, "eur-a-day")
    with pytest.raises(WrongState):
        await apply(desk, DAILY)


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({**ONCE, "tools": ["office/nothing"]}, "/tools/0"),
        ({**DAILY, "tools": ["office/read_mail"]}, "/limit"),
        ({**DAILY, "limit": {"eur": "1", "unit": "USD"}}, "/limit/unit"),
        ({**DAILY, "limit": {"eur": "1"}}, "/limit/unit"),
        ({**DAILY, "per": "team"}, "/agents"),
        ({**DAILY, "window": "PT1S"}, "/window"),
        ({**DAILY, "window": "P32D"}, "/window"),
        ({**FIRST, "tools": ["office/read_mail"]}, "/first/tools"),
        ({**ONCE, "once": {"by": ["/lines/*/price", "/note"]}}, "/once/by"),
    ],
)
async def test_a_rule_that_would_bound_nothing_or_all_is_refused(
    desk: Desk, rule: dict[str, Json], pointer: str
) -> None:
    with pytest.raises(InvalidDocument) as found:
        await apply(desk, rule)
    assert found.value.pointer == pointer
    assert await rules.list_all(desk.deps, desk.world.admin) == ()


async def test_a_tool_that_comes_later_and_counts_nothing_of_it_is_refused(desk: Desk) -> None:
    await apply(desk, DAILY)
    await desk.world.sync(PAY, READ, tool("refund", PAY_SCHEMA))
    limits = [{"name": "usd", "of": "/amount", "unit": "USD"}]
    await desk.world.review("office/refund", effect="spend", arguments=UNDEMANDING, limits=limits)
    await desk.world.grant("office/refund")
    session = await desk.session()
    assert codes(await desk.open(session, "office/refund", {**PAYMENT, "amount": 1})) == ["rule.uncountable"]
    await rules.revoke(desk.deps, desk.world.admin, "eur-a-day")
    assert allowed(await desk.open(session, "office/refund", {**PAYMENT, "amount": 1}))


@pytest.mark.claim("rule:only-narrows")
@pytest.mark.parametrize(
    "members",
    [
        {"effect": "write"},
        {
            "arguments": UNDEMANDING | {"/lines/*/price": {"role": "how_much", "type": "money", "unit": "EUR"}},
            "limits": [{"name": "eur", "of": "/lines/*/price", "unit": "EUR"}],
        },
        {"limits": [{"name": "sum", "of": "/amount", "unit": "EUR"}]},
    ],
    ids=["another effect", "another argument", "another name"],
)
async def test_a_review_takes_no_tool_out_of_a_rule(desk: Desk, members: dict[str, Any]) -> None:
    await apply(desk, DAILY)
    await grants.revoke(desk.deps, desk.world.admin, desk.grants["pay"])
    with pytest.raises(Conflict, match="eur-a-day"):
        await desk.world.review_pay(**members)
    await rules.revoke(desk.deps, desk.world.admin, "eur-a-day")
    await desk.world.review_pay(**members)


async def test_what_is_written_is_what_is_read_back(desk: Desk) -> None:
    for rule in (ONCE, DAILY, FIRST):
        made = await apply(desk, rule)
        shown = await rules.get(desk.deps, desk.world.admin, str(rule["name"]))
        assert shown == made
        ours = {
            name: value
            for name, value in made.items()
            if name not in ("id", "version", "state", "applied_by", "applied_at")
        }
        again = await rules.apply(desk.deps, desk.world.admin, ours)
        assert {name: again[name] for name in ours} == ours
