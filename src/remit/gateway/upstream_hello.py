"""Come in here for how a conversation with a server behind us begins: what we say of ourselves, and what we believe.

A server of the handshake revisions answers ``initialize``; one of the stateless revision answers ``server/discover``.
Whichever it was, the raw answer is kept, because the server's own fingerprint is taken over it.
"""

import msgspec

from remit.gateway.revisions import HANDSHAKE, NEWEST, NEWEST_HANDSHAKE
from remit.gateway.upstream_wire import UNREADABLE, VERSION, ErrorReply, NotSent, Reply, Result


class _Initialized(msgspec.Struct, frozen=True, rename="camel"):
    protocol_version: str
    capabilities: msgspec.Raw
    server_info: msgspec.Raw


class _Discovered(msgspec.Struct, frozen=True, rename="camel"):
    supported_versions: list[str]


_initialized = msgspec.json.Decoder(_Initialized)
_discovered = msgspec.json.Decoder(_Discovered)


def initialize_params() -> bytes:
    """What we say of ourselves: no capabilities, so that no server has a reason to ask us for anything."""
    client = {"name": "remit", "version": VERSION}
    me = {"protocolVersion": NEWEST_HANDSHAKE, "capabilities": {}, "clientInfo": client}
    return msgspec.json.encode(me)


def check_initialized(reply: Result) -> tuple[bytes, str]:
    """The raw answer to ``initialize`` and its revision; ``NotSent`` if it is unreadable or speaks one we don't."""
    try:
        hello = _initialized.decode(reply.raw)
    except UNREADABLE:
        raise NotSent("the server's answer to initialize is not readable", cause="not_mcp") from None
    if hello.protocol_version not in HANDSHAKE:
        raise NotSent(f"the server speaks none of the protocol revisions {', '.join(HANDSHAKE)}")
    return reply.raw, hello.protocol_version


def stateless_info(reply: Reply) -> bytes | None:
    """The raw answer to ``server/discover`` of a server that speaks our stateless revision; None from any other."""
    if isinstance(reply, ErrorReply):
        return None
    try:
        return reply.raw if NEWEST in _discovered.decode(reply.raw).supported_versions else None
    except UNREADABLE:
        return None


def check_discovered(reply: Reply) -> bytes:
    """The raw answer to ``server/discover``; ``NotSent`` if it refuses, is unreadable or speaks no revision of ours."""
    if isinstance(reply, ErrorReply):
        raise NotSent("the server refused to be initialized, and to say what it is", cause="not_mcp")
    try:
        found = _discovered.decode(reply.raw)
    except UNREADABLE:
        raise NotSent("the server's answer to server/discover is not readable", cause="not_mcp") from None
    if NEWEST not in found.supported_versions:
        raise NotSent(f"the server has no handshake and does not speak protocol revision {NEWEST}")
    return reply.raw
