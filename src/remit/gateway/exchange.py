"""One HTTP request and the way back to its client: a JSON body, or an event stream once something is to be said before.

What is under way for the client can be given up: when it says so, and in the stateless revisions when it closes the
connection. INVARIANT: only the wait for a server is given up, never what is being recorded. Being watched for its end
costs a connection nothing in the first ``WATCH_AFTER`` seconds, in which most calls are over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from starlette.types import Message, Receive, Send

from remit.core.canonical import Json

WATCH_AFTER: Final = 0.05
SEND_SECONDS: Final = 30.0
"""How long a client may take to read what it was sent before more of it is sent."""
_EVENTS: Final[list[tuple[bytes, bytes]]] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
# In JSON a raw line end stands between tokens only, where a space means the same. In an event it would end a line.
_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")

T = TypeVar("T")


class GivenUp(Exception):
    """What was waited for is not wanted any more; whether it happens all the same is not known."""


class Hearing(Protocol):
    """What a server says on the way to its answer, as one call's stream keeps it."""

    async def heard(self) -> Json:
        """The end of it, before the outcome is recorded: what was shown; None for nothing."""

    def abandon(self) -> None:
        """The end of it, however the call ended."""


async def _silence() -> Message:
    """What is heard of nobody."""
    await asyncio.get_running_loop().create_future()
    return {}


async def _nowhere(message: Message) -> None:
    """Where what is said to nobody goes."""


class Exchange:
    """The way back. Without ``receive`` and ``send`` there is nobody at its end."""

    __slots__ = ("_send", "_task", "_timer", "_watcher", "accept", "given_up", "hearing", "receive", "started")

    def __init__(self, receive: Receive = _silence, send: Send = _nowhere) -> None:
        """Nothing said yet, and nobody watched."""
        self.receive = receive
        self.accept = ""
        self._send = send
        self.started = False
        """Whether an event stream was begun: then it is how the answer goes, too."""
        self.given_up = False
        self.hearing: Hearing | None = None
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    # --------------------------------------------------------------------------------------------- giving up

    async def during(self, waiting: Awaitable[T]) -> T:
        """What ``waiting`` comes to. Raises ``GivenUp`` when it is given up meanwhile."""
        self._task = task = asyncio.current_task()
        caught = False
        try:
            return await waiting
        except asyncio.CancelledError:
            caught = True
            # Cancelled by somebody else as well: theirs is passed on.
            if not self.given_up or task is None or task.uncancel() > 0:
                raise
            raise GivenUp from None
        finally:
            self._task = None
            if self.given_up and not caught and task is not None and task.cancelling():
                task.uncancel()

    def give_up(self) -> None:
        """The client does not want the answer any more."""
        if self.given_up:
            return
        self.given_up = True
        # INVARIANT: the task waits inside ``during`` while ``_task`` is set, so that is where it is cancelled.
        if self._task is not None:
            self._task.cancel()

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone`` when the client closes the connection, until ``unwatch``."""
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._start_watching, gone)

    def unwatch(self) -> None:
        """Look no more. INVARIANT: before the answer is whole, after which an end is only to be expected."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _start_watching(self, gone: Callable[[], None]) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch(gone))

    async def _watch(self, gone: Callable[[], None]) -> None:
        if (await self.receive())["type"] == "http.disconnect":
            gone()

    def hear_no_more(self) -> None:
        """What was heard of a call is that call's: its stream ends with it, however it ended."""
        if self.hearing is not None:
            self.hearing.abandon()
        self.hearing = None

    # ---------------------------------------------------------------------------------------------- event stream

    async def event(self, message: bytes) -> None:
        """One message before the answer. Raises ``TimeoutError`` for a client that does not read."""
        async with asyncio.timeout(SEND_SECONDS):
            if not self.started:
                await self._send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
                self.started = True
            await self._part(message, more=True)

    async def beat(self) -> None:
        """A comment, which says no more than that the stream is alive. Raises as ``event`` does."""
        async with asyncio.timeout(SEND_SECONDS):
            await self._send({"type": "http.response.body", "body": b":\n\n", "more_body": True})

    async def finish(self, message: bytes) -> None:
        """The answer, as the last event. To a client that does not read it, the connection is cut."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._part(message, more=False)
        except TimeoutError:
            return

    async def _part(self, message: bytes, *, more: bool) -> None:
        data = b"event: message\ndata: " + message.translate(_LINE_ENDS) + b"\n\n"
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
