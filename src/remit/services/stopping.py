"""Many sessions killed in one unit of work, and all that was stopped counted."""

from collections.abc import Iterable, Mapping
from typing import Final, cast

from remit.core.agents import Agent
from remit.core.events import Kind
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.services.sessions import stop_tree

COUNTED: Final = ("sessions", "tokens", "approvals", "calls")


async def of_person(unit: Unit, person: str) -> tuple[Session, ...]:
    """Live sessions that act for a person, or in which an agent of theirs takes part."""
    theirs = {agent.id for agent in await unit.nouns.all(Agent) if agent.owner == person} | {person}
    return tuple(one for one in await unit.sessions.live(None, None) if not theirs.isdisjoint(one.chain))


async def kill_all(unit: Unit, sessions: Iterable[Session], actor: str, reason: str) -> dict[str, int]:
    """Kill these sessions and every session below them; how many of each kind of thing were stopped."""
    counts = dict.fromkeys(COUNTED, 0)
    for session in sessions:
        answer = await stop_tree(unit, session, actor=actor, kind=Kind.SESSION_KILLED, reason=reason)
        stopped = cast("Mapping[str, int]", answer["killed"])
        for name in COUNTED:
            counts[name] += stopped[name]
    return counts
