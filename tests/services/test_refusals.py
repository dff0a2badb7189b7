"""A no is final: the same call gets it again at no cost, and who goes on knocking is shut out for a while."""

import pytest

from remit.core.events import Kind
from remit.core.sessions import STORM, STORM_WINDOW, SUSPENSION
from remit.services import grants
from tests.services.desk import Desk, allowed, codes
from tests.services.world import PAY, READ, tool

pytestmark = pytest.mark.anyio


async def denials(desk: Desk, root: str) -> int:
    """How many denials this session counts."""
    async with desk.deps.store.view(desk.deps.org) as view:
        flow = await view.sessions.flow(root)
    return flow.denials if flow else 0


@pytest.mark.claim("denial:final")
async def test_the_same_call_gets_the_same_no_from_memory_counted_and_without_a_line_in_the_log(desk: Desk) -> None:
    session, before = await desk.session(), len(await desk.world.leaves())
    first = await desk.pay(session, 101)
    again = [await desk.pay(session, 101) for _ in range(5)]
    assert codes(first) == ["budget.exceeded"], "what hangs on a limit is decided each time"
    lines = len(await desk.world.leaves()) - before
    assert lines == 7, "and the access request, once"
    wrong = [await desk.open(session, "office/read_mail", {"id": 5}) for _ in range(6)]
    assert {(tuple(codes(one)), one.event) for one in wrong} == {(("arguments.shape",), wrong[0].event)}
    assert len(await desk.world.leaves()) - before == lines + 1
    assert await denials(desk, session.session) == 12
    assert {one.event for one in again}.isdisjoint({first.event})


@pytest.mark.claim("denial:final")
async def test_a_remembered_no_ends_with_what_it_was_decided_on(desk: Desk) -> None:
    """Attack: a stale no would be as wrong as a stale yes. Each change is the control of the refusal before it."""
    session = await desk.session()
    await desk.world.sync(PAY, READ, tool("other"))
    await desk.world.review("office/other")
    for _ in range(2):
        assert codes(await desk.open(session, "office/other", {})) == ["tool.unknown"]
    made = await desk.world.grant("office/other")
    assert allowed(await desk.open(session, "office/other", {}))
    await grants.revoke(desk.deps, desk.world.admin, str(made["id"]))
    assert codes(await desk.open(session, "office/other", {})) == ["tool.unknown"]


async def test_a_no_is_remembered_for_its_session_and_its_very_bytes_only(desk: Desk) -> None:
    one, two = await desk.session(), await desk.session()
    refused = await desk.open(one, "office/read_mail", {"id": 5})
    assert (await desk.open(one, "office/read_mail", {"id": 6})).event != refused.event
    assert (await desk.open(two, "office/read_mail", {"id": 5})).event != refused.event
    assert allowed(await desk.open(one, "office/read_mail", {"id": "5"}))


@pytest.mark.claim("denial:storm-suspends")
async def test_a_storm_of_refused_calls_suspends_the_session_and_all_under_its_root(desk: Desk) -> None:
    root = await desk.session(ttl="PT5H")
    child, other = await desk.session(parent=root.session), await desk.session(ttl="PT5H")
    answers = [codes(await desk.open(child, "office/none", {"n": number})) for number in range(STORM + 5)]
    assert answers == [["tool.unknown"]] * STORM + [["session.suspended"]] * 5
    for caller in (root, child):
        assert codes(await desk.open(caller)) == ["session.suspended"]
    assert allowed(await desk.open(other)), "the control: another session goes on"
    assert (await desk.world.kinds()).count(Kind.SESSION_SUSPENDED) == 1
    desk.world.later(SUSPENSION)
    assert allowed(await desk.open(root))


@pytest.mark.claim("denial:storm-suspends")
async def test_repeats_from_memory_count_for_a_storm_too(desk: Desk) -> None:
    session = await desk.session()
    for _ in range(STORM):
        await desk.open(session, "office/none", {})
    assert codes(await desk.open(session)) == ["session.suspended"]


async def test_an_answer_that_was_given_is_given_again_while_the_session_rests(desk: Desk) -> None:
    session = await desk.session()
    first = await desk.open(session, call_id="mine")
    for number in range(STORM):
        await desk.open(session, "office/none", {"n": number})
    again = await desk.open(session, call_id="mine")
    assert (allowed(again), again.event, again.replayed) == (True, first.event, True)
    assert codes(await desk.open(session, call_id="another")) == ["session.suspended"]


async def test_refusals_that_come_slowly_are_no_storm(desk: Desk) -> None:
    session = await desk.session(ttl="PT5H")
    for number in range(2 * STORM):
        if number % (STORM - 1) == 0:
            desk.world.later(STORM_WINDOW)
        await desk.open(session, "office/none", {"n": number})
    assert allowed(await desk.open(session))
