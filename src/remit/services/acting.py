"""What acts for a person now, as that person sees it; what they consented to is theirs to take back."""

from dataclasses import dataclass

from remit.core.clients import Client
from remit.core.credentials import PersonCaller
from remit.services.deps import Deps


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """One root session for a person: whose agent, started by which program, with which tools, until when.

    ``tools`` is None where the session has all that its agent is granted; ``expires`` is milliseconds UTC.
    """

    session: str
    agent: str
    program: str
    tools: tuple[str, ...] | None
    expires: int


async def for_person(deps: Deps, caller: PersonCaller) -> tuple[Acting, ...]:
    """The live sessions that began for this person, the newest first. Each is ended by ``sessions.kill``."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        authority = await deps.authority.current(view)
        found = [
            one
            for one in await view.sessions.live(None, None)
            if one.principal == caller.person.id and one.parent is None and one.live(now)
        ]
        clients = {one.id: one.name for one in await view.nouns.all(Client)}
    return tuple(
        Acting(
            session=one.id,
            agent=agent.name if (agent := authority.agents.get(one.agent)) is not None else one.agent,
            program=clients.get(one.key, "its own host"),
            tools=tuple(sorted(one.plan.tools)) if one.plan is not None else None,
            expires=one.expires,
        )
        for one in reversed(found)
    )
