"""API keys: made, recognised, compared. Three kinds in one format, so that secret scanners can find a leaked one.

``remit_<h|s|p|c>_<26 digits of the key's id>_<52 digits of secret>_<6 digits of checksum>``, all Crockford base32 in
lower case; ``c`` is for the secret of an OAuth client, and the digits are those of the client's id. Only the SHA-256 of
the whole text is kept. A slow hash would add nothing: the secret holds 256 random bits, so there is nothing to guess.
"""

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, field
from typing import Final

from remit.core.credentials import KeyPurpose
from remit.core.errors import Unauthenticated
from remit.core.ids import base32

PREFIX: Final = "remit_"
SECRET_BYTES: Final = 32
# For secret scanners: everything that Remit ever issued as a key.
SCANNER_PATTERN: Final = r"remit_[hspc]_[0-7][0-9a-hjkmnp-tv-z]{25}_[0-9a-hjkmnp-tv-z]{52}_[0-9a-hjkmnp-tv-z]{6}"

_KEY = re.compile(SCANNER_PATTERN)
_LETTERS: Final[dict[KeyPurpose, str]] = {"host": "h", "session": "s", "person": "p"}
_PURPOSES: Final[dict[str, KeyPurpose]] = {letter: purpose for purpose, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A fresh key: ``text`` is shown once, ``digest`` is kept."""

    text: str = field(repr=False)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ReadKey:
    """A key as somebody presented it; whether it is known is still to be looked up."""

    purpose: KeyPurpose
    key_id: str
    digest: str


def make(purpose: KeyPurpose, key_id: str, secret: bytes) -> MadeKey:
    """A key for ``key_`` id ``key_id`` around ``SECRET_BYTES`` random bytes."""
    return _made(_LETTERS[purpose], key_id.removeprefix("key_"), secret)


def _made(letter: str, identifier: str, secret: bytes) -> MadeKey:
    if len(secret) != SECRET_BYTES:
        raise ValueError("a key needs 32 random bytes")
    body = f"{PREFIX}{letter}_{identifier}_{base32(int.from_bytes(secret, 'big'), 52)}"
    text = f"{body}_{_checksum(body)}"
    return MadeKey(text, _digest(text))


def make_client_secret(client_id: str, secret: bytes) -> MadeKey:
    """A secret for the client with this ``cli_`` id around ``SECRET_BYTES`` random bytes."""
    return _made("c", client_id.removeprefix("cli_"), secret)


def client_of(text: str) -> tuple[str, str] | None:
    """The client's id and the digest of a presented client secret; None for what is none of ours or is damaged."""
    if _KEY.fullmatch(text) is None or not hmac.compare_digest(_checksum(text[:-7]), text[-6:]):
        return None
    letter, identifier = text.split("_")[1:3]
    return (f"cli_{identifier}", _digest(text)) if letter == "c" else None


def read(text: str) -> ReadKey | None:
    """The parts of a presented key; None when it is none of ours. Raises ``Unauthenticated`` for a damaged one."""
    if not text.startswith(PREFIX):
        return None
    if _KEY.fullmatch(text) is None or not hmac.compare_digest(_checksum(text[:-7]), text[-6:]):
        raise Unauthenticated("this key is damaged or mistyped")
    letter, identifier = text.split("_")[1:3]
    if letter not in _PURPOSES:
        raise Unauthenticated("a client's secret is sent to the token endpoint, and nowhere else")
    return ReadKey(_PURPOSES[letter], f"key_{identifier}", _digest(text))


def matches(presented: ReadKey, kept_digest: str) -> bool:
    """Whether the presented key is the one whose digest was kept; in constant time."""
    return hmac.compare_digest(presented.digest, kept_digest)


def _checksum(body: str) -> str:
    """CRC-32, which finds typing errors; it protects nothing."""
    return base32(zlib.crc32(body.encode()), 7)[-6:]


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
