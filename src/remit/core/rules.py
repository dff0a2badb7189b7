"""Rules: what an administrator signs off over many calls, whoever makes them and under whichever grant.

A rule only narrows. It names tools by reference or by effect, and holds for what a review says of them at the moment of
the call: a tool that comes later is reached too. Its name is its id for people, unique and never used again; applied
once more under that name it is another version of the same rule, which goes on with the same counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from remit.core.tools import Effect

Holder: TypeAlias = Literal["session", "agent", "person", "team", "organisation"]
HOLDERS: Final[tuple[Holder, ...]] = get_args(Holder)


@dataclass(frozen=True, slots=True)
class Reached:
    """One line of ``tools``: a reference, or else effects at one server (by id) or at all."""

    ref: str | None = None
    server: str | None = None
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """At most so much of what reviews count under ``name``; ``unit`` must be theirs. ``calls`` counts calls."""

    name: str
    most: int  # ten-thousandths
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """One call per key: the values at these pointers of the arguments, in all their spellings."""

    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class First:
    """These tools must have been called before, and done. ``same`` maps a pointer here to the pointer there."""

    tools: tuple[str, ...]
    same: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Approvals:
    """So many different persons must say yes to a call; with ``above`` only to one that takes more than that."""

    persons: int
    above: Ceiling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Exactly one of ``ceiling``, ``once``, ``first``, ``approvals`` is set.

    ``window`` rolls, in milliseconds; None is for ever.
    """

    org: str
    id: str
    name: str
    says: str
    tools: tuple[Reached, ...]
    per: Holder
    agents: tuple[str, ...]  # ids; whom it holds for, all when empty
    window: int | None
    ceiling: Ceiling | None
    once: Once | None
    first: First | None
    state: Literal["active", "revoked"]
    version: int
    applied_by: str
    applied_at: int
    approvals: Approvals | None = None

    @property
    def counted(self) -> Ceiling | None:
        """What the reviews of its tools must count, if anything."""
        return self.approvals.above if self.approvals else self.ceiling

    def reaches(self, ref: str, server: str, effect: Effect) -> bool:
        """Whether a line of ``tools`` covers a tool as it is reviewed now. ``server`` is its id."""
        return any(
            line.ref == ref if line.ref is not None else effect in line.effects and line.server in (None, server)
            for line in self.tools
        )
