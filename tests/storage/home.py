"""A store in a folder, opened as ``wiring`` opens it, for this process and for the children that tests start."""

from contextlib import suppress
from pathlib import Path

import apsw

from remit.services.sealing import Sealer
from remit.storage.sqlite import SqliteStore
from remit.storage.subject_keys import SubjectKeys
from tests.services.world import HandClock, SystemEntropy

STORE = "remit.db"


def make_sealer(home: Path) -> Sealer:
    """Seals under the key files of this home."""
    return Sealer(SubjectKeys(home / "subjects", SystemEntropy()), SystemEntropy())


async def opened(home: Path) -> SqliteStore:
    """The store of this home, made when there is none, by however many ask at once."""
    path = home / STORE
    with suppress(OSError):
        path.touch(0o600)
    return SqliteStore(path, HandClock(), make_sealer(home))


def raw(home: Path) -> apsw.Connection:
    """The same file without Remit, as an attacker or a control has it."""
    connection = apsw.Connection(str(home / STORE))
    connection.set_busy_timeout(5_000)
    return connection
