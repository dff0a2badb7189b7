"""The only reader of governed JSON, so that what is decided on is what the upstream will read.

Refused: anything but UTF-8 without BOM, duplicate keys (also spelled with escapes), NaN and Infinity, lone surrogates,
nesting and sizes over the limits, numbers that overflow a double, integers outside i64. Numbers keep their exact value:
``int`` for integers, ``Decimal`` for the rest.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import jiter
import msgspec

from remit.core.canonical import I64_MAX, I64_MIN, Json, number_text
from remit.core.errors import Malformed, TooLarge

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """Bounds of one document: bytes, as received and as its numbers are written out; nesting; and how many values.

    ``1e-300`` is six bytes here and 302 in canonical form, which is what the log keeps.
    """

    max_bytes: int = 1_048_576
    max_depth: int = 64
    max_values: int = 500_000


DEFAULT_LIMITS: Final = JsonLimits()


def parse(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> Json:
    """The value of a JSON document. Raises ``Malformed`` or ``TooLarge``, saying what and where."""
    if len(body) > limits.max_bytes:
        raise TooLarge(f"{len(body)} bytes is over the bound of {limits.max_bytes}")
    if body.startswith(b"\xef\xbb\xbf"):
        raise Malformed("a byte order mark stands before the document")
    try:
        value: Json = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal", cache_mode="keys"
        )
    except ValueError as error:
        raise Malformed(_words(error)) from error
    _check(value, limits)
    return value


def as_json(value: Json) -> bytes:
    """Compact JSON bytes of a value, exact numbers kept."""
    return _encoder.encode(value)


def _words(error: ValueError) -> str:
    """What the reader said, save where it means its own inside: an exponent that no number holds."""
    words = str(error)
    return "a number is outside what a double can hold" if words.startswith("Internal error") else words


def _check(root: Json, limits: JsonLimits) -> None:
    """Depth, number and count bounds, level by level, without recursion."""
    level: list[Json] = [root]
    count, digits, max_depth = 1, 0, limits.max_depth
    for depth in range(max_depth + 1):
        deeper: list[Json] = []
        for value in level:
            kind = type(value)
            if kind is str or kind is bool or value is None:
                continue
            if (kind is dict or kind is list) and depth == max_depth:
                raise Malformed(f"the document nests deeper than {max_depth}")
            if kind is dict:
                deeper.extend(value.values())  # type: ignore[union-attr]
            elif kind is list:
                deeper.extend(value)  # type: ignore[arg-type]
            else:
                digits += _check_number(value)  # type: ignore[arg-type]
        count += len(deeper)
        if count > limits.max_values or digits > limits.max_bytes:
            raise TooLarge(f"more than {limits.max_values} values, or numbers of more than {limits.max_bytes} digits")
        if not deeper:
            return
        level = deeper


def _check_number(value: int | Decimal) -> int:
    """How long a decimal is when it is written out; an integer is never longer than it came."""
    if isinstance(value, Decimal):
        return len(number_text(value))
    if not I64_MIN <= value <= I64_MAX:
        raise Malformed("an integer is outside 64 bits")
    return 0
