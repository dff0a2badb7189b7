"""Observe mode of one server: what it lets through, what it never does, who turns it on, and that it ends by itself."""

import ast
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.calls import Outcome
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.decisions import REASONS, Reason
from remit.core.errors import Forbidden, InvalidDocument, NotFound, WrongState
from remit.core.events import Kind
from remit.core.sessions import STORM
from remit.core.times import DAY, SECOND, to_text
from remit.services import agents, audit, decide, grants, observing, policies, servers
from tests.services.desk import Desk, allowed, codes, done, host_of
from tests.services.world import PAY, READ, tool

pytestmark = pytest.mark.anyio
WEEK = 7 * DAY
FORBID = '@id("no-{name}") forbid (principal, action == Remit::Action::"{ref}", resource);'


async def observe(desk: Desk, server: str = "office", lasting: int | None = WEEK) -> None:
    """Turn the mode on, or off with None."""
    await observing.switch(desk.deps, desk.world.admin, server, lasting)


async def forbid(desk: Desk, *refs: str) -> None:
    """From here on operators' policies forbid these tools, and nothing else."""
    text = "\n".join(FORBID.format(name=ref.partition("/")[2], ref=ref) for ref in refs)
    await policies.apply(desk.deps, desk.world.admin, (("forbid.cedar", text),))


async def second_server(desk: Desk) -> None:
    """Another server with the same tools, granted alike."""
    await desk.world.server(PAY, READ, name="bank")
    await desk.world.review("bank/read_mail")
    document: dict[str, Any] = {"effect": "spend", "limits": [{"name": "eur", "of": "/amount", "unit": "EUR"}]}
    document["arguments"] = {"/amount": {"role": "how_much", "type": "money", "unit": "EUR"}}
    await desk.world.review("bank/pay_invoice", **document)
    await desk.world.grant("bank/read_mail")
    await desk.world.grant("bank/pay_invoice", limits={"eur": "100.00", "per": "call"})


# ------------------------------------------------------------------------------------------- what is let through


@pytest.mark.claim("observe:visible")
async def test_what_policy_would_refuse_is_let_through_and_the_intent_says_so(desk: Desk) -> None:
    session = await desk.session()
    await forbid(desk, "office/read_mail")
    assert codes(await desk.open(session)) == ["policy.denied"], "the control: without the mode it is refused"
    await observe(desk)
    decision = await desk.open(session)
    assert allowed(decision)
    assert codes(decision) == ["observe.would_deny", "policy.denied"]
    assert decision.reasons[1].rule == "no-read_mail"
    leaf = (await desk.world.leaves())[decision.event or 0]
    assert (leaf["k"], leaf["decision"]) == (Kind.INTENT, "allow")
    assert leaf["codes"] == ["observe.would_deny", "policy.denied"]
    shown: Any = decision.document()["reasons"]
    assert [one["code"] for one in shown] == leaf["codes"]
    await desk.close(session, decision)


@pytest.mark.claim("observe:visible")
async def test_what_a_person_would_be_asked_about_is_let_through_and_no_question_is_put(desk: Desk) -> None:
    await desk.with_ask_policy()
    session = await desk.session()
    await observe(desk)
    decision = await desk.pay(session)
    assert codes(decision) == ["observe.would_ask", "approval.needed"]
    assert Kind.ASKED not in await desk.world.kinds()
    await observe(desk, lasting=None)
    assert codes(await desk.pay(session)) == ["approval.needed"]


@pytest.mark.claim("observe:still-counted")
async def test_a_limit_is_passed_and_counted_in_full_so_that_it_is_full_when_the_mode_ends(desk: Desk) -> None:
    await desk.world.without_demands()
    session = await desk.session()
    await observe(desk)
    for amount, expected in ((90, []), (120, ["budget.exceeded"]), (90, ["budget.exceeded"])):
        decision = await desk.pay(session, amount)
        assert codes(decision)[1:] == expected, decision.reasons
        await desk.close(session, decision)
    await observe(desk, lasting=None)
    refused = await desk.pay(session, 1)
    assert codes(refused) == ["budget.exceeded"]
    assert "300 is taken" in refused.reasons[0].text


@pytest.mark.claim("observe:still-counted")
async def test_a_call_that_policy_would_refuse_is_counted_too_and_let_go_when_it_was_not_sent(desk: Desk) -> None:
    await desk.world.without_demands()
    session = await desk.session()
    await forbid(desk, "office/pay_invoice")
    await observe(desk)
    first = await desk.pay(session, 90)
    await desk.close(session, first, Outcome("failed", not_acted=True))
    second = await desk.pay(session, 90)
    await desk.close(session, second)
    await policies.apply(desk.deps, desk.world.admin, ())
    await observe(desk, lasting=None)
    refused = [await desk.pay(session, amount) for amount in (100, 60, 1)]
    assert [allowed(one) for one in refused] == [True, True, False]


async def test_a_call_that_nothing_would_refuse_bears_no_trace_of_the_mode(desk: Desk) -> None:
    session = await desk.session()
    await observe(desk)
    decision = await desk.pay(session)
    assert codes(decision) == []
    assert (await desk.world.leaves())[decision.event or 0]["codes"] == []


async def test_a_yes_that_a_person_gave_before_is_used_and_not_passed_over(desk: Desk) -> None:
    await desk.with_ask_policy()
    session = await desk.session()
    await desk.answer(await desk.pay(session))
    await observe(desk)
    assert codes(await desk.pay(session)) == []
    assert Kind.APPROVAL_USED in await desk.world.kinds()
    assert codes(await desk.pay(session)) == ["observe.would_ask", "approval.needed"]


async def test_the_same_call_id_is_given_the_same_answer_with_its_notice_and_no_second_intent(desk: Desk) -> None:
    session = await desk.session()
    await forbid(desk, "office/read_mail")
    await observe(desk)
    first = await desk.open(session, call_id="c-same")
    again = await desk.open(session, call_id="c-same")
    assert (again.verdict, again.replayed) == (first.verdict, True)
    assert codes(again) == ["observe.would_deny", "policy.denied"]


# ------------------------------------------------------------------------------------------- what it never passes


async def _revoke(desk: Desk) -> None:
    await grants.revoke(desk.deps, desk.world.admin, desk.grants["read"])


async def _suspend(desk: Desk) -> None:
    await agents.suspend(desk.deps, desk.world.admin, "bookkeeper")


async def _change(desk: Desk) -> None:
    await desk.world.sync(PAY, tool("read_mail", description="Another."))


async def _quarantine(desk: Desk) -> None:
    await desk.world.sync(PAY, READ, identity={"serverInfo": {"name": "other"}})


async def _break_policy(desk: Desk) -> None:
    text = '@id("odd") forbid (principal, action, resource) when { context.session.calls + 9223372036854775807 > 0 };'
    await policies.apply(desk.deps, desk.world.admin, (("odd.cedar", text),))


NEVER: dict[str, Callable[[Desk], Awaitable[None]]] = {
    "tool.unknown": _revoke,
    "agent.not_live": _suspend,
    "tool.changed": _change,
    "server.quarantined": _quarantine,
    "policy.error": _break_policy,
}


@pytest.mark.claim("observe:never-what-a-call-stands-on")
@pytest.mark.parametrize("code", NEVER)
async def test_what_a_call_stands_on_is_never_passed(desk: Desk, code: str) -> None:
    session = await desk.session()
    await observe(desk)
    await forbid(desk, "office/pay_invoice")
    assert allowed(await desk.pay(session)), "the control: the mode is on"
    await desk.open(session)  # counts a call, for the policy that adds to it
    await NEVER[code](desk)
    assert code in codes(await desk.open(session, "office/read_mail", {"id": "m1"}))


@pytest.mark.claim("observe:never-what-a-call-stands-on")
async def test_a_shape_an_amount_that_can_not_be_counted_and_a_plan_are_never_passed(desk: Desk) -> None:
    plan = {"tools": ["office/read_mail", "office/pay_invoice"], "limits": {"eur": "50.00"}}
    session, planned = await desk.session(), await desk.session(plan={**plan, "tools": ["office/pay_invoice"]})
    await observe(desk)
    await forbid(desk, "office/pay_invoice")
    assert codes(await desk.open(session, "office/read_mail", {"id": 5})) == ["arguments.shape"]
    assert codes(await desk.pay(session, -5)) == ["budget.uncountable"]
    assert codes(await desk.open(planned)) == ["plan.tool"]
    assert codes(await desk.pay(planned, 51)) == ["budget.exceeded"]
    assert codes(await desk.pay(planned, 101)) == ["budget.exceeded"], "also where the grant is passed first"
    assert codes(await desk.pay(session, 101)) == ["observe.would_deny", "policy.denied", "budget.exceeded"]


@pytest.mark.claim("observe:never-what-a-call-stands-on")
@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_no_of_a_person_holds_whatever_else_would_have_been_let_through(desk: Desk, forbidden: bool) -> None:
    await desk.with_ask_policy()
    session = await desk.session()
    await desk.answer(await desk.pay(session), "deny")
    await observe(desk)
    if forbidden:
        await forbid(desk, "office/pay_invoice")
    assert codes(await desk.pay(session)) == ["approval.denied"]
    assert codes(await desk.pay(session, 79))[:1] in (["observe.would_ask"], ["observe.would_deny"]), "the control"


@pytest.mark.claim("observe:never-what-a-call-stands-on")
async def test_a_session_that_is_suspended_for_a_storm_stays_so(desk: Desk) -> None:
    session = await desk.session(ttl="PT5H")
    for number in range(STORM):
        await desk.open(session, "office/none", {"n": number})
    await observe(desk)
    assert codes(await desk.open(session)) == ["session.suspended"]


@pytest.mark.claim("observe:never-what-a-call-stands-on")
async def test_when_the_log_can_not_be_written_nothing_is_let_through(desk: Desk) -> None:
    session = await desk.session()
    await forbid(desk, "office/read_mail")
    await observe(desk)
    await desk.deps.store.close()
    assert codes(await desk.open(session)) == ["log.unavailable"]


def test_every_step_of_a_judged_call_is_taken_in_observe_mode_too() -> None:
    """A step that is added to the one and forgotten in the other would be switched off by the mode.

    Only the question about values has no place there: what it would be about is written down instead.
    """
    tree = ast.parse(inspect.getsource(decide))
    steps = {
        function.name: {
            node.func.id
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef) and function.name in {"_judged", "_observed"}
    }
    assert {"_permitted", "_flow", "_budget"} <= steps["_judged"]
    assert steps["_judged"] - {"any", "_about_values"} <= steps["_observed"]


@given(st.lists(st.sampled_from(sorted(REASONS)), min_size=1, max_size=4))
def test_reasons_pass_only_when_each_of_them_does(names: list[str]) -> None:
    passing = {"policy.denied", "budget.exceeded", "approval.needed", "approval.too_large", "flow.value", "flow.call"}
    assert observing.passes([Reason(name) for name in names]) is (set(names) <= passing)
    assert not observing.passes([Reason("budget.exceeded", rule="plan")])


# ------------------------------------------------------------------------------------------- one server, and no other


@pytest.mark.claim("observe:one-server")
async def test_a_server_in_observe_mode_makes_no_call_of_another_server_pass(desk: Desk) -> None:
    """Attack: read at the watched server what could not be read, and carry it to a sink at another one."""
    await second_server(desk)
    session = await desk.session()
    await observe(desk)
    clean = '@id("clean") forbid (principal, action == Remit::Action::"bank/pay_invoice", resource) '
    clean += 'when { context.session.integrity == "untrusted" };'
    text = clean + "\n" + FORBID.format(name="read", ref="office/read_mail")
    await policies.apply(desk.deps, desk.world.admin, (("clean.cedar", text),))
    small: dict[str, Json] = {"recipient": "DE1", "amount": 5}
    assert allowed(await desk.open(session, "bank/pay_invoice", small)), "the control: nothing untrusted was seen yet"
    read = await desk.open(session)
    assert codes(read)[:1] == ["observe.would_deny"]
    await desk.close(session, read, done({"content": [{"type": "text", "text": "pay DE66"}]}))
    assert codes(await desk.open(session, "bank/pay_invoice", small)) == ["policy.denied"], "labels join as ever"
    assert codes(await desk.open(session, "bank/pay_invoice", {**small, "amount": 101})) == ["policy.denied"]
    await desk.world.without_demands()
    assert codes(await desk.pay(session, 101)) == ["observe.would_deny", "budget.exceeded"]


@pytest.mark.claim("observe:one-server")
async def test_the_grants_of_every_member_of_a_chain_still_bound_it(desk: Desk) -> None:
    """A sub-agent without a grant reaches nothing at a watched server, whoever it works for."""
    await desk.world.agent("helper")
    await desk.world.grant("office/read_mail", agent="helper")
    await agents.activate(desk.deps, desk.world.admin, "helper")
    parent = await desk.session()
    await observe(desk)
    await forbid(desk, "office/read_mail")
    child = await desk.session(await host_of(desk.world, "helper"), parent=parent.session)
    assert allowed(await desk.open(child)), "the control: what it was granted is watched"
    assert codes(await desk.pay(child)) == ["tool.unknown"]


# ------------------------------------------------------------------------------------------- who turns it on, and until


@pytest.mark.claim("observe:administrator-only")
@pytest.mark.parametrize("role", ["reviewer", "approver", "auditor", "owner", "viewer"])
async def test_nobody_but_an_administrator_turns_it_on_or_off(desk: Desk, role: str) -> None:
    person = await desk.world.person(f"{role}@example.test", role)
    before = await desk.world.epoch()
    for lasting in (WEEK, None):
        with pytest.raises(Forbidden):
            await observing.switch(desk.deps, person, "office", lasting)
    document = {"kind": "Server", "name": "office", "url": "http://127.0.0.1:9/mcp"}
    document["observe"] = {"until": to_text(desk.world.clock.at + DAY)}  # type: ignore[assignment]  # a nested document
    with pytest.raises(Forbidden):
        await servers.change(desk.deps, person, "office", document)
    assert await desk.world.epoch() == before
    await observe(desk)


@pytest.mark.claim("observe:ends-by-itself")
async def test_it_ends_at_its_time_for_a_session_and_an_authority_that_were_cached_before(desk: Desk) -> None:
    session = await desk.session(ttl="P20D")
    await forbid(desk, "office/read_mail")
    await observe(desk, lasting=10 * SECOND)
    assert allowed(await desk.open(session))
    kept = desk.deps.authority.newest
    desk.world.later(10 * SECOND - 1)
    assert allowed(await desk.open(session))
    desk.world.later(1)
    assert codes(await desk.open(session)) == ["policy.denied"]
    assert desk.deps.authority.newest is kept, "the control: no registry change ended it"


@pytest.mark.claim("observe:ends-by-itself")
@pytest.mark.parametrize("lasting", [30 * DAY + 1, 365 * DAY])
async def test_it_is_never_without_an_end_nor_longer_than_thirty_days(desk: Desk, lasting: int) -> None:
    with pytest.raises(InvalidDocument):
        await observe(desk, lasting=lasting)
    for until in (to_text(desk.world.clock.at + lasting), to_text(desk.world.clock.at)):
        document: Any = {"kind": "Server", "name": "spare", "url": "http://127.0.0.1:9/", "observe": {"until": until}}
        with pytest.raises(InvalidDocument):
            await servers.add(desk.deps, desk.world.admin, document)
    for endless in ({}, {"until": None}, True, {"for": "P1D"}):
        document = {"kind": "Server", "name": "spare", "url": "http://127.0.0.1:9/", "observe": endless}
        with pytest.raises(InvalidDocument):
            await servers.add(desk.deps, desk.world.admin, document)
    await observe(desk, lasting=30 * DAY)


async def test_a_retired_server_observes_nothing(desk: Desk) -> None:
    await desk.world.server(name="spare")
    await observe(desk, "spare")
    counted: Any = await audit.status(desk.deps)
    assert counted["counts"]["observing"] == 1
    await servers.retire(desk.deps, desk.world.admin, "spare")
    counted = await audit.status(desk.deps)
    assert counted["counts"]["observing"] == 0
    with pytest.raises(WrongState):
        await observe(desk, "spare")


@pytest.mark.claim("observe:visible")
async def test_each_turn_is_an_event_however_it_is_made(desk: Desk) -> None:
    await observe(desk)
    await observe(desk, lasting=None)
    await observe(desk, lasting=None)
    until = to_text(desk.world.clock.at + DAY)
    document: Any = {"kind": "Server", "name": "office", "url": "http://127.0.0.1:9/mcp", "observe": {"until": until}}
    made = await servers.change(desk.deps, desk.world.admin, "office", document)
    assert made["observe"] == {"until": until}
    del document["observe"]
    await servers.change(desk.deps, desk.world.admin, "office", document)
    switched = [leaf["codes"] for leaf in await desk.world.leaves() if leaf["k"] == Kind.SERVER_OBSERVED]
    assert switched == [["on"], ["off"], ["on"], ["off"]]


async def test_a_changed_record_keeps_its_pins_and_secrets_and_can_not_become_another_server(desk: Desk) -> None:
    await servers.store_secret(desk.deps, desk.world.admin, "office", "header", "X-Key", "hunter2-hunter2")
    before = await servers.get(desk.deps, desk.world.admin, "office")
    document: Any = {"kind": "Server", "name": "office", "url": "https://office.example.test/mcp", "timeout": "PT5S"}
    after = await servers.change(desk.deps, desk.world.admin, "office", document)
    assert (after["id"], after["pinned"], after["secrets"]) == (before["id"], before["pinned"], ["header:X-Key"])
    assert (after["url"], after["timeout"]) == ("https://office.example.test/mcp", "PT5S")
    for wrong in (
        {"timeout": "PT3601S"},
        {"timeout": "P99999D"},
        {"concurrency": 0},
        {"name": "bank"},
        {"url": None, "caller": True},
    ):
        bent = {name: value for name, value in {**document, **wrong}.items() if value is not None}
        with pytest.raises(InvalidDocument):
            await servers.change(desk.deps, desk.world.admin, "office", bent)


# ------------------------------------------------------------------------------------------- what is made of it


@pytest.mark.claim("observe:visible")
async def test_the_report_groups_what_was_let_through_by_tool_reason_and_rule(desk: Desk) -> None:
    session = await desk.session()
    await forbid(desk, "office/read_mail")
    assert (await observing.observed(desk.deps, desk.world.admin, "office"))["items"] == []
    await observe(desk)
    for number in range(3):
        await desk.open(session, "office/read_mail", {"id": f"m{number}"})
    last = await desk.pay(session, 101)
    await desk.pay(session, 5)
    report: Any = await observing.observed(desk.deps, desk.world.admin, "office")
    assert report["complete"] is True
    lines = [(one["tool"], one["would"], one["code"], one["rule"], one["calls"]) for one in report["items"]]
    assert lines == [
        ("office/read_mail", "deny", "policy.denied", "no-read_mail", 3),
        ("office/pay_invoice", "deny", "budget.exceeded", desk.grants["pay"], 1),
    ]
    assert report["items"][1]["event"] == last.event
    assert report["items"][0]["agents"] == [desk.host.agent]
    await observe(desk, lasting=None)
    ended: Any = await observing.observed(desk.deps, desk.world.admin, "office")
    assert (ended["until"], ended["items"]) == (None, report["items"])


async def test_the_report_is_of_one_server_and_for_administrators_and_auditors(desk: Desk) -> None:
    await second_server(desk)
    await observe(desk)
    session = await desk.session()
    await desk.pay(session, 101)
    await observe(desk, "bank")
    assert (await observing.observed(desk.deps, desk.world.admin, "bank"))["items"] == []
    auditor = await desk.world.person("auditor@example.test", "auditor")
    assert (await observing.observed(desk.deps, auditor, "office"))["items"] != []
    reviewer: PersonCaller = await desk.world.person("reviewer@example.test", "reviewer")
    with pytest.raises(Forbidden):
        await observing.observed(desk.deps, reviewer, "office")
    with pytest.raises(NotFound):
        await observing.observed(desk.deps, auditor, "nobody")


async def test_a_report_stays_readable_when_the_values_behind_it_were_erased(desk: Desk) -> None:
    await observe(desk)
    session = await desk.session()
    await desk.pay(session, 101)
    desk.deps.sealer.forget(desk.deps.org, desk.world.admin.person.id)
    report: Any = await observing.observed(desk.deps, desk.world.admin, "office")
    assert [(one["code"], one["rule"]) for one in report["items"]] == [("budget.exceeded", None)]
