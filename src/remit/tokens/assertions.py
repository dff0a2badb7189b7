"""Assertions: JWTs that somebody else signed, held against the public keys that we know for them (RFC 7523).

No header of a stranger's choosing is acted on: the algorithm is one of a short list of asymmetric ones and must fit the
type of the known key, a key that comes with the token (``jwk``, ``jku``, ``x5u``, ``x5c``) refuses it, and so does
``crit``. Times are read with a minute of clock skew, not more.
"""

import base64
import binascii
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, KeySet

from remit.core.errors import InvalidDocument, Unauthenticated
from remit.core.times import MINUTE, SECOND

SKEW: Final = MINUTE
LONGEST: Final = 16_384
ALGORITHMS: Final[Mapping[str, str]] = {
    "ES256": "EC",
    "ES384": "EC",
    "EdDSA": "OKP",
    "Ed25519": "OKP",
    "RS256": "RSA",
    "PS256": "RSA",
}
"""Each algorithm that is taken, with the type of key that it needs (RFC 7518, RFC 9864)."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADERS: Final = frozenset({"alg", "kid", "typ", "cty"})
_MOST_KEYS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Asserted:
    """What a good assertion says. Times in milliseconds UTC; ``claims`` is all of it."""

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires: int
    issued: int | None
    jti: str
    kind: str
    claims: Mapping[str, Any]


def key_set(text: str) -> KeySet:
    """The public keys of a JWK Set (RFC 7517 section 5). Raises ``InvalidDocument``, also for a secret key in it."""
    try:
        document = json.loads(text)
        found = KeySet.import_key_set(document)
        secret = any(key.key_type == "oct" or key.is_private for key in found.keys)
        fit = 0 < len(found.keys) <= _MOST_KEYS
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidDocument("this is no JWK Set", pointer="/keys") from error
    if secret:
        raise InvalidDocument("a JWK Set of a client holds public keys only", pointer="/keys")
    if not fit:
        raise InvalidDocument(f"a JWK Set holds 1 to {_MOST_KEYS} keys", pointer="/keys")
    return found


def unverified_issuer(token: str) -> str:
    """The ``iss`` that a token claims, to find the keys that it is then held against. Empty where there is none."""
    try:
        claims = json.loads(_decoded(token.split(".")[1]))
        issuer = claims.get("iss", "")
    except (IndexError, ValueError, AttributeError):
        return ""
    return issuer if isinstance(issuer, str) else ""


def read_assertion(token: str, keys: KeySet, now: int, longest_life: int) -> Asserted:
    """The claims of an assertion signed by one of ``keys``, if it is good at ``now``; else ``Unauthenticated``."""
    header = header_of(token, _HEADERS)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthenticated("this assertion is signed in a way that is not taken")
    kid = header.get("kid")
    candidates = [key for key in keys.keys if key.key_type == ALGORITHMS[algorithm] and (kid is None or key.kid == kid)]
    payload = next((found for key in candidates if (found := payload_of(token, key, algorithm)) is not None), None)
    if payload is None:
        raise Unauthenticated("this assertion was not signed by a key that is known for its issuer")
    return _timely(claims_of(payload), str(header.get("typ", "")), now, longest_life)


def header_of(token: str, members: frozenset[str]) -> dict[str, Any]:
    """The header of a compact JWS that has no others than these ``members``. Raises ``Unauthenticated``."""
    if len(token) > LONGEST or _COMPACT.fullmatch(token) is None:
        raise Unauthenticated("this is no signed JWT")
    try:
        header = json.loads(_decoded(token.partition(".")[0]))
    except ValueError as error:
        raise Unauthenticated("this JWT has no readable header") from error
    if not isinstance(header, dict) or not header.keys() <= members:
        raise Unauthenticated("this JWT has a header with members that are not acted on here")
    return header


def payload_of(token: str, key: Key, algorithm: str) -> bytes | None:
    """The payload of a token that this key signed, by this algorithm; None for one that it did not."""
    try:
        with warnings.catch_warnings():
            # RFC 9864 gives EdDSA with Ed25519 a name of its own; half of the clients still say the old one.
            warnings.simplefilter("ignore", SecurityWarning)
            return jws.deserialize_compact(token, key, algorithms=[algorithm]).payload
    except (JoseError, ValueError, TypeError):
        return None


def claims_of(payload: bytes) -> dict[str, Any]:
    """The claims of a payload, each given once. Raises ``Unauthenticated``."""
    try:
        claims = json.loads(payload, object_pairs_hook=_once)
    except ValueError as error:
        raise Unauthenticated("this assertion holds no claims") from error
    if not isinstance(claims, dict):
        raise Unauthenticated("this assertion holds no claims")
    return claims


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a claim is given twice")
    return found


def _timely(claims: Mapping[str, Any], kind: str, now: int, longest_life: int) -> Asserted:
    expires, issued, starts = (_moment(claims.get(name), name) for name in ("exp", "iat", "nbf"))
    if expires is None or now >= expires + SKEW:
        raise Unauthenticated("this assertion has expired, or says not when it does")
    if expires > now + longest_life + SKEW:
        raise Unauthenticated("this assertion is good for too long")
    if any(moment is not None and moment > now + SKEW for moment in (issued, starts)):
        raise Unauthenticated("this assertion is from the future")
    audience = claims.get("aud")
    many = tuple(str(one) for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str))
    if not many or (isinstance(audience, list) and len(many) != len(audience)):
        raise Unauthenticated("this assertion names no audience")
    texts = {name: claims.get(name, "") for name in ("iss", "sub", "jti")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise Unauthenticated("a claim of this assertion is no text")
    return Asserted(
        issuer=texts["iss"],
        subject=texts["sub"],
        audience=many,
        expires=expires,
        issued=issued,
        jti=texts["jti"],
        kind=kind,
        claims=claims,
    )


def _moment(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**40:
        raise Unauthenticated(f"the claim {name} of this assertion is no time")
    return int(value * SECOND)


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
