"""How a person signs in to a page: by a link that works once, and from then on by a cookie that a server can end.

INVARIANT: what is kept is a hash, so who reads the store can't sign in; and a cookie is no credential of the API, so a
page of another site that makes a browser send it changes nothing there.
"""

import hashlib
import hmac
from typing import Final

from remit.core.credentials import PersonCaller
from remit.core.errors import Unauthenticated
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.times import HOUR, MINUTE
from remit.services.deps import Deps
from remit.services.oauth.presented import fresh, mark_of

LINK: Final = "link"
LINK_LIFE: Final = 15 * MINUTE
SIGN_IN: Final = "sign-in"
SIGN_IN_LIFE: Final = 8 * HOUR


async def link(deps: Deps, person: Person, life: int = LINK_LIFE) -> str:
    """A secret that signs this person in once, within ``life`` milliseconds. An older one is forgotten."""
    text, mark = fresh(deps)
    async with deps.store.unit(deps.org) as unit:
        await unit.tickets.drop(LINK, person.id)
        await unit.tickets.put(LINK, mark, person.id, person.id.encode(), deps.clock.now() + life)
    return text


async def enter(deps: Deps, secret: str) -> str:
    """A fresh cookie for the person whose link it is. Raises ``Unauthenticated``."""
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        body = await unit.tickets.take(LINK, mark_of(secret), now)
        person = await unit.nouns.get(Person, body.decode()) if body is not None else None
        active = person if person is not None and person.state == "active" else None
    if active is None:
        raise Unauthenticated("this link was used, or has expired", hint="`remit person link` makes another.")
    return await signed_in(deps, active, "link")


async def signed_in(deps: Deps, person: Person, by: str) -> str:
    """A fresh cookie for a person who has proved who they are; ``by`` says how."""
    text, mark = fresh(deps)
    async with deps.store.unit(deps.org) as unit:
        now = deps.clock.now()
        await unit.tickets.put(SIGN_IN, mark, person.id, f"{person.id} {now}".encode(), now + SIGN_IN_LIFE)
        await unit.log.append(
            EventDraft(kind=Kind.SIGNED_IN, actor=person.id, subject=person.id, about=person.id, codes=(f"by.{by}",))
        )
    return text


async def who(deps: Deps, cookie: str | None) -> PersonCaller | None:
    """The active person behind a cookie, or None."""
    if not cookie:
        return None
    async with deps.store.view(deps.org) as view:
        body = await view.tickets.get(SIGN_IN, mark_of(cookie), deps.clock.now())
        person = await view.nouns.get(Person, _read(body)[0]) if body is not None else None
    if person is None or person.state != "active":
        return None
    return PersonCaller(org=deps.org, key="sign-in", person=person)


async def since(deps: Deps, cookie: str) -> int | None:
    """When this sign-in began (milliseconds UTC), or None where there is none."""
    async with deps.store.view(deps.org) as view:
        body = await view.tickets.get(SIGN_IN, mark_of(cookie), deps.clock.now())
    return None if body is None else _read(body)[1]


def _read(body: bytes) -> tuple[str, int]:
    person, _, at = body.decode().partition(" ")
    return person, int(at or 0)


async def leave(deps: Deps, cookie: str) -> None:
    """End this sign-in."""
    async with deps.store.unit(deps.org) as unit:
        body = await unit.tickets.take(SIGN_IN, mark_of(cookie), deps.clock.now())
        if body is not None:
            person, _ = _read(body)
            await unit.log.append(EventDraft(kind=Kind.SIGNED_OUT, actor=person, subject=person, about=person))


def form_token(cookie: str) -> str:
    """What a form of ours carries, so that another site's form, which can't know it, is refused."""
    return hashlib.sha256(b"remit/v1/form\x00" + cookie.encode(errors="surrogatepass")).hexdigest()


def is_form_token(cookie: str, presented: str) -> bool:
    """Whether a form was ours, shown to this sign-in."""
    return hmac.compare_digest(form_token(cookie).encode(), presented.encode(errors="surrogatepass"))
