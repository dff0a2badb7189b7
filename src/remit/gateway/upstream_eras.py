"""Come in here for which era of the protocol a server behind us speaks, as far as it is remembered.

A server that speaks both eras is met in the stateless one, because only there can it ask a client for more. So it is
asked ``server/discover`` first, and for a handshake when it does not answer that (MCP 2026-07-28, basic/versioning). An
older server may answer a question that it does not know with an error, with silence, or by ending; which of these it
is, it is made to show once and not at every connection.

Remembered is only what a connection that opened has shown, per target. What is remembered is tried first and never
believed against the server's own answer: a server seen in another era than was agreed to is quarantined all the same.
"""

from typing import Final

from remit.gateway.upstream_wire import Now, Target

MEMORY_SECONDS: Final = 3_600.0
"""After that a server is asked anew, so that one which learned the newer era is met in it."""


class Eras:
    """The eras in which servers were met, by target, for one pool."""

    def __init__(self, now: Now) -> None:
        """Nothing is known yet; ``now`` is a monotonic clock in seconds."""
        self._now = now
        self._known: dict[Target, tuple[bool, float]] = {}

    def stateless(self, target: Target) -> bool | None:
        """Whether ``target`` was met without a handshake of late; None if it was not met."""
        stateless, until = self._known.get(target, (None, 0.0))
        return stateless if self._now() < until else None

    def learn(self, target: Target, *, stateless: bool) -> None:
        """A connection to ``target`` opened in this era."""
        self._known = {known: what for known, what in self._known.items() if self._now() < what[1]}
        self._known[target] = (stateless, self._now() + MEMORY_SECONDS)
