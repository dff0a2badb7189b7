"""``refresh_token``: a fresh token for a live session; each refresh token is used once (OAuth 2.1 section 4.3.1)."""

import msgspec

from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.events import EventDraft, Kind
from remit.core.oauth import OAuthRefusal
from remit.core.ports import Unit
from remit.services.deps import Deps
from remit.services.oauth.issuing import REFRESH, Refresh, answer, bound_key, refresh_token, replayed
from remit.services.oauth.presented import Presented, mark_of
from remit.services.subjects import subject_of


async def by_refresh(deps: Deps, client: Client, presented: Presented) -> dict[str, Json]:
    """Use a refresh token. Raises ``OAuthRefusal``; one that came twice takes its session with it."""
    mark = mark_of(presented.wanted("refresh_token"))
    thumbprint = bound_key(client, presented)
    async with deps.store.unit(deps.org) as unit:
        made = await _renewed(deps, unit, client, presented, mark, thumbprint)
    if made is None:
        raise OAuthRefusal("invalid_grant", "this refresh token is unknown, used, or its session has ended")
    return made


async def _renewed(
    deps: Deps, unit: Unit, client: Client, presented: Presented, mark: str, thumbprint: str | None
) -> dict[str, Json] | None:
    now = deps.clock.now()
    body = await unit.tickets.get(REFRESH, mark, now)
    kept = msgspec.json.decode(body, type=Refresh) if body is not None else None
    if kept is None or kept.client != client.id or kept.thumbprint not in (None, thumbprint):
        return None
    if kept.used:
        await replayed(unit, client, kept.session)
        return None
    session = await unit.sessions.get(kept.session)
    if session is None or not session.live(now) or presented.form.get("resource", kept.resource) != kept.resource:
        return None
    used = msgspec.structs.replace(kept, used=True)
    await unit.tickets.put(REFRESH, mark, session.id, msgspec.json.encode(used), session.expires)
    await unit.log.append(
        EventDraft(
            kind=Kind.TOKEN_ISSUED,
            actor=session.agent,
            subject=await subject_of(unit, session),
            agent=session.agent,
            chain=session.chain,
            session=session.id,
            about=client.id,
        )
    )
    made = answer(deps, session, client, now, kept.resource, kept.thumbprint or thumbprint)
    return made | await refresh_token(deps, unit, session, client, kept.resource, kept.thumbprint or thumbprint)
