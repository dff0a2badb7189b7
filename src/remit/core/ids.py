"""Ids and names: how a thing is called, and what may not be called so.

An id is ``<prefix>_`` and 26 Crockford base32 digits of UUIDv7 bits (RFC 9562 section 5.7): sortable by time of making,
never reused, no meaning inside. It is made from a time and random bytes that are handed in. Ids and names are compared
byte for byte, so nothing here folds case.
"""

import hashlib
import re
from typing import Final, Literal, TypeAlias

from remit.core.errors import InvalidDocument

Prefix: TypeAlias = Literal[
    "org", "per", "agt", "srv", "tol", "rev", "grt", "key", "ses", "apr", "run", "acr", "rul", "cli", "dep", "blp"
]

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BYTES: Final = 10
_DIGITS: Final = 26
_ID = re.compile(r"(org|per|agt|srv|tol|rev|grt|key|ses|apr|run|acr|rul|cli|dep|blp)_[0-7][0-9a-hjkmnp-tv-z]{25}")
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,31}")
_CALL_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id(prefix: Prefix, now: int, entropy: bytes) -> str:
    """An id for a thing made at ``now`` (milliseconds UTC) with ``RANDOM_BYTES`` of entropy."""
    return f"{prefix}_{digits_of(now, entropy)}"


def digits_of(now: int, entropy: bytes) -> str:
    """The 26 digits of such an id: in order of time, and not to be guessed."""
    if len(entropy) != RANDOM_BYTES or not 0 <= now < 2**48:
        raise ValueError("an id needs a 48 bit time and ten random bytes")
    random = int.from_bytes(entropy, "big")
    bits = (now << 80) | (0x7 << 76) | ((random >> 64 & 0xFFF) << 64) | (0b10 << 62) | (random & (2**62 - 1))
    return base32(bits, _DIGITS)


def base32(bits: int, digits: int) -> str:
    """``bits`` as Crockford base32, lower case, left-padded to ``digits``."""
    return "".join(ALPHABET[bits >> (5 * place) & 31] for place in range(digits - 1, -1, -1))


def is_id(text: str, prefix: Prefix | None = None) -> bool:
    """Whether ``text`` is an id (of that prefix)."""
    return _ID.fullmatch(text) is not None and (prefix is None or text.startswith(prefix + "_"))


def check_slug(text: str, what: str) -> str:
    """``text`` if it may name an org, a server or an agent; else ``InvalidDocument``."""
    if _SLUG.fullmatch(text) is None:
        raise InvalidDocument(f"{what} {text!r} is not a lower-case name of up to 32 letters, digits and hyphens")
    return text


def is_call_id(text: str) -> bool:
    """Whether ``text`` may be a caller's own call id."""
    return _CALL_ID.fullmatch(text) is not None


def tool_ref(server: str, tool: str) -> str:
    """``server/tool``, the name of a tool everywhere but in MCP's flat list."""
    return f"{server}/{tool}"


def split_ref(ref: str) -> tuple[str, str]:
    """Server and tool of a reference, split at the first slash; else ``InvalidDocument``."""
    server, slash, tool = ref.partition("/")
    if not slash or not tool or _SLUG.fullmatch(server) is None:
        raise InvalidDocument(f"{ref!r} is not server/tool")
    return server, tool


def flat_alias(server: str, tool: str) -> str:
    """The name in MCP's flat list: ``server__tool``, or a hashed form where that would be too long or odd.

    A server slug holds no underscore, so the first ``__`` splits and two servers can't make one alias by naming alone.
    """
    plain = f"{server}__{tool}"
    if _ALIAS.fullmatch(plain):
        return plain
    allowed = re.match(r"[A-Za-z0-9_-]*", tool)
    suffix = "_" + hashlib.sha256(tool_ref(server, tool).encode()).hexdigest()[:8]
    head = f"{server}__" + (allowed.group() if allowed else "")
    return head[: 64 - len(suffix)] + suffix
