"""``token-exchange``: a sub-agent gets a token to work under a live session, and for no more (RFC 8693).

The subject token is a session token of ours: it says for whom and in which session. The actor is the client's agent,
which comes below the one that had the token. What comes of it is a session under the same root, so labels, values and
counters are shared, and killing what is above kills it; nothing starts afresh. INVARIANT: it never reaches a tool, a
time or an endpoint that the subject token does not, and there is no refresh token.
"""

from typing import Final

from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.credentials import HostCaller
from remit.core.errors import RemitError, Unauthenticated
from remit.core.events import EventDraft, Kind
from remit.core.oauth import OAuthRefusal
from remit.core.ports import Unit
from remit.core.scopes import ALL, covers, read_scope
from remit.core.sessions import Session
from remit.services import sessions
from remit.services.deps import Deps
from remit.services.live import above
from remit.services.oauth.issuing import answer, bound_key
from remit.services.oauth.presented import Presented
from remit.services.subjects import subject_of
from remit.tokens.jwt import SessionClaims

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name of RFC 8693
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"


async def exchange(deps: Deps, client: Client, presented: Presented) -> dict[str, Json]:
    """A token for the client's agent under the subject token's session. Raises ``OAuthRefusal``."""
    if client.auth == "none":
        raise OAuthRefusal("unauthorized_client", "a client that proves nothing is no actor")
    subject = _subject(deps, presented)
    resource = _resource(deps, presented, subject)
    thumbprint = bound_key(client, presented)
    async with deps.store.unit(deps.org) as unit:
        now = deps.clock.now()
        parent = await _parent(deps, unit, subject, now)
        session = await _below(deps, unit, client, parent, presented, now)
        await unit.log.append(
            EventDraft(
                kind=Kind.TOKEN_EXCHANGED,
                actor=client.agent,
                subject=await subject_of(unit, session),
                agent=client.agent,
                chain=session.chain,
                session=session.id,
                about=client.id,
            )
        )
    made = answer(deps, session, client, now, resource, thumbprint, subject.expires_at)
    return made | {"issued_token_type": ACCESS_TOKEN}


def _subject(deps: Deps, presented: Presented) -> SessionClaims:
    """The session token that is exchanged."""
    for name, absent in (("subject_token_type", ""), ("requested_token_type", ACCESS_TOKEN)):
        if presented.form.get(name, absent) not in (ACCESS_TOKEN, _JWT):
            raise OAuthRefusal("invalid_request", f"{name} is {ACCESS_TOKEN}")
    if "actor_token" in presented.form:
        raise OAuthRefusal("invalid_request", "the actor is the client's own agent: leave actor_token out")
    try:
        claims = deps.tokens.check(presented.wanted("subject_token"), deps.clock.now())
    except Unauthenticated as error:
        raise OAuthRefusal("invalid_grant", error.detail) from error
    if claims is None or claims.org != deps.org:
        raise OAuthRefusal("invalid_grant", "the subject token is no session token of this server")
    if claims.thumbprint is not None and claims.thumbprint != presented.thumbprint:
        raise OAuthRefusal("invalid_grant", "the subject token is bound to another key")
    return claims


def _resource(deps: Deps, presented: Presented, subject: SessionClaims) -> str:
    """An endpoint that the subject token is for, too."""
    wide = subject.audience == deps.issuer
    named = presented.form.get("resource") or (f"{deps.issuer}/mcp" if wide else subject.audience)
    if not deps.tokens.serves(named) or not (wide or named == subject.audience):
        raise OAuthRefusal("invalid_target", "the subject token is not for this resource")
    return named


async def _parent(deps: Deps, unit: Unit, subject: SessionClaims, now: int) -> Session:
    """The session of the subject token, alive with all that it stands on."""
    session = await unit.sessions.get(subject.session)
    authority = await deps.authority.current(unit)
    line = (session, *await above(unit, session)) if session is not None else ()
    behind = [authority.behind(one) for one in (subject.client_id, *(part.key for part in line))]
    live = all(part.live(now) for part in line) and all(one is not None and one.live(now) for one in behind)
    if session is None or not live or session.agent != (subject.actor or subject.subject):
        raise OAuthRefusal("invalid_grant", "the session of the subject token has ended")
    return session


async def _below(deps: Deps, unit: Unit, client: Client, parent: Session, presented: Presented, now: int) -> Session:
    """The session of this client's agent under ``parent`` with this scope: the one that is there, or a new one."""
    tools = await _tools(deps, unit, client, parent, presented, now)
    plan = parent.plan.tools if tools is None and parent.plan else tools
    for other in await unit.sessions.of_root(parent.root):
        same = other.parent == parent.id and other.key == client.id and other.agent == client.agent
        if same and other.live(now) and (other.plan.tools if other.plan else None) == plan:
            return other
    request: dict[str, Json] = {"agent": client.agent, "parent": parent.id}
    request |= {"principal": parent.principal} if parent.principal else {}
    request |= {"plan": {"tools": list(tools), "speaks": False}} if tools is not None else {}
    # What runs above vouched for its own context; that of this agent nobody did.
    try:
        session, _ = await sessions.begin(deps, unit, HostCaller(client.org, client.id, client.agent), request, now)
    except RemitError as error:
        raise OAuthRefusal("invalid_grant", error.detail, hint=error.hint) from error
    return session


async def _tools(
    deps: Deps, unit: Unit, client: Client, parent: Session, presented: Presented, now: int
) -> tuple[str, ...] | None:
    """The tools that the scope names, all of them within the parent's; None for all that it has."""
    scope = read_scope(presented.form.get("scope", ""))
    if scope == (ALL,):
        return None
    authority = await deps.authority.current(unit)
    chain = (*parent.chain, client.agent)
    within = parent.plan.tools if parent.plan else None
    named = {part.partition(":")[2] for part in scope if part.startswith("tool:")}
    found = tuple(
        known.tool.ref
        for known in authority.listed(chain, now)
        if covers(scope, known.tool.ref, known.review.effect) and (within is None or known.tool.ref in within)
    )
    if not found or not named <= set(found):
        raise OAuthRefusal("invalid_scope", "this is more than the subject token and the actor's grants reach")
    return found
