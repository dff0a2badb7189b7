"""Every end of a decision but an intent or a question: a Deny, recorded, counted, and said again from memory.

A storm of denials suspends the root session: somebody, or something, is trying doors.
"""

from dataclasses import replace

import structlog

from remit.core.calls import ProposedCall
from remit.core.credentials import SessionCaller
from remit.core.decisions import Decision, Deny, Reason
from remit.core.events import EventDraft, Kind
from remit.core.ports import Unit
from remit.core.sessions import STORM
from remit.services import access, recorded
from remit.services.deps import Deps
from remit.services.recorded import Facts
from remit.services.refusals import Refusal
from remit.services.subjects import owner_of

log = structlog.get_logger()


async def deny(deps: Deps, unit: Unit, facts: Facts, reasons: tuple[Reason, ...]) -> Decision:
    """A Deny for these reasons, with the request for access that may change it."""
    event = await unit.log.append(
        recorded.draft(facts, Kind.DENIED, tuple(dict.fromkeys(reason.code for reason in reasons)))
    )
    asked = await access.note(deps, unit, facts, reasons, event)
    decision = recorded.decision(facts, Deny(reasons), event, facts.now)
    decision = replace(decision, request_access=access.link(deps, asked))
    await _count_denial(unit, facts)
    # INVARIANT: an answer once given stays, above all an intent that still waits for its outcome.
    if facts.before is None or facts.before.state == "asked":
        await recorded.remember(unit, facts, decision, "denied", deadline=facts.now)
    return decision


async def again(unit: Unit, facts: Facts, refusal: Refusal) -> Decision:
    """The same no to the same call, counted, and pointing at the event of the first."""
    await _count_denial(unit, facts)
    same = recorded.decision(facts, Deny(refusal.reasons), refusal.event, facts.now)
    return replace(same, request_access=refusal.request_access)


async def _count_denial(unit: Unit, facts: Facts) -> None:
    """One more denial of the root session. A storm of them suspends it: somebody, or something, is trying doors."""
    flow = facts.flow.refused(facts.now)
    if flow.storm >= STORM:
        event = await unit.log.append(recorded.suspension(facts))
        flow = flow.suspended(facts.now, event)
    await unit.sessions.put_flow(flow)


async def failed(deps: Deps, caller: SessionCaller, call: ProposedCall) -> Decision:
    """A Deny for our own fault or the store's, with an event if the log still takes one."""
    now = deps.clock.now()
    try:
        async with deps.store.unit(deps.org) as unit:
            return await bare(unit, caller, call, Reason("internal.error"), now)
    except Exception as error:
        log.exception("decision.unrecorded", session=caller.session, cause=type(error).__name__)
        return recorded.bare(caller, call, Reason("log.unavailable"), None, now)


async def bare(unit: Unit, caller: SessionCaller, call: ProposedCall, reason: Reason, now: int) -> Decision:
    """A Deny, recorded, where there is no session or no sound decision to speak of."""
    event = await unit.log.append(
        EventDraft(
            kind=Kind.DENIED,
            actor=caller.agent,
            subject=await owner_of(unit, caller.agent),
            agent=caller.agent,
            session=caller.session,
            call=call.call_id,
            decision="deny",
            codes=(reason.code,),
            private={"/tool": call.tool, "/arguments": call.written()},
        )
    )
    return recorded.bare(caller, call, reason, event, now)
