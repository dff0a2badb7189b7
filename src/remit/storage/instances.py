"""Which processes are alive: each holds a file lock under its own name for as long as it lives.

The kernel lets go of a lock when its process ends, however it ends; so after kill -9 the others know at once that the
intents of that process will get no outcome from it.
"""

import fcntl
import os
import re
from pathlib import Path

_NAME = re.compile(r"[0-9a-z-]{1,64}")


class Instance:
    """This process's lock. ``close`` lets go of it."""

    def __init__(self, folder: Path, name: str) -> None:
        """Take the lock ``name`` in ``folder``, which is made if it is not there."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = name
        self._path = _path(folder, name)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

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
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
