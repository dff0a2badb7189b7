"""What a root session was shown, folded from its lessons, and how strongly each value in it is endorsed.

Strength: 3 named, 2 bound, 1 listed, 0 nothing; 4, a person's yes, is kept with the questions. Every grant is one rule,
by its id, and says where the value stood. Nothing here looks at text of third parties, since no lesson holds any.

INVARIANT: learning another record never raises what an earlier record's fields have, but where the rule is about
evidence over many (B10, B13); it may lower it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from remit.core.tools import ArgumentRole, Effect
from remit.core.values import DATE, GLOBAL, IDENTITIES, MONEY, Atom
from remit.policy.arithmetic import derivation
from remit.policy.lessons import QUOTED_NAME, Lesson, Record, Said
from remit.policy.task import Task

Profile: TypeAlias = Literal["balanced", "strict"]

BOUND: Final = 20_000
"""Values that a memory holds; records that come later endorse nothing."""
MOST_PLACES: Final = 64
"""Places of one value that are remembered; one that comes later endorses nothing."""
MOST_PROMISING: Final = 256
"""Amounts that may be reckoned with; where there are more, nothing is reckoned (rule B13 takes twelve at most)."""
MOST_COUNTED: Final = 2_000
"""Identities of one tool among which the most or fewest is looked for (rule B10)."""
FEW: Final = 3
ENDORSED: Final = 2
"""The strength from which a value chooses what is read, and is reckoned with."""
_NAMED: Final = 3
_NUMERIC: Final = frozenset({MONEY, DATE})


@dataclass(frozen=True, slots=True)
class Strength:
    """How strongly a value is endorsed, by which rule, and where it stood: a call and a field, if it was shown."""

    level: int
    rule: str = ""
    call: str | None = None
    path: str | None = None
    because: str = ""


NOTHING: Final = Strength(0)


@dataclass(slots=True)
class _Read:
    """All calls of one tool that differ only in paging."""

    listing: str
    bound: bool
    wide: bool
    keys: set[str] = field(default_factory=set)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    hinted: frozenset[str] | None = None  # the records that a token points at alone; None until it is asked for
    extremes: dict[tuple[str, bool], tuple[Decimal | str, set[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stood: a record, its read, the call, the field."""

    record: str
    read: str
    call: str
    path: str


class Memory:
    """The fold. ``learn`` is the only way to change it; the rest are questions."""

    def __init__(self, task: Task, profile: Profile = "balanced", off: frozenset[str] = frozenset()) -> None:
        """``off`` names rules, or conditions of rules such as ``B5.own``, that are left out: for tests of the rules."""
        self.task = task
        self.full = False
        self._off = off | ({"B4"} if profile == "strict" else frozenset())
        self.profile: Profile = profile
        self._records: dict[str, Record] = {}
        self._reads: dict[str, _Read] = {}
        self._places: dict[Atom, list[_Place]] = {}
        self._named: dict[str, set[str]] = {}
        self._named_own: dict[str, set[str]] = {}
        self._minted: dict[Atom, str] = {}
        self._promising: dict[Atom, None] = {}
        self._values = 0
        self.done: set[tuple[str, frozenset[Atom]]] = set()
        self.strayed: set[Atom] = set()
        self._posted: dict[Atom, Strength] = {}
        self._authored: dict[Atom, Strength] = {}
        self._tallies: dict[str, dict[Atom, set[str]]] = {}
        self._counted: dict[str, set[Atom]] = {}
        self._members: dict[str, set[Atom]] = {}

    def demands(self, rule: str) -> bool:
        """Whether a rule that demands something is in force."""
        return rule not in self._off

    # Learning

    def learn(self, one: Lesson) -> None:
        """Add a finished call."""
        read = self._reads.setdefault(one.read, _Read(one.listing, one.bound, one.wide))
        read.bound = read.bound and one.bound
        read.wide = read.wide or one.wide
        for atom in one.minted:
            self._minted.setdefault(atom, one.call)
        if one.targets:
            self.done.add((one.tool, frozenset(one.targets)))
        self.strayed.update(one.strayed)
        for link in one.links:
            self._posted.setdefault(link.atom, Strength(ENDORSED, "B9", one.call, link.path))
        for said in one.authored:
            self._authored.setdefault(said.atom, Strength(ENDORSED, "B8", one.call, said.path))
        if one.whole and not self.full:
            self._tally(one)
        self.full = self.full or one.cut
        for record in one.records:
            self._add(one, read, record)

    def _tally(self, one: Lesson) -> None:
        """Count how often each identity stands in a read that came whole, and how much each container holds (B10)."""
        tally = self._tallies.setdefault(one.tool, {})
        self._counted.setdefault(one.tool, set()).update(one.container)
        for record in one.records:
            seen = {said.atom for said in record.said if said.atom.type not in _NUMERIC}
            for atom in (*one.container, *seen):
                tally.setdefault(atom, set()).add(record.key)
            if one.listing == "system" and not one.container:
                for atom in seen:
                    self._members.setdefault(atom.type, set()).add(atom)

    def posted(self, atom: Atom | None) -> Strength:
        """What it is worth that a member posted this address in a container that the task names (rule B9)."""
        return self._posted.get(atom, NOTHING) if atom is not None and "B9" not in self._off else NOTHING

    def authored(self, atom: Atom | None) -> Strength:
        """What it is worth that an author whom the task names wrote this address, or this name in quotes (rule B8)."""
        if atom is None or "B8" in self._off:
            return NOTHING
        name = atom if atom.type in GLOBAL else Atom(QUOTED_NAME, atom.text)
        return self._authored.get(name, NOTHING)

    def _add(self, one: Lesson, read: _Read, record: Record) -> None:
        # What fits a phrase counts also past the bound: a twin must be seen.
        for phrase in record.names | record.open_names:
            self._named.setdefault(phrase, set()).add(record.key)
        read.keys.add(record.key)
        read.hinted = None
        self._values += len(record.said)
        if self._values > BOUND:
            self.full = True
            return
        known = self._records.get(record.key)
        kept = self._records[record.key] = record if known is None else _joined(known, record)
        for phrase in kept.names | kept.open_names:
            # INVARIANT: custody is only lost: a record that anybody shows as another's is nobody's own.
            own = self._named_own.setdefault(phrase, set())
            (own.add if kept.own else own.discard)(record.key)
        for token in record.tokens & self.task.vocabulary:
            read.tokens.setdefault(token, set()).add(record.key)
        for said in record.said:
            places = self._places.setdefault(said.atom, [])
            if len(places) < MOST_PLACES:
                places.append(_Place(record.key, one.read, one.call, said.path))
            self._rank(read, record, said)
            promising = said.atom.type == MONEY and len(self._promising) <= MOST_PROMISING
            if promising and (record.names or record.open_names or read.bound):
                self._promising[said.atom] = None

    def _rank(self, read: _Read, record: Record, said: Said) -> None:
        """Keep the extremes of every number and date of a listing (rule B10)."""
        if said.atom.type not in _NUMERIC:
            return
        value: Decimal | str = Decimal(said.atom.text) if said.atom.type == MONEY else said.atom.text
        for largest in (True, False):
            place = (said.path, largest)
            best = read.extremes.get(place)
            if best is None or (value > best[0] if largest else value < best[0]):  # type: ignore[operator]  # one field has one type
                read.extremes[place] = (value, {record.key})
            elif value == best[0]:
                best[1].add(record.key)

    # Strength

    def strength(self, atom: Atom | None, role: ArgumentRole, effect: Effect) -> Strength:
        """The strongest endorsement of an atom for one use, and why."""
        if atom is None:
            return NOTHING
        best = NOTHING
        for found in self._grants(atom, role, effect):
            if found.level > best.level and found.rule not in self._off:
                best = found
                if best.level == _NAMED:
                    break
        return best

    def endorsements(self, atom: Atom | None, role: ArgumentRole, effect: Effect) -> tuple[Strength, ...]:
        """Every endorsement of an atom for one use, the strongest first."""
        found = () if atom is None else (one for one in self._grants(atom, role, effect) if one.rule not in self._off)
        return tuple(sorted(dict.fromkeys(found), key=lambda one: -one.level))

    def _grants(self, atom: Atom, role: ArgumentRole, effect: Effect) -> Iterator[Strength]:
        if self.task.names(atom):
            yield Strength(3, "B1")
        if atom in self._minted:
            yield Strength(3, "B2", self._minted[atom])
        if self.task.wants_count != (False, False):
            for tool in self._tallies:
                if self._unique_count(tool, atom):
                    yield Strength(2, "B10", because=f"the most or fewest, by {tool}")
        identity = role == "who" or atom.type in IDENTITIES
        for place in self._places.get(atom, ()):
            yield from self._placed(atom, place, effect, identity=identity)
        if atom.type == MONEY:
            found = derivation(Decimal(atom.text), self._operands(), self.task)
            if found is not None:
                yield Strength(2, "B13", because=found)

    def _placed(self, atom: Atom, place: _Place, effect: Effect, *, identity: bool) -> Iterator[Strength]:
        """What one place where a value stood is worth."""
        record, read = self._records[place.record], self._reads[place.read]
        for rule, level in self._rules(atom, record, read, effect, identity=identity):
            yield Strength(level, rule, place.call, place.path)

    def _rules(
        self, atom: Atom, record: Record, read: _Read, effect: Effect, *, identity: bool
    ) -> Iterator[tuple[str, int]]:
        if not record.stamped or not self.demands("H2"):
            yield from self._standing(atom, record, read, effect, identity=identity)
        elif read.listing == "system":
            yield "B12", 1

    def _standing(
        self, atom: Atom, record: Record, read: _Read, effect: Effect, *, identity: bool
    ) -> Iterator[tuple[str, int]]:
        wide = read.wide or not self.demands("B6")
        if wide and any(self._unique(record, phrase) for phrase in record.names | record.open_names):
            yield "B3", 3
        if any(len(self._named[phrase]) <= FEW or not self.demands("B4.few") for phrase in record.names):
            yield "B4", 2
        if self._few_and_bound(read) and (record.own or not identity or not self.demands("B5.own")):
            yield "B5", 2
        if wide and self._hinted(record, read):
            yield "B7", 2
        if wide and self._extreme(record, read):
            yield "B10", 3
        if read.listing == "system":
            if effect == "write" and self.task.every(atom.type.rpartition(":")[2]):
                yield "B11", 2
            hints = self.demands("B7.others") and any(len(keys) for keys in read.tokens.values())
            if not hints or self._hinted(record, read):
                yield "B12", 1

    def _unique_count(self, tool: str, atom: Atom) -> bool:
        """Whether this is the one that is counted most, or fewest, over reads that cover a whole system listing."""
        tally, containers = self._tallies[tool], self._counted[tool]
        kinds = {one.type for one in containers}
        covered = {kind for kind in kinds if (every := self._members.get(kind)) and every <= containers}
        if not covered or len(tally) > MOST_COUNTED:
            return False
        listed = self._members.get(atom.type, set())
        among = listed if atom.type in covered else {one for one in tally if one.type == atom.type} | listed
        if atom not in among:
            return False
        counts = {one: len(tally.get(one, ())) for one in among}
        most, fewest = self.task.wants_count
        for wanted, best in ((most, max(counts.values())), (fewest and bool(listed), min(counts.values()))):
            if wanted and counts[atom] == best and sum(count == best for count in counts.values()) == 1:
                return True
        return False

    def _few_and_bound(self, read: _Read) -> bool:
        few = len(read.keys) <= FEW or not self.demands("B5.few")
        return few and (read.bound or not self.demands("B5.bound"))

    def _unique(self, record: Record, phrase: str) -> bool:
        fits = self._named[phrase]
        if fits == {record.key} or not self.demands("B3.unique"):
            return True
        if phrase in record.names:
            return False
        return self._named_own.get(phrase) == {record.key}

    def _hinted(self, record: Record, read: _Read) -> bool:
        if read.hinted is None:
            read.hinted = frozenset(next(iter(keys)) for keys in read.tokens.values() if len(keys) == 1)
        return record.key in read.hinted

    def _extreme(self, record: Record, read: _Read) -> bool:
        wants = dict(zip((True, False), self.task.wants_extreme, strict=True))
        return any(
            wants[largest] and (keys == {record.key} or (record.key in keys and not self.demands("B10.unique")))
            for (_, largest), (_, keys) in read.extremes.items()
        )

    def _operands(self) -> list[Decimal]:
        found = dict.fromkeys(self.task.amounts)
        if len(self._promising) > MOST_PROMISING:
            return []
        for atom in self._promising:
            if any(
                level >= ENDORSED
                for place in self._places[atom]
                for _, level in self._rules(
                    atom, self._records[place.record], self._reads[place.read], "write", identity=False
                )
            ):
                found[Decimal(atom.text)] = None
        return list(found)

    # Objects

    def owns(self, atom: Atom) -> bool | None:
        """Whether an object is in the principal's custody; None for one that was never shown."""
        if atom in self._minted:
            return True
        found = self._records.get(f"{atom.type}\x00{atom.text}")
        return None if found is None else found.own


def _joined(old: Record, new: Record) -> Record:
    """The same record shown again: what either showing says of it."""
    said = tuple(dict.fromkeys((*old.said, *new.said)))
    return Record(
        old.key,
        said,
        old.names | new.names,
        old.open_names | new.open_names,
        old.tokens | new.tokens,
        old.own and new.own,
        old.stamped or new.stamped,
    )


def fold(memory: Memory, lessons: Iterable[Lesson]) -> Memory:
    """The memory after these lessons, which is the same one."""
    for one in lessons:
        memory.learn(one)
    return memory
