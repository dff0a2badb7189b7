"""Access requests: what an agent was refused and a person could change, for the agent's owner to look at.

Remit makes them out of refusals; nobody writes one. So there is nothing of an agent's in them: ids, codes, numbers, and
names that stand in the registry. One stands for one agent, tool and rule, however often it was met, until it is closed.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from remit.core.times import DAY

AccessState: TypeAlias = Literal["open", "closed", "expired"]

LIFE: Final = 14 * DAY
"""How long a request stays open."""
MAX_OPEN: Final = 50
"""So many requests of one agent may be open: what it is refused beyond them is in the log alone."""
MAX_EVENTS: Final = 20
"""So many of its newest events a request names."""
MAX_PEOPLE: Final = 8
"""So many of those that the agent acted for a request names, the last one first."""

NO_TOOL: Final = ""
"""The tool of the one request for all tools that are not there for an agent, whether they exist or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """``count`` is how often it was refused; ``events`` are log indices; ``rule`` is a policy's or a grant's id."""

    org: str
    id: str
    agent: str
    people: tuple[str, ...]
    tool: str
    code: str
    rule: str
    state: AccessState
    count: int
    first: int
    last: int
    expires: int
    events: tuple[int, ...]
    closed_by: str | None = None

    def state_at(self, now: int) -> AccessState:
        """The state as time has it."""
        return "expired" if self.state == "open" and now >= self.expires else self.state
