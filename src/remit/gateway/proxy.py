"""The MCP gateway: open, forward, close. ``POST /mcp`` (flat names) and ``POST /mcp/{server}`` (the server's own).

Tools only. Methods are a closed table per era of the protocol (``revisions.py``): what is not in it is refused, and
never forwarded. A call is forwarded only with an Allow in hand, once, over a connection whose tool list was just
compared with the pins; and its result is handed on only after the outcome was recorded.
"""

import base64
import binascii
import importlib.metadata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

import structlog
from starlette.types import Receive, Scope, Send

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.decisions import Allow, Decision
from remit.core.errors import (
    BadInput,
    Conflict,
    NotFound,
    RemitError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from remit.core.ids import RANDOM_BYTES, digits_of, is_call_id, tool_ref
from remit.doors import headers_of, own_origin, read_body
from remit.gateway import meta, revisions, wire
from remit.gateway.servers import Ready, Servers
from remit.gateway.upstream import ErrorReply, NotSent, OutcomeUnknown, Result, Stale
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.guards.secrets import redact_known
from remit.problems import PROBLEM, problem
from remit.services.authenticate import STALE, as_session, authenticate
from remit.services.authority import ReviewedTool
from remit.services.close import close_call
from remit.services.decide import Forwarder, open_call
from remit.services.deps import Deps
from remit.services.listing import Sight, look

PAGE: Final = 200
RESULT_LIMITS: Final = JsonLimits(max_bytes=10_485_760, max_depth=64)
VERSION: Final = importlib.metadata.version("remit")
_GRACE: Final = 10.0
# Sights kept for their second.
_MOST_SIGHTS: Final = 4_096
_CALL_ID: Final = "remit/call_id"
_CALL_ID_FORM: Final = f"{_CALL_ID} is 1 to 64 letters, digits, dots, hyphens and underscores"
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
        """The tool reference that a name stands for here; a name that stands for nothing stays as it is."""
        if self.server is not None:
            return tool_ref(self.server, name)
        return sight.authority.aliases.get(name, name)

    def shows(self, known: ReviewedTool) -> bool:
        """Whether a tool is listed here."""
        return self.server is None or known.server.name == self.server

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


Method: TypeAlias = Callable[[Sight, Doorway, wire.Request, SessionCaller], Awaitable[bytes]]


class Gateway:
    """An ASGI application for the paths below ``/mcp``."""

    def __init__(self, deps: Deps, servers: Servers, limits: JsonLimits, timeout: float) -> None:
        """``timeout`` is how many seconds an upstream call may take."""
        self._deps = deps
        self._servers = servers
        self._limits = limits
        self._timeout = timeout
        self._sights: dict[SessionCaller, Sight] = {}
        both: dict[str, Method] = {"tools/list": self._list, "tools/call": self._call}
        self._handshake: Mapping[str, Method] = {"initialize": self._initialize, "ping": self._ping, **both}
        self._stateless: Mapping[str, Method] = {"server/discover": self._discover, **both}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        try:
            answer = await self._answer(scope, receive)
        except RemitError as error:
            status, body, headers = problem(error)
            answer = Answer(status, body, headers, PROBLEM)
        except Exception as error:
            # A door that meets the unexpected answers with a problem that tells nothing, and the log has the trace.
            log.exception("gateway.failed", cause=type(error).__name__)
            answer = Answer(500, wire.error(b"null", wire.INTERNAL_ERROR, "something went wrong in Remit"))
        kind = [(b"content-type", answer.kind.encode()), (b"cache-control", b"no-store")]
        length = (b"content-length", str(len(answer.body)).encode())
        start = {"type": "http.response.start", "status": answer.status, "headers": [*kind, length, *answer.headers]}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        door = _doorway(scope)
        if scope["method"] != "POST":
            refusal = wire.error(b"null", wire.INVALID_REQUEST, "only POST is served here")
            return Answer(405, refusal, ((b"allow", b"POST"),))
        headers = headers_of(scope)
        if not own_origin(headers, self._deps.issuer):
            return Answer(403, wire.error(b"null", wire.INVALID_REQUEST, "requests from this web origin are refused"))
        caller = await as_session(self._deps, await authenticate(self._deps, headers.get("authorization")))
        arrived = self._deps.clock.now()
        body = await read_body(receive, headers, self._limits.max_bytes)
        if self._deps.clock.now() - arrived >= STALE:
            caller = await as_session(self._deps, await authenticate(self._deps, headers.get("authorization")))
        try:
            document = parse(body, self._limits)
        except TooLarge:
            raise
        except BadInput as error:
            return Answer(400, wire.error(b"null", wire.PARSE_ERROR, error.detail))
        message = wire.read(document, body)
        match message:
            case wire.Invalid(why, raw_id):
                return Answer(400, wire.error(raw_id, wire.INVALID_REQUEST, why))
            case wire.Notification():
                return Answer(202, b"")
            case wire.Request():
                return await self._governed(door, headers, caller, message)

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
                raise _Fault(wire.METHOD_NOT_FOUND, "this method is not served")
            return await self._served(method, door, headers, caller, request)
        except _Fault as fault:
            return Answer(terms.status(fault.code), wire.error(request.raw_id, fault.code, fault.message))

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
            if request.method != "tools/call":
                raise
            # A call in a dead session is refused as a call: a Deny with an event, which a 401 would not leave.
            return Answer(200, await self._refused(door, request, caller))
        if request.terms.stateless and request.method == "tools/call":
            _check_mirrors(sight, door, request, headers)
        return Answer(200, await method(sight, door, request, caller))

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
            "capabilities": {"tools": {}},
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

    async def _list(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        """A page of what this chain reaches, in the bytes that were pinned."""
        del caller
        after = _cursor(request.params.get("cursor"))
        if after is None:
            raise _Fault(wire.INVALID_PARAMS, "this cursor is not one of ours")
        shown = [known for known in sight.tools() if door.shows(known) and known.tool.ref > after]
        page = [door.definition(known) for known in shown[:PAGE]]
        more = b',"nextCursor":' + as_json(_cursor_after(shown[PAGE - 1])) if len(shown) > PAGE else b""
        listed = b'{"tools":[' + b",".join(page) + b"]" + more + b"}"
        return wire.result(request.raw_id, request.terms.page(listed))

    # The one method that is forwarded.

    async def _call(self, sight: Sight, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        """Steps 1 to 12 of the life of a tool call."""
        name = request.params.get("name")
        if not isinstance(name, str) or not name:
            raise _Fault(wire.INVALID_PARAMS, "a call names its tool")
        if not _call_id_is_sound(request):
            raise _Fault(wire.INVALID_PARAMS, _CALL_ID_FORM)
        ref = door.ref(sight, name)
        answer = await self._attempt(sight, ref, request, caller, again=_CALL_ID not in request.meta)
        # Nothing was sent, so nothing was done: once more over a fresh connection, compared and decided anew.
        return answer or await self._attempt(sight, ref, request, caller, again=False) or b""

    async def _attempt(
        self, sight: Sight, ref: str, request: wire.Request, caller: SessionCaller, *, again: bool
    ) -> bytes | None:
        """One decision and at most one forward; None when nothing was sent over a stale connection and ``again``."""
        ready, trouble = await self._prepare(sight, ref)
        arguments = request.params.get("arguments", {})
        call = ProposedCall(self._call_id(request), ref, arguments if isinstance(arguments, Mapping) else {})
        forwarder = Forwarder(self._deps.instance, int((self._timeout + _GRACE) * 1_000))
        try:
            decision = await open_call(self._deps, caller, call, forwarder)
        except Conflict as error:
            raise _Fault(wire.INVALID_PARAMS, error.detail) from error
        if not isinstance(decision.verdict, Allow):
            return _not_allowed(request, decision)
        if sight.authority is not self._deps.authority.newest:
            # The registry moved on since it was looked at: the server's record, too, is to be the one decided on.
            ready, trouble = await self._prepare_anew(caller, ref)
        if decision.replayed:
            text = f"Remit: {ref} was already forwarded under this call id (intent {decision.verdict.intent})."
            return request.answer(wire.tool_error(text, decision.document()))
        if ready is not None and ready.listed.get(decision.tool) != decision.fingerprint:
            # Another connection of this server shows what was reviewed; this one does not.
            self._servers.distrust(ready)
            ready, trouble = None, Stale("this connection lists another definition of it")
        try:
            return await self._forward(request, caller, decision, ready, trouble, again=again)
        except Exception as error:
            # The intent stands, so whatever went wrong here has an end that is written down.
            log.exception("forward.failed", session=caller.session, cause=type(error).__name__)
            said = f"Remit: what became of {decision.tool} is not known: something went wrong in Remit."
            return await self._closed(request, caller, decision, Outcome("unknown"), ready, said)

    async def _refused(self, door: Doorway, request: wire.Request, caller: SessionCaller) -> bytes:
        """The Deny for a call whose session no longer lives. If it came alive meanwhile, nothing is forwarded."""
        name, arguments = str(request.params.get("name", "")), request.params.get("arguments", {})
        ref = name if door.server is None else tool_ref(door.server, name)
        call = ProposedCall(self._call_id(request), ref, arguments if isinstance(arguments, Mapping) else {})
        decision = await open_call(self._deps, caller, call, Forwarder(self._deps.instance))
        if isinstance(decision.verdict, Allow):
            not_sent = Outcome("failed", not_acted=True)
            await close_call(self._deps, caller, call.call_id, not_sent, by=self._deps.instance)
            return request.answer(wire.tool_error(f"Remit: {ref} was not called; call again."))
        return _not_allowed(request, decision)

    async def _prepare(self, sight: Sight, ref: str) -> tuple[Ready | None, RemitError | None]:
        """Connect and compare before deciding, so that a definition that changed is refused and not called.

        Whatever is wrong with the server is a value: the call is decided and recorded all the same, and not forwarded.
        """
        known = sight.reached(ref)
        if known is None:
            return None, None
        try:
            return await self._servers.ready(known.server, sight.session.id), None
        except RemitError as error:
            return None, error

    async def _prepare_anew(self, caller: SessionCaller, ref: str) -> tuple[Ready | None, RemitError | None]:
        """The same from a fresh look; a session that ended just now is trouble too, and nothing is sent."""
        try:
            return await self._prepare(await look(self._deps, caller), ref)
        except RemitError as error:
            return None, error

    async def _forward(
        self,
        request: wire.Request,
        caller: SessionCaller,
        decision: Decision,
        ready: Ready | None,
        trouble: RemitError | None,
        *,
        again: bool,
    ) -> bytes | None:
        """Step 9, then the close. None when ``again`` and an open connection turned out to be stale."""
        tool = decision.tool.partition("/")[2]
        params = wire.call_params(tool, request.raw_arguments, meta.forwarded(request.meta))
        try:
            if ready is None:
                raise trouble if isinstance(trouble, NotSent) else NotSent(trouble.detail if trouble else "no server")
            repeated = self._repeated(request, decision) if ready.connection.stateless else None
            reply = await ready.connection.call("tools/call", params, self._timeout, repeated)
        except NotSent as error:
            said = f"Remit: {decision.tool} was not called: {error.detail}. {error.hint}"
            answer = await self._closed(request, caller, decision, Outcome("failed", not_acted=True), ready, said)
            return None if again and isinstance(error, Stale) else answer
        except OutcomeUnknown as error:
            said = f"Remit: what became of {decision.tool} is not known: {error.detail}. {error.hint}"
            return await self._closed(request, caller, decision, Outcome("unknown"), ready, said)
        if isinstance(reply, ErrorReply):
            return await self._protocol_error(request, caller, decision, ready, reply)
        return await self._result(request, caller, decision, ready, reply)

    def _repeated(self, request: wire.Request, decision: Decision) -> Mapping[str, str]:
        """The headers that repeat arguments of this call towards a stateless server."""
        authority, arguments = self._deps.authority.newest, request.params.get("arguments", {})
        known = authority.tools.get(decision.tool) if authority else None
        if known is None or not isinstance(arguments, Mapping):
            return {}
        return revisions.mirrored(_mirrors(known.body), arguments)

    async def _result(
        self, request: wire.Request, caller: SessionCaller, decision: Decision, ready: Ready | None, reply: Result
    ) -> bytes:
        try:
            result = parse(reply.raw, RESULT_LIMITS)
        except BadInput:
            result = None
        if result is None:  # a null, too, is no result that anything could be read from
            said = f"Remit: {decision.tool} was called, but its result is withheld: it is not strict JSON."
            return await self._closed(request, caller, decision, Outcome("done"), ready, said)
        if isinstance(result, Mapping) and result.get("resultType", "complete") != "complete":
            # Upstream wants something of the client first, and may have acted all the same.
            said = f"Remit: {decision.tool} asked for more input, which is not passed on, and so did not answer."
            asked = Outcome("failed", error="more input was asked for", may_have_acted=True)
            return await self._closed(request, caller, decision, asked, ready, said)
        cleaned = meta.without_ours(result)
        failed = isinstance(result, Mapping) and result.get("isError") is True
        outcome = Outcome("failed" if failed else "done", result=cleaned)
        raw = reply.raw if cleaned is result else as_json(cleaned)
        return await self._closed(request, caller, decision, outcome, ready, None, raw)

    async def _protocol_error(
        self, request: wire.Request, caller: SessionCaller, decision: Decision, ready: Ready | None, reply: ErrorReply
    ) -> bytes:
        """A JSON-RPC error: only some say that the call was not carried out. Its words are the server's."""
        try:
            error = parse(reply.raw, RESULT_LIMITS)
            words = as_json(error)
        except BadInput:
            error, words = None, b"the server's error was not readable"
        if ready and ready.secrets:
            words, _ = redact_known(words, ready.secrets)
        said = f"{decision.tool} was refused by its server: {words[:2_000].decode(errors='replace')}"
        code = error.get("code") if isinstance(error, Mapping) else None
        outcome = Outcome(
            "failed",
            error=words.decode(errors="replace"),
            may_have_acted=not (isinstance(code, int) and code in wire.REFUSED_UNREAD),
        )
        return await self._closed(request, caller, decision, outcome, ready, said)

    async def _closed(
        self,
        request: wire.Request,
        caller: SessionCaller,
        decision: Decision,
        outcome: Outcome,
        ready: Ready | None,
        said: str | None,
        raw: bytes = b"",
    ) -> bytes:
        """Record the outcome; only then answer, with ``said`` or with the result as it may be shown."""
        secrets = ready.secrets if ready else None
        try:
            delivery = await close_call(self._deps, caller, decision.call_id, outcome, secrets, by=self._deps.instance)
        except (Unavailable, Conflict) as error:
            text = f"Remit: the outcome of {decision.tool} could not be recorded, so it is withheld. {error.hint}"
            return request.answer(wire.tool_error(text))
        if said is not None:
            return request.answer(wire.tool_error(f"{said} [event {delivery.event}]"))
        return request.answer(as_json(delivery.result) if delivery.altered else raw)

    def _call_id(self, request: wire.Request) -> str:
        """The caller's own id for a resend, or one of ours: JSON-RPC ids start again with every client."""
        named = request.meta.get(_CALL_ID)
        if isinstance(named, str) and is_call_id(named):
            return named
        # In order of time, so that rows of one session lie beside each other; no one can guess the rest.
        return f"gw-{digits_of(self._deps.clock.now(), self._deps.entropy.bytes(RANDOM_BYTES))}"


class _Fault(Exception):
    """A request that is answered with a JSON-RPC error of ours."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _check_mirrors(sight: Sight, door: Doorway, request: wire.Request, headers: Mapping[str, str]) -> None:
    """Hold the headers that repeat arguments against them, for a tool that this chain reaches."""
    name, arguments = request.params.get("name"), request.params.get("arguments", {})
    known = sight.reached(door.ref(sight, name)) if isinstance(name, str) else None
    if known is not None and isinstance(arguments, Mapping):
        fault = revisions.mirror_fault(_mirrors(known.body), arguments, headers)
        if fault is not None:
            raise _Fault(revisions.HEADER_MISMATCH, fault)


@lru_cache(maxsize=4_096)
def _mirrors(body: bytes) -> tuple[revisions.Mirror, ...]:
    """What a pinned definition wants repeated in headers."""
    if b"x-mcp-header" not in body:
        return ()
    document = parse(body)
    return revisions.mirrors(document.get("inputSchema") if isinstance(document, Mapping) else None)


def _doorway(scope: Scope) -> Doorway:
    """Which list a path leads to. Raises ``NotFound`` for a path that is neither: ``/mcp/a/b`` is not server a."""
    tail = scope["path"].removeprefix("/mcp").removeprefix("/")
    if "/" in tail:
        raise NotFound("there is /mcp, and /mcp/{server}")
    return Doorway(tail or None)


def _not_allowed(request: wire.Request, decision: Decision) -> bytes:
    """A Deny or an Ask as a tool result. What is hidden is named as it was asked for."""
    if decision.hidden:
        decision = replace(decision, tool=str(request.params.get("name", "")))
    return request.answer(wire.tool_error(decision.sentence(), decision.document()))


def _call_id_is_sound(request: wire.Request) -> bool:
    """Whether the caller's own id, if there is one, can be one. Else a resend under it would be forwarded again."""
    named = request.meta.get(_CALL_ID, "-")
    return isinstance(named, str) and is_call_id(named)


def _cursor(cursor: Json) -> str | None:
    """The reference that a page starts after; None for a cursor we did not make."""
    if cursor is None:
        return ""
    try:
        return base64.urlsafe_b64decode(str(cursor).encode()).decode()
    except (binascii.Error, UnicodeDecodeError, UnicodeEncodeError):
        return None


def _cursor_after(known: ReviewedTool) -> str:
    return base64.urlsafe_b64encode(known.tool.ref.encode()).decode()
