"""One key per person under which their values in the log are sealed: a file each, so that erasing is deleting one file.

The keys live beside the store and not in it: a backup of the store alone can't be read for a person whose key is gone.
"""

import os
from pathlib import Path
from typing import Final

from remit.core.errors import StoreUnavailable
from remit.core.ids import is_id
from remit.core.ports import Entropy

KEY_BYTES: Final = 32


class SubjectKeys:
    """The key files of one home. Safe with several processes: a key is linked into place whole, and never changed."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        """``folder`` is made if it is not there, for its owner only."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._entropy = entropy
        self._known: dict[str, tuple[int, bytes]] = {}

    def existing(self, subject: str) -> bytes | None:
        """The subject's key, or None when it was never made or is destroyed."""
        path = self._path(subject)
        try:
            inode = path.stat().st_ino
            known = self._known.get(subject)
            if known is None or known[0] != inode:
                known = self._known[subject] = (inode, path.read_bytes())
        except FileNotFoundError:
            self._known.pop(subject, None)
            return None
        except OSError as error:
            raise StoreUnavailable(f"the subject keys can't be read: {error.strerror}") from error
        return known[1]

    def key(self, subject: str) -> bytes:
        """The subject's key, made and durable if there was none. Raises ``StoreUnavailable``."""
        found = self.existing(subject)
        if found is not None:
            return found
        fresh = self._folder / f".{subject}.{self._entropy.bytes(8).hex()}"
        try:
            _write_durably(fresh, self._entropy.bytes(KEY_BYTES))
            try:
                os.link(fresh, self._path(subject))
            except FileExistsError:
                pass  # another process was first; its key is the key
            finally:
                fresh.unlink()
            _flush_folder(self._folder)
        except OSError as error:
            raise StoreUnavailable(f"the subject keys can't be written: {error.strerror}") from error
        made = self.existing(subject)
        if made is None:
            raise StoreUnavailable("a subject key vanished while it was made")
        return made

    def destroy(self, subject: str) -> bool:
        """Delete the key; whether there was one. What was sealed under it can't be read again, in any backup."""
        self._known.pop(subject, None)
        try:
            self._path(subject).unlink()
        except FileNotFoundError:
            return False
        _flush_folder(self._folder)
        return True

    def _path(self, subject: str) -> Path:
        if not is_id(subject):
            raise StoreUnavailable("a subject is named by its id")
        return self._folder / f"{subject}.key"


def _write_durably(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
