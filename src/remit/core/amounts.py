"""Countables: money, rows, calls. A non-negative decimal with a unit, never a binary float.

Held as whole ten-thousandths, the precision of Cedar's ``decimal``, so that sums in the store are exact integers.
"""

import re
from decimal import Decimal
from typing import Final

from remit.core.canonical import number_text
from remit.core.errors import InvalidDocument, Malformed

SCALE: Final = 10_000
ONE: Final = SCALE
# ASCII digits only: Decimal() would also read those of other scripts, which an upstream may read otherwise.
_PLAIN = re.compile(r"[0-9]{1,15}(\.[0-9]{1,4})?")


def from_text(text: str, pointer: str = "") -> int:
    """Ten-thousandths of a plain decimal such as ``250.00``; else ``InvalidDocument`` at ``pointer``."""
    if _PLAIN.fullmatch(text) is None:
        raise InvalidDocument(
            f"{text!r} is not a non-negative decimal with at most four fraction digits", pointer=pointer
        )
    return int(Decimal(text) * SCALE)


def from_json(value: object) -> int | None:
    """Ten-thousandths of a JSON number or decimal string as a caller sent it; ``None`` when it does not count.

    Negative, finer than four digits, too large, or no number at all: all ``None``, which a decision treats as Deny.
    """
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        return None
    try:
        text = value if isinstance(value, str) else number_text(Decimal(value))
    except Malformed:
        return None
    return int(Decimal(text) * SCALE) if _PLAIN.fullmatch(text) else None


def to_text(amount: int) -> str:
    """The plain decimal of ten-thousandths, with two fraction digits where they suffice."""
    whole, part = divmod(amount, SCALE)
    digits = f"{part:04d}"
    return f"{whole}.{digits[:2] if digits.endswith('00') else digits}" if part else str(whole)


def ceiling(value: object, pointer: str) -> int:
    """Ten-thousandths of a limit as a file or request writes it: a whole number or a decimal string.

    Raises ``InvalidDocument`` at ``pointer``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InvalidDocument("a limit is a whole number or a decimal string", pointer=pointer)
    return from_text(str(value), pointer)
