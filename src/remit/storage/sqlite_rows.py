"""Domain rows and session state in SQLite: the registry, sessions, calls, counters, approvals, secrets."""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import apsw

from remit.core.access import AccessRequest, AccessState
from remit.core.agents import Agent
from remit.core.approvals import Approval, ApprovalState
from remit.core.blueprints import Blueprint
from remit.core.calls import Call, Reservation
from remit.core.clients import Client
from remit.core.errors import NameTaken, NotFound
from remit.core.people import Person
from remit.core.ports import N, Noun
from remit.core.rules import Rule
from remit.core.servers import Server
from remit.core.sessions import FlowState, Session
from remit.core.tools import Tool
from remit.storage.codec import dumps, loads

T = TypeVar("T")


class _Rows:
    """A connection and the org that every statement begins with."""

    def __init__(self, connection: apsw.Connection, org: str) -> None:
        self._db = connection
        self._org = org

    def _one(self, kind: type[T], query: str, *values: object) -> T | None:
        try:
            found = self._db.execute(query, (self._org, *values)).get
        except UnicodeEncodeError:
            return None  # text without UTF-8 bytes (an argument of a shell may be such) never was stored
        return None if found is None else loads(found, kind)

    def _many(self, kind: type[T], query: str, *values: object) -> tuple[T, ...]:
        rows = self._db.execute(query, (self._org, *values))
        return tuple(loads(row[0], kind) for row in rows)


def _name(noun: Noun) -> str | None:
    """What this noun is called, where names are unique."""
    match noun:
        case Person():
            return noun.email
        case Agent() | Server() | Rule() | Client() | Blueprint():
            return noun.name
        case Tool():
            return noun.ref
        case _:
            return None


class SqliteNouns(_Rows):
    """See ``core.ports.Nouns``."""

    async def epoch(self) -> int:
        """Grows with every registry change."""
        return int(self._db.execute("SELECT epoch FROM org WHERE org = ?", (self._org,)).get or 0)

    async def get(self, kind: type[N], id: str) -> N | None:
        """The noun with this id."""
        return self._one(kind, "SELECT body FROM noun WHERE org = ? AND kind = ? AND id = ?", kind.__name__, id)

    async def named(self, kind: type[N], name: str) -> N | None:
        """The noun with this unique name."""
        return self._one(kind, "SELECT body FROM noun WHERE org = ? AND kind = ? AND name = ?", kind.__name__, name)

    async def all(self, kind: type[N]) -> tuple[N, ...]:
        """Every noun of a kind, by id."""
        return self._many(kind, "SELECT body FROM noun WHERE org = ? AND kind = ? ORDER BY id", kind.__name__)

    async def add(self, noun: Noun) -> None:
        """A new noun. Raises ``NameTaken``."""
        name = _name(noun)
        try:
            self._db.execute(
                "INSERT INTO noun (org, kind, id, name, body) VALUES (?, ?, ?, ?, ?)",
                (self._org, type(noun).__name__, noun.id, name, dumps(noun)),
            )
        except apsw.ConstraintError as error:
            raise NameTaken(f"{type(noun).__name__.lower()} {name or noun.id!r} exists or existed already") from error
        self._advance()

    async def replace(self, noun: Noun) -> None:
        """The same noun with other members; its name stays. Raises ``NotFound``, also for another name."""
        self._db.execute(
            "UPDATE noun SET body = ? WHERE org = ? AND kind = ? AND id = ? AND name IS ?",
            (dumps(noun), self._org, type(noun).__name__, noun.id, _name(noun)),
        )
        if self._db.changes() != 1:
            raise NotFound(f"there is no {type(noun).__name__.lower()} {noun.id}")
        self._advance()

    def _advance(self) -> None:
        # INVARIANT: an epoch that was undone is not given again, or a cache made inside the undone unit would be taken
        # for the next change's. So it grows by a random step, and equality means the same change.
        self._db.execute(
            "INSERT INTO org (org, epoch) VALUES (?, 1 + (random() & 0xffffffff)) "
            "ON CONFLICT (org) DO UPDATE SET epoch = epoch + excluded.epoch",
            (self._org,),
        )


class SqliteSessions(_Rows):
    """See ``core.ports.Sessions``."""

    async def get(self, id: str) -> Session | None:
        """The session."""
        return self._one(Session, "SELECT body FROM session WHERE org = ? AND id = ?", id)

    async def add(self, session: Session) -> None:
        """A new session."""
        self._db.execute(
            "INSERT INTO session (org, id, root, key, state, standing, expires, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._org,
                session.id,
                session.root,
                session.key,
                session.state,
                int(session.standing),
                session.expires,
                dumps(session),
            ),
        )

    async def replace(self, session: Session) -> None:
        """The same session in another state."""
        self._db.execute(
            "UPDATE session SET state = ?, standing = ?, expires = ?, body = ? WHERE org = ? AND id = ?",
            (
                session.state,
                int(session.standing),
                session.expires,
                dumps(session),
                self._org,
                session.id,
            ),
        )

    async def of_root(self, root: str) -> tuple[Session, ...]:
        """A root and its children."""
        return self._many(Session, "SELECT body FROM session WHERE org = ? AND root = ? ORDER BY id", root)

    async def standing(self, key: str) -> Session | None:
        """The standing session of a key."""
        return self._one(Session, "SELECT body FROM session WHERE org = ? AND key = ? AND standing = 1", key)

    async def live(self, agent: str | None, key: str | None) -> tuple[Session, ...]:
        """Active sessions of an agent or a key, or all."""
        if key is not None:
            query = "SELECT body FROM session WHERE org = ? AND key = ? AND state = 'active' ORDER BY id"
            found = self._many(Session, query, key)
        else:
            query = "SELECT body FROM session WHERE org = ? AND state = 'active' ORDER BY id"
            found = self._many(Session, query)
        return tuple(session for session in found if agent is None or agent in session.chain)

    async def lapsed(self, now: int, limit: int) -> tuple[Session, ...]:
        """Sessions that are stored as active and expired by ``now``."""
        query = "SELECT body FROM session WHERE org = ? AND state = 'active' AND expires <= ? ORDER BY expires LIMIT ?"
        return self._many(Session, query, now, limit)

    async def flow(self, root: str) -> FlowState | None:
        """The flow state of a root."""
        return self._one(FlowState, "SELECT body FROM flow WHERE org = ? AND root = ?", root)

    async def put_flow(self, flow: FlowState) -> None:
        """Write the flow state."""
        self._db.execute(
            "INSERT INTO flow (org, root, body) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
            (self._org, flow.root, dumps(flow)),
        )


class SqliteCalls(_Rows):
    """See ``core.ports.Calls``."""

    async def get(self, session: str, call_id: str) -> Call | None:
        """One call."""
        return self._one(Call, "SELECT body FROM call WHERE org = ? AND session = ? AND call_id = ?", session, call_id)

    async def put(self, call: Call) -> None:
        """Write a call."""
        self._db.execute(
            "INSERT INTO call (org, session, call_id, state, body) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET state = excluded.state, body = excluded.body",
            (self._org, call.session, call.call_id, call.state, dumps(call)),
        )

    async def unfinished(self) -> tuple[Call, ...]:
        """Open and unknown calls."""
        return self._many(Call, "SELECT body FROM call WHERE org = ? AND state IN ('open', 'unknown')")

    async def writers(self, root: str, references: Sequence[str], after: int) -> tuple[int, ...]:
        """Who touched one of these references after an event."""
        if not references:
            return ()
        query = (
            "SELECT DISTINCT intent FROM touched WHERE org = ? AND root = ? AND intent > ? "
            f"AND reference IN ({','.join('?' * len(references))}) ORDER BY intent"
        )
        return tuple(int(intent) for (intent,) in self._db.execute(query, (self._org, root, after, *references)))

    async def touch(self, root: str, intent: int, references: Sequence[str]) -> None:
        """Remember what a call may write to."""
        self._db.executemany(
            "INSERT OR IGNORE INTO touched (org, root, reference, intent) VALUES (?, ?, ?, ?)",
            [(self._org, root, reference, intent) for reference in references],
        )

    async def untouch(self, root: str, intent: int) -> None:
        """Forget what a call might have touched."""
        self._db.execute(
            "DELETE FROM touched WHERE org = ? AND root = ? AND intent = ?",
            (self._org, root, intent),
        )


class SqliteCounters(_Rows):
    """See ``core.ports.Counters``."""

    async def taken(self, scope: str, name: str, since_bucket: int) -> tuple[int, int]:
        """Spent and reserved."""
        row = self._db.execute(
            "SELECT coalesce(sum(spent), 0), coalesce(sum(reserved), 0) FROM counter "
            "WHERE org = ? AND scope = ? AND name = ? AND bucket >= ?",
            (self._org, scope, name, since_bucket),
        ).fetchone()
        spent, reserved = row or (0, 0)
        return int(spent), int(reserved)

    async def reserve(self, item: Reservation) -> None:
        """Hold an amount."""
        self._db.execute(
            "INSERT INTO counter (org, scope, name, bucket, reserved) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET reserved = reserved + excluded.reserved",
            (self._org, item.scope, item.name, item.bucket, item.amount),
        )

    async def settle(self, item: Reservation, *, spent: bool) -> None:
        """Spend or release a held amount."""
        self._db.execute(
            "UPDATE counter SET reserved = reserved - ?1, spent = spent + ?2 "
            "WHERE org = ?3 AND scope = ?4 AND name = ?5 AND bucket = ?6",
            (item.amount, item.amount if spent else 0, self._org, item.scope, item.name, item.bucket),
        )


_APPROVAL: Final = "SELECT body FROM approval WHERE org = ? "


_OF_KIND: Final = "AND root = ? AND json_extract(CAST(body AS TEXT), '$.kind') = ? ORDER BY id"


class SqliteApprovals(_Rows):
    """See ``core.ports.Approvals``."""

    async def get(self, id: str) -> Approval | None:
        """One approval."""
        return self._one(Approval, _APPROVAL + "AND id = ?", id)

    async def add(self, approval: Approval) -> None:
        """A new question."""
        self._db.execute(
            "INSERT INTO approval (org, id, state, session, root, tool, arguments_hash, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._org,
                approval.id,
                approval.state,
                approval.session,
                approval.root,
                approval.tool,
                approval.arguments_hash,
                dumps(approval),
            ),
        )

    async def move(self, approval: Approval, expected: ApprovalState) -> bool:
        """Change the state if it is still the expected one."""
        self._db.execute(
            "UPDATE approval SET state = ?, body = ? WHERE org = ? AND id = ? AND state = ?",
            (approval.state, dumps(approval), self._org, approval.id, expected),
        )
        return self._db.changes() == 1

    async def about(self, root: str, tool: str, arguments_hash: str) -> tuple[Approval, ...]:
        """Every approval of one exact call."""
        where = "AND root = ? AND tool = ? AND arguments_hash = ? ORDER BY id"
        return self._many(Approval, _APPROVAL + where, root, tool, arguments_hash)

    async def list(self, state: ApprovalState | None, limit: int, after: str | None) -> tuple[Approval, ...]:
        """Approvals by id."""
        where = "AND id > ? AND (?3 IS NULL OR state = ?3) ORDER BY id LIMIT ?4"
        return self._many(Approval, _APPROVAL + where, after or "", state, limit)

    async def of_values(self, root: str) -> tuple[Approval, ...]:
        """Questions about values of a root session."""
        return self._many(Approval, _APPROVAL + _OF_KIND, root, "value")

    async def of_texts(self, root: str) -> tuple[Approval, ...]:
        """Questions about texts of a root session."""
        return self._many(Approval, _APPROVAL + _OF_KIND, root, "text")

    async def pending_of(self, root: str) -> tuple[Approval, ...]:
        """Unanswered or unused ones of a root session."""
        return self._many(Approval, _APPROVAL + "AND root = ? AND state IN ('pending', 'approved')", root)


_ACCESS: Final = "SELECT body FROM access_request WHERE org = ? "


class SqliteAccessRequests(_Rows):
    """See ``core.ports.AccessRequests``."""

    async def get(self, id: str) -> AccessRequest | None:
        """One request."""
        return self._one(AccessRequest, _ACCESS + "AND id = ?", id)

    async def open_for(self, agent: str, tool: str, code: str, rule: str) -> AccessRequest | None:
        """The open one of an agent, a tool and a rule."""
        where = "AND agent = ? AND tool = ? AND code = ? AND rule = ? AND state = 'open'"
        return self._one(AccessRequest, _ACCESS + where, agent, tool, code, rule)

    async def count_open(self, agent: str) -> int:
        """How many of an agent are open."""
        query = "SELECT count(*) FROM access_request WHERE org = ? AND agent = ? AND state = 'open'"
        return int(self._db.execute(query, (self._org, agent)).get)

    async def put(self, request: AccessRequest) -> None:
        """Write a request."""
        one = request
        self._db.execute(
            "INSERT INTO access_request (org, id, agent, tool, code, rule, state, expires, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org, id) "
            "DO UPDATE SET state = excluded.state, expires = excluded.expires, body = excluded.body",
            (self._org, one.id, one.agent, one.tool, one.code, one.rule, one.state, one.expires, dumps(one)),
        )

    async def list(self, state: AccessState | None, limit: int, after: str | None) -> tuple[AccessRequest, ...]:
        """Requests by id."""
        where = "AND id > ? AND (?3 IS NULL OR state = ?3) ORDER BY id LIMIT ?4"
        return self._many(AccessRequest, _ACCESS + where, after or "", state, limit)

    async def lapsed(self, now: int, limit: int) -> tuple[AccessRequest, ...]:
        """Those whose time is over."""
        where = "AND state = 'open' AND expires <= ? ORDER BY expires LIMIT ?"
        return self._many(AccessRequest, _ACCESS + where, now, limit)


class SqliteSecrets(_Rows):
    """See ``core.ports.Secrets``."""

    async def get(self, name: str) -> bytes | None:
        """A sealed secret."""
        found: Any = self._db.execute("SELECT sealed FROM secret WHERE org = ? AND name = ?", (self._org, name)).get
        return None if found is None else bytes(found)

    async def put(self, name: str, sealed: bytes) -> None:
        """Keep a sealed secret."""
        self._db.execute(
            "INSERT INTO secret (org, name, sealed) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET sealed = excluded.sealed",
            (self._org, name, sealed),
        )


class SqliteKeyUse(_Rows):
    """See ``core.ports.KeyUse``."""

    async def touch(self, key: str, now: int) -> None:
        """Note a use."""
        self._db.execute(
            "INSERT INTO key_use (org, key, used) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used",
            (self._org, key, now),
        )

    async def last(self, key: str) -> int | None:
        """The last use."""
        found = self._db.execute("SELECT used FROM key_use WHERE org = ? AND key = ?", (self._org, key)).get
        return None if found is None else int(found)


class SqliteStamps(_Rows):
    """See ``core.ports.Stamps``."""

    async def put(self, whose: str, root: str, marks: Sequence[str]) -> None:
        """Remember these."""
        self._db.executemany(
            "INSERT INTO stamp (org, whose, mark, root) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(self._org, whose, mark, root) for mark in marks],
        )

    async def some(self, whose: str, root: str) -> bool:
        """Whether there are any of other roots."""
        found = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM stamp WHERE org = ? AND whose = ? AND root <> ?)", (self._org, whose, root)
        ).get
        return bool(found)

    async def among(self, whose: str, root: str, marks: Sequence[str]) -> frozenset[str]:
        """Those of other roots."""
        found = self._db.execute(
            "SELECT DISTINCT mark FROM stamp WHERE org = ? AND whose = ? AND root <> ?"
            " AND mark IN (SELECT value FROM json_each(?))",
            (self._org, whose, root, json.dumps(list(marks))),
        )
        return frozenset(str(row[0]) for row in found)

    async def clear(self, whose: str) -> None:
        """Forget them."""
        self._db.execute("DELETE FROM stamp WHERE org = ? AND whose = ?", (self._org, whose))
