"""Agents: governed non-human identities with an owner, a purpose, a mode and a lifecycle."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

AgentMode: TypeAlias = Literal["delegated", "autonomous"]
AgentState: TypeAlias = Literal["draft", "active", "suspended", "retired"]

# From each state, the states that may follow. Retired is final: a name is never reused.
NEXT_STATES: Final[dict[AgentState, tuple[AgentState, ...]]] = {
    "draft": ("active", "retired"),
    "active": ("suspended", "retired"),
    "suspended": ("active", "retired"),
    "retired": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent. Owner (a ``per_`` id), purpose and expiry may be missing only while it is a draft."""

    org: str
    id: str
    name: str
    owner: str | None
    purpose: str | None
    mode: AgentMode
    state: AgentState
    expires: int | None
    review_by: int | None
    created: int
    blueprint: str | None = None  # the id of what it is an instance of
    blueprint_version: int = 0
    model: str | None = None
    deputy: str | None = None  # another person, who may do for this agent what its owner may

    def missing(self) -> tuple[str, ...]:
        """What activation still lacks, in words; a grant is checked where grants are known."""
        wanted = {"owner": self.owner, "purpose": self.purpose, "expires": self.expires}
        return tuple(name for name, value in wanted.items() if not value)

    def live(self, now: int) -> bool:
        """Whether this agent may act at ``now``; an absent expiry is no, and so is a review that is overdue."""
        lasts = self.expires is not None and now < self.expires
        return self.state == "active" and not self.missing() and lasts and not self.due(now)

    def due(self, now: int) -> bool:
        """Whether a person should have looked at this agent again by ``now``, and has not."""
        return self.review_by is not None and now >= self.review_by

    def answered_for_by(self, person: str) -> bool:
        """Whether this person (a ``per_`` id) answers for the agent: its owner, or the owner's deputy."""
        return person in (self.owner, self.deputy)
