"""Credentials that Remit injects never come back out: exact match in results, also in the common encodings.

This finds an echo, not a cunning server: one that scrambles a value its own way is not stopped here, which is why the
credential should be of no use elsewhere.
"""

import base64
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 8
REPLACEMENT: Final = b"[redacted by Remit]"
_ESCAPE = re.compile(r"%[0-9A-F]{2}")


class KnownSecrets:
    """A set of credentials, compiled once for matching. Shown nowhere, not by repr."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        """Raises ``ValueError`` for a credential of fewer than eight bytes: it would match by chance."""
        spellings: set[bytes] = set()
        for secret in secrets:
            if len(secret) < SHORTEST:
                raise ValueError("a credential of fewer than eight bytes can't be matched")
            spellings |= set(_spellings(secret))
        # Longest first, so that a spelling that holds another one goes whole.
        ordered = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(one) for one in ordered)) if ordered else None

    def redact(self, data: bytes) -> tuple[bytes, int]:
        """``data`` without the credentials, and how many stood in it."""
        return self._pattern.subn(REPLACEMENT, data) if self._pattern else (data, 0)


def redact_known(data: bytes, secrets: KnownSecrets) -> tuple[bytes, int]:
    """JSON text without known credentials, and how many stood in it."""
    return secrets.redact(data)


def _spellings(secret: bytes) -> Iterable[bytes]:
    """The value itself and how JSON, URLs, hex and base64 write it."""
    yield secret
    text = secret.decode(errors="replace")
    for once in _json_escaped(text):
        yield once.encode()
        # A text block that holds a JSON document: escaped in the document, and again in the block.
        yield from (twice.encode() for twice in _json_escaped(once))
    for quoting, safe in ((quote, ""), (quote, "/"), (quote_plus, "")):
        quoted = quoting(secret, safe=safe)
        yield quoted.encode()
        yield _ESCAPE.sub(lambda found: found[0].lower(), quoted).encode()
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield _inner_base64(encode(b"\x00" * lead + secret), lead, len(secret))


def _json_escaped(text: str) -> Iterable[str]:
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")


def _inner_base64(encoded: bytes, lead: int, length: int) -> bytes:
    """The base64 digits that depend on the secret alone, wherever it stands among other bytes."""
    first = -(-lead * 8 // 6)
    last = (lead + length) * 8 // 6
    return encoded[first:last]
