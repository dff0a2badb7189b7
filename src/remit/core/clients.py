"""OAuth clients: programs that get tokens for one agent, and how each proves what it is (RFC 6749 section 2).

INVARIANT: a client is of exactly one agent, by an administrator's word. What merely names itself, such as a client
behind a metadata document, is nobody's agent and gets no token until an administrator has bound it.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

ClientAuth: TypeAlias = Literal["none", "client_secret", "private_key_jwt", "workload"]
CLIENT_AUTHS: Final[tuple[ClientAuth, ...]] = get_args(ClientAuth)

GrantType: TypeAlias = Literal[
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:openid:params:grant-type:ciba",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
]
GRANT_TYPES: Final[tuple[GrantType, ...]] = get_args(GrantType)
EXCHANGE: Final[GrantType] = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """One secret of a client: its hash, and until when it is good (milliseconds UTC)."""

    digest: str
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Whose assertions stand for a client without a secret of its own (RFC 7523): a cluster, a build service.

    ``subject`` is a pattern in which ``*`` stands for any characters but ``:`` and ``/``. ``claims`` must be there,
    and equal. ``keys`` is a JWK Set as text, ``keys_url`` where to fetch one; exactly one of them is set.
    """

    issuer: str
    audience: str
    subject: str
    claims: tuple[tuple[str, str], ...] = ()
    keys: str = ""
    keys_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client of one agent. ``redirects`` are compared character by character (RFC 9700 section 2.1).

    ``keys`` is a JWK Set as text, for ``private_key_jwt``. ``document`` is the URL of a client id metadata document,
    which is then the client's id on the wire. ``dpop`` says that its tokens are bound to a key of its own (RFC 9449).
    """

    org: str
    id: str
    name: str
    agent: str
    auth: ClientAuth
    grants: tuple[GrantType, ...]
    redirects: tuple[str, ...]
    state: Literal["active", "retired"]
    created: int
    secrets: tuple[ClientSecret, ...] = ()
    keys: str = ""
    workload: Workload | None = None
    document: str = ""
    dpop: bool = False

    def live(self, now: int) -> bool:
        """Whether tokens of this client count at ``now``; its secrets each have an end of their own."""
        del now
        return self.state == "active"

    @property
    def client_id(self) -> str:
        """What it is called in requests and tokens."""
        return self.document or self.id
