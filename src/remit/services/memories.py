"""What each root session was shown, as flow asks of it: folded from the log, and kept in this process while it is used.

A lesson stands with the outcome that taught it, sealed like every value there, and names the one before it. So a memory
is brought up to date by walking back from the newest lesson to the one that it knows; where that is not found (a unit
was undone, another process wrote), it is made anew from the task and every lesson. What can't be opened any more
endorses nothing.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from remit.core.canonical import Json
from remit.core.events import Kind
from remit.core.people import Person
from remit.core.ports import PayloadSealer, Unit
from remit.core.sessions import FlowState, Segment, Session
from remit.core.values import EMAIL, Atom, atom
from remit.guards.json_in import parse
from remit.policy.lessons import Lesson
from remit.policy.memory import Memory, Profile
from remit.policy.task import Task

MOST_KEPT: Final = 512
"""Memories that one process holds; the least used goes, and is made again when it is asked for."""
LESSON: Final = "/lesson"


@dataclass(slots=True)
class _Kept:
    memory: Memory
    at: int
    mark: str


class Memories:
    """The memories of this process, by root session. A cache: everything in it can be made again from the store."""

    def __init__(self, profile: Profile = "balanced") -> None:
        """Judge under ``profile``."""
        self._profile: Profile = profile
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @property
    def profile(self) -> Profile:
        """Which rules are in force."""
        return self._profile

    async def of(
        self, unit: Unit, sealer: PayloadSealer, session: Session, flow: FlowState, owner: str | None
    ) -> Memory:
        """The memory of a root session as ``flow`` has it. ``owner`` is whom an autonomous agent works for."""
        kept = self._kept.get(session.root)
        fresh = await _since(unit, sealer, flow, kept.at if kept else -1, kept.mark if kept else "")
        if kept is None or fresh is None:
            memory = Memory(await _task(unit, sealer, session, owner), self._profile)
            kept = self._kept[session.root] = _Kept(memory, -1, "")
            fresh = await _since(unit, sealer, flow, -1, "") or []
        for one in fresh:
            kept.memory.learn(one)
        kept.at, kept.mark = flow.lesson, flow.lesson_mark
        self._kept.move_to_end(session.root)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return kept.memory


async def memory_before(
    unit: Unit,
    sealer: PayloadSealer,
    session: Session,
    flow: FlowState,
    owner: str | None,
    event: int,
    profile: Profile,
) -> Memory:
    """The memory of a root session as it was when the event with this index was written. Kept nowhere."""
    memory = Memory(await _task(unit, sealer, session, owner), profile)
    for one in await _since(unit, sealer, flow, -1, "", before=event) or []:
        memory.learn(one)
    return memory


def written(lesson: Lesson, flow: FlowState, mark: str) -> dict[str, Json]:
    """A lesson as it stands with its outcome: its own mark, and which one came before it."""
    before: Json = [flow.lesson, flow.lesson_mark]
    return {"before": before, "mark": mark, "lesson": _builtins(lesson)}


def _builtins(lesson: Lesson) -> Json:
    # Sets in order, so that one lesson has one spelling.
    found: Json = msgspec.to_builtins(lesson, order="deterministic")
    return found


async def _since(
    unit: Unit, sealer: PayloadSealer, flow: FlowState, at: int, mark: str, before: int | None = None
) -> list[Lesson] | None:
    """The lessons after the one at ``at``, oldest first; None when that one is not on the way back.

    With ``before`` only those that were written under a lower index.
    """
    found: list[Lesson] = []
    index, wanted = flow.lesson, flow.lesson_mark
    while (index, wanted) != (at, mark):
        if index < 0:
            return None
        document = await opened(unit, sealer, index, LESSON)
        if not isinstance(document, Mapping) or document.get("mark") != wanted:
            # Erased, or not what the state says: from here on back nothing is known, so nothing more endorses.
            found.append(_UNREADABLE)
            break
        if before is None or index < before:
            found.append(msgspec.convert(document["lesson"], Lesson))
        last = document["before"]
        index, wanted = (int(str(last[0])), str(last[1])) if isinstance(last, list) else (-1, "")
    return found[::-1]


_UNREADABLE: Final = Lesson(
    call="", tool="", server="", effect="read", read="", bound=False, wide=False, listing="anyone", cut=True
)


async def _task(unit: Unit, sealer: PayloadSealer, session: Session, owner: str | None) -> Task:
    """The task that the root session was started with, and who its principal is."""
    segments: list[Segment] = []
    kinds = [int(Kind.SESSION_STARTED)]
    for entry in await unit.log.find(after=-1, limit=1, kinds=kinds, session=session.root, agent=None):
        document = await opened(unit, sealer, entry.index, "/task")
        segments.extend(
            Segment(str(item.get("text", "")), "principal")
            for item in (document if isinstance(document, list) else ())
            if isinstance(item, Mapping) and item.get("source") == "principal"
        )
    return Task(segments, await _own(unit, session.principal or owner))


async def _own(unit: Unit, person_id: str | None) -> tuple[Atom, ...]:
    person = await unit.nouns.get(Person, person_id) if person_id else None
    if person is None:
        return ()
    found = (atom(kind, value) for kind, value in ((EMAIL, person.email), *person.identifiers))
    return tuple(one for one in found if one is not None)


async def opened(unit: Unit, sealer: PayloadSealer, index: int, pointer: str) -> Json:
    """A private value of an event; None where it was never there, or can no longer be opened."""
    for item in await unit.log.private(index):
        if item.pointer == pointer:
            opened = sealer.reveal(item, unit.org)
            return parse(opened[1]) if opened is not None else None
    return None
