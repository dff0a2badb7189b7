"""A text that was read, put to a person to adopt as part of the task (rule B15); and what an adopted one covers.

A host of the session, or a person who answers such questions, asks: for a text of one result, by the call and a pointer
into the result, as the log keeps it. So nobody hands in a text of their own making. What is shown is what is hashed:
the text whole, where it stood, and the bound: tools, types of values, and ceilings, of which the number of calls is
always one. A yes is for the session that asked, not for those below it, and ends with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from remit.core import amounts
from remit.core.approvals import Approval
from remit.core.calls import Reservation
from remit.core.canonical import Json, canonical, digest
from remit.core.credentials import HostCaller, PersonCaller
from remit.core.decisions import Reason
from remit.core.errors import Forbidden, InvalidDocument, NotFound, TooLarge, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ports import Unit
from remit.core.sessions import Segment, Session
from remit.core.values import deceptive
from remit.guards.documents import check_document
from remit.guards.json_in import parse
from remit.policy.adoption import Adoption
from remit.policy.demands import Miss
from remit.policy.task import Task
from remit.services import approve, budgets, memories
from remit.services.authority import Authority, ReviewedTool
from remit.services.deps import Deps
from remit.services.documents import Document, texts
from remit.services.misuse import misused
from remit.services.recorded import Facts
from remit.services.subjects import subject_of

RESULT: Final = "/result"
_OUTCOME: Final = (int(Kind.OUTCOME),)
_MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Covered:
    """The approval of an adopted text that covers a call, and what is held under its ceilings."""

    approval: str
    held: tuple[Reservation, ...]


# Asking


async def ask(deps: Deps, caller: HostCaller | PersonCaller, session_id: str, request: Document) -> Approval:
    """Put the question whether a text is adopted. ``request`` is an ``AdoptionRequest``.

    Raises ``NotFound`` for another's session, a call or a place without text, ``InvalidDocument`` for a bound that the
    session can't have, ``TooLarge`` for a text that nobody reads whole, ``WrongState`` for a session that has ended,
    has too many questions open, or was told no.
    """
    check_document("AdoptionRequest", request)
    async with deps.store.view(deps.org) as view:
        found = await view.sessions.get(session_id)
    if found is None or not _may_ask(caller, found):
        raise await misused(deps, caller, NotFound(f"there is no session {session_id}"))
    async with deps.store.unit(deps.org) as unit:
        session, now = await unit.sessions.get(session_id) or found, deps.clock.now()
        if not session.live(now):
            raise WrongState("this session has ended or expired", hint="Start a new session.")
        source = await unit.calls.get(session.id, str(request["call_id"]))
        text = await _text(deps, unit, session, request) if source is not None else None
        if source is None or text is None:
            raise NotFound("no result of this session has a text there", hint="Give a call's id, and a JSON pointer.")
        authority = await deps.authority.current(unit)
        written = canonical(_wanted(authority, session, request, text, now))
        if len(written) > approve.MAX_SHOWN:
            raise TooLarge(f"a text is adopted whole, in at most {approve.MAX_SHOWN} bytes with its bound")
        known = authority.tools[source.tool]
        approval = Approval(
            org=deps.org,
            id=deps.new_id("apr"),
            kind="text",
            state="pending",
            agent=session.agent,
            chain=session.chain,
            session=session.id,
            root=session.root,
            credential=session.key,
            tool=source.tool,
            fingerprint=source.fingerprint or known.review.fingerprint,
            server=known.server.id,
            server_fingerprint=known.server.pinned,
            arguments=written,
            arguments_hash=digest(written),
            references=(),
            policy_version=authority.policy_version,
            authority_version=authority.version(session.chain),
            asked_at=now,
            expires_at=min(now + approve.LIFE, session.expires),
            asked_event=-1,
        )
        return await _put(deps, unit, session, approval, now)


def _may_ask(caller: HostCaller | PersonCaller, session: Session) -> bool:
    if isinstance(caller, HostCaller):
        return session.agent == caller.agent and not session.standing
    if not caller.person.has("approver"):
        raise Forbidden("asking for a text to be adopted needs a host key of its session, or the role approver")
    return True


async def _text(deps: Deps, unit: Unit, session: Session, request: Document) -> str | None:
    """The text at a place of the result of a call, as the log keeps it."""
    for entry in await unit.log.find(after=-1, limit=_MOST, kinds=_OUTCOME, session=session.id, agent=None):
        leaf = parse(entry.leaf)
        if isinstance(leaf, Mapping) and leaf.get("call") == request["call_id"]:
            found = _at(await memories.opened(unit, deps.sealer, entry.index, RESULT), str(request["path"]))
            return found if isinstance(found, str) and found.strip() else None
    return None


def _at(value: Json, pointer: str) -> Json:
    """What stands at a JSON pointer (RFC 6901), or None."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, Sequence) and not isinstance(value, str) and name.isdecimal() and len(name) < 7:  # noqa: PLR2004 - no list is longer
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def _wanted(authority: Authority, session: Session, request: Document, text: str, now: int) -> dict[str, Json]:
    """What a person is asked, as it is hashed and shown."""
    if deceptive(text):
        raise InvalidDocument("this text hides characters, or mixes scripts, so it endorses nothing", pointer="/path")
    limits = request["limits"]
    given = limits if isinstance(limits, Mapping) else {}
    for number, ref in enumerate(texts(request["tools"])):
        known = authority.tools.get(ref)
        if known is None or not authority.reached(session.chain, known, now):
            raise InvalidDocument(f"{ref} is no tool of this session", pointer=f"/tools/{number}")
    for name, value in given.items():
        amount = amounts.from_json(value)
        if amount is None or amount <= 0 or (name == budgets.CALLS and amount % amounts.ONE):
            words = "a ceiling is an amount above nothing, and whole for calls"
            raise InvalidDocument(words, pointer=f"/limits/{name}")
    return {
        "text": text,
        "from": {"call_id": request["call_id"], "path": request["path"]},
        "tools": sorted(set(texts(request["tools"]))),
        "types": sorted(set(texts(request["types"]))),
        "limits": {name: amounts.to_text(amounts.from_json(value) or 0) for name, value in given.items()},
    }


async def _put(deps: Deps, unit: Unit, session: Session, approval: Approval, now: int) -> Approval:
    """Keep the question and the event that asks it; the same one again is the one that is there."""
    for one in await unit.approvals.of_texts(session.root):
        same = one.arguments_hash == approval.arguments_hash and one.session == session.id
        if same and one.state_at(now) in ("pending", "approved"):
            return await approve.opened(deps, unit, one)
        if one.arguments_hash == approval.arguments_hash and one.state == "denied":
            raise WrongState("a person said no to adopting this text", hint="Ask for another bound, or do without.")
    if await approve.crowded(unit, session, now):
        raise WrongState("as many questions as may wait in this session", hint="Have some of them answered first.")
    event = await unit.log.append(
        EventDraft(
            kind=Kind.ADOPTION_ASKED,
            actor=session.agent,
            subject=await subject_of(unit, session),
            agent=session.agent,
            chain=session.chain,
            session=session.id,
            tool=approval.tool,
            fingerprint=approval.fingerprint,
            authority=approval.authority_version,
            about=approval.id,
            private={"/arguments": parse(approval.arguments)},
        )
    )
    asked = replace(approval, asked_event=event)
    await approve.put(unit, asked)
    return asked


# Covering


async def covering(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool, short: Sequence[Miss]) -> Covered | None:
    """The first adopted text that meets all of these demands and has room for the call, with what is to be held."""
    taken: Mapping[str, int] | Reason | None = None
    for one in await standing(deps, unit, facts.session, facts.now):
        if not one.covers(known.tool.ref, short):
            continue
        taken = budgets.amounts_of(known.review, facts.call.arguments) if taken is None else taken
        if isinstance(taken, Reason):
            return None
        ceilings = budgets.Ceilings(one.id, one.id, tuple(one.limits.items()), "adopted text")
        held = await budgets.under(unit, known.review, taken, ceilings)
        if not isinstance(held, Reason):
            return Covered(one.id, tuple(held))
    return None


async def standing(deps: Deps, unit: Unit, session: Session, now: int) -> tuple[Adoption, ...]:
    """The texts that are adopted in this very session; one that was erased endorses nothing."""
    found = [one for one in await unit.approvals.of_texts(session.root) if one.session == session.id]
    opened = [await approve.opened(deps, unit, one) for one in found if one.state_at(now) == "approved"]
    return tuple(adoption for one in opened if (adoption := read(one)) is not None)


def read(approval: Approval) -> Adoption | None:
    """The adoption that a question with its arguments asks for."""
    document = parse(approval.arguments)
    if not isinstance(document, Mapping):
        return None
    limits = document["limits"]
    given = limits.items() if isinstance(limits, Mapping) else ()
    return Adoption(
        approval.id,
        Task([Segment(str(document["text"]), "principal")]),
        frozenset(texts(document["tools"])),
        frozenset(texts(document["types"])),
        {name: amounts.from_json(value) or 0 for name, value in given},
    )
