"""Introspection (RFC 7662) and revocation (RFC 7009): what a token is, and its end."""

import msgspec

from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.errors import Unauthenticated
from remit.core.events import EventDraft, Kind
from remit.core.oauth import OAuthRefusal
from remit.core.ports import Unit
from remit.core.scopes import of_tools
from remit.core.sessions import Session
from remit.core.times import SECOND
from remit.services.deps import Deps
from remit.services.live import above
from remit.services.oauth.client_auth import authenticated
from remit.services.oauth.issuing import REFRESH, Refresh
from remit.services.oauth.presented import Presented, mark_of
from remit.services.sessions import stop_tree
from remit.services.subjects import subject_of
from remit.tokens.jwt import SessionClaims


async def introspect(deps: Deps, presented: Presented) -> dict[str, Json]:
    """What a token of a chain that the client's agent is in says and is good for; else that it is not active.

    Raises ``OAuthRefusal`` for a client that proves nothing.
    """
    client = await authenticated(deps, presented)
    if client.auth == "none":
        raise OAuthRefusal("unauthorized_client", "a client that proves nothing is told nothing")
    text = presented.wanted("token")
    claims = _claims(deps, text)
    async with deps.store.view(deps.org) as view:
        if claims is None:
            return await _of_refresh(deps, view, client, text)
        session = await _living(deps, view, claims.session, claims.client_id)
    if session is None or client.agent not in session.chain:
        return {"active": False}
    return _said(claims, session)


async def revoke(deps: Deps, presented: Presented) -> None:
    """End what a token of this client stands for: its session, and all below. An unknown token is no error."""
    client = await authenticated(deps, presented)
    text = presented.wanted("token")
    now = deps.clock.now()
    claims = _claims(deps, text)
    async with deps.store.unit(deps.org) as unit:
        body = await unit.tickets.get(REFRESH, mark_of(text), now)
        kept = msgspec.json.decode(body, type=Refresh) if body is not None else None
        owner, named = (kept.client, kept.session) if kept is not None else ("", "")
        if claims is not None:
            owner, named = claims.client_id, claims.session
        session = await unit.sessions.get(named) if owner == client.id else None
        if session is None or session.standing:
            return
        await unit.tickets.drop(REFRESH, session.id)
        await unit.log.append(
            EventDraft(
                kind=Kind.TOKEN_REVOKED,
                actor=session.agent,
                subject=await subject_of(unit, session),
                agent=session.agent,
                chain=session.chain,
                session=session.id,
                about=client.id,
            )
        )
        await stop_tree(unit, session, actor=session.agent, kind=Kind.SESSION_ENDED, reason="its token was revoked")


def _claims(deps: Deps, text: str) -> SessionClaims | None:
    try:
        return deps.tokens.check(text, deps.clock.now())
    except Unauthenticated:
        return None


async def _living(deps: Deps, view: Unit, named: str, credential: str) -> Session | None:
    """The session, if it and all that it stands on lives."""
    now = deps.clock.now()
    session = await view.sessions.get(named)
    if session is None:
        return None
    authority = await deps.authority.current(view)
    line = (session, *await above(view, session))
    behind = [authority.behind(one) for one in (credential, *(part.key for part in line))]
    live = all(part.live(now) for part in line) and all(one is not None and one.live(now) for one in behind)
    return session if live else None


async def _of_refresh(deps: Deps, view: Unit, client: Client, text: str) -> dict[str, Json]:
    body = await view.tickets.get(REFRESH, mark_of(text), deps.clock.now())
    kept = msgspec.json.decode(body, type=Refresh) if body is not None else None
    session = await _living(deps, view, kept.session, kept.client) if kept and kept.client == client.id else None
    if kept is None or kept.used or session is None:
        return {"active": False}
    return {"active": True, "client_id": client.client_id, "txn": session.id, "exp": session.expires // SECOND}


def _said(claims: SessionClaims, session: Session) -> dict[str, Json]:
    acting: Json = None
    for actor in reversed((*((claims.actor,) if claims.actor else ()), *claims.before)):
        acting = {"sub": actor} if acting is None else {"sub": actor, "act": acting}
    told: dict[str, Json] = {
        "active": True,
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.subject,
        "client_id": claims.client_id,
        "txn": claims.session,
        "jti": claims.jti,
        "iat": claims.issued_at // SECOND,
        "exp": claims.expires_at // SECOND,
        "scope": of_tools(session.plan.tools if session.plan else None),
        "token_type": "DPoP" if claims.thumbprint else "Bearer",
    }
    told |= {"act": acting} if acting is not None else {}
    return told | ({"cnf": {"jkt": claims.thumbprint}} if claims.thumbprint else {})
