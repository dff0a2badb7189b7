"""Sessions: started, renewed and ended by a host; never by what the agent itself holds.

A session token lives five minutes and calls tools in one session. The host renews it for longer work. A session that
the host did not attest is untrusted from its start, and so is the one standing session of a session key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from remit.core import amounts
from remit.core.agents import Agent
from remit.core.approvals import Approval
from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.credentials import Caller, HostCaller, Key, PersonCaller, SessionCaller
from remit.core.errors import Forbidden, InvalidDocument, NotFound, Unauthenticated, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ids import split_ref
from remit.core.labels import TRUSTED, UNTRUSTED, Labels
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.sessions import FlowState, Plan, Session, narrower
from remit.core.times import DAY, HOUR, MINUTE, duration, to_text
from remit.guards.documents import check_document
from remit.services import in_flight
from remit.services.deps import Deps
from remit.services.misuse import misused
from remit.services.subjects import owner_of, subject, subject_of
from remit.tokens.jwt import SessionClaims

TOKEN_LIFE: Final = 5 * MINUTE
DEFAULT_LIFE: Final = HOUR
LONGEST_LIFE: Final = 30 * DAY
EXPIRED_AT_ONCE: Final = 1_000
MAX_DEPTH: Final = 8
OVERDUE: Final = "Its owner, the owner's deputy or an administrator looks at it: `remit agent review`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A session and the first token for it."""

    session: Session
    token: str
    token_expires: int
    labels: Labels

    def document(self) -> dict[str, Json]:
        """The answer of ``POST /v1/sessions``."""
        return {
            "session": self.session.id,
            "token": self.token,
            "token_expires_at": to_text(self.token_expires),
            "integrity": self.labels.integrity,
            "expires_at": to_text(self.session.expires),
        }


async def start(deps: Deps, host: HostCaller, request: Mapping[str, Json]) -> Started:
    """Start a session for the host key's own agent. Raises ``InvalidDocument``, ``Forbidden``, ``WrongState``."""
    check_document("SessionRequest", request)
    now = deps.clock.now()
    try:
        async with deps.store.unit(deps.org) as unit:
            session, labels = await begin(deps, unit, host, request, now)
    except Forbidden as refusal:
        await misused(deps, host, refusal)
        raise
    made, expires = token(deps, session, now, host.key)
    return Started(session=session, token=made, token_expires=expires, labels=labels)


async def begin(
    deps: Deps, unit: Unit, host: HostCaller, request: Mapping[str, Json], now: int
) -> tuple[Session, Labels]:
    """The same inside a unit, without a token; ``host.key`` is whatever credential stands behind it."""
    agent = await _own_agent(unit, host, str(request["agent"]), now)
    principal = await _principal(unit, agent, request.get("principal"))
    parent = await _parent(unit, request.get("parent"), agent, principal, now)
    session = _session(deps, host.key, agent, principal, parent, request, now)
    labels = await _first_labels(unit, session, parent)
    await unit.sessions.add(session)
    await unit.log.append(_event(Kind.SESSION_STARTED, session, agent, labels, request))
    return session, labels


async def renew(deps: Deps, host: HostCaller, session_id: str) -> tuple[str, int]:
    """A fresh token for a live session that this host key's agent runs; token and its expiry."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        found = await view.sessions.get(session_id)
    if found is None or found.agent != host.agent or found.standing:
        raise await misused(deps, host, NotFound(f"there is no session {session_id}"))
    async with deps.store.unit(deps.org) as unit:
        session = await unit.sessions.get(session_id) or found
        if not session.live(now):
            raise WrongState("this session has ended or expired", hint="Start a new session.")
        await _own_agent(unit, host, session.agent, now)
        await unit.log.append(
            EventDraft(
                kind=Kind.TOKEN_ISSUED,
                actor=session.agent,
                subject=await subject_of(unit, session),
                agent=session.agent,
                chain=session.chain,
                session=session.id,
            )
        )
    return token(deps, session, now, host.key)


async def end(deps: Deps, caller: Caller, session_id: str, reason: str) -> None:
    """End a session and its children: its tokens die. By its host, or from within."""
    async with deps.store.view(deps.org) as view:
        session = await view.sessions.get(session_id)
    allowed = session is not None and (
        (isinstance(caller, HostCaller) and caller.agent == session.agent)
        # A key's standing session is not its holder's to end: a fresh one would have forgotten everything.
        or (isinstance(caller, SessionCaller) and caller.session == session.id and not session.standing)
    )
    if session is None or not allowed:
        raise await misused(deps, caller, NotFound(f"there is no session {session_id}"))
    async with deps.store.unit(deps.org) as unit:
        await stop_tree(unit, session, actor=session.agent, kind=Kind.SESSION_ENDED, reason=reason)


async def kill(deps: Deps, caller: PersonCaller, session_id: str, reason: str) -> dict[str, Json]:
    """Stop a session at once, with all that hangs on it.

    By an administrator, the agent's owner or deputy, or the person whom it acts for.
    """
    async with deps.store.unit(deps.org) as unit:
        session = await unit.sessions.get(session_id)
        agent = await unit.nouns.get(Agent, session.agent) if session else None
        if session is None or agent is None:
            raise NotFound(f"there is no session {session_id}")
        own = session.principal == caller.person.id or agent.answered_for_by(caller.person.id)
        if not own and not caller.person.has("administrator"):
            if not caller.person.has("auditor"):
                raise NotFound(f"there is no session {session_id}")  # to whom it is not shown, it is not there
            raise Forbidden("only an administrator, the agent's owner or whom it acts for may kill its sessions")
        return await stop_tree(unit, session, actor=caller.person.id, kind=Kind.SESSION_KILLED, reason=reason)


async def expire(deps: Deps) -> None:
    """Write down that sessions have run out. They were refused from that moment on; here the log learns of it."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        late = await view.sessions.lapsed(now, EXPIRED_AT_ONCE)
    if not late:
        return
    async with deps.store.unit(deps.org) as unit:
        for session in await unit.sessions.lapsed(now, EXPIRED_AT_ONCE):
            await unit.sessions.replace(replace(session, state="expired"))
            await unit.log.append(
                EventDraft(
                    kind=Kind.SESSION_EXPIRED,
                    actor=session.agent,
                    subject=await subject_of(unit, session),
                    agent=session.agent,
                    chain=session.chain,
                    session=session.id,
                )
            )


def below(session: Session, family: Sequence[Session]) -> set[str]:
    """The ids of a session and of every session of its family that was started under it."""
    found = {session.id}
    # Until nothing is added: ids sort by time, but within one millisecond a child's may come before its parent's.
    while more := {other.id for other in family if other.parent in found} - found:
        found |= more
    return found


async def stop_tree(unit: Unit, session: Session, *, actor: str, kind: Kind, reason: str) -> dict[str, Json]:
    """Stop a session and every session below it; void what waits for a person. Counts, and the last event.

    A kill also marks the calls that are under way, so that nobody is shown what they bring back.
    """
    family = await unit.sessions.of_root(session.root)
    inside = below(session, family)
    event = -1
    stopped = [other for other in family if other.id in inside and other.state == "active"]
    for other in stopped:
        await unit.sessions.replace(replace(other, state="killed" if kind == Kind.SESSION_KILLED else "ended"))
        event = await unit.log.append(
            EventDraft(
                kind=kind,
                actor=actor,
                subject=await subject_of(unit, other),
                agent=other.agent,
                chain=other.chain,
                session=other.id,
                private={"/reason": reason} if reason else {},
            )
        )
    voided = 0
    for approval in await unit.approvals.pending_of(session.root):
        if approval.session in inside:
            voided += await _void(unit, approval, actor)
    calls = 0
    if kind == Kind.SESSION_KILLED:
        calls = await in_flight.mark(unit, {other.id: other for other in stopped}, actor)
    counts: Json = {
        "sessions": len(stopped),
        "tokens": len(stopped),
        "approvals": voided,
        "agents": 0,
        "calls": calls,
    }
    return {"killed": counts, "event": event if event >= 0 else None}


async def _void(unit: Unit, approval: Approval, actor: str) -> int:
    dead = replace(approval, state="void", void_because="the session was stopped")
    await unit.approvals.move(dead, approval.state)
    await unit.log.append(
        EventDraft(
            kind=Kind.APPROVAL_VOID,
            actor=actor,
            subject=approval.chain[0],
            agent=approval.agent,
            chain=approval.chain,
            session=approval.session,
            tool=approval.tool,
            about=approval.id,
        )
    )
    return 1


async def standing_session(deps: Deps, key: Key | Client) -> Session:
    """The one session of a session key or a client: untrusted from its start, and never clean. Made at first use."""
    async with deps.store.view(deps.org) as view:
        found = await view.sessions.standing(key.id)
    now = deps.clock.now()
    if found is not None:
        return _still(found, now)
    async with deps.store.unit(deps.org) as unit:
        again = await unit.sessions.standing(key.id)
        if again is not None:
            return _still(again, now)
        agent = await unit.nouns.get(Agent, key.agent or "")
        expires = key.expires if isinstance(key, Key) else (agent.expires if agent else None)
        if agent is None or expires is None:
            raise Unauthenticated("this key belongs to no agent")
        # A delegated agent that nobody started a task for acts for its owner.
        principal = agent.owner if agent.mode == "delegated" else None
        new = deps.new_id("ses")
        session = Session(
            org=deps.org,
            id=new,
            root=new,
            parent=None,
            agent=agent.id,
            principal=principal,
            chain=(principal, agent.id) if principal else (agent.id,),
            key=key.id,
            task=(),
            plan=None,
            context="unattested",
            state="active",
            created=now,
            expires=expires,
            standing=True,
        )
        await unit.sessions.add(session)
        await unit.sessions.put_flow(FlowState(org=deps.org, root=new, labels=UNTRUSTED, calls=0, denials=0))
        await unit.log.append(_event(Kind.SESSION_STARTED, session, agent, UNTRUSTED, {}))
    return session


def _still(session: Session, now: int) -> Session:
    """The standing session, while it lives. One that was stopped stays stopped: labels, limits and a no are final."""
    if not session.live(now):
        raise Unauthenticated("the standing session of this key was stopped", hint="Ask the owner for a new one.")
    return session


async def _own_agent(unit: Unit, host: HostCaller, named: str, now: int) -> Agent:
    agent = await unit.nouns.get(Agent, named) or await unit.nouns.named(Agent, named)
    if agent is None or agent.id != host.agent:
        raise Forbidden("a host key starts sessions only for its own agent")
    owner = await unit.nouns.get(Person, agent.owner) if agent.owner else None
    if agent.state == "active" and agent.due(now):
        raise WrongState(f"agent {agent.name} is past its review date", hint=OVERDUE)
    if not agent.live(now):
        raise WrongState(f"agent {agent.name} is {agent.state} or expired", hint="Its owner can activate it.")
    if owner is None or owner.state != "active":
        raise WrongState(f"the owner of agent {agent.name} is not active", hint="An administrator names another owner.")
    return agent


async def _principal(unit: Unit, agent: Agent, named: Json) -> Person | None:
    if agent.mode == "autonomous":
        if named is not None:
            raise InvalidDocument("an autonomous agent acts for nobody: leave principal out", pointer="/principal")
        return None
    if not isinstance(named, str):
        raise InvalidDocument("a delegated agent acts for a person: name the principal", pointer="/principal")
    person = await unit.nouns.get(Person, named) or await unit.nouns.named(Person, named)
    if person is None or person.state != "active":
        raise InvalidDocument("there is no such active person", pointer="/principal")
    return person


async def _parent(unit: Unit, named: Json, agent: Agent, principal: Person | None, now: int) -> Session | None:
    """The live session to start under: of the same person, and run by an agent of the same owner (decision 0007)."""
    if named is None:
        return None
    parent = await unit.sessions.get(str(named))
    if parent is None or not parent.live(now) or parent.standing:
        raise InvalidDocument("there is no such live session", pointer="/parent")
    if parent.principal != (principal.id if principal else None):
        raise Forbidden("a sub-agent acts for the same person as its parent session")
    if await owner_of(unit, parent.agent) != agent.owner:
        raise Forbidden("a sub-agent and the agent it works for belong to the same owner")
    if len(parent.chain) >= MAX_DEPTH:
        raise Forbidden(f"a chain has at most {MAX_DEPTH} members")
    return parent


def _session(
    deps: Deps,
    key: str,
    agent: Agent,
    principal: Person | None,
    parent: Session | None,
    request: Mapping[str, Json],
    now: int,
) -> Session:
    wanted = request.get("ttl")
    life = min(duration(str(wanted), "/ttl") if wanted is not None else DEFAULT_LIFE, LONGEST_LIFE)
    expires = min(now + life, agent.expires or 0, parent.expires if parent else now + life)
    before = parent.chain if parent else ((principal.id,) if principal else ())
    new = deps.new_id("ses")
    return Session(
        org=deps.org,
        id=new,
        root=parent.root if parent else new,
        parent=parent.id if parent else None,
        agent=agent.id,
        principal=principal.id if principal else None,
        chain=(*before, agent.id),
        key=key,
        task=(),  # the log alone keeps the task's text, sealed for its person: a row here can't be erased
        plan=narrower(_plan(request.get("plan")), parent.plan if parent else None),
        context="attested" if request.get("context") == "attested" else "unattested",
        state="active",
        created=now,
        expires=expires,
    )


async def _first_labels(unit: Unit, session: Session, parent: Session | None) -> Labels:
    """A root starts as attested; a child joins what it brings into the state that its root shares."""
    own = TRUSTED if session.context == "attested" else UNTRUSTED
    flow = await unit.sessions.flow(session.root) if parent else None
    if flow is None:
        flow = FlowState(org=session.org, root=session.root, labels=own, calls=0, denials=0)
    joined = replace(flow, labels=flow.labels.join(own))
    await unit.sessions.put_flow(joined)
    return joined.labels


def _plan(plan: Json) -> Plan | None:
    if not isinstance(plan, Mapping):
        return None
    tools = plan.get("tools")
    limits = plan.get("limits")
    refs = tuple(str(ref) for ref in tools) if isinstance(tools, Sequence) and not isinstance(tools, str) else ()
    for ref in refs:
        split_ref(ref)
    ceilings = limits if isinstance(limits, Mapping) else {}
    speaks = plan.get("speaks", True) is True
    return Plan(
        refs, tuple((name, amounts.ceiling(value, f"/plan/limits/{name}")) for name, value in ceilings.items()), speaks
    )


def token(
    deps: Deps,
    session: Session,
    now: int,
    key: str,
    audience: str = "",
    thumbprint: str | None = None,
    ceiling: int | None = None,
) -> tuple[str, int]:
    """A token that dies with the credential it was issued to, whichever one started the session; and its expiry.

    ``audience`` is the one endpoint that it is for, empty for all of this Remit's; ``thumbprint`` binds it to a key.
    ``ceiling`` is a time that it must not outlive.
    """
    expires = min(now + TOKEN_LIFE, session.expires, ceiling if ceiling is not None else session.expires)
    first, *actors = session.chain
    claims = SessionClaims(
        issuer=deps.issuer,
        audience=audience or deps.issuer,
        subject=first,
        actor=actors[-1] if actors else None,
        before=tuple(reversed(actors[:-1])),
        thumbprint=thumbprint,
        session=session.id,
        org=session.org,
        client_id=key,
        jti=deps.entropy.bytes(16).hex(),
        issued_at=now,
        expires_at=expires,
    )
    return deps.tokens.issue(claims), expires


def _event(kind: Kind, session: Session, agent: Agent, labels: Labels, request: Mapping[str, Json]) -> EventDraft:
    task = request.get("task")
    return EventDraft(
        kind=kind,
        actor=agent.id,
        subject=subject(session, agent),
        agent=agent.id,
        chain=session.chain,
        session=session.id,
        about=session.parent,
        labels=labels,
        private={"/task": task} if task else {},
    )
