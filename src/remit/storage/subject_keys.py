"""One key per person under which their values in the log are sealed: a file each, so that erasing is deleting one file.

The keys live beside the store and not in it: a backup of the store alone can't be read for a person whose key is gone.
No key is held in memory: one that another process destroyed, and perhaps made anew, must be gone here at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from remit.core.errors import StoreUnavailable
from remit.core.ids import is_id
from remit.core.ports import Entropy

KEY_BYTES: Final = 32


class SubjectKeys:
    """The key files of one home. Safe with several processes: a key is linked into place whole, and never changed."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        """``folder`` is made if it is not there, for its owner only. Raises ``StoreUnavailable``."""
        with _told("made"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._entropy = entropy
        self._flushed: set[str] = set()

    def existing(self, subject: str) -> bytes | None:
        """The subject's key, or None when it was never made or is destroyed. Raises ``StoreUnavailable``."""
        path = self._path(subject)
        with _told("read"):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            try:
                found = os.read(handle, KEY_BYTES + 1)
            finally:
                os.close(handle)
        if len(found) != KEY_BYTES:
            raise StoreUnavailable(f"the key file of {subject} is damaged", hint="Restore it from a backup.")
        return found

    def key(self, subject: str) -> bytes:
        """The subject's key, made and durable if there was none. Raises ``StoreUnavailable``."""
        found = self.existing(subject) or self._make(subject)
        if subject not in self._flushed:
            # Also for a key that is there already: who made it may not have come as far as this.
            with _told("written"):
                _flush_folder(self._folder)
            self._flushed.add(subject)
        return found

    def _make(self, subject: str) -> bytes:
        fresh = self._folder / f".{subject}.{self._entropy.bytes(8).hex()}"
        with _told("written"):
            try:
                _write_durably(fresh, self._entropy.bytes(KEY_BYTES))
                os.link(fresh, self._path(subject))
            except FileExistsError:
                pass  # another process was first; its key is the key
            finally:
                fresh.unlink(missing_ok=True)
        made = self.existing(subject)
        if made is None:
            raise StoreUnavailable("a subject key vanished while it was made")
        return made

    def destroy(self, subject: str) -> bool:
        """Delete the key; whether there was one. What was sealed under it can't be read again, in any backup.

        Raises ``StoreUnavailable`` when it can't be deleted.
        """
        path = self._path(subject)
        self._flushed.discard(subject)
        with _told("deleted"):
            try:
                os.unlink(path)  # noqa: PTH108 - a path that is text
            except FileNotFoundError:
                return False
            _flush_folder(self._folder)
        return True

    def _path(self, subject: str) -> str:
        # Text, because this is read with every event and a Path takes longer to make than the file to read.
        if not is_id(subject):
            raise StoreUnavailable("a subject is named by its id")
        return f"{self._folder}/{subject}.key"


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the subject keys can't be {what}: {error.strerror}") from error


def _write_durably(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(data)
        while rest:  # a disk with little room takes a part
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
