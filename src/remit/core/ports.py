"""Ports: what the services need of the world, each with the promises that a store must keep.

One *unit of work* holds domain rows, session state and events, and all of it becomes durable together or not at all.
The store runs units one after another over the whole store (serialisable), also across processes; a unit sees every
unit that was acknowledged before it began. When ``Store.unit`` is left without an exception, its work is on disk
(SQLite: ``synchronous=FULL``); several units may share one flush (group commit). Inside a unit nothing but the store is
awaited: a unit that waits for anything else would hold up every other.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from remit.core.access import AccessRequest, AccessState
from remit.core.agents import Agent
from remit.core.approvals import Approval, ApprovalState
from remit.core.blueprints import Blueprint
from remit.core.calls import Call, Reservation
from remit.core.canonical import Json, Written
from remit.core.clients import Client
from remit.core.credentials import Key
from remit.core.departures import Departure
from remit.core.events import EventDraft
from remit.core.grants import Grant
from remit.core.people import Person
from remit.core.policies import PolicyRevision
from remit.core.rules import Rule
from remit.core.servers import Server
from remit.core.sessions import FlowState, Session
from remit.core.tools import Definition, Tool, ToolReview

Noun: TypeAlias = (
    Person
    | Agent
    | Server
    | Definition
    | Tool
    | ToolReview
    | Grant
    | Key
    | PolicyRevision
    | Rule
    | Client
    | Departure
    | Blueprint
)
N = TypeVar(
    "N",
    Person,
    Agent,
    Server,
    Definition,
    Tool,
    ToolReview,
    Grant,
    Key,
    PolicyRevision,
    Rule,
    Client,
    Departure,
    Blueprint,
)


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> int:
        """Milliseconds UTC, never earlier than the answer before."""


class Entropy(Protocol):
    """The one source of chance."""

    def bytes(self, count: int) -> bytes:
        """``count`` bytes that nobody can predict."""


class Nouns(Protocol):
    """The registry: rows that change rarely. Every change moves ``epoch``."""

    async def epoch(self) -> int:
        """A number that grows with every registry change of this org; caches carry it."""

    async def get(self, kind: type[N], id: str) -> N | None:
        """The noun with this id, or None."""

    async def named(self, kind: type[N], name: str) -> N | None:
        """The noun with this unique name (e-mail for people, reference for tools), or None."""

    async def all(self, kind: type[N]) -> tuple[N, ...]:
        """Every noun of a kind, by id, retired ones included."""

    async def add(self, noun: Noun) -> None:
        """A new noun. Raises ``NameTaken`` when its id or name was ever used."""

    async def replace(self, noun: Noun) -> None:
        """The same noun with other members. Raises ``NotFound``."""


class Sessions(Protocol):
    """Sessions and the state that a root shares with its children."""

    async def get(self, id: str) -> Session | None:
        """The session, or None."""

    async def add(self, session: Session) -> None:
        """A new session."""

    async def replace(self, session: Session) -> None:
        """The same session in another state."""

    async def of_root(self, root: str) -> tuple[Session, ...]:
        """A root session and all its children."""

    async def standing(self, key: str) -> Session | None:
        """The one standing session of a session key, or None."""

    async def live(self, agent: str | None, key: str | None) -> tuple[Session, ...]:
        """Active sessions that an agent takes part in, or that a key started; of all when both are None."""

    async def lapsed(self, now: int, limit: int) -> tuple[Session, ...]:
        """Sessions that are stored as active although they expired by ``now``, earliest first."""

    async def flow(self, root: str) -> FlowState | None:
        """The flow state of a root session, or None."""

    async def put_flow(self, flow: FlowState) -> None:
        """Write the flow state. Labels are joined by the caller, in the same unit as it read them."""


class Calls(Protocol):
    """Calls and what is reserved for them."""

    async def get(self, session: str, call_id: str) -> Call | None:
        """The call of that session, or None."""

    async def put(self, call: Call) -> None:
        """Write a call, new or changed."""

    async def unfinished(self) -> tuple[Call, ...]:
        """Calls with an intent and no outcome, unknown ones included."""

    async def writers(self, root: str, references: Sequence[str], after: int) -> tuple[int, ...]:
        """The intents after log index ``after`` of this root's calls that may write to one of these references."""

    async def touch(self, root: str, intent: int, references: Sequence[str]) -> None:
        """Remember that the call with this intent may write to these references."""

    async def untouch(self, root: str, intent: int) -> None:
        """Forget that again: the call reached no server."""


class Counters(Protocol):
    """Sums under limits: exact integers in ten-thousandths."""

    async def taken(self, scope: str, name: str, since_bucket: int) -> tuple[int, int]:
        """Spent and reserved under a limit, over the buckets from ``since_bucket`` on."""

    async def reserve(self, item: Reservation) -> None:
        """Hold an amount."""

    async def settle(self, item: Reservation, *, spent: bool) -> None:
        """Turn a held amount into a spent one, or let it go."""


class Approvals(Protocol):
    """Questions to people. Each change of state is one conditional update."""

    async def get(self, id: str) -> Approval | None:
        """The approval, or None."""

    async def add(self, approval: Approval) -> None:
        """A new pending approval."""

    async def move(self, approval: Approval, expected: ApprovalState) -> bool:
        """Write ``approval`` only if its stored state is ``expected``; whether it was."""

    async def about(self, root: str, tool: str, arguments_hash: str) -> tuple[Approval, ...]:
        """Every approval under this root session for this exact call, oldest first."""

    async def list(self, state: ApprovalState | None, limit: int, after: str | None) -> tuple[Approval, ...]:
        """Approvals by id, in one stored state or all."""

    async def of_values(self, root: str) -> tuple[Approval, ...]:
        """Every question about values under a root session, answered or not, oldest first."""

    async def of_texts(self, root: str) -> tuple[Approval, ...]:
        """Every question about adopting a text under a root session, answered or not, oldest first."""

    async def pending_of(self, root: str) -> tuple[Approval, ...]:
        """Pending and approved-but-unused ones of a root session."""


class AccessRequests(Protocol):
    """What was refused and a person could change. At most one is open for an agent, a tool, a code and a rule."""

    async def get(self, id: str) -> AccessRequest | None:
        """The request, or None."""

    async def open_for(self, agent: str, tool: str, code: str, rule: str) -> AccessRequest | None:
        """The one that is stored as open, or None."""

    async def count_open(self, agent: str) -> int:
        """How many of an agent are stored as open."""

    async def put(self, request: AccessRequest) -> None:
        """Write a request, new or changed."""

    async def list(self, state: AccessState | None, limit: int, after: str | None) -> tuple[AccessRequest, ...]:
        """Requests by id, in one stored state or all."""

    async def lapsed(self, now: int, limit: int) -> tuple[AccessRequest, ...]:
        """Those that are stored as open although they expired by ``now``, earliest first."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One leaf and where it stands."""

    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Private:
    """One committed value as it is kept: sealed under the subject's key until that key is destroyed."""

    index: int
    pointer: str
    subject: str
    sealed: bytes


class Log(Protocol):
    """The append-only log of one org. An index is given inside the unit and is never skipped or reused."""

    async def append(self, draft: EventDraft) -> int:
        """Write one event and its sealed private values; the index it got. Raises ``LogUnavailable``."""

    async def size(self) -> int:
        """How many leaves there are."""

    async def read(self, start: int, stop: int) -> tuple[LogEntry, ...]:
        """Leaves ``start`` up to but without ``stop``."""

    async def find(
        self, *, after: int, limit: int, kinds: Sequence[int], session: str | None, agent: str | None
    ) -> tuple[LogEntry, ...]:
        """Leaves with an index above ``after``, oldest first, of these kinds (of all when none is named)."""

    async def private(self, index: int) -> tuple[Private, ...]:
        """The sealed values of one event."""


class Tree(Protocol):
    """Hashes and checkpoints over the log. Signed by whoever holds the signer lease."""

    async def hashes(self, level: int, start: int, stop: int) -> tuple[bytes, ...]:
        """Stored hashes of complete subtrees at a tree level."""

    async def add_hashes(self, level: int, start: int, hashes: Sequence[bytes]) -> None:
        """Append hashes at a level."""

    async def checkpoint(self) -> str | None:
        """The newest signed checkpoint, or None."""

    async def add_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed checkpoint."""


class Secrets(Protocol):
    """Credentials for upstream servers, sealed before they come here."""

    async def get(self, name: str) -> bytes | None:
        """The sealed secret, or None."""

    async def put(self, name: str, sealed: bytes) -> None:
        """Keep a sealed secret, over an older one of that name."""


class KeyUse(Protocol):
    """When a key was last used: a hint for people, kept outside the registry so that it moves no epoch."""

    async def touch(self, key: str, now: int) -> None:
        """Note a use."""

    async def last(self, key: str) -> int | None:
        """The last noted use, or None."""


class Stamps(Protocol):
    """Which records untrusted sessions wrote, by person they worked for: as hashes, so that no row holds a value."""

    async def put(self, whose: str, root: str, marks: Sequence[str]) -> None:
        """Remember that a session under ``root`` wrote these."""

    async def some(self, whose: str, root: str) -> bool:
        """Whether sessions under another root wrote anything for this person."""

    async def among(self, whose: str, root: str, marks: Sequence[str]) -> frozenset[str]:
        """Those of ``marks`` that were written under another root."""

    async def clear(self, whose: str) -> None:
        """Forget them all."""


class Tickets(Protocol):
    """What lives for minutes and is used once or until its end: codes, refresh tokens, sign-ins, marks against replay.

    ``kind`` keeps one use apart from another, ``mark`` names a ticket (a hash, where its key is a secret), ``owner`` is
    whom it belongs to: a person, a client, a session. A ticket past its end is not there, swept or not.
    """

    async def put(self, kind: str, mark: str, owner: str, body: bytes, expires: int) -> None:
        """Write a ticket, new or changed."""

    async def get(self, kind: str, mark: str, now: int) -> bytes | None:
        """The ticket, or None."""

    async def take(self, kind: str, mark: str, now: int) -> bytes | None:
        """The ticket, which is gone then, or None."""

    async def first(self, kind: str, mark: str, now: int, expires: int) -> bool:
        """Whether this mark was not met before; it is remembered until ``expires``."""

    async def of(self, kind: str, owner: str, now: int) -> tuple[tuple[str, bytes], ...]:
        """Mark and body of every ticket of an owner."""

    async def drop(self, kind: str, owner: str) -> None:
        """Forget every ticket of an owner."""

    async def sweep(self, now: int) -> None:
        """Forget what has ended by ``now``."""


class Unit(Protocol):
    """One unit of work over one org."""

    org: str
    nouns: Nouns
    sessions: Sessions
    calls: Calls
    counters: Counters
    approvals: Approvals
    access: AccessRequests
    log: Log
    tree: Tree
    secrets: Secrets
    key_use: KeyUse
    stamps: Stamps
    tickets: Tickets


class Store(Protocol):
    """Where everything is kept. Raises ``StoreUnavailable`` when it can't be reached or written."""

    def unit(self, org: str) -> AbstractAsyncContextManager[Unit]:
        """A read-write unit: durable when left normally, undone when left by an exception."""

    def view(self, org: str) -> AbstractAsyncContextManager[Unit]:
        """A read-only unit over what is committed; writing in it raises."""

    async def close(self) -> None:
        """Finish what is under way and let go of the store."""


class PayloadSealer(Protocol):
    """Seals private values under a key per subject, and can forget that key."""

    def commit(self, org: str, subject: str, index: int, pointer: str, value: Json | Written) -> tuple[str, bytes]:
        """The base64 commitment for the leaf and the sealed (salt, value) for the table beside it."""

    def reveal(self, private: Private, org: str) -> tuple[bytes, bytes] | None:
        """Salt and canonical value bytes, or None when the subject's key was destroyed."""

    def forget(self, org: str, subject: str) -> bool:
        """Destroy the subject's key; whether there was one."""


LogFollower: TypeAlias = AsyncIterator[LogEntry]
