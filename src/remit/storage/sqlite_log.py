"""The log and its tree in SQLite: leaves get their index inside the unit, from one row per org."""

from collections.abc import Sequence

import apsw

from remit.core.errors import LogUnavailable
from remit.core.events import EventDraft, leaf
from remit.core.ports import Clock, LogEntry, PayloadSealer, Private

_NEXT = """
INSERT INTO org (org, next_index) VALUES (?, 1)
ON CONFLICT (org) DO UPDATE SET next_index = next_index + 1 RETURNING next_index - 1
"""
_LEAF = "INSERT INTO leaf (org, idx, kind, session, agent, data) VALUES (?, ?, ?, ?, ?, ?)"
_PRIVATE = "INSERT INTO private (org, idx, pointer, subject, sealed) VALUES (?, ?, ?, ?, ?)"


class SqliteLog:
    """See ``core.ports.Log``."""

    def __init__(self, connection: apsw.Connection, org: str, clock: Clock, sealer: PayloadSealer) -> None:
        """The log of one org."""
        self._db = connection
        self._org = org
        self._clock = clock
        self._sealer = sealer

    async def append(self, draft: EventDraft) -> int:
        """Write one event; its index. Raises ``LogUnavailable``."""
        try:
            # A savepoint, so that a unit that goes on after a refused event has taken no index for it.
            with self._db:
                index = self._append(draft)
        except (apsw.Error, OSError) as error:
            raise LogUnavailable(str(error)) from error
        return index

    def _append(self, draft: EventDraft) -> int:
        index = int(self._db.execute(_NEXT, (self._org,)).get)
        commitments = {}
        for pointer, value in draft.private.items():
            commitment, sealed = self._sealer.commit(self._org, draft.subject, index, pointer, value)
            commitments[pointer] = commitment
            self._db.execute(_PRIVATE, (self._org, index, pointer, draft.subject, sealed))
        data = leaf(draft, org=self._org, index=index, now=self._clock.now(), commitments=commitments)
        self._db.execute(_LEAF, (self._org, index, int(draft.kind), draft.session, draft.agent, data))
        return index

    async def size(self) -> int:
        """How many leaves there are."""
        found = self._db.execute("SELECT next_index FROM org WHERE org = ?", (self._org,)).get
        return int(found or 0)

    async def read(self, start: int, stop: int) -> tuple[LogEntry, ...]:
        """Leaves ``start`` up to but without ``stop``."""
        rows = self._db.execute(
            "SELECT idx, data FROM leaf WHERE org = ? AND idx >= ? AND idx < ? ORDER BY idx", (self._org, start, stop)
        )
        return tuple(LogEntry(index, data) for index, data in rows)

    async def find(
        self, *, after: int, limit: int, kinds: Sequence[int], session: str | None, agent: str | None
    ) -> tuple[LogEntry, ...]:
        """Leaves above ``after`` that fit, oldest first."""
        wanted, values = ["org = ?", "idx > ?"], [self._org, after]
        if kinds:
            wanted.append(f"kind IN ({','.join('?' * len(kinds))})")
            values += [int(kind) for kind in kinds]
        for column, value in (("session", session), ("agent", agent)):
            if value is not None:
                wanted.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT idx, data FROM leaf WHERE {' AND '.join(wanted)} ORDER BY idx LIMIT ?"
        return tuple(LogEntry(index, data) for index, data in self._db.execute(query, (*values, limit)))

    async def private(self, index: int) -> tuple[Private, ...]:
        """The sealed values of one event."""
        rows = self._db.execute(
            "SELECT pointer, subject, sealed FROM private WHERE org = ? AND idx = ?", (self._org, index)
        )
        return tuple(Private(index, pointer, subject, sealed) for pointer, subject, sealed in rows)


class SqliteTree:
    """See ``core.ports.Tree``."""

    def __init__(self, connection: apsw.Connection, org: str) -> None:
        """The tree of one org."""
        self._db = connection
        self._org = org

    async def hashes(self, level: int, start: int, stop: int) -> tuple[bytes, ...]:
        """Stored hashes of complete subtrees."""
        rows = self._db.execute(
            "SELECT hash FROM tree_hash WHERE org = ? AND level = ? AND idx >= ? AND idx < ? ORDER BY idx",
            (self._org, level, start, stop),
        )
        return tuple(row[0] for row in rows)

    async def add_hashes(self, level: int, start: int, hashes: Sequence[bytes]) -> None:
        """Append hashes at a level."""
        self._db.executemany(
            "INSERT INTO tree_hash (org, level, idx, hash) VALUES (?, ?, ?, ?)",
            [(self._org, level, start + offset, value) for offset, value in enumerate(hashes)],
        )

    async def checkpoint(self) -> str | None:
        """The newest signed checkpoint."""
        query = "SELECT note FROM checkpoint WHERE org = ? ORDER BY size DESC LIMIT 1"
        found = self._db.execute(query, (self._org,)).get
        return None if found is None else str(found)

    async def add_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed checkpoint."""
        self._db.execute("INSERT INTO checkpoint (org, size, note) VALUES (?, ?, ?)", (self._org, size, note))
