"""Keys: long-lived secrets of which only a hash is kept.

A host key states tasks, a session key calls tools, a person key answers for a person. Never one key for two of these.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from remit.core.people import Person

KeyPurpose: TypeAlias = Literal["host", "session", "person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. ``agent`` is set for host and session keys, ``person`` for person keys; ``expires`` None only there.

    ``tools`` are references, of which all that comes of the key reaches no other; None leaves it to the agent's grants.
    ``addresses`` are the networks from which it may be presented; none leaves it to anyone.
    """

    org: str
    id: str
    purpose: KeyPurpose
    agent: str | None
    person: str | None
    digest: str
    expires: int | None
    state: Literal["active", "revoked"]
    created: int
    tools: tuple[str, ...] | None = None
    addresses: tuple[str, ...] = ()

    def live(self, now: int) -> bool:
        """Whether this key may be used at ``now``."""
        return self.state == "active" and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True)
class HostCaller:
    """A program that runs one agent and knows the person's task."""

    org: str
    key: str
    agent: str


@dataclass(frozen=True, slots=True)
class SessionCaller:
    """Whoever holds a session token, or a session key: it may call tools in that session, nothing else.

    ``audience`` is the one resource that the token is for; empty for a credential of every door.
    """

    org: str
    key: str
    agent: str
    session: str
    standing: bool = False
    audience: str = ""


@dataclass(frozen=True, slots=True)
class PersonCaller:
    """A signed-in person, or the holder of a person key."""

    org: str
    key: str
    person: Person


Caller: TypeAlias = HostCaller | SessionCaller | PersonCaller
