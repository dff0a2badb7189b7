"""DPoP proofs (RFC 9449): that who sends a request holds the private key that a token is bound to.

A proof carries its own public key, which proves nothing about anybody: what counts is that a token names that key's
thumbprint. No other header member of a stranger's choosing is acted on. What is a matter of the moment (was this proof
met before, is its nonce ours) is judged by who has a store (``services/possession.py``).
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

from remit.core.errors import Unauthenticated
from remit.core.times import MINUTE, SECOND
from remit.tokens.assertions import claims_of, header_of, payload_of

TYPE: Final = "dpop+jwt"
SKEW: Final = MINUTE
"""How far a proof's time may be from ours, either way."""
LONGEST: Final = 4_096
ALGORITHMS: Final[dict[str, str]] = {"ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
"""Each algorithm that is taken, with the type of key that it needs."""
_HEADERS: Final = frozenset({"typ", "alg", "jwk"})
_CURVES: Final = frozenset({"P-256", "Ed25519"})
_MEMBERS: Final = {"EC": {"kty", "crv", "x", "y"}, "OKP": {"kty", "crv", "x"}}
_BESIDE: Final = frozenset({"kid", "use", "alg", "key_ops"})
_TOKEN = re.compile(r"[!-~]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a proof says whose signature holds. ``issued`` is in milliseconds UTC, ``token`` the hash of one or None."""

    thumbprint: str
    jti: str
    method: str
    uri: str
    issued: int
    nonce: str | None
    token: str | None


def read_proof(text: str, now: int) -> Proof:
    """The proof in a ``DPoP`` header, if it is well made and of about now. Raises ``Unauthenticated``."""
    if len(text) > LONGEST:
        raise Unauthenticated("this DPoP proof is too long")
    header = header_of(text, _HEADERS)
    algorithm = header.get("alg")
    if header.get("typ") != TYPE or not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthenticated("this is no DPoP proof, or is signed in a way that is not taken")
    key = _public(header.get("jwk"), ALGORITHMS[algorithm])
    payload = payload_of(text, key, algorithm)
    if payload is None:
        raise Unauthenticated("this DPoP proof was not signed by the key that it carries")
    claims = claims_of(payload)
    issued = claims.get("iat")
    # Said the way round that a NaN, which JSON readers take, does not fit.
    if isinstance(issued, bool) or not isinstance(issued, int | float) or not abs(issued * SECOND - now) <= SKEW:
        raise Unauthenticated("this DPoP proof is not of this minute", hint="Make one for each; check the clock.")
    jti, method, uri = (claims.get(name) for name in ("jti", "htm", "htu"))
    if not isinstance(jti, str) or _TOKEN.fullmatch(jti) is None:
        raise Unauthenticated("this DPoP proof has no jti")
    if not isinstance(method, str) or not isinstance(uri, str):
        raise Unauthenticated("this DPoP proof says not what it is for")
    nonce, token = claims.get("nonce"), claims.get("ath")
    if not all(one is None or isinstance(one, str) for one in (nonce, token)):
        raise Unauthenticated("a claim of this DPoP proof is no text")
    return Proof(
        thumbprint=str(key.thumbprint()),
        jti=jti,
        method=method,
        uri=uri,
        issued=int(issued * SECOND),
        nonce=nonce,
        token=token,
    )


def is_for(proof: Proof, method: str, url: str) -> bool:
    """Whether a proof was made for this request; query and fragment count for nothing (RFC 9449 section 4.3)."""
    wanted, said = _plain(url), _plain(proof.uri)
    return proof.method == method and said is not None and said == wanted


def is_with(proof: Proof, token: str) -> bool:
    """Whether a proof was made for the use of this access token."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode("ascii", "replace")).digest()).rstrip(b"=").decode()
    return proof.token is not None and hmac.compare_digest(proof.token.encode(errors="replace"), digest.encode())


def _public(jwk: Any, kind: str) -> Key:
    """The public key of a header. Raises ``Unauthenticated``, above all for one that holds its private half."""
    wanted = _MEMBERS[kind]
    if not isinstance(jwk, dict) or jwk.get("kty") != kind or jwk.get("crv") not in _CURVES:
        raise Unauthenticated("the key of this DPoP proof is not of its algorithm")
    if not wanted <= jwk.keys() <= wanted | _BESIDE:
        raise Unauthenticated("the key of this DPoP proof is no public key")
    try:
        return import_key({name: jwk[name] for name in wanted})
    except (JoseError, ValueError, TypeError) as error:
        raise Unauthenticated("the key of this DPoP proof can't be read") from error


def _plain(url: str) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and path in one spelling (RFC 3986 sections 6.2.2 and 6.2.3)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme], parts.path or "/"
