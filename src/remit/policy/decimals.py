"""Cedar's ``decimal``: four fraction digits in 64 bits, from a JSON number or a plain decimal string, never rounded."""

import re
from decimal import Decimal
from typing import Final

from remit.core.canonical import I64_MAX, I64_MIN, Json

_SCALE: Final = 10_000
# ASCII digits only: Decimal() would also take other scripts' digits, underscores, exponents and signs.
_PLAIN = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,4})?")


def decimal_text(value: Json) -> str | None:
    """The literal Cedar reads, such as ``100.0``; None where ``value`` has no exact ``decimal``."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        return None
    if isinstance(value, str) and _PLAIN.fullmatch(value) is None:
        return None
    number = Decimal(value)
    # The exponent bounds come first: scaling 1e999999 would build the number.
    if not number.is_finite() or (number and not -4 <= number.adjusted() <= 15):  # noqa: PLR2004 - Cedar's range
        return None
    sign, digits, exponent = number.as_tuple()
    scaled = _scaled(digits, int(exponent) + 4)
    if scaled is None:
        return None
    scaled = -scaled if sign else scaled
    if not I64_MIN <= scaled <= I64_MAX:
        return None
    whole, part = divmod(abs(scaled), _SCALE)
    fraction = f"{part:04d}".rstrip("0") or "0"
    return f"{'-' if scaled < 0 else ''}{whole}.{fraction}"


def _scaled(digits: tuple[int, ...], exponent: int) -> int | None:
    """The digits as a whole number of ten-thousandths, or None if a finer digit is left."""
    text = "".join(map(str, digits))
    if exponent >= 0:
        return int(text + "0" * exponent)
    kept, dropped = text[:exponent], text[exponent:]
    return int(kept or "0") if not dropped.strip("0") else None
