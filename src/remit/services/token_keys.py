"""Rotation of the keys that sign tokens: on demand, on schedule, and without a token that anybody refuses.

A new key is told of (in the JWK Set, and to every process on the home) a minute before it signs. An old one verifies
for as long as a token that it signed may live, and is then deleted: what does not exist can't be stolen.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import StoreUnavailable
from remit.core.events import EventDraft, Kind
from remit.core.times import MINUTE, to_text
from remit.services.deps import Deps, require
from remit.tokens.jwt import LONGEST_LIFE, SKEW
from remit.tokens.keys import SigningKey

LEAD: Final = MINUTE
"""How long a key is told of before it signs: many times what a process takes to read the folder again."""
AFTER: Final = LONGEST_LIFE + SKEW


class KeyFiles(Protocol):
    """Where the keys are kept. Each method raises ``StoreUnavailable``."""

    def read(self) -> Sequence[tuple[int, bytes]]:
        """Every key as PEM, with the time from which it signs, oldest first."""

    def add(self, since: int, pem: bytes) -> None:
        """Keep one more, durably."""

    def drop(self, since: int) -> None:
        """Delete one."""


async def rotate(deps: Deps, files: KeyFiles, caller: PersonCaller) -> dict[str, Json]:
    """Another key from a minute on, by an administrator: its id, and from when it signs."""
    require(caller, "administrator")
    return await _another(deps, files, caller.person.id)


async def keep(deps: Deps, files: KeyFiles, life: int) -> None:
    """What is done now and then: learn of new keys, make one ``life`` milliseconds after the last, delete old ones."""
    now = deps.clock.now()
    known = read_keys(files)
    ends = [following for following, _ in known[1:]]
    for (since, _), end in zip(known, ends, strict=False):
        if now >= end + AFTER:
            files.drop(since)
    if known[-1][0] <= now and _age(known, now) >= life:
        await _another(deps, files, deps.instance)
    deps.tokens.take(read_keys(files))


def _age(known: Sequence[tuple[int, SigningKey]], now: int) -> int:
    """For how long the newest key has signed. The first of a home says not since when, and is not old by itself."""
    since = known[-1][0]
    return now - since if since else 0


def read_keys(files: KeyFiles) -> tuple[tuple[int, SigningKey], ...]:
    """The keys as they are on disk. Raises ``StoreUnavailable``."""
    try:
        return tuple((since, SigningKey.from_pem(pem)) for since, pem in files.read())
    except ValueError as error:
        raise StoreUnavailable("a key for tokens is damaged", hint="Restore it from a backup.") from error


async def _another(deps: Deps, files: KeyFiles, actor: str) -> dict[str, Json]:
    since, key = deps.clock.now() + LEAD, SigningKey.create()
    files.add(since, key.pem())
    deps.tokens.take(read_keys(files))
    async with deps.store.unit(deps.org) as unit:
        event = await unit.log.append(
            EventDraft(kind=Kind.TOKEN_KEY_ROTATED, actor=actor, subject=actor, about=key.kid, codes=())
        )
    return {"kid": key.kid, "signs_from": to_text(since), "event": event}
