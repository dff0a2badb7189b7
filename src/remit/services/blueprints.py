"""Blueprints: approved once by an administrator; then their owner makes instances, which hold what the blueprint says.

Rules
- An instance is an agent like any other, with grants of its own. Only its blueprint gives it any.
- Another version of a blueprint widens no instance, and narrows each at once, in the same unit of work.
- A tool that is approved after a version is no part of it: its instances' grants carry the version's time.
- A retired blueprint makes no instance, and takes those that there are with it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from remit.core.agents import Agent
from remit.core.blueprints import Blueprint, GrantTemplate, narrowed
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.grants import Grant, Limits, ToolsByEffect
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.times import from_text
from remit.core.tools import Tool
from remit.guards.documents import check_document
from remit.services import grants
from remit.services.authority import Authority
from remit.services.blueprint_document import blueprint_document, read_blueprint
from remit.services.deps import Deps, require
from remit.services.documents import CALLS, Directory, Document, agent_document, committed, directory
from remit.services.registry import prove, require_reader
from remit.services.stopping import kill_all

_GIVEN: Final = frozenset({"kind", "apiVersion", "name", "blueprint", "owner", "expires"})


async def apply(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A new blueprint, or another version of one, by an administrator. The answer names instances that it narrowed.

    Raises ``Forbidden``, ``InvalidDocument``, ``InvalidPolicy``, ``WrongState`` for a retired one.
    """
    require(caller, "administrator")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        known, authority = await directory(unit), await prove(unit)
        effects, created = grants.grantable(authority, now)
        wanted = read_blueprint(document, known, effects, org=deps.org, id=deps.new_id("blp"), created=created)
        for position, template in enumerate(wanted.grants):
            _check(authority, wanted, template, known, now, position)
        before = await unit.nouns.named(Blueprint, wanted.name)
        if before is None:
            await unit.nouns.add(wanted)
            less: tuple[Agent, ...] = ()
        else:
            if before.state == "retired":
                raise WrongState(f"blueprint {before.name} is retired")
            wanted = replace(wanted, id=before.id, version=before.version + 1)
            await unit.nouns.replace(wanted)
            less = await _narrow(unit, caller, before, wanted, authority)
        await prove(unit)
        await unit.log.append(_event(Kind.BLUEPRINT_APPLIED, caller, wanted, committed(document)))
        known = await directory(unit)
        found = blueprint_document(wanted, known, _instances(known, wanted))
        return found | {"narrowed": [one.name for one in less]}


async def create_instance(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """An active agent with the grants of its blueprint, by an administrator or the blueprint's owner or deputy.

    ``document`` is an ``Agent`` with the member ``blueprint``. Raises ``NotFound``, ``Forbidden``, ``NameTaken``,
    ``WrongState`` for a retired blueprint, an owner who is not active, and when as many as may live already do.
    """
    check_document("Agent", document)
    for name in document:
        if name not in _GIVEN:
            raise InvalidDocument(f"{name} of an instance comes from its blueprint", pointer=f"/{name}")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        known = await directory(unit)
        blueprint = await _find(unit, str(document["blueprint"]))
        _require_answering(caller, blueprint)
        _check_room(known, blueprint, now)
        agent = _instance(deps, caller, blueprint, document, known, now)
        await unit.nouns.add(agent)
        await unit.log.append(_about(Kind.AGENT_CREATED, caller, agent, agent.id, blueprint.id))
        for template in blueprint.grants:
            grant = _grant(template, blueprint, agent.id, deps.new_id("grt"), agent.expires or now)
            await unit.nouns.add(grant)
            await unit.log.append(_about(Kind.GRANT_APPLIED, caller, agent, grant.id, blueprint.id))
        await prove(unit)
        await unit.log.append(_about(Kind.AGENT_ACTIVATED, caller, agent, agent.id, blueprint.id))
        return agent_document(agent, known)


async def retire(deps: Deps, caller: PersonCaller, named: str, request: Document) -> dict[str, Json]:
    """End a blueprint for good, with its instances, by an administrator or its owner or deputy.

    ``request`` is a ``RetireRequest``. Raises ``NotFound``, ``Forbidden``, ``WrongState``.
    """
    check_document("RetireRequest", request)
    reason = str(request.get("reason") or "its blueprint was retired")
    async with deps.store.unit(deps.org) as unit:
        blueprint = await _find(unit, named)
        _require_answering(caller, blueprint)
        if blueprint.state == "retired":
            raise WrongState(f"blueprint {blueprint.name} is retired already")
        retired = replace(blueprint, state="retired")
        await unit.nouns.replace(retired)
        stopped = _instances(await directory(unit), blueprint)
        for agent in stopped:
            await kill_all(unit, await unit.sessions.live(agent.id, None), caller.person.id, reason)
            await _stop(unit, caller, agent, keep=request.get("instances") == "suspended")
        await unit.log.append(_event(Kind.BLUEPRINT_RETIRED, caller, retired, {"/reason": reason}))
        known = await directory(unit)
        found = blueprint_document(retired, known, _instances(known, retired))
        return found | {"stopped": [one.name for one in stopped]}


async def get(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """One blueprint by name or id, with its instances. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        known, blueprint = await directory(view), await _find(view, named)
        return blueprint_document(blueprint, known, _instances(known, blueprint))


async def list_all(deps: Deps, caller: PersonCaller) -> tuple[dict[str, Json], ...]:
    """Every blueprint, oldest first, retired ones included."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        known = await directory(view)
        return tuple(blueprint_document(one, known, _instances(known, one)) for one in known.blueprints.values())


# Another version, and what it takes from instances.


async def _narrow(
    unit: Unit, caller: PersonCaller, before: Blueprint, after: Blueprint, authority: Authority
) -> tuple[Agent, ...]:
    """Hold every instance against another version of its blueprint; those that had something taken from them."""
    tools = {tool.ref: tool for tool in await unit.nouns.all(Tool)}
    held = [one for one in await unit.nouns.all(Grant) if one.state == "active"]
    found: list[Agent] = []
    for agent in _instances(await directory(unit), after):
        end = min(agent.expires or 0, agent.created + after.life)
        shorter = end < (agent.expires or 0)
        if shorter:
            await unit.nouns.replace(replace(agent, expires=end))
            await unit.log.append(_about(Kind.AGENT_CHANGED, caller, agent, agent.id, after.id))
        for grant in held:
            if grant.agent == agent.id:
                shorter |= await _narrow_grant(unit, caller, agent, grant, (before, after), authority, tools)
        if shorter:
            found.append(agent)
    return tuple(found)


async def _narrow_grant(
    unit: Unit,
    caller: PersonCaller,
    agent: Agent,
    grant: Grant,
    versions: tuple[Blueprint, Blueprint],
    authority: Authority,
    tools: dict[str, Tool],
) -> bool:
    """Whether the newer version takes something from a grant; then it is taken."""
    before, after = versions
    less = narrowed(grant, before.template(grant.template), after.template(grant.template), tools)
    if less is not None:
        less = replace(less, limits=_still_counted(less, authority))
    if less == grant:
        return False
    kind = Kind.GRANT_REVOKED if less is None else Kind.GRANT_APPLIED
    await unit.nouns.replace(replace(grant, state="revoked") if less is None else less)
    await unit.log.append(_about(kind, caller, agent, grant.id, after.id, "narrowed"))
    return True


def _still_counted(grant: Grant, authority: Authority) -> tuple[Limits, ...]:
    """Its ceilings without those of which no tool that is left counts anything: reviewers would trip over them.

    INVARIANT: all of them where tools that come later are reached, which may count what none does now.
    """
    if any(isinstance(one, ToolsByEffect) and one.future for one in grant.tools):
        return grant.limits
    reached = [one for one in authority.tools.values() if grant.reaches(one.tool)]
    counted = {CALLS, *(limit.name for one in reached for limit in one.review.limits)}
    kept = [
        Limits(one.per, {name: most for name, most in one.amounts.items() if name in counted}) for one in grant.limits
    ]
    return tuple(one for one in kept if one.amounts)


def _check(
    authority: Authority, blueprint: Blueprint, template: GrantTemplate, known: Directory, now: int, position: int
) -> None:
    """Hold a template against what is reviewed at this moment, as a grant of it would be."""
    sample = _grant(template, blueprint, "agt_none", "grt_none", now + blueprint.life)
    try:
        grants.check(authority, sample, known)
    except InvalidDocument as error:
        pointer = f"/grants/{position}{error.pointer or ''}"
        raise InvalidDocument(error.detail, hint=error.hint, pointer=pointer) from error


# Instances.


def _instances(known: Directory, blueprint: Blueprint) -> tuple[Agent, ...]:
    """Those that are not retired."""
    return tuple(one for one in known.agents.values() if one.blueprint == blueprint.id and one.state != "retired")


def _check_room(known: Directory, blueprint: Blueprint, now: int) -> None:
    if blueprint.state == "retired":
        raise WrongState(f"blueprint {blueprint.name} is retired")
    living = sum(one.expires is not None and now < one.expires for one in _instances(known, blueprint))
    if living >= blueprint.most_instances:
        raise WrongState(
            f"{living} instances of {blueprint.name} live, which is as many as may",
            hint="Retire one with `remit agent retire`.",
        )


def _instance(
    deps: Deps, caller: PersonCaller, blueprint: Blueprint, document: Document, known: Directory, now: int
) -> Agent:
    owner = _owner(caller, blueprint, document.get("owner"), known)
    asked = document.get("expires")
    end = now + blueprint.life
    expires = from_text(str(asked), "/expires") if asked is not None else end
    if not now < expires <= end:
        raise InvalidDocument("an instance ends in the future, and within its blueprint's life", pointer="/expires")
    return Agent(
        org=deps.org,
        id=deps.new_id("agt"),
        name=str(document["name"]),
        owner=owner.id,
        deputy=blueprint.deputy if blueprint.deputy != owner.id else None,
        purpose=blueprint.purpose,
        mode=blueprint.mode,
        state="active",
        expires=expires,
        review_by=None,
        created=now,
        blueprint=blueprint.id,
        blueprint_version=blueprint.version,
        model=blueprint.model,
    )


def _owner(caller: PersonCaller, blueprint: Blueprint, named: Json, known: Directory) -> Person:
    """Who owns an instance: the blueprint's owner, or whom an administrator names."""
    owner = known.people[blueprint.owner] if named is None else known.person(str(named), "/owner")
    if owner.id != blueprint.owner and not caller.person.has("administrator"):
        raise Forbidden("only an administrator makes instances that another person owns")
    if owner.state != "active":
        raise WrongState(f"{owner.id}, who would own it, is not active", hint="An administrator names another owner.")
    return owner


def _grant(template: GrantTemplate, blueprint: Blueprint, agent: str, id: str, expires: int) -> Grant:
    """INVARIANT: with the version's time, so that no tool that was approved after it is reached."""
    return Grant(
        org=blueprint.org,
        id=id,
        agent=agent,
        person=None,
        tools=template.tools,
        when=template.when,
        limits=template.limits,
        expires=expires,
        state="active",
        created=blueprint.created,
        template=template.name,
    )


async def _stop(unit: Unit, caller: PersonCaller, agent: Agent, *, keep: bool) -> None:
    if keep and agent.state == "suspended":
        return
    kind = Kind.AGENT_SUSPENDED if keep else Kind.AGENT_RETIRED
    await unit.nouns.replace(replace(agent, state="suspended" if keep else "retired"))
    await unit.log.append(_about(kind, caller, agent, agent.id, agent.blueprint or ""))


# Shared.


async def _find(unit: Unit, named: str) -> Blueprint:
    found = await unit.nouns.named(Blueprint, named) or await unit.nouns.get(Blueprint, named)
    if found is None:
        raise NotFound(f"there is no blueprint {named!r}")
    return found


def _require_answering(caller: PersonCaller, blueprint: Blueprint) -> None:
    answers = caller.person.state == "active" and blueprint.answered_for_by(caller.person.id)
    if not answers and not caller.person.has("administrator"):
        raise Forbidden("this needs the role administrator, or to be the blueprint's owner or deputy")


def _about(kind: Kind, caller: PersonCaller, agent: Agent, about: str, *codes: str) -> EventDraft:
    """An event of an instance; ``codes`` name its blueprint."""
    subject = agent.owner or caller.person.id
    return EventDraft(kind=kind, actor=caller.person.id, subject=subject, agent=agent.id, about=about, codes=codes)


def _event(kind: Kind, caller: PersonCaller, blueprint: Blueprint, private: dict[str, Json]) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=blueprint.owner,
        about=blueprint.id,
        codes=(f"v{blueprint.version}",),
        private=private,
    )


def handed_on(blueprints: Sequence[Blueprint], person: str, to: str | None) -> tuple[Blueprint, ...]:
    """The blueprints as they are once a person has left, those that change: another owner, or no deputy."""
    found = []
    for one in blueprints:
        after = replace(one, deputy=None) if one.deputy == person else one
        if one.owner == person and to is not None:
            after = replace(after, owner=to, deputy=after.deputy if after.deputy != to else None)
        if after != one:
            found.append(after)
    return tuple(found)
