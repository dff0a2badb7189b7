"""Come in here for what registry services share: finding a noun by name or id, and proving that a change compiles.

Rule: a registry change that would leave the policy engine without a valid set is undone. Otherwise one bad grant or
review would turn every decision of the organization into a denial.
"""

from typing import Final, TypeVar

from remit.core.agents import Agent
from remit.core.clients import Client
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InvalidPolicy, NotFound
from remit.core.people import ROLES, Person
from remit.core.ports import Unit
from remit.core.servers import Server
from remit.core.tools import Tool
from remit.services.authority import Authority, load
from remit.services.deps import require

T = TypeVar("T", Person, Agent, Server, Tool, Client)

# The registry holds no secret, so every active person with any role may read it.
READERS: Final = ROLES


async def find(unit: Unit, kind: type[T], named: str) -> T:
    """The noun with this name or id. Raises ``NotFound``."""
    found = await unit.nouns.named(kind, named) or await unit.nouns.get(kind, named)
    if found is None:
        raise NotFound(f"there is no {kind.__name__.lower()} {named!r}")
    return found


def require_owner(caller: PersonCaller, agent: Agent) -> None:
    """Pass for an administrator and for the agent's own owner or deputy, while active; else ``Forbidden``."""
    if caller.person.state == "active" and agent.answered_for_by(caller.person.id):
        return
    if not caller.person.has("administrator"):
        raise Forbidden("this needs the role administrator, or to be the agent's owner or deputy")


def require_reader(caller: PersonCaller) -> None:
    """Pass for every active person with a role; else ``Forbidden``."""
    require(caller, *READERS)


async def prove(unit: Unit) -> Authority:
    """The registry as this unit leaves it, compiled; else ``InvalidPolicy``, which undoes the unit.

    INVARIANT: loaded afresh and never through the cache: this unit may yet be undone.
    """
    authority = await load(unit, await unit.nouns.epoch())
    if authority.engine is None:
        raise InvalidPolicy(authority.fault)
    return authority
