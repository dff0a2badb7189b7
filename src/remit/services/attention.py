"""Which agents a person should look at: orphans, those whose review is due or nearly so, and those that make no calls.

Each is a fact of the moment at which it is asked: no job marks anybody, so none can be late or fail.
"""

from collections.abc import Mapping
from typing import Final

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.events import Kind
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.times import DAY
from remit.guards.json_in import parse

NOTICE: Final = 14 * DAY
"""So long before its review date an agent is shown as one to look at."""


def orphan(agent: Agent, people: Mapping[str, Person]) -> bool:
    """Whether nobody active owns it any more; what is retired needs nobody."""
    owner = people.get(agent.owner or "")
    return agent.state != "retired" and (owner is None or owner.state != "active")


def stale(agent: Agent, now: int) -> bool:
    """Whether its review is due within ``NOTICE``, or overdue."""
    return agent.state != "retired" and agent.due(now + NOTICE)


async def unused(view: Unit, agent: Agent, since: int, first: int) -> bool:
    """Whether it is active, older than ``since``, and was allowed no call from event ``first`` on."""
    if agent.state != "active" or agent.created > since:
        return False
    return not await view.log.find(after=first - 1, limit=1, kinds=[Kind.INTENT], session=None, agent=agent.id)


async def event_at(view: Unit, since: int) -> int:
    """The first event that is not older than ``since``: events stand in the order of time, so half by half."""
    low, high = 0, await view.log.size()
    while low < high:
        middle = (low + high) // 2
        leaf = parse((await view.log.read(middle, middle + 1))[0].leaf)
        older = isinstance(leaf, Mapping) and int(str(leaf["t"])) < since
        low, high = (middle + 1, high) if older else (low, middle)
    return low


def words(agent: Agent, people: Mapping[str, Person], now: int, *, idle: bool) -> list[Json]:
    """Why a person should look at it, as the member ``attention`` names it."""
    found = {"orphan": orphan(agent, people), "stale": stale(agent, now), "unused": idle}
    return [name for name, true in found.items() if true]
