"""Agents: made as drafts, activated once everything that governs them is there, stopped at any time.

Names are unique and never reused: a retired agent keeps its row. Whoever is stopped here is refused by the very next
decision anywhere, since each decision reads the registry's epoch.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from remit.core.agents import NEXT_STATES, Agent, AgentState
from remit.core.blueprints import Blueprint
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InvalidDocument, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.grants import Grant
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.times import DAY, duration, from_text, to_text
from remit.guards.documents import check_document
from remit.services import attention
from remit.services.deps import Deps, require
from remit.services.documents import Directory, Document, agent_document, committed, directory, read_agent, texts
from remit.services.registry import find, require_owner, require_reader
from remit.services.stopping import kill_all

REVIEW_AFTER: Final = 180 * DAY
LONGEST_REVIEW: Final = 365 * DAY


async def create(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A draft. By an administrator, or by a person with the role owner for an agent of their own.

    Raises ``Forbidden``, ``InvalidDocument``, ``NameTaken``.
    """
    require(caller, "administrator", "owner")
    if "blueprint" in document:
        raise InvalidDocument("an instance is made by its blueprint", pointer="/blueprint")
    async with deps.store.unit(deps.org) as unit:
        known = await directory(unit)
        agent = read_agent(document, known, org=deps.org, id=deps.new_id("agt"), created=deps.clock.now())
        if not caller.person.has("administrator") and agent.owner != caller.person.id:
            raise Forbidden("only an administrator makes agents that another person owns")
        await unit.nouns.add(agent)
        await unit.log.append(_event(Kind.AGENT_CREATED, caller, agent, committed(document)))
        return agent_document(agent, known)


async def change(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """Give an agent the members of this file, whole: another owner, purpose, expiry or review date.

    By an administrator. Raises ``WrongState`` for a retired agent, for another mode after the draft, and where an
    active agent would lack what activation asks for.
    """
    require(caller, "administrator")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        known = await directory(unit)
        wanted = read_agent(document, known, org=deps.org, id="", created=now)
        agent = await find(unit, Agent, wanted.name)
        if agent.blueprint is not None:
            raise WrongState(f"agent {agent.name} is an instance: it is changed by its blueprint, or made anew")
        if agent.name != wanted.name:
            raise InvalidDocument("an agent's name stays; the file must carry it", pointer="/name")
        if agent.state == "retired" or (agent.state != "draft" and wanted.mode != agent.mode):
            raise WrongState(f"agent {agent.name} is {agent.state}: this can't be changed any more")
        changed = replace(wanted, id=agent.id, state=agent.state, created=agent.created)
        if agent.state == "active":
            _refuse_missing(changed, await _missing(unit, changed, now))
        await unit.nouns.replace(changed)
        await unit.log.append(_event(Kind.AGENT_CHANGED, caller, changed, committed(document)))
        return agent_document(changed, known)


async def activate(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """Make an agent live. By an administrator or its owner. Raises ``WrongState``, naming each thing missing."""
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, named)
        require_owner(caller, agent)
        _check_step(agent, "active")
        _refuse_missing(agent, await _missing(unit, agent, deps.clock.now()))
        return await _moved(unit, caller, replace(agent, state="active"), Kind.AGENT_ACTIVATED)


async def suspend(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """Stop an agent until it is activated again; its sessions stand still. By an administrator or its owner."""
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, named)
        require_owner(caller, agent)
        _check_step(agent, "suspended")
        return await _moved(unit, caller, replace(agent, state="suspended"), Kind.AGENT_SUSPENDED)


async def retire(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """End an agent for good, and its sessions. By an administrator or its owner. Its name is never used again."""
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, named)
        require_owner(caller, agent)
        _check_step(agent, "retired")
        await _stop_sessions(unit, caller, agent, "the agent was retired")
        return await _moved(unit, caller, replace(agent, state="retired"), Kind.AGENT_RETIRED)


async def kill(deps: Deps, caller: PersonCaller, named: str, reason: str) -> dict[str, Json]:
    """Stop an agent at once, with its live sessions and what waits for a person. By an administrator or its owner.

    Works from every state and may be repeated; the answer counts what it stopped this time.
    """
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, named)
        require_owner(caller, agent)
        killed = await _stop_sessions(unit, caller, agent, reason)
        if agent.state == "active":
            await unit.nouns.replace(replace(agent, state="suspended"))
        event = await unit.log.append(_event(Kind.AGENT_KILLED, caller, agent, {"/reason": reason}))
    return {"killed": {**killed, "agents": int(agent.state == "active")}, "event": event}


async def review(deps: Deps, caller: PersonCaller, named: str, request: Document) -> dict[str, Json]:
    """A person looked at an agent, and lets it go on until a new review date.

    By its owner, the owner's deputy or an administrator. ``request`` is a ``RecertifyRequest``. Raises
    ``WrongState`` for a retired agent, ``InvalidDocument``.
    """
    check_document("RecertifyRequest", request)
    now = deps.clock.now()
    until = _review_date(request.get("until"), now)
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, named)
        require_owner(caller, agent)
        if agent.state == "retired":
            raise WrongState(f"agent {agent.name} is retired")
        seen = replace(agent, review_by=until)
        await unit.nouns.replace(seen)
        private: dict[str, Json] = {"/review_by": to_text(until)}
        if request.get("note"):
            private["/note"] = request["note"]
        await unit.log.append(_event(Kind.AGENT_REVIEWED, caller, seen, private))
        return agent_document(seen, await directory(unit))


async def get(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """One agent by name or id. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        known = await directory(view)
        agent = await find(view, Agent, named)
        return _with_attention(agent, known, deps.clock.now(), idle=False)


async def list_all(
    deps: Deps, caller: PersonCaller, *, orphans: bool = False, stale: bool = False, unused: int | None = None
) -> tuple[dict[str, Json], ...]:
    """Every agent, oldest first, retired ones included; or those of which one of the given things is true.

    ``unused`` is a time in milliseconds, back from now, in which it was allowed no call.
    """
    require_reader(caller)
    wanted = {name for name, asked in (("orphan", orphans), ("stale", stale), ("unused", unused is not None)) if asked}
    now = deps.clock.now()
    found = []
    async with deps.store.view(deps.org) as view:
        known = await directory(view)
        first = await attention.event_at(view, now - unused) if unused is not None else 0
        for agent in known.agents.values():
            idle = unused is not None and await attention.unused(view, agent, now - unused, first)
            line = _with_attention(agent, known, now, idle=idle)
            if not wanted or wanted.intersection(texts(line.get("attention"))):
                found.append(line)
    return tuple(found)


def _with_attention(agent: Agent, known: Directory, now: int, *, idle: bool) -> dict[str, Json]:
    why = attention.words(agent, known.people, now, idle=idle)
    return agent_document(agent, known) | ({"attention": why} if why else {})


def _review_date(asked: Json, now: int) -> int:
    text = str(asked)
    if asked is None:
        return now + REVIEW_AFTER
    until = now + duration(text, "/until") if text.startswith("P") else from_text(text, "/until")
    if not now < until <= now + LONGEST_REVIEW:
        raise InvalidDocument("the next review is in the future, and in a year at the latest", pointer="/until")
    return until


async def _missing(unit: Unit, agent: Agent, now: int) -> tuple[str, ...]:
    """Everything that governing this agent still lacks, in words."""
    owner = await unit.nouns.get(Person, agent.owner) if agent.owner else None
    granted = any(grant.agent == agent.id and grant.live(now) for grant in await unit.nouns.all(Grant))
    blueprint = await unit.nouns.get(Blueprint, agent.blueprint) if agent.blueprint else None
    wanted = {
        "a blueprint that is not retired": agent.blueprint is None or _active(blueprint),
        "an owner who is an active person": owner is not None and owner.state == "active",
        "a purpose": bool(agent.purpose and agent.purpose.strip()),
        "an expiry in the future": agent.expires is not None and now < agent.expires,
        "a review date in the future": not agent.due(now),
        "a live grant": granted,
    }
    return tuple(words for words, there in wanted.items() if not there)


def _active(blueprint: Blueprint | None) -> bool:
    return blueprint is not None and blueprint.state == "active"


def _refuse_missing(agent: Agent, missing: Sequence[str]) -> None:
    if missing:
        raise WrongState(
            f"agent {agent.name} can't be active without: {'; '.join(missing)}", hint="Add what is missing, then retry."
        )


def _check_step(agent: Agent, wanted: AgentState) -> None:
    if wanted not in NEXT_STATES[agent.state]:
        raise WrongState(f"agent {agent.name} is {agent.state}, and can't become {wanted} from there")


async def _stop_sessions(unit: Unit, caller: PersonCaller, agent: Agent, reason: str) -> dict[str, int]:
    """Kill every live session that the agent takes part in, with all below it."""
    return await kill_all(unit, await unit.sessions.live(agent.id, None), caller.person.id, reason)


async def _moved(unit: Unit, caller: PersonCaller, agent: Agent, kind: Kind) -> dict[str, Json]:
    await unit.nouns.replace(agent)
    await unit.log.append(_event(kind, caller, agent, {}))
    return agent_document(agent, await directory(unit))


def _event(kind: Kind, caller: PersonCaller, agent: Agent, private: dict[str, Json]) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=agent.owner or caller.person.id,
        agent=agent.id,
        about=agent.id,
        private=private,
    )
