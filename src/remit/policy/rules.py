"""Countable rules, judged: what one call would take under each rule, and whether what was taken before leaves room.

Pure: ``claims`` says what to look up and to hold, ``refusal`` judges it against what the store has. Both happen in the
unit of work that writes the intent, so nothing can come between.

A key of *once* has several spellings in the store, and a call is refused where any of them was taken. INVARIANT:
folding may only join keys, never part them: two invoices taken for one are refused and seen, one taken for two is paid
twice.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from remit.core import amounts
from remit.core.canonical import Json, canonical, digest
from remit.core.decisions import Reason
from remit.core.rules import Ceiling, First, Once, Rule
from remit.core.times import MINUTE
from remit.core.values import deceptive

CALLS: Final = "calls"
MOST_KEYS: Final = 256
"""Keys that one call may carry under one rule."""
_LONGEST: Final = 2_048
_RUNS: Final = re.compile(r"[^\W\d_]+|\d+")
_ZEROS: Final = re.compile(r"(?<!\d)0+(?=\d)")


@dataclass(frozen=True, slots=True)
class Party:
    """Who makes a call, as rules count: the root session, every agent of the chain, and the person it is done for."""

    root: str
    agents: tuple[str, ...]
    person: str

    def holders(self, rule: Rule) -> tuple[str, ...]:
        """Whose counts a rule's are. Each agent of a chain is counted for itself: a sub-agent's call is theirs too."""
        match rule.per:
            case "session":
                return (self.root,)
            case "agent":
                named = tuple(dict.fromkeys(self.agents))
                return tuple(one for one in named if one in rule.agents) if rule.agents else named
            case "person":
                return (self.person,)
            case "team" | "organisation":
                return (rule.per,)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as rules see it: its tool, its arguments, and what its review counts, by name, with the units."""

    ref: str
    arguments: Mapping[str, Json]
    taken: Mapping[str, int]
    units: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """One row to look at. ``look`` judges what is there; ``amount`` is then held, nothing when it is zero.

    ``proves`` marks what a later call may stand on: it counts only once the call was done.
    """

    rule: Rule
    look: Literal["room", "free", "done", "none"]
    scope: str
    name: str
    bucket: int
    since: int
    amount: int
    proves: bool = False
    before: str = ""  # the tool that must have been called


def holds_for(rule: Rule, party: Party) -> bool:
    """Whether a rule is about this chain at all."""
    return not rule.agents or any(agent in rule.agents for agent in party.agents)


def claims(rules: Iterable[Rule], asked: Asked, party: Party, now: int) -> tuple[Claim, ...] | Reason:
    """Everything to look up and to hold for one call, or why a rule can't tell. ``rules`` are those that reach it."""
    found: list[Claim] = []
    for rule in rules:
        if not holds_for(rule, party):
            continue
        made = _claims(rule, asked)
        if isinstance(made, Reason):
            return made
        bucket, since = (0, 0) if rule.window is None else (now // MINUTE, (now - rule.window) // MINUTE)
        for holder in party.holders(rule):
            scope = f"{rule.id}/{rule.per}/{holder}"
            found += [
                Claim(rule, one.look, scope, one.name, bucket, since, one.amount, one.proves, one.before)
                for one in made
            ]
    return tuple(found)


def persons_wanted(rules: Iterable[Rule], asked: Asked, party: Party) -> int | Reason:
    """How many different persons must say yes to this call, or why a rule can't tell; 0 where none says so."""
    most = 0
    for rule in rules:
        if rule.approvals is None or not holds_for(rule, party):
            continue
        above = rule.approvals.above
        if above is not None:
            taken = asked.taken.get(above.name)
            if taken is None or (above.name != CALLS and asked.units.get(above.name) != above.unit):
                return Reason("rule.uncountable", f"{rule.says} ({above.name})", rule=rule.name)
            if taken <= above.most:
                continue
        most = max(most, rule.approvals.persons)
    return most


def refusal(claim: Claim, spent: int, reserved: int) -> Reason | None:
    """Why a claim has no room beside what was taken; None when it has."""
    rule, before = claim.rule, spent + reserved
    match claim.look:
        case "room":
            ceiling = rule.ceiling
            if ceiling is None or before + claim.amount <= ceiling.most:
                return None
            words = (
                f"{ceiling.name}: {amounts.to_text(before)} is taken and {amounts.to_text(claim.amount)} asked, of "
                f"{amounts.to_text(ceiling.most)} per {rule.per}{_within(rule)}"
            )
            return Reason("rule.exceeded", f"{rule.says} ({words})", rule=rule.name)
        case "free":
            return Reason("rule.once", rule.says, rule=rule.name) if before else None
        case "done":
            # INVARIANT: only what is spent. A call that is under way, or whose outcome nobody knows, was not done.
            return None if spent else Reason("rule.first", f"{rule.says} ({claim.before})", rule=rule.name)
        case "none":
            return None


@dataclass(frozen=True, slots=True)
class _Made:
    look: Literal["room", "free", "done", "none"]
    name: str
    amount: int
    proves: bool = False
    before: str = ""


def _claims(rule: Rule, asked: Asked) -> list[_Made] | Reason:
    if rule.approvals is not None:
        return []  # nothing is counted
    if rule.ceiling is not None:
        return _under_ceiling(rule, rule.ceiling, asked)
    if rule.once is not None:
        return _once(rule, rule.once, asked)
    return _first(rule, rule.first, asked) if rule.first is not None else []


def _under_ceiling(rule: Rule, ceiling: Ceiling, asked: Asked) -> list[_Made] | Reason:
    amount = asked.taken.get(ceiling.name)
    if amount is None:
        return Reason("rule.uncountable", f"the review of {asked.ref} counts no {ceiling.name}", rule=rule.name)
    if ceiling.name != CALLS and asked.units.get(ceiling.name) != ceiling.unit:
        return Reason("rule.uncountable", f"{ceiling.name} is counted there in another unit", rule=rule.name)
    return [_Made("room", ceiling.name, amount)]


def _once(rule: Rule, once: Once, asked: Asked) -> list[_Made] | Reason:
    keys = list(_keys(once.by, asked.arguments))
    bad = next((pointer for pointer, key in keys if key is None), None)
    if bad is not None or not keys or len(keys) > MOST_KEYS:
        return Reason("rule.uncountable", "the key is missing or has no one reading", rule=rule.name, argument=bad)
    names = [name for _, key in keys if key is not None for name in key]
    if len(set(names)) != len(names):
        return Reason("rule.once", f"{rule.says} (twice in this call)", rule=rule.name, argument=once.by[0])
    return [_Made("free", name, amounts.ONE) for name in names]


def _first(rule: Rule, first: First, asked: Asked) -> list[_Made] | Reason:
    """What a call proves for later ones, where it is one of those to come first; what it needs, where it is reached."""
    if asked.ref in first.tools:
        # What can't be told proves nothing, and is no reason to refuse a call that the rule is not about.
        key = _exact([there for _, there in sorted(first.same.items())], asked.arguments)
        # It is asked for nothing itself: else nothing could ever begin.
        return [] if key is None else [_Made("none", f"{asked.ref} {key}", amounts.ONE, proves=True)]
    pointers = [here for here, _ in sorted(first.same.items())]
    key = _exact(pointers, asked.arguments)
    if key is None:
        return Reason("rule.uncountable", "what must be the same is missing", rule=rule.name, argument=pointers[0])
    return [_Made("done", f"{ref} {key}", 0, before=ref) for ref in first.tools]


# Keys


def _keys(by: Sequence[str], arguments: Mapping[str, Json]) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Each key of a call with its pointer. Only a key of one pointer may go through a list, item by item."""
    if len(by) > 1:
        yield by[0], _key(by, arguments)
        return
    for value in at(arguments, by[0].split("/")[1:]):
        yield by[0], _hashed([spellings(value)])


def _key(pointers: Sequence[str], arguments: Mapping[str, Json]) -> tuple[str, ...] | None:
    parts = [spellings(value) for pointer in pointers for value in at(arguments, pointer.split("/")[1:])]
    return _hashed(parts)


def _exact(pointers: Sequence[str], arguments: Mapping[str, Json]) -> str | None:
    """The key of *first*, byte for byte. INVARIANT: nothing is folded: two that fold alike would prove each other."""
    found = [_plain(value) for pointer in pointers for value in at(arguments, pointer.split("/")[1:])]
    return None if any(text is None for text in found) else digest(canonical([text or "" for text in found]))


def _hashed(parts: Sequence[tuple[str, str] | None]) -> tuple[str, ...] | None:
    """The names under which a key is kept: hashed, since rows can't be erased. Alike for every tool and argument."""
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    return tuple(digest(canonical([way, *(part[way] for part in known)])) for way in (0, 1))


def spellings(value: Json) -> tuple[str, str] | None:
    """A value as *once* compares it; None for what has no one reading.

    Case, white space and punctuation do not part two keys. Nor do zeros before a number: once looked for in the joined
    text and once between the signs, since ``0017`` may be a number or a group of one.
    """
    text = _plain(value)
    if text is None or len(text) > _LONGEST or deceptive(text):
        return None
    even = unicodedata.normalize("NFKC", text).casefold()
    runs = _RUNS.findall(even)
    if not runs:
        return None
    joined = _ZEROS.sub("", "".join(runs))
    return joined, "".join(_ZEROS.sub("", run) for run in runs)


def _plain(value: Json) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return canonical(value).decode()
    return None


def at(value: Json, path: Sequence[str]) -> Sequence[Json]:
    """What stands at a pointer, ``*`` for list items. What is left out is there as None: it can't be told."""
    if not path:
        return [value]
    head, rest = path[0].replace("~1", "/").replace("~0", "~"), path[1:]
    if head == "*" and isinstance(value, Sequence) and not isinstance(value, str):
        return [found for item in value for found in at(item, rest)]
    if isinstance(value, Mapping) and head in value:
        return at(value[head], rest)
    return [None]


def _within(rule: Rule) -> str:
    return "" if rule.window is None else f" in {rule.window // MINUTE} minutes"
