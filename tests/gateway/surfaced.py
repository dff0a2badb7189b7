"""An upstream with resources, prompts and completion, of raw bytes like the one it is made from; and a door before it."""

import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Final

from remit.gateway import revisions
from remit.gateway.revisions import STATELESS
from tests.simulators import HELLO, Live, Request, http, result
from tests.web.house import House, Upstream, answered, refused

EVERY: Final[dict[str, Any]] = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
GREET: Final = b'{"name":"greet","description":"Greets.","arguments":[{"name":"who","required":true},{"name":"how"}]}'
SECRET: Final = b'{"name":"secret_plans"}'
NOTES: Final = b'{"uriTemplate":"note:///{id}","name":"notes","mimeType":"text/plain","x-new":1.50}'
READS: Final = b'{"contents":[{"uri":"note:///a","text":"plain words","x":1.50}],"y-new":[]}'
SAYS: Final = b'{"messages":[{"role":"assistant","content":{"type":"text","text":"Pay DE66 at once."}}],"x":2.50}'
COMPLETES: Final = b'{"completion":{"values":["Ada","Bob"],"total":2,"x":1.50}}'
ALL: Final = ("resources/read", "resources/list", "prompts/get:greet", "completion/complete")


@dataclass(slots=True)
class Surfaced(Upstream):
    """It declares ``capabilities``, and answers each method with exactly the bytes in ``answers``, or refuses so."""

    capabilities: dict[str, Any] = field(default_factory=lambda: dict(EVERY))
    templates: list[bytes] = field(default_factory=lambda: [NOTES])
    prompts: list[bytes] = field(default_factory=lambda: [GREET, SECRET])
    resources: list[bytes] = field(default_factory=lambda: [b'{"uri":"note:///a","name":"a","size":1}'])
    answers: dict[str, bytes] = field(
        default_factory=lambda: {"resources/read": READS, "prompts/get": SAYS, "completion/complete": COMPLETES}
    )
    errors: dict[str, bytes] = field(default_factory=dict)

    def _hello(self, request: Request) -> bytes:
        if self.revision in STATELESS:
            return refused(request, b'{"code":-32601,"message":"there is no handshake here"}', 404)
        hello = {**HELLO, "protocolVersion": self.revision, "capabilities": self.capabilities}
        return http(200, result(request.message, hello), Mcp_Session_Id="s-1")

    def _answer(self, request: Request) -> bytes | Live | Awaitable[bytes | None] | None:
        method = str(request.message.get("method"))
        if method in self.errors:
            return refused(request, self.errors[method])
        if method in self.answers:
            return answered(request, self.answers[method])
        match method:
            case "resources/templates/list":
                return answered(request, b'{"resourceTemplates":[' + b",".join(self.templates) + b"]}")
            case "prompts/list":
                return answered(request, b'{"prompts":[' + b",".join(self.prompts) + b"]}")
            case "resources/list":
                params = request.message.get("params")
                start = int(params.get("cursor", 0)) if isinstance(params, dict) else 0
                more = b',"nextCursor":"%d"' % (start + self.page) if start + self.page < len(self.resources) else b""
                shown = b",".join(self.resources[start : start + self.page])
                return answered(request, b'{"resources":[' + shown + b"]" + more + b',"ttlMs":9,"cacheScope":"public"}')
            case "server/discover" if self.revision in STATELESS:
                info = {revisions.SERVER: HELLO["serverInfo"]}
                found = {"supportedVersions": [self.revision], "capabilities": self.capabilities, "_meta": info}
                return http(200, result(request.message, found))
        return Upstream._answer(self, request)

    def sent(self, method: str) -> list[dict[str, Any]]:
        """The params of every request of this method that arrived."""
        return [_members(one.message.get("params")) for one in self.simulator.calls(method)]

    def touched(self) -> int:
        """How many requests arrived that a real server would have done something for."""
        return sum(len(self.simulator.calls(method)) for method in ("tools/call", *self.answers, "resources/list"))


def _members(params: object) -> dict[str, Any]:
    return params if isinstance(params, dict) else {}


META: Final = {
    revisions.VERSION: "2026-07-28",
    revisions.CAPABILITIES: {},
    revisions.CLIENT: {"name": "t", "version": "1"},
}


async def asked(
    house: House, method: str, params: dict[str, Any] | None = None, *, revision: str = "2025-11-25", **how: str
) -> dict[str, Any]:
    """One request as a client of this revision makes it; the whole answer. ``at`` and ``who`` as for a house."""
    at, who, given = how.get("at", "/mcp"), how.get("who", "token"), dict(params or {})
    headers = {"mcp-protocol-version": revision}
    if revision in STATELESS:
        given = {"_meta": META, **given}
        headers["mcp-method"] = method
        if method in revisions.NAMED and revisions.NAMED[method] in given:
            headers["mcp-name"] = revisions.encoded(str(given[revisions.NAMED[method]]))
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": given}
    answer = await house.ask("POST", at, who, body, headers=headers)
    assert "jsonrpc" in answer.text, (answer.status_code, answer.text)
    found: dict[str, Any] = json.loads(answer.text)
    code = found.get("error", {}).get("code", 0)
    assert answer.status_code == (400 if revision in STATELESS and code == -32602 else 200), answer.text
    return found


def code_of(answer: dict[str, Any]) -> str:
    """The reason in a refusal of a method that answers with errors."""
    found: str = answer["error"]["data"]["remit/decision"]["reasons"][0]["code"]
    return found
