"""The token endpoint: one grant type, one way to a token (RFC 6749 section 3.2)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.oauth import OAuthRefusal
from remit.services.deps import Deps
from remit.services.oauth.by_client import by_client
from remit.services.oauth.by_code import by_code
from remit.services.oauth.by_refresh import by_refresh
from remit.services.oauth.client_auth import authenticated
from remit.services.oauth.exchange import exchange
from remit.services.oauth.presented import Presented

Grant: TypeAlias = Callable[[Deps, Client, Presented], Awaitable[dict[str, Json]]]
GRANTS: Final[Mapping[str, Grant]] = {
    "authorization_code": by_code,
    "refresh_token": by_refresh,
    "client_credentials": by_client,
    "urn:ietf:params:oauth:grant-type:token-exchange": exchange,
}


async def token(deps: Deps, presented: Presented) -> dict[str, Json]:
    """A token response. Raises ``OAuthRefusal``."""
    grant_type = presented.wanted("grant_type")
    client = await authenticated(deps, presented)
    grant = GRANTS.get(grant_type)
    if grant is None:
        raise OAuthRefusal("unsupported_grant_type", f"there is no grant type {grant_type[:100]}")
    if grant_type not in client.grants:
        raise OAuthRefusal(
            "unauthorized_client",
            f"client {client.name} may not use the grant type {grant_type}",
            hint="An administrator lists it in the client's record.",
        )
    return await grant(deps, client, presented)
