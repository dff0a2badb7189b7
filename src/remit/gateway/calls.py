"""What is forwarded: a call of a tool (or of what stands beside tools), opened, forwarded at most once, and closed.

A call is forwarded only with an Allow in hand, over a connection whose tool list was just compared with the pins; and
its result is handed on only after the outcome was recorded. Nothing that was sent is sent again.
"""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import structlog

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.decisions import Allow, Decision
from remit.core.entitlements import CALL
from remit.core.errors import BadInput, Conflict, RemitError, Unavailable, UpstreamUnavailable
from remit.core.ids import RANDOM_BYTES, digits_of, is_call_id
from remit.core.servers import Server
from remit.core.times import SECOND
from remit.gateway import asking, meta, questions, relay, revisions, wire
from remit.gateway.exchange import GivenUp
from remit.gateway.forms import NotRelayed
from remit.gateway.servers import Ready, Servers
from remit.gateway.streams import stream_of
from remit.gateway.underway import UnderWay
from remit.gateway.upstream import ErrorReply, NotSent, OutcomeUnknown, Reply, Result, Stale
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.guards.secrets import redact_known
from remit.services import live
from remit.services.authenticate import STALE
from remit.services.close import close_call
from remit.services.decide import Forwarder, open_call
from remit.services.deps import Deps
from remit.services.listing import Sight, look

RESULT_LIMITS: Final = JsonLimits(max_bytes=10_485_760, max_depth=64)
_GRACE: Final = 10.0
_RECORDING: Final = 2.0
_LEAST: Final = 0.5
_CALL_ID: Final = "remit/call_id"
_CALL_ID_FORM: Final = f"{_CALL_ID} is 1 to 64 letters, digits, dots, hyphens and underscores"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Within:
    """The time that one attempt has, in milliseconds: ``whole`` from ``since`` on, when its intent runs out."""

    since: int
    whole: int


class ToolCalls:
    """Steps 1 to 12 of the life of a tool call, as the gateway walks them."""

    def __init__(self, deps: Deps, servers: Servers, timeout: float) -> None:
        """``timeout`` is how many seconds an upstream call may take."""
        self._deps = deps
        self._servers = servers
        self._timeout = timeout
        self.under_way = UnderWay()

    async def call(self, sight: Sight, ref: str, request: wire.Request, caller: SessionCaller) -> bytes:
        """The response to one ``tools/call`` of ``ref``. Raises ``wire.Fault`` for a call id that can't be one."""
        if not _call_id_is_sound(request):
            raise wire.Fault(wire.INVALID_PARAMS, _CALL_ID_FORM)
        retry = relay.taken_up(self._deps, request, caller, ref)
        if isinstance(retry, bytes):
            return retry
        again = retry.call_id is not None or _CALL_ID not in request.meta
        self.under_way.begin(caller, request)
        try:
            answer = await self._attempt(sight, ref, request, caller, retry, again=again)
            # Nothing was sent, so nothing was done: once more over a fresh connection, compared and decided anew.
            return answer or await self._attempt(sight, ref, request, caller, retry.once_more(), again=False) or b""
        finally:
            self.under_way.end(caller, request)
            request.exchange.hear_no_more()

    async def _attempt(
        self, sight: Sight, ref: str, request: wire.Request, caller: SessionCaller, retry: relay.Retry, *, again: bool
    ) -> bytes | None:
        """One decision and at most one forward; None when nothing was sent over a stale connection and ``again``."""
        request.exchange.hear_no_more()
        ready, trouble = await self._prepare(sight, ref)
        arguments = request.params.get("arguments", {})
        own = retry.call_id or self._call_id(request)
        call = ProposedCall(own, ref, arguments if isinstance(arguments, Mapping) else {}, retry.inputs)
        within = Within(self._deps.clock.now(), int((self._timeout + _GRACE) * SECOND))
        forwarder = Forwarder(self._deps.instance, within.whole)
        try:
            decision = await open_call(self._deps, caller, call, forwarder)
        except Conflict as error:
            raise wire.Fault(wire.INVALID_PARAMS, error.detail) from error
        if not isinstance(decision.verdict, Allow):
            return asking.question(self._deps, request, caller, decision, retry) or _not_allowed(request, decision)
        if sight.authority is not self._deps.authority.newest:
            # The registry moved on since it was looked at: the server's record, too, is to be the one decided on.
            ready, trouble = await self._prepare_anew(caller, ref)
        if decision.replayed:
            text = f"Remit: {ref} was already taken up under this call id, and is not sent again"
            text += f" (intent {decision.verdict.intent})."
            return request.answer(wire.tool_error(text, decision.document()))
        if ready is not None and ready.listed.get(decision.tool) != decision.fingerprint:
            # Another connection of this server shows what was reviewed; this one does not.
            self._servers.distrust(ready)
            ready, trouble = None, Stale("this connection lists another definition of it")
        try:
            return await self._forward(request, caller, decision, ready, trouble, retry, within, again=again)
        except wire.Fault:
            raise
        except Exception as error:
            # The intent stands, so whatever went wrong here has an end that is written down.
            log.exception("forward.failed", session=caller.session, cause=type(error).__name__)
            said = f"Remit: what became of {decision.tool} is not known: something went wrong in Remit."
            return await self._closed(request, caller, decision, Outcome("unknown"), ready, said)

    async def refuse(self, ref: str, request: wire.Request, caller: SessionCaller) -> bytes:
        """The Deny for a call whose session no longer lives. If it came alive meanwhile, nothing is forwarded."""
        arguments = request.params.get("arguments", {})
        call = ProposedCall(self._call_id(request), ref, arguments if isinstance(arguments, Mapping) else {})
        try:
            decision = await open_call(self._deps, caller, call, Forwarder(self._deps.instance))
        except Conflict as error:
            raise wire.Fault(wire.INVALID_PARAMS, error.detail) from error
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
        except Exception as error:
            # The call is decided all the same, and its refusal has an event; a request that just broke would have none.
            log.exception("prepare.failed", session=sight.session.id, cause=type(error).__name__)
            return None, UpstreamUnavailable("something went wrong in Remit on the way to its server")

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
        retry: relay.Retry,
        within: Within,
        *,
        again: bool,
    ) -> bytes | None:
        """Step 9, then the close. None when ``again`` and an open connection turned out to be stale."""
        try:
            if ready is None:
                raise trouble if isinstance(trouble, NotSent) else NotSent(trouble.detail if trouble else "no server")
            if retry.round is not None and not ready.connection.stateless:
                raise NotSent("the server that asked is now met in an older revision, which takes no answers")
            async with ready.lane.turn():
                left = await self._still_wanted(request, caller, decision, within)
                reply = await request.exchange.during(self._sent(request, caller, decision, ready, retry, left))
        except GivenUp:
            said = f"Remit: what became of {decision.tool} is not known: its client gave it up while it was under way."
            return await self._closed(request, caller, decision, Outcome("unknown"), ready, said)
        except NotSent as error:
            said = f"Remit: {decision.tool} was not called: {error.detail}. {error.hint}"
            answer = await self._closed(request, caller, decision, Outcome("failed", not_acted=True), ready, said)
            return None if again and isinstance(error, Stale) and not request.exchange.given_up else answer
        except OutcomeUnknown as error:
            said = f"Remit: what became of {decision.tool} is not known: {error.detail}. {error.hint}"
            return await self._closed(request, caller, decision, Outcome("unknown"), ready, said)
        if isinstance(reply, ErrorReply):
            return await self._protocol_error(request, caller, decision, ready, reply)
        return await self._result(request, caller, decision, ready, reply)

    async def _still_wanted(
        self, request: wire.Request, caller: SessionCaller, decision: Decision, within: Within
    ) -> float:
        """The seconds that a call has, now that its turn has come.

        Connecting and waiting in line take their time. Raises ``NotSent`` for a call that was given up meanwhile, that
        was stopped, or whose intent would run out before its server's answer could be recorded.
        """
        now = self._deps.clock.now()
        if now - within.since >= STALE:
            stopped = await live.since(self._deps, caller, decision)
            if stopped is not None:
                raise NotSent(f"while it waited, {stopped.text}", hint="Nothing was acted on.")
        if request.exchange.given_up:
            raise NotSent("its client gave it up before that")
        left = (within.since + within.whole - now) / SECOND - _RECORDING
        if left < _LEAST:
            raise NotSent("it waited until too little of its time was left")
        return left

    def _sent(
        self,
        request: wire.Request,
        caller: SessionCaller,
        decision: Decision,
        ready: Ready,
        retry: relay.Retry,
        left: float,
    ) -> Coroutine[Any, Any, Reply]:
        """The call on its way to its server."""
        stream = stream_of(self._deps, caller, decision.call_id, request, ready.secrets)
        beside = meta.forwarded(request.meta) | (stream.meta(stateless=ready.connection.stateless) if stream else {})
        repeated = None
        if ready.connection.stateless:
            repeated = self._repeated(request, decision)
            beside |= self._declared(request, decision)
        name = decision.tool.partition("/")[2]
        params = retry.continued(wire.upstream_params(request.method, name, request.raw_arguments, beside))
        return ready.connection.call(request.method, params, min(self._timeout, ready.timeout, left), repeated, stream)

    def _repeated(self, request: wire.Request, decision: Decision) -> Mapping[str, str]:
        """The headers that repeat arguments of this call towards a stateless server."""
        authority, arguments = self._deps.authority.newest, request.params.get("arguments", {})
        known = authority.tools.get(decision.tool) if authority else None
        if known is None or not isinstance(arguments, Mapping):
            return {}
        return revisions.mirrored(mirrors_of(known.body), arguments)

    def _declared(self, request: wire.Request, decision: Decision) -> Mapping[str, Json]:
        """What its server may ask of the client in the course of this call; nothing is the rule, and is not said."""
        server = self._server(decision) if request.terms.capabilities else None
        may = questions.NOTHING if server is None else relay.may_ask(request, server)
        return {} if may == questions.NOTHING else {revisions.CAPABILITIES: may.capabilities()}

    def _server(self, decision: Decision) -> Server | None:
        """The record of the server that a decision is about, as it is now."""
        authority = self._deps.authority.newest
        known = authority.tools.get(decision.tool) if authority else None
        return known.server if known else None

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
        if isinstance(result, Mapping) and _is_task(result):
            said = (
                f"Remit: what becomes of {decision.tool} is not known: its server made a task of the call, which "
                "nobody asked for, and tasks are not followed. Its owner can look at the server's own records."
            )
            return await self._closed(request, caller, decision, Outcome("unknown"), ready, said)
        if isinstance(result, Mapping) and result.get("resultType", "complete") != "complete":
            return await self._asked(request, caller, decision, ready, result)
        cleaned = (meta.without_ours if request.method == CALL else meta.without_ours_beside)(result)
        failed = isinstance(result, Mapping) and result.get("isError") is True
        outcome = Outcome("failed" if failed else "done", result=cleaned)
        raw = reply.raw if cleaned is result else as_json(cleaned)
        return await self._closed(request, caller, decision, outcome, ready, None, raw)

    async def _asked(
        self,
        request: wire.Request,
        caller: SessionCaller,
        decision: Decision,
        ready: Ready | None,
        result: Mapping[str, Json],
    ) -> bytes:
        """Upstream wants something of the client first, and may have acted all the same."""
        server = self._server(decision)
        decided = {"ref": decision.tool, "hash": decision.arguments_hash, "fingerprint": decision.fingerprint or ""}
        try:
            if server is None or ready is None or not ready.connection.stateless:
                raise NotRelayed("it is met in a revision that has no such result")
            if request.method != CALL:
                raise NotRelayed("only in the course of a tool call may it ask")
            asked = relay.outgoing(self._deps, request, caller, server, decided, result, ready.secrets)
        except NotRelayed as no:
            said = f"Remit: {decision.tool} asked for more input, which is not passed on, and so did not answer: {no}."
            outcome = Outcome("failed", error="more input was asked for", may_have_acted=True)
            return await self._closed(request, caller, decision, outcome, ready, said)
        outcome = Outcome("failed", asked.recorded, error="more input was asked for", may_have_acted=True)
        return await self._closed(request, caller, decision, outcome, ready, None, asked.result)

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
        server = self._server(decision)
        if code == relay.MISSING_CAPABILITY and server is not None and ready is not None and ready.connection.stateless:
            why, fault = relay.lacking(request, server, error)
            answer = await self._closed(request, caller, decision, outcome, ready, f"Remit: {why}.")
            if fault is not None:
                raise fault
            return answer
        return await self._closed(request, caller, decision, outcome, ready, said, code=_passed(code))

    async def _closed(
        self,
        request: wire.Request,
        caller: SessionCaller,
        decision: Decision,
        outcome: Outcome,
        ready: Ready | None,
        said: str | None,
        raw: bytes = b"",
        code: int = wire.INTERNAL_ERROR,
    ) -> bytes:
        """Record the outcome; only then answer, with ``said`` or with the result as it may be shown."""
        secrets = ready.secrets if ready else None
        if request.exchange.hearing is not None:
            outcome = replace(outcome, heard=await request.exchange.hearing.heard())
        try:
            delivery = await close_call(self._deps, caller, decision.call_id, outcome, secrets, by=self._deps.instance)
        except (Unavailable, Conflict) as error:
            text = f"Remit: the outcome of {decision.tool} could not be recorded, so it is withheld. {error.hint}"
            return request.answer(wire.tool_error(text))
        # An Allow with reasons is one of observe mode, which is to be seen wherever its result is.
        notice = decision.document() if decision.reasons else None
        if said is not None and not delivery.withheld:
            return request.answer(wire.tool_error(f"{said} [event {delivery.event}]", notice, code=code))
        if delivery.withheld and (said is not None or request.method != CALL):
            text = f"Remit: {delivery.withheld}. [event {delivery.event}]"
            return request.answer(wire.tool_error(text, notice, code=code))
        if notice is not None:
            return request.answer(as_json(meta.noticed(delivery.result, notice)))
        return request.answer(as_json(delivery.result) if delivery.altered else raw)

    def _call_id(self, request: wire.Request) -> str:
        """The caller's own id for a resend, or one of ours: JSON-RPC ids start again with every client."""
        named = request.meta.get(_CALL_ID)
        if isinstance(named, str) and is_call_id(named):
            return named
        # In order of time, so that rows of one session lie beside each other; no one can guess the rest.
        return f"gw-{digits_of(self._deps.clock.now(), self._deps.entropy.bytes(RANDOM_BYTES))}"


def _is_task(result: Mapping[str, Json]) -> bool:
    """Whether a server hands out a task in place of a result (2025-11-25, and the extension of 2026-07-28).

    Neither was asked for: the member ``task`` is taken off a call, and the capability is declared to no server.
    """
    return result.get("resultType") == "task" or (isinstance(result.get("task"), Mapping) and "content" not in result)


def _not_allowed(request: wire.Request, decision: Decision) -> bytes:
    """A Deny or an Ask as a tool result. What is hidden is named as it was asked for."""
    if not decision.hidden:
        return request.answer(wire.tool_error(decision.sentence(), decision.document()))
    decision = replace(decision, tool=str(request.params.get("name", "")))
    if request.method == CALL:
        return request.answer(wire.tool_error(decision.sentence(), decision.document()))
    said = (
        f"Remit refused {decision.tool}: there is no such thing here. Use what the lists show; access can be requested."
    )
    said += f" [{decision.reasons[0].code}, event {decision.event}]"
    return request.answer(wire.tool_error(said, decision.document(), wire.INVALID_PARAMS))


def _passed(code: object) -> int:
    """The code of a server's error as it is passed on, where a method answers with errors: only what speaks of params.

    Others tell a client to do something (ask its user, connect anew), and no server tells ours.
    """
    return code if isinstance(code, int) and code in (wire.INVALID_PARAMS, wire.NOT_FOUND) else wire.INTERNAL_ERROR


def _call_id_is_sound(request: wire.Request) -> bool:
    """Whether the caller's own id, if there is one, can be one. Else a resend under it would be forwarded again."""
    named = request.meta.get(_CALL_ID, "-")
    return isinstance(named, str) and is_call_id(named)


@lru_cache(maxsize=4_096)
def mirrors_of(body: bytes) -> tuple[revisions.Mirror, ...]:
    """What a pinned definition wants repeated in headers."""
    if b"x-mcp-header" not in body:
        return ()
    document = parse(body)
    return revisions.mirrors(document.get("inputSchema") if isinstance(document, Mapping) else None)
