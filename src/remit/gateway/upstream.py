"""Come in here for a connection to an MCP server behind us: the pool that opens them.

Rules
- A connection is handed out only for the key it was opened for: org, server, credential owner, agent session. Where any
  of them differs there is another TCP connection, another ``Mcp-Session-Id``, another child process.
- A changed target (another URL, another credential) opens another connection; the old one serves nobody any more.
- At most so many connections are open, for each server and in all. Whoever needs one more gets the place of the
  connection that was idle longest, of the same server if that is full; where none is idle, ``NotSent``.
- A child that died is started again by the next caller, not before its backoff is over: 1 s, 2 s, 4 s … at most 30 s,
  from 1 s again after a minute of health. Whoever asks sooner gets ``NotSent`` at once; nobody is kept waiting.
- Nothing is retried here. ``NotSent`` tells the caller that a second try is safe; ``OutcomeUnknown`` that it is not.

The two transports are in ``upstream_http.py`` and ``upstream_stdio.py``, their common words in ``upstream_wire.py``,
and the walk over what a server lists in ``upstream_lists.py``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from remit.gateway.upstream_eras import Eras
from remit.gateway.upstream_http import HttpConnection, open_http
from remit.gateway.upstream_lists import list_surfaces, list_tools
from remit.gateway.upstream_stdio import StdioConnection, open_stdio
from remit.gateway.upstream_wire import (
    Connection,
    Counters,
    ErrorReply,
    HttpTarget,
    Limits,
    ListChanged,
    NotSent,
    Now,
    OutcomeUnknown,
    Reply,
    Result,
    Stale,
    StdioTarget,
    Target,
    Unreached,
    UpstreamKey,
)

__all__ = [
    "Backoff",
    "Connection",
    "Counters",
    "ErrorReply",
    "HttpConnection",
    "HttpTarget",
    "Limits",
    "ListChanged",
    "NotSent",
    "Now",
    "OutcomeUnknown",
    "Reply",
    "Result",
    "Stale",
    "StdioConnection",
    "StdioTarget",
    "Target",
    "Unreached",
    "UpstreamKey",
    "Upstreams",
    "list_surfaces",
    "list_tools",
    "open_http",
    "open_stdio",
]

Borrow: TypeAlias = Callable[[UpstreamKey, Target], Awaitable[Connection | None]]
"""The connection of a key as another worker holds it; None where it is to be opened here. Raises ``NotSent``."""

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 30.0
_LATER: Final = "Nothing was acted on; call again in a moment."
HEALTHY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """When a child that failed may be started again; times are seconds of the pool's clock."""

    failures: int = 0
    not_before: float = 0.0

    def after(self, started: float, failed: float) -> "Backoff":
        """The backoff after one more failure, of a child that lived from ``started`` to ``failed``."""
        failures = 1 if failed - started >= HEALTHY_SECONDS else self.failures + 1
        doublings = min(failures - 1, 10)
        return Backoff(failures, failed + min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**doublings))


@dataclass(slots=True)
class _Slot:
    """What the pool knows of one key. At most one of ``connection`` and ``opening`` is set."""

    target: Target
    backoff: Backoff
    connection: Connection | None = None
    opening: "asyncio.Task[Connection | NotSent] | None" = None
    started: float = 0.0

    @property
    def open(self) -> bool:
        return self.connection is not None or self.opening is not None


class Upstreams:
    """The open connections of one process. One event loop owns it; ``aclose`` it before the loop ends."""

    def __init__(
        self,
        now: Now,
        limits: Limits | None = None,
        on_list_changed: Callable[[UpstreamKey], None] | None = None,
        borrow: Borrow | None = None,
    ) -> None:
        """``now`` is a monotonic clock in seconds; ``on_list_changed`` hears of a server's hint, and must not block.

        ``borrow`` is asked first for a connection that another worker holds.
        """
        self._now = now
        self._limits = limits or Limits()
        self._on_list_changed = on_list_changed
        self._borrow = borrow
        self._eras = Eras(now)
        self._slots: dict[UpstreamKey, _Slot] = {}
        self._replaced: list[Connection] = []
        self._closing: set[asyncio.Task[object]] = set()
        self._closed = False
        self._swept = now()

    async def get(self, key: UpstreamKey, target: Target) -> Connection:
        """The live connection of ``key``, opened now if there is none; concurrent callers share one opening.

        Raises ``NotSent``: it can't be opened, its backoff is not over, too many are open, or the pool is closed.
        """
        if self._closed:
            raise NotSent("the gateway is shutting down")
        self._sweep(self._limits.idle_seconds / 4)
        slot = self._slot(key, target)
        if slot.connection is not None:
            slot.connection.usage.touch()
            return slot.connection
        opening = slot.opening or self._start(key, slot)
        # Shielded: one caller that goes away must not take the connection from the others.
        try:
            outcome = await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled() and not _being_cancelled():
                raise NotSent("the connection was closed before it was opened") from None
            raise
        if isinstance(outcome, NotSent):
            raise outcome.again()
        return outcome

    def live(self, key: UpstreamKey, target: Target) -> Connection | None:
        """The open connection of ``key`` for ``target``, if there is one; nothing is opened."""
        slot = self._slots.get(key)
        if slot is None or slot.connection is None or not slot.connection.alive or slot.target != target:
            return None
        slot.connection.usage.touch()
        return slot.connection

    def current(self, key: UpstreamKey) -> Connection | None:
        """The connection that ``key`` has now, whatever its target, dead or alive."""
        slot = self._slots.get(key)
        return None if slot is None else slot.connection

    def keeps_state(self, target: Target) -> bool:
        """Whether a connection to ``target`` may hold state; False where it was seen that it does not."""
        return not (isinstance(target, HttpTarget) and self._eras.stateless(target) is True)

    def forget(self, server: str) -> None:
        """Use no open connection of a server again; calls under way on them may still end."""
        for key in [key for key in self._slots if key.server == server]:
            self._drop(key)

    def keys(self) -> tuple[UpstreamKey, ...]:
        """The keys that have a slot, whether anything is open in it or not."""
        return tuple(self._slots)

    def open_to(self, server: str) -> int:
        """How many connections of a server are open or being opened."""
        return sum(slot.open for key, slot in self._slots.items() if key.server == server)

    async def close_session(self, session: str) -> None:
        """Close all that was opened for one agent session; ``shared`` connections belong to none and stay."""
        await self._close_keys([key for key in self._slots if key.session == session])

    async def close_idle(self) -> None:
        """Close what nobody used for ``Limits.idle_seconds``. ``get`` does it in passing; call it now and then too."""
        self._sweep(0.0)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def aclose(self) -> None:
        """Close everything, and refuse from now on. Idempotent."""
        self._closed = True
        await self._close_keys(list(self._slots))
        for connection in self._replaced:
            self._close(connection)
        self._replaced.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    # ---------------------------------------------------------------- opening

    def _slot(self, key: UpstreamKey, target: Target) -> _Slot:
        """The slot of ``key`` for ``target``, holding no dead connection."""
        slot = self._slots.get(key)
        if slot is not None and slot.target != target:
            self._drop(key)
            slot = None
        if slot is None:
            slot = self._slots[key] = _Slot(target, Backoff())
        if slot.connection is not None and not slot.connection.alive:
            self._close(slot.connection)
            # A child of ours. That of another worker is held back by it.
            if isinstance(slot.connection, StdioConnection):
                died = slot.connection.died_at
                slot.backoff = slot.backoff.after(slot.started, self._now() if died is None else died)
            slot.connection = None
        return slot

    def _start(self, key: UpstreamKey, slot: _Slot) -> "asyncio.Task[Connection | NotSent]":
        wait = slot.backoff.not_before - self._now()
        if wait > 0:
            raise NotSent(f"the server's process failed {slot.backoff.failures} times; next start in {wait:.1f} s")
        self._make_room(key.server)
        slot.started = self._now()
        slot.opening = asyncio.get_running_loop().create_task(self._open(key, slot))
        return slot.opening

    def _make_room(self, server: str) -> None:
        """Let one more connection to ``server`` be opened. Raises ``NotSent`` where all that are open are in use."""
        full = self.open_to(server) >= self._limits.server_connections
        if not full and sum(slot.open for slot in self._slots.values()) < self._limits.connections:
            return
        idle = [
            (slot.connection.usage.last_used, key)
            for key, slot in self._slots.items()
            if slot.connection is not None
            and slot.connection.usage.in_flight == 0
            and (key.server == server or not full)
        ]
        if not idle:
            bound = self._limits.server_connections if full else self._limits.connections
            where = "this server" if full else "all servers"
            raise NotSent(
                f"{bound} connections to {where} are open and in use, which is the bound", hint=_LATER, cause="busy"
            )
        oldest = self._slots.pop(min(idle, key=lambda one: one[0])[1]).connection
        if oldest is not None:
            self._close(oldest)

    async def _open(self, key: UpstreamKey, slot: _Slot) -> Connection | NotSent:
        """Open the connection of ``slot``. A failure is a value, since all callers who share it are to be told."""
        hook, ours = self._hook(key), False
        try:
            slot.connection = await self._borrow(key, slot.target) if self._borrow is not None else None
            ours = slot.connection is None
            if slot.connection is not None:
                slot.connection.on_list_changed = hook
                return slot.connection
            if isinstance(slot.target, StdioTarget):
                slot.connection = await open_stdio(slot.target, self._limits, self._now, hook, self._eras)
            else:
                slot.connection = await open_http(slot.target, self._limits, self._now, hook, self._eras)
        except NotSent as error:
            if not ours:
                return error  # its owner says whether the server could not be reached, and holds a child back
            if isinstance(slot.target, StdioTarget):
                slot.backoff = slot.backoff.after(slot.started, self._now())
            # Whatever it was that failed: the server can't be spoken to.
            return Unreached(error.detail, hint=error.hint, cause=error.cause, last_words=error.last_words)
        except asyncio.CancelledError:
            # Only the pool cancels this task (it shields it from callers), and its callers are owed an answer.
            return NotSent("the connection was closed while it was being opened")
        finally:
            slot.opening = None
        self._drop_of_other_era(slot.target, slot.connection)
        return slot.connection

    def _drop_of_other_era(self, target: Target, newest: Connection) -> None:
        """What was opened before the server changed its era says what it was, and would be compared for ever."""
        others = [key for key, slot in self._slots.items() if slot.target == target and slot.connection is not None]
        for key in others:
            other = self._slots[key].connection
            if other is not None and other.stateless is not newest.stateless:
                self._drop(key)

    def _hook(self, key: UpstreamKey) -> ListChanged | None:
        told = self._on_list_changed
        return None if told is None else lambda: told(key)

    # ---------------------------------------------------------------- closing

    def _drop(self, key: UpstreamKey) -> None:
        """Forget ``key``; calls under way on its connection may still end."""
        slot = self._slots.pop(key)
        if slot.opening is not None:
            slot.opening.cancel()
            self._watch(slot.opening)
        if slot.connection is not None:
            self._replaced.append(slot.connection)

    async def _close_keys(self, keys: list[UpstreamKey]) -> None:
        slots = [self._slots.pop(key) for key in keys]
        openings = [slot.opening for slot in slots if slot.opening is not None]
        for opening in openings:
            opening.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        tasks = [self._close(slot.connection) for slot in slots if slot.connection is not None]
        await asyncio.gather(*tasks)

    def _close(self, connection: Connection) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(connection.aclose())
        self._watch(task)
        return task

    def _watch(self, task: "asyncio.Task[object]") -> None:
        """Keep ``task`` until it is done, so that ``aclose`` can wait for it."""
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _sweep(self, pause: float) -> None:
        """Close idle and replaced connections without calls under way, unless that was done within ``pause``."""
        now = self._now()
        if now - self._swept < pause:
            return
        self._swept = now
        for key, slot in list(self._slots.items()):
            if slot.connection is not None:
                usage = slot.connection.usage
                if usage.in_flight == 0 and now - usage.last_used >= self._limits.idle_seconds:
                    del self._slots[key]
                    self._close(slot.connection)
            elif slot.opening is None and now >= slot.backoff.not_before + HEALTHY_SECONDS:
                del self._slots[key]
        quiet = [connection for connection in self._replaced if connection.usage.in_flight == 0]
        for connection in quiet:
            self._replaced.remove(connection)
            self._close(connection)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
