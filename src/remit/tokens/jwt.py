"""Session tokens: ES256 JWTs (RFC 9068 profile, ``typ: at+jwt``) that live five minutes and call tools in one session.

The protected header of our tokens is one fixed byte string. A token that begins with it is ours to judge; one that
claims our type or key with any other header (another algorithm, ``none``, ``jwk``, ``jku``, ``x5u``, ``crit``, members
twice or in another order) is ours and bad. So no header of a stranger's choosing is ever acted on.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError

from remit.core.canonical import Json, canonical
from remit.core.errors import Unauthenticated
from remit.core.times import MINUTE, SECOND
from remit.tokens.keys import SigningKey

LONGEST_LIFE: Final = 5 * MINUTE
LEEWAY: Final = 5 * SECOND
SKEW: Final = MINUTE
"""How far clocks of who checks our tokens may be off ours."""
TYPE: Final = "at+jwt"
_CACHE: Final = 8_192
_MAX_TOKEN: Final = 4_096
# The order of P-256 (FIPS 186-5), and the length of each half of a signature (RFC 7518 section 3.4).
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF: Final = 32
_RESOURCE = re.compile(r"(?:/mcp(?:/[a-z][a-z0-9-]{0,31})?)?")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaims:
    """What a session token says. Times are milliseconds; the token carries whole seconds (RFC 7519 NumericDate).

    ``actor`` acts for ``subject``; ``before`` are the agents that handed the work on, nearest first (nested ``act``,
    RFC 8693 section 4.1). ``thumbprint`` is of the key that the token is bound to (``cnf.jkt``, RFC 9449 section 6).
    """

    issuer: str
    audience: str
    subject: str
    actor: str | None
    session: str
    org: str
    client_id: str
    jti: str
    issued_at: int
    expires_at: int
    before: tuple[str, ...] = ()
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True, init=False, eq=False)
class _Known:
    """One key, from when on it signs, and the one header of all its tokens."""

    since: int
    key: SigningKey
    header: Mapping[str, str]
    head: str

    def __init__(self, since: int, key: SigningKey) -> None:
        header = {"alg": "ES256", "kid": key.kid, "typ": TYPE}
        head = jws.serialize_compact(dict(header), b"", key.jwk, algorithms=["ES256"]).partition(".")[0]
        for name, value in (("since", since), ("key", key), ("header", header), ("head", head)):
            object.__setattr__(self, name, value)

    def public(self) -> dict[str, Json]:
        """The public half as a JWK."""
        public = {name: str(value) for name, value in self.key.jwk.as_dict(private=False).items()}
        return {**public, "kid": self.key.kid, "alg": "ES256", "use": "sig"}


class SessionTokens:
    """Issues and checks the session tokens of one issuer. Verified tokens are remembered until they expire."""

    def __init__(self, key: SigningKey, issuer: str) -> None:
        """The key is parsed already; ``issuer`` is also the audience."""
        self._issuer = issuer
        self._keys: tuple[_Known, ...] = (_Known(0, key),)
        self._registry = jws.JWSRegistry(algorithms=["ES256"])
        self._verified: dict[bytes, SessionClaims] = {}

    def issue(self, claims: SessionClaims) -> str:
        """A signed token. Raises ``ValueError`` for one that would live longer than five minutes."""
        if not 0 < claims.expires_at - claims.issued_at <= LONGEST_LIFE:
            raise ValueError("a session token lives up to five minutes")
        payload = canonical(_document(claims))
        known = self._signer(claims.issued_at)
        token = jws.serialize_compact(dict(known.header), payload, known.key.jwk, registry=self._registry)
        return _with_low_s(token)

    def take(self, keys: Sequence[tuple[int, SigningKey]]) -> None:
        """Use these keys from now on, each with the time from which it signs (milliseconds UTC), oldest first.

        What was verified under a key that is no longer there is not known any more.
        """
        kept = {known.key.kid: known for known in self._keys}
        fresh = tuple(kept[key.kid] if key.kid in kept else _Known(since, key) for since, key in keys)
        if not fresh:
            raise ValueError("there is always a key")
        if fresh != self._keys:
            self._keys = fresh
            self._verified.clear()

    def _signer(self, now: int) -> "_Known":
        """The newest key whose time has come."""
        return next((known for known in reversed(self._keys) if known.since <= now), self._keys[0])

    def check(self, token: str, now: int) -> SessionClaims | None:
        """The claims of a good token; None when it is not ours. Raises ``Unauthenticated`` when it is ours and bad."""
        mark = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(mark)
        if known is None:
            ours = self._ours(token)
            if ours is None:
                return None
            known = self._verify(token, ours)
            while len(self._verified) >= _CACHE:
                self._verified.pop(next(iter(self._verified)))
            self._verified[mark] = known
        self._timely(known, now)
        return known

    def serves(self, resource: str) -> bool:
        """Whether a token may name this as its audience: the issuer, or an MCP endpoint of it (RFC 8707)."""
        tail = resource.removeprefix(self._issuer)
        return resource.startswith(self._issuer) and _RESOURCE.fullmatch(tail) is not None

    @property
    def jwks(self) -> dict[str, Json]:
        """The public keys that tokens are checked with, now or soon (RFC 7517 section 5)."""
        return {"keys": [known.public() for known in self._keys]}

    def _ours(self, token: str) -> "_Known | None":
        """The key that a token of ours names; None for another's. Raises ``Unauthenticated`` for a false claim."""
        head = token.partition(".")[0]
        for known in self._keys:
            if head == known.head:
                return known
        if _COMPACT.fullmatch(token[:_MAX_TOKEN]) is None:
            return None
        try:
            head = base64.urlsafe_b64decode(token.partition(".")[0] + "==").decode(errors="replace")
        except binascii.Error:
            return None
        if TYPE in head or any(known.key.kid in head for known in self._keys):
            raise Unauthenticated("this token has a header that Remit does not write, or is of a key that has ended")
        return None

    def _verify(self, token: str, known: "_Known") -> SessionClaims:
        if len(token) > _MAX_TOKEN or _COMPACT.fullmatch(token) is None or not _exact(token) or not _has_low_s(token):
            raise Unauthenticated("this token is damaged")
        try:
            found = jws.deserialize_compact(token, known.key.jwk, registry=self._registry)
            claims = _read(found.payload)
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise Unauthenticated("this token was not signed here, or was changed") from error
        if claims.issuer != self._issuer or not self.serves(claims.audience):
            raise Unauthenticated("this token is for another issuer or audience")
        if claims.expires_at - claims.issued_at > LONGEST_LIFE:
            raise Unauthenticated("this token claims too long a life")
        return claims

    def _timely(self, claims: SessionClaims, now: int) -> None:
        if now >= claims.expires_at:
            raise Unauthenticated("this session token has expired", hint="The host renews it.")
        if claims.issued_at > now + LEEWAY:
            raise Unauthenticated("this session token is from the future")


def _document(claims: SessionClaims) -> dict[str, Json]:
    body: dict[str, Json] = {
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.subject,
        "txn": claims.session,
        "org": claims.org,
        "client_id": claims.client_id,
        "jti": claims.jti,
        "iat": claims.issued_at // SECOND,
        # Rounded down: a token never outlives what it was issued for.
        "exp": claims.expires_at // SECOND,
    }
    acting: Json = None
    for actor in reversed((*(() if claims.actor is None else (claims.actor,)), *claims.before)):
        acting = {"sub": actor} if acting is None else {"sub": actor, "act": acting}
    if acting is not None:
        body["act"] = acting
    if claims.thumbprint is not None:
        body["cnf"] = {"jkt": claims.thumbprint}
    return body


def _read(payload: bytes) -> SessionClaims:
    """Claims of a payload whose signature holds, so we wrote it; an odd one is still refused."""
    body = json.loads(payload)
    if not isinstance(body, dict):
        raise TypeError("the claims are no object")
    actors = _actors(body.get("act"))
    bound = body.get("cnf")
    return SessionClaims(
        issuer=_text(body["iss"]),
        audience=_text(body["aud"]),
        subject=_text(body["sub"]),
        actor=actors[0] if actors else None,
        before=actors[1:],
        thumbprint=_text(bound["jkt"]) if bound is not None else None,
        session=_text(body["txn"]),
        org=_text(body["org"]),
        client_id=_text(body["client_id"]),
        jti=_text(body["jti"]),
        issued_at=_seconds(body["iat"]) * SECOND,
        expires_at=_seconds(body["exp"]) * SECOND,
    )


def _actors(acting: object) -> tuple[str, ...]:
    """Who acts, and who handed the work on, nearest first."""
    found: list[str] = []
    while acting is not None:
        if not isinstance(acting, dict):
            raise TypeError("an actor is no object")
        found.append(_text(acting["sub"]))
        acting = acting.get("act")
    return tuple(found)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a claim is not a string")
    return value


def _seconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a time is not a whole number")
    return value


def _exact(token: str) -> bool:
    """Whether each part is the one base64url spelling of its bytes: otherwise one token would have many texts."""
    try:
        return all(_encoded(_decoded(part)) == part for part in token.split("."))
    except binascii.Error:
        return False


def _has_low_s(token: str) -> bool:
    """Whether the signature is of the one form that we write. Its twin (r, n - s) holds too, and is another text."""
    signature = _decoded(token.rpartition(".")[2])
    return len(signature) == 2 * _HALF and int.from_bytes(signature[_HALF:], "big") <= _ORDER // 2


def _with_low_s(token: str) -> str:
    body, _, signature = token.rpartition(".")
    raw = _decoded(signature)
    s = int.from_bytes(raw[_HALF:], "big")
    return f"{body}.{_encoded(raw[:_HALF] + min(s, _ORDER - s).to_bytes(_HALF, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
