"""Proof of possession at our doors: a DPoP proof held against this request, this moment and this token (RFC 9449).

INVARIANT: a proof is good once, at whichever process: it is remembered in the store, on disk, before what it came with
is done. A nonce is sealed time of ours, so every process that holds the home's key knows it, and nobody makes proofs
for later.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from remit.core.errors import StoreUnavailable, Unauthenticated
from remit.core.oauth import ProofRefused
from remit.core.times import MINUTE
from remit.services.deps import Deps
from remit.tokens import dpop

NONCE_LIFE: Final = 5 * MINUTE
_KIND: Final = "dpop"
_BOUND: Final = b"remit/v1/dpop-nonce"
_MOST_NONCE: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a request shows: the text of its ``DPoP`` header, its method, and its path below the issuer.

    ``met`` says that this very request was let in before, and is looked at once more.
    """

    proof: str
    method: str
    path: str
    met: bool = False


def fresh_nonce(deps: Deps) -> str:
    """A nonce that proofs may carry for five minutes."""
    sealed = deps.box.seal(str(deps.clock.now()).encode(), _BOUND)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


async def proven(
    deps: Deps, shown: Shown, *, key: str | None = None, token: str | None = None, nonce: bool = False
) -> str:
    """The thumbprint of the key that a request proves to hold. Raises ``ProofRefused``.

    ``key`` is the one that it must be, ``token`` the access token that it is used with; with ``nonce`` the proof must
    carry one of ours, and one that it carries must be good in any case.
    """
    now = deps.clock.now()
    try:
        proof = dpop.read_proof(shown.proof, now)
    except Unauthenticated as error:
        raise ProofRefused(error.detail, hint=error.hint) from error
    if not dpop.is_for(proof, shown.method, f"{deps.issuer}{shown.path}"):
        raise ProofRefused(f"this DPoP proof is not for {shown.method} {deps.issuer}{shown.path}")
    if token is not None and not dpop.is_with(proof, token):
        raise ProofRefused("this DPoP proof was not made for the token that it came with (ath)")
    if key is not None and proof.thumbprint != key:
        raise ProofRefused("this token is bound to another key than the one that made the proof")
    if (nonce or proof.nonce is not None) and not _is_ours(deps, proof.nonce, now):
        raise ProofRefused("a DPoP proof needs a nonce of ours here", error="use_dpop_nonce", nonce=fresh_nonce(deps))
    if not shown.met and not await _first(deps, proof, now):
        raise ProofRefused("this DPoP proof was used before", hint="Make one for each request.")
    return proof.thumbprint


def _is_ours(deps: Deps, nonce: str | None, now: int) -> bool:
    if nonce is None or len(nonce) > _MOST_NONCE:
        return False
    try:
        sealed = base64.urlsafe_b64decode(nonce + "=" * (-len(nonce) % 4))
        made = int(deps.box.open(sealed, _BOUND))
    except (binascii.Error, ValueError, StoreUnavailable):
        return False
    return now - NONCE_LIFE <= made <= now


async def _first(deps: Deps, proof: dpop.Proof, now: int) -> bool:
    """Whether this proof was not met before. It is remembered for as long as its time alone would let it in."""
    mark = hashlib.sha256(f"{proof.thumbprint}\0{proof.jti}".encode()).hexdigest()
    async with deps.store.unit(deps.org) as unit:
        return await unit.tickets.first(_KIND, mark, now, proof.issued + 2 * dpop.SKEW)
