"""Which processes are alive: each holds a file lock under its own name for as long as it lives.

The kernel lets go of a lock when its process ends, however it ends; so after kill -9 the others know at once that the
intents of that process will get no outcome from it.

INVARIANT: a file is removed only by who holds its lock, and a lock counts only while its file is still linked. So a
file that somebody else has just made under the same name is never removed with the old one's lock in hand.
"""

import fcntl
import os
import re
from pathlib import Path

from remit.core.errors import InternalError, StoreUnavailable

_NAME = re.compile(r"[0-9a-z-]{1,64}")


class Instance:
    """This process's lock. ``close`` lets go of it."""

    def __init__(self, folder: Path, name: str) -> None:
        """Take the lock ``name`` in ``folder``, which is made if it is not there.

        Raises ``StoreUnavailable`` when it can't be taken, ``InternalError`` for what is no name.
        """
        if _NAME.fullmatch(name) is None:
            raise InternalError(f"{name!r} can't name a process")
        self.name = name
        self._path = _path(folder, name)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = _locked(self._path)
        except BlockingIOError as error:
            raise StoreUnavailable(f"another process holds the name {name}") from error
        except OSError as error:
            raise StoreUnavailable(f"{folder.name} can't be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go, and leave no file behind."""
        self._path.unlink(missing_ok=True)
        os.close(self._handle)


def alive(folder: Path, name: str) -> bool:
    """Whether the process that calls itself ``name`` still holds its lock. Files of the dead are removed."""
    if _NAME.fullmatch(name) is None:
        return False
    path = _path(folder, name)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        if _linked(handle):
            path.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)


def _locked(path: Path) -> int:
    """An open handle that holds the lock of the file at ``path``."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        if _linked(handle):
            return handle
        os.close(handle)


def _linked(handle: int) -> bool:
    return os.fstat(handle).st_nlink > 0


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
