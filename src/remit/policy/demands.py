"""What a call demands of its values once the session is tainted, and which of them fall short (FLOW_RULES C, D).

Each miss is one rule by its id, with the argument, the value, the strength it has and the strength that it would need.
A call with misses is put to a person, as one question. Nothing here allows anything: a call without a miss still stands
before policy, budgets and whatever else decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from remit.core.canonical import Json
from remit.core.tools import ArgumentReview, ArgumentRole, ToolReview
from remit.core.values import DATE, EMAIL, GLOBAL, HOST, IBAN, URL, Atom, atom, qualified
from remit.policy.flow import Leaf, leaves
from remit.policy.memory import NOTHING, Memory, Strength
from remit.policy.task import Task

MAX_LEAVES: Final = 20_000
MOST_FETCHES: Final = 6
"""Fetches of a session up to which an address that a member posted may be asked for unasked (rule B9)."""
Use: TypeAlias = Literal["who", "what", "own", "how_much", "disclosed", "link"]
Deed: TypeAlias = Literal["read", "fetch", "write", "share", "spend", "destroy", "admin"]

# Table C. What is not listed demands nothing.
TABLE: Final[Mapping[Deed, Mapping[Use, int]]] = {
    "read": {},
    "fetch": {"link": 2},
    "write": {"who": 2, "what": 1, "own": 2, "how_much": 2, "disclosed": 3, "link": 3},
    "share": {"who": 2, "what": 3, "own": 3, "disclosed": 3, "link": 3},
    "spend": {"who": 3, "what": 3, "own": 2, "how_much": 2, "disclosed": 3, "link": 3},
    "destroy": {"who": 3, "what": 3, "own": 3, "how_much": 3, "disclosed": 3, "link": 3},
    "admin": {"who": 3, "what": 3, "own": 3, "how_much": 3, "disclosed": 3, "link": 3},
}
TOOL: Final = "tool"
"""The type of the value that stands for a tool itself."""
STRAYED: Final = "beyond the task"
"""The type of the value that stands for a tool after a read that the task did not ask for."""
_FOREIGN: Final = 3
# What is left of a demand where the rule that raised it is left out.
_LAX: Final[Mapping[str, int]] = {"C1": 1, "C2": 1, "C3": 2}
_ONCE: Final[frozenset[Deed]] = frozenset({"spend", "share", "admin"})
_COMMITMENTS: Final[frozenset[Deed]] = frozenset({"write", "share", "spend", "admin"})
_WIDENING: Final = frozenset(
    {"force", "overwrite", "recursive", "permanent", "public", "permission", "permissions", "all"}
)
_TITLES: Final = frozenset({"title", "subject", "name", "heading"})
_PROSE: Final = frozenset({"body", "content", "text", "message", "description", "comment", "note", "summary", "reason"})
_REFERENCES: Final = (
    (EMAIL, re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")),
    (URL, re.compile(r"(?:h(?:tt|xx)ps?://|www\.)[^\s<>\"'()\[\]]+", re.IGNORECASE)),
    (URL, re.compile(r"\b(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}/[^\s<>\"'()\[\]]*")),
    (IBAN, re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")),
    (
        HOST,
        re.compile(
            r"\b(?:[A-Za-z0-9-]+\.)+(?:com|org|net|io|dev|info|biz|app|co|eu|de|uk|us|ru|cn|xyz|online|site|test|example)\b",
            re.IGNORECASE,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Miss:
    """One demand that was not met: the rule, the argument's pointer, the value, what it has and what it needs."""

    rule: str
    argument: str
    role: ArgumentRole
    value: str
    type: str
    has: Strength
    needs: int

    @property
    def about_value(self) -> bool:
        """Whether a person's yes to this value would meet the demand."""
        return self.rule in ("C", "C1", "C2", "C3", "C7", "C8", "D1", "D2", "H3") and bool(self.value)


@dataclass(frozen=True, slots=True)
class Demand:
    """What table C asks of one argument of this call, and how strongly its value is endorsed."""

    argument: "Argument"
    rule: str
    has: Strength
    needs: int


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as the review has it: where, which role, the atom (None where it has no single reading)."""

    pointer: str
    role: ArgumentRole
    type: str
    value: Json
    atom: Atom | None


def uses(review: ToolReview, arguments: Mapping[str, Json]) -> tuple[Argument, ...]:
    """Every scalar of the arguments with its role and atom; what was not reviewed has the default of FLOW_RULES E."""
    server = review.tool.partition("/")[0]
    found = []
    for leaf in leaves(arguments, MAX_LEAVES):
        if leaf.rest:
            break
        told = review.arguments.get(leaf.general) or _default(leaf)
        kind = qualified(told.type, server, _name(leaf.general))
        found.append(Argument(leaf.pointer, told.role, kind, leaf.value, atom(kind, leaf.value)))
    # The walk takes the last first; people read from the beginning.
    return tuple(reversed(found))


def _name(general: str) -> str:
    parts = [part for part in general.split("/") if part not in ("", "*")]
    return parts[-1] if parts else ""


def _default(leaf: Leaf) -> ArgumentReview:
    """The role of an argument that nobody reviewed."""
    words = set(re.findall(r"[a-z]+", _name(leaf.general).lower()))
    if isinstance(leaf.value, str):
        return ArgumentReview(role="free_text" if words & _PROSE else "what")
    return ArgumentReview(role="what" if words & _WIDENING else "free")


def container_of(review: ToolReview, arguments: Mapping[str, Json]) -> dict[str, Atom]:
    """The arguments that say to whom or to what a read went, by pointer."""
    found = (one for one in uses(review, arguments) if one.role in ("who", "reference"))
    return {one.pointer: one.atom for one in found if one.atom is not None}


def endorsed_by(memory: Memory, review: ToolReview, arguments: Mapping[str, Json]) -> frozenset[str]:
    """The pointers of a call's own arguments that are endorsed, at strength 2 or by the words of the task (B5, B6)."""
    return frozenset(one.pointer for one in uses(review, arguments) if _endorsed(memory, one))


def strayed_to(memory: Memory, review: ToolReview, arguments: Mapping[str, Json]) -> tuple[Atom, ...]:
    """The containers and objects that a read went to without being endorsed for it (rule D2)."""
    if review.effect != "read":
        return ()
    found = (one for one in uses(review, arguments) if one.role in ("who", "reference") and one.atom is not None)
    return tuple(dict.fromkeys(one.atom for one in found if one.atom is not None and not _endorsed(memory, one)))


def _endorsed(memory: Memory, one: Argument) -> bool:
    if one.role == "free" or memory.strength(one.atom, one.role, "write").level >= 2:  # noqa: PLR2004 - bound
        return True
    return isinstance(one.value, str) and memory.task.phrase(one.value) is not None


def deed(review: ToolReview) -> Deed:
    """The row of table C: the effect, or ``share`` for a write that lets others read an object that is there."""
    shares = any("readers_of" in one for one in review.discloses)
    if review.effect == "write" and shares and any(one.role == "reference" for one in review.arguments.values()):
        return "share"
    return review.effect


def misses(
    memory: Memory,
    review: ToolReview,
    arguments: Mapping[str, Json],
    *,
    tainted: bool,
    planned: bool = False,
    fetches: int = MOST_FETCHES,
) -> tuple[Miss, ...]:
    """Every demand of this call that its values don't meet. In a session that is not tainted there is none.

    ``fetches`` is how many calls of this effect the session was allowed before.
    ``planned`` says that the tool stands in a plan that a host sealed (rule C9): that speaks for the tool, and for no
    value.
    """
    if not tainted:
        return ()
    found = uses(review, arguments)
    row = deed(review)
    if row == "read":
        return ()
    out = (
        *_values(memory, review, row, found, fetches),
        *_links_in_prose(memory, review, row, found),
        *_dates(memory.task, row, found),
        *_literals(memory.task, found),
        *_again(memory, review, row, found),
        *(() if planned else _unspoken(memory, review, row)),
        *_strayed(memory, review, row, found),
    )
    # What a left-out rule still demands stands at a lower strength (``_values``).
    return tuple(dict.fromkeys(one for one in out if one.rule in _LAX or memory.demands(one.rule)))


def targets(review: ToolReview, arguments: Mapping[str, Json]) -> tuple[Atom, ...]:
    """What a call acts on, as rule C4 counts it: its people, places and objects, never its amounts or words."""
    if deed(review) not in _ONCE:
        return ()
    found = (one.atom for one in uses(review, arguments) if one.role in ("who", "what", "reference"))
    return tuple(dict.fromkeys(one for one in found if one is not None))


# Table C


def _values(memory: Memory, review: ToolReview, row: Deed, found: tuple[Argument, ...], fetches: int) -> Iterator[Miss]:
    for demand in demanded(memory, review, row, found, fetches):
        one = demand.argument
        rule = "C1" if demand.needs >= _FOREIGN and demand.rule == "C" else demand.rule
        lax = _LAX.get(rule, 0) if memory.demands("C") else 0
        if demand.has.level < (demand.needs if memory.demands(rule) else lax):
            yield Miss(rule, one.pointer, one.role, _shown(one), one.type, demand.has, demand.needs)


def demanded(
    memory: Memory, review: ToolReview, row: Deed, found: tuple[Argument, ...], fetches: int = MOST_FETCHES
) -> Iterator[Demand]:
    """Every demand on a value, met or not."""
    demands = TABLE[row]
    disclosing = any("readers_of" in one for one in review.discloses)
    said = all(
        memory.task.says_all_of(one.value) for one in found if one.role == "free_text" and isinstance(one.value, str)
    )
    for one in found:
        use = _use(one, disclosing=disclosing, row=row)
        if use is None:
            continue
        rule, needs = "C", demands.get(use, 0)
        if use == "own" and row != "share" and one.atom is not None and memory.owns(one.atom) is False:
            rule, needs = "C3", max(needs, _FOREIGN)
        if use == "what" and row == "write" and not said:
            rule, needs = "C2", 2
        if use == "what" and row == "write" and memory.profile == "strict":
            needs = max(needs, 2)
        has = memory.strength(one.atom, one.role, review.effect)
        if has.level < needs:
            has = max((has, *by_members(memory, one, use, row, fetches)), key=lambda strength: strength.level)
        yield Demand(one, rule, has, needs)


def by_members(memory: Memory, one: Argument, use: Use | None, row: Deed, fetches: int) -> tuple[Strength, ...]:
    """What words of members are worth: for links to read, and what is not destroyed, shared or paid (B8, B9).

    INVARIANT: never for a person or an account, and never with a strength that a destructive use asks for.
    """
    if use == "link" and row == "fetch":
        return (memory.authored(one.atom), *((memory.posted(one.atom),) if fetches < MOST_FETCHES else ()))
    if use in ("what", "own") and row == "write" and one.type not in GLOBAL:
        return (memory.authored(one.atom),)
    return ()


def use_of(review: ToolReview, one: Argument) -> Use | None:
    """How a call of this tool uses an argument, as table C knows it; None where it demands nothing of it."""
    disclosing = any("readers_of" in each for each in review.discloses)
    return _use(one, disclosing=disclosing, row=deed(review))


def _use(one: Argument, *, disclosing: bool, row: Deed) -> Use | None:
    if one.role in ("free", "free_text"):
        return "link" if one.type == URL else None
    if one.type == DATE:
        return None  # rule C5 speaks of dates
    if one.type == URL:
        return "link"
    if one.role == "reference":
        return "disclosed" if disclosing and row != "share" else "own"
    return "who" if one.role == "who" else "how_much" if one.role == "how_much" else "what"


def _shown(one: Argument) -> str:
    return one.atom.text if one.atom is not None else str(one.value)


# C4 to C8


def _again(memory: Memory, review: ToolReview, row: Deed, found: tuple[Argument, ...]) -> Iterator[Miss]:
    if row not in _ONCE:
        return
    acted = frozenset(one.atom for one in found if one.role in ("who", "what", "reference") and one.atom is not None)
    if (review.tool, acted) in memory.done:
        yield Miss("C4", "", "free", "", "", NOTHING, 0)


def _unspoken(memory: Memory, review: ToolReview, row: Deed) -> Iterator[Miss]:
    """C8: a tool that does more than read, of which the task says no word. A yes is for the tool, in the session."""
    if row in ("read", "fetch") or not memory.demands("C8") or memory.task.speaks_of(review.intent):
        return
    yield Miss("C8", "", "what", review.tool, TOOL, NOTHING, 4)


def _strayed(memory: Memory, review: ToolReview, row: Deed, found: tuple[Argument, ...]) -> Iterator[Miss]:
    """D2: words that the task does not hold, after a read of something that it does not name, to somewhere else."""
    if row == "fetch" or not memory.strayed or not memory.demands("D2"):
        return
    own_words = all(
        memory.task.says_all_of(one.value) for one in found if one.role == "free_text" and isinstance(one.value, str)
    )
    acted = {one.atom for one in found if one.role in ("who", "what", "reference")}
    if not own_words and not (acted and acted <= memory.strayed):
        yield Miss("D2", "", "what", review.tool, STRAYED, NOTHING, 4)


def _dates(task: Task, row: Deed, found: tuple[Argument, ...]) -> Iterator[Miss]:
    if row not in _COMMITMENTS or not task.dates:
        return
    for one in found:
        if one.type == DATE and (one.atom is None or not task.dates_allow(one.atom.text)):
            yield Miss("C5", one.pointer, one.role, _shown(one), DATE, NOTHING, 3)


def _literals(task: Task, found: tuple[Argument, ...]) -> Iterator[Miss]:
    if not task.literals:
        return
    for one in found:
        if one.role not in ("free_text", "what") or _name(one.pointer) not in _TITLES or not isinstance(one.value, str):
            continue
        if not any(literal.fullmatch(one.value.strip()) for literal in task.literals):
            yield Miss("C6", one.pointer, one.role, one.value, one.type, NOTHING, 3)


def _links_in_prose(memory: Memory, review: ToolReview, row: Deed, found: tuple[Argument, ...]) -> Iterator[Miss]:
    if row in ("read", "fetch"):
        return
    for one in found:
        if one.role != "free_text" or not isinstance(one.value, str):
            continue
        for kind, text in _references(one.value):
            spelled = atom(kind, re.sub(r"^hxxp", "http", text, flags=re.IGNORECASE))
            has = memory.strength(spelled, "what", review.effect)
            if has.level < 2:  # noqa: PLR2004 - rule C7
                yield Miss("C7", one.pointer, one.role, text, kind, has, 2)


def _references(text: str) -> Iterator[tuple[str, str]]:
    taken: list[tuple[int, int]] = []
    for kind, pattern in _REFERENCES:
        for found in pattern.finditer(text):
            start, end = found.span()
            if any(start < other and begun < end for begun, other in taken):
                continue
            taken.append((start, end))
            yield kind, found[0].rstrip(".,;:!?)]}'\"*")
