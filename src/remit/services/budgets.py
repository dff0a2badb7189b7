"""Step 6 of a tool call: is there room under every limit, and what must be held for this call?

Each chain member that needs a grant is debited under one grant of its own: the first, by id, that policy found
satisfied and that has room. What is found here is reserved in the same unit of work as the intent is written, so two
calls at once never both take the last of a limit. Amounts are whole ten-thousandths.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from remit.core import amounts
from remit.core.calls import Reservation
from remit.core.canonical import Json
from remit.core.decisions import PLAN, Reason
from remit.core.grants import Grant, Limits
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.core.times import DAY, MINUTE
from remit.core.tools import COUNTED_EFFECTS, LimitReview, ToolReview

CALLS: Final = "calls"


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Ceilings by name beside those of grants: who set them (``by``), where they are counted, and ``per`` what."""

    by: str
    scope: str
    amounts: tuple[tuple[str, int], ...]
    per: str


def amounts_of(review: ToolReview, arguments: Mapping[str, Json]) -> dict[str, int] | Reason:
    """What this call would take under each limit name, or why that can't be told."""
    found = {CALLS: amounts.ONE}
    for limit in review.limits:
        amount = amounts.ONE if limit.of == "call" else _counted(limit, arguments)
        if amount is None:
            return Reason("budget.uncountable", f"{limit.name}", argument=limit.of)
        found[limit.name] = amount
    return found


async def room(
    unit: Unit,
    session: Session,
    review: ToolReview,
    taken: Mapping[str, int],
    candidates: Sequence[Sequence[Grant]],
    now: int,
) -> tuple[Reservation, ...] | Reason:
    """What to reserve, one grant per chain member (a row of ``candidates``) and the sealed plan; or what is full."""
    held: list[Reservation] = []
    for grants in candidates:
        full: Reason | None = None
        for grant in grants:
            names = {name for limits in grant.limits for name in limits.amounts}
            answer = _uncounted(names, review, taken, grant.id) or await _under_grant(unit, session, grant, taken, now)
            if not isinstance(answer, Reason):
                held.extend(answer)
                full = None
                break
            full = full or answer
        if full is not None:
            return full
    plan = await _under_plan(unit, session, review, taken)
    return plan if isinstance(plan, Reason) else (*held, *plan)


async def overdrawn(
    unit: Unit,
    session: Session,
    review: ToolReview,
    arguments: Mapping[str, Json],
    candidates: Sequence[Sequence[Grant]],
    now: int,
) -> tuple[Reservation, ...] | Reason:
    """What to hold for a call that passes limits of grants and is let through all the same: it is counted in full.

    Each member is debited under the grant that has room, else under the first. A sealed plan, and what can't be
    counted, still refuses.
    """
    taken = amounts_of(review, arguments)
    if isinstance(taken, Reason):
        return taken
    held: list[Reservation] = []
    for grants in candidates:
        fitting = await room(unit, replace(session, plan=None), review, taken, [grants], now)
        if isinstance(fitting, Reason) and fitting.code != "budget.exceeded":
            return fitting
        held += _anyway(session, grants[0], taken, now) if isinstance(fitting, Reason) else fitting
    plan = await _under_plan(unit, session, review, taken)
    return plan if isinstance(plan, Reason) else (*held, *plan)


async def budgets(unit: Unit, session: Session, grants: Iterable[Grant], units: Mapping[str, str], now: int) -> Json:
    """Every limit that counts for a session, with what is spent, reserved and allowed, for people to read."""
    lines: dict[str, Json] = {}
    for grant in grants:
        for limits in grant.limits:
            for name, limit in limits.amounts.items():
                scope, _, since = _window(session, grant, limits, now)
                spent, reserved = (0, 0) if limits.per == "call" else await unit.counters.taken(scope, name, since)
                lines[f"{grant.id}/{limits.per}/{name}"] = {
                    "spent": amounts.to_text(spent),
                    "reserved": amounts.to_text(reserved),
                    "limit": amounts.to_text(limit),
                    "unit": units.get(name, "calls" if name == CALLS else name),
                }
    return lines


def _uncounted(names: Iterable[str], review: ToolReview, taken: Mapping[str, int], rule: str) -> Reason | None:
    """A ceiling must hold: a grant or plan that limits amounts allows no spend or destroy call that counts none."""
    limited = set(names) - {CALLS}
    if review.effect in COUNTED_EFFECTS and limited and not limited & taken.keys():
        return Reason("budget.uncountable", f"the review counts nothing of {', '.join(sorted(limited))}", rule=rule)
    return None


async def _under_grant(
    unit: Unit, session: Session, grant: Grant, taken: Mapping[str, int], now: int
) -> list[Reservation] | Reason:
    held: list[Reservation] = []
    for limits in grant.limits:
        scope, bucket, since = _window(session, grant, limits, now)
        for name, limit in limits.amounts.items():
            amount = taken.get(name)
            if amount is None:
                continue
            before = 0 if limits.per == "call" else sum(await unit.counters.taken(scope, name, since))
            if before + amount > limit:
                return Reason("budget.exceeded", _words(name, before, amount, limit, limits.per), rule=grant.id)
            if limits.per != "call":
                held.append(Reservation(grant.id, scope, name, bucket, amount))
    return held


def _anyway(session: Session, grant: Grant, taken: Mapping[str, int], now: int) -> list[Reservation]:
    """What a grant would hold if it had room."""
    held: list[Reservation] = []
    for limits in grant.limits:
        scope, bucket, _ = _window(session, grant, limits, now)
        if limits.per != "call":
            held += [
                Reservation(grant.id, scope, name, bucket, taken[name]) for name in limits.amounts if name in taken
            ]
    return held


async def _under_plan(
    unit: Unit, session: Session, review: ToolReview, taken: Mapping[str, int]
) -> list[Reservation] | Reason:
    if session.plan is None:
        return []
    return await under(unit, review, taken, Ceilings(PLAN, f"{session.root}/plan", session.plan.limits, "plan"))


async def under(
    unit: Unit, review: ToolReview, taken: Mapping[str, int], ceilings: Ceilings
) -> list[Reservation] | Reason:
    """What to hold of a call under ceilings that count all there ever was; or which of them is full."""
    uncounted = _uncounted({name for name, _ in ceilings.amounts}, review, taken, ceilings.by)
    if uncounted is not None:
        return uncounted
    held: list[Reservation] = []
    for name, amount in taken.items():
        limits = [limit for limited, limit in ceilings.amounts if limited == name]
        if not limits:
            continue
        before = sum(await unit.counters.taken(ceilings.scope, name, 0))
        if before + amount > min(limits):
            return Reason("budget.exceeded", _words(name, before, amount, min(limits), ceilings.per), rule=ceilings.by)
        held.append(Reservation(ceilings.by, ceilings.scope, name, 0, amount))
    return held


def _window(session: Session, grant: Grant, limits: Limits, now: int) -> tuple[str, int, int]:
    """Scope, bucket to count in, and first bucket that still counts.

    A day rolls by whole minutes, and a minute that is partly inside counts whole: never too little.
    """
    if limits.per == "day":
        return grant.id, now // MINUTE, (now - DAY) // MINUTE
    return f"{session.root}/{grant.id}", 0, 0


def _words(name: str, before: int, amount: int, limit: int, per: str) -> str:
    return (
        f"{name}: {amounts.to_text(before)} is taken and {amounts.to_text(amount)} asked, "
        f"of {amounts.to_text(limit)} per {per}"
    )


def _counted(limit: LimitReview, arguments: Mapping[str, Json]) -> int | None:
    """The sum of what stands at the limit's pointer (``*`` for array items); None unless all is there and counts."""
    values = list(_at(arguments, limit.of.split("/")[1:]))
    counted = [amounts.from_json(value) for value in values]
    known = [amount for amount in counted if amount is not None]
    return sum(known) if known and len(known) == len(values) else None


def _at(value: Json, path: Sequence[str]) -> Iterable[Json]:
    if not path:
        return [value]
    head, rest = path[0].replace("~1", "/").replace("~0", "~"), path[1:]
    if head == "*" and isinstance(value, Sequence) and not isinstance(value, str):
        return [found for item in value for found in _at(item, rest)]
    if isinstance(value, Mapping) and head in value:
        return _at(value[head], rest)
    # What is left out can't be counted either: the server may put an amount of its own there.
    return [None]
