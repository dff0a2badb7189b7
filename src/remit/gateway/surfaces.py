"""What the door serves beside tools: resources, prompts, completion.

What is live at a server (its resources, what they hold, the messages of a prompt, completions) is asked for by the
governed call of an entitlement. What is pinned (its prompts, its resource templates) is answered here, from the bytes
that were reviewed, and only to a chain that reaches it. INVARIANT: a request never names its entitlement, so no method
reaches one of another kind.

At the flat door a prompt has an alias as a tool has, and a URI has its server before it: ``files+file:///a`` is
``file:///a`` at ``files``. It is split at the first ``+``, and nothing in it is decoded or folded.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final, Protocol, TypeAlias

import msgspec

from remit.core.canonical import Json, canonical
from remit.core.credentials import SessionCaller
from remit.core.entitlements import COMPLETE, GET, LIST, PROMPT, READ, Method, nowhere
from remit.core.errors import BadInput, StoreUnavailable
from remit.core.ids import check_slug, tool_ref
from remit.gateway import wire
from remit.gateway.calls import ToolCalls
from remit.guards.json_in import as_json, parse
from remit.services.authority import ReviewedTool
from remit.services.deps import Deps
from remit.services.listing import Sight

PAGE: Final = 200
MOST_LISTS: Final = 8
"""Servers that are asked in a row for one page of the flat list of resources."""
GOVERNED: Final[frozenset[str]] = frozenset({READ, LIST, GET, COMPLETE})
_MAX_CURSOR: Final = 16_384

Serving: TypeAlias = Callable[[Sight, "Door", wire.Request, SessionCaller], Awaitable[bytes]]


class Door(Protocol):
    """Where a request came in: ``server`` is its name at a door of one server, None at the flat one."""

    @property
    def server(self) -> str | None:
        """The server."""


class _Templates(msgspec.Struct, frozen=True, rename="camel"):
    resource_templates: list[msgspec.Raw] = []


class _Template(msgspec.Struct, frozen=True, rename="camel"):
    uri_template: str


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    resources: list[msgspec.Raw]
    next_cursor: str | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Answered(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error = _Error()


_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_answers = msgspec.json.Decoder(_Answered)
_pages = msgspec.json.Decoder(_Page)


class Surfaces:
    """The methods beside ``tools/call`` and ``tools/list`` of both eras."""

    def __init__(self, deps: Deps, calls: ToolCalls, timeout: float) -> None:
        """``timeout`` is how many seconds the flat list of resources goes on asking servers."""
        self._deps = deps
        self._calls = calls
        self._timeout = timeout
        self.methods: Mapping[str, Serving] = {
            READ: self._read,
            LIST: self._resources,
            "resources/templates/list": self._templates,
            "prompts/list": self._prompts,
            GET: self._prompt,
            COMPLETE: self._complete,
        }

    async def refuse(self, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        """The Deny for a request whose session no longer lives: with an event, as for a tool."""
        asked = request.params.get("uri") or request.params.get("name") or request.method
        ref = tool_ref(door.server, request.method) if door.server is not None else request.method
        arguments = {name: value for name, value in request.params.items() if name != "_meta"}
        return await self._calls.refuse(ref, _as_call(request, str(asked), arguments), caller)

    # ---------------------------------------------------------------------------------------------- resources

    async def _read(self, sight: Sight, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        asked = _named(request, "uri")
        server, uri = place(door, asked)
        call = _private(_as_call(request, asked, {"uri": uri}))
        return await self._calls.call(sight, tool_ref(server, READ), call, caller)

    async def _resources(self, sight: Sight, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        cursor = request.params.get("cursor")
        if cursor is not None and not isinstance(cursor, str):
            raise wire.Fault(wire.INVALID_PARAMS, "a cursor is a string")
        if door.server is None:
            return await self._every_resource(sight, request, caller, cursor)
        ref = tool_ref(door.server, LIST)
        if sight.reached(ref) is None:
            # What is hidden, not granted or not there has nothing in it, as in every list. Not a denial: clients ask
            # every door for its list, and a door that has none would suspend their session.
            return wire.result(request.raw_id, request.terms.page(b'{"resources":[]}'))
        call = _private(_unasked(_as_call(request, LIST, {"cursor": cursor} if cursor is not None else {})))
        return await self._calls.call(sight, ref, call, caller)

    async def _every_resource(
        self, sight: Sight, request: wire.Request, caller: SessionCaller, cursor: str | None
    ) -> bytes:
        """A page of what the reached servers list, one after the other; one that fails is passed over, and named.

        The cursor goes on with the first server that had no turn, or had not come to its end.
        """
        reached = sorted(known.server.name for known in sight.tools() if known.method == LIST)
        first, at = self._opened(caller, cursor) if cursor is not None else ("", None)
        pending, found, left_out = [name for name in reached if name >= first], list[bytes](), list[Json]()
        if first not in pending[:1]:
            at = None  # its server is not reached any more; its words are nothing for the next one
        last: bytes | None = None
        until = asyncio.get_running_loop().time() + self._timeout
        for _ in range(MOST_LISTS):
            if not pending or len(found) >= PAGE or asyncio.get_running_loop().time() > until:
                break
            call = _unasked(_as_call(_unnamed(request), LIST, {"cursor": at} if at is not None else {}))
            last = await self._calls.call(sight, tool_ref(pending[0], LIST), call, caller)
            page = _page(last)
            if isinstance(page, str):
                left_out.append({"server": pending[0], "text": page})
            else:
                found += [respelled(one, "uri", f"{pending[0]}+") for one in page.resources]
            at = None if isinstance(page, str) else page.next_cursor
            if at is None:
                pending.pop(0)
        if last is not None and len(left_out) == len(reached) and not found:
            return last
        more = b',"nextCursor":' + as_json(self._sealed(caller, pending[0], at)) if pending else b""
        note = b',"_meta":' + as_json({"remit/left_out": left_out}) if left_out else b""
        listed = b'{"resources":[' + b",".join(found) + b"]" + more + note + b"}"
        return wire.result(request.raw_id, request.terms.page(listed))

    async def _templates(self, sight: Sight, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        del caller
        shown = (
            (f"{known.tool.ref} {number:06}", partial(_template, door, known.server.name, raw))
            for known in _shown(sight, door, READ)
            for number, (_, raw) in enumerate(templates_of(known.body))
        )
        return _listed(request, b"resourceTemplates", shown)

    # ------------------------------------------------------------------------------------ prompts, completion

    async def _prompts(self, sight: Sight, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        del caller
        shown = ((known.tool.ref, partial(_prompt, door, known)) for known in _shown(sight, door, GET))
        return _listed(request, b"prompts", shown)

    async def _prompt(self, sight: Sight, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        return await self._calls.call(sight, _prompt_ref(sight, door, _named(request, "name")), request, caller)

    async def _complete(self, sight: Sight, door: Door, request: wire.Request, caller: SessionCaller) -> bytes:
        """A completion, for what this chain sees: for a prompt or template that it does not, there is nothing here."""
        given = request.params.get("ref")
        if not isinstance(given, Mapping) or given.get("type") not in ("ref/prompt", "ref/resource"):
            raise wire.Fault(wire.INVALID_PARAMS, "a completion names its ref, of type ref/prompt or ref/resource")
        server, own = _completed(sight, door, given)
        arguments: dict[str, Json] = {"ref": own}
        arguments |= {name: request.params[name] for name in ("argument", "context") if name in request.params}
        ref = tool_ref(server, COMPLETE) if server is not None else nowhere(COMPLETE, door.server or "all")
        return await self._calls.call(sight, ref, _unasked(_as_call(request, COMPLETE, arguments)), caller)

    # ------------------------------------------------------------------------------------------------ cursors

    def _sealed(self, caller: SessionCaller, server: str, at: str | None) -> str:
        """Where the flat list goes on. Sealed: what a server said to one session is nothing for another to send."""
        return base64.urlsafe_b64encode(self._deps.box.seal(canonical([server, at]), _bound(caller))).decode()

    def _opened(self, caller: SessionCaller, cursor: str) -> tuple[str, str | None]:
        try:
            if len(cursor) > _MAX_CURSOR:
                raise ValueError
            found = parse(self._deps.box.open(base64.urlsafe_b64decode(cursor.encode()), _bound(caller)))
        except (binascii.Error, ValueError, BadInput, StoreUnavailable):
            raise wire.Fault(wire.INVALID_PARAMS, "this cursor is not one of ours") from None
        server, at = found if isinstance(found, list) else ("", None)
        return str(server), at if isinstance(at, str) else None


def _bound(caller: SessionCaller) -> bytes:
    return canonical(["remit/v1/resources-cursor", caller.org, caller.agent, caller.session])


# Requests as calls


def _named(request: wire.Request, member: str) -> str:
    name = request.params.get(member)
    if not isinstance(name, str) or not name:
        raise wire.Fault(wire.INVALID_PARAMS, f"{request.method} says which one: {member}")
    return name


def _as_call(request: wire.Request, asked: str, arguments: Mapping[str, Json]) -> wire.Request:
    """The request as the call of an entitlement: these are its arguments, ``asked`` is what it is called in words."""
    params = {**request.params, "name": asked, "arguments": arguments}
    return replace(request, params=params, raw_arguments=as_json(dict(arguments)))


def _private(request: wire.Request) -> wire.Request:
    return replace(request, terms=replace(request.terms, private=True))


def _unasked(request: wire.Request) -> wire.Request:
    """A request whose client can't be asked anything by its result: the protocol has no such result for its method."""
    return replace(request, terms=replace(request.terms, capabilities={}))


def _unnamed(request: wire.Request) -> wire.Request:
    """A request that makes several calls, which the client's one id can't name."""
    meta = {name: value for name, value in request.meta.items() if name != "remit/call_id"}
    return replace(request, params={**request.params, "_meta": meta})


def place(door: Door, uri: str) -> tuple[str, str]:
    """The server that a URI is at, and the URI there. Raises ``wire.Fault`` for one that names no server."""
    if door.server is not None:
        return door.server, uri
    server, plus, own = uri.partition("+")
    try:
        check_slug(server, "server")
    except BadInput:
        plus = ""
    if not plus or not own:
        raise wire.Fault(
            wire.INVALID_PARAMS, "here a URI has its server before it, as resources/list shows it: SERVER+URI"
        )
    return server, own


def _prompt_ref(sight: Sight, door: Door, name: str) -> str:
    if door.server is not None:
        return tool_ref(door.server, PROMPT + name)
    return sight.authority.prompts.get(name) or nowhere(GET, name)


def _completed(sight: Sight, door: Door, given: Mapping[str, Json]) -> tuple[str | None, Json]:
    """The server of a prompt or template that this chain is shown, and the reference as that server knows it."""
    member = "name" if given["type"] == "ref/prompt" else "uri"
    name = given.get(member)
    if not isinstance(name, str) or not name:
        raise wire.Fault(wire.INVALID_PARAMS, f"a {given['type']} says which one: {member}")
    if member == "name":
        known = sight.shown(_prompt_ref(sight, door, name))
        own = known.tool.ref.partition("/")[2].removeprefix(PROMPT) if known is not None else name
    else:
        server, own = place(door, name)
        known = sight.shown(tool_ref(server, READ))
        if known is not None and all(uri != own for uri, _ in templates_of(known.body)):
            known = None
    return (known.server.name if known is not None else None), {**given, member: own}


# What is pinned


@lru_cache(maxsize=1_024)
def templates_of(body: bytes) -> tuple[tuple[str, bytes], ...]:
    """The pinned templates of a server: each URI template, and its whole definition as received."""
    raws = [bytes(raw) for raw in msgspec.json.decode(body, type=_Templates).resource_templates]
    return tuple((msgspec.json.decode(raw, type=_Template).uri_template, raw) for raw in raws)


def _shown(sight: Sight, door: Door, method: Method) -> Iterator[ReviewedTool]:
    return (
        known
        for known in sight.tools()
        if known.method == method and (door.server is None or known.server.name == door.server)
    )


def _template(door: Door, server: str, raw: bytes) -> bytes:
    return raw if door.server is not None else respelled(raw, "uriTemplate", f"{server}+")


def _prompt(door: Door, known: ReviewedTool) -> bytes:
    return known.body if door.server is not None else wire.renamed(known.body, known.tool.alias)


def _listed(request: wire.Request, member: bytes, shown: Iterable[tuple[str, Callable[[], bytes]]]) -> bytes:
    """A page of definitions, each under the key by which they are in order; only those of the page are written out."""
    after = wire.cursor(request.params.get("cursor"))
    rest = [pair for pair in shown if pair[0] > after]
    more = b',"nextCursor":' + as_json(wire.cursor_after(rest[PAGE - 1][0])) if len(rest) > PAGE else b""
    body = b'{"' + member + b'":[' + b",".join(write() for _, write in rest[:PAGE]) + b"]" + more + b"}"
    return wire.result(request.raw_id, request.terms.page(body))


def _page(answer: bytes) -> _Page | str:
    """The page in a response, or the words of an error."""
    said = _answers.decode(answer)
    return _pages.decode(said.result) if bytes(said.result) else said.error.message


def respelled(raw: bytes, member: str, prefix: str) -> bytes:
    """An object with this before one of its members, a string; every other member keeps its bytes and its place."""
    members = {name: bytes(value) for name, value in _objects.decode(raw).items()}
    members[member] = as_json(prefix + msgspec.json.decode(members[member], type=str))
    return b"{" + b",".join(as_json(name) + b":" + value for name, value in members.items()) + b"}"
