"""Rule B13: an amount that follows from endorsed amounts, in at most two steps, the second only after a percentage.

A derivation is a sentence that a person can check. It is a generator too, which is why operands are few: over whole
amounts up to 2,000, three operands reach 1 %, twelve with a percentage 15 %.
"""

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from remit.policy.task import Task

MOST_OPERANDS: Final = 12
_CENT: Final = Decimal("0.01")


def derivation(wanted: Decimal, operands: Sequence[Decimal], task: Task) -> str | None:
    """How ``wanted`` follows from ``operands``, in words; None where it does not, or where these are too many."""
    if not operands or len(operands) > MOST_OPERANDS:
        return None
    once = list(_once(operands))
    shares = list(_shares(operands, task))
    for value, how in (*once, *shares):
        if _same(value, wanted):
            return how
    for value, how in shares:
        for other in operands:
            for second, sign in ((value + other, "+"), (value - other, "-"), (other - value, "from")):
                if _same(second, wanted):
                    return f"({how}) {sign} {other}"
    return None


def _once(operands: Sequence[Decimal]) -> Iterator[tuple[Decimal, str]]:
    for at, one in enumerate(operands):
        for other in operands[at + 1 :]:
            yield one + other, f"{one} + {other}"
            yield abs(one - other), f"{max(one, other)} - {min(one, other)}"


def _shares(operands: Sequence[Decimal], task: Task) -> Iterator[tuple[Decimal, str]]:
    for one in operands:
        for part in task.percentages:
            share = one * part / 100
            yield share, f"{part} % of {one}"
            yield one + share, f"{one} + {part} %"
            yield one - share, f"{one} - {part} %"
        if task.shares:
            yield one / 2, f"half of {one}"


def _same(value: Decimal, wanted: Decimal) -> bool:
    return value > 0 and (value == wanted or value.quantize(_CENT, ROUND_HALF_EVEN) == wanted)
