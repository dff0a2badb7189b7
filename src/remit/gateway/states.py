"""Come in here for the ``requestState`` that a client is given: what it holds, for whom it opens, and for how long.

Everything that Remit must know when a client calls again travels in it, sealed, so that nothing is kept here and any
process can take the call up. It opens for the agent and session that it was given to, and is held against the call that
comes with it: method, name and arguments. A server's own state is inside of ours and never beside it.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json, canonical, digest
from remit.core.credentials import SessionCaller
from remit.core.errors import BadInput, StoreUnavailable
from remit.core.times import from_text
from remit.gateway import wire
from remit.guards.json_in import parse
from remit.services.deps import Deps

STATE: Final = "requestState"
MAX_STATE: Final = 262_144
"""Room for a server's questions, its state and the answers, each at its bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One time that a server asked. ``id`` is made once for it, so that its answers are passed on once.

    ``after`` is the hash of the call in whose course it asked, ``state`` the server's own. ``answers`` are there once
    the client gave them and a person was asked about them.
    """

    id: str
    after: str
    fingerprint: str
    asked: Mapping[str, Json]
    state: str | None
    answers: Mapping[str, Json] | None = None

    def document(self) -> dict[str, Json]:
        """As it is sealed."""
        return {
            "id": self.id,
            "after": self.after,
            "fingerprint": self.fingerprint,
            "asked": self.asked,
            "state": self.state,
            "answers": self.answers,
        }


@dataclass(frozen=True, slots=True)
class Held:
    """What a good state says: ``round`` of a server's questions, if any; whether a person was asked."""

    round: Round | None
    person: bool


def seal(deps: Deps, caller: SessionCaller, bound: Mapping[str, Json], round: Round | None, *, person: bool) -> str:
    """A state for the call that ``bound`` describes: see ``binding``, with ``until``."""
    facts: Json = {**bound, "round": round.document() if round else None, "person": person}
    return base64.urlsafe_b64encode(deps.box.seal(canonical(facts), _place(caller))).decode()


def binding(request: wire.Request, ref: str, until: str) -> dict[str, Json]:
    """What of a call its state is held against, and until when."""
    return {"method": request.method, "name": ref, "params": _subject(request), "until": until}


def opened(deps: Deps, caller: SessionCaller, request: wire.Request, ref: str) -> Held | None:
    """What the state of a request says; None for a request without one. Raises ``wire.Fault`` for another call's."""
    if not request.terms.stateless or STATE not in request.params:
        return None
    state = request.params[STATE]
    found = _unsealed(deps, caller, state) if isinstance(state, str) and len(state) <= MAX_STATE else None
    wanted = (request.method, ref, _subject(request))
    if found is None or (found.get("method"), found.get("name"), found.get("params")) != wanted:
        raise wire.Fault(wire.INVALID_PARAMS, "requestState is not what this call was given")
    if deps.clock.now() >= from_text(str(found.get("until"))):
        raise wire.Fault(wire.INVALID_PARAMS, "requestState is too old; call again without it")
    sealed = found.get("round")
    return Held(_round(sealed) if isinstance(sealed, Mapping) else None, found.get("person") is True)


def _subject(request: wire.Request) -> str:
    """The hash of what is asked for, beside its name: the arguments."""
    return digest(canonical(request.params.get("arguments", {})))


def _round(sealed: Mapping[str, Json]) -> Round:
    asked, answers, state = sealed.get("asked"), sealed.get("answers"), sealed.get("state")
    return Round(
        id=str(sealed.get("id")),
        after=str(sealed.get("after")),
        fingerprint=str(sealed.get("fingerprint")),
        asked=asked if isinstance(asked, Mapping) else {},
        state=state if isinstance(state, str) else None,
        answers=answers if isinstance(answers, Mapping) else None,
    )


def _unsealed(deps: Deps, caller: SessionCaller, state: str) -> Mapping[str, Json] | None:
    try:
        found = parse(deps.box.open(base64.b64decode(state.encode(), altchars=b"-_", validate=True), _place(caller)))
    except (binascii.Error, ValueError, BadInput, StoreUnavailable):
        return None
    return found if isinstance(found, Mapping) else None


def _place(caller: SessionCaller) -> bytes:
    """Sealed for one agent in one session: handed to another, it does not open."""
    return canonical(["remit/v1/request-state", caller.org, caller.agent, caller.session])
