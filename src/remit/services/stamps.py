"""Stamps: which records an untrusted session wrote, told to every later session of the same person (FLOW_RULES H2).

What an attacker has an agent write looks like the person's own in the next session. So such a record is nobody's own
there, and no name of it finds it: its values endorse nothing but membership of a list that the system keeps. It stays
a twin of others of its name. Within the session that wrote it, it is what it was.
"""

from collections.abc import Iterable
from dataclasses import replace

from remit.core.canonical import canonical, digest
from remit.core.ports import Unit
from remit.core.values import Atom
from remit.policy.lessons import Lesson


def marks_of(atoms: Iterable[Atom]) -> tuple[str, ...]:
    """How records with these ids are kept: as hashes."""
    return tuple(dict.fromkeys(_mark(f"{one.type}\x00{one.text}") for one in atoms))


async def without_custody(unit: Unit, whose: str, root: str, lesson: Lesson) -> Lesson:
    """The lesson, in which records that sessions under other roots wrote are nobody's own."""
    if not lesson.records or not await unit.stamps.some(whose, root):
        return lesson
    marks = {record.key: _mark(record.key) for record in lesson.records}
    written = await unit.stamps.among(whose, root, tuple(marks.values()))
    if not written:
        return lesson
    records = tuple(
        replace(record, own=False, stamped=True) if marks[record.key] in written else record
        for record in lesson.records
    )
    return replace(lesson, records=records)


def _mark(key: str) -> str:
    return digest(canonical(["remit/v1/stamp", key]))
