"""A good credential in the wrong place: refused, and written down, because that is what a stolen one looks like."""

from typing import TypeVar

from remit.core.credentials import Caller, PersonCaller, SessionCaller
from remit.core.errors import RemitError
from remit.core.events import EventDraft, Kind
from remit.services.deps import Deps

E = TypeVar("E", bound=RemitError)


async def misused(deps: Deps, caller: Caller, refusal: E) -> E:
    """``refusal`` with the number of its event. In a unit of its own: the one that found out is undone."""
    actor = caller.person.id if isinstance(caller, PersonCaller) else caller.agent
    async with deps.store.unit(deps.org) as unit:
        refusal.event = await unit.log.append(
            EventDraft(
                kind=Kind.CREDENTIAL_REFUSED,
                actor=actor,
                subject=actor,
                agent=None if isinstance(caller, PersonCaller) else caller.agent,
                session=caller.session if isinstance(caller, SessionCaller) else None,
                codes=("credential.misused",),
                about=caller.key,
            )
        )
    return refusal
