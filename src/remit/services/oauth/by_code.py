"""``authorization_code``: a person's consent becomes a session, once (OAuth 2.1 section 4.1.3, RFC 7636)."""

import base64
import hashlib
import hmac
import re
from typing import Final

import msgspec

from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.credentials import HostCaller
from remit.core.errors import RemitError
from remit.core.oauth import OAuthRefusal
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.core.times import HOUR, MINUTE
from remit.services import sessions
from remit.services.deps import Deps
from remit.services.oauth.issuing import answer, bound_key, refresh_token, replayed
from remit.services.oauth.presented import Presented, mark_of

CODE: Final = "code"
CODE_LIFE: Final = MINUTE
_REMEMBERED: Final = HOUR
"""How long a used code is still known, so that its second use is noticed."""
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


class Code(msgspec.Struct, frozen=True):
    """An authorization code as it is kept: who consented to what. ``session`` is set once it was used."""

    client: str
    redirect: str
    challenge: str
    person: str
    resource: str
    tools: tuple[str, ...]
    task: tuple[str, ...]
    ttl: str
    key: str = ""
    """The thumbprint of the key that redeems it (RFC 9449 section 10), where one was named."""
    used: bool = False
    session: str = ""


async def by_code(deps: Deps, client: Client, presented: Presented) -> dict[str, Json]:
    """Redeem a code. Raises ``OAuthRefusal``; a code that came twice takes all that came of it with it."""
    mark = mark_of(presented.wanted("code"))
    thumbprint = bound_key(client, presented)
    async with deps.store.unit(deps.org) as unit:
        made = await _redeemed(deps, unit, client, presented, mark, thumbprint)
    if made is None:
        raise OAuthRefusal("invalid_grant", "this code is unknown, expired, used, or not for this request")
    return made


async def _redeemed(
    deps: Deps, unit: Unit, client: Client, presented: Presented, mark: str, thumbprint: str | None
) -> dict[str, Json] | None:
    """None for a code that is not good, with what must be remembered of that. Never raises for it: the unit stays."""
    now = deps.clock.now()
    body = await unit.tickets.get(CODE, mark, now)
    code = msgspec.json.decode(body, type=Code) if body is not None else None
    if code is None or code.client != client.id:
        return None
    if code.used:
        await replayed(unit, client, code.session)
        return None
    session_id = ""
    made: dict[str, Json] | None = None
    if _fits(code, presented) and code.key in ("", thumbprint):
        session = await _session(deps, unit, client, code, now)
        session_id = session.id
        made = answer(deps, session, client, now, code.resource, thumbprint)
        made |= await refresh_token(deps, unit, session, client, code.resource, thumbprint)
    used = msgspec.structs.replace(code, used=True, session=session_id)
    await unit.tickets.put(CODE, mark, code.person, msgspec.json.encode(used), now + _REMEMBERED)
    return made


def _fits(code: Code, presented: Presented) -> bool:
    """Whether who redeems it is who asked for it: the same redirect, and the verifier of its challenge."""
    verifier = presented.form.get("code_verifier", "")
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii", "replace")).digest())
    proven = _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(
        digest.rstrip(b"=").decode("ascii"), code.challenge
    )
    redirect = presented.form.get("redirect_uri", code.redirect)
    resource = presented.form.get("resource", code.resource)
    return proven and redirect == code.redirect and resource == code.resource


async def _session(deps: Deps, unit: Unit, client: Client, code: Code, now: int) -> Session:
    request: dict[str, Json] = {
        "agent": client.agent,
        "principal": code.person,
        "plan": {"tools": list(code.tools), "speaks": False},
        "task": [{"text": text, "source": "principal"} for text in code.task],
        "ttl": code.ttl,
    }
    try:
        session, _ = await sessions.begin(deps, unit, HostCaller(client.org, client.id, client.agent), request, now)
    except RemitError as error:
        raise OAuthRefusal("invalid_grant", error.detail, hint=error.hint) from error
    return session
