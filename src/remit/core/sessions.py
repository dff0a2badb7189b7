"""Sessions: one task of one chain, its labels and its counters. Sub-agents share the root session's flow state."""

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from remit.core.labels import Labels
from remit.core.times import MINUTE

STORM: Final = 60
"""So many denials of one root session within ``STORM_WINDOW`` suspend it."""
STORM_WINDOW: Final = MINUTE
SUSPENSION: Final = 5 * MINUTE

SessionState: TypeAlias = Literal["active", "ended", "killed", "expired"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the task's text. Only ``principal`` segments, which a person wrote and saw, will ever endorse."""

    text: str
    source: Literal["principal", "quoted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Tools and ceilings that a host sealed before the first read. It only narrows.

    ``speaks`` says that it stands for what the task is about (FLOW_RULES C9): a host's does; what a person left in a
    consent, what a scope names and what an agent narrows itself to does not.
    """

    tools: tuple[str, ...]
    limits: tuple[tuple[str, int], ...] = ()
    speaks: bool = True


def narrower(own: Plan | None, above: Plan | None) -> Plan | None:
    """A plan within another: tools in both, ceilings of both. What the wider one speaks for, it still speaks for."""
    if own is None or above is None:
        return own or above
    tools = tuple(ref for ref in own.tools if ref in above.tools)
    return Plan(tools, (*above.limits, *own.limits), above.speaks)


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
    storm_since: int = 0
    storm: int = 0  # denials since then
    suspended_until: int = 0
    suspended_event: int | None = None
    lesson: int = -1  # the event of the newest outcome that taught something, and the mark it carries
    lesson_mark: str = ""
    fetches: int = 0  # calls of the effect ``fetch`` that were allowed
    shown_by: frozenset[tuple[str, str]] = frozenset()  # each confidentiality label with the server that showed it

    @property
    def origins(self) -> frozenset[tuple[str, str]]:
        """``shown_by``, and with no server each label of which nobody wrote down who showed it."""
        told = {label for label, _ in self.shown_by}
        return self.shown_by | {(label, "") for label in self.labels.confidentiality - told}

    def showing(self, labels: Labels, server: str) -> "FlowState":
        """After something of ``server`` (its slug) with these labels was shown."""
        shown = self.shown_by | {(label, server) for label in labels.confidentiality}
        return replace(self, labels=self.labels.join(labels), shown_by=shown)

    def refused(self, now: int) -> "FlowState":
        """After one more denial, at ``now``."""
        goes_on = now - self.storm_since < STORM_WINDOW
        since, storm = (self.storm_since, self.storm + 1) if goes_on else (now, 1)
        return replace(self, denials=self.denials + 1, storm_since=since, storm=storm)

    def suspended(self, now: int, event: int) -> "FlowState":
        """Closed to every call for a while; ``event`` says why."""
        return replace(self, storm=0, storm_since=0, suspended_until=now + SUSPENSION, suspended_event=event)


@dataclass(frozen=True, slots=True)
class Counter:
    """What was spent and is reserved under one limit name; ten-thousandths."""

    name: str
    spent: int
    reserved: int
