"""MCP over stdio in front of the gateway: a line that a client writes is posted, and what comes back is lines it reads.

``pump`` knows neither pipes nor HTTP: it is handed bytes as they come, a way to post a message and a way to write a
line. It decides nothing; what a message means, and whether it passes, is the gateway's to say. Whatever goes wrong with
one message is the answer to that message and holds up no other.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec
import structlog

from remit.core.errors import BadInput, RemitError, Unavailable
from remit.core.times import MINUTE, from_text
from remit.gateway import wire
from remit.gateway.revisions import headers_for
from remit.gateway.underway import CANCELLED
from remit.gateway.upstream_http import EventStream
from remit.gateway.upstream_wire import read_message
from remit.guards.json_in import JsonLimits, parse
from remit.sdk.answers import NOT_KNOWN
from remit.sdk.client import RemitClient

AT_ONCE: Final = 32
"""How many messages may wait for their answers; further ones wait for one of these to have it."""
READ_AHEAD: Final = 1_024
"""How many messages may be read and not answered; further ones are not read before."""

# The door has bounds of its own, and the pump those of a line.
_ANY: Final = JsonLimits(max_bytes=1 << 30)
# Of what comes back for one message, and of one event: more than any answer of the gateway's.
_MOST: Final = 1 << 28


class _Wanted(msgspec.Struct, rename={"wanted": "requestId"}):
    wanted: msgspec.Raw


class _Cancelling(msgspec.Struct):
    params: _Wanted


_cancelling = msgspec.json.Decoder(_Cancelling)

Post: TypeAlias = Callable[[bytes], AsyncGenerator[bytes, None]]
Write: TypeAlias = Callable[[bytes], Awaitable[None]]

log = structlog.get_logger()


@dataclass(slots=True)
class SessionDoor:
    """One server of the gateway as one session reaches it, with a token that is renewed before it ends.

    Renewed when it is used within a minute of its end, so that a machine that slept wakes to a good one. Without a
    ``host`` it is not renewed. ``expires`` and ``now`` are milliseconds UTC.
    """

    session: str
    server: str
    client: RemitClient
    host: RemitClient | None
    expires: int
    now: Callable[[], int]
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def post(self, message: bytes) -> AsyncGenerator[bytes, None]:
        """What the gateway says to one message, as it comes; the answer last, nothing where none is due.

        Raises what the renewal and the door raise.
        """
        async with self._renewing:
            if self.host is not None and self.now() >= self.expires - MINUTE:
                fresh = await self.host.renew_token(self.session)
                self.client.use(fresh["token"])
                self.expires = from_text(fresh["token_expires_at"])
        async with self.client.mcp_stream(message, self.server, _headers(message)) as answer:
            if answer is None:
                return
            said = _events(answer.parts, message) if answer.is_stream else _whole(answer.parts)
            async with aclosing(said):
                async for one in said:
                    yield one


def _headers(message: bytes) -> dict[str, str]:
    """What a client over HTTP would have said in headers; of a message that can't be read, nothing."""
    try:
        return headers_for(parse(message, _ANY))
    except BadInput:
        return {}


async def _whole(parts: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """One answer, however many parts it came in."""
    found = bytearray()
    async for part in parts:
        found += part
        _bound(len(found))
    yield bytes(found)


async def _events(parts: AsyncIterable[bytes], message: bytes) -> AsyncGenerator[bytes, None]:
    """What the events of a stream hold, up to the answer to ``message``. Raises ``Unavailable`` if that never comes.

    An answer to something else is nobody's, and is dropped.
    """
    asked = read_message(message)
    wanted = None if asked is None else asked.raw_id()
    events, size = EventStream(), 0
    async for part in parts:
        size += len(part)
        for data in events.feed(part):
            size = 0
            found = read_message(data)
            if found is None or (not isinstance(found.method, str) and found.raw_id() != wanted):
                continue
            yield data
            if not isinstance(found.method, str):
                return
        _bound(size)
    if wanted is not None:
        raise Unavailable("the stream of Remit's answer ended before the answer", hint=NOT_KNOWN)


def _bound(size: int) -> None:
    if size > _MOST:
        raise Unavailable("Remit's answer is longer than any of its answers", hint=NOT_KNOWN)


async def pump(chunks: AsyncIterable[bytes], write: Write, post: Post, limits: JsonLimits) -> None:
    """Post every line of ``chunks`` and write what comes back, until they end and all that was under way is answered.

    A cancellation waits for no room, since it may be what makes some; one of a message that still waits is the end of
    that message. Raises what ``write`` raises: then nobody reads any more.
    """
    ahead, room, writing = asyncio.Semaphore(READ_AHEAD), asyncio.Semaphore(AT_ONCE), asyncio.Lock()
    waiting: dict[bytes, asyncio.Task[None]] = {}

    async def serve(line: bytes | None) -> None:
        async with aclosing(_answers(line, post, limits)) as answers:
            async for answer in answers:
                async with writing:
                    await write(answer + b"\n")

    async def in_turn(line: bytes | None, name: bytes | None) -> None:
        async with room:
            waiting.pop(name or b"", None)
            await serve(line)

    try:
        async with asyncio.TaskGroup() as group:
            async for line in lines(chunks, limits.max_bytes):
                name, cancelled = _names(line)
                if cancelled is not None and cancelled in waiting:
                    waiting.pop(cancelled).cancel()
                elif cancelled is not None:
                    await serve(line)
                else:
                    await ahead.acquire()
                    task = group.create_task(in_turn(line, name))
                    task.add_done_callback(lambda _: ahead.release())
                    waiting |= {name: task} if name is not None else {}
    except ExceptionGroup as several:
        raise several.exceptions[0] from several


def _names(line: bytes | None) -> tuple[bytes | None, bytes | None]:
    """The id of a message, or of the one that it cancels; at most one of them, and none where it can't be read."""
    message = read_message(line) if line is not None else None
    if message is None:
        return None, None
    if message.method != CANCELLED:
        return message.raw_id(), None
    with contextlib.suppress(msgspec.MsgspecError):
        return None, bytes(_cancelling.decode(line or b"").params.wanted)
    return None, b""


async def lines(chunks: AsyncIterable[bytes], bound: int) -> AsyncIterator[bytes | None]:
    """The lines of ``chunks`` that are not blank, without their ends; None for one over ``bound`` bytes.

    Of such a line nothing is kept, and the rest is skipped as it comes. A last line needs no end.
    """
    held, skipping = bytearray(), False
    async for chunk in chunks:
        for place, piece in enumerate(chunk.split(b"\n")):
            if place > 0:
                if held.strip():
                    yield bytes(held)
                held.clear()
                skipping = False
            if skipping:
                continue
            held += piece
            if len(held) > bound:
                held.clear()
                skipping = True
                yield None
    if held.strip():
        yield bytes(held)


async def _answers(line: bytes | None, post: Post, limits: JsonLimits) -> AsyncGenerator[bytes, None]:
    """What is said to one line, each on one line."""
    if line is None:
        text = f"Remit: a message of over {limits.max_bytes} bytes was skipped"
        yield wire.error(b"null", wire.INVALID_REQUEST, text)
        return
    refusal = None
    try:
        async with aclosing(post(line)) as said:
            async for answer in said:
                yield _on_one_line(answer)
    except RemitError as error:
        refusal = _refusal(line, limits, f"Remit: {error.detail}. {error.hint} [{error.code}]")
    except Exception as error:
        # Whatever befell this message must neither leave its client waiting nor take the others along.
        log.exception("wrap.failed", cause=type(error).__name__)
        refusal = _refusal(line, limits, "something went wrong in Remit")
    if refusal is not None:
        yield refusal


def _refusal(line: bytes, limits: JsonLimits, text: str) -> bytes | None:
    """An error under the id of the message in ``line``; None for one that wants no answer."""
    try:
        message = wire.read(parse(line, limits), line)
    except BadInput:
        return wire.error(b"null", wire.INTERNAL_ERROR, text)
    if isinstance(message, wire.Notification):
        return None
    return wire.error(message.raw_id, wire.INTERNAL_ERROR, text)


def _on_one_line(answer: bytes) -> bytes:
    # In JSON a raw line end stands between tokens only, where a space means the same.
    return answer.replace(b"\r", b" ").replace(b"\n", b" ")
