"""Come in here for an empty Remit on disk whose clock the lab moves: a real store, and the services as they are."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from remit.policy.memory import Profile
from remit.services.authority import AuthorityCache
from remit.services.deps import Deps
from remit.services.memories import Memories
from remit.services.sealing import Sealer
from remit.storage.sqlite import create_store
from remit.storage.subject_keys import SubjectKeys
from remit.tokens.jwt import SessionTokens
from remit.tokens.keys import SecretBox, SigningKey

_ISSUER: Final = "http://localhost:8765"
_START: Final = 1_795_000_000_000


class LabClock:
    """Time that moves when the lab says so."""

    def __init__(self) -> None:
        """At the beginning."""
        self.at = _START

    def now(self) -> int:
        """Milliseconds UTC."""
        return self.at


class LabEntropy:
    """Real randomness."""

    def bytes(self, count: int) -> bytes:
        """``count`` unpredictable bytes."""
        return secrets.token_bytes(count)


@asynccontextmanager
async def empty_remit(folder: Path, profile: Profile, clock: LabClock) -> AsyncIterator[Deps]:
    """What services are handed, over a new store in ``folder``."""
    entropy = LabEntropy()
    sealer = Sealer(SubjectKeys(folder / "subjects", entropy), entropy)
    store = await create_store(folder / "remit.db", clock, sealer)
    try:
        yield Deps(
            org="main",
            issuer=_ISSUER,
            instance="i-lab",
            store=store,
            clock=clock,
            entropy=entropy,
            sealer=sealer,
            tokens=SessionTokens(SigningKey.create(), _ISSUER),
            box=SecretBox(secrets.token_bytes(32)),
            authority=AuthorityCache(),
            memories=Memories(profile),
        )
    finally:
        await store.close()
