"""Salted commitments to private values, and the sealed form in which salt and value are kept beside the log.

In place of a value, a leaf holds SHA-256(``remit/v1`` || 0x00 || 32-byte salt || canonical value), as INTERFACES
section 8 says. The salt is as secret as the value: who has neither can't test a guess, so destroying the key that seals
both erases the value while the leaf stays as it was. Each value gets a salt of its own, or equal ones would show.

What is not here: randomness (salts and nonces are handed in), keys per person and where they are kept.
"""

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.core.canonical import Json, canonical
from remit.core.errors import InternalError, StoreUnavailable

SALT_SIZE: Final = 32
KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
COMMITMENT_SIZE: Final = 32

_DOMAIN: Final = b"remit/v1\x00"
# The first byte of everything sealed: another way of sealing will get another number, never a guess.
_AES_256_GCM: Final = b"\x01"


def commit(salt: bytes, value: Json) -> bytes:
    """The 32-byte commitment to ``value``. Raises ``Malformed`` for a value without canonical form."""
    return commit_bytes(salt, canonical(value))


def commit_bytes(salt: bytes, value: bytes) -> bytes:
    """The commitment to a value that is given as its canonical bytes."""
    _sized(salt, SALT_SIZE, "salt")
    return hashlib.sha256(_DOMAIN + salt + value).digest()


def opens(commitment: bytes, salt: bytes, value: Json) -> bool:
    """Whether ``commitment`` was made from this salt and value; the time taken does not depend on where they differ."""
    return len(salt) == SALT_SIZE and hmac.compare_digest(commitment, commit(salt, value))


def sealing_context(org: str, subject: str, index: int, pointer: str) -> bytes:
    """What a sealed value is bound to: moved to another org, person, event or place, it does not open."""
    return canonical(["remit/v1/private", org, subject, index, pointer])


def seal(key: bytes, salt: bytes, value: bytes, aad: bytes, nonce: bytes) -> bytes:
    """Salt and canonical value bytes under AES-256-GCM, bound to ``aad``.

    ``nonce`` is 12 random bytes that were never used with this key; with random ones, stay under 2**32 uses of a key
    (NIST SP 800-38D section 8.3).
    """
    _sized(key, KEY_SIZE, "key")
    _sized(salt, SALT_SIZE, "salt")
    _sized(nonce, NONCE_SIZE, "nonce")
    return _AES_256_GCM + nonce + AESGCM(key).encrypt(nonce, salt + value, _AES_256_GCM + aad)


def unseal(key: bytes, sealed: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """Salt and canonical value bytes. Raises ``StoreUnavailable`` for anything altered, moved, or under another key."""
    _sized(key, KEY_SIZE, "key")
    form, nonce, box = sealed[:1], sealed[1 : 1 + NONCE_SIZE], sealed[1 + NONCE_SIZE :]
    if form != _AES_256_GCM or len(nonce) != NONCE_SIZE:
        raise StoreUnavailable("a sealed value is not in a form that can be opened")
    try:
        plain = AESGCM(key).decrypt(nonce, box, form + aad)
    except InvalidTag as error:
        raise StoreUnavailable("a sealed value was altered, moved, or is under another key") from error
    if len(plain) < SALT_SIZE:
        raise StoreUnavailable("a sealed value is too short to hold its salt")
    return plain[:SALT_SIZE], plain[SALT_SIZE:]


def _sized(data: bytes, size: int, what: str) -> None:
    if len(data) != size:
        raise InternalError(f"a {what} has {size} bytes, not {len(data)}")
