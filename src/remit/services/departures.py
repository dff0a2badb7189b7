"""A person leaves: their agents are found, suspended and handed on, and every credential that they held or knew dies.

Everything happens in one unit of work, or nothing does; a dry run is the same unit, undone. Suspension is for who may
come back tomorrow and needs one administrator; a departure is thorough, and needs two where the settings say so.

Rules
- Agents are suspended also when somebody takes them over: the new owner looks at each, makes its keys and activates it.
- Keys of the agents are revoked, not only the person's own: who made a key has seen it. So are their OAuth clients that
  hold a secret or a private key retired; a client that holds none has nothing that a person could take along.
- An agent that nobody takes over keeps its owner's name and is listed as an orphan. The same command hands it on later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from remit.core.agents import Agent, AgentState
from remit.core.blueprints import Blueprint
from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.credentials import Key, PersonCaller
from remit.core.departures import Departure
from remit.core.errors import InvalidDocument, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.ports import Unit
from remit.guards.documents import check_document
from remit.services.blueprints import handed_on
from remit.services.deps import Deps, require
from remit.services.documents import Document
from remit.services.people import require_another
from remit.services.registry import find
from remit.services.stopping import kill_all, of_person

_REASON: Final = "a person departed"


class _Undone(Exception):
    """Ends a dry run."""


@dataclass(frozen=True, slots=True)
class _Leaving:
    """Who leaves, by whose word, and who takes over."""

    caller: PersonCaller
    person: Person
    to: Person | None
    reason: str

    @property
    def actor(self) -> str:
        return self.caller.person.id


async def depart(deps: Deps, caller: PersonCaller, named: str, request: Document) -> dict[str, Json]:
    """Let a person leave, by an administrator. ``request`` is a ``DepartRequest``, the answer a ``Departed``.

    Raises ``NotFound``, ``InvalidDocument``, ``WrongState`` for the last active administrator, for who has left and
    has nothing to hand on, and for an administrator who has said so already where another must.
    """
    require(caller, "administrator")
    check_document("DepartRequest", request)
    rehearsed = request.get("dry_run") is True
    answer: dict[str, Json] = {}
    try:
        async with deps.store.unit(deps.org) as unit:
            leaving = await _leaving(unit, caller, named, request)
            if not rehearsed and await _must_wait(deps, unit, leaving):
                return await _asked(deps, unit, leaving)
            answer = await _done(unit, leaving)
            if rehearsed:
                raise _Undone
    except _Undone:
        return answer | {"dry_run": True, "event": None}
    return answer


async def _leaving(unit: Unit, caller: PersonCaller, named: str, request: Document) -> _Leaving:
    person = await find(unit, Person, named)
    to = await _heir(unit, person, request.get("to"))
    if person.state == "departed" and to is None:
        raise WrongState(f"{person.id} has left already", hint="With --to their agents are handed on.")
    require_another(other for other in await unit.nouns.all(Person) if other.id != person.id)
    return _Leaving(caller, person, to, str(request.get("reason") or ""))


async def _heir(unit: Unit, person: Person, named: Json) -> Person | None:
    if named is None:
        return None
    to = await unit.nouns.named(Person, str(named)) or await unit.nouns.get(Person, str(named))
    if to is None or to.state != "active" or to.id == person.id:
        raise InvalidDocument("who takes over is another person, and active", pointer="/to")
    return to


# Where the settings ask for two administrators.


async def _must_wait(deps: Deps, unit: Unit, leaving: _Leaving) -> bool:
    """Whether another administrator must agree first. Where there is no other, one is enough (decision 0005)."""
    if not deps.two_administrators:
        return False
    aside = {leaving.actor, leaving.person.id}
    others = {one.id for one in await unit.nouns.all(Person) if one.has("administrator") and one.id not in aside}
    if not others:
        return False
    said = [one for one in await _open(deps, unit, leaving) if one.asked_by in others]
    for one in said:
        await unit.nouns.replace(replace(one, state="done"))
    return not said


async def _open(deps: Deps, unit: Unit, leaving: _Leaving) -> Sequence[Departure]:
    """What was asked for this very departure, and still stands."""
    now = deps.clock.now()
    to = leaving.to.id if leaving.to else None
    found = await unit.nouns.all(Departure)
    return [one for one in found if (one.person, one.to) == (leaving.person.id, to) and one.stands(now)]


async def _asked(deps: Deps, unit: Unit, leaving: _Leaving) -> dict[str, Json]:
    """The first administrator's word, kept. Nothing else is changed."""
    if any(one.asked_by == leaving.actor for one in await _open(deps, unit, leaving)):
        raise WrongState("you said so already; another administrator must too", hint="They run the same command.")
    await unit.nouns.add(
        Departure(
            org=deps.org,
            id=deps.new_id("dep"),
            person=leaving.person.id,
            to=leaving.to.id if leaving.to else None,
            asked_by=leaving.actor,
            asked_at=deps.clock.now(),
            state="open",
        )
    )
    event = await unit.log.append(_about(leaving, Kind.DEPARTURE_ASKED))
    stopped = dict.fromkeys(("sessions", "tokens", "approvals", "calls", "keys", "clients", "agents", "deputies"), 0)
    return _answer(leaving, "asked", (), stopped, event)


# The departure itself.


async def _done(unit: Unit, leaving: _Leaving) -> dict[str, Json]:
    person = leaving.person
    owned = [one for one in await unit.nouns.all(Agent) if one.owner == person.id and one.state != "retired"]
    killed = await kill_all(unit, await of_person(unit, person.id), leaving.actor, leaving.reason or _REASON)
    stopped = killed | {
        "keys": await _revoke_keys(unit, leaving, {one.id for one in owned}),
        "clients": await _retire_clients(unit, leaving, {one.id for one in owned}),
        "agents": sum(one.state == "active" for one in owned),
        "deputies": await _without_deputy(unit, leaving),
    }
    for agent in owned:
        await _hand_on(unit, leaving, agent)
    to = leaving.to.id if leaving.to else None
    for blueprint in handed_on(await unit.nouns.all(Blueprint), person.id, to):
        await unit.nouns.replace(blueprint)
        await unit.log.append(_about_blueprint(leaving, blueprint))
    await unit.nouns.replace(replace(person, state="departed", passkeys=()))
    event = await unit.log.append(_about(leaving, Kind.PERSON_DEPARTED))
    return _answer(leaving, "departed", owned, stopped, event)


async def _hand_on(unit: Unit, leaving: _Leaving, agent: Agent) -> None:
    """Suspend an agent, and give it to who takes over. Its deputy, if that is who, is then no deputy any more."""
    after = replace(agent, state=_state_after(agent))
    if after.state != agent.state:
        await unit.log.append(_event(leaving, Kind.AGENT_SUSPENDED, agent))
    if leaving.to is not None:
        deputy = None if after.deputy == leaving.to.id else after.deputy
        after = replace(after, owner=leaving.to.id, deputy=deputy)
        draft = _event(leaving, Kind.AGENT_CHANGED, after)
        await unit.log.append(replace(draft, private={"/owner": leaving.to.email}))
    if after != agent:
        await unit.nouns.replace(after)


async def _revoke_keys(unit: Unit, leaving: _Leaving, agents: set[str]) -> int:
    found = [
        key
        for key in await unit.nouns.all(Key)
        if key.state == "active" and (key.person == leaving.person.id or key.agent in agents)
    ]
    for key in found:
        await unit.nouns.replace(replace(key, state="revoked"))
        await unit.log.append(
            EventDraft(
                kind=Kind.KEY_REVOKED,
                actor=leaving.actor,
                subject=leaving.person.id,
                agent=key.agent,
                about=key.id,
                codes=(key.purpose,),
            )
        )
    return len(found)


async def _retire_clients(unit: Unit, leaving: _Leaving, agents: set[str]) -> int:
    found = [
        client
        for client in await unit.nouns.all(Client)
        if client.state == "active" and client.agent in agents and client.auth in ("client_secret", "private_key_jwt")
    ]
    for client in found:
        await unit.nouns.replace(replace(client, state="retired", secrets=()))
        await unit.log.append(
            EventDraft(
                kind=Kind.CLIENT_RETIRED,
                actor=leaving.actor,
                subject=leaving.person.id,
                agent=client.agent,
                about=client.id,
            )
        )
    return len(found)


async def _without_deputy(unit: Unit, leaving: _Leaving) -> int:
    found = [one for one in await unit.nouns.all(Agent) if one.deputy == leaving.person.id]
    for agent in found:
        after = replace(agent, deputy=None)
        await unit.nouns.replace(after)
        await unit.log.append(_event(leaving, Kind.AGENT_CHANGED, after))
    return len(found)


def _state_after(agent: Agent) -> AgentState:
    return "suspended" if agent.state == "active" else agent.state


def _event(leaving: _Leaving, kind: Kind, agent: Agent) -> EventDraft:
    subject = agent.owner or leaving.actor
    return EventDraft(kind=kind, actor=leaving.actor, subject=subject, agent=agent.id, about=agent.id)


def _about_blueprint(leaving: _Leaving, blueprint: Blueprint) -> EventDraft:
    return EventDraft(
        kind=Kind.BLUEPRINT_APPLIED,
        actor=leaving.actor,
        subject=blueprint.owner,
        about=blueprint.id,
        codes=(f"v{blueprint.version}", "handed_on"),
    )


def _about(leaving: _Leaving, kind: Kind) -> EventDraft:
    """An event about the person: who takes over by id, and the words of the administrator under the person's key."""
    return EventDraft(
        kind=kind,
        actor=leaving.actor,
        subject=leaving.person.id,
        about=leaving.person.id,
        codes=(leaving.to.id,) if leaving.to else (),
        private={"/reason": leaving.reason} if leaving.reason else {},
    )


def _answer(
    leaving: _Leaving, state: str, agents: Sequence[Agent], stopped: dict[str, int], event: int
) -> dict[str, Json]:
    return {
        "person": leaving.person.email,
        "state": state,
        "dry_run": False,
        "to": leaving.to.email if leaving.to else None,
        "agents": [{"agent": one.name, "was": one.state, "state": _state_after(one)} for one in agents],
        "stopped": dict(stopped),
        "event": event,
    }
