"""A person's yes: for exactly the call that was shown, used once, never given by an agent; and a no that stays a no."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.approvals import Approval
from remit.core.calls import Outcome
from remit.core.canonical import canonical
from remit.core.credentials import PersonCaller
from remit.core.decisions import Ask
from remit.core.errors import AlreadyAnswered, Forbidden, ScopeNotOffered, WrongState
from remit.core.events import Kind
from remit.core.times import HOUR
from remit.guards.documents import check_answer
from remit.guards.hidden_text import reveal
from remit.services import agents, approve, keys, people, policies, servers, sessions
from remit.services.authenticate import as_host, as_person, authenticate
from remit.services.reconcile import sweep
from tests.services.desk import PAYMENT, Desk, allowed, codes
from tests.services.world import PAY, READ, tool

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """The working agent, whose payments need a person."""
    await desk.with_ask_policy()
    return desk


async def test_a_yes_lets_the_very_same_call_through_once(desk: Desk) -> None:
    session = await desk.session()
    asked = await desk.pay(session)
    check_answer("Decision", asked.document())
    assert codes(asked) == ["approval.needed"]
    assert codes(await desk.pay(session)) == ["approval.needed"], "waiting is not a second question"
    await desk.answer(asked)
    assert allowed(await desk.pay(session))
    again = await desk.pay(session)
    assert codes(again) == ["approval.needed"]
    kinds = await desk.world.kinds()
    assert (kinds.count(61), kinds.count(70), kinds.count(73)) == (2, 1, 1)


@pytest.mark.claim("approval:single-use")
async def test_of_many_who_use_one_yes_at_once_in_two_processes_one_gets_it(desk: Desk) -> None:
    session = await desk.session()
    await desk.answer(await desk.pay(session))
    other = await desk.another_process()
    answers = await asyncio.gather(*(desk.pay(session, deps=deps) for deps in [desk.deps, other] * 6))
    assert sum(map(allowed, answers)) == 1


@pytest.mark.claim("approval:single-use")
async def test_without_the_conditional_update_two_processes_would_both_use_it(desk: Desk) -> None:
    """The control: read, then write without looking again, and one yes is used twice."""
    session = await desk.session()
    approval_id = await desk.answer(await desk.pay(session))
    other = await desk.another_process()
    seen = []
    for deps in (desk.deps, other):
        async with deps.store.view("main") as view:
            found = await view.approvals.get(approval_id)
        seen.append(found is not None and found.state == "approved")
    assert seen == [True, True]
    used = []
    for deps in (desk.deps, other):
        async with deps.store.unit("main") as unit:
            again = await unit.approvals.get(approval_id)
            assert again is not None
            used.append(await approve.use(unit, replace(again, state="approved")))
    assert used == [True, False]


@pytest.mark.claim("approval:never-by-an-agent")
async def test_no_credential_of_an_agent_answers_a_question(desk: Desk) -> None:
    session = await desk.session()
    asked = await desk.pay(session)
    for caller in (session, desk.host):
        with pytest.raises(Forbidden) as refused:
            await as_person(desk.deps, caller)
        assert (await desk.world.leaves())[refused.value.event or -1]["k"] == 45
    with pytest.raises(Forbidden):
        await as_host(desk.deps, session)
    assert isinstance(asked.verdict, Ask)
    found = await approve.show(desk.deps, desk.world.admin, asked.verdict.approval)
    assert found.state == "pending"


@pytest.mark.claim("approval:never-by-an-agent")
async def test_only_an_active_approver_answers_and_not_the_owner_while_another_could(desk: Desk) -> None:
    session = await desk.session()
    asked = await desk.pay(session)
    assert isinstance(asked.verdict, Ask)
    auditor = await desk.world.person("audit@example.test", "auditor", "administrator", "reviewer", "owner")
    with pytest.raises(Forbidden):
        await approve.answer(desk.deps, auditor, asked.verdict.approval, {"answer": "approve"})
    approver = await desk.world.person("boss@example.test", "approver")
    with pytest.raises(Forbidden, match="four eyes"):
        await approve.answer(desk.deps, desk.world.admin, asked.verdict.approval, {"answer": "approve"})
    with pytest.raises(ScopeNotOffered):
        await approve.answer(desk.deps, approver, asked.verdict.approval, {"answer": "approve", "scope": "session"})
    await approve.answer(desk.deps, approver, asked.verdict.approval, {"answer": "approve"})
    with pytest.raises(AlreadyAnswered):
        await approve.answer(desk.deps, approver, asked.verdict.approval, {"answer": "deny"})


async def test_a_no_is_a_veto_in_that_session(desk: Desk) -> None:
    session = await desk.session()
    await desk.answer(await desk.pay(session), "deny")
    for _ in range(2):
        assert codes(await desk.pay(session)) == ["approval.denied"]
    assert codes(await desk.pay(await desk.session())) == ["approval.needed"], "another session is another question"


@pytest.mark.claim("approval:bound-to-the-call")
async def test_a_yes_is_for_no_other_arguments_and_no_other_session(desk: Desk) -> None:
    session, other = await desk.session(), await desk.session()
    await desk.answer(await desk.pay(session))
    for attempt in (
        desk.pay(session, 81),
        desk.pay(other),
        desk.open(session, "office/pay_invoice", {**PAYMENT, "recipient": "DE66500105175441279831"}),
        desk.open(session, "office/pay_invoice", {**PAYMENT, "note": ""}),
    ):
        assert codes(await attempt) == ["approval.needed"]
    assert allowed(await desk.open(session, "office/pay_invoice", {"amount": 80, "recipient": PAYMENT["recipient"]}))


async def _new_definition(desk: Desk) -> None:
    await desk.world.sync(PAY.replace(b"Pay an invoice.", b"Pay any invoice."), READ)
    await desk.world.review_pay()


async def _new_server(desk: Desk) -> None:
    seen = (await desk.world.sync(PAY, READ, identity={"serverInfo": "another"}))["server"]["fingerprint"]
    await servers.approve(desk.deps, desk.world.admin, "office", seen)


async def _forbid(desk: Desk) -> None:
    text = '@id("stop") forbid(principal, action, resource) when { context.approval.present };'
    sources = (("ask.cedar", policies.shipped()), ("stop.cedar", text))
    await policies.apply(desk.deps, desk.world.admin, sources)


@pytest.mark.claim("approval:bound-to-the-call")
@pytest.mark.parametrize(
    ("change", "code"),
    [(_new_definition, "approval.void"), (_new_server, "approval.void"), (_forbid, "policy.denied")],
)
async def test_a_yes_dies_with_what_it_was_given_for(desk: Desk, change: Any, code: str) -> None:
    session = await desk.session(ttl="PT5H")
    approval = await desk.answer(await desk.pay(session))
    await change(desk)
    assert codes(await desk.pay(session)) == [code]
    found = await approve.show(desk.deps, desk.world.admin, approval)
    assert (found.state == "void") is (code == "approval.void")


@pytest.mark.claim("approval:bound-to-the-call")
async def test_a_yes_runs_out_and_an_unrelated_grant_does_not_hurt_it(desk: Desk) -> None:
    session = await desk.session(ttl="PT5H")
    await desk.answer(await desk.pay(session))
    await desk.world.agent("intern")
    await desk.world.grant("office/read_mail", agent="intern")
    await desk.world.grant("office/read_mail")
    assert allowed(await desk.pay(session)), "attack E10: churn elsewhere is no denial of service"
    await desk.answer(await desk.pay(session, 70))
    desk.world.later(HOUR)
    assert codes(await desk.pay(session, 70)) == ["approval.needed"]


@pytest.mark.claim("approval:bound-to-the-call")
async def test_a_write_to_a_record_that_the_question_showed_voids_the_yes(desk: Desk) -> None:
    """Attack E3: approve sending draft 17, then edit draft 17. A write elsewhere is the control."""
    send, edit = tool("send", {"properties": {"draft": {"type": "string"}}}), tool("edit", {"properties": {"id": {}}})
    await desk.world.sync(PAY, READ, send, edit)
    counted: dict[str, Any] = {"limits": [{"name": "mails", "of": "call"}], "intent": ["pay"]}
    await desk.world.review("office/send", effect="spend", arguments={"/draft": {"role": "reference"}}, **counted)
    await desk.world.review("office/edit", effect="write", arguments={"/id": {"role": "free"}}, intent=["pay"])
    await desk.world.grant("office/send", "office/edit")
    session = await desk.session()
    for written, code in (("draft-18", []), ("draft-17", ["approval.void"])):
        await desk.answer(await desk.open(session, "office/send", {"draft": "draft-17"}))
        await desk.close(session, await desk.open(session, "office/edit", {"id": written}))
        sent = await desk.open(session, "office/send", {"draft": "draft-17"})
        assert codes(sent) == code
        if allowed(sent):
            await desk.close(session, sent)


@pytest.mark.claim("approval:bound-to-the-call")
async def test_the_end_of_a_session_ends_its_questions(desk: Desk) -> None:
    session = await desk.session()
    asked = await desk.pay(session)
    await sessions.end(desk.deps, session, session.session, "")
    with pytest.raises(AlreadyAnswered, match="void"):
        await desk.answer(asked)


@pytest.mark.claim("approval:shown-is-hashed")
async def test_what_is_shown_is_all_that_is_hashed_and_what_hides_is_made_visible(desk: Desk) -> None:
    session = await desk.session()
    note = "to \u202eeve\u202c \u200bnow\U000e0041"
    asked = await desk.open(session, "office/pay_invoice", {**PAYMENT, "note": note})
    assert isinstance(asked.verdict, Ask)
    shown = approve.document(await approve.show(desk.deps, desk.world.admin, asked.verdict.approval), 0)
    check_answer("Approval", shown)
    assert shown["arguments"] == {**PAYMENT, "note": note}
    for mark in ("⟨U+202E⟩", "⟨U+200B⟩", "⟨U+E0041⟩"):
        assert mark in str(shown["shown"])
    assert canonical(shown["arguments"]).decode() != shown["shown"], "the control: printed plainly, it hides"


@pytest.mark.claim("approval:shown-is-hashed")
async def test_a_call_too_large_to_be_shown_whole_is_refused_and_not_cut(desk: Desk) -> None:
    session = await desk.session()
    asked = await desk.open(session, "office/pay_invoice", {**PAYMENT, "note": "x" * approve.MAX_SHOWN})
    assert codes(asked) == ["approval.too_large"]


@pytest.mark.claim("approval:shown-is-hashed")
@given(st.text())
def test_a_shown_text_hides_nothing(text: str) -> None:
    assert reveal(reveal(text)) == reveal(text)
    assert all(char in "\n\t" or char.isprintable() or ord(char) > 127 for char in reveal(text))


async def test_a_person_s_key_answers_over_the_front_door_too(desk: Desk) -> None:
    secret = await keys.create_person_key(desk.deps, desk.world.admin.person)
    caller = await as_person(desk.deps, await authenticate(desk.deps, f"Bearer {secret}"))
    asked = await desk.pay(await desk.session())
    assert isinstance(await _answered(desk, caller, asked), Approval)


async def _answered(desk: Desk, caller: PersonCaller, asked: Any) -> Approval:
    return await approve.answer(desk.deps, caller, asked.verdict.approval, {"answer": "deny", "note": "no"})


async def test_a_question_of_a_suspended_agent_can_be_answered_but_opens_nothing(desk: Desk) -> None:
    session = await desk.session()
    await desk.answer(await desk.pay(session))
    await agents.suspend(desk.deps, desk.world.admin, "bookkeeper")
    assert codes(await desk.pay(session)) == ["agent.not_live"]
    with pytest.raises(WrongState):
        await desk.session()


@pytest.mark.claim("approval:never-by-an-agent")
async def test_a_yes_dies_with_the_role_of_who_gave_it(desk: Desk) -> None:
    carl = await desk.world.person("carl@example.test", "approver")
    session = await desk.session()
    await desk.answer(await desk.pay(session), by=carl)
    await people.suspend(desk.deps, desk.world.admin, carl.person.id)
    assert codes(await desk.pay(session)) == ["approval.void"]


async def test_an_administrator_is_not_handed_another_person_s_key(desk: Desk) -> None:
    carl = await desk.world.person("carl@example.test", "approver")
    await keys.create_person_key(desk.deps, carl.person)
    listed = [one for one in await keys.list_all(desk.deps, desk.world.admin) if one["for"] == "person"]
    with pytest.raises(Forbidden):
        await keys.rotate(desk.deps, desk.world.admin, str(listed[-1]["key"]))


@pytest.mark.claim("approval:single-use")
async def test_a_yes_is_good_again_when_its_call_reached_no_server_and_never_otherwise(desk: Desk) -> None:
    await desk.world.without_demands()
    session = await desk.session()
    await desk.answer(await desk.pay(session))
    await desk.close(session, await desk.pay(session), Outcome("failed", not_acted=True))
    await desk.close(
        session, await desk.pay(session), Outcome("failed", error="paid, then fell over", may_have_acted=True)
    )
    assert codes(await desk.pay(session)) == ["approval.needed"]
    kinds = await desk.world.kinds()
    assert (kinds.count(Kind.APPROVAL_USED), kinds.count(Kind.APPROVAL_RETURNED)) == (2, 1)


@pytest.mark.claim("approval:single-use")
async def test_a_yes_is_given_back_once(desk: Desk) -> None:
    """A server that says each time that it did nothing does not get one yes for ever."""
    session = await desk.session()
    await desk.answer(await desk.pay(session))
    for _ in range(2):
        await desk.close(session, await desk.pay(session), Outcome("failed", not_acted=True))
    assert codes(await desk.pay(session)) == ["approval.needed"]


async def test_a_no_holds_for_all_that_stands_under_one_root(desk: Desk) -> None:
    """What was refused to an agent is not asked again through one that it started; another root is the control."""
    root, other = await desk.session(), await desk.session()
    child = await desk.session(parent=root.session)
    await desk.answer(await desk.pay(child), "deny")
    assert codes(await desk.pay(root)) == ["approval.denied"]
    assert codes(await desk.pay(other)) == ["approval.needed"]


@pytest.mark.claim("approval:shown-is-hashed")
async def test_sessions_below_can_t_take_every_place_of_their_root_s_questions(desk: Desk) -> None:
    root = await desk.session()
    children = [await desk.session(parent=root.session) for _ in range(2)]
    asked = [codes(await desk.pay(child, amount)) for child in children for amount in range(1, approve.MAX_WAITING)]
    assert asked.count(["approval.needed"]) == approve.MAX_WAITING // 2
    assert codes(await desk.pay(root)) == ["approval.needed"]


@pytest.mark.claim("approval:never-by-an-agent")
async def test_who_lost_the_role_after_being_let_in_answers_nothing(desk: Desk) -> None:
    carl = await desk.world.person("carl@example.test", "approver")
    asked = await desk.pay(await desk.session())
    await people.suspend(desk.deps, desk.world.admin, carl.person.id)
    with pytest.raises(Forbidden):
        await desk.answer(asked, by=carl)


@pytest.mark.claim("approval:bound-to-the-call")
@pytest.mark.parametrize(
    "written",
    [{"map": {"draft-17": {}}}, {"map": {"draft-17": []}}, {"map": {"draft-17": {"text": "x"}}}, {"id": "draft-17"}],
)
async def test_a_record_is_bound_and_written_however_it_is_named(desk: Desk, written: Any) -> None:
    """A reviewed reference that holds an object names records by its members; so does an empty one in a write."""
    send = tool("send", {"properties": {"draft": {}}})
    edit = tool("edit", {"properties": {"id": {}, "map": {}}})
    await desk.world.sync(PAY, READ, send, edit)
    counted: dict[str, Any] = {"limits": [{"name": "mails", "of": "call"}], "intent": ["pay"]}
    await desk.world.review("office/send", effect="spend", arguments={"/draft": {"role": "reference"}}, **counted)
    free = {"/id": {"role": "free"}, "/map": {"role": "free"}}
    await desk.world.review("office/edit", effect="write", arguments=free, intent=["pay"])
    await desk.world.grant("office/send", "office/edit")
    session = await desk.session()
    shown: list[Any] = ["draft-17", ["draft-17"], {"of": "draft-17"}, {"draft-17": {}}]
    for draft in shown:
        await desk.answer(await desk.open(session, "office/send", {"draft": draft}))
    elsewhere = await desk.open(session, "office/edit", {"id": "draft-18"})
    await desk.close(session, elsewhere)
    under_way = await desk.open(session, "office/edit", written)
    assert codes(await desk.open(session, "office/send", {"draft": ["draft-17", 1]})) == ["approval.void"]
    assert codes(await desk.open(session, "office/send", {"draft": "draft-3"}))[:1] == ["approval.needed"]
    await desk.close(session, under_way, Outcome("unknown"))
    assert codes(await desk.open(session, "office/send", {"draft": ["draft-17", 2]})) == ["approval.void"]
    for draft in shown:
        assert codes(await desk.open(session, "office/send", {"draft": draft})) == ["approval.void"]


@pytest.mark.claim("approval:shown-is-hashed")
async def test_a_session_can_t_bury_the_questions_of_another(desk: Desk) -> None:
    flood, honest = await desk.session(), await desk.session()
    asked = [codes(await desk.pay(flood, amount)) for amount in range(1, approve.MAX_WAITING + 5)]
    assert asked.count(["approval.needed"]) == approve.MAX_WAITING
    assert asked[-1] == ["approval.crowded"]
    await desk.pay(honest)
    listed, _ = await approve.listing(desk.deps, desk.world.admin, "pending", 1_000, None)
    assert honest.session in {one.session for one in listed}


async def test_questions_are_listed_by_the_page_without_gaps(desk: Desk) -> None:
    session = await desk.session()
    asked = [await desk.pay(session, amount) for amount in range(1, 6)]
    found: list[Approval] = []
    after, pages = None, 0
    while pages == 0 or after is not None:
        seen, after = await approve.listing(desk.deps, desk.world.admin, None, 2, after)
        found, pages = [*found, *seen], pages + 1
    assert [one.id for one in found] == sorted(one.verdict.approval for one in asked if isinstance(one.verdict, Ask))
    assert pages == 3


async def test_questions_that_ran_out_are_written_down_and_make_room(desk: Desk) -> None:
    session = await desk.session(ttl="PT5H")
    for amount in range(1, approve.MAX_WAITING + 1):
        await desk.pay(session, amount)
    desk.world.later(HOUR)
    assert codes(await desk.pay(session, 99)) == ["approval.needed"]
    await sweep(desk.deps, lambda _: True)
    assert (await desk.world.kinds()).count(Kind.APPROVAL_EXPIRED) == approve.MAX_WAITING
    listed, _ = await approve.listing(desk.deps, desk.world.admin, "expired", 1_000, None)
    assert len(listed) == approve.MAX_WAITING
    await sweep(desk.deps, lambda _: True)
    assert (await desk.world.kinds()).count(Kind.APPROVAL_EXPIRED) == approve.MAX_WAITING, "once each"
