"""Brings a store's tables to the version this Remit was written for, one numbered SQL file at a time."""

import re
from importlib import resources
from typing import Final

import apsw

from remit.core.errors import StoreUnavailable

_NUMBERED = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


def migrations() -> tuple[tuple[int, str], ...]:
    """Number and text of every migration, in order."""
    found = []
    for entry in (resources.files("remit.storage") / "sql").iterdir():
        match = _NUMBERED.fullmatch(entry.name)
        if match:
            found.append((int(match[1]), entry.read_text(encoding="utf-8")))
    return tuple(sorted(found))


NEWEST: Final = max(number for number, _ in migrations())


def migrate(connection: apsw.Connection) -> None:
    """Apply what is missing, each file in a transaction of its own, safe with several processes starting at once.

    Raises ``StoreUnavailable`` for a store that a newer Remit has written: going back would lose what it added.
    """
    for number, text in migrations():
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) < number:
                connection.execute(text)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has it rolled back already
                connection.execute("ROLLBACK")
            raise
    if _version(connection) > NEWEST:
        raise StoreUnavailable(
            "this store was written by a newer Remit", hint="Use that version, or restore a backup from before it."
        )


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version") or 0)
