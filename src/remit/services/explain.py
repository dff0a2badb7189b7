"""``remit explain``: why flow decided a call as it did, argument by argument, by the code that decides.

For a call of the log, the session is folded again up to that call: its task, the reviews of that time, the lessons, the
results' labels, what persons had answered. For a call that nobody has made, it is decided in a rehearsal, which leaves
nothing. Both answers rest on values that are sealed for a person, so they are for whoever may read those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from remit.core.agents import Agent
from remit.core.approvals import Approval, ApprovalState
from remit.core.calls import ProposedCall, parts_of
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller, SessionCaller
from remit.core.errors import Forbidden, NotFound, WrongState
from remit.core.events import Kind
from remit.core.labels import Labels
from remit.core.ports import Unit
from remit.core.servers import Server
from remit.core.sessions import FlowState, Session
from remit.core.tools import OutputReview, ToolReview
from remit.guards.json_in import parse
from remit.policy.adoption import ADOPTED, Adoption
from remit.policy.demands import Argument, Miss, by_members, deed, demanded, misses, use_of, uses
from remit.policy.exposure import exposures
from remit.policy.flow import result_labels, unseen_labels
from remit.policy.memory import Memory, Strength
from remit.services import adoptions, approve, endorsed, memories
from remit.services.decide import open_call
from remit.services.deps import Deps
from remit.services.recorded import first_flow
from remit.services.registry import find
from remit.services.rehearsal import rehearsed
from remit.services.subjects import subject

DECISIONS: Final = (Kind.DENIED, Kind.ASKED, Kind.INTENT)
_OUTCOMES: Final = (int(Kind.OUTCOME), int(Kind.UNKNOWN))
_ANSWERS: Final = (int(Kind.APPROVED), int(Kind.APPROVAL_DENIED))
_MOST: Final = 100_000
_CALL_ID: Final = "explain"


@dataclass(frozen=True, slots=True)
class _Before:
    """A session as it was when a call was decided."""

    memory: Memory
    tainted: bool
    shown_by: frozenset[tuple[str, str]]
    said: endorsed.Spoken
    planned: bool
    root: str
    fetches: int
    adopted: tuple[Adoption, ...]


async def explain_event(deps: Deps, caller: PersonCaller, index: int) -> dict[str, Json]:
    """Why the decision at this index was what it was.

    Raises ``NotFound`` for what is no decision, or not the caller's to read, ``WrongState`` for one whose values were
    erased.
    """
    async with deps.store.view(deps.org) as view:
        event = await _decision(view, index)
        session = await view.sessions.get(str(event["session"]))
        review, server = await _review_of(view, event)
        if session is None or review is None or server is None:
            raise NotFound(
                f"event {index} is about no call of a reviewed tool", hint="`remit audit show` has its codes."
            )
        await _check_readable(view, caller, session)
        written = await memories.opened(view, deps.sealer, index, "/arguments")
        arguments = parts_of(written)["arguments"]
        if not isinstance(arguments, Mapping):
            raise WrongState("the values of this call were erased", hint="What is left stands in `remit audit show`.")
        before = await _before(deps, view, session, event, index)
    found = _explained(before, review, server, arguments)
    return {
        "event": index,
        "session": session.id,
        "call": event.get("call"),
        "tool": review.tool,
        "fingerprint": review.fingerprint,
        "decision": event.get("decision"),
        "codes": event["codes"],
        **found,
    }


async def explain_call(
    deps: Deps, caller: PersonCaller, session_id: str, tool: str, arguments: Mapping[str, Json]
) -> dict[str, Json]:
    """What would be decided on a call, were it made now in this session, and why. Nothing of it stays."""
    async with deps.store.view(deps.org) as view:
        session = await view.sessions.get(session_id)
        if session is None or not await _may_read(view, caller, session):
            raise NotFound(f"there is no session {session_id}")
        authority = await deps.authority.current(view)
    async with rehearsed(deps, authority) as inner:
        proposed = ProposedCall(_CALL_ID, tool, arguments)
        holder = SessionCaller(deps.org, session.key, session.agent, session.id)
        decision = await open_call(inner, holder, proposed)
    document = decision.document()
    known = authority.tools.get(tool)
    explained: dict[str, Json] = _NOTHING
    if known is not None and document["fingerprint"] is not None:
        async with deps.store.view(deps.org) as view:
            now = await _now(deps, view, session)
        explained = _explained(now, known.review, known.server, arguments)
    return {
        "event": None,
        "session": session.id,
        "call": None,
        "tool": tool,
        "fingerprint": document["fingerprint"],
        "decision": document["decision"],
        "codes": [one.code for one in decision.verdict.reasons],
        "reasons": document["reasons"],
        **explained,
    }


# The session as it was


async def _before(deps: Deps, view: Unit, session: Session, event: Mapping[str, Json], index: int) -> _Before:
    root = await view.sessions.get(session.root) or session
    flow = await view.sessions.flow(session.root) or first_flow(session)
    agent = await view.nouns.get(Agent, session.agent)
    memory = await memories.memory_before(
        view, deps.sealer, session, flow, agent.owner if agent else None, index, deps.memories.profile
    )
    labels = event.get("labels")
    tainted = not isinstance(labels, Mapping) or labels.get("integrity") != "trusted"
    return _Before(
        memory,
        tainted,
        await _shown_by(deps, view, root, index),
        endorsed.spoken(await _answered(view, root, index, int(str(event["t"]))), int(str(event["t"]))),
        _planned(session),
        session.root,
        await _fetches(view, root, index),
        await _used(deps, view, event),
    )


def _planned(session: Session) -> bool:
    return session.plan is not None and session.plan.speaks


async def _now(deps: Deps, view: Unit, session: Session) -> _Before:
    flow = await view.sessions.flow(session.root) or first_flow(session)
    agent = await view.nouns.get(Agent, session.agent)
    owner = agent.owner if agent else None
    memory = await memories.memory_before(
        view, deps.sealer, session, flow, owner, await view.log.size(), deps.memories.profile
    )
    said = endorsed.spoken(await view.approvals.of_values(session.root), deps.clock.now())
    tainted = flow.labels.integrity != "trusted"
    return _Before(
        memory,
        tainted,
        flow.origins,
        said,
        _planned(session),
        session.root,
        flow.fetches,
        await adoptions.standing(deps, view, session, deps.clock.now()),
    )


async def _used(deps: Deps, view: Unit, event: Mapping[str, Json]) -> tuple[Adoption, ...]:
    """The adopted text that covered this call: its intent names it, as it names the question about a call."""
    named = await view.approvals.get(str(event.get("about")))
    if named is None or named.kind != "text":
        return ()
    adoption = adoptions.read(await approve.opened(deps, view, named))
    return () if adoption is None else (adoption,)


async def _shown_by(deps: Deps, view: Unit, root: Session, index: int) -> frozenset[tuple[str, str]]:
    """Which server had shown which label, read again from the results; one that was erased showed all it might."""
    flow = FlowState(org=root.org, root=root.id, labels=Labels("trusted"), calls=0, denials=0)
    reviews = {(one.tool, one.fingerprint): one for one in await view.nouns.all(ToolReview)}
    for one in await view.sessions.of_root(root.id):
        for entry in await view.log.find(after=-1, limit=_MOST, kinds=_OUTCOMES, session=one.id, agent=None):
            leaf = parse(entry.leaf)
            if entry.index >= index or not isinstance(leaf, Mapping):
                continue
            review = reviews.get((str(leaf.get("tool")), str(leaf.get("fp"))))
            output = review.output if review else OutputReview()
            result = await memories.opened(view, deps.sealer, entry.index, "/result")
            labels = unseen_labels(output) if result is None else result_labels(output, result, parse)
            flow = flow.showing(labels, str(leaf.get("tool")).partition("/")[0])
    return flow.shown_by


async def _fetches(view: Unit, root: Session, index: int) -> int:
    """How many calls of the effect ``fetch`` had been allowed."""
    effects = {(one.tool, one.fingerprint): one.effect for one in await view.nouns.all(ToolReview)}
    count = 0
    for one in await view.sessions.of_root(root.id):
        for entry in await view.log.find(after=-1, limit=_MOST, kinds=[Kind.INTENT], session=one.id, agent=None):
            leaf = parse(entry.leaf)
            if entry.index < index and isinstance(leaf, Mapping):
                count += effects.get((str(leaf.get("tool")), str(leaf.get("fp")))) == "fetch"
    return count


async def _answered(view: Unit, root: Session, index: int, at: int) -> list[Approval]:
    """The questions about values as they stood then: asked, and answered or not yet."""
    answers: dict[str, ApprovalState] = {}
    for session in await view.sessions.of_root(root.id):
        for entry in await view.log.find(after=-1, limit=_MOST, kinds=_ANSWERS, session=session.id, agent=None):
            leaf = parse(entry.leaf)
            if entry.index < index and isinstance(leaf, Mapping):
                answers[str(leaf.get("about"))] = "approved" if leaf.get("k") == int(Kind.APPROVED) else "denied"
    return [
        replace(one, state=answers.get(one.id, "pending"), expires_at=max(one.expires_at, at + 1))
        for one in await view.approvals.of_values(root.id)
        if one.asked_event < index
    ]


async def _decision(view: Unit, index: int) -> Mapping[str, Json]:
    found = await view.log.read(index, index + 1)
    event = parse(found[0].leaf) if found else None
    if not isinstance(event, Mapping) or event.get("k") not in [int(kind) for kind in DECISIONS]:
        raise NotFound(f"event {index} is no decision", hint="`remit audit tail` lists denials, questions and intents.")
    return event


async def _review_of(view: Unit, event: Mapping[str, Json]) -> tuple[ToolReview | None, Server | None]:
    """The review that was in force, and the server as it is now."""
    key, at = (event.get("tool"), event.get("fp")), int(str(event["t"]))
    reviews = [one for one in await view.nouns.all(ToolReview) if (one.tool, one.fingerprint) == key]
    before = [one for one in sorted(reviews, key=lambda one: one.reviewed_at) if one.reviewed_at <= at]
    if not before:
        return None, None
    return before[-1], await find(view, Server, before[-1].tool.partition("/")[0])


async def _may_read(view: Unit, caller: PersonCaller, session: Session) -> bool:
    """An auditor; or the owner, where the values are kept for the owner themselves."""
    agent = await view.nouns.get(Agent, session.agent)
    own = agent is not None and agent.answered_for_by(caller.person.id) and caller.person.state == "active"
    return caller.person.has("auditor", "administrator") or (own and subject(session, agent) == caller.person.id)


async def _check_readable(view: Unit, caller: PersonCaller, session: Session) -> None:
    if not await _may_read(view, caller, session):
        raise Forbidden("the values of this call are for an auditor, or for whom it was made if they own the agent")


# The explanation

_NOTHING: Final[dict[str, Json]] = {
    "tainted": None,
    "arguments": [],
    "call_demands": [],
    "verdict": None,
    "whole": True,
}


def _explained(before: _Before, review: ToolReview, server: Server, arguments: Mapping[str, Json]) -> dict[str, Json]:
    found = uses(review, arguments)
    asked = misses(
        before.memory, review, arguments, tainted=before.tainted, planned=before.planned, fetches=before.fetches
    )
    exposed = exposures(review, server, before.shown_by)
    every = (*asked, *exposed)
    still_open = endorsed.open_misses(every, before.said, before.root, review)
    covered = still_open if any(one.covers(review.tool, still_open) for one in before.adopted) else ()
    still_open = () if covered else still_open
    refused = [one for one in every if one.about_value and _key(before, server, one) in before.said.refused]
    needs = {
        one.argument.pointer: (one.rule, one.needs)
        for one in (demanded(before.memory, review, deed(review), found, before.fetches) if before.tainted else ())
    }
    return {
        "tainted": before.tainted,
        "arguments": [_argument(before, review, one, needs, every, still_open, covered) for one in found],
        "call_demands": [
            {"rule": one.rule, "text": endorsed.words(one), "met": one not in still_open}
            for one in every
            if not one.argument
        ],
        "verdict": "deny" if refused else "ask" if still_open else "allow",
        "whole": not before.memory.full,
    }


def _key(before: _Before, server: Server, miss: Miss) -> str:
    return endorsed.key_of(before.root, server.name, miss)


def _argument(
    before: _Before,
    review: ToolReview,
    one: Argument,
    needs: Mapping[str, tuple[str, int]],
    every: Sequence[Miss],
    still_open: Sequence[Miss],
    covered: Sequence[Miss],
) -> dict[str, Json]:
    grants = before.memory.endorsements(one.atom, one.role, review.effect)
    own = [miss for miss in every if miss.argument == one.pointer]
    rule, wanted = needs.get(one.pointer, ("", 0))
    said = by_members(before.memory, one, use_of(review, one), deed(review), before.fetches)
    grants = tuple(sorted((*filter(lambda each: each.level, said), *grants), key=lambda each: -each.level))
    adopted = any(miss in covered for miss in own)
    asked = bool(own) and not adopted and not any(miss in still_open for miss in own)
    best = max(grants[0].level if grants else 0, ADOPTED if adopted else 0)
    return {
        "argument": one.pointer,
        "role": one.role,
        "type": one.type,
        "value": one.value,
        "reading": one.atom.text if one.atom else None,
        "strength": 4 if asked else best,
        "granted": [*(_ASKED if asked else _ADOPTED if adopted else ()), *map(_grant, grants)],
        "needs": wanted,
        "demanded_by": list(dict.fromkeys([*([rule] if rule else []), *(miss.rule for miss in own)])),
        "met": not any(miss in still_open for miss in own),
    }


_FROM: Final[Mapping[str, str]] = {
    "B1": "it stands in the task, or is the principal's own",
    "B2": "made by a call of this session",
    "B3": "in the one record that the task names",
    "B4": "in one of few records that the task names",
    "B5": "in one of few records that endorsed arguments chose",
    "B7": "in the one record that the task hints at",
    "B8": "an author whom the task names wrote it",
    "B9": "a member posted it where the task says",
    "B10": "in the one record that is the most or the least",
    "B11": "a member of a list, of which the task wants every one",
    "B12": "a member of a list that the system keeps",
    "B13": "reckoned from endorsed amounts",
}


_ASKED: Final[tuple[dict[str, Json], ...]] = ({"rule": "B14", "strength": 4, "from": "a person said yes to it"},)
_ADOPTED: Final[tuple[dict[str, Json], ...]] = (
    {"rule": "B15", "strength": ADOPTED, "from": "it stands in a text that a person adopted"},
)


def _grant(one: Strength) -> dict[str, Json]:
    return {
        "rule": one.rule,
        "strength": one.level,
        "from": _FROM.get(one.rule, one.rule),
        "call": one.call,
        "path": one.path,
        "because": one.because or None,
    }
