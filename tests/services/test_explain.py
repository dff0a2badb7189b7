"""Why a call was decided as it was: told by the code that decides, as things were then, and by nobody for strangers."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.canonical import Json
from remit.core.decisions import Decision
from remit.core.errors import AlreadyAnswered, Forbidden, NotFound, WrongState
from remit.services import audit
from remit.services.explain import explain_call, explain_event
from tests.services.desk import IBAN, Desk, allowed, done
from tests.services.test_exposure import send, shown
from tests.services.test_flow import FIELDS, TASK, THEIRS, mail, pay, poisoned

pytestmark = pytest.mark.anyio


async def why(desk: Desk, decision: Decision) -> dict[str, Any]:
    """The explanation of a decision."""
    event = decision.event
    assert event is not None
    return await explain_event(desk.deps, desk.world.admin, event)


def at(found: dict[str, Any], pointer: str) -> dict[str, Any]:
    """One argument of it."""
    return next(one for one in found["arguments"] if one["argument"] == pointer)


async def test_each_argument_says_what_it_has_from_where_and_what_was_demanded(desk: Desk) -> None:
    session = await poisoned(desk)
    found = await why(desk, await pay(desk, session, IBAN))
    assert (found["decision"], found["verdict"], found["tainted"]) == ("allow", "allow", True)
    payee = at(found, "/recipient")
    assert (payee["strength"], payee["needs"], payee["met"]) == (3, 3, True)
    assert [(one["rule"], one["from"]) for one in payee["granted"]] == [
        ("B1", "it stands in the task, or is the principal's own")
    ]
    found = await why(desk, await pay(desk, session, THEIRS))
    assert (found["decision"], found["verdict"], found["codes"]) == ("ask", "ask", ["flow.value"])
    stolen = at(found, "/recipient")
    assert (stolen["value"], stolen["strength"], stolen["needs"], stolen["met"]) == (THEIRS, 0, 3, False)
    assert (stolen["granted"], stolen["demanded_by"]) == ([], ["C", "C1"])


@pytest.mark.claim("explain:as-it-was")
async def test_an_explanation_is_of_the_moment_of_the_call_and_not_of_what_came_later(desk: Desk) -> None:
    session = await poisoned(desk, "Pay 80 EUR as the mail says.")
    first = await pay(desk, session, THEIRS)
    await desk.answer(first)
    second = await pay(desk, session, THEIRS)
    assert allowed(second)
    await desk.world.without_demands()
    before, after = await why(desk, first), await why(desk, second)
    assert [(one["decision"], one["verdict"], at(one, "/recipient")["strength"]) for one in (before, after)] == [
        ("ask", "ask", 0),
        ("allow", "allow", 4),
    ]
    assert at(after, "/recipient")["granted"][0]["rule"] == "B14"


async def test_a_secret_that_would_leave_is_a_demand_on_the_call(desk: Desk) -> None:
    session = await shown(desk)
    found = await why(desk, await send(desk, session))
    assert [(one["rule"], one["met"]) for one in found["call_demands"]] == [("D1", False)]


@pytest.mark.claim("explain:leaves-nothing")
async def test_a_call_that_nobody_made_is_explained_and_leaves_nothing(desk: Desk) -> None:
    session = await poisoned(desk)
    before = await desk.world.raw_leaves()
    for recipient, decision in ((THEIRS, "ask"), (IBAN, "allow")):
        arguments: dict[str, Json] = {"recipient": recipient, "amount": 80}
        found = await explain_call(desk.deps, desk.world.admin, session.session, "office/pay_invoice", arguments)
        assert (found["decision"], found["verdict"]) == (decision, decision)
    refused = await explain_call(desk.deps, desk.world.admin, session.session, "office/nothing", {})
    assert (refused["decision"], refused["codes"], refused["arguments"]) == ("deny", ["tool.unknown"], [])
    assert await desk.world.raw_leaves() == before
    asked = await pay(desk, session, THEIRS)
    assert asked.document()["decision"] == "ask"
    async with desk.deps.store.view("main") as view:
        assert len(await view.approvals.list(None, 10, None)) == 1


@pytest.mark.claim("explain:for-readers")
async def test_values_are_explained_to_an_auditor_and_to_nobody_who_may_not_read_them(desk: Desk) -> None:
    session = await poisoned(desk)
    event = (await pay(desk, session, THEIRS)).event
    assert event is not None
    auditor = await desk.world.person("ann@example.test", "auditor")
    assert (await explain_event(desk.deps, auditor, event))["decision"] == "ask"
    for roles in (("viewer",), ("reviewer", "approver"), ("owner",)):
        other = await desk.world.person(f"{roles[0]}@example.test", *roles)
        with pytest.raises(Forbidden):
            await explain_event(desk.deps, other, event)
        with pytest.raises(NotFound):
            await explain_call(desk.deps, other, session.session, "office/read_mail", {})


async def test_what_is_no_decision_or_was_erased_is_said_to_be_so(desk: Desk) -> None:
    session = await poisoned(desk)
    asked = await pay(desk, session, THEIRS)
    for index in (0, 1, 10_000):
        with pytest.raises(NotFound):
            await explain_event(desk.deps, desk.world.admin, index)
    await audit.erase(desk.deps, desk.world.admin, "ada@example.test")
    with pytest.raises(WrongState, match="erased"):
        await why(desk, asked)


@pytest.mark.claim("explain:as-it-was")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("pay"), st.sampled_from([IBAN, THEIRS]), st.sampled_from([80, 60])),
            st.tuples(st.just("read"), st.sampled_from([IBAN, THEIRS]), st.just(0)),
            st.tuples(st.just("answer"), st.sampled_from(["approve", "deny"]), st.just(0)),
        ),
        max_size=7,
    ),
    context=st.sampled_from(["attested", "unattested"]),
)
async def test_explained_again_from_the_log_every_call_of_a_session_has_the_verdict_that_it_had(
    desk: Desk, steps: list[tuple[str, str, int]], context: str
) -> None:
    await desk.world.review("office/read_mail", output={"from": "structured", "fields": FIELDS})
    await desk.world.grant("office/pay_invoice", limits=[{"eur": "100000.00", "per": "day"}])
    session = await desk.session(task=[{"text": TASK, "source": "principal"}], context=context)
    made: list[Decision] = []
    for kind, what, amount in steps:
        if kind == "answer":
            if made and made[-1].document()["decision"] == "ask":
                with suppress(AlreadyAnswered):
                    await desk.answer(made[-1], what)
            continue
        if kind == "read":
            made.append(await desk.open(session))
            await desk.close(session, made[-1], mail("x", account=what))
            continue
        made.append(await pay(desk, session, what, amount))
        if allowed(made[-1]):
            await desk.close(session, made[-1], done({"content": []}))
    for one in made:
        found = await why(desk, one)
        flow = [code for code in found["codes"] if code.startswith("flow.")]
        assert found["decision"] == one.document()["decision"]
        # What a person said yes to is still what flow would ask about; the intent names their approval.
        approved = "about" in (await desk.world.leaves())[found["event"]]
        assert (found["verdict"] != "allow") == bool(flow or "approval.needed" in found["codes"] or approved), found
