"""MCP over streamable HTTP as the gateway reads and writes it: one JSON-RPC request in, one answer out, bytes kept.

The strict parse (``guards.json_in``) decides what a body means. msgspec then only finds where the raw bytes of ``id``
and ``arguments`` stand in the very same body, so that what was decided on is what is forwarded, byte for byte.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from remit.core.canonical import Json
from remit.core.entitlements import CALL, GET, READ, own_name
from remit.gateway.exchange import Exchange
from remit.gateway.revisions import HANDSHAKE_TERMS, NEWEST_HANDSHAKE, Terms
from remit.guards.json_in import as_json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
REFUSED: Final = -32010
"""Of a method that has no result to say no in: Remit refused it, or must ask a person first."""
NOT_FOUND: Final = -32002
"""What a server of a handshake revision says of a resource that is not there."""
# JSON-RPC 2.0 section 5.1: with these a server says that it did not take the request up. INVALID_PARAMS is not among
# them: the arguments fit the reviewed schema, so it comes from the tool, which may have acted before it said so.
REFUSED_UNREAD: Final = frozenset({PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND})

_MAX_ID: Final = 128


class _RawParams(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _RawRequest(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"null")
    params: _RawParams | None = None


class _RawError(msgspec.Struct):
    code: int = 0


_raw_requests: Final = msgspec.json.Decoder(_RawRequest)
_raw_errors: Final = msgspec.json.Decoder(_RawError)
_raw_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Request:
    """One JSON-RPC request. ``raw_id`` and ``raw_arguments`` are the client's own bytes, ``exchange`` the way back."""

    method: str
    params: Mapping[str, Json]
    raw_id: bytes
    raw_arguments: bytes
    terms: Terms = HANDSHAKE_TERMS[NEWEST_HANDSHAKE]
    exchange: Exchange = field(default_factory=Exchange)

    def answer(self, what: "bytes | No") -> bytes:
        """The response to this request around result bytes, or a no, in the form of its revision and method."""
        if isinstance(what, No):
            return self._refusal(what)
        return result(self.raw_id, self.terms.result(what))

    def _refusal(self, no: "No") -> bytes:
        """A tool's result says no itself; what the other methods answer can't, so theirs is a JSON-RPC error."""
        if self.method == CALL:
            return result(self.raw_id, self.terms.result(no.result()))
        data: dict[str, Json] = {"uri": self.params.get("uri")} if self.method == READ else {}
        data |= {"remit/decision": no.decision} if no.decision else {}
        return error(self.raw_id, no.code, no.text, data or None)

    @property
    def meta(self) -> Mapping[str, Json]:
        """The request's ``_meta``, or nothing."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, Mapping) else {}


@dataclass(frozen=True, slots=True)
class No:
    """A refusal or a failure in words, with the decision if there is one."""

    text: str
    decision: Mapping[str, Json] | None = None
    code: int = REFUSED

    def result(self) -> bytes:
        """A CallToolResult that says no, in the form of INTERFACES section 5."""
        body: dict[str, Json] = {"isError": True, "content": [{"type": "text", "text": self.text}]}
        if self.decision is not None:
            body["_meta"] = {"remit/decision": self.decision}
        return as_json(body)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that wants no answer."""

    method: str
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invalid:
    """A body that is JSON but no request: what is wrong with it."""

    why: str
    raw_id: bytes = b"null"


class Fault(Exception):
    """A request that is answered with a JSON-RPC error of ours."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        """The error's code and words, and its ``data`` if there is any."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def read(document: Json, body: bytes, exchange: Exchange | None = None) -> Request | Notification | Invalid:
    """What a strictly parsed body is; a request is answered by way of ``exchange``."""
    if isinstance(document, list):
        return Invalid("batches are not part of this protocol revision; send one message a request")
    if not isinstance(document, Mapping) or document.get("jsonrpc") != "2.0":
        return Invalid('a message is an object with "jsonrpc": "2.0"')
    method, params = document.get("method"), document.get("params", {})
    if not isinstance(method, str):
        return Invalid("this server sends no requests, so it takes no responses")
    if "id" not in document:
        return Notification(method, params if isinstance(params, Mapping) else {})
    identifier = document["id"]
    if isinstance(identifier, bool) or not isinstance(identifier, (int, str)):
        return Invalid("id is a string or a whole number")
    if len(as_json(identifier)) > _MAX_ID:
        return Invalid(f"id is longer than {_MAX_ID} bytes")
    if not isinstance(params, Mapping) or not isinstance(params.get("arguments", {}), Mapping):
        return Invalid("params and arguments are objects", as_json(identifier))
    raw = _raw_requests.decode(body)
    arguments = bytes(raw.params.arguments) if raw.params is not None else b"{}"
    return Request(method, params, bytes(raw.id), arguments, exchange=exchange or Exchange())


def result(raw_id: bytes, raw_result: bytes) -> bytes:
    """A JSON-RPC response around result bytes."""
    return b'{"jsonrpc":"2.0","id":' + raw_id + b',"result":' + raw_result + b"}"


def error(raw_id: bytes, code: int, message: str, data: Json = None) -> bytes:
    """A JSON-RPC error of our own."""
    body: dict[str, Json] = {"code": code, "message": message}
    return error_bytes(raw_id, as_json(body if data is None else body | {"data": data}))


def error_bytes(raw_id: bytes, raw_error: bytes) -> bytes:
    """A JSON-RPC error response around error bytes."""
    return b'{"jsonrpc":"2.0","id":' + raw_id + b',"error":' + raw_error + b"}"


def tool_error(text: str, decision: Mapping[str, Json] | None = None, code: int = REFUSED) -> No:
    """A no to a call: a tool error, or for a method that has none an error with ``code``."""
    return No(text, decision, code)


def error_code(answer: bytes, raw_id: bytes) -> int:
    """The code of a response that is a JSON-RPC error; 0 for a result."""
    head = error_bytes(raw_id, b"")[:-1]
    return _raw_errors.decode(answer[len(head) : -1]).code if answer.startswith(head) else 0


def upstream_params(method: str, tool: str, raw_arguments: bytes, meta: Mapping[str, Json]) -> bytes:
    """The params of an upstream call: the agent's argument bytes, the name spliced in, allowed ``_meta``.

    ``tool`` is the name that its server knows, with which method first where it is not a tool. What is neither a tool
    nor a prompt has no name: the arguments are the params.
    """
    beside = b',"_meta":' + as_json(dict(meta)) + b"}" if meta else b"}"
    if method in (CALL, GET):
        return b'{"name":' + as_json(own_name(tool)) + b',"arguments":' + raw_arguments + beside
    bare = raw_arguments.rstrip()[:-1]
    return bare + (beside if bare.strip() != b"{" else beside.removeprefix(b","))


def cursor(given: Json) -> str:
    """The key that a page of what is pinned starts after. Raises ``Fault`` for a cursor that we did not make."""
    try:
        return base64.urlsafe_b64decode(str(given).encode()).decode() if given is not None else ""
    except (binascii.Error, UnicodeDecodeError, UnicodeEncodeError):
        raise Fault(INVALID_PARAMS, "this cursor is not one of ours") from None


def cursor_after(key: str) -> str:
    """The cursor of the page that starts after this key."""
    return base64.urlsafe_b64encode(key.encode()).decode()


@lru_cache(maxsize=16_384)
def renamed(definition: bytes, name: str) -> bytes:
    """A pinned tool definition under another name; every other member keeps its bytes and its place."""
    members = _raw_objects.decode(definition)
    parts = [as_json(key) + b":" + (as_json(name) if key == "name" else bytes(value)) for key, value in members.items()]
    return b"{" + b",".join(parts) + b"}"
