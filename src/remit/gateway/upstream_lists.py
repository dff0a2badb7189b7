"""Come in here for the walk over what a server lists: tools, resource templates, prompts; all pages of it or none.

Rules
- Each object is kept byte for byte as received, pages in order. Half a list is none, since what is missing would look
  removed: a server that refuses, comes back to a page, or lists too much has listed nothing.
- A server is asked for what it declares and for nothing else. One that fails on what it offers beside tools keeps its
  tools: the failure is handed on in words, and what could not be listed counts as gone.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

from remit.core.errors import UpstreamUnavailable
from remit.gateway.upstream_wire import METHOD_NOT_FOUND, UNREADABLE, Connection, ErrorReply, NotSent, Reply
from remit.services.surfaces import Surfaces

MAX_ITEMS: Final = 10_000
MAX_PAGES: Final = 100
MAX_LIST_BYTES: Final = 32 * 1024 * 1024
BESIDE_SECONDS: Final = 20.0
"""For all pages of a list of what is offered beside tools."""


class ListRefused(UpstreamUnavailable):
    """The server answered a request for a list with an error; ``unserved`` says that it has no such method."""

    unserved = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that servers serve: by which method, under which member, and what it holds, in words."""

    method: str
    member: str
    what: str


TOOLS: Final = Listing("tools/list", "tools", "tools")
TEMPLATES: Final = Listing("resources/templates/list", "resourceTemplates", "resource templates")
PROMPTS: Final = Listing("prompts/list", "prompts", "prompts")


class _Hello(msgspec.Struct, frozen=True):
    capabilities: msgspec.Raw = msgspec.Raw(b"{}")


class _Coded(msgspec.Struct, frozen=True):
    code: int = 0


_raw_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_lists = msgspec.json.Decoder(list[msgspec.Raw])
_cursors = msgspec.json.Decoder(str | None)
_hellos = msgspec.json.Decoder(_Hello)
_codes = msgspec.json.Decoder(_Coded)


async def list_tools(connection: Connection, timeout: float = 60.0) -> tuple[bytes, ...]:
    """Every Tool object of the server; ``timeout`` is in seconds, total. Raises as ``list_all`` does.

    A server that declares no tools and does not serve their list has none.
    """
    try:
        return await list_all(connection, TOOLS, timeout)
    except ListRefused as error:
        if error.unserved and "tools" not in _declared(connection.server_info):
            return ()
        raise


async def list_surfaces(connection: Connection, timeout: float = BESIDE_SECONDS) -> Surfaces:
    """What the server offers beside tools, as far as it declares it; each list within ``timeout`` seconds.

    Raises ``NotSent``.
    """
    declared = _declared(connection.server_info)
    return Surfaces(
        await _tried(connection, TEMPLATES, timeout) if "resources" in declared else None,
        await _tried(connection, PROMPTS, timeout) if "prompts" in declared else None,
        "completions" in declared,
    )


async def list_all(connection: Connection, listing: Listing, timeout: float) -> tuple[bytes, ...]:
    """Every object of one list, byte for byte as received, all pages in order; ``timeout`` is in seconds, total.

    Raises ``UpstreamUnavailable`` if the server refuses, repeats a cursor, or lists more than ``MAX_ITEMS`` objects,
    ``MAX_PAGES`` pages or ``MAX_LIST_BYTES``.
    """
    items: list[bytes] = []
    seen: set[str] = set()
    params: bytes | None = None
    loop = asyncio.get_running_loop()
    deadline, size = loop.time() + timeout, 0
    for _ in range(MAX_PAGES):
        reply = await connection.call(listing.method, params, max(deadline - loop.time(), 0.001))
        page, following = _page(reply, listing)
        items.extend(bytes(item) for item in page)
        size += sum(map(len, page))
        if len(items) > MAX_ITEMS or size > MAX_LIST_BYTES:
            raise UpstreamUnavailable(
                f"the server lists more than {MAX_ITEMS} {listing.what} or {MAX_LIST_BYTES} bytes"
            )
        if following is None:
            return tuple(items)
        if following in seen:
            raise UpstreamUnavailable(f"the server's list of {listing.what} comes back to a page that was read before")
        seen.add(following)
        params = msgspec.json.encode({"cursor": following})
    raise UpstreamUnavailable(f"the server's list of {listing.what} has more than {MAX_PAGES} pages")


async def _tried(connection: Connection, listing: Listing, timeout: float) -> tuple[bytes, ...] | str:
    """A list, or in words why it could not be had. A server that has resources need not have templates."""
    try:
        return await list_all(connection, listing, min(timeout, BESIDE_SECONDS))
    except NotSent:
        raise
    except ListRefused as error:
        return () if listing is TEMPLATES and error.unserved else error.detail
    except UpstreamUnavailable as error:
        return error.detail


def _declared(hello: bytes) -> frozenset[str]:
    """The capabilities that a server declared, by name."""
    try:
        members = _raw_objects.decode(_hellos.decode(hello).capabilities)
    except UNREADABLE:
        return frozenset()
    return frozenset(name for name, value in members.items() if bytes(value).lstrip().startswith(b"{"))


def _page(reply: Reply, listing: Listing) -> tuple[list[msgspec.Raw], str | None]:
    if isinstance(reply, ErrorReply):
        refused = ListRefused(f"the server refused to list its {listing.what}")
        refused.unserved = _code(reply.raw) == METHOD_NOT_FOUND
        raise refused
    try:
        members = _raw_objects.decode(reply.raw)
        following = _cursors.decode(members["nextCursor"]) if "nextCursor" in members else None
        return _raw_lists.decode(members[listing.member]), following
    except (*UNREADABLE, KeyError):
        raise UpstreamUnavailable(f"the server's list of {listing.what} is not readable") from None


def _code(error: bytes) -> int:
    try:
        return _codes.decode(error).code
    except UNREADABLE:
        return 0
