"""Steps 1 and 2 of a tool call: everything that it stands on must be live at this moment, on the whole chain."""

from collections.abc import Sequence
from dataclasses import replace

from remit.core.credentials import SessionCaller
from remit.core.decisions import Decision, Reason
from remit.core.errors import InternalError
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.services import scopes
from remit.services.authority import Authority
from remit.services.deps import Deps


async def above(unit: Unit, session: Session) -> tuple[Session, ...]:
    """The sessions that this one was started under, nearest first."""
    found: list[Session] = []
    while session.parent is not None:
        parent = await unit.sessions.get(session.parent)
        if parent is None:
            raise InternalError(f"session {session.id} stands under one that is not there")
        found.append(session := parent)
    return tuple(found)


def trouble(
    authority: Authority, session: Session, now: int, presented: str, parents: Sequence[Session]
) -> Reason | None:
    """What of all that a call stands on is not live, or None.

    ``presented`` is the key behind the caller's token, which may be another than the one that started the session.
    """
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


async def since(deps: Deps, caller: SessionCaller, decision: Decision) -> Reason | None:
    """What of steps 1 and 2 an allowed call stands on no more; None while all of it lives.

    For who comes to forward it only later: what was stopped in between is not to happen after all.
    """
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        session = await view.sessions.get(caller.session)
        authority = await deps.authority.current(view)
        kept = await view.calls.get(caller.session, decision.call_id)
        if session is None or kept is None or kept.stopped is not None:
            return Reason("session.not_live")
        parents = await above(view, session)
    known, named = authority.tools.get(decision.tool), scopes.within(authority, caller.key, session, parents)
    dead = trouble(authority, session, now, caller.key, parents)
    if dead is not None:
        return dead
    if known is None or (named is not None and decision.tool not in named):
        return Reason("tool.unknown")
    if known.server.quarantined:
        return Reason("server.quarantined")
    if known.tool.state != "approved" or known.review.fingerprint != decision.fingerprint:
        return Reason("tool.changed")
    held = known.server.state == "active" and authority.reached(session.chain, known, now)
    return None if held else Reason("tool.unknown")
