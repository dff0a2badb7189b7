"""Whether this process can do its work now: policy stands, the log can be written, and its tree head signed."""

import asyncio
from typing import Final

from remit.audit.checkpoint import Signer
from remit.core.errors import Unavailable
from remit.core.times import SECOND
from remit.services import audit
from remit.services.deps import Deps

PROBE: Final = "readyz"


class Readiness:
    """Asked by anybody, so its cost is bounded: one durable write at a time, whose success is good for a second."""

    def __init__(self, deps: Deps, signer: Signer) -> None:
        """Nothing probed yet."""
        self._deps = deps
        self._signer = signer
        self._turn = asyncio.Lock()
        self._written = -SECOND

    async def check(self) -> None:
        """Return if it can; ``Unavailable`` with the reason if not."""
        async with self._deps.store.view(self._deps.org) as view:
            authority = await self._deps.authority.current(view)
        if authority.engine is None:
            raise Unavailable(authority.fault)
        async with self._turn:
            if self._deps.clock.now() - self._written >= SECOND:
                await self._write()
                self._written = self._deps.clock.now()

    async def _write(self) -> None:
        # Only a write tells whether the disk takes one: a unit that changes nothing succeeds on a full disk too.
        async with self._deps.store.unit(self._deps.org) as unit:
            await unit.key_use.touch(PROBE, self._deps.clock.now())
        await audit.sign_checkpoint(self._deps, self._signer)
