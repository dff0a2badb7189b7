"""What a grant could be narrowed to, given what was used of it: pure, and never wider than it is.

A narrowed grant names the tools that were used, at the effect they have; its ceilings are what was used and half as
much again, and never more than they were. Its condition, holder and end stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from remit.core.amounts import SCALE
from remit.core.grants import Grant, Limits, NamedTool
from remit.core.times import DAY
from remit.core.tools import Tool

CALLS: Final = "calls"


@dataclass(frozen=True, slots=True)
class Use:
    """One allowed call: when, under which root session, and what it took by name; ``known`` is false once erased."""

    tool: str
    at: int
    root: str
    taken: Mapping[str, int] = field(default_factory=dict)
    known: bool = True


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that was taken of each name: by one call, in one session, in any day."""

    call: Mapping[str, int]
    session: Mapping[str, int]
    day: Mapping[str, int]

    def of(self, per: str) -> Mapping[str, int]:
        """By the word of a limit."""
        return {"call": self.call, "session": self.session}.get(per, self.day)


def peaks(uses: Iterable[Use]) -> Peaks:
    """Over these calls. A day is any 24 hours, as a limit counts it."""
    ordered = sorted(uses, key=lambda one: one.at)
    call: dict[str, int] = {}
    session: dict[tuple[str, str], int] = {}
    for one in ordered:
        for name, amount in one.taken.items():
            call[name] = max(call.get(name, 0), amount)
            session[one.root, name] = session.get((one.root, name), 0) + amount
    in_session: dict[str, int] = {}
    for (_, name), total in session.items():
        in_session[name] = max(in_session.get(name, 0), total)
    return Peaks(call, in_session, _in_a_day(ordered))


def _in_a_day(ordered: Sequence[Use]) -> dict[str, int]:
    most: dict[str, int] = {}
    running: dict[str, int] = {}
    first = 0
    for one in ordered:
        for name, amount in one.taken.items():
            running[name] = running.get(name, 0) + amount
        while ordered[first].at <= one.at - DAY:
            for name, amount in ordered[first].taken.items():
                running[name] -= amount
            first += 1
        for name, total in running.items():
            most[name] = max(most.get(name, 0), total)
    return most


def narrowed(grant: Grant, tools: Sequence[Tool], uses: Sequence[Use]) -> Grant | None:
    """The grant as far as it was used, or None where nothing that it reaches was. ``tools`` are all reviewed ones."""
    reached = {tool.ref: tool for tool in tools if grant.reaches(tool)}
    own = [one for one in uses if one.tool in reached]
    if not own:
        return None
    used = sorted({one.tool for one in own})
    named = tuple(NamedTool(ref, effect) for ref in used if (effect := reached[ref].effect) is not None)
    return replace(grant, tools=named, limits=_tighter(grant.limits, own))


def _tighter(limits: Sequence[Limits], uses: Sequence[Use]) -> tuple[Limits, ...]:
    """Each ceiling at what was used and half as much again; and calls in a day, if nothing bounded them."""
    most = peaks(uses)
    sure = all(one.known for one in uses)  # an amount that nobody can read any more may have been any
    out = [
        Limits(
            one.per,
            {
                name: min(ceiling, _roomy(most.of(one.per).get(name, 0))) if sure or name == CALLS else ceiling
                for name, ceiling in one.amounts.items()
            },
        )
        for one in limits
    ]
    if not any(CALLS in one.amounts for one in limits if one.per != "call"):
        out.append(Limits("day", {CALLS: _roomy(most.day.get(CALLS, 0))}))
    return tuple(out)


def _roomy(used: int) -> int:
    """Half as much again, in whole units."""
    return -(-used * 3 // (2 * SCALE)) * SCALE
