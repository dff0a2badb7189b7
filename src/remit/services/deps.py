"""What every service is handed: the ports and key holders of one running Remit, as one frozen value."""

from dataclasses import dataclass, field

from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden
from remit.core.ids import RANDOM_BYTES, Prefix, new_id
from remit.core.people import Role
from remit.core.ports import Clock, Entropy, PayloadSealer, Store
from remit.services.authority import AuthorityCache
from remit.services.memories import Memories
from remit.services.refusals import Refusals
from remit.tokens.jwt import SessionTokens
from remit.tokens.keys import SecretBox


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """``instance`` names this process: an intent that it opened is unknown once the process is gone.

    ``two_administrators`` and ``trusted_proxies`` are the settings of those names.
    """

    org: str
    issuer: str
    instance: str
    store: Store
    clock: Clock
    entropy: Entropy
    sealer: PayloadSealer
    tokens: SessionTokens
    box: SecretBox
    authority: AuthorityCache
    two_administrators: bool = False
    trusted_proxies: tuple[str, ...] = ()
    refusals: Refusals = field(default_factory=Refusals)
    memories: Memories = field(default_factory=Memories)

    def new_id(self, prefix: Prefix) -> str:
        """A fresh id of now."""
        return new_id(prefix, self.clock.now(), self.entropy.bytes(RANDOM_BYTES))


def require(caller: PersonCaller, *roles: Role) -> None:
    """Pass if the person is active and holds one of ``roles``; else ``Forbidden``."""
    if not caller.person.has(*roles):
        raise Forbidden(f"this needs the role {' or '.join(roles)}")
