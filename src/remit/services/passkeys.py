"""Passkeys: how a person signs in with what a device keeps and a finger or a PIN unlocks (W3C WebAuthn level 3).

A passkey is added by who has just signed in by a way that proved them before, and is then enough by itself: it names
its person, and the device has verified them. Attestation is not asked for: whose make a device is says nothing here.
INVARIANT: a challenge is ours, is used once, within minutes, and by the browser that was given it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InvalidDocument, NotFound, Unauthenticated, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.people import Passkey, Person
from remit.core.ports import Unit
from remit.core.times import DAY, MINUTE
from remit.services import signing_in
from remit.services.deps import Deps
from remit.services.oauth.presented import mark_of

CHALLENGE_LIFE: Final = 5 * MINUTE
FRESH: Final = 10 * MINUTE
"""How long after signing in a passkey may be added: who finds a browser that is open adds none."""
MOST: Final = 20
MOST_NAME: Final = 64
_NEW: Final = "passkey-new"
_IN: Final = "passkey-in"
_COUNT: Final = "passkey-count"
_FOR_EVER: Final = 36_500 * DAY
_MOST_CREDENTIAL: Final = 16_384
_BAD: Final = "this passkey is unknown here, or did not prove itself"
_BY_LINK: Final = "Sign in by a link, and look at your passkeys."


def offered(deps: Deps) -> bool:
    """Whether there can be passkeys: browsers tie them to a name, and to https or ``localhost``."""
    parts = urlsplit(deps.issuer)
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return parts.scheme == "https" or parts.hostname == "localhost"
    return False


# Adding and removing


async def offer_new(deps: Deps, caller: PersonCaller, cookie: str) -> str:
    """What a browser makes a passkey from, as JSON. Raises ``Forbidden`` for a sign-in that is not fresh."""
    _check_offered(deps)
    await _check_fresh(deps, cookie)
    person = caller.person
    options = generate_registration_options(
        rp_id=_host(deps),
        rp_name="Remit",
        user_id=person.id.encode(),
        user_name=person.email,
        user_display_name=person.name or person.email,
        challenge=deps.entropy.bytes(32),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            require_resident_key=True,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=_decoded(one.id)) for one in person.passkeys],
    )
    await _keep(deps, _NEW, options.challenge, person.id, cookie)
    return options_to_json(options)


async def add(deps: Deps, caller: PersonCaller, cookie: str, name: str, credential: str) -> None:
    """Keep a passkey that a browser made. Raises ``InvalidDocument``, ``Forbidden``, ``WrongState``."""
    await _check_fresh(deps, cookie)
    sent = _read(credential)
    challenge = await _used(deps, _NEW, sent, cookie)
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
        raise InvalidDocument(f"a passkey has a name of at most {MOST_NAME} characters", pointer="/name")
    try:
        made = verify_registration_response(
            credential=sent,
            expected_challenge=challenge,
            expected_rp_id=_host(deps),
            expected_origin=_origin(deps),
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise InvalidDocument("this is no passkey for this Remit, or nobody was verified for it") from error
    fresh = Passkey(_encoded(made.credential_id), _encoded(made.credential_public_key), name.strip(), deps.clock.now())
    async with deps.store.unit(deps.org) as unit:
        person = await unit.nouns.get(Person, caller.person.id)
        if person is None or person.state != "active":
            raise Forbidden("you are not active any more")
        if len(person.passkeys) >= MOST:
            raise WrongState(f"you have {MOST} passkeys already", hint="Remove one that you don't use.")
        if await _holder(unit, fresh.id) is not None:
            raise WrongState("this passkey is known already")
        await unit.nouns.replace(replace(person, passkeys=(*person.passkeys, fresh)))
        await _count(deps, unit, fresh.id, person.id, made.sign_count)
        await unit.log.append(_event(Kind.PASSKEY_ADDED, person.id, name=fresh.name))


async def remove(deps: Deps, caller: PersonCaller, named: str) -> None:
    """Take one of one's own passkeys away. Raises ``NotFound``."""
    async with deps.store.unit(deps.org) as unit:
        person = await unit.nouns.get(Person, caller.person.id)
        left = tuple(one for one in person.passkeys if one.id != named) if person is not None else ()
        if person is None or len(left) == len(person.passkeys):
            raise NotFound("you have no such passkey")
        gone = next(one for one in person.passkeys if one.id == named)
        await unit.nouns.replace(replace(person, passkeys=left))
        await unit.log.append(_event(Kind.PASSKEY_REMOVED, person.id, name=gone.name))


# Signing in


async def offer_sign_in(deps: Deps, browser: str) -> str:
    """What a browser proves a passkey with, as JSON; ``browser`` is what that browser alone sends again."""
    _check_offered(deps)
    options = generate_authentication_options(
        rp_id=_host(deps),
        challenge=deps.entropy.bytes(32),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    await _keep(deps, _IN, options.challenge, "", browser)
    return options_to_json(options)


async def sign_in(deps: Deps, browser: str, credential: str) -> str:
    """A fresh cookie for the person whose passkey it is. Raises ``Unauthenticated``, ``InvalidDocument``."""
    sent = _read(credential)
    challenge = await _used(deps, _IN, sent, browser)
    async with deps.store.view(deps.org) as view:
        person = await _holder(view, str(sent.get("id")))
    known = next((one for one in person.passkeys if one.id == sent["id"]), None) if person is not None else None
    if person is None or known is None or _handle(sent) != person.id:
        raise Unauthenticated(_BAD, hint=_BY_LINK)
    try:
        proved = verify_authentication_response(
            credential=sent,
            expected_challenge=challenge,
            expected_rp_id=_host(deps),
            expected_origin=_origin(deps),
            credential_public_key=_decoded(known.key),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise Unauthenticated(_BAD, hint=_BY_LINK) from error
    if not await _counted_on(deps, person, known, proved.new_sign_count) or person.state != "active":
        raise Unauthenticated(_BAD, hint=_BY_LINK)
    return await signing_in.signed_in(deps, person, "passkey")


async def _counted_on(deps: Deps, person: Person, known: Passkey, count: int) -> bool:
    """Whether a device's count went on. One that stands still or goes back is of two devices, one of them a copy."""
    async with deps.store.unit(deps.org) as unit:
        body = await unit.tickets.get(_COUNT, mark_of(known.id), deps.clock.now())
        before = int(body) if body is not None else 0
        if (before or count) and count <= before:
            await unit.log.append(_event(Kind.PASSKEY_REFUSED, person.id, "count.went_back", name=known.name))
            return False
        await _count(deps, unit, known.id, person.id, count)
    return True


async def _count(deps: Deps, unit: Unit, credential: str, person: str, count: int) -> None:
    # Beside the person's record, since every process reads the registry anew when that changes.
    ends = deps.clock.now() + _FOR_EVER
    await unit.tickets.put(_COUNT, mark_of(credential), person, str(count).encode(), ends)


async def _holder(unit: Unit, credential: str) -> Person | None:
    people = await unit.nouns.all(Person)
    return next((one for one in people if any(key.id == credential for key in one.passkeys)), None)


# Challenges


async def _keep(deps: Deps, kind: str, challenge: bytes, owner: str, browser: str) -> None:
    ends = deps.clock.now() + CHALLENGE_LIFE
    async with deps.store.unit(deps.org) as unit:
        await unit.tickets.put(kind, mark_of(_encoded(challenge)), owner, mark_of(browser).encode(), ends)


async def _used(deps: Deps, kind: str, sent: Mapping[str, Any], browser: str) -> bytes:
    """The challenge that a credential answers, which is gone then. Raises ``Unauthenticated``."""
    response = sent.get("response")
    try:
        told = json.loads(_decoded(response["clientDataJSON"])) if isinstance(response, dict) else {}
        text = str(told["challenge"])
        challenge = _decoded(text)
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise InvalidDocument("this is no answer of a passkey") from error
    async with deps.store.unit(deps.org) as unit:
        body = await unit.tickets.take(kind, mark_of(text), deps.clock.now())
    if body != mark_of(browser).encode():
        raise Unauthenticated("this was not asked of this browser just now", hint="Begin again.")
    return challenge


async def _check_fresh(deps: Deps, cookie: str) -> None:
    since = await signing_in.since(deps, cookie)
    if since is None or deps.clock.now() - since > FRESH:
        raise Forbidden("you signed in too long ago to add a passkey", hint="Sign out, and in again.")


def _check_offered(deps: Deps) -> None:
    if not offered(deps):
        raise WrongState(
            f"there are no passkeys at {deps.issuer}: browsers want a name, and https unless it is localhost",
            hint="Set the issuer to the name that people open.",
        )


def _read(credential: str) -> dict[str, Any]:
    try:
        found = json.loads(credential) if len(credential) <= _MOST_CREDENTIAL else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise InvalidDocument("this is no answer of a passkey")
    return found


def _handle(sent: Mapping[str, Any]) -> str:
    """Whose passkey the device says that it is."""
    response = sent.get("response")
    handle = response.get("userHandle") if isinstance(response, dict) else None
    try:
        return _decoded(handle).decode() if isinstance(handle, str) else ""
    except ValueError:
        return ""


def _host(deps: Deps) -> str:
    return urlsplit(deps.issuer).hostname or ""


def _origin(deps: Deps) -> str:
    parts = urlsplit(deps.issuer)
    return f"{parts.scheme}://{parts.netloc}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _event(kind: Kind, person: str, *codes: str, name: str) -> EventDraft:
    return EventDraft(kind=kind, actor=person, subject=person, about=person, codes=codes, private={"/name": name})
