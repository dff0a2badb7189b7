"""Grants: an agent (or a person) x tools x a condition x limits x an expiry. Handed on, a grant only shrinks.

A named tool is granted with the effect it had then; if a later review gives it another effect, the old grant no longer
reaches it. A grant by effect reaches only tools that were approved before it, unless it says ``future: true``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from remit.core.tools import Effect, Tool

Per: TypeAlias = Literal["call", "session", "day"]


@dataclass(frozen=True, slots=True)
class NamedTool:
    """One tool by reference, at the effect it was reviewed with when it was granted."""

    ref: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class ToolsByEffect:
    """Every tool of one server (by id) with one of these effects, approved before the grant unless ``future``."""

    server: str
    effects: tuple[Effect, ...]
    future: bool = False


ToolSelector: TypeAlias = NamedTool | ToolsByEffect


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings in ten-thousandths by name, counted per call, root session, or rolling day under the grant."""

    per: Per
    amounts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Exactly one of ``agent`` and ``person`` is set. ``when`` is one Cedar expression as text."""

    org: str
    id: str
    agent: str | None
    person: str | None
    tools: tuple[ToolSelector, ...]
    when: str | None
    limits: tuple[Limits, ...]
    expires: int
    state: Literal["active", "revoked"]
    created: int
    template: str | None = None  # of an instance: which of its blueprint's templates this was made of

    def live(self, now: int) -> bool:
        """Whether this grant counts at ``now``."""
        return self.state == "active" and now < self.expires

    def reaches(self, tool: Tool) -> bool:
        """Whether a selector covers ``tool`` as it is reviewed now; a grant of nothing reaches nothing."""
        return any(self._selects(selector, tool) for selector in self.tools)

    def _selects(self, selector: ToolSelector, tool: Tool) -> bool:
        match selector:
            case NamedTool(ref, effect):
                return tool.ref == ref and tool.effect == effect
            case ToolsByEffect(server, effects, future):
                early = tool.approved_at is not None and tool.approved_at <= self.created
                return tool.server == server and tool.effect in effects and (future or early)
