"""Limits: no number of calls at once, in however many processes, passes one; and what counts is counted exactly."""

import asyncio
import multiprocessing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from remit.core.calls import Outcome, ProposedCall, Reservation
from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.times import DAY, MINUTE
from remit.services import agents
from remit.services.decide import open_call
from remit.services.sealing import Sealer
from remit.storage.sqlite import open_store
from remit.storage.subject_keys import SubjectKeys
from tests.services.desk import PAYMENT, Desk, allowed, codes, host_of, make_desk
from tests.services.world import PAY, READ, HandClock, SystemEntropy, World, make_deps, tool

pytestmark = pytest.mark.anyio


def spend(path: Path, session: tuple[str, str, str], at: int, barrier: Any, outcomes: Any) -> None:
    """In a process of its own: ten payments of 20 EUR, at the same moment as another process."""
    anyio.run(_spend, path, session, at, barrier, outcomes)


async def _spend(path: Path, session: tuple[str, str, str], at: int, barrier: Any, outcomes: Any) -> None:
    clock = HandClock(at)
    sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
    store = await open_store(path / "remit.db", clock, sealer)
    deps = make_deps(store, clock, sealer)
    key, agent, name = session
    caller = SessionCaller(org="main", key=key, agent=agent, session=name)
    calls = [
        ProposedCall(f"p{multiprocessing.current_process().pid}-{n}", "office/pay_invoice", {**PAYMENT, "amount": 20})
        for n in range(10)
    ]
    barrier.wait(30)
    answers = await asyncio.gather(*(open_call(deps, caller, call) for call in calls))
    outcomes.put([allowed(one) for one in answers])
    await store.close()


@pytest.mark.claim("budget:exact-under-concurrency")
async def test_two_processes_at_once_spend_a_day_s_limit_exactly(desk: Desk) -> None:
    """Attacks A11 and D3: 20 payments of 20 EUR race for 250 EUR; 12 fit."""
    session = await desk.session()
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2), context.Queue()
    facts = (session.key, session.agent, session.session)
    arguments = (desk.world.path, facts, desk.world.clock.at, barrier, outcomes)
    processes = [context.Process(target=spend, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    answers = [one for _ in processes for one in await asyncio.to_thread(outcomes.get, True, 60)]
    for process in processes:
        process.join(30)
    assert (len(answers), sum(answers)) == (20, 12)
    assert codes(await desk.pay(session, 20)) == ["budget.exceeded"]
    assert allowed(await desk.pay(session, 10))


@pytest.mark.claim("budget:exact-under-concurrency")
async def test_looking_first_and_reserving_later_would_pass_the_limit(desk: Desk) -> None:
    """The control: the same counters, looked at in one unit of work and written in another."""
    deps, limit, amount = desk.deps, 250_0000, 20_0000
    seen = asyncio.Barrier(20)

    async def careless() -> None:
        async with deps.store.view("main") as view:
            before = sum(await view.counters.taken("careless", "eur", 0))
        await seen.wait()
        if before + amount <= limit:
            async with deps.store.unit("main") as unit:
                await unit.counters.reserve(Reservation("g", "careless", "eur", 0, amount))

    await asyncio.gather(*(careless() for _ in range(20)))
    async with deps.store.view("main") as view:
        assert sum(await view.counters.taken("careless", "eur", 0)) == 20 * amount > limit


async def test_a_limit_a_call_a_limit_a_day_and_a_day_that_rolls(desk: Desk) -> None:
    session = await desk.session(ttl="P3D")
    assert codes(await desk.pay(session, Decimal("100.01"))) == ["budget.exceeded"]
    for _ in range(2):
        assert allowed(await desk.pay(session, 100))
    desk.world.later(DAY - MINUTE)
    assert codes(await desk.pay(session, 51)) == ["budget.exceeded"]
    assert allowed(await desk.pay(session, 50))
    desk.world.later(2 * MINUTE)
    assert allowed(await desk.pay(session, 100)), "what was spent more than a day ago no longer counts"
    assert codes(await desk.pay(session, 101)) == ["budget.exceeded"]


@pytest.mark.parametrize("amount", [-1, Decimal("-0.01"), "80", Decimal("1.00001"), 10**16, True, None])
async def test_what_is_no_plain_amount_is_refused_before_it_is_spent(desk: Desk, amount: Json) -> None:
    """Attack G8. A spelling such as 1e2 is one hundred, and counts as that."""
    session = await desk.session()
    refused = await desk.open(session, "office/pay_invoice", {**PAYMENT, "amount": amount})
    assert codes(refused)[0] in ("arguments.shape", "arguments.encoding", "budget.uncountable")
    assert allowed(await desk.pay(session, Decimal("1e2")))


@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (Outcome("done", result={"content": []}), 170),
        (Outcome("unknown"), 170),
        (Outcome("failed", error={"code": -32602, "message": "no"}), 250),
        (Outcome("failed", error="paid, then fell over", may_have_acted=True), 170),
        (Outcome("failed", result={"content": [], "isError": True}), 170),
        (Outcome("failed", not_acted=True), 250),
    ],
    ids=["done", "unknown", "refused", "error", "tool error", "not sent"],
)
async def test_only_an_outcome_that_says_not_done_gives_back(desk: Desk, outcome: Outcome, left: int) -> None:
    await desk.world.without_demands()
    session = await desk.session()
    await desk.close(session, await desk.pay(session, 80), outcome)
    fits = [allowed(await desk.pay(session, 10)) for _ in range(26)]
    assert sum(fits) * 10 == left


@pytest.mark.claim("budget:exact-under-concurrency")
async def test_children_spend_at_the_root_and_within_their_parents_plans(desk: Desk) -> None:
    await desk.world.agent("helper")
    await desk.world.grant("office/pay_invoice", agent="helper", limits={"eur": "300.00", "per": "session"})
    await agents.activate(desk.deps, desk.world.admin, "helper")
    helper = await host_of(desk.world, "helper")
    plan = {"tools": ["office/pay_invoice"], "limits": {"eur": "120.00"}}
    root = await desk.session(plan=plan)
    children = [
        await desk.session(
            helper, parent=root.session, plan={"tools": ["office/pay_invoice"], "limits": {"eur": "500"}}
        )
        for _ in range(3)
    ]
    answers = [allowed(await desk.pay(child, 50)) for child in children]
    assert answers == [True, True, False], "three children share what their root has left"
    assert codes(await desk.open(children[0])) == ["tool.unknown"], "what the child was not granted it can't inherit"
    assert codes(await desk.open(root)) == ["plan.tool"], "nor call what the plan leaves out"
    assert allowed(await desk.pay(root, 20))


async def test_every_amount_in_a_list_counts(world: World) -> None:
    schema = {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}}
        },
    }
    desk = await make_desk(world)
    await world.sync(PAY, READ, tool("order", schema))
    money = {"/lines/*/price": {"role": "how_much", "type": "money", "unit": "EUR"}}
    limits = [{"name": "eur", "of": "/lines/*/price", "unit": "EUR"}]
    await world.review("office/order", effect="spend", arguments=money, limits=limits)
    await world.grant("office/order", limits={"eur": "10.00", "per": "session"})
    session = await desk.session()

    def order(*prices: Json) -> dict[str, Json]:
        return {"lines": [{"price": price} for price in prices]}

    assert codes(await desk.open(session, "office/order", order(4, 4, 3))) == ["budget.exceeded"]
    assert codes(await desk.open(session, "office/order", order())) == ["budget.uncountable"]
    assert codes(await desk.open(session, "office/order", {"lines": [{"price": 1}, {}]})) == ["budget.uncountable"]
    assert allowed(await desk.open(session, "office/order", order(4, 4)))
    assert codes(await desk.open(session, "office/order", order(3))) == ["budget.exceeded"]
