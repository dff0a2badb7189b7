"""Calls that are under way, so that a client can give one up: by closing its connection, or by saying so.

A stateless client gives a call up by closing the connection that it was made on. One with a handshake may lose its
connection and still want the outcome. Either may say ``notifications/cancelled`` (over a pipe nothing else can be
said), which counts for the calls of the very same credential in the very same session, and only if it names exactly
one. A call that is given up before it was sent is not sent; after that its outcome is unknown.
"""

from collections.abc import Mapping
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.gateway import wire
from remit.guards.json_in import parse

CANCELLED: Final = "notifications/cancelled"


class UnderWay:
    """The calls of one process that have no answer yet."""

    def __init__(self) -> None:
        """None yet."""
        # By identity: equal requests are two calls.
        self._calls: dict[SessionCaller, dict[int, wire.Request]] = {}

    def begin(self, caller: SessionCaller, request: wire.Request) -> None:
        """From now on this call can be given up by its client."""
        if request.terms.stateless:
            request.exchange.watch(request.exchange.give_up)
        self._calls.setdefault(caller, {})[id(request)] = request

    def end(self, caller: SessionCaller, request: wire.Request) -> None:
        """The call has its answer, or never will have one."""
        request.exchange.unwatch()
        calls = self._calls[caller]
        del calls[id(request)]
        if not calls:
            del self._calls[caller]

    def cancel(self, caller: SessionCaller, params: Mapping[str, Json]) -> bool:
        """Give up the one call of this caller that was made under this id; none or several are left alone.

        Whether there was one.
        """
        wanted = params.get("requestId")
        if isinstance(wanted, bool) or not isinstance(wanted, (str, int)):
            return False
        found = [one for one in self._calls.get(caller, {}).values() if parse(one.raw_id) == wanted]
        if len(found) == 1:
            found[0].exchange.give_up()
        return bool(found)
