"""What every grant ends in: an access token for a session, and where the client may, a refresh token beside it."""

from typing import Final

import msgspec

from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.events import EventDraft, Kind
from remit.core.oauth import OAuthRefusal
from remit.core.ports import Unit
from remit.core.scopes import of_tools
from remit.core.sessions import Session
from remit.core.times import SECOND
from remit.services.deps import Deps
from remit.services.oauth.presented import Presented, fresh
from remit.services.sessions import stop_tree, token
from remit.services.subjects import subject_of

REFRESH: Final = "refresh"


class Refresh(msgspec.Struct, frozen=True):
    """A refresh token as it is kept under the hash of its text. Used ones stay, so that a second use is noticed."""

    client: str
    session: str
    resource: str
    thumbprint: str | None
    used: bool = False


def resource_of(deps: Deps, presented: Presented) -> str:
    """The one endpoint that a token is asked for (RFC 8707); the gateway where none is named.

    Raises ``OAuthRefusal`` (``invalid_target``).
    """
    named = presented.form.get("resource") or f"{deps.issuer}/mcp"
    if not deps.tokens.serves(named):
        raise OAuthRefusal("invalid_target", f"this server has no resource {named[:200]}")
    return named


def bound_key(client: Client, presented: Presented) -> str | None:
    """The key that the token is bound to. Raises ``OAuthRefusal`` where the client must show one and did not."""
    if client.dpop and presented.thumbprint is None:
        raise OAuthRefusal("invalid_dpop_proof", "tokens of this client are bound to a key: send a DPoP proof")
    return presented.thumbprint


def answer(
    deps: Deps,
    session: Session,
    client: Client,
    now: int,
    resource: str,
    thumbprint: str | None,
    ceiling: int | None = None,
) -> dict[str, Json]:
    """The members of a token response (RFC 6749 section 5.1). ``ceiling`` is a time that the token must not outlive."""
    text, expires = token(deps, session, now, client.id, resource, thumbprint, ceiling)
    return {
        "access_token": text,
        "token_type": "DPoP" if thumbprint else "Bearer",
        "expires_in": (expires - now) // SECOND,
        "scope": of_tools(session.plan.tools if session.plan else None),
    }


async def refresh_token(
    deps: Deps, unit: Unit, session: Session, client: Client, resource: str, thumbprint: str | None
) -> dict[str, Json]:
    """A refresh token for as long as the session lives, where the client may have one."""
    if "refresh_token" not in client.grants:
        return {}
    text, mark = fresh(deps)
    kept = Refresh(client.id, session.id, resource, thumbprint)
    await unit.tickets.put(REFRESH, mark, session.id, msgspec.json.encode(kept), session.expires)
    return {"refresh_token": text}


async def replayed(unit: Unit, client: Client, session_id: str) -> None:
    """A code or a refresh token came twice, so one of two hands is a thief's: everything that came of it ends."""
    session = await unit.sessions.get(session_id) if session_id else None
    await unit.log.append(
        EventDraft(
            kind=Kind.REPLAYED,
            actor=client.agent,
            subject=await subject_of(unit, session) if session else client.agent,
            agent=client.agent,
            session=session.id if session else None,
            about=client.id,
            codes=("credential.replayed",),
        )
    )
    if session is not None:
        await unit.tickets.drop(REFRESH, session.id)
        await stop_tree(
            unit, session, actor=client.agent, kind=Kind.SESSION_KILLED, reason="a credential of it was used twice"
        )
