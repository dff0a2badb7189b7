"""A call's own stream: what its server says before it answers, checked, labelled, and only then forwarded.

``CallStream.hear`` is told of each message by the upstream connection and must not wait; a task that starts with the
first good frame does the rest. INVARIANT: no frame is sent before its labels are in the session's state, on disk; where
they can't be written, frames are withheld and the call goes on. A slow reader loses frames, never the answer.
"""

import asyncio
import itertools
import secrets
from collections import deque
from typing import Final

import structlog

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.errors import RemitError
from remit.gateway import wire
from remit.gateway.exchange import Exchange
from remit.gateway.frames import LEVEL, LEVELS, TOKEN, Frame, FrameCheck, Wanted, wanted
from remit.guards.secrets import KnownSecrets
from remit.services.deps import Deps
from remit.services.overhear import overhear

WAITING: Final = 64
"""Frames that wait to be sent; further ones are dropped."""
LAST_FRAMES_SECONDS: Final = 1.0
"""How long the answer waits for the frames that came before it."""
LOOK_AGAIN: Final = 1_000
"""Milliseconds after which it is looked again whether the session may still be told anything."""

# So far apart that those of two workers never meet on a connection that they share; all are exact in JavaScript.
_tokens = itertools.count(secrets.randbits(32) << 20)

log = structlog.get_logger()


def stream_of(
    deps: Deps, caller: SessionCaller, call_id: str, request: wire.Request, secrets: KnownSecrets | None
) -> "CallStream | None":
    """The stream of one call, if its client asked for one; the way back holds it until the outcome."""
    asked = wanted(request, request.exchange.accept)
    if asked is None:
        return None
    stream = CallStream(deps, caller, call_id, request.exchange, FrameCheck(asked, _token(asked), secrets))
    request.exchange.hearing = stream
    return stream


class CallStream:
    """What one call's server says, on its way to one client. Made for a client that asked to be told."""

    def __init__(self, deps: Deps, caller: SessionCaller, call_id: str, exchange: Exchange, check: FrameCheck) -> None:
        """Nothing heard yet."""
        self._deps = deps
        self._caller = caller
        self._call_id = call_id
        self._exchange = exchange
        self._check = check
        self._waiting: deque[Frame] = deque()
        self._shown: list[Json] = []
        self._withheld = 0
        self._joined: int | None = None
        self._broken = False
        self._over = False
        self._task: asyncio.Task[None] | None = None

    @property
    def token(self) -> int | None:
        """See ``Hearer``."""
        return self._check.token

    def meta(self, *, stateless: bool) -> dict[str, Json]:
        """What asks the server for what the client asked for. A level can be told a stateless server only."""
        found: dict[str, Json] = {} if self.token is None else {TOKEN: self.token}
        if stateless and self._check.wanted.level is not None:
            found[LEVEL] = LEVELS[self._check.wanted.level]
        return found

    def hear(self, data: bytes) -> None:
        """One message of the server's. Never waits."""
        if self._over:
            self._check.dropped += 1
            return
        frame = self._check.checked(data)
        if frame is None:
            return
        if len(self._waiting) >= WAITING:
            self._check.dropped += 1
            return
        self._waiting.append(frame)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._forward())

    def missed(self, count: int) -> None:
        """See ``Hearer``."""
        self._check.dropped += count

    async def heard(self) -> Json:
        """Let what waits be sent, for a moment; then what was shown, and how many frames were not. None for none."""
        self._over = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=LAST_FRAMES_SECONDS)
            self._task.cancel()
            await asyncio.wait({self._task})
        dropped = self._check.dropped + len(self._waiting)
        self._waiting.clear()
        if not self._shown and not dropped and not self._withheld:
            return None
        return {"shown": list(self._shown), "dropped": dropped, "withheld": self._withheld}

    def abandon(self) -> None:
        """Send nothing more."""
        self._over = True
        if self._task is not None:
            self._task.cancel()

    async def _forward(self) -> None:
        """Send what waits, each when it may be sent; ends when nothing waits."""
        while self._waiting:
            frame = self._waiting.popleft()
            if self._exchange.given_up or self._broken or not await self._may_be_shown():
                self._withheld += 1
                continue
            # Noted first: of a frame that was cut off on its way, the client may have seen all.
            self._shown.append(frame.kept)
            try:
                await self._exchange.event(frame.raw)
            except OSError:  # TimeoutError is one
                self._broken = True

    async def _may_be_shown(self) -> bool:
        """Whether the session lives and, on disk, counts as having seen what a frame may hold."""
        now = self._deps.clock.now()
        if self._joined is not None and now - self._joined < LOOK_AGAIN:
            return True
        try:
            await overhear(self._deps, self._caller, self._call_id)
        except Exception as error:
            if not isinstance(error, RemitError):
                log.exception("frames.withheld", session=self._caller.session, cause=type(error).__name__)
            self._broken = True
            return False
        self._joined = now
        return True


def _token(asked: Wanted) -> int | None:
    """A progress token of ours: unique on every connection."""
    return None if asked.token is None else next(_tokens)
