"""Servers: the upstream MCP servers whose tools agents call, and the credentials that are injected there."""

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom we believe, and who we are: paths of PEM files. The key of ``cert`` is a secret, and stands in no file.

    With ``ca`` only what it signed is believed; without, what this machine believes.
    """

    ca: str | None = None
    cert: str | None = None


@dataclass(frozen=True, slots=True)
class HttpTransport:
    """Streamable HTTP at ``url``; redirects are never followed.

    ``insecure`` is the record's own word that others on the way may read and change what goes to a plain ``http`` URL.
    """

    url: str
    tls: Tls | None = None
    insecure: bool = False


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
    """A stored credential and where it goes: a request header, a child's variable, or the key of a certificate."""

    place: Literal["header", "env", "tls"]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One upstream. ``pinned`` is the fingerprint people agreed to, ``seen`` the last met; unequal is quarantine.

    ``timeout`` in milliseconds and ``concurrency`` narrow what the process allows; None leaves it to the process.
    ``observe_until`` is the end of observe mode, which may be past.
    """

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
    timeout: int | None = None
    concurrency: int | None = None
    observe_until: int | None = None
    created: int

    @property
    def quarantined(self) -> bool:
        """Whether the server itself (its program, instructions, identity) is not what was agreed to."""
        return self.seen is not None and self.seen != self.pinned

    def observing(self, now: int) -> bool:
        """Whether what would be refused here is let through and written down, at this moment."""
        return self.observe_until is not None and now < self.observe_until
