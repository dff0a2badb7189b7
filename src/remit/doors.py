"""What both HTTP doors share: how a request's body is read, and which web origins may knock."""

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Receive, Scope

from remit.core.errors import Malformed, TooLarge, UnsupportedMedia
from remit.services.possession import Shown
from remit.services.whereabouts import peer_of

# Headers that decide something. Of two values, a proxy before us might have judged the other one.
_SINGLE: Final = frozenset(
    {
        *("authorization", "content-length", "content-type", "host", "origin", "transfer-encoding"),
        *("mcp-protocol-version", "mcp-method", "mcp-name", "dpop"),
    }
)
# Headers that repeat an argument each (MCP 2026-07-28).
_REPEATING: Final = "mcp-param-"


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers by lower-case name. Raises ``Malformed`` when one that decides something is given twice.

    White space around a value is no part of it (RFC 9110 section 5.5), and not every HTTP parser takes it off.
    """
    found: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in found and (name in _SINGLE or name.startswith(_REPEATING)):
            raise Malformed(f"the header {name} is given twice", hint="Send it once.")
        found[name] = value.decode("latin-1").strip(" \t")
    return found


def peer(scope: Scope, trusted: Sequence[str]) -> str | None:
    """The address that a request came from. ``trusted`` are the networks of proxies that are believed about it."""
    nearest = scope.get("client")
    names = ((name.lower(), value) for name, value in scope["headers"])
    forwarded = [value.decode("latin-1") for name, value in names if name == b"x-forwarded-for"]
    return peer_of(nearest[0] if nearest else None, forwarded, trusted)


def shown_of(scope: Scope, headers: Mapping[str, str]) -> Shown | None:
    """The DPoP proof that came with a request, if one did."""
    proof = headers.get("dpop")
    return None if proof is None else Shown(proof=proof, method=scope["method"], path=scope["path"])


BODY_SECONDS: Final = 30.0
"""How long a request's body may take to come."""


async def read_body(receive: Receive, headers: Mapping[str, str], bound: int) -> bytes:
    """The request's body. Raises ``UnsupportedMedia``, ``Malformed`` and, without reading on, ``TooLarge``."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMedia
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > bound:
        raise TooLarge(f"the body is over {bound} bytes")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _whole(receive, bound)
    except TimeoutError as error:
        raise Malformed(f"the body did not come within {BODY_SECONDS:g} s") from error


async def _whole(receive: Receive, bound: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the client went away before its request was whole")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bound:
            raise TooLarge(f"the body is over {bound} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def own_origin(headers: Mapping[str, str], issuer: str) -> bool:
    """Whether a browser page of our own (or no browser page) asks: another site's must not reach a local Remit.

    An origin that equals ``Host`` proves nothing where it is a name: after DNS rebinding a stranger's page sends its
    own name as both. An address, and ``localhost``, nobody can rebind.
    """
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        ours = urlsplit(issuer)
    except ValueError:
        return False
    if not parts.netloc or parts.path or parts.scheme not in ("http", "https"):
        return False
    if (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc):
        return True
    return parts.netloc == headers.get("host") and _unbindable(parts.hostname or "")


def _unbindable(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
