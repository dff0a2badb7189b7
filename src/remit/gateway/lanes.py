"""Come in here for one server as this process has met it: how it answered of late, and who may call it now.

Rules
- What is kept here is this process's own; another one on the same store learns by itself.
- Only not reaching a server at all counts as a failure in a row: nothing that an agent sends can bring that about, so
  no agent can shut a server to others. A call whose outcome is unknown never counts.
- After ``FAILURES`` in a row the server rests: callers are answered ``NotSent`` at once, for a time that doubles, with
  chance in it. When it is over the next caller tries, alone; the others wait for what it finds.
- So many calls are under way at one server; one more waits a moment, in turn, and is then ``NotSent``.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal

from remit.core.canonical import Json
from remit.core.times import to_text
from remit.gateway.upstream_wire import NotSent, OutcomeUnknown, Unreached

FAILURES: Final = 5
FIRST_REST: Final = 1.0
LONGEST_REST: Final = 30.0
TRIAL: Final = 2.0
"""Seconds that the one who tries has before another may; it may come to nothing, as when its call is refused."""
CONCURRENCY: Final = 256
WAITING: Final = 5.0
"""Seconds that a call waits for its turn. Less than what an intent is given beyond its call's own time."""
_MOST_DOUBLINGS: Final = 10

State = Literal["unused", "well", "failing", "resting"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What a lane is handed: seconds of a monotonic clock, milliseconds UTC, and a fraction from 0 to 1 by chance."""

    now: Callable[[], float]
    wall: Callable[[], int]
    chance: Callable[[], float]


@dataclass(slots=True)
class Lane:
    """The way to one server. One event loop owns it."""

    sources: Sources
    concurrency: int = CONCURRENCY
    in_flight: int = 0
    failures: int = 0
    rests_until: float = 0.0
    last_success: int | None = None
    last_failure: int | None = None
    failure: str | None = None
    _waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)

    def admit(self) -> None:
        """Let a caller on, or raise ``NotSent`` while the server rests."""
        if self.failures < FAILURES:
            return
        now = self.sources.now()
        if now < self.rests_until:
            raise NotSent(
                f"the server could not be reached {self.failures} times in a row",
                hint=f"Nothing was acted on; it is tried again in {self.rests_until - now:.1f} s.",
                cause="resting",
            )
        self.rests_until = now + TRIAL

    def succeeded(self) -> None:
        """The server answered, whatever it said."""
        self.failures = 0
        self.last_success = self.sources.wall()

    def failed(self, error: NotSent | OutcomeUnknown, *, unreached: bool) -> None:
        """It did not; ``unreached`` is whether that counts towards letting it rest."""
        self.last_failure, self.failure = self.sources.wall(), error.detail
        if not unreached:
            return
        self.failures += 1
        if self.failures >= FAILURES:
            longest = min(LONGEST_REST, FIRST_REST * 2.0 ** min(self.failures - FAILURES, _MOST_DOUBLINGS))
            self.rests_until = self.sources.now() + longest * (0.5 + self.sources.chance() / 2)

    def turn(self) -> "Turn":
        """One call's time on this lane, as an async context."""
        return Turn(self)

    def take(self) -> bool:
        """Whether a place is free; it is taken then."""
        if self.in_flight >= self.concurrency or self._waiting:
            return False
        self.in_flight += 1
        return True

    async def wait(self) -> None:
        """Wait for a place, in turn. Raises ``NotSent`` when it takes too long."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(WAITING):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.leave()  # it was given in the very moment
            else:
                with suppress(ValueError):
                    self._waiting.remove(place)
                self.fill()
            if isinstance(error, TimeoutError):
                raise NotSent(
                    f"{self.concurrency} calls are under way at this server, which is the bound",
                    hint="Nothing was acted on; call again when some of them are done.",
                    cause="busy",
                ) from None
            raise

    def leave(self) -> None:
        """Give a place back, or on to who waits longest."""
        self.in_flight -= 1
        self.fill()

    def fill(self) -> None:
        """Give free places to who waits."""
        while self._waiting and self.in_flight < self.concurrency:
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)

    def state(self) -> State:
        """In a word."""
        if self.failures >= FAILURES:
            return "resting"
        if self.failures:
            return "failing"
        return "unused" if self.last_success is None else "well"

    def document(self, connections: int, process: str) -> dict[str, Json]:
        """As people read it."""
        return {
            "state": self.state(),
            "last_success": _time(self.last_success),
            "last_failure": _time(self.last_failure),
            "failure": self.failure,
            "failures": self.failures,
            "connections": connections,
            "in_flight": self.in_flight,
            "process": process,
        }


class Turn:
    """See ``Lane.turn``. What ends it by an exception is noted, and goes on."""

    __slots__ = ("_lane",)

    def __init__(self, lane: Lane) -> None:
        """Not begun yet."""
        self._lane = lane

    async def __aenter__(self) -> None:
        """Take a place, waiting a moment if none is free."""
        if not self._lane.take():
            await self._lane.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        lane = self._lane
        lane.leave()
        if error is None:
            lane.succeeded()
        elif isinstance(error, NotSent | OutcomeUnknown):
            lane.failed(error, unreached=isinstance(error, Unreached))


def _time(at: int | None) -> str | None:
    return to_text(at) if at is not None else None
