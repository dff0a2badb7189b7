"""Step 11, for values: what a finished call taught its root session, written beside the outcome.

The arguments are read back from the intent, where they were committed to, so that every door teaches the same. A call
whose review tells nothing of its output, and which is not of a kind that counts once, teaches and costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from remit.core.calls import Call, Outcome, parts_of
from remit.core.canonical import Json
from remit.core.ports import Unit
from remit.core.sessions import FlowState, Session
from remit.core.tools import ToolReview
from remit.core.values import Atom
from remit.guards.json_in import parse
from remit.policy.demands import container_of, deed, endorsed_by, strayed_to, targets, uses
from remit.policy.lessons import lesson
from remit.services import memories, stamps
from remit.services.authority import Authority
from remit.services.deps import Deps
from remit.services.subjects import subject

POINTER: Final = memories.LESSON
_MARK_BYTES: Final = 8
_WRITING: Final = ("write", "spend", "admin")


@dataclass(frozen=True, slots=True)
class Taught:
    """A lesson as it is written, and the mark that it carries."""

    document: dict[str, Json]
    mark: str


async def taught(
    deps: Deps,
    unit: Unit,
    session: Session,
    flow: FlowState,
    call: Call,
    authority: Authority,
    outcome: Outcome,
    result: Json,
    *,
    tainted: bool,
) -> Taught | None:
    """The lesson of a call that was forwarded, or None where there is none: a review that is no longer in force.

    ``tainted`` says that the session was untrusted when it made the call: what it wrote is stamped (FLOW_RULES H2).
    """
    known = authority.tools.get(call.tool)
    review = known.review if known else None
    if review is None or review.fingerprint != call.fingerprint:
        return None
    if call.intent is None or outcome.not_acted or not _tells(review):
        return None
    agent = authority.agents.get(session.agent)
    owner = agent.owner if agent else None
    written = await memories.opened(unit, deps.sealer, call.intent, "/arguments")
    arguments = parts_of(written)["arguments"]
    if not isinstance(arguments, Mapping):
        return None
    memory = await deps.memories.of(unit, deps.sealer, session, flow, owner)
    found = lesson(
        call.call_id,
        review,
        arguments,
        result,
        task=memory.task,
        endorsed=endorsed_by(memory, review, arguments),
        targets=targets(review, arguments),
        strayed=strayed_to(memory, review, arguments),
        container=container_of(review, arguments),
        parse=parse,
    )
    whose = subject(session, agent)
    if tainted and review.effect in _WRITING:
        marks = stamps.marks_of((*found.minted, *_written_to(review, arguments)))
        await unit.stamps.put(whose, session.root, marks)
    found = await stamps.without_custody(unit, whose, session.root, found)
    if not found.teaches:
        return None
    mark = deps.entropy.bytes(_MARK_BYTES).hex()
    return Taught(memories.written(found, flow, mark), mark)


def after(flow: FlowState, event: int, lesson: Taught | None) -> FlowState:
    """The flow state once the outcome at ``event`` was written with its lesson."""
    return flow if lesson is None else replace(flow, lesson=event, lesson_mark=lesson.mark)


def _written_to(review: ToolReview, arguments: Mapping[str, Json]) -> tuple[Atom, ...]:
    """The records that a call names, into which it wrote."""
    found = (one.atom for one in uses(review, arguments) if one.role == "reference")
    return tuple(one for one in found if one is not None)


def _tells(review: ToolReview) -> bool:
    return (
        bool(review.output.fields or review.mints)
        or deed(review) in ("spend", "share", "admin")
        or (
            review.effect in ("read", *_WRITING)
            and any(one.role in ("who", "reference") for one in review.arguments.values())
        )
    )
