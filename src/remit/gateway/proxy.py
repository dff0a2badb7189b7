"""The MCP door: ``POST /mcp`` (flat names) and ``POST /mcp/{server}`` (the server's own).

Methods are a closed table per era of the protocol (``revisions.py``): what is not in it is refused, and never
forwarded. What becomes of a call is told in ``calls.py``, what stands beside tools in ``surfaces.py``.
"""

import importlib.metadata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from urllib.parse import quote

import structlog
from starlette.types import Receive, Scope, Send

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.entitlements import CALL, is_reserved, nowhere
from remit.core.errors import BadInput, NotFound, RemitError, TooLarge, Unauthenticated
from remit.core.ids import tool_ref
from remit.doors import headers_of, own_origin, peer, read_body, shown_of
from remit.gateway import planning, revisions, wire
from remit.gateway.calls import ToolCalls, mirrors_of
from remit.gateway.exchange import Exchange
from remit.gateway.listen import Listeners
from remit.gateway.servers import Servers
from remit.gateway.surfaces import GOVERNED, Surfaces
from remit.gateway.underway import CANCELLED
from remit.gateway.workers import GiveUp, Workers
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.problems import PROBLEM, problem, proof_challenge
from remit.services.authenticate import STALE, as_session, authenticate
from remit.services.authority import ReviewedTool
from remit.services.deps import Deps
from remit.services.listing import Sight, look

PAGE: Final = 200
VERSION: Final = importlib.metadata.version("remit")
# Sights kept for their second.
_MOST_SIGHTS: Final = 4_096
_INSTRUCTIONS: Final = (
    "Tools here are governed by Remit. A refused call is final: do not repeat it. "
    "A call that waits for a person can be made again, unchanged, once they have answered."
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Doorway:
    """Where a request came in: the flat list, or one server by name."""

    server: str | None

    def ref(self, sight: Sight, name: str) -> str:
        """The tool reference that a name stands for here; a name that stands for nothing stays as it is.

        INVARIANT: never the reference of what is no tool.
        """
        if self.server is not None:
            return tool_ref(self.server, name) if not is_reserved(name) else nowhere(CALL, name)
        ref = sight.authority.aliases.get(name)
        if ref is not None:
            return ref
        return name if not is_reserved(name.partition("/")[2]) else nowhere(CALL, name)

    def shows(self, known: ReviewedTool) -> bool:
        """Whether a tool is listed here."""
        return known.method == CALL and (self.server is None or known.server.name == self.server)

    def tools(self, sight: Sight) -> tuple[tuple[str, str, str | None], ...]:
        """What a client sees of the tools here: equal for equal lists."""
        shown = (known.tool for known in sight.tools() if self.shows(known))
        return tuple((tool.ref, tool.alias, tool.pinned) for tool in shown)

    def definition(self, known: ReviewedTool) -> bytes:
        """The pinned bytes, under the flat alias where names are flat."""
        return known.body if self.server is not None else wire.renamed(known.body, known.tool.alias)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with a JSON body (or none)."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    kind: str = "application/json"

    def message(self) -> bytes:
        """The answer as a JSON-RPC message, for where its status can't be said any more."""
        if self.kind == "application/json":
            return self.body
        return wire.error(b"null", wire.INTERNAL_ERROR, "something went wrong in Remit")


Method: TypeAlias = Callable[[Sight, Doorway, wire.Request, SessionCaller], Awaitable[bytes]]


class Gateway:
    """An ASGI application for the paths below ``/mcp``."""

    def __init__(
        self,
        deps: Deps,
        servers: Servers,
        limits: JsonLimits,
        timeout: float,
        listen: float = 300.0,
        workers: Workers | None = None,
        *,
        plan_tool: bool = False,
    ) -> None:
        """``timeout`` is how many seconds an upstream call may take, ``listen`` how many a subscription lasts.

        ``workers`` are those that serve this home together, if this process is one of several. ``plan_tool`` lists and
        serves ``remit__plan``.
        """
        self._deps = deps
        self._limits = limits
        self._workers = workers
        self._plan_tool = plan_tool
        self._calls = ToolCalls(deps, servers, timeout)
        self.give_up = self._calls.under_way.cancel
        self._listeners = Listeners(deps, listen)
        self._sights: dict[SessionCaller, Sight] = {}
        self._surfaces = Surfaces(deps, self._calls, timeout)
        both: dict[str, Method] = {"tools/list": self._list, "tools/call": self._call, **self._surfaces.methods}
        self._handshake: Mapping[str, Method] = {"initialize": self._initialize, "ping": self._ping, **both}
        streams: dict[str, Method] = {"subscriptions/listen": self._listen}
        self._stateless: Mapping[str, Method] = {"server/discover": self._discover, **streams, **both}

    def leave(self) -> None:
        """End the streams that would stay open by themselves: this process is about to stop."""
        self._listeners.leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        exchange = Exchange(receive, send)
        try:
            answer = await self._answer(scope, exchange)
        except RemitError as error:
            status, body, headers = problem(error)
            if isinstance(error, Unauthenticated):
                headers = (*proof_challenge(error), self._challenge(scope))
            answer = Answer(status, body, headers, PROBLEM)
        except Exception as error:
            # A door that meets the unexpected answers with a problem that tells nothing, and the log has the trace.
            log.exception("gateway.failed", cause=type(error).__name__)
            answer = Answer(500, wire.error(b"null", wire.INTERNAL_ERROR, "something went wrong in Remit"))
        if exchange.started:
            await exchange.finish(answer.message())
            return
        kind = [(b"content-type", answer.kind.encode()), (b"cache-control", b"no-store")]
        length = (b"content-length", str(len(answer.body)).encode())
        start = {"type": "http.response.start", "status": answer.status, "headers": [*kind, length, *answer.headers]}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def _challenge(self, scope: Scope) -> tuple[bytes, bytes]:
        """Where a client learns how to get a token for this door (RFC 9728 section 5.1)."""
        sent = any(name == b"authorization" for name, _ in scope["headers"])
        wrong = 'error="invalid_token", ' if sent else ""
        about = f"{self._deps.issuer}/.well-known/oauth-protected-resource{quote(scope['path'])}"
        return b"www-authenticate", f'Bearer realm="remit", {wrong}resource_metadata="{about}"'.encode("ascii")

    async def _caller(self, scope: Scope, headers: Mapping[str, str], *, met: bool = False) -> SessionCaller:
        shown = shown_of(scope, headers)
        shown = replace(shown, met=True) if shown is not None and met else shown
        place = peer(scope, self._deps.trusted_proxies)
        caller = await authenticate(self._deps, headers.get("authorization"), place, shown)
        return await as_session(self._deps, caller, f"{self._deps.issuer}{scope['path']}")

    async def _answer(self, scope: Scope, exchange: Exchange) -> Answer:
        door = _doorway(scope)
        if scope["method"] != "POST":
            refusal = wire.error(b"null", wire.INVALID_REQUEST, "only POST is served here")
            return Answer(405, refusal, ((b"allow", b"POST"),))
        headers = headers_of(scope)
        if not own_origin(headers, self._deps.issuer):
            return Answer(403, wire.error(b"null", wire.INVALID_REQUEST, "requests from this web origin are refused"))
        caller = await self._caller(scope, headers)
        arrived = self._deps.clock.now()
        body = await read_body(exchange.receive, headers, self._limits.max_bytes)
        if self._deps.clock.now() - arrived >= STALE:
            caller = await self._caller(scope, headers, met=True)
        try:
            document = parse(body, self._limits)
        except TooLarge:
            raise
        except BadInput as error:
            return Answer(400, wire.error(b"null", wire.PARSE_ERROR, error.detail))
        exchange.accept = headers.get("accept", "")
        message = wire.read(document, body, exchange)
        match message:
            case wire.Invalid(why, raw_id):
                return Answer(400, wire.error(raw_id, wire.INVALID_REQUEST, why))
            case wire.Notification():
                if message.method == CANCELLED:
                    await self._cancel(caller, message.params)
                return Answer(202, b"")
            case wire.Request():
                return await self._governed(door, headers, caller, message)

    async def _cancel(self, caller: SessionCaller, params: Mapping[str, Json]) -> None:
        """Give up a call of this caller's, wherever it was taken."""
        if not self.give_up(caller, params) and self._workers is not None:
            await self._workers.tell(GiveUp(caller, as_json(dict(params))))

    async def _governed(
        self, door: Doorway, headers: Mapping[str, str], caller: SessionCaller, request: wire.Request
    ) -> Answer:
        terms = revisions.terms_of(headers, request.method, request.params)
        if isinstance(terms, revisions.Refusal):
            return Answer(terms.status, wire.error(request.raw_id, terms.code, terms.message, terms.data))
        request = replace(request, terms=terms)
        method = (self._stateless if terms.stateless else self._handshake).get(request.method)
        try:
            if method is None:
                raise wire.Fault(wire.METHOD_NOT_FOUND, "this method is not served")
            return await self._served(method, door, headers, caller, request)
        except wire.Fault as fault:
            return Answer(terms.status(fault.code), wire.error(request.raw_id, fault.code, fault.message, fault.data))

    async def _served(
        self,
        method: Method,
        door: Doorway,
        headers: Mapping[str, str],
        caller: SessionCaller,
        request: wire.Request,
    ) -> Answer:
        try:
            sight = await self._sight(door, request, caller)
        except Unauthenticated:
            if request.method in GOVERNED:
                return Answer(200, await self._surfaces.refuse(door, request, caller))
            if request.method != "tools/call":
                raise
            # A call in a dead session is refused as a call: a Deny with an event, which a 401 would not leave.
            name = str(request.params.get("name", ""))
            ref = name if door.server is None else tool_ref(door.server, name)
            return Answer(200, await self._calls.refuse(ref, request, caller))
        if request.terms.stateless and request.method == "tools/call":
            _check_mirrors(sight, door, request, headers)
        body = await method(sight, door, request, caller)
        code = 0 if request.method == CALL else wire.error_code(body, request.raw_id)
        return Answer(request.terms.status(code) if code else 200, body)

    async def _sight(self, door: Doorway, request: wire.Request, caller: SessionCaller) -> Sight:
        """What the caller sees; for a call what it saw up to a second ago will do, if it saw the tool.

        A call's sight only finds its server. What is decided is decided on the registry as it then is.
        """
        kept = self._sights.get(caller)
        if kept is not None and request.method == "tools/call" and self._deps.clock.now() - kept.now < STALE:
            name = request.params.get("name")
            if isinstance(name, str) and kept.reached(door.ref(kept, name)) is not None:
                return kept
        while len(self._sights) >= _MOST_SIGHTS:
            self._sights.pop(next(iter(self._sights)))
        sight = self._sights[caller] = await look(self._deps, caller)
        return sight

    # Methods that are answered here.

    async def _initialize(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        del sight, door, caller
        body: Json = {
            "protocolVersion": revisions.negotiated(request.params.get("protocolVersion")),
            "capabilities": revisions.CAPABLE,
            "serverInfo": {"name": "remit", "version": VERSION},
            "instructions": _INSTRUCTIONS,
        }
        return request.answer(as_json(body))

    async def _discover(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        del sight, door, caller
        body = as_json(revisions.discovery(_INSTRUCTIONS, VERSION))
        return wire.result(request.raw_id, request.terms.page(body))

    async def _ping(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        del sight, door, caller
        return request.answer(b"{}")

    async def _listen(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        """A stream of what changes in the lists that this chain sees at this door."""
        return await self._listeners.serve(sight, request, caller, {"toolsListChanged": door.tools})

    async def _list(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        """A page of what this chain reaches, in the bytes that were pinned."""
        del caller
        after = wire.cursor(request.params.get("cursor"))
        shown = [known for known in sight.tools() if door.shows(known) and known.tool.ref > after]
        page = [door.definition(known) for known in shown[:PAGE]]
        if self._plans(door) and len(shown) <= PAGE:
            page.append(planning.DEFINITION)
        more = b',"nextCursor":' + as_json(wire.cursor_after(shown[PAGE - 1].tool.ref)) if len(shown) > PAGE else b""
        listed = b'{"tools":[' + b",".join(page) + b"]" + more + b"}"
        return wire.result(request.raw_id, request.terms.page(listed))

    async def _call(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        """A call of a tool."""
        name = request.params.get("name")
        if not isinstance(name, str) or not name:
            raise wire.Fault(wire.INVALID_PARAMS, "a call names its tool")
        if name == planning.NAME and self._plans(door):
            return await planning.plan(self._deps, sight, request, caller)
        return await self._calls.call(sight, door.ref(sight, name), request, caller)

    def _plans(self, door: Doorway) -> bool:
        return self._plan_tool and door.server is None


def _check_mirrors(sight: Sight, door: Doorway, request: wire.Request, headers: Mapping[str, str]) -> None:
    """Hold the headers that repeat arguments against them, for a tool that this chain reaches."""
    name, arguments = request.params.get("name"), request.params.get("arguments", {})
    known = sight.reached(door.ref(sight, name)) if isinstance(name, str) else None
    if known is not None and isinstance(arguments, Mapping):
        fault = revisions.mirror_fault(mirrors_of(known.body), arguments, headers)
        if fault is not None:
            raise wire.Fault(revisions.HEADER_MISMATCH, fault)


def _doorway(scope: Scope) -> Doorway:
    """Which list a path leads to. Raises ``NotFound`` for a path that is neither: ``/mcp/a/b`` is not server a."""
    tail = scope["path"].removeprefix("/mcp").removeprefix("/")
    if "/" in tail:
        raise NotFound("there is /mcp, and /mcp/{server}")
    return Doorway(tail or None)
