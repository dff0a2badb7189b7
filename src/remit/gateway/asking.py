"""An Ask as the stateless revisions have it: the client is told where its user finds a person to answer.

``resultType`` is ``input_required`` with one elicitation in URL mode, named ``remit-approval``, and a sealed state.
What the client says of it when it calls again carries no authority: the state only shows that it was asked, about this
very call, and the answer is looked up where a signed-in person gave it. A client that says nothing of addresses, or
that calls again before there is an answer, gets the tool error of the other revisions.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from remit.core.canonical import Json, canonical, digest
from remit.core.credentials import SessionCaller
from remit.core.decisions import Ask, Decision
from remit.core.errors import BadInput, StoreUnavailable
from remit.core.times import from_text
from remit.gateway import wire
from remit.guards.json_in import as_json, parse
from remit.services.deps import Deps

NAME: Final = "remit-approval"
STATE: Final = "requestState"
_MAX_STATE: Final = 4_096


def question(deps: Deps, request: wire.Request, caller: SessionCaller, decision: Decision) -> bytes | None:
    """The result that asks, or None where this client can't be asked so, or was already."""
    if not isinstance(decision.verdict, Ask) or not request.terms.elicits_urls() or STATE in request.params:
        return None
    approval = decision.verdict.approval
    asked: dict[str, Json] = {
        "mode": "url",
        "message": f"Remit: a person must approve {decision.tool}. It is answered there, and never to this program.",
        "url": f"{deps.issuer}/approvals/{approval}",
    }
    body: dict[str, Json] = {
        "resultType": "input_required",
        "inputRequests": {NAME: {"method": "elicitation/create", "params": asked}},
        STATE: _sealed(deps, caller, decision),
        "_meta": {"remit/decision": decision.document()},
    }
    return wire.result(request.raw_id, as_json(body))


def check_state(deps: Deps, request: wire.Request, caller: SessionCaller, ref: str) -> None:
    """Pass for a call without state, and for one with the state that it was given. Raises ``wire.Fault``."""
    if not request.terms.stateless or STATE not in request.params:
        return
    state = request.params[STATE]
    arguments = request.params.get("arguments", {})
    found = _opened(deps, caller, state) if isinstance(state, str) and len(state) <= _MAX_STATE else None
    wanted = (ref, digest(canonical(arguments)))
    if found is None or (found.get("tool"), found.get("arguments")) != wanted:
        raise wire.Fault(wire.INVALID_PARAMS, "requestState is not what this call was given")
    if deps.clock.now() >= from_text(str(found.get("until"))):
        raise wire.Fault(wire.INVALID_PARAMS, "requestState is too old; call again without it")


def _sealed(deps: Deps, caller: SessionCaller, decision: Decision) -> str:
    facts: Json = {"tool": decision.tool, "arguments": decision.arguments_hash, "until": decision.expires_at}
    return base64.urlsafe_b64encode(deps.box.seal(canonical(facts), _place(caller))).decode()


def _opened(deps: Deps, caller: SessionCaller, state: str) -> Mapping[str, Json] | None:
    try:
        found = parse(deps.box.open(base64.urlsafe_b64decode(state.encode()), _place(caller)))
    except (binascii.Error, ValueError, BadInput, StoreUnavailable):
        return None
    return found if isinstance(found, Mapping) else None


def _place(caller: SessionCaller) -> bytes:
    """Sealed for one agent in one session: handed to another, it does not open."""
    return canonical(["remit/v1/request-state", caller.org, caller.agent, caller.session])
