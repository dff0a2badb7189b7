"""Steps 1 and 2 of a tool call: everything that it stands on must be live at this moment, on the whole chain."""

from collections.abc import Sequence
from dataclasses import replace

from remit.core.decisions import Reason
from remit.core.errors import InternalError
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.services.recorded import Facts


async def above(unit: Unit, session: Session) -> tuple[Session, ...]:
    """The sessions that this one was started under, nearest first."""
    found: list[Session] = []
    while session.parent is not None:
        parent = await unit.sessions.get(session.parent)
        if parent is None:
            raise InternalError(f"session {session.id} stands under one that is not there")
        found.append(session := parent)
    return tuple(found)


def trouble(facts: Facts, presented: str, parents: Sequence[Session]) -> Reason | None:
    """What of all that a call stands on is not live, or None.

    ``presented`` is the key behind the caller's token, which may be another than the one that started the session.
    """
    authority, session, now = facts.authority, facts.session, facts.now
    for member in session.chain:
        agent = authority.agents.get(member)
        if agent is None:
            person = authority.people.get(member)
            if person is None or person.state != "active":
                return Reason("principal.not_live")
            continue
        if not agent.live(now):
            overdue = agent.due(now) and replace(agent, review_by=None).live(now)
            return Reason("agent.review_due" if overdue else "agent.not_live")
        owner = authority.people.get(agent.owner or "")
        if owner is None or owner.state != "active":
            return Reason("owner.not_live")
    for behind in (presented, *(one.key for one in (session, *parents))):
        key = authority.behind(behind)
        if key is None or not key.live(now):
            return Reason("credential.revoked")
    return None if all(one.live(now) for one in (session, *parents)) else Reason("session.not_live")
