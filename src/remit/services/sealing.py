"""How private values are kept beside the log: committed to with a fresh salt, sealed under their subject's key.

Before each sealed value stands a tag of its key. A person whose key was destroyed may get a new one with their next
event; the tag tells what the old key sealed, which is erased, from what was altered, which is an error.
"""

import hashlib
from typing import Final, Protocol

from remit.audit.commitments import NONCE_SIZE, SALT_SIZE, commit_bytes, seal, sealing_context, unseal
from remit.core.canonical import Json, Written, b64, canonical
from remit.core.ports import Entropy, Private

TAG_SIZE: Final = 8


class KeyRing(Protocol):
    """Keys per subject: made at first use, gone when destroyed."""

    def key(self, subject: str) -> bytes:
        """The key, made if there was none."""

    def existing(self, subject: str) -> bytes | None:
        """The key, or None."""

    def destroy(self, subject: str) -> bool:
        """Delete the key; whether there was one."""


class Sealer:
    """See ``core.ports.PayloadSealer``."""

    def __init__(self, keys: KeyRing, entropy: Entropy) -> None:
        """Seal under ``keys`` with salts and nonces from ``entropy``."""
        self._keys = keys
        self._entropy = entropy

    def commit(self, org: str, subject: str, index: int, pointer: str, value: Json | Written) -> tuple[str, bytes]:
        """The commitment for the leaf, and what is kept in the erasable table. A salt is used for one value only."""
        random = self._entropy.bytes(SALT_SIZE + NONCE_SIZE)
        salt, nonce = random[:SALT_SIZE], random[SALT_SIZE:]
        data = value if isinstance(value, Written) else canonical(value)
        place = sealing_context(org, subject, index, pointer)
        key = self._keys.key(subject)
        return b64(commit_bytes(salt, data)), _tag(key) + seal(key, salt, data, place, nonce)

    def reveal(self, private: Private, org: str) -> tuple[bytes, bytes] | None:
        """Salt and canonical value, or None when the key that sealed it is gone. Raises ``StoreUnavailable``."""
        key = self._keys.existing(private.subject)
        if key is None or not private.sealed.startswith(_tag(key)):
            return None
        place = sealing_context(org, private.subject, private.index, private.pointer)
        return unseal(key, private.sealed[TAG_SIZE:], place)

    def forget(self, org: str, subject: str) -> bool:
        """Destroy the subject's key."""
        del org
        return self._keys.destroy(subject)


def _tag(key: bytes) -> bytes:
    return hashlib.sha256(b"remit/v1/key\x00" + key).digest()[:TAG_SIZE]
