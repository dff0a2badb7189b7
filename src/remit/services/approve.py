"""Step 7 of a tool call: the question to a person, bound to the exact call; and the person's answer.

An approval is used once, by one conditional update in the unit of work that writes the intent. It dies when the call
would no longer be decided the same way, when anything it is bound to has changed, or when the session has since written
to a record that the call refers to. A no is a veto: the same question is not asked again under that root session.

What the question shows, and a note, are kept in the log alone, sealed for their person: erasing that person reaches
them, and what can't be shown any more can't be approved.

Four eyes: the agent's owner, and the owner's deputy, may not answer for their own agent while another active approver
exists.
"""

from dataclasses import dataclass, replace
from typing import Final

from remit.core.agents import Agent
from remit.core.approvals import Approval, ApprovalState
from remit.core.calls import parts_of
from remit.core.canonical import Json, digest
from remit.core.credentials import PersonCaller
from remit.core.decisions import Reason
from remit.core.errors import AlreadyAnswered, Forbidden, InvalidDocument, NotFound, ScopeNotOffered, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.core.times import HOUR, to_text
from remit.guards.hidden_text import reveal
from remit.guards.json_in import parse
from remit.services.deps import Deps

# What a person can be expected to read whole; a call with more canonical argument bytes is refused, not truncated.
MAX_SHOWN: Final = 16_384
LIFE: Final = HOUR
MAX_NOTE: Final = 2_000
# Questions of one root session that may wait at once: more would bury what a person should look at.
MAX_WAITING: Final = 20
EXPIRED_AT_ONCE: Final = 1_000
# Stands in the row for arguments that the log keeps, and in what is read for arguments that were erased.
_SEALED: Final = b"null"
_NONE: Final = b"[]"
VALUES: Final = "/values"
"""Where, with the event that asks, the values stand that a question is about."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody was asked yet, or the last answer was used up: a new question may be put."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The question is already before a person."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Vetoed:
    """A person said no."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Approved:
    """A person said yes, and it was not yet used."""

    approval: Approval


_BOUND: Final = (
    *("chain", "session", "root", "credential", "tool", "fingerprint", "server", "server_fingerprint"),
    "arguments_hash",
)

Standing = Unanswered | Waiting | Vetoed | Approved


async def standing(unit: Unit, session: Session, tool: str, arguments_hash: str, now: int) -> Standing:
    """How the question about this exact call stands in this session. A no holds for all that stands under one root."""
    # A text is asked about beside a bound, which an agent could send as the arguments of a call.
    asked = [one for one in await unit.approvals.about(session.root, tool, arguments_hash) if one.kind != "text"]
    found = {approval.state_at(now): approval for approval in asked if approval.session == session.id}
    denied = [approval for approval in asked if approval.state == "denied"]
    if denied:
        return Vetoed(denied[0])
    if "approved" in found:
        return Approved(found["approved"])
    return Waiting(found["pending"]) if "pending" in found else Unanswered()


async def broken_binding(unit: Unit, approval: Approval, wanted: Approval) -> str | None:
    """What no longer is as it was when the person answered, in words; None when all is."""
    for name in _BOUND:
        if getattr(approval, name) != getattr(wanted, name):
            return f"the {name.replace('_', ' ')} changed"
    if await unit.calls.writers(approval.root, approval.references, approval.asked_event):
        return "a record that it refers to was written to since"
    return None


async def crowded(unit: Unit, session: Session, now: int) -> bool:
    """Whether as many questions of this root session wait as may; half of the places are the root's own."""
    waiting = [one for one in await unit.approvals.pending_of(session.root) if one.state_at(now) == "pending"]
    below = [one for one in waiting if one.session != session.root]
    return len(waiting) >= MAX_WAITING or (session.id != session.root and len(below) >= MAX_WAITING // 2)


async def being_written(unit: Unit, wanted: Approval) -> bool:
    """Whether a call of this root without a known outcome may write to a record of the question, shown in vain then."""
    under_way = {call.intent for call in await unit.calls.unfinished() if call.root == wanted.root}
    return not under_way.isdisjoint(await unit.calls.writers(wanted.root, wanted.references, -1))


async def put(unit: Unit, approval: Approval) -> None:
    """Keep a new question; its arguments and values are in the event that asks it."""
    await unit.approvals.add(replace(approval, arguments=_SEALED, shown_values=_NONE))


async def void(unit: Unit, approval: Approval, why: str) -> int:
    """Let an approval die; the event's index."""
    await unit.approvals.move(replace(approval, state="void", void_because=why), approval.state)
    return await unit.log.append(_event(Kind.APPROVAL_VOID, approval, approval.agent, ("approval.void",)))


async def use(unit: Unit, approval: Approval) -> bool:
    """Spend an approval: one conditional update; False when somebody else spent it first."""
    used = await unit.approvals.move(replace(approval, state="used"), "approved")
    if used:
        await unit.log.append(_event(Kind.APPROVAL_USED, approval, approval.agent, ()))
    return used


async def give_back(unit: Unit, approval_id: str) -> None:
    """An approval whose call reached no server is good again, once: single use is of the effect."""
    used = await unit.approvals.get(approval_id)
    if used is None or used.returned:
        return
    if await unit.approvals.move(replace(used, state="approved", returned=True), "used"):
        await unit.log.append(_event(Kind.APPROVAL_RETURNED, used, used.agent, ()))


async def expire(deps: Deps) -> None:
    """Write down which questions and unused answers ran out, so that they are no longer in the way of others."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        stored = [*await view.approvals.list("pending", EXPIRED_AT_ONCE, None)]
        stored += await view.approvals.list("approved", EXPIRED_AT_ONCE, None)
    late = [approval for approval in stored if approval.state_at(now) == "expired"]
    if late:
        async with deps.store.unit(deps.org) as unit:
            for approval in late:
                if await unit.approvals.move(replace(approval, state="expired"), approval.state):
                    await unit.log.append(_event(Kind.APPROVAL_EXPIRED, approval, approval.agent, ()))


async def answer(deps: Deps, caller: PersonCaller, approval_id: str, request: Json) -> Approval:
    """A person's yes or no.

    Raises ``Forbidden``, ``AlreadyAnswered``, ``ScopeNotOffered``, ``NotFound``, ``WrongState`` for what was erased.
    """
    wish = _wish(request)
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        approval = await unit.approvals.get(approval_id)
        if approval is None:
            raise NotFound(f"there is no approval {approval_id}")
        await _may_answer(unit, caller, approval)
        state = approval.state_at(now)
        if state != "pending":
            raise AlreadyAnswered(f"it is {state}")
        if wish.scope is not None and wish.scope != ("once" if approval.kind == "call" else "session"):
            raise ScopeNotOffered(f"an approval of a {approval.kind} is not for {wish.scope!r}")
        yes = wish.answer == "approve"
        shown = await opened(deps, unit, approval)
        if yes and (shown.arguments == _SEALED or (approval.kind == "value" and shown.shown_values == _NONE)):
            raise WrongState("what it asks about was erased, so nobody can approve it", hint="It can be denied.")
        if yes and caller.person.id in approval.yes_by:
            raise AlreadyAnswered("you said yes to it; another person must too")
        answered = await _answered(unit, approval, caller.person.id, now, yes=yes)
        if not await unit.approvals.move(answered, "pending"):
            raise AlreadyAnswered
        kind = Kind.APPROVED if yes else Kind.APPROVAL_DENIED
        draft = _event(kind, approval, caller.person.id, ())
        # A note is the answering person's own words, and goes when they are erased.
        note = replace(draft, subject=caller.person.id, private={"/note": wish.note})
        await unit.log.append(note if wish.note else draft)
    return replace(answered, arguments=shown.arguments, shown_values=shown.shown_values, note=wish.note)


async def _answered(unit: Unit, approval: Approval, person: str, now: int, *, yes: bool) -> Approval:
    """The question after this answer: closed by a no, and by a yes unless more persons must say it."""
    if not yes:
        return replace(approval, state="denied", answered_by=person, answered_at=now, expires_at=now + LIFE)
    said = replace(approval, yes_by=(*approval.yes_by, person), answered_by=person, answered_at=now)
    if len(said.yes_by) < said.persons:
        return said
    until = now + LIFE if approval.kind == "call" else await _session_end(unit, approval, now)
    return replace(said, state="approved", expires_at=until)


async def _session_end(unit: Unit, approval: Approval, now: int) -> int:
    """A yes to a value is for the root session, one to a text for the very session, and goes with it."""
    session = await unit.sessions.get(approval.session if approval.kind == "text" else approval.root)
    return session.expires if session is not None else now + LIFE


async def show(deps: Deps, caller: PersonCaller, approval_id: str) -> Approval:
    """One approval, for people who may see it."""
    async with deps.store.view(deps.org) as view:
        approval = await view.approvals.get(approval_id)
        if approval is None or not await _may_see(view, caller, approval):
            raise NotFound(f"there is no approval {approval_id}")
        return await opened(deps, view, approval)


async def listing(
    deps: Deps, caller: PersonCaller, state: ApprovalState | None, limit: int, after: str | None
) -> tuple[tuple[Approval, ...], str | None]:
    """Of ``limit`` stored approvals behind ``after`` those that the caller may see, by id; and where to go on."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        # What ran out may still be stored as it was before.
        found = await view.approvals.list(None if state == "expired" else state, limit, after)
        wanted = [item for item in found if state is None or item.state_at(now) == state]
        seen = [await opened(deps, view, item) for item in wanted if await _may_see(view, caller, item)]
    return tuple(seen), found[-1].id if len(found) == limit else None


async def opened(deps: Deps, view: Unit, approval: Approval) -> Approval:
    """The question with its arguments, as the log keeps them; without them once they are erased.

    INVARIANT: what is shown is what was hashed, or nothing is.
    """
    found, values = approval, approval.shown_values
    for item in await view.log.private(approval.asked_event):
        text = deps.sealer.reveal(item, deps.org) if item.pointer in ("/arguments", VALUES) else None
        if text is not None and item.pointer == VALUES:
            values = text[1]
        elif text is not None and digest(text[1]) == approval.arguments_hash:
            found = replace(found, arguments=text[1])
    return replace(found, shown_values=values)


def document(approval: Approval, now: int) -> dict[str, Json]:
    """The Approval as people read it: all that is hashed, whole; ``shown`` makes hidden text visible.

    ``values`` are what nothing vouches for, each with where it stood. Where they are all that is asked about, the first
    stands alone too, as v1 named it.
    """
    values = parse(approval.shown_values)
    out: dict[str, Json] = {
        "approval": approval.id,
        "kind": approval.kind,
        "state": approval.state_at(now),
        "agent": approval.agent,
        "chain": list(approval.chain),
        "session": approval.session,
        "tool": approval.tool,
        "fingerprint": approval.fingerprint,
        **({"arguments": None} if approval.arguments == _SEALED else parts_of(parse(approval.arguments))),
        "arguments_hash": approval.arguments_hash,
        "shown": "[erased]" if approval.arguments == _SEALED else reveal(approval.arguments.decode()),
        "authority_version": approval.authority_version,
        "asked_at": to_text(approval.asked_at),
        "expires_at": to_text(approval.expires_at),
    }
    if isinstance(values, list) and values:
        out |= {"value": values[0], "values": values} if approval.kind == "value" else {"values": values}
    if approval.answered_by is not None:
        out["answered_by"] = approval.answered_by
    if approval.persons > 1:
        out |= {"persons": approval.persons, "yes_by": list(approval.yes_by)}
    if approval.void_because is not None:
        out["void_because"] = approval.void_because
    return out


def too_large(written: bytes) -> Reason | None:
    """A call that can't be shown whole can't be approved."""
    size = len(written)
    return Reason("approval.too_large", f"{size} bytes of {MAX_SHOWN}") if size > MAX_SHOWN else None


@dataclass(frozen=True, slots=True)
class _Wish:
    answer: str
    scope: str | None
    note: str | None


def _wish(request: Json) -> _Wish:
    if not isinstance(request, dict) or request.get("answer") not in ("approve", "deny"):
        raise InvalidDocument('answer is "approve" or "deny"', pointer="/answer")
    scope, note = request.get("scope"), request.get("note")
    if set(request) - {"answer", "scope", "note"}:
        raise InvalidDocument("an answer has the members answer, scope and note")
    if scope not in (None, "once", "session"):
        raise InvalidDocument('scope is "once" or "session"', pointer="/scope")
    if note is not None and (not isinstance(note, str) or len(note) > MAX_NOTE):
        raise InvalidDocument(f"a note is text of at most {MAX_NOTE} characters", pointer="/note")
    return _Wish(request["answer"], scope, note)


async def _may_see(unit: Unit, caller: PersonCaller, approval: Approval) -> bool:
    if caller.person.has("approver", "auditor", "administrator"):
        return True
    agent = await unit.nouns.get(Agent, approval.agent)
    return caller.person.state == "active" and agent is not None and agent.answered_for_by(caller.person.id)


async def _may_answer(unit: Unit, caller: PersonCaller, approval: Approval) -> None:
    # As the person stands now, and not as they stood when the request was let in.
    person = await unit.nouns.get(Person, caller.person.id)
    if person is None or not person.has("approver"):
        raise Forbidden("answering needs the role approver")
    agent = await unit.nouns.get(Agent, approval.agent)
    if agent is not None and agent.answered_for_by(caller.person.id):
        # The owner gives way to every other approver, also to the deputy; the deputy to all but the owner.
        before = {agent.owner, caller.person.id}
        people = await unit.nouns.all(Person)
        if any(person.has("approver") and person.id not in before for person in people):
            raise Forbidden("four eyes: who answers for the agent may not answer while another approver is active")


def _event(kind: Kind, approval: Approval, actor: str, codes: tuple[str, ...]) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=actor,
        subject=approval.chain[0],
        agent=approval.agent,
        chain=approval.chain,
        session=approval.session,
        tool=approval.tool,
        fingerprint=approval.fingerprint,
        authority=approval.authority_version,
        codes=codes,
        about=approval.id,
    )
