"""Who is the client? By its secret, a key of its own, the workload that it runs as, or its bare name if it has none.

INVARIANT: one way only, the one that its record says, and of two that are presented none. Whatever is wrong, the answer
is ``invalid_client`` and says not which half was wrong (RFC 6749 section 5.2).
"""

import base64
import binascii
import hmac
from typing import Final
from urllib.parse import unquote_plus

from remit.core.clients import Client
from remit.core.errors import Unauthenticated
from remit.core.oauth import OAuthRefusal
from remit.core.times import HOUR
from remit.services.deps import Deps
from remit.services.oauth.presented import Presented, mark_of
from remit.services.oauth.workloads import stands_for
from remit.tokens import apikeys
from remit.tokens.assertions import SKEW, key_set, read_assertion

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_ASSERTION: Final = HOUR
_UNKNOWN: Final = "this client is unknown, or did not prove what it is"


async def authenticated(deps: Deps, presented: Presented) -> Client:
    """The client behind a request. Raises ``OAuthRefusal``."""
    identifier, secret = _basic(presented.authorization)
    form = presented.form
    assertion = form.get("client_assertion")
    ways = [way for way in (secret, form.get("client_secret"), assertion) if way is not None]
    if len(ways) > 1:
        raise OAuthRefusal("invalid_request", "a client authenticates in one way at a time")
    if identifier is not None and form.get("client_id", identifier) != identifier:
        raise OAuthRefusal("invalid_request", "two client ids are given")
    named = identifier or form.get("client_id")
    if assertion is not None:
        return await _by_assertion(deps, presented, assertion, named)
    if not named:
        raise refused()
    client = await find(deps, named)
    if ways:
        return _by_secret(deps, client, ways[0])
    if client is None or client.auth != "none":
        raise refused()
    return client


async def find(deps: Deps, client_id: str) -> Client | None:
    """The live client of this id on the wire, or None."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        authority = await deps.authority.current(view)
    return next((one for one in authority.clients.values() if one.client_id == client_id and one.live(now)), None)


def refused() -> OAuthRefusal:
    """The one answer to a client that is not who it says."""
    return OAuthRefusal("invalid_client", _UNKNOWN, status=401, hint="An administrator sees it in `remit client list`.")


def _basic(authorization: str | None) -> tuple[str | None, str | None]:
    """Client id and secret of HTTP Basic, each form-encoded first (RFC 6749 section 2.3.1)."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        name, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise refused() from None
    if not colon:
        raise refused()
    return unquote_plus(name), unquote_plus(secret)


def _by_secret(deps: Deps, client: Client | None, secret: str) -> Client:
    read = apikeys.client_of(secret)
    now = deps.clock.now()
    if client is None or client.auth != "client_secret" or read is None:
        raise refused()
    if not any(hmac.compare_digest(one.digest, read[1]) for one in client.secrets if now < one.expires):
        raise refused()
    return client


async def _by_assertion(deps: Deps, presented: Presented, assertion: str, named: str | None) -> Client:
    if presented.form.get("client_assertion_type") != ASSERTION_TYPE:
        raise OAuthRefusal("invalid_request", "the parameter client_assertion_type is missing or unknown")
    now = deps.clock.now()
    if named is None:
        raise OAuthRefusal("invalid_request", "name the client in client_id")
    client = await find(deps, named)
    if client is None:
        raise refused()
    if client.auth == "workload" and client.workload is not None:
        if not await stands_for(deps, client.workload, assertion):
            raise refused()
        return client
    if client.auth != "private_key_jwt":
        raise refused()
    try:
        said = read_assertion(assertion, key_set(client.keys), now, LONGEST_ASSERTION)
    except Unauthenticated as error:
        raise refused() from error
    meant = {deps.issuer, f"{deps.issuer}{presented.path}", f"{deps.issuer}/oauth/token"}
    ours = len(said.audience) == 1 and said.audience[0] in meant
    if not ours or said.issuer != client.client_id or said.subject != client.client_id or not said.jti:
        raise refused()
    async with deps.store.unit(deps.org) as unit:
        fresh = await unit.tickets.first("assertion", mark_of(f"{client.id} {said.jti}"), now, said.expires + SKEW)
    if not fresh:
        raise refused()
    return client
