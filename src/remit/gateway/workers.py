"""Come in here for how several workers of one Remit share the servers behind it: each connection has one owner.

A child process, and a session that began with a handshake, hold state for the agent session that they were opened for.
So one worker opens them, their *owner*, and the others have it call for them, over a Unix socket of the home's user.
A call is decided, recorded and closed by the worker that took it; the owner only carries bytes.

Rules
- The owner is found by rendezvous hashing over the key of the connection, so that all workers agree without talking,
  and a worker that is started again owns what it owned. A server whose record bounds ``concurrency`` has one owner for
  all its connections, who keeps the bound.
- Each call has a connection to the owner of its own: to close it is to give the call up, and its end without an answer
  is the owner's end. Before the call was written that is ``NotSent``; from then on ``OutcomeUnknown``.
- A connection is lent under a *loan*: one connection and one state of its lists. When either is another, the owner
  refuses the call as ``Stale``, and who called compares anew. So no call meets a list that changed unseen. A server
  that hints while it lists something is told of instead, since else it could never be listed: who borrowed compares
  again before the next call.

Both ends are this program's own, of one version and one user; what a server sent is passed on in bytes, unread.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from remit.core.credentials import SessionCaller
from remit.gateway.upstream_wire import (
    Cause,
    Counters,
    ErrorReply,
    Hearer,
    ListChanged,
    NotSent,
    Now,
    OutcomeUnknown,
    Reply,
    Result,
    Stale,
    TurnedAway,
    Unreached,
    UpstreamKey,
    Usage,
)

MAX_FRAME: Final = 64 * 1024 * 1024
"""More than the longest reply of a server, and than the longest request."""
TELL_SECONDS: Final = 2.0
"""How long a word to another worker may take."""
_MARGIN: Final = 1.0
_LENGTH: Final = 4
_GONE: Final = "the worker that holds the server's connection ended"


class Open(msgspec.Struct, tag=True, frozen=True):
    """Lend the connection of ``key``, opened now if there is none; ``bounded`` as in ``Workers.owner``."""

    key: UpstreamKey
    bounded: bool


class Lent(msgspec.Struct, tag=True, frozen=True):
    """It is lent under ``loan``; ``here`` is whether the one who asked may as well open one itself."""

    loan: str
    server_info: bytes
    stateless: bool
    here: bool


class Call(msgspec.Struct, tag=True, frozen=True):
    """One call over a lent connection. ``token`` is the progress token of a call whose client wants to hear."""

    key: UpstreamKey
    loan: str
    method: str
    params: bytes | None
    timeout: float
    repeated: dict[str, str] | None
    hears: bool
    token: int | None


class Heard(msgspec.Struct, tag=True, frozen=True):
    """What the server said of the call before its answer."""

    data: bytes


class Missed(msgspec.Struct, tag=True, frozen=True):
    """How much more it said, for which there was no room."""

    count: int


class Answered(msgspec.Struct, tag=True, frozen=True):
    """The server's answer: the bytes of ``result`` or, where ``refused``, of ``error``.

    ``hinted`` is whether it said, while it listed something, that its lists change.
    """

    raw: bytes
    refused: bool
    hinted: bool = False


class Failed(msgspec.Struct, tag=True, frozen=True):
    """No answer. ``kind`` is one of ``FAILURES``."""

    kind: str
    detail: str
    hint: str
    cause: Cause
    last_words: tuple[str, ...] = ()


class Ended(msgspec.Struct, tag=True, frozen=True):
    """An agent session has ended: close what is open for it."""

    session: str


class GiveUp(msgspec.Struct, tag=True, frozen=True):
    """A client gives up a call that it did not make at the worker that tells this; ``params`` are its JSON."""

    caller: SessionCaller
    params: bytes


class Told(msgspec.Struct, tag=True, frozen=True):
    """A word was taken in."""


Asked: TypeAlias = Open | Call | Ended | GiveUp
Said: TypeAlias = Lent | Heard | Missed | Answered | Failed | Told

FAILURES: Final[dict[str, type[NotSent] | type[OutcomeUnknown]]] = {
    kind.__name__: kind for kind in (NotSent, Unreached, Stale, TurnedAway, OutcomeUnknown)
}

asked: Final = msgspec.msgpack.Decoder(Asked)
_said: Final = msgspec.msgpack.Decoder(Said)
_encoder: Final = msgspec.msgpack.Encoder()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame. Raises ``OSError`` or ``asyncio.IncompleteReadError`` where none comes any more."""
    length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
    if length > MAX_FRAME:
        raise ConnectionError("a frame of another worker is too long")
    return await reader.readexactly(length)


async def write_frame(writer: asyncio.StreamWriter, frame: Asked | Said) -> None:
    """Send one frame, waiting until there is room for more. Raises ``OSError``."""
    data = _encoder.encode(frame)
    writer.write(len(data).to_bytes(_LENGTH, "big") + data)
    await writer.drain()


def failure(error: NotSent | OutcomeUnknown) -> Failed:
    """An error as it is said to another worker."""
    words = error.last_words if isinstance(error, NotSent) else ()
    kind = type(error).__name__ if type(error).__name__ in FAILURES else "NotSent"
    return Failed(kind, error.detail, error.hint or "", error.cause, words)


def _raised(failed: Failed) -> NotSent | OutcomeUnknown:
    """The error that another worker met."""
    kind, hint = FAILURES.get(failed.kind, OutcomeUnknown), failed.hint or None
    if issubclass(kind, NotSent):
        return kind(failed.detail, hint=hint, cause=failed.cause, last_words=failed.last_words)
    return kind(failed.detail, hint=hint, cause=failed.cause)


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of one Remit, as one of them sees them: ``index`` of ``count``, with their sockets in ``folder``."""

    index: int
    count: int
    folder: Path

    def socket(self, index: int) -> Path:
        """Where a worker listens to the others."""
        return self.folder / f"{index}.sock"

    def owner(self, key: UpstreamKey, *, bounded: bool) -> int:
        """Who opens the connection of ``key``; ``bounded`` is whether its server's calls are counted."""
        name = f"{key.org}\0{key.server}" + ("" if bounded else f"\0{key.owner}\0{key.session or ''}")
        return max(range(self.count), key=lambda index: hashlib.sha256(f"{index}\0{name}".encode()).digest())

    async def tell(self, word: Ended | GiveUp) -> None:
        """Tell all others. One that can't be told has nothing open, or ends."""
        others = [index for index in range(self.count) if index != self.index]
        await asyncio.gather(*(self._tell(index, word) for index in others))

    async def _tell(self, index: int, word: Ended | GiveUp) -> None:
        with suppress(OSError, EOFError, TimeoutError, msgspec.MsgspecError):
            async with asyncio.timeout(TELL_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.socket(index))
                try:
                    await write_frame(writer, word)
                    await read_frame(reader)
                finally:
                    writer.close()


async def borrow(path: Path, wanted: Open, now: Now, timeout: float) -> "LentConnection | None":
    """The owner's connection as it lends it; None where one may as well be opened here. Raises ``NotSent``."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                await write_frame(writer, wanted)
                said = _said.decode(await read_frame(reader))
            finally:
                writer.close()
    except TimeoutError:
        raise NotSent("the worker that holds the server's connection did not answer in time", cause="hung") from None
    except (OSError, EOFError, msgspec.MsgspecError):
        raise NotSent(_GONE, hint="Nothing was acted on; it is started again: call again in a moment.") from None
    if isinstance(said, Failed):
        error = _raised(said)
        raise error if isinstance(error, NotSent) else NotSent(error.detail, cause=error.cause)
    if not isinstance(said, Lent):
        raise NotSent("another worker answered out of turn")
    return None if said.here else LentConnection(path, wanted.key, said, now)


class LentConnection:
    """A connection that another worker holds, as this one uses it. See ``Connection``."""

    def __init__(self, path: Path, key: UpstreamKey, lent: Lent, now: Now) -> None:
        """As it was lent."""
        self._path = path
        self._key = key
        self._lent = lent
        self._live = True
        # Called for a hint that came while something was listed; any other ends the loan.
        self.on_list_changed: ListChanged | None = None
        self.usage = Usage(now)
        self.counters = Counters()

    @property
    def server_info(self) -> bytes:
        """See ``Connection``."""
        return self._lent.server_info

    @property
    def alive(self) -> bool:
        """See ``Connection``."""
        return self._live

    @property
    def died_at(self) -> float | None:
        """None: its owner knows when, and waits before it opens it again."""
        return None

    @property
    def stateless(self) -> bool:
        """See ``Connection``."""
        return self._lent.stateless

    async def call(
        self,
        method: str,
        params: bytes | None,
        timeout: float,
        repeated: Mapping[str, str] | None = None,
        hearer: Hearer | None = None,
    ) -> Reply:
        """See ``Connection``. Its owner keeps the time; that it answers at all is bounded here."""
        headers = None if repeated is None else dict(repeated)
        hears, token = hearer is not None, None if hearer is None else hearer.token
        call = Call(self._key, self._lent.loan, method, params, timeout, headers, hears, token)
        with self.usage.call():
            try:
                async with asyncio.timeout(timeout + _MARGIN):
                    return await self._called(call, hearer)
            except TimeoutError:
                raise OutcomeUnknown("the worker that holds the server's connection did not answer in time") from None

    async def _called(self, call: Call, hearer: Hearer | None) -> Reply:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            self._live = False
            raise Stale(_GONE) from None
        try:
            await write_frame(writer, call)
            while isinstance(said := _said.decode(await read_frame(reader)), Heard | Missed):
                if hearer is not None and isinstance(said, Heard):
                    hearer.hear(said.data)
                elif hearer is not None and isinstance(said, Missed):
                    hearer.missed(said.count)
        except (OSError, EOFError, msgspec.MsgspecError):
            self._live = False
            raise OutcomeUnknown(_GONE) from None
        finally:
            # Of a call that is under way its owner hears so that nobody waits for it.
            writer.close()
        if isinstance(said, Answered):
            if said.hinted and self.on_list_changed is not None:
                self.on_list_changed()
            return ErrorReply(said.raw) if said.refused else Result(said.raw)
        if not isinstance(said, Failed):
            self._live = False
            raise OutcomeUnknown("another worker answered out of turn")
        error = _raised(said)
        if isinstance(error, Stale):
            self._live = False
        raise error

    async def aclose(self) -> None:
        """Use it no more; its owner closes it when the session ends, or when nobody has used it for long."""
        self._live = False
