"""Come in here to speak to a Remit server from Python: one method for each route of the HTTP API.

``RemitClient`` is what the command line uses, and what a host program or a decision-API caller may use. Answers are
plain JSON values with exact numbers (``int`` and ``Decimal``); errors are the classes of ``remit.core.errors``, chosen
by the ``code`` of the RFC 9457 problem that came back.

Rules:

- It fails closed. No answer, an answer that is not JSON, or one of an unknown form raises ``Unavailable``; nothing is
  ever read as a yes that did not say so. A caller that gets an exception from ``decide`` must not make the call.
- The credential goes to the host in ``base_url`` and nowhere else: redirects are not followed and the environment's
  proxies are not used.
- One client holds one credential at a time. A host key and a session token are two clients.
- Nothing is retried: a retry of ``decide`` or ``observe`` is the caller's choice and safe with the same ``call_id``.

What it does not know: where the server is, where keys are kept, and how anything looks on a screen.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import quote

import httpx

from remit.core.canonical import Json, canonical
from remit.core.errors import NotFound, Unauthenticated, Unavailable
from remit.sdk.answers import HINT, NOT_KNOWN, broken_off, parse, refusal, unreachable

Noun: TypeAlias = Literal["agents", "servers", "grants", "keys", "people", "rules", "clients", "blueprints", "sessions"]
Document: TypeAlias = dict[str, Any]

# A call that waits for an upstream may take a minute; nothing else takes as long.
TIMEOUT: Final = 75.0
_PAGE: Final = 200
_OK: Final = range(200, 300)
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
# With these the MCP door answers in JSON-RPC.
_ANSWERED: Final = (httpx.codes.OK, httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND)
# How canonical JSON writes the end of a checkpoint line, with which every whole export ends.
_LAST_LINE: Final = b'","t":"checkpoint"}\n'


@dataclass(frozen=True, slots=True)
class McpAnswer:
    """What comes back for one MCP message: one JSON document or an event stream, in parts of any size."""

    is_stream: bool
    parts: AsyncIterator[bytes]


class RemitClient:
    """One connection to one Remit with one credential. Use it as an async context manager, or ``close`` it."""

    def __init__(
        self,
        base_url: str,
        credential: str | None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """``base_url`` is the server's origin; ``credential`` a key or token; ``timeout`` is in seconds.

        ``transport`` replaces the network, for instance by ``httpx.ASGITransport`` over the application itself.
        """
        headers = {"accept": "application/json"}
        if credential is not None:
            headers["authorization"] = f"Bearer {_header_safe(credential)}"
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            transport=transport,
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def use(self, credential: str) -> None:
        """Send ``credential`` from the next request on, such as the renewed token of the same session."""
        self._http.headers["authorization"] = f"Bearer {_header_safe(credential)}"

    # ---- MCP

    @asynccontextmanager
    async def mcp_stream(
        self, message: bytes, server: str | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[McpAnswer | None]:
        """Send one MCP message as it stands (session token): what comes back, as it comes; None where nothing is due.

        With ``server``, tools go by that server's own names; ``headers`` are those that the message's revision wants.
        A JSON-RPC error is an answer and not raised. Leaving before the end closes the connection.
        """
        path = "/mcp" if server is None else f"/mcp/{_part(server)}"
        own = {"content-type": _JSON, "accept": f"{_JSON}, {_EVENTS}"}
        try:
            async with self._http.stream("POST", path, content=message, headers={**(headers or {}), **own}) as response:
                kind = response.headers.get("content-type", "").partition(";")[0]
                if response.status_code == httpx.codes.ACCEPTED:
                    yield None
                elif response.status_code in _ANSWERED and kind == _JSON:
                    yield McpAnswer(is_stream=False, parts=response.aiter_bytes())
                elif response.status_code == httpx.codes.OK and kind == _EVENTS:
                    yield McpAnswer(is_stream=True, parts=response.aiter_bytes())
                else:
                    await response.aread()
                    raise refusal(response, NOT_KNOWN)
        except httpx.HTTPError as error:
            raise broken_off(error) from error

    async def mcp(
        self, message: bytes, server: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes | None:
        """Send one MCP message as ``mcp_stream`` does, to be answered by one JSON document; None where none is due."""
        path = "/mcp" if server is None else f"/mcp/{_part(server)}"
        try:
            response = await self._http.post(path, content=message, headers={**(headers or {}), "content-type": _JSON})
        except httpx.HTTPError as error:
            raise broken_off(error) from error
        if response.status_code == httpx.codes.ACCEPTED:
            return None
        is_json = response.headers.get("content-type", "").partition(";")[0] == _JSON
        if response.status_code in _ANSWERED and is_json:
            return response.content
        raise refusal(response, NOT_KNOWN)

    # ---- sessions and calls

    async def start_session(self, request: Mapping[str, Json]) -> Document:
        """Start a session (host key). ``request`` is a ``SessionRequest``; the answer holds the first session token."""
        return await self._object("POST", "/v1/sessions", request)

    async def renew_token(self, session: str) -> Document:
        """A fresh token for a live session (host key). Raises ``WrongState`` when it has ended."""
        return await self._object("POST", f"/v1/sessions/{_part(session)}/token", {})

    async def session(self, session: str) -> Document:
        """Labels, budgets and state of a session (its owner, or an auditor)."""
        return await self._object("GET", f"/v1/sessions/{_part(session)}")

    async def end_session(self, session: str, reason: str | None = None) -> None:
        """End a session: its tokens die (host key, or from within)."""
        await self._send("POST", f"/v1/sessions/{_part(session)}/end", {"reason": reason} if reason else {})

    async def kill_session(self, session: str, reason: str) -> Document:
        """Stop a session at once, with all that hangs on it (owner, administrator)."""
        return await self._object("POST", f"/v1/sessions/{_part(session)}/kill", {"reason": reason})

    async def decide(self, session: str, call_id: str, tool: str, arguments: Mapping[str, Json]) -> Document:
        """May this call be made (session token)? A ``Decision``: allow, deny and ask are all answers, not errors.

        Only ``decision == "allow"`` is a yes, and it is good for one call within 30 seconds.
        """
        body: dict[str, Json] = {"call_id": call_id, "tool": tool, "arguments": arguments}
        answer = await self._object("POST", f"/v1/sessions/{_part(session)}/decide", body)
        if answer.get("decision") not in ("allow", "deny", "ask"):
            raise Unavailable("the answer is no decision", hint=HINT)
        return answer

    async def observe(
        self,
        session: str,
        call_id: str,
        outcome: Literal["done", "failed", "unknown"],
        result: Json = None,
        error: str | None = None,
    ) -> Document:
        """Report what became of an allowed call (session token); hand on to the model only what comes back."""
        body: dict[str, Json] = {"call_id": call_id, "outcome": outcome}
        if result is not None:
            body["result"] = result
        if error is not None:
            body["error"] = error
        return await self._object("POST", f"/v1/sessions/{_part(session)}/observe", body)

    # ---- approvals

    async def approvals(self, state: str | None = None) -> list[Document]:
        """Every question to a person that the caller may see, oldest first."""
        return await self._all("/v1/approvals", {"state": state})

    async def approval(self, approval: str) -> Document:
        """One question, whole."""
        return await self._object("GET", f"/v1/approvals/{_part(approval)}")

    async def answer(
        self, approval: str, answer: Literal["approve", "deny"], scope: str | None = None, note: str | None = None
    ) -> Document:
        """A person's yes or no. Raises ``AlreadyAnswered``, ``ScopeNotOffered``, ``Forbidden``."""
        body: dict[str, Json] = {"answer": answer}
        if scope is not None:
            body["scope"] = scope
        if note is not None:
            body["note"] = note
        return await self._object("POST", f"/v1/approvals/{_part(approval)}/answer", body)

    # ---- access requests

    async def access_requests(self, state: str | None = None) -> list[Document]:
        """What agents were refused and the caller could change, oldest first."""
        return await self._all("/v1/access-requests", {"state": state})

    async def access_request(self, request: str) -> Document:
        """One of them, with a proposed grant. Nothing is granted by it."""
        return await self._object("GET", f"/v1/access-requests/{_part(request)}")

    async def close_access_request(self, request: str, reason: str | None = None) -> Document:
        """Say that it is dealt with. Raises ``WrongState`` when it is not open."""
        body: dict[str, Json] = {"reason": reason} if reason else {}
        return await self._object("POST", f"/v1/access-requests/{_part(request)}/close", body)

    # ---- the registry

    async def listing(self, noun: Noun, **filters: str | None) -> list[Document]:
        """Every record of a noun that the caller may see and that the filters let through."""
        return await self._all(f"/v1/{noun}", filters)

    async def create(self, noun: Noun, document: Mapping[str, Json]) -> Document:
        """A new record from its file form. A secret in the answer appears this once."""
        return await self._object("POST", f"/v1/{noun}", document)

    async def get(self, noun: Noun, name: str) -> Document:
        """One record, by id (or by name, where its noun has names)."""
        return await self._object("GET", f"/v1/{noun}/{_part(name)}")

    async def change(self, noun: Noun, name: str, change: Mapping[str, Json]) -> Document:
        """Move a record to another state, such as ``{"state": "suspended"}``. Raises ``WrongState``."""
        return await self._object("PATCH", f"/v1/{noun}/{_part(name)}", change)

    async def kill_agent(self, agent: str, reason: str) -> Document:
        """Stop an agent at once, with its sessions, tokens and pending questions."""
        return await self._object("POST", f"/v1/agents/{_part(agent)}/kill", {"reason": reason})

    async def act(self, noun: Noun, name: str, verb: str, body: Mapping[str, Json]) -> Document:
        """Do something to one record that its routes have a verb for, such as ``review`` for an agent."""
        return await self._object("POST", f"/v1/{noun}/{_part(name)}/{verb}", body)

    async def reach(self, agent: str, without: str | None = None) -> Document:
        """What an agent could do with what it holds; ``without`` leaves out a grant (id) or a tool (reference)."""
        return await self._object("GET", f"/v1/agents/{_part(agent)}/reach", params={"without": without})

    async def advice(self, agent: str, since: str | None = None, *, young: bool = False) -> Document:
        """What the grants of an agent could be narrowed to, from its calls in the ISO 8601 duration ``since``."""
        params = {"since": since, "young": "true" if young else None}
        return await self._object("GET", f"/v1/agents/{_part(agent)}/advice", params=params)

    async def rotate_key(self, key: str, overlap: str | None = None) -> Document:
        """A new key in place of this one, which works on for the duration ``overlap``; the new secret appears once."""
        return await self._object("POST", f"/v1/keys/{_part(key)}/rotate", {"overlap": overlap} if overlap else {})

    async def sync_server(self, server: str) -> Document:
        """List the server's tools now and say what is new, changed or gone."""
        return await self._object("POST", f"/v1/servers/{_part(server)}/sync", {})

    async def import_tools(self, server: str, tools: Sequence[Mapping[str, Json]]) -> Document:
        """Take in Tool objects before the server is connected; they are quarantined like any new ones."""
        return await self._object("POST", f"/v1/servers/{_part(server)}/import", {"tools": tools})

    async def check_server(self, server: str) -> Document:
        """Whether the server can be reached now, and what to do if not. Nothing is changed."""
        return await self._object("POST", f"/v1/servers/{_part(server)}/check", {})

    async def approve_server(self, server: str, fingerprint: str) -> Document:
        """Agree to what the server itself is now, if that is still ``fingerprint``."""
        return await self._object("POST", f"/v1/servers/{_part(server)}/approve", {"fingerprint": fingerprint})

    async def change_server(self, server: str, document: Mapping[str, Json]) -> Document:
        """Put another file in place of the server's record; pins and stored secrets stay."""
        return await self._object("POST", f"/v1/servers/{_part(server)}/change", document)

    async def observe_server(self, server: str, lasting: str | None) -> Document:
        """Observe mode on for a duration such as ``P7D``, or off with None."""
        mode: dict[str, Json] = {"off": True} if lasting is None else {"for": lasting}
        return await self._object("POST", f"/v1/servers/{_part(server)}/observe", mode)

    async def observed(self, server: str) -> Document:
        """What observe mode let through there, by tool, reason, rule and argument."""
        return await self._object("GET", f"/v1/servers/{_part(server)}/observed")

    async def store_secret(self, server: str, place: str, name: str, value: str) -> Document:
        """Keep a credential, sealed, to be injected at ``place`` (``header``, ``env`` or ``tls``) ``name``."""
        body: dict[str, Json] = {"place": place, "name": name, "value": value}
        return await self._object("POST", f"/v1/servers/{_part(server)}/secrets", body)

    # ---- tools

    async def tools(self, state: str | None = None) -> list[Document]:
        """Every tool, or those in one state."""
        return await self._all("/v1/tools", {"state": state})

    async def tool(self, ref: str) -> Document:
        """One tool with its definition as it was received."""
        return await self._object("GET", _tool_path(ref))

    async def tool_diff(self, ref: str, start: str | None = None, end: str | None = None) -> Document:
        """How two definitions of a tool differ; by default the pinned one and the one offered now."""
        return await self._object("GET", _tool_path(ref, "diff"), params={"from": start, "to": end})

    async def tool_review(self, ref: str) -> Document:
        """The review in force."""
        return await self._object("GET", _tool_path(ref, "review"))

    async def review_tool(self, ref: str, review: Mapping[str, Json]) -> Document:
        """Sign a review of the quarantined fingerprint. Raises ``StaleFingerprint``."""
        return await self._object("POST", _tool_path(ref, "review"), review)

    async def suggested_review(self, ref: str, results: Sequence[Mapping[str, Json]] = ()) -> Document:
        """A suggested review of what is offered now, with why; ``results`` are recorded CallToolResults."""
        body: dict[str, Json] = {"results": results} if results else {}
        return await self._object("POST", _tool_path(ref, "suggest"), body)

    async def approve_tool(self, ref: str, fingerprint: str) -> Document:
        """Carry the last review over to this fingerprint. Raises ``StaleFingerprint``."""
        return await self._object("POST", _tool_path(ref, "approve"), {"fingerprint": fingerprint})

    # ---- policies

    async def policies(self) -> Document:
        """The policies in force, with their version."""
        return await self._object("GET", "/v1/policies")

    async def check_policies(self, sources: Sequence[Mapping[str, Json]]) -> Document:
        """What is wrong or odd about these policies; ``sources`` are ``{"file", "text"}``. Nothing is changed."""
        return await self._object("POST", "/v1/policies/check", {"sources": sources})

    async def apply_policies(self, sources: Sequence[Mapping[str, Json]]) -> Document:
        """Put this set in force, whole. A bad set is refused and the old one stays."""
        return await self._object("POST", "/v1/policies/apply", {"sources": sources})

    async def roll_back_policies(self, version: str) -> Document:
        """Put an earlier set in force again."""
        return await self._object("POST", "/v1/policies/rollback", {"version": version})

    async def draft_rules(self, text: str) -> Document:
        """Rules proposed from a policy document, and each of its sentences. Nothing is changed."""
        return await self._object("POST", "/v1/rule-drafts", {"text": text})

    # ---- the log

    async def events(self, after: int | None = None, limit: int = _PAGE, **filters: str | None) -> Document:
        """One page of events with an index above ``after``, oldest first."""
        params = {"limit": str(limit), "after": None if after is None else str(after), **filters}
        return await self._object("GET", "/v1/audit/events", params=params)

    async def event(self, index: int) -> Document:
        """One event."""
        return await self._object("GET", f"/v1/audit/events/{index}")

    async def trace(self, session: str) -> Document:
        """A session as ``remit lab replay`` reads it."""
        return await self._object("GET", f"/v1/sessions/{_part(session)}/trace")

    async def explanation(self, index: int) -> Document:
        """Why the decision at this index was what it was."""
        return await self._object("GET", f"/v1/audit/events/{index}/explanation")

    async def explain(self, session: str, tool: str, arguments: Mapping[str, Json]) -> Document:
        """What would be decided on a call, were it made now in this session, and why. Nothing of it stays."""
        body: dict[str, Json] = {"tool": tool, "arguments": arguments}
        return await self._object("POST", f"/v1/sessions/{_part(session)}/explain", body)

    async def checkpoint(self) -> str:
        """The newest signed checkpoint, as C2SP text."""
        return (await self._send("GET", "/v1/audit/checkpoint")).text

    async def proof(self, index: int) -> str:
        """A C2SP ``tlog-proof@v1`` that the event is in the log."""
        return (await self._send("GET", f"/v1/audit/proof/{index}")).text

    async def export(self, *, private: bool = False) -> AsyncIterator[bytes]:
        """The whole log, as the bytes of JSON lines, in parts of any size; with values and salts when ``private``.

        Raises ``Unavailable``, after the last part that came, when they do not end as an export does.
        """
        params = {"private": "true"} if private else {}
        try:
            async with self._http.stream("GET", "/v1/audit/export", params=params) as response:
                if response.status_code not in _OK:
                    await response.aread()
                    raise refusal(response)
                end = b""
                async for part in response.aiter_bytes():
                    end = (end + part)[-len(_LAST_LINE) :]
                    yield part
        except httpx.HTTPError as error:
            raise unreachable(error) from error
        if end != _LAST_LINE:
            raise Unavailable("the export broke off before its signed end", hint=HINT)

    async def unknown_calls(self) -> list[Document]:
        """Calls with an intent and no known outcome: spent, and to be settled by a person."""
        return await self._all("/v1/audit/unknown", {})

    async def settle(self, settlement: Mapping[str, Json]) -> Document:
        """Say what became of an unknown call, and why one knows: ``call``, ``outcome``, ``because``, ``session``?."""
        return await self._object("POST", "/v1/audit/unknown/settle", settlement)

    async def jwks(self) -> Document:
        """The public keys that tokens are checked with."""
        return await self._object("GET", "/oauth/jwks")

    async def rotate_token_keys(self) -> Document:
        """Have another key sign tokens, from a minute on."""
        return await self._object("POST", "/v1/token-keys", {})

    # ---- health

    async def status(self) -> Document:
        """Whether Remit can serve, and how much there is of what."""
        return await self._object("GET", "/v1/status")

    async def healthy(self) -> bool:
        """Whether a Remit lives at this address. Never raises for a silent or strange one: that is a no."""
        try:
            return (await self._http.get("/healthz")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    # ---- how all of them are sent

    async def _all(self, path: str, filters: Mapping[str, str | None]) -> list[Document]:
        found: list[Document] = []
        after: str | None = None
        while True:
            page = await self._object("GET", path, params={**filters, "limit": str(_PAGE), "after": after})
            items, following = page.get("items"), page.get("next")
            if not isinstance(items, list) or (following is not None and following == after):
                raise Unavailable("the answer is no page of a list", hint=HINT)
            found.extend(items)
            if following is None:
                return found
            after = str(following)

    async def _object(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json] | None = None,
        params: Mapping[str, str | None] | None = None,
    ) -> Document:
        value = parse(await self._send(method, path, body, params))
        if not isinstance(value, dict):
            raise Unavailable("the answer is no JSON object", hint=HINT)
        return value

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json] | None = None,
        params: Mapping[str, str | None] | None = None,
    ) -> httpx.Response:
        asked = {name: value for name, value in (params or {}).items() if value is not None}
        # Canonical bytes on the wire: decimals arrive as they were written, and a binary float is refused here.
        content = None if body is None else canonical(body)
        headers = None if body is None else {"content-type": "application/json"}
        try:
            response = await self._http.request(method, path, params=asked, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise unreachable(error) from error
        if response.status_code not in _OK:
            raise refusal(response)
        return response


def _part(name: str) -> str:
    """One path segment. Raises ``NotFound`` for what no name or id can be and a path would misread."""
    if name in ("", ".", ".."):
        raise NotFound(f"{name!r} is neither a name nor an id")
    return quote(name, safe="")


def _tool_path(ref: str, verb: str | None = None) -> str:
    server, slash, tool = ref.partition("/")
    if not slash:
        raise NotFound(f"{ref!r} is not server/tool", hint="Write it as `remit tool list` does, such as office/pay.")
    path = f"/v1/tools/{_part(server)}/{_part(tool)}"
    return f"{path}/{verb}" if verb else path


def _header_safe(credential: str) -> str:
    if not credential.isascii() or not credential.isprintable() or " " in credential:
        raise Unauthenticated("this credential holds characters that no key or token has")
    return credential
