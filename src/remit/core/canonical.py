"""Canonical bytes: one value, one spelling, one hash.

RFC 8785 with two named differences (INTERFACES section 2): integers within i64 are written in full decimal, where plain
JCS stops at 2^53; every other number is a plain decimal without exponent, trailing zeros or trailing point. So ``1``,
``1.0`` and ``1e0`` are one value, and ``100.00000000000000001`` is not ``100``. Strings are not Unicode-normalised.

What is refused here rather than rounded: binary floats (they have lost their spelling), integers outside i64, numbers
that a double can't hold, lone surrogates, keys that are not strings.
"""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TypeAlias

from remit.core.errors import Malformed

Json: TypeAlias = bool | int | Decimal | str | Sequence["Json"] | Mapping[str, "Json"] | None

I64_MIN = -(2**63)
I64_MAX = 2**63 - 1
# A double's decimal exponent range; beyond it a plain decimal could also be made arbitrarily long.
_MAX_EXPONENT = 308
_MIN_EXPONENT = -324


class Written(bytes):
    """Canonical bytes of a value, where both it and they could stand: who has them need not write it down again."""


def canonical(value: Json) -> bytes:
    """The canonical UTF-8 bytes of ``value``.

    Raises ``Malformed`` for anything that has no canonical form.
    """
    out: list[str] = []
    try:
        _write(value, out)
        return "".join(out).encode()
    except RecursionError as error:
        raise Malformed("a value nests without end") from error
    except UnicodeEncodeError as error:
        raise Malformed("a string holds a lone surrogate") from error


def digest(data: bytes) -> str:
    """``sha256:<hex>`` of ``data``: the hash form used everywhere outside a log leaf."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def fingerprint(value: Json) -> str:
    """The digest of the canonical bytes of a whole definition, members unknown to us included."""
    return digest(canonical(value))


def number_text(value: Decimal) -> str:
    """The one plain spelling of a decimal. Raises ``Malformed`` outside the bounds."""
    if not value.is_finite():
        raise Malformed("a number is not finite")
    # Zero too: whoever scales ``0e999999999`` would build its zeros.
    if not _MIN_EXPONENT <= value.adjusted() <= _MAX_EXPONENT or math.isinf(float(value)):
        raise Malformed("a number is outside what a double can hold")
    if not value:
        return "0"
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if "." not in text and not I64_MIN <= int(text) <= I64_MAX:
        raise Malformed("an integer is outside 64 bits")
    return text


def b64(data: bytes) -> str:
    """Standard base64 with padding, as C2SP notes and log commitments write bytes."""
    return base64.b64encode(data).decode("ascii")


def _write(value: Json, out: list[str]) -> None:
    # Most values by their exact type, which is quick to tell; the rest below.
    kind = type(value)
    if kind is str:
        out.append(encode_basestring(value))  # type: ignore[arg-type]  # told by its type
    elif kind is dict:
        _write_object(value, out)  # type: ignore[arg-type]
    elif kind is list or kind is tuple:
        _write_array(value, out)  # type: ignore[arg-type]
    else:
        _write_other(value, out)


def _write_other(value: Json, out: list[str]) -> None:
    if value is None:
        out.append("null")
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif isinstance(value, str):
        out.append(encode_basestring(value))
    elif isinstance(value, int):
        if not I64_MIN <= value <= I64_MAX:
            raise Malformed("an integer is outside 64 bits")
        out.append(int.__repr__(value))
    elif isinstance(value, Decimal):
        out.append(number_text(value))
    elif isinstance(value, Mapping):
        _write_object(value, out)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        _write_array(value, out)
    else:
        raise Malformed(f"a {type(value).__name__} has no canonical form")


def _write_object(value: Mapping[str, Json], out: list[str]) -> None:
    out.append("{")
    try:
        # RFC 8785 section 3.2.3: members are sorted by their UTF-16 code units, which for ASCII is how text sorts.
        ascii_only = all(key.isascii() for key in value)
        keys = sorted(value) if ascii_only else sorted(value, key=lambda key: key.encode("utf-16-be"))
    except (AttributeError, UnicodeEncodeError) as error:
        raise Malformed("an object key is not a well-formed string") from error
    for position, key in enumerate(keys):
        if position:
            out.append(",")
        out.append(encode_basestring(key))
        out.append(":")
        _write(value[key], out)
    out.append("}")


def _write_array(value: Sequence[Json], out: list[str]) -> None:
    out.append("[")
    for position, item in enumerate(value):
        if position:
            out.append(",")
        _write(item, out)
    out.append("]")
