"""Tickets in SQLite: rows that live for minutes."""

import apsw

_PUT = """
INSERT INTO ticket (org, kind, mark, owner, expires, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET owner = excluded.owner, expires = excluded.expires, body = excluded.body
"""
_FIRST = """
INSERT INTO ticket (org, kind, mark, owner, expires, body) VALUES (?1, ?2, ?3, '', ?4, x'')
ON CONFLICT DO UPDATE SET expires = excluded.expires WHERE ticket.expires <= ?5
"""


class SqliteTickets:
    """See ``core.ports.Tickets``."""

    def __init__(self, connection: apsw.Connection, org: str) -> None:
        """The tickets of one org."""
        self._db = connection
        self._org = org

    async def put(self, kind: str, mark: str, owner: str, body: bytes, expires: int) -> None:
        """Write a ticket."""
        self._db.execute(_PUT, (self._org, kind, mark, owner, expires, body))

    async def get(self, kind: str, mark: str, now: int) -> bytes | None:
        """The ticket."""
        query = "SELECT body FROM ticket WHERE org = ? AND kind = ? AND mark = ? AND expires > ?"
        return self._body(query, kind, mark, now)

    async def take(self, kind: str, mark: str, now: int) -> bytes | None:
        """The ticket, once."""
        query = "DELETE FROM ticket WHERE org = ? AND kind = ? AND mark = ? AND expires > ? RETURNING body"
        return self._body(query, kind, mark, now)

    async def first(self, kind: str, mark: str, now: int, expires: int) -> bool:
        """Whether it was not met before."""
        self._db.execute(_FIRST, (self._org, kind, mark, expires, now))
        return self._db.changes() == 1

    async def of(self, kind: str, owner: str, now: int) -> tuple[tuple[str, bytes], ...]:
        """Those of an owner."""
        query = "SELECT mark, body FROM ticket WHERE org = ? AND kind = ? AND owner = ? AND expires > ? ORDER BY mark"
        return tuple((str(mark), bytes(body)) for mark, body in self._db.execute(query, (self._org, kind, owner, now)))

    async def drop(self, kind: str, owner: str) -> None:
        """Forget those of an owner."""
        self._db.execute("DELETE FROM ticket WHERE org = ? AND kind = ? AND owner = ?", (self._org, kind, owner))

    async def sweep(self, now: int) -> None:
        """Forget what has ended."""
        self._db.execute("DELETE FROM ticket WHERE org = ? AND expires <= ?", (self._org, now))

    def _body(self, query: str, kind: str, mark: str, now: int) -> bytes | None:
        found = self._db.execute(query, (self._org, kind, mark, now)).get
        return None if found is None else bytes(found)
