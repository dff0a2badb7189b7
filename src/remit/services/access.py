"""Access requests: what an agent was refused and a person could change, counted, shown to who may change it, closed.

Rules
- A request is made by Remit, in the unit of work of the denial, and holds no text of an agent's. It widens nothing:
  what it proposes (``access_proposal.py``) is a file for an administrator to read, change and apply.
- One is open for an agent, a tool, a code and a rule; each further refusal counts it up. A denial that is answered from
  memory is counted with its session and not here: it writes nothing.
- INVARIANT: a tool that an agent does not reach and one that does not exist are one request, made, counted and linked
  in the same steps. Nothing of it can tell the agent which it was; its owner sees which, from the log.
- An agent has a bounded number of open ones, and each expires.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from remit.core.access import LIFE, MAX_EVENTS, MAX_OPEN, MAX_PEOPLE, NO_TOOL, AccessRequest, AccessState
from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.decisions import REASONS, Reason
from remit.core.errors import Forbidden, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ports import Unit
from remit.core.times import to_text
from remit.services.deps import Deps
from remit.services.recorded import Facts

EXPIRED_AT_ONCE: Final = 1_000
_UNREACHED: Final = "tool.unknown"


async def note(deps: Deps, unit: Unit, facts: Facts, reasons: tuple[Reason, ...], event: int) -> str | None:
    """Count one refusal, with its event; the id of its request, or None where no person is to be asked."""
    if not all(reason.askable for reason in reasons):
        return None
    code, rule = reasons[0].code, reasons[0].rule or ""
    tool = NO_TOOL if code == _UNREACHED else facts.call.tool
    agent = facts.session.agent
    found = await unit.access.open_for(agent, tool, code, rule)
    if found is not None and found.state_at(facts.now) != "open":
        await _lapse(unit, found)
        found = None
    if found is not None:
        await unit.access.put(_again(found, facts, event))
        return found.id
    # The place of the one for tools that are not there is always kept: else their answers could differ.
    if tool != NO_TOOL and await unit.access.count_open(agent) >= MAX_OPEN - 1:
        return None
    made = AccessRequest(
        org=facts.session.org,
        id=deps.new_id("acr"),
        agent=agent,
        people=_people((), facts),
        tool=tool,
        code=code,
        rule=rule,
        state="open",
        count=1,
        first=facts.now,
        last=facts.now,
        expires=facts.now + LIFE,
        events=(event,),
    )
    await unit.access.put(made)
    await unit.log.append(_event(Kind.ACCESS_REQUESTED, made, agent, facts.subject))
    return made.id


def link(deps: Deps, request: str | None) -> Mapping[str, Json] | None:
    """The member ``request_access`` of a Decision."""
    if request is None:
        return None
    return {"url": f"{deps.issuer}/access-requests/{request}", "command": f"remit access show {request}"}


async def listing(
    deps: Deps, caller: PersonCaller, state: AccessState | None, limit: int, after: str | None
) -> tuple[list[Json], str | None]:
    """Of ``limit`` stored requests behind ``after`` those that the caller may see, by id; and where to go on."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        # What ran out may still be stored as it was before.
        found = await view.access.list(None if state == "expired" else state, limit, after)
        agents = {agent.id: agent for agent in await view.nouns.all(Agent)}
    seen = [one for one in found if _may_see(caller, agents.get(one.agent)) and state in (None, one.state_at(now))]
    return [document(one, agents[one.agent], now) for one in seen], found[-1].id if len(found) == limit else None


async def close(deps: Deps, caller: PersonCaller, id: str, reason: str) -> dict[str, Json]:
    """Say that a request is dealt with, by the agent's owner or an administrator. What is refused again opens another.

    Raises ``NotFound``, ``Forbidden``, ``WrongState``.
    """
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        found, agent = await seen(unit, caller, id)
        if not caller.person.has("administrator") and not agent.answered_for_by(caller.person.id):
            raise Forbidden("only an administrator or the agent's owner may close its requests")
        if found.state_at(now) != "open":
            raise WrongState(f"it is {found.state_at(now)}")
        closed = replace(found, state="closed", closed_by=caller.person.id)
        await unit.access.put(closed)
        draft = _event(Kind.ACCESS_CLOSED, closed, caller.person.id, caller.person.id)
        await unit.log.append(replace(draft, private={"/reason": reason} if reason else {}))
    return document(closed, agent, now)


async def expire(deps: Deps) -> None:
    """Write down which requests ran out."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        if not await view.access.lapsed(now, 1):
            return
    async with deps.store.unit(deps.org) as unit:
        for request in await unit.access.lapsed(now, EXPIRED_AT_ONCE):
            await _lapse(unit, request)


async def seen(unit: Unit, caller: PersonCaller, id: str) -> tuple[AccessRequest, Agent]:
    """A request that the caller may see, and its agent. Raises ``NotFound``."""
    found = await unit.access.get(id)
    agent = await unit.nouns.get(Agent, found.agent) if found else None
    if found is None or agent is None or not _may_see(caller, agent):
        raise NotFound(f"there is no access request {id}")
    return found, agent


def document(request: AccessRequest, agent: Agent, now: int) -> dict[str, Json]:
    """A request as people read it."""
    out: dict[str, Json] = {
        "request": request.id,
        "state": request.state_at(now),
        "agent": agent.name,
        "people": list(request.people),
        "tool": request.tool or None,
        "code": request.code,
        "why": REASONS[request.code].text,
        "count": request.count,
        "first_at": to_text(request.first),
        "last_at": to_text(request.last),
        "expires_at": to_text(request.expires),
        "events": list(request.events),
    }
    if request.rule:
        out["rule"] = request.rule
    if request.closed_by is not None:
        out["closed_by"] = request.closed_by
    return out


def _again(found: AccessRequest, facts: Facts, event: int) -> AccessRequest:
    return replace(
        found,
        count=found.count + 1,
        last=facts.now,
        people=_people(found.people, facts),
        events=(*found.events, event)[-MAX_EVENTS:],
    )


def _people(before: tuple[str, ...], facts: Facts) -> tuple[str, ...]:
    """On whose behalf: the person of the session, if it has one, first."""
    person = facts.session.principal
    if person is None:
        return before
    return (person, *(one for one in before if one != person))[:MAX_PEOPLE]


async def _lapse(unit: Unit, request: AccessRequest) -> None:
    await unit.access.put(replace(request, state="expired"))
    agent = await unit.nouns.get(Agent, request.agent)
    draft = _event(Kind.ACCESS_CLOSED, request, request.agent, (agent.owner if agent else None) or request.agent)
    await unit.log.append(replace(draft, codes=("access.expired",)))


def _event(kind: Kind, request: AccessRequest, actor: str, subject: str) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=actor,
        subject=subject,
        agent=request.agent,
        tool=request.tool or None,
        codes=(request.code,),
        about=request.id,
    )


def _may_see(caller: PersonCaller, agent: Agent | None) -> bool:
    if agent is None:
        return False
    return caller.person.has("auditor", "administrator") or (
        caller.person.state == "active" and agent.answered_for_by(caller.person.id)
    )
