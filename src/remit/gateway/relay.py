"""Come in here for a call in whose course its server asks the client for something: one round of it, out and back.

Out: the server's result asks for more. What of it may pass is in ``questions.py``; it is recorded as the result of that
round, and the client is given it with a state of ours in which the server's own is sealed (``states.py``).

Back: the client calls again with answers and state. That is another call: it is decided, reserved and recorded like
any, with the answers among its arguments, and what is forwarded is what was decided. INVARIANT: one round is answered
once. The id of the call that answers comes from the round and not from the client, so a second one finds the first.

Nothing here knows which method it is about: it takes a request, the name that it stands for and what was decided on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from remit.core.canonical import Json, canonical
from remit.core.credentials import SessionCaller
from remit.core.ids import RANDOM_BYTES, digits_of
from remit.core.inputs import Inputs
from remit.core.servers import Server
from remit.core.times import MINUTE, to_text
from remit.gateway import answers, questions, states, wire
from remit.gateway.forms import NotRelayed
from remit.gateway.questions import Allowed
from remit.gateway.states import STATE, Held, Round
from remit.guards.json_in import as_json
from remit.guards.secrets import KnownSecrets, redact_known
from remit.services.deps import Deps

LIFE: Final = 15 * MINUTE
"""How long a question may be answered, in milliseconds."""
MISSING_CAPABILITY: Final = -32021
RESPONSES: Final = "inputResponses"
_AGAIN: Final = ".2"


@dataclass(frozen=True, slots=True)
class Retry:
    """What a call continues: nothing, a question to a person, or a round of its server's questions."""

    call_id: str | None = None
    inputs: Inputs | None = None
    round: Round | None = None
    person_was_asked: bool = False

    def once_more(self) -> "Retry":
        """The same for a second try of one that was not sent: its first call has ended, and under its id."""
        return replace(self, call_id=self.call_id + _AGAIN) if self.call_id is not None else self

    def continued(self, params: bytes) -> bytes:
        """The params of a request to the server, with the answers and its own state. Every other byte stays."""
        if self.round is None:
            return params
        more: dict[str, Json] = {}
        if self.inputs is not None and self.inputs.answers:
            more[RESPONSES] = self.inputs.answers
        if self.round.state is not None:
            more[STATE] = self.round.state
        members = [canonical(name) + b":" + canonical(value) for name, value in more.items()]
        return params[:-1] + b"".join(b"," + member for member in members) + b"}"


NEW: Final = Retry()


def taken_up(deps: Deps, request: wire.Request, caller: SessionCaller, ref: str) -> Retry | bytes:
    """What this request continues; the same questions again, as an answer, where not all of them were answered.

    Raises ``wire.Fault`` for a state that is not this call's, and for answers that are none or that nobody asked for.
    """
    held = states.opened(deps, caller, request, ref)
    if held is None or held.round is None:
        return NEW if held is None else Retry(person_was_asked=held.person)
    found = _answered(request, held)
    if found is None:
        return _asked_again(request, held.round, ref)
    inputs = Inputs(after=held.round.after, fingerprint=held.round.fingerprint, asked=held.round.asked, answers=found)
    return Retry(f"in-{held.round.id}", inputs, replace(held.round, answers=found), held.person)


def _answered(request: wire.Request, held: Held) -> Mapping[str, Json] | None:
    """The answers of a round. Once a person was asked about some, they are those; nothing beside them counts."""
    if held.round is None or held.round.answers is not None:
        return held.round.answers if held.round else None
    responses = request.params.get(RESPONSES, {})
    return answers.read(held.round.asked, responses)


def asked_for(deps: Deps, request: wire.Request, caller: SessionCaller, ref: str, retry: Retry, until: str) -> str:
    """The state of a call about which a person is asked: it brings along the round that it answers."""
    return states.seal(deps, caller, states.binding(request, ref, until), retry.round, person=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a server asked, as it is recorded and as the client gets it."""

    recorded: Json
    result: bytes


def outgoing(
    deps: Deps,
    request: wire.Request,
    caller: SessionCaller,
    server: Server,
    decided: Mapping[str, str],
    result: Mapping[str, Json],
    secrets: KnownSecrets | None,
) -> Asked:
    """What a server asked in the course of the call ``decided``: its ``ref``, ``hash`` and ``fingerprint``.

    Raises ``NotRelayed`` for what does not pass.
    """
    found = questions.read(result, may_ask(request, server), deps.issuer)
    recorded: Json = {"resultType": "input_required", "content": [], "inputRequests": found.asked}
    if secrets is not None and redact_known(as_json(recorded), secrets)[1]:
        raise NotRelayed("it holds a credential")
    now = deps.clock.now()
    this = Round(
        id=digits_of(now, deps.entropy.bytes(RANDOM_BYTES)),
        after=decided["hash"],
        fingerprint=decided["fingerprint"],
        asked=found.asked,
        state=found.state,
    )
    bound = states.binding(request, decided["ref"], to_text(now + LIFE))
    state = states.seal(deps, caller, bound, this, person=False)
    return Asked(recorded, _result(found.asked, server.name, state))


def may_ask(request: wire.Request, server: Server) -> Allowed:
    """What a server may ask in the course of a request."""
    return questions.allowed(request.terms.capabilities, server) if request.terms.stateless else questions.NOTHING


def _asked_again(request: wire.Request, this: Round, ref: str) -> bytes:
    """Not everything was answered: the same question, the same state, and nothing was decided or sent."""
    state = request.params[STATE]
    return request.answer(_result(this.asked, ref.partition("/")[0], str(state)))


def _result(asked: Mapping[str, Json], server: str, state: str) -> bytes:
    body: dict[str, Json] = {"resultType": "input_required"}
    if asked:
        body["inputRequests"] = questions.shown(asked, server)
    return as_json({**body, STATE: state})


def lacking(request: wire.Request, server: Server, error: Json) -> tuple[str, wire.Fault | None]:
    """What to say of a server's -32021: which capability it wants, and who would have to have or to grant it.

    With a fault where the client alone can mend it: then it is told as the protocol has it.
    """
    wanted = _wanted(error)
    said, may = questions.declared(request.terms.capabilities), may_ask(request, server)
    ungranted = [one for one in wanted if not _has(may, one) and _has(said, one)]
    undeclared = [one for one in wanted if not _has(said, one)]
    never = [one for one in wanted if one not in _KNOWN]
    needs = f"server {server.name} needs {' and '.join(wanted) or 'a capability that it does not name'} of the client"
    if never:
        return f"{needs}; Remit never passes on {' and '.join(never)}", None
    if ungranted or not all(_granted(server, one) for one in wanted) or not wanted:
        grants = " and ".join(dict.fromkeys(_GRANT[one] for one in wanted)) or "allow_elicitation or allow_sampling"
        return f"{needs}, and its record does not grant that: an administrator can, by {grants}", None
    words = f"{needs}, and this client did not declare {' and '.join(undeclared) or 'it'}"
    data: dict[str, Json] = {"requiredCapabilities": _document(wanted)}
    fault = wire.Fault(MISSING_CAPABILITY, f"{words}; call again with it", data) if request.terms.stateless else None
    return words, fault


_KNOWN: Final = ("form elicitation", "URL elicitation", "sampling")
_GRANT: Final = {
    "form elicitation": "allow_elicitation",
    "URL elicitation": "allow_elicitation",
    "sampling": "allow_sampling",
}


def _wanted(error: Json) -> list[str]:
    """The capabilities that an error names, in our words."""
    data = error.get("data") if isinstance(error, Mapping) else None
    required = data.get("requiredCapabilities") if isinstance(data, Mapping) else None
    if not isinstance(required, Mapping):
        return []
    found = questions.declared(required)
    named = [one for one in _KNOWN if _has(found, one)]
    return [*named, *(["roots"] if "roots" in required else [])]


def _has(may: Allowed, one: str) -> bool:
    return {"form elicitation": may.forms, "URL elicitation": may.urls, "sampling": may.sampling}.get(one, False)


def _granted(server: Server, one: str) -> bool:
    return server.allow_sampling if one == "sampling" else server.allow_elicitation


def _document(wanted: list[str]) -> Json:
    names = set(wanted)
    return Allowed("form elicitation" in names, "URL elicitation" in names, "sampling" in names).capabilities()
