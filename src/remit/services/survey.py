"""One question about a reach while it is answered: whose, over which registry, and how much was rehearsed for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.services.authority import Authority
from remit.services.deps import Deps
from remit.services.rehearsal import Step, Tried, attempt

MOST_TRIALS: Final = 600
"""Rehearsals of one answer. What is left then is not settled."""


@dataclass(slots=True)
class Survey:
    """``known`` has, by person and tool, arguments with which a call was allowed."""

    deps: Deps
    authority: Authority
    agent: Agent
    principals: tuple[str | None, ...]
    now: int
    most: int = MOST_TRIALS
    trials: int = 0
    unsettled: int = 0
    known: dict[tuple[str | None, str], Mapping[str, Json]] = field(default_factory=dict)

    def chain(self, principal: str | None) -> tuple[str, ...]:
        """Who acts: the person, then the agent."""
        return (self.agent.id,) if principal is None else (principal, self.agent.id)

    @property
    def full(self) -> bool:
        """Whether no more is rehearsed."""
        return self.trials >= self.most

    def within_bound(self) -> bool:
        """Whether one more rehearsal is to be made."""
        if self.full:
            self.unsettled += 1
            return False
        self.trials += 1
        return True

    async def attempt(
        self, principal: str | None, steps: Sequence[Step], task: str = "", *, attested: bool = True
    ) -> Tried:
        """Rehearse these steps."""
        return await attempt(self.deps, self.authority, self.agent.id, principal, steps, task=task, attested=attested)
