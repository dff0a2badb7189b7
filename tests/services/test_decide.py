"""The life of a tool call up to the intent: nothing dead, unknown or unreviewed gets a yes, in whichever process it asks."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from remit.core.calls import Outcome
from remit.core.decisions import Deny
from remit.core.errors import CallIdReused
from remit.core.grants import Grant
from remit.core.policies import PolicyRevision
from remit.core.times import DAY, HOUR
from remit.core.tools import Definition
from remit.guards.documents import check_answer
from remit.policy.terms import PolicyContext, Principal
from remit.policy.verdicts import PolicyAllows, policy_verdict
from remit.services import agents, grants, keys, people, policies, servers, sessions
from remit.services.listing import look
from remit.services.reconcile import sweep
from remit.storage.sqlite import SqliteStore
from tests.services.desk import Desk, allowed, codes
from tests.services.world import PAY, tool

pytestmark = pytest.mark.anyio


async def test_a_granted_call_gets_a_yes_with_a_committed_intent(desk: Desk) -> None:
    session = await desk.session()
    decision = await desk.open(session)
    document = decision.document()
    check_answer("Decision", document)
    leaf = (await desk.world.leaves())[decision.event or -1]
    assert (leaf["k"], leaf["decision"], leaf["call"]) == (62, "allow", decision.call_id)
    assert leaf["i"] == document["intent"] == document["event"]
    assert (leaf["policy"], leaf["authority"]) == (decision.policy_version, decision.authority_version)


READ_AS_IT_WAS = tool(
    "read_mail", {"type": "object", "properties": {"id": {"type": "string"}}}, description="Read one mail."
)

# What an administrator or an owner does, and the code that the very next call is refused with.

Change = Callable[[Desk, Any], Awaitable[Any]]


async def _expire_agent(desk: Desk, session: Any) -> None:
    del session
    changed = {
        "kind": "Agent",
        "name": "bookkeeper",
        "owner": desk.world.admin.person.email,
        "purpose": "Pays",
        "expires": desk.world.in_future(1_000),
    }
    await agents.change(desk.deps, desk.world.admin, changed)
    desk.world.later(2_000)


async def _suspend_owner(desk: Desk, session: Any) -> None:
    del session
    await desk.world.person("eve@example.test", "administrator")
    await people.suspend(desk.deps, desk.world.admin, desk.world.admin.person.id)


async def _hours(desk: Desk, session: Any) -> None:
    del session
    desk.world.later(2 * HOUR)


async def _expire_grant(desk: Desk, session: Any) -> None:
    del session
    async with desk.deps.store.unit("main") as unit:
        grant = await unit.nouns.get(Grant, desk.grants["read"])
        assert grant is not None
        await unit.nouns.replace(replace(grant, expires=desk.world.clock.at + 1_000))
    desk.world.later(1_000)


CHANGES: dict[str, tuple[Change, str]] = {
    "agent suspended": (lambda d, _: agents.suspend(d.deps, d.world.admin, "bookkeeper"), "agent.not_live"),
    "agent expired": (_expire_agent, "agent.not_live"),
    "agent killed": (lambda d, _: agents.kill(d.deps, d.world.admin, "bookkeeper", "leak"), "agent.not_live"),
    "agent retired": (lambda d, _: agents.retire(d.deps, d.world.admin, "bookkeeper"), "agent.not_live"),
    "owner suspended": (_suspend_owner, "principal.not_live"),
    "key revoked": (lambda d, _: keys.revoke(d.deps, d.world.admin, d.host.key), "credential.revoked"),
    "grant revoked": (lambda d, _: grants.revoke(d.deps, d.world.admin, d.grants["read"]), "tool.unknown"),
    "grant expired": (_expire_grant, "tool.unknown"),
    "server retired": (lambda d, _: servers.retire(d.deps, d.world.admin, "office"), "tool.unknown"),
    "server changed": (lambda d, _: d.world.sync(PAY, READ_AS_IT_WAS, identity={"x": 1}), "server.quarantined"),
    "tool changed": (lambda d, _: d.world.sync(PAY, tool("read_mail", description="Other.")), "tool.changed"),
    "tool gone": (lambda d, _: d.world.sync(PAY), "tool.changed"),
    "session ended": (lambda d, s: sessions.end(d.deps, s, s.session, "done"), "session.not_live"),
    "session killed": (lambda d, s: sessions.kill(d.deps, d.world.admin, s.session, "leak"), "session.not_live"),
    "session expired": (_hours, "session.not_live"),
}


@pytest.mark.claim("registry:not-live-refused")
@pytest.mark.parametrize("name", CHANGES)
async def test_what_is_no_longer_live_is_refused_on_the_very_next_call_in_every_process(desk: Desk, name: str) -> None:
    change, code = CHANGES[name]
    session = await desk.session()
    other = await desk.another_process()
    # Both processes have the authority in their caches, and the control: before the change they say yes.
    assert allowed(await desk.open(session))
    assert allowed(await desk.open(session, deps=other))
    await change(desk, session)
    for deps in (other, desk.deps):
        decision = await desk.open(session, deps=deps)
        assert codes(decision) == [code]
        assert (await desk.world.leaves())[decision.event or -1]["k"] == 60


@pytest.mark.claim("policy:default-deny")
async def test_a_tool_that_is_not_there_hidden_or_not_granted_answers_the_same(desk: Desk) -> None:
    await desk.world.sync(PAY, READ_AS_IT_WAS, tool("secret"), tool("unreviewed"))
    await desk.world.review("office/secret")
    session = await desk.session()
    answers = []
    for ref in ("office/secret", "office/unreviewed", "office/nowhere", "nowhere/at_all", "", "office"):
        decision = await desk.open(session, ref, {})
        document = decision.document()
        answers.append({name: document[name] for name in ("decision", "fingerprint", "reasons", "intent", "approval")})
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["decision"] == "deny"
    assert not {"office/secret", "office/unreviewed"} & {
        one.tool.ref for one in (await look(desk.deps, session)).tools()
    }


@pytest.mark.claim("policy:default-deny")
async def test_with_no_sound_policy_set_nothing_is_allowed(desk: Desk) -> None:
    session = await desk.session()
    assert allowed(await desk.open(session))
    async with desk.deps.store.unit("main") as unit:
        await unit.nouns.add(
            PolicyRevision(
                org="main",
                id="00000099",
                version="sha256:0",
                sources=(("broken.cedar", "permit(principal, action, resource"),),
                applied_by=desk.world.admin.person.id,
                applied_at=desk.world.clock.at,
            )
        )
    assert codes(await desk.open(session)) == ["policy.error"]


@pytest.mark.claim("policy:default-deny")
async def test_a_pinned_definition_that_can_t_be_read_is_not_there_and_stops_nobody_else(desk: Desk) -> None:
    await desk.with_ask_policy()
    session = await desk.session()
    async with desk.deps.store.unit("main") as unit:
        for one in await unit.nouns.all(Definition):
            if one.tool == "office/pay_invoice":
                await unit.nouns.replace(replace(one, body=one.body.replace("object", "nobody")))
    assert codes(await desk.pay(session)) == ["tool.unknown"]
    assert allowed(await desk.open(session))


# ------------------------------------------------------------------------------------------------------- call ids


@pytest.mark.claim("call:one-intent-per-call-id")
async def test_the_same_call_again_gets_the_same_answer_and_no_second_intent(desk: Desk) -> None:
    session = await desk.session()
    first = await desk.open(session, call_id="x")
    size = len(await desk.world.leaves())
    again = await desk.open(session, call_id="x", deps=await desk.another_process())
    assert again.document() == {**first.document(), "replayed": True}
    check_answer("Decision", again.document())
    assert len(await desk.world.leaves()) == size
    with pytest.raises(CallIdReused):
        await desk.open(session, arguments={"id": "m2"}, call_id="x")
    with pytest.raises(CallIdReused):
        await desk.pay(session, call_id="x")


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.parametrize("state", ["open", "done", "unknown"])
async def test_a_repeat_after_the_session_s_end_is_refused_and_loses_no_intent(desk: Desk, state: str) -> None:
    session = await desk.session()
    decision = await desk.pay(session, call_id="x")
    if state != "open":
        await desk.close(session, decision, Outcome("done" if state == "done" else "unknown"))
    await sessions.end(desk.deps, session, session.session, "")
    assert codes(await desk.pay(session, call_id="x")) == ["session.not_live"]
    async with desk.deps.store.view("main") as view:
        call = await view.calls.get(session.session, "x")
    assert call is not None
    assert (call.state, call.intent) == (state, decision.event)
    if state == "open":
        desk.world.later(DAY)
        assert [one.call_id for one in await sweep(desk.deps, lambda _: False)] == ["x"]


# ------------------------------------------------------------------------------------------------- no intent, no yes


@pytest.mark.claim("log:no-effect-without-intent")
async def test_when_the_store_is_full_the_answer_is_no_although_policy_would_say_yes(desk: Desk) -> None:
    session = await desk.session()
    store = desk.deps.store
    assert isinstance(store, SqliteStore)
    size = len(await desk.world.leaves())
    pages = int(store._writer.pragma("page_count") or 0)
    store._writer.pragma("max_page_count", pages)
    verdicts = [await desk.open(session, arguments={"id": "m" * 200_000}) for _ in range(3)]
    assert all(codes(one) == ["log.unavailable"] and one.event is None for one in verdicts)
    assert len(await desk.world.leaves()) == size
    # The control: step 4 alone, without step 8, says yes to the very same call.
    authority = desk.deps.authority._current
    assert authority is not None
    assert authority.engine is not None
    context = PolicyContext(
        args=authority.engine.encode("office/read_mail", {"id": "m"}),
        integrity="trusted",
        confidentiality=frozenset(),
        intents=frozenset(),
        calls=0,
        chain=(session.agent,),
        now_ms=desk.world.clock.at,
    )
    agent = Principal("Agent", session.agent)
    assert isinstance(policy_verdict(authority.engine, [agent], "office/read_mail", context), PolicyAllows)
    store._writer.pragma("max_page_count", pages + 10_000)
    assert allowed(await desk.open(session))


@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.parametrize("table", ["session", "flow", "call"])
async def test_a_row_that_nobody_can_read_is_a_deny_with_an_event(desk: Desk, table: str) -> None:
    session = await desk.session()
    assert allowed(await desk.open(session, call_id="x"))
    store = desk.deps.store
    assert isinstance(store, SqliteStore)
    async with store.unit("main"):
        store._writer.execute(f"UPDATE {table} SET body = x'5b5d'")
    decision = await desk.open(session, call_id="x")
    assert isinstance(decision.verdict, Deny)
    assert codes(decision) == ["internal.error"]
    assert (await desk.world.leaves())[decision.event or -1]["codes"] == ["internal.error"]


@pytest.mark.claim("log:commitments-hide")
async def test_nothing_that_an_agent_sends_and_no_address_of_a_person_stands_in_the_log(desk: Desk) -> None:
    session = await desk.session(task=[{"text": "CANARY-task", "source": "principal"}])
    first = await desk.open(session, arguments={"id": "CANARY-arg"})
    await desk.close(session, first, Outcome("done", result={"content": [{"type": "text", "text": "CANARY-res"}]}))
    await desk.open(session, "CANARY/tool", {"id": "CANARY-arg"})
    await sessions.end(desk.deps, session, session.session, "CANARY-reason")
    log = b"\n".join(await desk.world.raw_leaves())
    assert b"CANARY" not in log
    assert b"@" not in log
    async with desk.deps.store.view("main") as view:
        sealed = await view.log.private(first.event or -1)
    assert json.loads((desk.deps.sealer.reveal(sealed[0], "main") or (b"", b"null"))[1]) == {"id": "CANARY-arg"}


@pytest.mark.claim("policy:default-deny")
@pytest.mark.parametrize(
    ("scope", "codes_then"),
    [
        ('principal == Remit::Person::"{person}", action, resource) when {{ true }};', ["policy.denied"]),
        (
            'principal is Remit::Person, action, resource) when {{ principal.roles.contains("owner") }};',
            ["policy.denied"],
        ),
        ("principal is Remit::Person, action, resource) unless {{ context.approval.present }};", ["approval.needed"]),
        ('principal == Remit::Person::"per_somebody_else", action, resource);', []),
    ],
    ids=["by id", "by role", "until a person says yes", "somebody else: the control"],
)
async def test_a_forbid_about_a_person_holds_although_no_grant_names_them(
    desk: Desk, scope: str, codes_then: list[str]
) -> None:
    text = '@id("no") forbid(' + scope.format(person=desk.world.admin.person.id)
    await policies.apply(desk.deps, desk.world.admin, (("no.cedar", text),))
    assert codes(await desk.open(await desk.session())) == codes_then
