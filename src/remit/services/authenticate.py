"""Step 1 of a tool call: who is calling? Checkers stand in a row, and each gives one of three answers.

None: not mine, ask the next. A ``Caller``: mine, and good. ``Unauthenticated``: mine, and bad, and nobody else is
asked, so a forged credential never slides on to be read as another kind.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, assert_never

from remit.core.credentials import Caller, HostCaller, Key, PersonCaller, SessionCaller
from remit.core.errors import Forbidden, Unauthenticated
from remit.core.oauth import ProofRefused
from remit.core.people import Person
from remit.core.times import MINUTE, SECOND
from remit.services import whereabouts
from remit.services.deps import Deps
from remit.services.misuse import misused
from remit.services.possession import Shown, proven
from remit.services.sessions import standing_session
from remit.tokens import apikeys
from remit.tokens.jwt import SessionClaims

Checker: TypeAlias = Callable[[Deps, str], Awaitable[Caller | None]]

# A key's last use is for people to read; writing it on every request would be a write per read.
_USE_STEP: Final = MINUTE

STALE: Final = SECOND
"""How long a caller stays authenticated while its request is still coming in; then a door asks again."""


async def authenticate(
    deps: Deps, authorization: str | None, peer: str | None = None, shown: Shown | None = None
) -> Caller:
    """The caller behind an ``Authorization`` header value. Raises ``Unauthenticated``.

    ``peer`` is the address that it came from, None where nobody knows (``doors.peer``); ``shown`` is the DPoP proof
    that came with it.
    """
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() == "dpop" and credential:
        return await by_bound_token(deps, credential, shown)
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated("no bearer credential was sent")
    if credential.startswith(apikeys.PREFIX):
        await whereabouts.check(deps, credential, peer)
    for checker in CHECKERS:
        caller = await checker(deps, credential)
        if caller is not None:
            return caller
    raise Unauthenticated("this credential is of no kind that Remit issues")


async def by_key(deps: Deps, credential: str) -> Caller | None:
    """Keys: ``remit_<kind>_…``."""
    read = apikeys.read(credential)
    if read is None:
        return None
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        key = await view.nouns.get(Key, read.key_id)
        person = await view.nouns.get(Person, key.person) if key and key.person else None
        used = await view.key_use.last(read.key_id)
    if key is None or key.purpose != read.purpose or not apikeys.matches(read, key.digest):
        raise Unauthenticated("this key is unknown")
    if not key.live(now):
        raise Unauthenticated("this key is expired or revoked", hint="Ask the agent's owner for a new key.")
    if used is None or now - used >= _USE_STEP:
        async with deps.store.unit(deps.org) as unit:
            await unit.key_use.touch(key.id, now)
    return await _caller(deps, key, person)


async def by_session_token(deps: Deps, credential: str) -> Caller | None:
    """Session tokens: ES256 JWTs that this Remit signed. Whether the session still lives is step 2."""
    claims = deps.tokens.check(credential, deps.clock.now())
    if claims is None:
        return None
    if claims.thumbprint is not None:
        raise ProofRefused("this token is bound to a key: send it as DPoP, with a proof of that key")
    return _of_session(deps, claims)


async def by_bound_token(deps: Deps, credential: str, shown: Shown | None) -> Caller:
    """Session tokens that are bound to a key, under the scheme ``DPoP`` (RFC 9449 section 7.1)."""
    claims = deps.tokens.check(credential, deps.clock.now())
    if claims is None:
        raise Unauthenticated("this credential is of no kind that Remit binds to a key")
    if claims.thumbprint is None:
        raise ProofRefused("this token is bound to no key: send it as Bearer")
    if shown is None:
        raise ProofRefused("no DPoP proof came with this token")
    await proven(deps, shown, key=claims.thumbprint, token=credential)
    return _of_session(deps, claims)


def _of_session(deps: Deps, claims: SessionClaims) -> SessionCaller:
    if claims.org != deps.org:
        raise Unauthenticated("this token is of another organization")
    return SessionCaller(
        org=claims.org,
        key=claims.client_id,
        agent=claims.actor or claims.subject,
        session=claims.session,
        audience="" if claims.audience == deps.issuer else claims.audience,
    )


CHECKERS: Final[tuple[Checker, ...]] = (by_key, by_session_token)


async def as_person(deps: Deps, caller: Caller) -> PersonCaller:
    """The caller, if it is a person. An agent's credential never is."""
    if isinstance(caller, PersonCaller):
        return caller
    raise await misused(deps, caller, Forbidden("this is for a signed-in person, not for an agent's credential"))


async def as_host(deps: Deps, caller: Caller) -> HostCaller:
    """The caller, if it holds a host key."""
    if isinstance(caller, HostCaller):
        return caller
    raise await misused(
        deps, caller, Forbidden("this needs a host key; no other credential starts, names or changes a session")
    )


async def as_session(deps: Deps, caller: Caller, resource: str = "") -> SessionCaller:
    """The caller, if it may call tools at this ``resource``, the URL of an MCP endpoint.

    A token for one endpoint is for that one alone (RFC 8707); one for the issuer is for all of its doors.
    """
    if isinstance(caller, SessionCaller):
        if caller.audience not in ("", resource):
            raise Unauthenticated(f"this token is for {caller.audience}, and not for this door")
        return caller
    raise await misused(deps, caller, Forbidden("this needs a session token; other credentials do not call tools"))


async def _caller(deps: Deps, key: Key, person: Person | None) -> Caller:
    match key.purpose:
        case "person":
            if person is None or person.state != "active":
                raise Unauthenticated("the person behind this key is not active")
            return PersonCaller(org=key.org, key=key.id, person=person)
        case "host":
            return HostCaller(org=key.org, key=key.id, agent=key.agent or "")
        case "session":
            session = await standing_session(deps, key)
            return SessionCaller(org=key.org, key=key.id, agent=session.agent, session=session.id, standing=True)
        case _ as unreachable:
            assert_never(unreachable)
