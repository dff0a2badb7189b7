"""An Ask as the stateless revisions have it: the client is told where its user finds a person to answer.

``resultType`` is ``input_required`` with one elicitation in URL mode, named ``remit-approval``, and a sealed state.
What the client says of it when it calls again carries no authority: the state only shows that it was asked, about this
very call, and the answer is looked up where a signed-in person gave it. Where the call answers its server's own
questions (``relay.py``), the state brings them and the answers along, so what was approved is what is forwarded. A
client that says nothing of addresses, or that calls again before there is an answer, gets the tool error of the other
revisions.
"""

from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.decisions import Ask, Decision
from remit.gateway import wire
from remit.gateway.relay import Retry, asked_for
from remit.gateway.states import STATE
from remit.guards.json_in import as_json
from remit.services.deps import Deps

NAME: Final = "remit-approval"


def question(
    deps: Deps, request: wire.Request, caller: SessionCaller, decision: Decision, retry: Retry
) -> bytes | None:
    """The result that asks, or None where this client can't be asked so, or was already."""
    if not isinstance(decision.verdict, Ask) or not request.terms.elicits_urls() or retry.person_was_asked:
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
        STATE: asked_for(deps, request, caller, decision.tool, retry, decision.expires_at),
        "_meta": {"remit/decision": decision.document()},
    }
    return wire.result(request.raw_id, as_json(body))
