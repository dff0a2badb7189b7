"""``client_credentials``: a token for the client's own agent, which acts for nobody (RFC 6749 section 4.4).

It is of the client's one standing session, as with a session key: untrusted from its start, and never clean. A token of
a fresh session each time would be a way to forget what was read and spent.
"""

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.errors import Unauthenticated
from remit.core.oauth import OAuthRefusal
from remit.core.scopes import ALL, read_scope
from remit.services.deps import Deps
from remit.services.oauth.issuing import answer, bound_key, resource_of
from remit.services.oauth.presented import Presented
from remit.services.sessions import standing_session


async def by_client(deps: Deps, client: Client, presented: Presented) -> dict[str, Json]:
    """A token of the client's standing session. Raises ``OAuthRefusal``."""
    if client.auth == "none":
        raise OAuthRefusal("unauthorized_client", "a client that proves nothing gets no token of its own")
    async with deps.store.view(deps.org) as view:
        agent = await view.nouns.get(Agent, client.agent)
    if agent is None or agent.mode != "autonomous":
        raise OAuthRefusal(
            "unauthorized_client",
            "this client's agent acts for people, so it needs the consent of one",
            hint="Use the authorization code flow, device authorization or CIBA.",
        )
    if read_scope(presented.form.get("scope", "")) != (ALL,):
        raise OAuthRefusal("invalid_scope", "a standing session has the agent's grants", hint="Narrow the grants.")
    resource, thumbprint = resource_of(deps, presented), bound_key(client, presented)
    try:
        session = await standing_session(deps, client)
    except Unauthenticated as error:
        raise OAuthRefusal("invalid_grant", error.detail, hint=error.hint) from error
    now = deps.clock.now()
    if not agent.live(now):
        raise OAuthRefusal("invalid_grant", f"agent {agent.name} is not live", hint="Its owner can activate it.")
    return answer(deps, session, client, now, resource, thumbprint)
