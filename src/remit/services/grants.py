"""Grants: what an agent may do is written here by administrators, checked against what is reviewed at this moment.

A grant names only approved tools, only countables that their reviews count, and a condition that fits every tool it
reaches; a condition that is not one Cedar expression stores nothing. A grant for a person bounds every chain that acts
for them.
"""

from collections.abc import Mapping
from dataclasses import replace

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.grants import Grant, NamedTool
from remit.core.ports import Unit
from remit.core.tools import COUNTED_EFFECTS, Effect, LimitReview
from remit.policy.engine import check_grant
from remit.services.authority import Authority, ReviewedTool
from remit.services.deps import Deps, require
from remit.services.documents import CALLS, Directory, Document, committed, directory, grant_document, read_grant
from remit.services.registry import prove, require_reader


async def apply(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A new grant, by an administrator.

    Raises ``Forbidden``, ``InvalidDocument``, ``InvalidPolicy`` for a bad condition, ``WrongState`` for a retired agent
    and a suspended person.
    """
    require(caller, "administrator")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        known = await directory(unit)
        authority = await prove(unit)
        effects, created = grantable(authority, now)
        grant = read_grant(document, known, effects, org=deps.org, id=deps.new_id("grt"), created=created)
        _check_holder(grant, known)
        if grant.expires <= now:
            raise InvalidDocument("this grant would have expired already", pointer="/expires")
        check(authority, grant, known)
        await unit.nouns.add(grant)
        await prove(unit)
        await unit.log.append(_event(Kind.GRANT_APPLIED, caller, grant, known, committed(document)))
        return grant_document(grant, known)


def grantable(authority: Authority, now: int) -> tuple[dict[str, Effect], int]:
    """The effects of the approved tools by reference, and the time that a grant made ``now`` carries.

    Never earlier than an approval that it may rely on, whatever the clock of the reviewer's process said.
    """
    approved = {ref: one for ref, one in authority.tools.items() if _approved(one)}
    created = max([now, *(one.tool.approved_at or 0 for one in approved.values())])
    return {ref: one.review.effect for ref, one in approved.items()}, created


def check(authority: Authority, grant: Grant, known: Directory) -> None:
    """Hold a grant against what is reviewed at this moment. Raises ``InvalidDocument``, ``InvalidPolicy``."""
    reached = {ref: one for ref, one in authority.tools.items() if _approved(one) and grant.reaches(one.tool)}
    _check_selectors(grant, reached, known)
    # Also what is away or in quarantine at this moment: a server chooses when it lists a tool again.
    coming = {ref: one for ref, one in authority.tools.items() if grant.reaches(one.tool)}
    _check_counted(coming)
    check_limits(grant, coming)
    check_grant(grant, [one.facts for one in coming.values()])


async def revoke(deps: Deps, caller: PersonCaller, id: str) -> dict[str, Json]:
    """End a grant at once, by an administrator. Raises ``NotFound``, ``WrongState``."""
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        grant = await _get(unit, id)
        if grant.state != "active":
            raise WrongState(f"grant {id} is revoked already")
        known = await directory(unit)
        revoked = replace(grant, state="revoked")
        await unit.nouns.replace(revoked)
        await unit.log.append(_event(Kind.GRANT_REVOKED, caller, revoked, known, {}))
        return grant_document(revoked, known)


async def get(deps: Deps, caller: PersonCaller, id: str) -> dict[str, Json]:
    """One grant by id. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        return grant_document(await _get(view, id), await directory(view))


async def list_all(deps: Deps, caller: PersonCaller, agent: str | None = None) -> tuple[dict[str, Json], ...]:
    """Every grant, or those of one agent, oldest first. Raises ``NotFound`` for an agent that there is not."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        known = await directory(view)
        try:
            wanted = known.agent(agent, "/agent").id if agent is not None else None
        except InvalidDocument as error:
            raise NotFound(error.detail) from error
        found = await view.nouns.all(Grant)
        return tuple(grant_document(grant, known) for grant in found if wanted is None or grant.agent == wanted)


def _approved(known: ReviewedTool) -> bool:
    return known.tool.state == "approved" and known.server.state == "active"


def _check_holder(grant: Grant, known: Directory) -> None:
    agent = known.agents.get(grant.agent or "")
    person = known.people.get(grant.person or "")
    if agent is not None and agent.state == "retired":
        raise WrongState(f"agent {agent.name} is retired")
    if agent is not None and agent.blueprint is not None:
        raise WrongState(
            f"agent {agent.name} is an instance: its blueprint says what it may do",
            hint="`remit blueprint apply`, then make another instance.",
        )
    if person is not None and person.state != "active":
        raise WrongState(f"person {person.id} is suspended")


def _check_selectors(grant: Grant, reached: Mapping[str, ReviewedTool], known: Directory) -> None:
    """A selector that reaches nothing is a mistake, unless it waits for tools to come."""
    for position, selector in enumerate(grant.tools):
        if isinstance(selector, NamedTool):
            continue
        alone = replace(grant, tools=(selector,))
        if not selector.future and not any(alone.reaches(one.tool) for one in reached.values()):
            raise InvalidDocument(
                f"no approved tool of {known.servers[selector.server].name} has one of these effects",
                pointer=f"/tools/{position}",
            )


def _check_counted(reached: Mapping[str, ReviewedTool]) -> None:
    for ref, one in sorted(reached.items()):
        if one.review.effect in COUNTED_EFFECTS and not one.review.limits:
            raise InvalidDocument(
                f"{ref} would {one.review.effect}, and its review names nothing that can be limited",
                hint="Review it with a limit (of: call counts calls), then grant it.",
                pointer="/tools",
            )


def check_limits(grant: Grant, reached: Mapping[str, ReviewedTool]) -> None:
    """Every limited name is counted by a reached tool, and all that count under one name use one unit.

    Held when a grant is made and when a review is signed that it reaches. Raises ``InvalidDocument``.
    """
    units: dict[str, set[str | None]] = {CALLS: {None}}
    for one in reached.values():
        for limit in one.review.limits:
            units.setdefault(limit.name, set()).add(_unit(limit))
    for position, limits in enumerate(grant.limits):
        for name in limits.amounts:
            if name not in units:
                raise InvalidDocument(f"no reviewed tool of this grant counts {name!r}", pointer=f"/limits/{position}")
            if name != CALLS and len(units[name]) > 1:
                raise InvalidDocument(f"{name!r} is counted in more than one unit", pointer=f"/limits/{position}")


def _unit(limit: LimitReview) -> str | None:
    return "calls" if limit.of == "call" else limit.unit


async def _get(unit: Unit, id: str) -> Grant:
    grant = await unit.nouns.get(Grant, id)
    if grant is None:
        raise NotFound(f"there is no grant {id!r}")
    return grant


def _event(kind: Kind, caller: PersonCaller, grant: Grant, known: Directory, private: Mapping[str, Json]) -> EventDraft:
    agent = known.agents.get(grant.agent or "")
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=grant.person or (agent.owner if agent else None) or caller.person.id,
        agent=grant.agent,
        about=grant.id,
        private=private,
    )
