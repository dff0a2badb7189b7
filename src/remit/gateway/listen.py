"""``subscriptions/listen``: a stateless client is told, on a stream that stays open, when a list that it sees changes.

Answered here and never forwarded. What counts is what this chain sees at this door: a change of a tool that is hidden
from it, or a server's own hint, sends nothing. A subscription ends by itself after a while, when its session or the key
behind it lives no more, when the registry can't be read, and when this process is told to stop; the end is its result.
Updates of single resources are not granted, which the acknowledgement says by leaving them out.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.errors import Unauthenticated, Unavailable
from remit.gateway import wire
from remit.gateway.frames import takes_events
from remit.guards.json_in import as_json
from remit.services.deps import Deps
from remit.services.listing import Sight, look

LOOK_EVERY: Final = 0.5
"""Seconds after which it is looked again: so long may what has ended, or changed, go unnoticed."""
BEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that nobody on the way takes the connection for dead."""
MOST: Final = 256
MOST_OF_SESSION: Final = 4
# What a client asks for, and what it is then sent.
_CHANGED: Final[Mapping[str, str]] = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_RESOURCES: Final = "resourceSubscriptions"
_MARK: Final = b'"_meta":{"io.modelcontextprotocol/subscriptionId":'

Lists: TypeAlias = Mapping[str, Callable[[Sight], Hashable]]
"""By what a client asks for: what it sees of a list, so that two sights of the same list are equal."""


class Listeners:
    """The open subscriptions of one process."""

    def __init__(self, deps: Deps, lasts: float) -> None:
        """``lasts`` is how many seconds a subscription stays open at most."""
        self._deps = deps
        self._lasts = lasts
        self._open: dict[asyncio.Event, str] = {}
        self._leaving = False

    async def serve(self, sight: Sight, request: wire.Request, caller: SessionCaller, lists: Lists) -> bytes:
        """Keep a subscription until it ends; the response that then ends it. Raises ``wire.Fault``."""
        granted = _granted(request.params.get("notifications"), lists)
        if not takes_events(request.exchange.accept):
            raise wire.Fault(wire.INVALID_REQUEST, "a subscription is an event stream, which Accept must name")
        if len(self._open) >= MOST or sum(one == caller.session for one in self._open.values()) >= MOST_OF_SESSION:
            said = f"no more subscriptions can be open at once: {MOST_OF_SESSION} of one session, {MOST} of all"
            raise wire.Fault(wire.INVALID_REQUEST, said)
        wake = asyncio.Event()
        self._open[wake] = caller.session
        request.exchange.watch(wake.set)
        try:
            with suppress(TimeoutError):  # a client that does not read its stream has left it
                await self._keep(sight, request, caller, {name: lists[name] for name in granted}, wake)
        finally:
            del self._open[wake]
            request.exchange.unwatch()
        return wire.result(request.raw_id, b'{"resultType":"complete",' + _MARK + request.raw_id + b"}}")

    def leave(self) -> None:
        """End all of them, and from now on every new one at once: this process is about to stop."""
        self._leaving = True
        for wake in self._open:
            wake.set()

    async def _keep(
        self, sight: Sight, request: wire.Request, caller: SessionCaller, lists: Lists, wake: asyncio.Event
    ) -> None:
        exchange, ident = request.exchange, request.raw_id
        agreed: Json = dict.fromkeys(lists, True)
        await exchange.event(_message("notifications/subscriptions/acknowledged", ident, agreed))
        loop = asyncio.get_running_loop()
        end = loop.time() + self._lasts
        quiet = loop.time()
        known = {name: seen(sight) for name, seen in lists.items()}
        while not self._leaving and not await _woken(wake, min(LOOK_EVERY, end - loop.time())) and loop.time() < end:
            before = sight
            try:
                sight = await look(self._deps, caller)
            except (Unauthenticated, Unavailable):
                return
            changed = [] if sight.same_as(before) else [one for one in lists if lists[one](sight) != known[one]]
            for name in changed:
                known[name] = lists[name](sight)
                await exchange.event(_message(_CHANGED[name], ident))
            if changed:
                quiet = loop.time()
            elif loop.time() - quiet >= BEAT:
                quiet = loop.time()
                await exchange.beat()


async def _woken(wake: asyncio.Event, seconds: float) -> bool:
    """Whether somebody ended the wait."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            await wake.wait()
    return wake.is_set()


def _granted(asked: Json, lists: Lists) -> list[str]:
    """What is granted of what was asked for. Raises ``wire.Fault`` for what is no filter."""
    if not isinstance(asked, Mapping):
        raise wire.Fault(wire.INVALID_PARAMS, "notifications says what is listened for")
    if any(not isinstance(asked.get(name, False), bool) for name in _CHANGED):
        raise wire.Fault(wire.INVALID_PARAMS, "what is listened for is true or false")
    uris = asked.get(_RESOURCES, [])
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise wire.Fault(wire.INVALID_PARAMS, f"{_RESOURCES} is a list of URIs")
    return [name for name in _CHANGED if asked.get(name) is True and name in lists]


def _message(method: str, ident: bytes, agreed: Json = None) -> bytes:
    """A notification that belongs to the subscription of this id."""
    also = b"" if agreed is None else b',"notifications":' + as_json(agreed)
    head = b'{"jsonrpc":"2.0","method":' + as_json(method) + b',"params":{'
    return head + _MARK + ident + b"}" + also + b"}}"
