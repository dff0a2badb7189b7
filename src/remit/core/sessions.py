"""Sessions: one task of one chain, its labels and its counters. Sub-agents share the root session's flow state."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from remit.core.labels import Labels

SessionState: TypeAlias = Literal["active", "ended", "killed", "expired"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the task's text. Only ``principal`` segments, which a person wrote and saw, will ever endorse."""

    text: str
    source: Literal["principal", "quoted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Tools and ceilings that a host sealed before the first read. It only narrows."""

    tools: tuple[str, ...]
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session. ``root`` is its own id or its root's; ``chain`` is who acts: the person, then each agent down."""

    org: str
    id: str
    root: str
    parent: str | None
    agent: str
    principal: str | None
    chain: tuple[str, ...]
    key: str
    task: tuple[Segment, ...]
    plan: Plan | None
    context: Literal["attested", "unattested"]
    state: SessionState
    created: int
    expires: int
    standing: bool = False

    def live(self, now: int) -> bool:
        """Whether calls may be made in this session at ``now``."""
        return self.state == "active" and now < self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """What a root session and all its children share: the labels joined so far, and how much was asked of it."""

    org: str
    root: str
    labels: Labels
    calls: int
    denials: int


@dataclass(frozen=True, slots=True)
class Counter:
    """What was spent and is reserved under one limit name; ten-thousandths."""

    name: str
    spent: int
    reserved: int
