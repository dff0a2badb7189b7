"""What one call taught a session: the records that it showed, as its review has them, and what it made.

A lesson holds no text of third parties (FLOW_RULES A5): of what others can write it keeps only whether it stands whole
in the task, which is how a name in the task finds its record, and how a second one that fits is noticed. A lesson is a
frozen value, so a session's memory is a fold over its lessons, and the same on every replica.
"""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Final

from remit.core.canonical import Json, canonical, digest
from remit.core.errors import Malformed
from remit.core.tools import Effect, FieldReview, ToolReview, Writer
from remit.core.values import URL, Atom, atom, deceptive, qualified
from remit.policy.flow import Leaf, Parse, leaves, reviewable
from remit.policy.task import Task

MAX_LEAVES: Final = 20_000
_LONGEST_TOKEN: Final = 40
_TOKEN: Final = 4
"""Letters that a word of a name needs to point at it (rule B7)."""
_MOST_LINKS: Final = 200
_LINK: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'(){}\[\]|\\]+", re.IGNORECASE)
_TRAILING: Final = ".,;:!?*"
_QUOTED: Final = re.compile(
    r"(?<!\w)'([^'\n]{1,200})'(?!\w)|\"([^\"\n]{1,200})\"|\u201c([^\u201d\n]{1,200})\u201d|`([^`\n]{1,200})`"
)
QUOTED_NAME: Final = "a name in quotes"
"""The type of a name that an author quoted: it may be of anything that is named, and is of no type of a server's."""
_NAME_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# Words by which an argument says how many it wants, and not from where on.
_SIZES: Final = frozenset({"limit", "size", "count", "n", "max", "maximum", "top", "first", "number", "results", "per"})
_CREATING: Final[frozenset[Effect]] = frozenset({"write", "spend", "admin"})


@dataclass(frozen=True, slots=True)
class Said:
    """One system-written value of a record, and the general pointer of its field."""

    path: str
    atom: Atom


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was shown. ``key`` tells it from others, also when another read shows it again.

    ``names`` are the phrases of the task that its system-written naming fields say whole, ``open_names`` those of
    naming fields that others can write, ``tokens`` the words of a name of it that others can't write.
    """

    key: str
    said: tuple[Said, ...]
    names: frozenset[str] = frozenset()
    open_names: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    own: bool = False
    stamped: bool = False  # an untrusted session wrote it, so it is nobody's own and names nothing (H2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One finished call. ``read`` is the same for all calls that differ only in paging."""

    call: str
    tool: str
    server: str
    effect: Effect
    read: str
    bound: bool
    wide: bool
    listing: Writer
    records: tuple[Record, ...] = ()
    minted: tuple[Atom, ...] = ()
    targets: tuple[Atom, ...] = ()
    strayed: tuple[Atom, ...] = ()
    links: tuple[Said, ...] = ()  # addresses in the text of members, of a container that the task names (rule B9)
    authored: tuple[Said, ...] = ()  # addresses and quoted names in messages of an author whom the task names (rule B8)
    container: tuple[Atom, ...] = ()  # who or what a read went to, where nothing else narrowed it (rule B10)
    whole: bool = False  # all of that container came, so it may be counted
    cut: bool = False

    @property
    def teaches(self) -> bool:
        """Whether a memory is any different for it."""
        told = self.records or self.minted or self.targets or self.strayed or self.links or self.authored
        return bool(told or self.whole or self.cut)


@dataclass(slots=True)
class _Draft:
    """A record while its leaves are gathered."""

    said: list[Said] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    open_names: set[str] = field(default_factory=set)
    titles: list[tuple[str, bool]] = field(default_factory=list)
    id: str | None = None
    own: bool = False
    author: bool | None = None  # whether the task names everyone who made or keeps it; None where nobody is told
    texts: list[tuple[str, str]] = field(default_factory=list)  # what members wrote in it, by general pointer


def lesson(
    call: str,
    review: ToolReview,
    arguments: Mapping[str, Json],
    result: Json,
    *,
    task: Task,
    endorsed: AbstractSet[str],
    targets: tuple[Atom, ...],
    strayed: tuple[Atom, ...] = (),
    container: Mapping[str, Atom] = MappingProxyType({}),
    parse: Parse,
) -> Lesson:
    """What the finished call ``call`` taught. ``endorsed`` are the pointers of its own endorsed arguments.

    ``container`` has, by pointer, the arguments that say to whom or to what a read went.
    """
    server = review.tool.partition("/")[0]
    document = reviewable(review.output, result, parse) if isinstance(result, Mapping) else None
    failed = isinstance(result, Mapping) and result.get("isError") is True
    shown = () if document is None or failed else tuple(leaves(document, MAX_LEAVES, empties=True))
    cut = bool(shown) and shown[-1].rest
    drafts = _drafts(review, server, shown, task)
    records = tuple(_records(review, drafts))
    bound, only = _how_bound(review, arguments, endorsed)
    pages = [leaf for leaf in leaves(arguments, MAX_LEAVES) if _paging(review, leaf.general)]
    complete = bool(shown) and not cut and all(_open_ended(page, len(records)) for page in pages)
    _, rest = _how_bound(review, arguments, endorsed | container.keys())
    named = bool(container) and all(task.names(one) for one in container.values())
    return Lesson(
        call=call,
        tool=review.tool,
        server=server,
        effect=review.effect,
        read=_read_key(review, arguments),
        bound=bound,
        wide=only and complete,
        listing=review.output.records.listing if review.output.records else "anyone",
        records=records,
        minted=() if failed else tuple(_minted(review, server, document)),
        targets=() if failed else targets,
        strayed=() if failed else strayed,
        links=tuple(_links(review, shown)) if named and review.effect == "read" else (),
        authored=tuple(_authored(review, drafts)),
        container=tuple(container.values()) if rest and complete else (),
        whole=rest and complete and review.effect == "read" and (task.wants_count != (False, False)),
        cut=cut,
    )


def _paging(review: ToolReview, pointer: str) -> bool:
    return review.output.records is not None and pointer in review.output.records.page


def _open_ended(page: Leaf, rows: int) -> bool:
    """Whether a paging argument cut nothing off: a page larger than what came, from the beginning (rule B6).

    What is not by its name the size of a page says where it begins, and a read that begins later is a chosen one.
    """
    value, words = page.value, _NAME_PARTS.findall(page.general.rpartition("/")[2].replace("_", " "))
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    if any(word.casefold() in _SIZES for word in words):
        return value == 0 or value > rows
    return value == 0


def _links(review: ToolReview, shown: tuple[Leaf, ...]) -> Iterator[Said]:
    """The addresses that members of a closed container posted, each as it stands."""
    found = 0
    for leaf in shown:
        told = review.output.fields.get(leaf.general)
        if told is None or told.writer != "members" or not isinstance(leaf.value, str) or deceptive(leaf.value):
            continue
        for match in _LINK.finditer(leaf.value):
            one = atom(URL, match[0].rstrip(_TRAILING))
            found += one is not None
            if one is not None and found <= _MOST_LINKS:
                yield Said(leaf.general, one)


def _how_bound(review: ToolReview, arguments: Mapping[str, Json], endorsed: AbstractSet[str]) -> tuple[bool, bool]:
    """Whether endorsed arguments chose what was read (B5), and whether no other argument did (B6)."""
    chosen = [leaf for leaf in leaves(arguments, MAX_LEAVES) if not _paging(review, leaf.general)]
    good = [leaf.pointer in endorsed for leaf in chosen]
    return bool(good) and all(good), all(good)


def _read_key(review: ToolReview, arguments: Mapping[str, Json]) -> str:
    kept = [[leaf.pointer, leaf.value] for leaf in leaves(arguments, MAX_LEAVES) if not _paging(review, leaf.general)]
    return digest(canonical([review.tool, kept]))


# Records


def _drafts(review: ToolReview, server: str, shown: tuple[Leaf, ...], task: Task) -> dict[str, _Draft]:
    """What was shown, by the place of its record; empty for what stands beside all records."""
    at = review.output.records.at if review.output.records else ""
    depth, below = at.count("/"), f"{at}/"
    kinds = {
        pointer: qualified(told.type, server, _own_name(pointer)) for pointer, told in review.output.fields.items()
    }
    drafts: dict[str, _Draft] = {}
    for leaf in shown:
        if leaf.rest:
            break
        field_review = review.output.fields.get(leaf.general)
        inside = bool(at) and (leaf.general == at or leaf.general.startswith(below))
        place = "/".join(leaf.pointer.split("/", depth + 1)[: depth + 1]) if inside else ""
        draft = drafts.get(place)
        if field_review is None or isinstance(leaf.value, (dict, list, tuple)):
            if inside and draft is None:
                drafts[place] = _Draft()
            continue
        if draft is None:
            draft = drafts[place] = _Draft()
        _note(draft, review, kinds[leaf.general], leaf, field_review, task)
    return drafts


def _records(review: ToolReview, drafts: Mapping[str, _Draft]) -> Iterator[Record]:
    at = review.output.records.at if review.output.records else ""
    for place, draft in drafts.items():
        if not place and at:
            if draft.said:
                yield _record(review, draft, f"{review.tool}#root")
            continue
        yield _record(review, draft, place)


def _own_name(general: str) -> str:
    """What a field is called: the last member's name, also of an item of a list."""
    return general.rpartition("/")[2] if general[-1:] != "*" else general.split("/")[-2]


def _note(draft: _Draft, review: ToolReview, kind: str, leaf: Leaf, told: FieldReview, task: Task) -> None:
    one = atom(kind, leaf.value)
    if told.writer == "system" and one is not None:
        draft.said.append(Said(leaf.general, one))
    if told.custodian and one is not None and told.writer == "system":
        draft.own = draft.own or one in task.own
        named = one not in task.own and task.names(one)
        draft.author = named if draft.author is None else draft.author and named
    if told.writer == "members" and isinstance(leaf.value, str) and not deceptive(leaf.value):
        draft.texts.append((leaf.general, leaf.value))
    # An id that others can write is nobody's: it would lend a planted record the names of another.
    is_id = review.output.records is not None and leaf.general == review.output.records.id
    if is_id and told.writer == "system" and one is not None:
        draft.id = f"{one.type}\x00{one.text}"
    if told.naming and isinstance(leaf.value, str):
        phrase = task.phrase(leaf.value)
        if phrase is not None:
            (draft.names if told.writer == "system" else draft.open_names).add(phrase)
        draft.titles.append((leaf.value, told.writer == "system"))


def _authored(review: ToolReview, drafts: Mapping[str, _Draft]) -> Iterator[Said]:
    """Addresses and quoted names in messages of a named author, in a container that only members write to (B8)."""
    if review.effect != "read" or review.output.records is None or review.output.records.listing != "members":
        return
    texts = (text for draft in drafts.values() if draft.author for text in draft.texts)
    said = (Said(path, one) for path, text in texts for one in _references(text))
    yield from islice(dict.fromkeys(said), _MOST_LINKS)


def _references(text: str) -> Iterator[Atom]:
    for found in _LINK.finditer(text):
        link = atom(URL, found[0].rstrip(_TRAILING))
        if link is not None:
            yield link
    for found in _QUOTED.finditer(text):
        name = atom(QUOTED_NAME, next(group for group in found.groups() if group is not None))
        if name is not None:
            yield name


def _record(review: ToolReview, draft: _Draft, place: str) -> Record:
    said: Json = [[one.path, one.atom.type, one.atom.text] for one in draft.said]
    key = draft.id or f"{review.tool}\x00{place}\x00{digest(canonical(said))}"
    titles = [title for title, closed in draft.titles if closed or draft.own]
    return Record(
        key,
        tuple(draft.said),
        frozenset(draft.names),
        frozenset(draft.open_names),
        frozenset(token for title in titles for token in _tokens(title)),
        draft.own,
    )


def _tokens(title: str) -> Iterator[str]:
    word = ""
    for character in [*title.casefold()[:400], " "]:
        if character.isalpha():
            word += character
        else:
            if _TOKEN <= len(word) <= _LONGEST_TOKEN:
                yield word
            word = ""


def _minted(review: ToolReview, server: str, document: Json) -> Iterator[Atom]:
    """Ids at the root of the structured result of a creating call (rule B2)."""
    if review.effect not in _CREATING or not isinstance(document, Mapping):
        return
    for pointer, kind in review.mints.items():
        name = pointer.removeprefix("/").replace("~1", "/").replace("~0", "~")
        if "/" in pointer.removeprefix("/"):
            continue
        try:
            one = atom(qualified(kind, server, name), document.get(name))
        except Malformed:
            continue
        if one is not None:
            yield one
