"""An agent narrows its own session: fewer tools from here on, lower ceilings. It states no task and endorses nothing.

INVARIANT: the result is within what was sealed before, so text of strangers that has an agent call this can take tools
away from it and give it none. A session that lives as long as its key takes no such plan, or a stranger could close it
for good. Sessions below are narrowed with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from remit.core import amounts
from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.errors import InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.sessions import Plan, narrower
from remit.services.deps import Deps
from remit.services.listing import sight_in
from remit.services.sessions import below
from remit.services.subjects import subject_of

MOST_TOOLS: Final = 1_000


async def narrow(deps: Deps, caller: SessionCaller, refs: Sequence[str], limits: Mapping[str, Json]) -> Plan:
    """Seal the caller's session to these tools and ceilings, of those that it has; the plan that holds from here on.

    Raises ``InvalidDocument`` for a tool that it does not reach or a ceiling that is no amount, ``WrongState`` for a
    standing session, ``Unauthenticated`` for one that has ended.
    """
    if not 0 < len(refs) <= MOST_TOOLS:
        raise InvalidDocument(f"a plan names 1 to {MOST_TOOLS} tools", pointer="/tools")
    written: Json = {"tools": list(refs), "limits": {name: str(value) for name, value in limits.items()}}
    ceilings = tuple((name, amounts.ceiling(value, f"/limits/{name}")) for name, value in limits.items())
    async with deps.store.unit(deps.org) as unit:
        sight = await sight_in(deps, unit, caller)
        if sight.session.standing:
            raise WrongState("a standing session takes no plan", hint="Its owner narrows the agent's grants.")
        for at, ref in enumerate(refs):
            if sight.shown(ref) is None:
                raise InvalidDocument(f"there is no tool {ref[:200]!r} here", pointer=f"/tools/{at}")
        wanted = Plan(tuple(dict.fromkeys(refs)), ceilings, speaks=False)
        family = await unit.sessions.of_root(sight.session.root)
        inside = below(sight.session, family)
        for session in family:
            if session.id in inside and session.state == "active":
                await unit.sessions.replace(replace(session, plan=narrower(wanted, session.plan)))
        await unit.log.append(
            EventDraft(
                kind=Kind.SESSION_NARROWED,
                actor=caller.agent,
                subject=await subject_of(unit, sight.session),
                agent=caller.agent,
                chain=sight.session.chain,
                session=caller.session,
                private={"/plan": written},
            )
        )
        mine = await unit.sessions.get(caller.session)
    if mine is None or mine.plan is None:
        raise NotFound(f"there is no session {caller.session}")
    return mine.plan
