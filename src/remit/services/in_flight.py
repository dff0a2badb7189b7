"""Calls that are under way when their session is killed: each is marked, and what it brings back is shown to nobody.

What was sent can't be called back. So its outcome is still recorded, its amounts stay as they turn out, and the mark
tells an auditor which effects came after the decision to stop. INVARIANT: marked in the unit of work that kills the
session; so a call is either marked, or was closed before, or is opened never.
"""

from collections.abc import Mapping
from dataclasses import replace

from remit.core.events import EventDraft, Kind
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.services.subjects import subject_of


async def mark(unit: Unit, stopped: Mapping[str, Session], actor: str) -> int:
    """Mark what is under way in these sessions, by id; how many calls that were."""
    found = [call for call in await unit.calls.unfinished() if call.state == "open" and call.session in stopped]
    for call in found:
        session = stopped[call.session]
        event = await unit.log.append(
            EventDraft(
                kind=Kind.INTERRUPTED,
                actor=actor,
                subject=await subject_of(unit, session),
                agent=session.agent,
                chain=session.chain,
                session=session.id,
                call=call.call_id,
                tool=call.tool,
                fingerprint=call.fingerprint,
                intent=call.intent,
            )
        )
        await unit.calls.put(replace(call, stopped=event))
    return len(found)
