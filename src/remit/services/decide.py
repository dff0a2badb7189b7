"""The life of a tool call, before the effect: ``open_call`` is steps 1 to 8, the only way to an effect.

The steps are numbered as in docs/explanation/the-life-of-a-tool-call.md; this list is what an auditor reads.

(1) The credential was authenticated at the door (``services/authenticate.py``); here the key behind it must still live.
(2) The session is found; agent, owner, person, grant, tool, server and plan must all be live and as they were reviewed.
    Hidden, ungranted and non-existent tools get one and the same answer.
(3) The arguments must fit the *pinned* input schema, and answers to the server's questions the forms that it asked for.
(4) Policy (Cedar) must allow it for every member of the chain; no policy and any error mean no.
(5) Flow: may these values go there, given what the session was shown; what falls short is put to a person.
(6) Budgets: every countable must have room, under grants, plan and rules, and is reserved together with the intent.
(7) If a person must decide, there is an Ask; an answer counts once, for exactly this call.
(8) The intent is recorded, durably, before any effect. If the log can't be written, the answer is no.

On a server in observe mode (``services/observing.py``) steps 4 to 7 write down what they would refuse, and refuse less.

All of it is one unit of work, so what is decided is what is recorded, also when several processes decide at once. Steps
10 to 12 are in ``services/close.py``; step 9, forwarding, belongs to the caller. An unexpected exception is a Deny with
an event, and ``open_call`` is the one place for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from remit.core.approvals import Approval
from remit.core.calls import Call, ProposedCall, Reservation
from remit.core.canonical import Written, canonical, digest
from remit.core.credentials import SessionCaller
from remit.core.decisions import Allow, Ask, Decision, Deny, Reason
from remit.core.errors import CallIdReused, InvalidDocument
from remit.core.grants import Grant
from remit.core.ids import is_call_id
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.core.times import MINUTE, SECOND, from_text, to_text
from remit.core.tools import COUNTED_EFFECTS
from remit.guards.inputs import input_faults
from remit.policy.demands import Miss
from remit.services import (
    adoptions,
    approve,
    budgets,
    denials,
    endorsed,
    flow_step,
    live,
    observing,
    question,
    recorded,
    rules_step,
    scopes,
)
from remit.services.authority import ReviewedTool
from remit.services.deps import Deps
from remit.services.policy_step import Permitted, permitted
from remit.services.recorded import Facts

FORWARD_WITHIN: Final = 30 * SECOND
REPORT_WITHIN: Final = 15 * MINUTE
_WRITING: Final = frozenset({"write", "destroy", "spend", "admin"})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Forwarder:
    """Who will forward an allowed call, and how long that may take in milliseconds before it counts as unknown."""

    instance: str | None = None
    within: int = REPORT_WITHIN


class _No(Exception):
    """Raised inside a step to end the decision with these reasons.

    One that is not ``lasting`` hangs on who asks, and is not given again from memory.
    """

    def __init__(self, *reasons: Reason, lasting: bool = True) -> None:
        super().__init__(reasons[0].code)
        self.reasons = reasons
        self.lasting = lasting


async def open_call(
    deps: Deps, caller: SessionCaller, call: ProposedCall, forwarder: Forwarder = Forwarder()
) -> Decision:
    """Decide one call. An Allow carries a committed intent; whoever gets it forwards at most once and then closes it.

    Raises ``CallIdReused``, and ``BadInput`` for a call that can't be written down; every other trouble is a Deny.
    """
    if not is_call_id(call.call_id):
        raise InvalidDocument("call_id is 1 to 64 letters, digits, dots, hyphens and underscores", pointer="/call_id")
    canonical(call.tool)
    arguments = call.written()
    try:
        async with deps.store.unit(deps.org) as unit:
            return await _decide(deps, unit, caller, call, arguments, forwarder)
    except CallIdReused:
        raise
    except Exception as error:
        # The one broad handler on this path: a gate that meets the unexpected closes, and leaves a trace.
        log.exception("decision.failed", session=caller.session, cause=type(error).__name__)
        return await denials.failed(deps, caller, call)


async def _decide(
    deps: Deps, unit: Unit, caller: SessionCaller, call: ProposedCall, arguments: Written, forwarder: Forwarder
) -> Decision:
    now = deps.clock.now()
    authority = await deps.authority.current(unit)
    session = await unit.sessions.get(caller.session)
    if session is None or session.agent != caller.agent:
        return await denials.bare(unit, caller, call, Reason("session.not_live"), now)
    flow = await unit.sessions.flow(session.root)
    before = await unit.calls.get(session.id, call.call_id)
    facts = Facts(
        authority=authority,
        session=session,
        flow=flow or recorded.first_flow(session),
        call=call,
        arguments=arguments,
        known=authority.tools.get(call.tool),
        before=before,
        now=now,
    )
    if before is not None:
        recorded.check_same_call(before, facts)
    # An answer that was given stays the answer, also to who asks for it again while the session rests.
    if now < facts.flow.suspended_until and (before is None or before.state == "asked"):
        until = Reason("session.suspended", f"until {to_text(facts.flow.suspended_until)}")
        return recorded.decision(facts, Deny((until,)), facts.flow.suspended_event or 0, now)
    try:
        _live(facts, caller.key, await live.above(unit, session))  # (1), (2)
        if before is not None and before.state == "denied":
            return recorded.replayed(before)
        refusal = deps.refusals.find(facts)
        if before is None and refusal is not None:
            return await denials.again(unit, facts, refusal)
        known = _tool(facts)  # (2)
        # A yes is given again only while all that it stood on still lives.
        if before is not None and before.state != "asked":
            return _same_again(facts, before)
        _shape(known, call)  # (3)
        judge = _observed if known.server.observing(now) else _judged
        return await judge(deps, unit, facts, known, forwarder)  # (4) to (8)
    except _No as no:
        decision = await denials.deny(deps, unit, facts, no.reasons)
        if no.lasting:
            deps.refusals.keep(facts, no.reasons, decision)
        return decision


async def _judged(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool, forwarder: Forwarder) -> Decision:
    policy = _permitted(facts, known, None)  # (4)
    short = await _flow(deps, unit, facts, known)  # (5)
    held = await _budget(unit, facts, known, policy.grants)  # (6)
    held += await _ruled(unit, facts, known)
    persons = _persons(facts, known)
    if persons or policy.needs_approval or any(not one.about_value for one in short):  # (7)
        return await _with_person(deps, unit, facts, known, forwarder, short)
    covered = await adoptions.covering(deps, unit, facts, known, short) if short else None
    if short and covered is None:
        return await _about_values(deps, unit, facts, known, short)
    if covered is not None:
        return await _intent(unit, facts, known, (*held, *covered.held), forwarder, covered.approval)
    return await _intent(unit, facts, known, held, forwarder)  # (8)


def _same_again(facts: Facts, before: Call) -> Decision:
    """A yes that was given, while it may be used: for one forward, and as long as it was good for."""
    answer = recorded.replayed(before)
    if facts.now < from_text(answer.expires_at):
        return answer
    spent = Reason("call.spent", f"intent {before.intent}, good until {answer.expires_at}")
    return recorded.decision(facts, Deny((spent,)), before.intent or 0, facts.now)


# Steps 1 and 2.


def _live(facts: Facts, presented: str, above: Sequence[Session]) -> None:
    dead = live.trouble(facts.authority, facts.session, facts.now, presented, above)
    if dead is not None:
        raise _No(dead)
    named = scopes.within(facts.authority, presented, facts.session, above)
    if named is not None and facts.call.tool not in named:
        raise _No(Reason("tool.unknown"), lasting=False)


def _tool(facts: Facts) -> ReviewedTool:
    """The reviewed tool, if this chain reaches it and it is what was reviewed."""
    known, session = facts.known, facts.session
    if known is None or known.server.state != "active" or not facts.authority.reached(session.chain, known, facts.now):
        raise _No(Reason("tool.unknown"))
    if known.server.quarantined:
        raise _No(Reason("server.quarantined"))
    if known.tool.state != "approved":
        raise _No(Reason("tool.changed"))
    if known.review.effect in COUNTED_EFFECTS and not known.review.limits:
        raise _No(Reason("budget.uncountable", "its review counts nothing"))
    if session.plan is not None and known.tool.ref not in session.plan.tools:
        raise _No(Reason("plan.tool"))
    return known


# Step 3.


def _shape(known: ReviewedTool, call: ProposedCall) -> None:
    if recorded.overflowing(call.arguments):
        raise _No(Reason("arguments.shape", "more values than are kept track of"))
    faults = known.shape.check(call.arguments)
    if call.inputs is not None:
        if call.inputs.fingerprint != known.review.fingerprint:
            raise _No(Reason("tool.changed", "since its server asked"))
        faults += input_faults(call.inputs)
    if faults:
        raise _No(*(Reason("arguments.shape", fault.text, argument=fault.pointer) for fault in faults[:5]))


# Steps 4 and 5.


def _permitted(facts: Facts, known: ReviewedTool, approver: str | None) -> Permitted:
    found = permitted(facts, known, approver)
    if isinstance(found, Reason):
        raise _No(found)
    return found


async def _flow(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool) -> tuple[Miss, ...]:
    found = await flow_step.short(deps, unit, facts, known)
    if isinstance(found, Reason):
        raise _No(found)
    return found


# Step 6.


async def _budget(
    unit: Unit, facts: Facts, known: ReviewedTool, grants: Sequence[Sequence[Grant]]
) -> tuple[Reservation, ...]:
    taken = budgets.amounts_of(known.review, facts.call.arguments)
    if isinstance(taken, Reason):
        raise _No(taken)
    held = await budgets.room(unit, facts.session, known.review, taken, grants, facts.now)
    if isinstance(held, Reason):
        raise _No(held)
    return held


async def _ruled(unit: Unit, facts: Facts, known: ReviewedTool) -> tuple[Reservation, ...]:
    """What countable rules hold for this call."""
    if known.tool.ref not in facts.authority.rules:
        return ()
    held = await rules_step.held(unit, facts, known)
    if isinstance(held, Reason):
        raise _No(held)
    return held


# Step 7.


def _persons(facts: Facts, known: ReviewedTool) -> int:
    """How many persons rules want to say yes."""
    found = rules_step.persons(facts, known)
    if isinstance(found, Reason):
        raise _No(found)
    return found


async def _with_person(
    deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool, forwarder: Forwarder, short: Sequence[Miss]
) -> Decision:
    """Use a person's yes, honour a no, or put the question."""
    large = approve.too_large(facts.arguments)
    if large is not None:
        raise _No(large)
    wanted = question.question(deps, facts, known, short, _persons(facts, known))
    standing = await approve.standing(unit, facts.session, known.tool.ref, wanted.arguments_hash, facts.now)
    match standing:
        case approve.Vetoed():
            raise _No(Reason("approval.denied"))
        case approve.Waiting(approval):
            return await _ask(unit, facts, await approve.opened(deps, unit, approval), short)
        case approve.Unanswered():
            if await approve.crowded(unit, facts.session, facts.now):
                raise _No(Reason("approval.crowded"))
            if await approve.being_written(unit, wanted):
                raise _No(Reason("approval.void", "a write to a record that it refers to has no outcome yet"))
            return await _put(unit, facts, wanted, short, "approval.needed")
        case approve.Approved(approval):
            return await _use(unit, facts, known, approval, wanted, forwarder)


async def _use(
    unit: Unit, facts: Facts, known: ReviewedTool, approval: Approval, wanted: Approval, forwarder: Forwarder
) -> Decision:
    """Decide again with the approval as a fact; if anything differs, the approval dies and the call is refused."""
    broken = await approve.broken_binding(unit, approval, wanted)
    said_yes = [facts.authority.people.get(one) for one in approval.yes_by or (approval.answered_by or "",)]
    if not all(one is not None and one.has("approver") for one in said_yes):
        broken = "who said yes is no longer an approver"
    if len(said_yes) < wanted.persons:
        broken = "more persons must say yes now"
    if broken is None:
        try:
            policy = _permitted(facts, known, approval.answered_by)
            held = await _budget(unit, facts, known, policy.grants)
            held += await _ruled(unit, facts, known)
        except _No as no:
            broken = no.reasons[0].text
        else:
            if await approve.use(unit, approval):
                return await _intent(unit, facts, known, held, forwarder, approval.id)
            broken = "it was used by another call"
    await approve.void(unit, approval, broken)
    raise _No(Reason("approval.void", broken))


async def _about_values(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool, short: Sequence[Miss]) -> Decision:
    """Put the question about the values that fall short; a yes to them is for the session, and not for this call."""
    keys = tuple(dict.fromkeys(endorsed.key_of(facts.session.root, known.server.name, one) for one in short))
    before = await flow_step.waiting(unit, facts, known, keys)
    if before is not None:
        return await _ask(unit, facts, await approve.opened(deps, unit, before), short)
    large = approve.too_large(facts.arguments)
    if large is not None:
        raise _No(large)
    if await approve.crowded(unit, facts.session, facts.now):
        raise _No(Reason("approval.crowded"))
    asked = question.question(deps, facts, known, short)
    about = replace(asked, kind="value", values=keys, effect=known.review.effect, references=())
    return await _put(unit, facts, about, short, "flow.value")


async def _put(unit: Unit, facts: Facts, asked: Approval, short: Sequence[Miss], code: str) -> Decision:
    event = await unit.log.append(question.draft(facts, asked, code))
    approval = replace(asked, asked_event=event)
    await approve.put(unit, approval)
    return await _ask(unit, facts, approval, short)


async def _ask(unit: Unit, facts: Facts, approval: Approval, short: Sequence[Miss]) -> Decision:
    reason = Reason("approval.needed", f"approval {approval.id}")
    verdict = Ask(approval.id, (reason, *endorsed.reasons(short)))
    decision = recorded.decision(facts, verdict, approval.asked_event, approval.expires_at)
    # What is kept under the call id names no value: a row can't be erased.
    kept = replace(decision, verdict=Ask(approval.id, (reason,)))
    await recorded.remember(unit, facts, kept, "asked", deadline=approval.expires_at, approval=approval.id)
    return replace(decision, approval=approve.document(approval, facts.now))


async def _observed(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool, forwarder: Forwarder) -> Decision:
    """Steps 4 to 7 on a server in observe mode, and step 8: what would refuse or ask stands in the intent instead.

    INVARIANT: every step is taken here too, so that what the mode does not pass refuses whatever was missed before it.
    """
    missed: list[Reason] = []
    grants, asks = facts.authority.candidates(facts.session.chain, known.tool, facts.now), False
    try:
        policy = _permitted(facts, known, None)
        grants, asks = policy.grants, policy.needs_approval
    except _No as no:
        missed += _passed(no)
    try:
        held = await _budget(unit, facts, known, grants)
    except _No as no:
        missed += _passed(no)
        over = await budgets.overdrawn(unit, facts.session, known.review, facts.call.arguments, grants, facts.now)
        if isinstance(over, Reason):
            raise _No(over) from no
        held = over
    held += await _ruled(unit, facts, known)  # a rule is signed off for all, also where grants are still looked for
    short = await _flow(deps, unit, facts, known)
    covered = await adoptions.covering(deps, unit, facts, known, short) if short else None
    if covered is not None:
        short, held = (), (*held, *covered.held)
    standing = await approve.standing(unit, facts.session, known.tool.ref, digest(facts.arguments), facts.now)
    if isinstance(standing, approve.Vetoed):
        raise _No(Reason("approval.denied"))
    if _persons(facts, known):  # a rule, so not passed here either
        return await _with_person(deps, unit, facts, known, forwarder, short)
    approved = isinstance(standing, approve.Approved)
    if (asks or short) and approved and not missed:
        return await _with_person(deps, unit, facts, known, forwarder, short)
    if not approved:
        missed += [approve.too_large(facts.arguments) or Reason("approval.needed")] if asks else []
        missed += endorsed.reasons(short)
    return await _intent(unit, facts, known, held, forwarder, missed=missed)


def _passed(no: _No) -> tuple[Reason, ...]:
    """The reasons of a refusal that observe mode passes; any other refuses."""
    if not observing.passes(no.reasons):
        raise no
    return no.reasons


# Step 8.


async def _intent(
    unit: Unit,
    facts: Facts,
    known: ReviewedTool,
    held: tuple[Reservation, ...],
    forwarder: Forwarder,
    approval: str | None = None,
    missed: Sequence[Reason] = (),
) -> Decision:
    """Reserve, record the intent, and only then say yes. ``missed`` is what only observe mode let through."""
    for item in held:
        await unit.counters.reserve(item)
    reasons = observing.noticed(known.server, missed) if missed else ()
    intent = await unit.log.append(observing.draft(facts, approval, reasons))
    if known.review.effect in _WRITING:
        await unit.calls.touch(facts.session.root, intent, recorded.touched_references(facts, known))
    decision = recorded.decision(facts, Allow(intent, reasons), intent, facts.now + FORWARD_WITHIN)
    decision = replace(decision, idempotency_key=recorded.idempotency_key(known, facts.call.arguments))
    fetches = facts.flow.fetches + (known.review.effect == "fetch")
    await unit.sessions.put_flow(replace(facts.flow, calls=facts.flow.calls + 1, fetches=fetches))
    await recorded.remember(
        unit,
        facts,
        decision,
        "open",
        deadline=facts.now + forwarder.within,
        intent=intent,
        instance=forwarder.instance,
        held=held,
        approval=approval,
    )
    return decision
