"""The life of a tool call, after the effect: ``close_call`` is steps 10 to 12.

(10) The result is checked: it must have the shape of its kind, and credentials that Remit injected are taken out. Of a
    call that was under way when its session was killed nothing is shown.
(11) Its labels are joined into the state that the root session shares, in the same unit of work as
(12) the outcome, which is recorded before the result is returned to anyone.

An outcome that says *not done* releases what was reserved. *Unknown* stays spent, is listed, and a person settles it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, assert_never

from remit.core.calls import Call, CallState, Outcome
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller, SessionCaller
from remit.core.entitlements import Method, method_of
from remit.core.errors import BadInput, CallClosed, InvalidDocument, NotFound
from remit.core.events import EventDraft, Kind
from remit.core.labels import Labels
from remit.core.ports import Unit
from remit.core.sessions import FlowState, Session
from remit.core.tools import OutputReview, ToolReview
from remit.guards.json_in import as_json, parse
from remit.guards.results import WORDS, well_formed
from remit.guards.secrets import KnownSecrets, redact_known
from remit.policy.flow import result_labels, unseen_labels
from remit.services import learning
from remit.services.approve import give_back
from remit.services.authority import Authority
from remit.services.deps import Deps, require
from remit.services.learning import Taught
from remit.services.recorded import first_flow
from remit.services.subjects import subject, subject_of

_STOPPED: Final = "its session was killed while the call was under way, so nothing of it is shown"
_CREDENTIAL: Final = "the result was withheld: it held a credential"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What may be handed to the agent. ``altered`` says that ``result`` is not what came from upstream.

    ``withheld`` says why nothing of it may be: ``result`` is then a notice, which only a tool's result can be.
    """

    result: Json
    altered: bool
    labels: Labels
    event: int
    withheld: str = ""


async def close_call(
    deps: Deps,
    caller: SessionCaller,
    call_id: str,
    outcome: Outcome,
    secrets: KnownSecrets | None = None,
    *,
    by: str | None = None,
) -> Delivery:
    """Record what became of an allowed call and hand back what may be shown.

    ``by`` is the instance that forwarded it, None for a caller that forwards by itself. INVARIANT: only who was to
    forward a call says what became of it, asked in the unit that closes it: else an agent that chose the call id could
    say *failed* while its payment is under way, and get the amount back.

    Raises ``CallClosed`` when no such call is open under this id in the caller's session, ``Unavailable`` when the
    outcome can't be recorded: then nothing may be shown, and the call stays open until it counts as unknown.
    """
    clean = _cleaned(outcome.result, secrets)  # (10)
    async with deps.store.unit(deps.org) as unit:
        call = await unit.calls.get(caller.session, call_id)
        session = await unit.sessions.get(caller.session)
        if call is None or session is None or call.state != "open" or session.agent != caller.agent:
            raise CallClosed(f"no call is open under {call_id}")
        if call.instance != by:
            raise CallClosed(f"{call_id} is forwarded by another, who reports its outcome")
        checked = _checked(method_of(call.tool), outcome.result, clean)
        if call.stopped is not None:
            checked = _Checked(_notice(_STOPPED), ("result.stopped",), _STOPPED)
        flow = await unit.sessions.flow(session.root) or first_flow(session)
        authority = await deps.authority.current(unit)
        review = await output_of(unit, authority, call)
        tainted = flow.labels.integrity != "trusted"
        flow = flow.showing(_labels(outcome, review, checked.result), call.server)  # (11)
        agent = authority.agents.get(session.agent)
        taught = await learning.taught(
            deps, unit, session, flow, call, authority, outcome, checked.result, tainted=tainted
        )
        event = await _record(unit, session, subject(session, agent), call, outcome, checked, flow.labels, taught)
        await unit.sessions.put_flow(learning.after(flow, event, taught))  # (12)
    return Delivery(checked.result, checked.altered, flow.labels, event, checked.withheld)


async def give_up(unit: Unit, call: Call, session: Session | None, flow: FlowState | None) -> int:
    """An intent whose outcome nobody will report: unknown, spent, and the session has been shown who knows what."""
    if session is not None:
        flow = flow or first_flow(session)
        await unit.sessions.put_flow(flow.showing(await unseen(unit, call), call.server))
    await _settle_budgets(unit, call, spent=True)
    await unit.calls.put(replace(call, state="unknown", reservations=()))
    whose = await subject_of(unit, session) if session else call.session
    return await unit.log.append(_draft(Kind.UNKNOWN, call, session, whose, outcome="unknown"))


async def settle(
    deps: Deps, caller: PersonCaller, call_id: str, session_id: str | None, *, done: bool, because: str
) -> int:
    """A person found out what became of an unknown call. Not done gives nothing back: what was spent stays spent.

    Raises ``NotFound`` when there is no such unknown call, ``InvalidDocument`` when two sessions have one.
    """
    require(caller, "administrator", "auditor")
    async with deps.store.unit(deps.org) as unit:
        found = [
            call
            for call in await unit.calls.unfinished()
            if call.state == "unknown" and call.call_id == call_id and session_id in (None, call.session)
        ]
        if not found:
            raise NotFound(f"there is no unknown call {call_id}")
        if len(found) > 1:
            raise InvalidDocument(f"{call_id} is unknown in several sessions; name the session")
        call = found[0]
        session = await unit.sessions.get(call.session)
        await unit.calls.put(replace(call, state="done" if done else "failed"))
        whose = await subject_of(unit, session) if session else call.session
        draft = _draft(Kind.SETTLED, call, session, whose, outcome="done" if done else "failed")
        return await unit.log.append(replace(draft, actor=caller.person.id, private={"/because": because}))


@dataclass(frozen=True, slots=True)
class _Checked:
    """A result as it may be handed on, and the codes of what was done to it."""

    result: Json
    codes: tuple[str, ...] = ()
    withheld: str = ""

    @property
    def altered(self) -> bool:
        return bool(self.codes)


def _cleaned(result: Json, secrets: KnownSecrets | None) -> _Checked:
    """The result without credentials of ours; nothing of one in which they can't be told from the rest.

    INVARIANT: before the unit of work, since a long result takes its time and others would wait for it.
    """
    if result is None or secrets is None:
        return _Checked(result)
    clean, count = redact_known(as_json(result), secrets)
    if not count:
        return _Checked(result)
    try:
        return _Checked(parse(clean), ("result.redacted",))
    except BadInput:
        return _Checked(_notice(_CREDENTIAL), ("result.redacted",), _CREDENTIAL)


def _checked(method: Method, received: Json, clean: _Checked) -> _Checked:
    """``clean``, or a notice in place of what has not the shape of its kind."""
    if received is None or well_formed(method, received):
        return clean
    why = f"the result was withheld: it is not {WORDS[method]}"
    return _Checked(_notice(why), ("result.malformed",), why)


def _notice(text: str) -> Json:
    return {"isError": True, "content": [{"type": "text", "text": f"Remit: {text}."}]}


async def unseen(unit: Unit, call: Call) -> Labels:
    """What a result that Remit did not see may have shown: anything, with every secret that its review names."""
    return unseen_labels(await _reviewed_output(unit, call))


async def output_of(unit: Unit, authority: Authority, call: Call) -> OutputReview:
    """The output as it was reviewed when the call was allowed: from memory where that review is still in force."""
    known = authority.tools.get(call.tool)
    same = known is not None and known.review.fingerprint == call.fingerprint
    return known.review.output if known and same else await _reviewed_output(unit, call)


async def _reviewed_output(unit: Unit, call: Call) -> OutputReview:
    """The output as it was reviewed when the call was allowed; a later review does not speak of it."""
    reviews = await unit.nouns.all(ToolReview)
    found = [one for one in reviews if (one.tool, one.fingerprint) == (call.tool, call.fingerprint)]
    return found[-1].output if found else OutputReview()


def _labels(outcome: Outcome, review: OutputReview, result: Json) -> Labels:
    """What was shown. A protocol error is upstream's text; nothing at all was shown when nothing was sent."""
    if outcome.not_acted:
        return Labels("trusted")
    if result is None:
        return unseen_labels(review)
    return result_labels(review, result, parse)


async def _record(  # each is one fact of the outcome
    unit: Unit,
    session: Session,
    whose: str,
    call: Call,
    outcome: Outcome,
    checked: _Checked,
    labels: Labels,
    taught: Taught | None,
) -> int:
    if checked.codes:
        await unit.log.append(_draft(Kind.REDACTED, call, session, whose, codes=checked.codes))
    match outcome.kind:
        case "unknown":
            await _settle_budgets(unit, call, spent=True)
            state: CallState = "unknown"
        case "done" | "failed":
            await _settle_budgets(unit, call, spent=not _not_done(outcome), proven=_succeeded(outcome))
            state = outcome.kind
            if outcome.not_acted and call.intent is not None:
                await unit.calls.untouch(call.root, call.intent)
            if outcome.not_acted and call.approval is not None and session.state == "active":
                await give_back(unit, call.approval)
        case _ as unreachable:
            assert_never(unreachable)
    await unit.calls.put(replace(call, state=state, reservations=()))
    kind = Kind.UNKNOWN if state == "unknown" else Kind.OUTCOME
    private: dict[str, Json] = {}
    if checked.result is not None:
        private["/result"] = checked.result
    if outcome.error is not None:
        private["/error"] = outcome.error
    if outcome.heard is not None:
        private["/frames"] = outcome.heard
    if taught is not None:
        private[learning.POINTER] = taught.document
    draft = _draft(
        kind, call, session, whose, outcome=outcome.kind, codes=checked.codes, labels=labels, private=private
    )
    return await unit.log.append(draft)


def _not_done(outcome: Outcome) -> bool:
    """Whether an outcome says that nothing was done: never sent, refused as a request, or so reported by the caller.

    A tool that acts and then answers an error is spent: otherwise who provokes errors has no limit.
    """
    return outcome.kind != "done" and outcome.result is None and not outcome.may_have_acted


def _succeeded(outcome: Outcome) -> bool:
    """Whether a later call may stand on this one: it was done, and its tool reports no error."""
    failed = isinstance(outcome.result, Mapping) and outcome.result.get("isError", False) is not False
    return outcome.kind == "done" and isinstance(outcome.result, Mapping) and not failed


async def _settle_budgets(unit: Unit, call: Call, *, spent: bool, proven: bool = False) -> None:
    for item in call.reservations:
        await unit.counters.settle(item, spent=proven if item.proves else spent)


def _draft(  # each is one member of the event
    kind: Kind,
    call: Call,
    session: Session | None,
    whose: str,
    *,
    outcome: str | None = None,
    codes: tuple[str, ...] = (),
    labels: Labels | None = None,
    private: Mapping[str, Json] | None = None,
) -> EventDraft:
    """An event of this call, its values kept under the key of ``whose``."""
    agent = session.agent if session else call.session
    return EventDraft(
        kind=kind,
        actor=agent,
        subject=whose,
        agent=agent,
        chain=session.chain if session else (),
        session=call.session,
        call=call.call_id,
        tool=call.tool,
        fingerprint=call.fingerprint,
        intent=call.intent,
        outcome=outcome,
        codes=codes,
        labels=labels,
        private=private or {},
    )
