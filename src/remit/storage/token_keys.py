"""The keys that sign tokens, one file each: ``token.pem`` is the first, ``token-<when>.pem`` signs from that time on.

A name says from when its key signs, in milliseconds UTC, so that every process on the home finds the same one at the
same time. A file is whole or not there, is never changed, and is for its owner alone.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from remit.core.errors import Forbidden, StoreUnavailable

_RESTORE: Final = "Restore the home from a backup; without its keys it can't be used."
_LATER = re.compile(r"token-([0-9]{1,15})\.pem")


class TokenKeyFiles:
    """The key files of one home's ``keys`` folder."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is there already."""
        self._folder = folder

    def read(self) -> tuple[tuple[int, bytes], ...]:
        """Every key as PEM with the time from which it signs, oldest first.

        Raises ``StoreUnavailable`` where one can't be read or there is none, ``Forbidden`` where others may read one.
        """
        found = sorted((since, _read(path)) for since, path in self._files())
        if not found:
            raise StoreUnavailable(f"there is no key for tokens in {self._folder}", hint=_RESTORE)
        return tuple(found)

    def add(self, since: int, pem: bytes) -> None:
        """Keep one more key, on disk before this returns. Raises ``StoreUnavailable``."""
        path = self._folder / f"token-{since}.pem"
        fresh = self._folder / f".{path.name}.{os.getpid()}"
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                os.write(handle, pem)
                os.fsync(handle)
            finally:
                os.close(handle)
            fresh.replace(path)
        except OSError as error:
            raise StoreUnavailable(f"a key for tokens can't be written: {error.strerror}") from error

    def drop(self, since: int) -> None:
        """Delete the key that signed from this time on, if it is there."""
        for known, path in self._files():
            if known == since:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, Path]]:
        first = self._folder / "token.pem"
        if first.exists():
            yield 0, first
        for path in self._folder.glob("token-*.pem"):
            named = _LATER.fullmatch(path.name)
            if named is not None:
                yield int(named[1]), path


def _read(path: Path) -> bytes:
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be read: {error.strerror}", hint=_RESTORE) from error
    if mode & 0o077:
        raise Forbidden(f"others may read the key in {path}", hint=f"chmod 600 {path}; if it has been seen, rotate it.")
    return data
