"""What both HTTP doors share: how a request's body is read, and which web origins may knock."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Receive, Scope

from remit.core.errors import Malformed, TooLarge, UnsupportedMedia


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers by lower-case name; of a repeated one the last, which no header we read may be."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive, headers: Mapping[str, str], bound: int) -> bytes:
    """The request's body. Raises ``UnsupportedMedia`` and, without reading on, ``TooLarge``."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMedia
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > bound:
        raise TooLarge(f"the body is over {bound} bytes")
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
    """Whether a browser page of our own (or no browser page) asks: another site's must not reach a local Remit."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc in (urlsplit(issuer).netloc, headers.get("host"))
