"""Keys: made for one purpose, shown once, kept as a hash, ended by time or by hand.

Rules
- A host key states tasks and a session key calls tools; no key is both, and nothing is issued to an agent that is not
  live, since such an agent may lack an owner, a purpose or a grant.
- Every key of an agent ends, after a year at most. Only the key of a person has no end of its own.
- A key may be for fewer tools than its agent is granted, and from some networks only; both are looked up at use.
- A revoked key takes the sessions that it started with it.
"""

from dataclasses import replace
from typing import Final, cast

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.credentials import Key, KeyPurpose, PersonCaller
from remit.core.errors import Forbidden, InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.times import DAY, HOUR, duration, from_text, to_text
from remit.guards.documents import check_document
from remit.services import whereabouts
from remit.services.deps import Deps
from remit.services.documents import Directory, Document, directory, texts
from remit.services.registry import find, require_owner
from remit.services.stopping import kill_all
from remit.tokens import apikeys

LONGEST_LIFE: Final = 365 * DAY
OVERLAP: Final = HOUR
LONGEST_OVERLAP: Final = 7 * DAY


async def create(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A key for a live agent, by an administrator or its owner. The answer holds the secret, this once.

    ``document`` is a ``KeyRequest``. Raises ``InvalidDocument``, ``NotFound``, ``Forbidden``, ``WrongState``.
    """
    check_document("KeyRequest", document)
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, str(document["agent"]))
        require_owner(caller, agent)
        owner = await unit.nouns.get(Person, agent.owner) if agent.owner else None
        if not agent.live(now) or owner is None or owner.state != "active":
            raise WrongState(
                f"agent {agent.name} is not live, and nothing is issued to it", hint="`remit agent activate` says why."
            )
        expires = _expiry(document["expires"], now)
        key, secret = _fresh(deps, cast("KeyPurpose", document["for"]), agent=agent.id, expires=expires)
        key = replace(
            key,
            tools=await _tools(deps, unit, agent, document.get("tools"), now),
            addresses=whereabouts.read_networks(texts(document.get("addresses", ())), "/addresses"),
        )
        await _add(unit, caller.person.id, key, agent.owner, Kind.KEY_CREATED)
        return _key_document(key, await directory(unit), now) | {"secret": secret}


async def create_person_key(deps: Deps, person: Person) -> str:
    """The secret of a new key that answers for ``person``, for the making of a home. It has no end of its own."""
    key, secret = _fresh(deps, "person", person=person.id)
    async with deps.store.unit(deps.org) as unit:
        await _add(unit, person.id, key, person.id, Kind.KEY_CREATED)
    return secret


async def rotate(deps: Deps, caller: PersonCaller, id: str, overlap: int = OVERLAP) -> dict[str, Json]:
    """A new key like this one, which itself ends after ``overlap`` milliseconds. The new secret is shown this once.

    By an administrator, the agent's owner or deputy, or the person whose key it is. It has the same tools and
    addresses. Raises ``NotFound``, ``WrongState``, ``InvalidDocument`` for an overlap of more than a week.
    """
    if overlap > LONGEST_OVERLAP:
        raise InvalidDocument("the old key ends within a week", pointer="/overlap")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        old, subject = await _held(unit, caller, id)
        if old.person not in (None, caller.person.id):
            raise Forbidden("only the person whose key it is gets a new one", hint="An administrator may revoke it.")
        agent = await unit.nouns.get(Agent, old.agent) if old.agent else None
        holder = await unit.nouns.get(Person, subject)
        if not old.live(now) or (agent is not None and not agent.live(now)) or not holder or holder.state != "active":
            raise WrongState(f"{id} is not live, so it is not handed on", hint="Create a new key.")
        life = min(old.expires - old.created, LONGEST_LIFE) if old.expires is not None else None
        key, secret = _fresh(
            deps, old.purpose, agent=old.agent, person=old.person, expires=now + life if life is not None else None
        )
        key = replace(key, tools=old.tools, addresses=old.addresses)
        ends = now + max(overlap, 0)
        await unit.nouns.replace(replace(old, expires=min(ends, old.expires) if old.expires is not None else ends))
        await _add(unit, caller.person.id, key, subject, Kind.KEY_ROTATED, old.id)
        return _key_document(key, await directory(unit), now) | {"secret": secret}


async def revoke(deps: Deps, caller: PersonCaller, id: str) -> dict[str, Json]:
    """End a key at once, and the live sessions that it started.

    By an administrator, the agent's owner, or the person whose key it is. Raises ``NotFound``, ``WrongState``.
    """
    async with deps.store.unit(deps.org) as unit:
        key, subject = await _held(unit, caller, id)
        if key.state != "active":
            raise WrongState(f"{id} is revoked already")
        await kill_all(unit, await unit.sessions.live(None, key.id), caller.person.id, "its key was revoked")
        revoked = replace(key, state="revoked")
        await unit.nouns.replace(revoked)
        await unit.log.append(_event(Kind.KEY_REVOKED, caller.person.id, revoked, subject))
        return _key_document(revoked, await directory(unit), deps.clock.now())


async def list_all(deps: Deps, caller: PersonCaller, agent: str | None = None) -> tuple[dict[str, Json], ...]:
    """Keys without their secrets, oldest first: all for administrators and auditors, else those of one's own agents."""
    now = deps.clock.now()
    wide = caller.person.has("administrator", "auditor")
    async with deps.store.view(deps.org) as view:
        known = await directory(view)
        wanted = (await find(view, Agent, agent)).id if agent is not None else None
        found = []
        for key in await view.nouns.all(Key):
            if (wide or _own(caller, key, known)) and wanted in (None, key.agent):
                used = await view.key_use.last(key.id)
                line: dict[str, Json] = {"last_used_at": to_text(used) if used is not None else None}
                found.append(_key_document(key, known, now) | line)
    return tuple(found)


def _own(caller: PersonCaller, key: Key, known: Directory) -> bool:
    agent = known.agents.get(key.agent or "")
    mine = key.person == caller.person.id or (agent is not None and agent.answered_for_by(caller.person.id))
    return caller.person.state == "active" and mine


async def _held(unit: Unit, caller: PersonCaller, id: str) -> tuple[Key, str]:
    """The key, if the caller may end it, and the person under whom its events are kept. To others it is not there."""
    key = await unit.nouns.get(Key, id)
    agent = await unit.nouns.get(Agent, key.agent) if key is not None and key.agent else None
    subject = key.person if key is not None and key.person else (agent.owner if agent else None)
    ours = agent is not None and agent.answered_for_by(caller.person.id)
    mine = caller.person.state == "active" and (ours or subject == caller.person.id)
    if key is None or not (mine or caller.person.has("administrator", "auditor")):
        raise NotFound(f"there is no key {id!r}")
    if not mine and not caller.person.has("administrator"):
        raise Forbidden("this needs the role administrator, or to be the agent's owner or deputy")
    return key, subject or caller.person.id


async def _tools(deps: Deps, unit: Unit, agent: Agent, named: Json, now: int) -> tuple[str, ...] | None:
    """The tools that a key is for, each one that its agent is granted: another would reach nothing."""
    if named is None:
        return None
    authority = await deps.authority.current(unit)
    for position, ref in enumerate(texts(named)):
        known = authority.tools.get(ref)
        if known is None or not authority.grants_reaching(agent.id, known.tool, now):
            raise InvalidDocument(f"agent {agent.name} holds no grant for {ref}", pointer=f"/tools/{position}")
    return tuple(texts(named))


def _expiry(value: Json, now: int) -> int:
    text = str(value)
    expires = now + duration(text, "/expires") if text.startswith("P") else from_text(text, "/expires")
    if not now < expires <= now + LONGEST_LIFE:
        raise InvalidDocument("a key ends in the future, after a year at most", pointer="/expires")
    return expires


def _fresh(
    deps: Deps, purpose: KeyPurpose, *, agent: str | None = None, person: str | None = None, expires: int | None = None
) -> tuple[Key, str]:
    key_id = deps.new_id("key")
    made = apikeys.make(purpose, key_id, deps.entropy.bytes(apikeys.SECRET_BYTES))
    key = Key(
        org=deps.org,
        id=key_id,
        purpose=purpose,
        agent=agent,
        person=person,
        digest=made.digest,
        expires=expires,
        state="active",
        created=deps.clock.now(),
    )
    return key, made.text


async def _add(unit: Unit, actor: str, key: Key, subject: str | None, kind: Kind, *codes: str) -> None:
    await unit.nouns.add(key)
    await unit.log.append(_event(kind, actor, key, subject or actor, *codes))


def _event(kind: Kind, actor: str, key: Key, subject: str, *codes: str) -> EventDraft:
    return EventDraft(
        kind=kind, actor=actor, subject=subject, agent=key.agent, about=key.id, codes=(key.purpose, *codes)
    )


def _key_document(key: Key, known: Directory, now: int) -> dict[str, Json]:
    """The key as people read it. Neither secret nor digest is in it."""
    agent, person = known.agents.get(key.agent or ""), known.people.get(key.person or "")
    out: dict[str, Json] = {
        "key": key.id,
        "agent": agent.name if agent else None,
        "for": key.purpose,
        "expires_at": to_text(key.expires) if key.expires is not None else None,
        "state": "expired" if key.state == "active" and not key.live(now) else key.state,
        "created_at": to_text(key.created),
    }
    if key.tools is not None:
        out["tools"] = list(key.tools)
    if key.addresses:
        out["addresses"] = list(key.addresses)
    return out | ({"person": person.email} if person else {})
