"""Calls: what an agent asks to do, and what became of it between intent and outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from remit.core.canonical import Json, Written, canonical
from remit.core.inputs import Inputs

CallState: TypeAlias = Literal["denied", "asked", "open", "done", "failed", "unknown"]
OutcomeKind: TypeAlias = Literal["done", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class ProposedCall:
    """One call as the caller put it: its own id for it, the tool's reference, the parsed arguments.

    ``inputs`` are what its server asked for in the middle of it, with the answers: arguments too.
    """

    call_id: str
    tool: str
    arguments: Mapping[str, Json]
    inputs: Inputs | None = None

    def written(self) -> Written:
        """The canonical bytes of all that is decided on. With answers an array, which no arguments are."""
        if self.inputs is None:
            return Written(canonical(self.arguments))
        return Written(canonical([self.arguments, self.inputs.document()]))


def parts_of(written: Json) -> dict[str, Json]:
    """Such bytes, parsed, by name: ``arguments``, and ``inputs`` where there are any."""
    if isinstance(written, list):
        return {"arguments": written[0], "inputs": written[1]}
    return {"arguments": written}


@dataclass(frozen=True, slots=True)
class Reservation:
    """An amount held under one limit. ``scope`` is the root session's or the grant's id; ``bucket`` a minute, or 0.

    One that ``proves`` is what a rule lets later calls stand on: it is spent only by a call that was done.
    """

    grant: str
    scope: str
    name: str
    bucket: int
    amount: int
    proves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one session as the store keeps it. ``answer`` is the Decision as it was given, in JSON bytes."""

    org: str
    session: str
    call_id: str
    root: str
    tool: str
    fingerprint: str | None
    arguments_hash: str
    state: CallState
    answer: bytes
    intent: int | None
    instance: str | None  # the process that forwards it; None when the caller does
    deadline: int
    reservations: tuple[Reservation, ...] = ()
    approval: str | None = None
    stopped: int | None = None  # the event that its session was killed while it was under way

    @property
    def server(self) -> str:
        """The slug of the server that it goes to."""
        return self.tool.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the forwarding side saw. ``result`` is the CallToolResult as parsed; ``error`` the protocol error, if any.

    ``failed`` says that the call was not done, and releases what was reserved. ``not_acted`` is true only where no
    byte of the request can have been acted on: then nothing was shown to the agent either. ``heard`` is what the server
    said on the way that was shown, and how much of it was not.
    """

    kind: OutcomeKind
    result: Json = None
    error: Json = None
    not_acted: bool = False
    may_have_acted: bool = False  # an error that came after the request was taken up: it stays spent
    heard: Json = None
