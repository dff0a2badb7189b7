"""Servers: the upstream MCP servers whose tools agents call, and the credentials that are injected there."""

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class HttpTransport:
    """Streamable HTTP at ``url``; redirects are never followed."""

    url: str


@dataclass(frozen=True, slots=True)
class StdioTransport:
    """A child process. ``env`` is everything it gets: plain values, or ``vault:<secret name>``."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CallerTransport:
    """Tools that run in the caller's own process: decision API only, nothing is forwarded by us."""


Transport: TypeAlias = HttpTransport | StdioTransport | CallerTransport


@dataclass(frozen=True, slots=True)
class InjectedSecret:
    """A stored credential and where it goes: a request header or a child's environment variable."""

    place: Literal["header", "env"]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One upstream. ``pinned`` is the fingerprint people agreed to, ``seen`` the last met; unequal is quarantine."""

    org: str
    id: str
    name: str
    transport: Transport
    secrets: tuple[InjectedSecret, ...] = ()
    shared: bool = False
    operator: str = ""
    clearance: tuple[str, ...] = ()
    allow_elicitation: bool = False
    allow_sampling: bool = False
    state: Literal["active", "retired"] = "active"
    pinned: str | None = None
    seen: str | None = None
    created: int

    @property
    def quarantined(self) -> bool:
        """Whether the server itself (its program, instructions, identity) is not what was agreed to."""
        return self.seen is not None and self.seen != self.pinned
