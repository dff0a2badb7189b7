"""What differs between the protocol revisions that Remit speaks: at its own door, and towards the servers behind it.

Two eras. In the *handshake* revisions a client says ``initialize`` once and then names its revision in a header. In
the *stateless* ones each request carries its revision and capabilities in ``_meta``, and headers repeat what it does,
so that intermediaries can route by them. INVARIANT: what a header says and what the body says is the same, or
nothing is done: otherwise somebody before us judged another call than the one we see, or took the newer revision's
marks away.

Sources: MCP 2025-06-18, 2025-11-25 and 2026-07-28 (basic/index, basic/transports, server/discover).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from remit.core.canonical import Json, canonical

HANDSHAKE: Final = ("2025-06-18", "2025-11-25")
STATELESS: Final = ("2026-07-28",)
NEWEST_HANDSHAKE: Final = HANDSHAKE[-1]
NEWEST: Final = STATELESS[-1]

VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT: Final = "io.modelcontextprotocol/clientInfo"
SERVER: Final = "io.modelcontextprotocol/serverInfo"

CAPABLE: Final[Mapping[str, Json]] = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
"""What Remit serves. No lists are subscribed to, and no resources: what changes is seen at the next look."""

INVALID_PARAMS: Final = -32602
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022

NAMED: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which parameter of a method stands in ``Mcp-Name``."""
PARAM: Final = "Mcp-Param-"
# HTTP status of an error, by its code, in the stateless revisions; in the others, and for all other codes, it is 200.
_STATUS: Final[Mapping[int, int]] = {
    -32700: 400,
    -32600: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    -32021: 400,
    UNSUPPORTED_VERSION: 400,
    -32601: 404,
}
_COMPLETE: Final = b'"resultType":"complete"'
# What a gateway that filters by caller may say of a list: it is this caller's, and may be another the next moment.
_PRIVATE: Final = b',"ttlMs":0,"cacheScope":"private"'
_CACHED: Final = frozenset({"ttlMs", "cacheScope"})

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_WRAPPED = re.compile(r"=\?base64\?(.*)\?=")
_MIRRORED: Final = frozenset({"string", "integer", "boolean"})

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Terms:
    """How one request is to be read and answered. ``capabilities`` are the client's, as far as it declared them.

    ``private`` says of its result that it is this caller's, whatever the server behind said of caching it.
    """

    revision: str
    stateless: bool = False
    capabilities: Mapping[str, Json] = field(default_factory=dict)
    private: bool = False

    def status(self, code: int) -> int:
        """The HTTP status of a JSON-RPC error."""
        return _STATUS.get(code, 200) if self.stateless else 200

    def result(self, raw: bytes) -> bytes:
        """Result bytes as this revision has them: a stateless one says of each that it is complete."""
        if not self.stateless:
            return raw
        return with_result_type(made_private(raw) if self.private else raw)

    def page(self, raw: bytes) -> bytes:
        """A result that lists what this caller may see."""
        return with_result_type(raw[:-1] + _PRIVATE + b"}") if self.stateless else raw

    def elicits_urls(self) -> bool:
        """Whether the client said that it can send its user to an address."""
        elicitation = self.capabilities.get("elicitation")
        return isinstance(elicitation, Mapping) and isinstance(elicitation.get("url"), Mapping)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request can't be read under any revision: a JSON-RPC error and its HTTP status."""

    code: int
    message: str
    data: Json = None
    status: int = 400


HANDSHAKE_TERMS: Final[Mapping[str, Terms]] = {revision: Terms(revision) for revision in HANDSHAKE}


def terms_of(headers: Mapping[str, str], method: str, params: Mapping[str, Json]) -> Terms | Refusal:
    """Under which revision one request stands. ``headers`` by lower-case name, ``params`` strictly parsed."""
    meta = params.get("_meta")
    meta = meta if isinstance(meta, Mapping) else {}
    said = headers.get("mcp-protocol-version")
    if VERSION in meta or said in STATELESS:
        return _stateless(headers, said, method, params, meta)
    fault = _repeats_fault(headers, method, params, every=False)
    if fault is not None:
        return fault
    if said is None:
        return HANDSHAKE_TERMS[NEWEST_HANDSHAKE]
    if said not in HANDSHAKE_TERMS and method != "initialize":
        return Refusal(UNSUPPORTED_VERSION, "this protocol revision is not served", _supported(said))
    return HANDSHAKE_TERMS.get(said, HANDSHAKE_TERMS[NEWEST_HANDSHAKE])


def negotiated(asked: Json) -> str:
    """What ``initialize`` is answered with: the revision that was asked for, else the newest with a handshake."""
    return asked if isinstance(asked, str) and asked in HANDSHAKE else NEWEST_HANDSHAKE


def discovery(instructions: str, version: str) -> dict[str, Json]:
    """The result of ``server/discover``."""
    return {
        "supportedVersions": [*STATELESS, *HANDSHAKE],
        "capabilities": {**CAPABLE, "tools": {"listChanged": True}},
        "instructions": instructions,
        "_meta": {SERVER: {"name": "remit", "version": version}},
    }


def _stateless(
    headers: Mapping[str, str], said: str | None, method: str, params: Mapping[str, Json], meta: Mapping[str, Json]
) -> Terms | Refusal:
    missing = [name for name in (VERSION, CAPABILITIES) if name not in meta]
    if missing:
        return Refusal(INVALID_PARAMS, f"_meta lacks {', '.join(missing)}")
    revision, capabilities = meta[VERSION], meta[CAPABILITIES]
    if said is None or said != revision:
        return Refusal(HEADER_MISMATCH, "MCP-Protocol-Version is not the revision that _meta names")
    fault = _repeats_fault(headers, method, params, every=True)
    if fault is not None:
        return fault
    if said not in STATELESS:
        return Refusal(
            UNSUPPORTED_VERSION, "this protocol revision is not served without a handshake", _supported(said)
        )
    if not isinstance(capabilities, Mapping):
        return Refusal(INVALID_PARAMS, f"{CAPABILITIES} is an object")
    return Terms(said, stateless=True, capabilities=capabilities)


def _repeats_fault(
    headers: Mapping[str, str], method: str, params: Mapping[str, Json], *, every: bool
) -> Refusal | None:
    """What of the headers that repeat the body differs from it: whatever stands before us may have gone by them.

    ``every`` is whether they must be there, as without a handshake.
    """
    named = params.get(NAMED[method]) if method in NAMED else None
    if (every or "mcp-method" in headers) and headers.get("mcp-method") != method:
        return Refusal(HEADER_MISMATCH, "Mcp-Method is not the request's method")
    if named is not None and (every or "mcp-name" in headers) and decoded(headers.get("mcp-name")) != named:
        return Refusal(HEADER_MISMATCH, "Mcp-Name is not what the request names")
    return None


def _supported(asked: str) -> Json:
    return {"supported": [*STATELESS, *HANDSHAKE], "requested": asked[:64]}


# Results


def with_result_type(raw: bytes) -> bytes:
    """Result bytes that say that they are complete, if they say nothing of it. Every other byte stays."""
    members = _objects.decode(raw)
    if "resultType" in members:
        return raw
    head, _, tail = raw.partition(b"{")
    return head + b"{" + _COMPLETE + (b"," if members else b"") + tail


def made_private(raw: bytes) -> bytes:
    """Result bytes that may be kept by nobody else and for no time. Every other byte of a member stays."""
    members = _objects.decode(raw)
    kept = [canonical(name) + b":" + bytes(value) for name, value in members.items() if name not in _CACHED]
    return b"{" + b",".join([*kept, _PRIVATE[1:]]) + b"}"


# Header values


def encoded(value: str) -> str:
    """A value as it may stand in a header: itself, or in base64 where a header would not carry it unchanged."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _WRAPPED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str | None) -> str | None:
    """What such a header says; None for none, and for base64 that is not the one spelling of its text."""
    wrapped = _WRAPPED.fullmatch(value) if value is not None else None
    if wrapped is None:
        return value
    try:
        data = base64.b64decode(wrapped[1], validate=True)
        text = data.decode()
    except (binascii.Error, ValueError):
        return None
    return text if base64.b64encode(data).decode() == wrapped[1] else None


# Arguments that headers repeat (x-mcp-header)


@dataclass(frozen=True, slots=True)
class Mirror:
    """One argument that a definition wants repeated in a header: the way to it, and the header's lower-case name."""

    path: tuple[str, ...]
    header: str
    integer: bool


def mirrors(schema: Json) -> tuple[Mirror, ...]:
    """The arguments of an input schema that stand in headers too; none if any mark in it is not as it must be.

    A mark stands on a string, integer or boolean that plain ``properties`` lead to, and names a token of its own.
    """
    found: list[Mirror] = []
    for path, node in _marked(schema):
        token, kind = node["x-mcp-header"], node.get("type")
        if not path or not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            return ()
        if not isinstance(kind, str) or kind not in _MIRRORED:
            return ()
        found.append(Mirror(path, (PARAM + token).lower(), kind == "integer"))
    return tuple(found) if len({one.header for one in found}) == len(found) else ()


def mirrored(wanted: tuple[Mirror, ...], arguments: Mapping[str, Json]) -> dict[str, str]:
    """The headers that repeat these arguments."""
    rendered = ((one.header, _rendered(_at(arguments, one.path))) for one in wanted)
    return {name: encoded(text) for name, text in rendered if text is not None}


def mirror_fault(wanted: tuple[Mirror, ...], arguments: Mapping[str, Json], headers: Mapping[str, str]) -> str | None:
    """Which header does not say what its argument says; None if all do, absent ones on both sides included."""
    for one in wanted:
        raw = headers.get(one.header)
        text, said = _rendered(_at(arguments, one.path)), decoded(raw)
        if (raw is None) != (text is None) or (raw is not None and not _same(one, text, said)):
            return f"{one.header} is not the argument that it repeats"
    return None


def _same(one: Mirror, text: str | None, said: str | None) -> bool:
    if one.integer and said is not None and re.fullmatch(r"-?\d{1,19}(\.0{1,19})?", said, re.ASCII):
        said = str(int(said.partition(".")[0]))
    return text == said


def _marked(schema: Json) -> Iterator[tuple[tuple[str, ...], Mapping[str, Json]]]:
    """Every node of a schema with a mark, and the way to it; empty where that is not through ``properties`` alone."""
    pending: list[tuple[tuple[str, ...] | None, Json]] = [((), schema)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, (list, tuple)):
            pending.extend((None, item) for item in node)
        elif isinstance(node, Mapping):
            if "x-mcp-header" in node:
                yield path or (), node
            for word, value in node.items():
                if word == "properties" and isinstance(value, Mapping):
                    pending.extend(((*path, name) if path is not None else None, item) for name, item in value.items())
                elif word not in ("default", "examples", "const", "enum"):
                    pending.append((None, value))


def _at(arguments: Mapping[str, Json], path: tuple[str, ...]) -> Json:
    node: Json = arguments
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _rendered(value: Json) -> str | None:
    """How a header writes an argument; None for what no header repeats."""
    if isinstance(value, str):
        return value
    return canonical(value).decode() if isinstance(value, int) else None


# Where there are no headers


def headers_for(message: Json) -> dict[str, str]:
    """The headers that say what a message without any (of a pipe) says itself; none for a handshake revision's."""
    params = message.get("params") if isinstance(message, Mapping) else None
    meta = params.get("_meta") if isinstance(params, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(params, Mapping) or not isinstance(meta, Mapping):
        return {}
    method, revision = message.get("method"), meta.get(VERSION)
    if not isinstance(method, str) or not isinstance(revision, str):
        return {}
    named = params.get(NAMED.get(method, ""))
    name = {"mcp-name": encoded(named)} if isinstance(named, str) else {}
    return {"mcp-protocol-version": encoded(revision), "mcp-method": encoded(method), **name}


# Towards a server


def enveloped(method: str, params: bytes | None, version: str) -> tuple[bytes, dict[str, str]]:
    """Params with the envelope of the newest revision in their ``_meta``, and the headers that repeat them.

    Every other byte stays. Raises what msgspec raises for params that are no object.
    """
    members = _objects.decode(params or b"{}")
    own: dict[str, Json] = {VERSION: NEWEST, CLIENT: {"name": "remit", "version": version}}
    parts = [b'"_meta":' + _joined(members.get("_meta"), own)]
    parts += [canonical(name) + b":" + bytes(value) for name, value in members.items() if name != "_meta"]
    headers = {"MCP-Protocol-Version": NEWEST, "Mcp-Method": method}
    named = members.get(NAMED.get(method, ""))
    if named is not None:
        headers["Mcp-Name"] = encoded(str(msgspec.json.decode(named)))
    return b"{" + b",".join(parts) + b"}", headers


def _joined(meta: msgspec.Raw | None, own: Mapping[str, Json]) -> bytes:
    """``_meta`` with our members; one that is there already under such a name is replaced.

    Whoever relays declares the capabilities (``relay.py``); no others are declared.
    """
    members = _objects.decode(meta) if meta is not None else {}
    members.setdefault(CAPABILITIES, msgspec.Raw(b"{}"))
    parts = [canonical(name) + b":" + canonical(value) for name, value in own.items()]
    parts += [canonical(name) + b":" + bytes(value) for name, value in members.items() if name not in own]
    return b"{" + b",".join(parts) + b"}"
