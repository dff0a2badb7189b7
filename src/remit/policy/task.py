"""What a task says: the atoms that stand in it, its words, and the few phrases that rules of flow ask for.

Only principal segments are read (FLOW_RULES H1), once, when a session's memory is made. A text endorses an atom only
where it stands whole and under its own type (A2 to A4): digits inside a date are no amount, a bare number is no id
unless the text calls it one, and a full stop before a capital ends a sentence and not a host.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

from remit.core.sessions import Segment
from remit.core.values import DATE, EMAIL, GLOBAL, HOST, IBAN, MONEY, PHONE, TIME, URL, Atom, atom, deceptive, url_parts

MAX_TASK: Final = 65_536
"""Characters of a task that are read; what is beyond endorses nothing."""
_BARE_ID: Final = 6
"""Digits up to which a number is an id only where the task calls it one (A4)."""

_MONTHS: Final = (
    ("january", "jan"),
    ("february", "feb"),
    ("march", "mar"),
    ("april", "apr"),
    ("may", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sep"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
)
_MONTH: Final = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_MONTH_WORD: Final = "|".join(sorted(_MONTH, key=len, reverse=True))
_NUMBER: Final = r"[0-9][0-9.,]*"
# What stands in a task under a type of its own, in the order in which it is looked for. Digits found by one are not
# looked at by the next.
_SPANS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (EMAIL, re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")),
    (URL, re.compile(r"(?:https?://|www\.)[^\s<>\"'\u201c\u201d\u2018\u2019(){}\[\]|\\]+", re.IGNORECASE)),
    (URL, re.compile(r"\b(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}/[^\s<>\"'\u201c\u201d\u2018\u2019(){}\[\]|\\]*")),
    (IBAN, re.compile(r"\b[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}\b")),
    (IBAN, re.compile(r"\b[A-Z]{2}[0-9]{2}(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,4})?\b")),
    (DATE, re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")),
    (
        DATE,
        re.compile(
            rf"\b(?P<m>{_MONTH_WORD})\.? (?P<d>[0-9]{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y>[0-9]{{4}})\b)?",
            re.IGNORECASE,
        ),
    ),
    (
        DATE,
        re.compile(
            rf"\b(?P<d>[0-9]{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m>{_MONTH_WORD})\b\.?(?:,? (?P<y>[0-9]{{4}})\b)?",
            re.IGNORECASE,
        ),
    ),
    (TIME, re.compile(r"\b[0-9]{1,2}:[0-9]{2}(?: ?[ap]\.?m\b\.?)?", re.IGNORECASE)),
    (TIME, re.compile(r"\b[0-9]{1,2} ?[ap]\.?m\b\.?", re.IGNORECASE)),
    ("percent", re.compile(rf"{_NUMBER} ?(?:%|percent\b)", re.IGNORECASE)),
    ("file", re.compile(r"(?<![\w.])[\w-]+(?:\.[\w-]+)*\.[A-Za-z][A-Za-z0-9]{1,4}\b")),
    (
        "count",
        re.compile(
            rf"\b{_NUMBER}[ -]?(?:years?|months?|weeks?|days?|nights?|hours?|minutes?|mins?|seconds?|"
            r"people|persons?|guests?|times?|stars?)\b",
            re.IGNORECASE,
        ),
    ),
    ("ordinal", re.compile(r"\b[0-9]+(?:st|nd|rd|th)\b", re.IGNORECASE)),
    ("id", re.compile(r"(?:\b(?:id|number|no\.?|nr\.?)[ :#]{1,3}|#)(?P<id>[0-9]+)\b", re.IGNORECASE)),
    (PHONE, re.compile(r"\+[0-9][0-9 ().-]{6,18}[0-9]")),
    (MONEY, re.compile(rf"(?<![\w.,/-]){_NUMBER}(?![\w/-]*\w)")),
)
_TRAILING: Final = ".,;:!?)]}'\"*"
_QUOTED: Final = re.compile(
    r"(?<!\w)'([^'\n]{1,200}(?:'\w[^'\n]{0,200})*)'(?!\w)|\"([^\"\n]{1,400})\"|\u201c([^\u201d\n]{1,400})\u201d|\u2018([^\u2019\n]{1,400})\u2019"
)
_CALLED: Final = re.compile(
    r"\b(?:titled?|entitled|subject|named?|called|heading)\b[^'\"\u201c\u2018\n]{0,40}\Z", re.IGNORECASE
)
_WORDS: Final = re.compile(r"\w+")
_PLACEHOLDER: Final = re.compile(r"\{[^{}]{0,60}\}|<[^<>]{0,60}>|\[[^\[\]]{0,60}\]")
_MOST: Final = frozenset(
    {
        "largest",
        "biggest",
        "highest",
        "newest",
        "latest",
        "longest",
        "greatest",
        "priciest",
        "maximum",
        "recent",
        "last",
    }
)
_LEAST: Final = frozenset(
    {"smallest", "oldest", "earliest", "cheapest", "lowest", "shortest", "least", "minimum", "first"}
)
_SHARING: Final = frozenset({"half", "share", "shared", "split", "halves"})
_EVERY: Final = frozenset({"all", "each", "every", "everyone", "everybody"})
# Words too common to name anything by themselves; in quotes they do.
_COMMON: Final = frozenset(
    {
        *("a", "about", "above", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "back"),
        *("be", "been", "before", "below", "between", "both", "but", "by", "can", "could", "day", "did", "do", "does"),
        *("down", "each", "every", "few", "for", "from", "get", "give", "go", "has", "have", "he", "her", "here"),
        *("him", "his", "how", "i", "if", "in", "inbox", "into", "is", "it", "its", "just", "last", "let", "like"),
        *("list", "mail", "make", "me", "message", "month", "more", "most", "my", "name", "new", "next", "no", "not"),
        *("now", "of", "off", "on", "one", "only", "or", "other", "our", "out", "over", "own", "please", "post"),
        *("read", "same", "send", "she", "should", "so", "some", "such", "tell", "than", "that", "the", "their"),
        *("them", "then", "there", "these", "they", "this", "those", "time", "to", "today", "too", "two", "under"),
        *("up", "us", "very", "via", "was", "we", "week", "were", "what", "when", "where", "which", "who", "will"),
        *("with", "would", "year", "you", "your", "file", "files", "event", "user", "users", "channel", "channels"),
        *("account", "number", "id", "title", "date"),
    }
)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text that was read under one type, and its spelling there; None where it has no single reading."""

    start: int
    end: int
    type: str
    text: str | None


class Task:
    """The principal's words, and what can be told of them. Immutable; everything is read at most once."""

    def __init__(self, segments: Iterable[Segment], own: Iterable[Atom] = ()) -> None:
        """``own`` are the principal's own identifiers. Segments that nobody wrote and saw are not read."""
        principal = [segment.text for segment in segments if segment.source == "principal"]
        text = "\n".join(principal)[:MAX_TASK]
        self.text = "" if deceptive(text) else text
        self.own = frozenset(own)

    # Values

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Everything that stands under a type of its own, in the order of the text."""
        return tuple(sorted(_spans(self.text), key=lambda span: span.start))

    @cached_property
    def _typed(self) -> frozenset[Atom]:
        found = {Atom(span.type, span.text) for span in self.spans if span.text is not None}
        hosts = {parts[1] for span in self.spans if span.type == URL and span.text and (parts := url_parts(span.text))}
        return frozenset(found | {Atom(HOST, host) for host in hosts})

    @cached_property
    def dates(self) -> frozenset[str]:
        """Every date of the text: whole, or as ``--MM-DD`` where it names no year."""
        return frozenset(one.text for one in self._typed if one.type == DATE)

    @cached_property
    def amounts(self) -> tuple[Decimal, ...]:
        """Every amount of the text, once."""
        return tuple(dict.fromkeys(Decimal(span.text) for span in self.spans if span.type == MONEY and span.text))

    @cached_property
    def percentages(self) -> tuple[Decimal, ...]:
        """Every percentage of the text, as parts of a hundred."""
        return tuple(dict.fromkeys(Decimal(span.text) for span in self.spans if span.type == "percent" and span.text))

    def names(self, one: Atom) -> bool:
        """Whether an atom stands in the task with its type, or is the principal's own identifier (rule B1)."""
        if one in self.own:
            return True
        if one.type == DATE:
            return self.dates_allow(one.text)
        if one.type in GLOBAL:
            return one in self._typed
        return self._says(one.text)

    def dates_allow(self, date: str) -> bool:
        """Whether a date is one of the task's."""
        return date in self.dates or f"-{date[4:]}" in self.dates

    def _says(self, text: str) -> bool:
        """Whether a name or an id stands whole in the text, outside of what is read under a type of its own."""
        if text.isascii() and text.isdigit() and len(text) <= _BARE_ID:
            return Atom("id", text) in self._typed
        if text in self.quoted:
            return True
        if not any(character.isalnum() for character in text) or text in _COMMON or len(text) < 2:  # noqa: PLR2004 - a letter
            return False
        return any(self._stands_free(found.start(), found.end()) for found in re.finditer(re.escape(text), self._even))

    @cached_property
    def _even(self) -> str:
        """The text with white space folded, and blanks where an address or an account stands."""
        pieces, at = [], 0
        for span in self.spans:
            if span.type in (EMAIL, URL, IBAN, DATE) and span.start >= at:
                pieces.append(self.text[at : span.start])
                at = span.end
        return " ".join(" \x00 ".join([*pieces, self.text[at:]]).split())

    def _stands_free(self, start: int, end: int) -> bool:
        before, after = self._even[max(start - 1, 0) : start], self._even[end : end + 2]
        if before and (before.isalnum() or before in "_@/\\-.+"):
            return False
        return not (
            after
            and (
                after[0].isalnum()
                or after[0] in "_@/\\-+"
                or (after[0] == "." and after[1:].isalnum() and not after[1:].isupper())
            )
        )

    # Words

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the text, case folded."""
        return tuple(_WORDS.findall(self.text.casefold()))

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Each of them once."""
        return frozenset(self.words)

    @cached_property
    def _run(self) -> str:
        return f" {' '.join(self.words)} "

    def speaks_of(self, words: Iterable[str]) -> bool:
        """Whether any of these words, or runs of words, stands whole in the text (rule C8)."""
        runs = (" ".join(_WORDS.findall(word.casefold())) for word in words)
        return any(run and f" {run} " in self._run for run in runs)

    def phrase(self, text: str) -> str | None:
        """A naming text as it stands whole in the task, or None; common words alone name nothing."""
        if deceptive(text) or len(text) > len(self.text):
            return None
        words = _WORDS.findall(text.casefold())
        if not words or all(word in _COMMON or len(word) < 2 for word in words):  # noqa: PLR2004 - a letter
            return None
        found = " ".join(words)
        return found if f" {found} " in self._run else None

    def says_all_of(self, text: str) -> bool:
        """Whether a prose text stands in the task, but for one token of at most five characters (rule C2)."""
        wanted = _WORDS.findall(text.casefold())
        if not wanted:
            return True
        if f" {' '.join(wanted)} " in self._run:
            return True
        width = len(wanted)
        return any(_nearly(self.words[at : at + width], wanted) for at in range(len(self.words) - width + 1))

    @cached_property
    def quoted(self) -> frozenset[str]:
        """Everything in quotation marks."""
        return frozenset(
            next(group for group in found.groups() if group is not None) for found in _QUOTED.finditer(self.text)
        )

    @cached_property
    def literals(self) -> tuple[re.Pattern[str], ...]:
        """What the text gives as a title, a subject or a name in quotation marks; a placeholder stands for any."""
        found = []
        for match in _QUOTED.finditer(self.text):
            if _CALLED.search(self.text[max(match.start() - 60, 0) : match.start()]):
                quoted = next(group for group in match.groups() if group is not None)
                parts = [re.escape(part) for part in _PLACEHOLDER.split(quoted.strip())]
                found.append(re.compile("(?:.{1,120})".join(parts), re.IGNORECASE))
        return tuple(found)

    @property
    def wants_extreme(self) -> tuple[bool, bool]:
        """Whether the task speaks of something largest or newest, and of something smallest or oldest (rule B10)."""
        expensive = "most expensive" in self._run
        return bool(self.vocabulary & _MOST) or expensive, bool(self.vocabulary & _LEAST)

    @property
    def wants_count(self) -> tuple[bool, bool]:
        """Whether it speaks of most and of fewest."""
        fewest = "fewest" in self.vocabulary or "smallest number" in self._run or "least" in self.vocabulary
        return "most" in self.vocabulary or "largest number" in self._run, fewest

    @property
    def shares(self) -> bool:
        """Whether it speaks of sharing, so that half of an amount is meant."""
        return bool(self.vocabulary & _SHARING)

    def every(self, noun: str) -> bool:
        """Whether it speaks of all, each or every of a noun (rule B11)."""
        forms = {noun.casefold(), f"{noun.casefold()}s", f"{noun.casefold()}es"}
        after = (self.words[at + 1 : at + 4] for at, word in enumerate(self.words) if word in _EVERY)
        return any(forms & set(words) for words in after)


def _nearly(said: tuple[str, ...], wanted: list[str]) -> bool:
    # INVARIANT: something must be the same. A lone short word would else stand in every task.
    if len(wanted) < 3:  # noqa: PLR2004 - two that are the same beside one that differs
        return False
    different = [one for one, other in zip(wanted, said, strict=True) if one != other]
    return len(different) <= 1 and all(len(one) <= 5 for one in different)  # noqa: PLR2004 - rule C2


def _spans(text: str) -> Iterator[Span]:
    taken = bytearray(len(text))
    for kind, pattern in _SPANS:
        for found in pattern.finditer(text):
            start, end = found.span()
            if any(taken[start:end]):
                continue
            span = _read(kind, found, text)
            if span is not None and span.end > span.start:
                taken[span.start : span.end] = b"\x01" * (span.end - span.start)
                yield span


def _read(kind: str, found: re.Match[str], text: str) -> Span | None:
    start, end = found.span()
    raw = found[0]
    if kind == "file" and not any(character.isdigit() for character in raw):
        return None
    if kind in (URL, EMAIL):
        raw = re.split(r"\.(?=[A-Z])", raw, maxsplit=1)[0] if "/" not in raw.partition("://")[2] else raw
        raw = raw.rstrip(_TRAILING)
        one = atom(kind, raw)
        return Span(start, start + len(raw), kind, one.text if one else None)
    if kind == DATE:
        return Span(start, end, DATE, _date(found))
    if kind == "id":
        return Span(found.start("id"), found.end("id"), "id", found["id"])
    if kind == "percent":
        return Span(start, end, kind, _number(raw.lower().removesuffix("percent").rstrip("% ")))
    if kind == MONEY:
        trimmed = raw.rstrip(".,")
        return Span(start, start + len(trimmed), MONEY, _number(trimmed))
    if kind in GLOBAL:
        one = atom(kind, raw)
        return Span(start, end, kind, one.text if one else None)
    del text
    return Span(start, end, kind, None)


def _date(found: re.Match[str]) -> str | None:
    groups = found.groupdict()
    if "m" not in groups:
        one = atom(DATE, found[0])
        return one.text if one else None
    month, day = _MONTH[groups["m"].lower()], int(groups["d"])
    if groups["y"] is None:
        return f"--{month:02d}-{day:02d}"
    one = atom(DATE, f"{groups['y']}-{month:02d}-{day:02d}")
    return one.text if one else None


def _number(text: str) -> str | None:
    """A number as people write it, in its one plain spelling; None where countries read it differently."""
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]{1,4})?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"[0-9]{1,3}(\.[0-9]{3})+,[0-9]{1,2}", text):
        text = text.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[0-9]+,[0-9]{1,2}", text):
        text = text.replace(",", ".")
    elif re.fullmatch(r"[0-9]{1,3}(\.[0-9]{3})+", text):
        return None
    one = atom(MONEY, text)
    return one.text if one else None
