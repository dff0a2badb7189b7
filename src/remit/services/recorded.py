"""How a decision is written down: its facts, its event, its answer, and the same answer given again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from remit.core.calls import Call, CallState, ProposedCall, Reservation
from remit.core.canonical import Json, Written, canonical, digest
from remit.core.credentials import SessionCaller
from remit.core.decisions import REASONS, Allow, Decision, Deny, Reason, Verdict
from remit.core.errors import CallIdReused
from remit.core.events import EventDraft, Kind
from remit.core.labels import UNTRUSTED
from remit.core.ports import Unit
from remit.core.sessions import FlowState, Session
from remit.core.times import to_text
from remit.guards.json_in import as_json, parse
from remit.policy.flow import Leaf, leaves
from remit.services.authority import Authority, ReviewedTool
from remit.services.subjects import subject

# A call with more values is refused: past the bound a reference would be written to unseen.
_MAX_REFERENCES: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a call while it is decided. ``before`` is what stands under its call id already."""

    authority: Authority
    session: Session
    flow: FlowState
    call: ProposedCall
    arguments: Written
    known: ReviewedTool | None
    before: Call | None
    now: int

    @property
    def subject(self) -> str:
        """The person whose data this is: whom the work is for, else the agent's owner."""
        return subject(self.session, self.authority.agents.get(self.session.agent))


def draft(facts: Facts, kind: Kind, codes: tuple[str, ...], about: str | None = None) -> EventDraft:
    """The event of a decision. A tool that nobody reviewed is caller's text, so its name is only committed to.

    That of a tool which is not there for the caller is so too, reviewed or not: both are the same work.
    """
    known, session = facts.known, facts.session
    private: dict[str, Json | Written] = {"/arguments": facts.arguments}
    if known is None or "tool.unknown" in codes:
        private["/tool"] = facts.call.tool
    return EventDraft(
        kind=kind,
        actor=session.agent,
        subject=facts.subject,
        agent=session.agent,
        chain=session.chain,
        session=session.id,
        call=facts.call.call_id,
        tool=known.tool.ref if known else None,
        fingerprint=known.review.fingerprint if known else None,
        policy=facts.authority.policy_version,
        authority=facts.authority.version(session.chain),
        decision={Kind.INTENT: "allow", Kind.ASKED: "ask"}.get(kind, "deny"),
        codes=codes,
        labels=facts.flow.labels,
        about=about,
        private=private,
    )


def suspension(facts: Facts) -> EventDraft:
    """The event that a root session is closed for a while."""
    session = facts.session
    return EventDraft(
        kind=Kind.SESSION_SUSPENDED,
        actor=session.agent,
        subject=facts.subject,
        agent=session.agent,
        chain=session.chain,
        session=session.root,
        codes=("session.suspended",),
    )


def decision(facts: Facts, verdict: Verdict, event: int, expires: int) -> Decision:
    """The answer for one verdict. What the chain does not reach has no fingerprint, as if it were not there."""
    hidden = isinstance(verdict, Deny) and any(reason.code == "tool.unknown" for reason in verdict.reasons)
    return Decision(
        verdict=verdict,
        session=facts.session.id,
        call_id=facts.call.call_id,
        tool=facts.call.tool,
        fingerprint=facts.known.review.fingerprint if facts.known and not hidden else None,
        arguments_hash=digest(facts.arguments),
        policy_version=facts.authority.policy_version,
        authority_version=facts.authority.version(facts.session.chain),
        event=event,
        expires_at=to_text(expires),
    )


async def remember(
    unit: Unit,
    facts: Facts,
    answer: Decision,
    state: CallState,
    *,
    deadline: int,
    intent: int | None = None,
    instance: str | None = None,
    held: tuple[Reservation, ...] = (),
    approval: str | None = None,
) -> None:
    """Keep the answer under its call id, so that the same question gets the same answer and no second intent.

    Without the question's arguments: an Ask is put anew and never replayed, and a row here can't be erased.
    """
    await unit.calls.put(
        Call(
            org=facts.session.org,
            session=facts.session.id,
            call_id=facts.call.call_id,
            root=facts.session.root,
            tool=facts.call.tool,
            fingerprint=answer.fingerprint,
            arguments_hash=answer.arguments_hash,
            state=state,
            answer=as_json(replace(answer, approval=None).document()),
            intent=intent,
            instance=instance,
            deadline=deadline,
            reservations=held,
            approval=approval,
        )
    )


def check_same_call(before: Call, facts: Facts) -> None:
    """Raise ``CallIdReused`` when this call id already stands for another tool or other arguments."""
    if before.tool != facts.call.tool or before.arguments_hash != digest(facts.arguments):
        raise CallIdReused(f"call_id {before.call_id} stands for another call")


def replayed(before: Call) -> Decision:
    """The answer as it was given, marked so that nobody forwards it twice."""
    document = parse(before.answer)
    assert isinstance(document, Mapping)  # noqa: S101 - we wrote these bytes
    verdict = _verdict(document)
    return Decision(
        verdict=verdict,
        session=before.session,
        call_id=before.call_id,
        tool=before.tool,
        fingerprint=before.fingerprint,
        arguments_hash=before.arguments_hash,
        policy_version=str(document["policy_version"]),
        authority_version=str(document["authority_version"]),
        event=_whole(document["event"]),
        expires_at=str(document["expires_at"]),
        idempotency_key=_text(document["idempotency_key"]),
        replayed=True,
        request_access=wish if isinstance(wish := document.get("request_access"), Mapping) else None,
    )


def first_flow(session: Session) -> FlowState:
    """The state of a session that has none: as untrusted as can be."""
    return FlowState(org=session.org, root=session.root, labels=UNTRUSTED, calls=0, denials=0)


def shown_references(facts: Facts, known: ReviewedTool) -> tuple[str, ...]:
    """The records that a question is about: the values of the arguments reviewed as references."""
    reviewed = {pointer for pointer, review in known.review.arguments.items() if review.role == "reference"}
    named: list[Json] = []
    for leaf in leaves(facts.call.arguments, _MAX_REFERENCES, empties=True):
        below = _below(leaf, reviewed)
        if below is not None:
            named += [leaf.value, *below]
    named += _answered(facts)
    return _references(facts, known, named)


def touched_references(facts: Facts, known: ReviewedTool) -> tuple[str, ...]:
    """The records that a call may write to: every value it carries, and every member name, which may be an id too."""
    named: list[Json] = []
    for leaf in leaves(facts.call.arguments, _MAX_REFERENCES, empties=True):
        named += [leaf.value, *_member_names(leaf.general.split("/")[1:])]
    named += _answered(facts)
    return _references(facts, known, named)


def _answered(facts: Facts) -> list[Json]:
    """What was answered to the server's questions: nobody reviewed it, so each value may name a record."""
    inputs = facts.call.inputs
    forms = () if inputs is None else inputs.forms()
    return [leaf.value for _, _, content in forms for leaf in leaves(content, _MAX_REFERENCES)]


def _references(facts: Facts, known: ReviewedTool, values: Sequence[Json]) -> tuple[str, ...]:
    """Values as the store compares them: one spelling for a number, and hashed, since rows can't be erased."""
    texts = [value if isinstance(value, str) else canonical(value).decode() for value in values if _names(value)]
    return tuple(digest(f"{facts.session.root}\0{known.server.id}\0{text}".encode()) for text in dict.fromkeys(texts))


def _below(leaf: Leaf, reviewed: Collection[str]) -> list[str] | None:
    """The member names under the reviewed pointer that holds the leaf; None when none does.

    An argument that is reviewed as a leaf and sent as an object names records by its members too.
    """
    pointer, general = leaf.pointer.split("/"), leaf.general.split("/")
    for depth in range(1, len(pointer) + 1):
        if "/".join(pointer[:depth]) in reviewed or "/".join(general[:depth]) in reviewed:
            return _member_names(general[depth:])
    return None


def _member_names(steps: Sequence[str]) -> list[str]:
    """The names of members among the steps of a general pointer, in which ``*`` is a position and ``~*`` a name."""
    return ["*" if step == "~*" else step.replace("~1", "/").replace("~0", "~") for step in steps if step != "*"]


def _names(value: Json) -> bool:
    return isinstance(value, (str, int, Decimal)) and not isinstance(value, bool)


def overflowing(arguments: Mapping[str, Json]) -> bool:
    """Whether a call carries more values than are looked at for references."""
    pending: list[Json] = [arguments]
    count = 0
    while pending:
        value = pending.pop()
        if value and isinstance(value, Mapping):
            pending.extend(value.values())
        elif value and isinstance(value, (list, tuple)):
            pending.extend(value)
        else:
            count += 1
    return count > _MAX_REFERENCES


def idempotency_key(known: ReviewedTool, arguments: Mapping[str, Json]) -> str | None:
    """The value of the argument that the review names as the idempotency key."""
    if known.review.idempotency is None:
        return None
    for leaf in leaves(arguments, _MAX_REFERENCES):
        if leaf.pointer == known.review.idempotency and isinstance(leaf.value, str):
            return leaf.value
    return None


def bare(caller: SessionCaller, call: ProposedCall, reason: Reason, event: int | None, now: int) -> Decision:
    """A Deny that rests on no session; ``event`` is None only when the log can't take one."""
    return Decision(
        verdict=Deny((reason,)),
        session=caller.session,
        call_id=call.call_id,
        tool=call.tool,
        fingerprint=None,
        arguments_hash=digest(call.written()),
        policy_version=digest(b""),
        authority_version=digest(b""),
        event=event,
        expires_at=to_text(now),
    )


def _verdict(document: Mapping[str, Json]) -> Verdict:
    """An Allow or a Deny; an Ask is never given again as it was."""
    listed = document["reasons"]
    reasons = tuple(_reason(item) for item in listed if isinstance(item, Mapping)) if isinstance(listed, list) else ()
    if document["decision"] == "allow":
        return Allow(_whole(document["intent"]) or 0, reasons)
    return Deny(reasons)


def _reason(document: Mapping[str, Json]) -> Reason:
    code, text = str(document["code"]), str(document["text"])
    words = REASONS[code].text
    detail = text[len(words) + 2 :] if text != words else ""
    return Reason(code, detail, rule=_text(document.get("rule")), argument=_text(document.get("argument")))


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) else None
