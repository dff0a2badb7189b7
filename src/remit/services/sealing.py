"""How private values are kept beside the log: committed to with a fresh salt, sealed under their subject's key."""

from typing import Protocol

from remit.audit.commitments import NONCE_SIZE, SALT_SIZE, commit_bytes, seal, sealing_context, unseal
from remit.core.canonical import Json, b64, canonical
from remit.core.ports import Entropy, Private


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

    def commit(self, org: str, subject: str, index: int, pointer: str, value: Json) -> tuple[str, bytes]:
        """The commitment for the leaf, and what is kept in the erasable table. A salt is used for one value only."""
        salt, nonce, data = self._entropy.bytes(SALT_SIZE), self._entropy.bytes(NONCE_SIZE), canonical(value)
        place = sealing_context(org, subject, index, pointer)
        return b64(commit_bytes(salt, data)), seal(self._keys.key(subject), salt, data, place, nonce)

    def reveal(self, private: Private, org: str) -> tuple[bytes, bytes] | None:
        """Salt and canonical value, or None when the subject's key is gone."""
        key = self._keys.existing(private.subject)
        if key is None:
            return None
        place = sealing_context(org, private.subject, private.index, private.pointer)
        return unseal(key, private.sealed, place)

    def forget(self, org: str, subject: str) -> bool:
        """Destroy the subject's key."""
        del org
        return self._keys.destroy(subject)
