"""One request as a handler sees it, one row of the route table, and how a list is cut into pages."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from remit.audit.checkpoint import Signer
from remit.core.canonical import Json
from remit.core.credentials import Caller, HostCaller, PersonCaller, SessionCaller
from remit.core.errors import InvalidDocument, Unauthenticated
from remit.services.authenticate import as_host, as_person, as_session
from remit.services.deps import Deps
from remit.web.readiness import Readiness

MAX_PAGE: Final = 200
PAGED: Final = ("limit", "after")
_DIGITS: Final = 20
Who: TypeAlias = Literal["host", "session", "host or session", "host or person", "person", "anyone signed in", "nobody"]


@dataclass(frozen=True, slots=True)
class Doors:
    """What the routes need beside the services: the log's signer, and what lives in the gateway."""

    signer: Signer
    readiness: Readiness
    sync: Callable[[PersonCaller, str], Awaitable[Json]]
    check: Callable[[PersonCaller, str], Awaitable[Json]]
    stopped: Callable[[str], Awaitable[None]]
    health: Callable[[str], Json]
    rotate: Callable[[PersonCaller], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON."""

    body: str
    kind: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Octets:
    """An answer of bytes."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Lines:
    """An answer that streams JSON lines."""

    lines: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Made:
    """An answer that says that something was created."""

    body: Json


@dataclass(frozen=True, slots=True)
class Nothing:
    """An answer without a body."""


Answer: TypeAlias = Json | Text | Octets | Lines | Made | Nothing


@dataclass(frozen=True, slots=True)
class Job:
    """One authenticated request. ``body`` is strictly parsed and fits the route's schema."""

    deps: Deps
    doors: Doors
    caller: Caller | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Json]

    async def person(self) -> PersonCaller:
        """The caller as a person."""
        return await as_person(self.deps, self.signed_in())

    async def host(self) -> HostCaller:
        """The caller as a host."""
        return await as_host(self.deps, self.signed_in())

    async def session(self) -> SessionCaller:
        """The caller as the holder of a session token."""
        return await as_session(self.deps, self.signed_in())

    def signed_in(self) -> Caller:
        """The caller, whoever it is."""
        if self.caller is None:
            raise Unauthenticated
        return self.caller

    def text(self, name: str) -> str:
        """A member of the body that its schema makes a string."""
        return str(self.body[name])


@dataclass(frozen=True, slots=True)
class Route:
    """One route: what the OpenAPI document says of it, and who handles it. Schemas are names in ``schemas/``.

    ``query`` lists every parameter that there is: a misspelt filter must not widen an answer.
    """

    method: Literal["GET", "POST", "PATCH"]
    path: str
    who: Who
    handler: Callable[[Job], Awaitable[Answer]]
    does: str
    takes: str | None = None
    gives: str | None = None
    query: Sequence[str] = ()


def page(job: Job, items: Sequence[Json], key: str) -> Json:
    """``{"items","next"}`` of a whole list, from behind ``after``."""
    limit = whole(job.query, "limit", MAX_PAGE, least=1, most=MAX_PAGE)
    after = job.query.get("after")
    names = [str(item[key]) if isinstance(item, Mapping) else "" for item in items]
    start = names.index(after) + 1 if after in names else 0
    if after is not None and after not in names:
        raise InvalidDocument("after names nothing in this list", pointer="/after")
    shown = list(items[start : start + limit])
    more = start + limit < len(items)
    return {"items": shown, "next": names[start + limit - 1] if more else None}


def yes(query: Mapping[str, str], name: str) -> bool:
    """A yes or no of the query string, absent no; else ``InvalidDocument``."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidDocument(f"{name} is true or false", pointer=f"/{name}")
    return text == "true"


def whole(query: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number of the query string within bounds; else ``InvalidDocument``."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS) or not least <= int(text) <= most:
        raise InvalidDocument(f"{name} is a whole number from {least} to {most}", pointer=f"/{name}")
    return int(text)
