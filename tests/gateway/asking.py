"""Come in here for an upstream that asks the client for something before it answers, and a client that answers it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from remit.core.servers import Server
from remit.gateway import revisions
from tests.simulators import Request
from tests.web.house import House, answered

EVERYTHING: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}}
FORM: dict[str, Any] = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
ASK: dict[str, Any] = {
    "method": "elicitation/create",
    "params": {"mode": "form", "message": "To whom?", "requestedSchema": FORM},
}
SAMPLE: dict[str, Any] = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "Shorter."}}], "maxTokens": 50},
}
TO_ADA: dict[str, Any] = {"whom": {"action": "accept", "content": {"to": "ada"}}}
THEIR_STATE = "state of the server's own"
READ_CALL: dict[str, Any] = {"name": "office__read_mail", "arguments": {"id": "m1"}}
PAY_CALL: dict[str, Any] = {
    "name": "office__pay_invoice",
    "arguments": {"recipient": "DE89370400440532013000", "amount": 80},
}


async def asks(house: House, requests: Mapping[str, Any], *, elicitation: bool = True, sampling: bool = True) -> None:
    """From here on the upstream is of the newest revision, asks this, and answers whoever brings answers.

    ``elicitation`` and ``sampling`` are what its record grants.
    """
    house.upstream.revision = revisions.NEWEST
    question = {"resultType": "input_required", "inputRequests": requests, "requestState": THEIR_STATE}

    def on_call(request: Request) -> bytes:
        if "inputResponses" in params_in(request):
            return answered(request, b'{"content":[{"type":"text","text":"thanks"}]}')
        return answered(request, json.dumps(question).encode())

    house.upstream.on_call = on_call
    await grants(house, elicitation=elicitation, sampling=sampling)
    await house.resynced()


async def grants(house: House, *, elicitation: bool, sampling: bool) -> None:
    """What the upstream's record grants it from here on."""
    async with house.world.deps.store.unit(house.world.deps.org) as unit:
        [server] = [one for one in await unit.nouns.all(Server) if one.name == "office"]
        await unit.nouns.replace(replace(server, allow_elicitation=elicitation, allow_sampling=sampling))


def params_in(request: Request) -> dict[str, Any]:
    """The params that reached the upstream."""
    params = request.message.get("params")
    return params if isinstance(params, dict) else {}


async def call(
    house: House,
    call: Mapping[str, Any] = READ_CALL,
    *,
    capabilities: Mapping[str, Any] = EVERYTHING,
    who: str = "token",
    status: int = 200,
    **more: Any,
) -> dict[str, Any]:
    """One ``tools/call`` of revision 2026-07-28 with these capabilities; its result, or its error."""
    meta = {
        revisions.VERSION: revisions.NEWEST,
        revisions.CAPABILITIES: capabilities,
        revisions.CLIENT: {"name": "t", "version": "1"},
    }
    headers = {
        "mcp-protocol-version": revisions.NEWEST,
        "mcp-method": "tools/call",
        "mcp-name": str(call["name"]),
    }
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"_meta": meta, **call, **more}}
    answer = await house.ask("POST", "/mcp", who, body, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    got: dict[str, Any] = found["result"] if "result" in found else found["error"]
    return got


def back(first: Mapping[str, Any], responses: Any = None) -> dict[str, Any]:
    """What a client adds to the call when it answers."""
    return {"inputResponses": TO_ADA if responses is None else responses, "requestState": first["requestState"]}


def passed_on(house: House) -> list[dict[str, Any]]:
    """The answers that reached the upstream."""
    found = [params_in(one) for one in house.upstream.effects]
    return [one for one in found if "inputResponses" in one]
