"""Rules proposed from a policy document in plain text: by fixed forms of sentences, and by nothing else.

Every sentence of the text comes back, in order, with its lines: turned into a rule, or with the reason why not. What is
proposed is a file to read, correct and sign: this says what a sentence could mean, and a person says what it means. A
sentence that says more than its form does (an exception, a condition) is not turned into less: it is listed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json, canonical

MOST_TEXT: Final = 1_048_576
_NUMBER: Final = r"(?P<most>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,4})?|[0-9]{1,15}(?:\.[0-9]{1,4})?)"
_WORD_NUMBERS: Final = {
    word: str(number)
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
}
_UNITS: Final = {"eur": "EUR", "euro": "EUR", "euros": "EUR", "usd": "USD", "dollars": "USD", "gbp": "GBP"}
_SIGNS: Final = {"€": "EUR", "$": "USD", "£": "GBP"}
_PERIODS: Final = {"minute": "PT1M", "hour": "PT1H", "day": "P1D", "24 hours": "P1D", "week": "P7D", "30 days": "P30D"}
_HOLDERS: Final = {
    "session": "session",
    "task": "session",
    "agent": "agent",
    "person": "person",
    "user": "person",
    "employee": "person",
    "organisation": "organisation",
    "organization": "organisation",
    "company": "organisation",
}
# Words after which a sentence says more than its form: it is listed, and never read as if they were not there.
_MORE: Final = re.compile(
    r"[;:()\[\]]|\b(?:single|individual|e\.g|i\.e|unless|except(?:ing|ion|ions)?|if|when|where|provided|only\s+for|other\s+than|excluding|without|or|until|after"
    r"|should|may\s+be\s+waived|not\s+required|approv\w*|manager|director|month|quarter|year|team)\b",
    re.IGNORECASE,
)
_LIMIT: Final = re.compile(
    rf"\b(?:at\s+most|no\s+more\s+than|not\s+more\s+than|up\s+to|(?:may|must|can)\s+not\s+exceed|cannot\s+exceed|"
    rf"a\s+maximum\s+of)\s+(?P<sign>[€$£])?\s?{_NUMBER}\s?(?P<noun>[A-Za-z€$£]+)?",
    re.IGNORECASE,
)
_KEY: Final = re.compile(r"^(?:an?|each|every|the\s+same|no)\s+(?P<key>[a-z]+)\b", re.IGNORECASE)
_SINGLE: Final = re.compile(r"\b(?P<twice>more\s+than\s+once|twice)\b|\bonce\b", re.IGNORECASE)
_NOT: Final = re.compile(r"\b(?:no|not|never|nor|neither|need|cannot|\w+n['\u2019]t)\b", re.IGNORECASE)
_LONGEST: Final = 500
_BEFORE: Final = re.compile(r"\b(?:before|first)\b", re.IGNORECASE)
_PER: Final = re.compile(
    r"\b(?:per|a|an|each|every|in\s+any|within\s+any|in\s+one|in\s+a)\s+"
    r"(?P<what>24\s+hours|30\s+days|minute|hour|day|week|session|task|agent|person|user|employee|organi[sz]ation|company)\b",
    re.IGNORECASE,
)
_IRREGULAR: Final = {"paid": "pay", "sent": "send", "bought": "buy", "sold": "sell", "written": "write"}
_BULLET: Final = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|[a-z][.)]|#{1,6})\s+")
_END: Final = re.compile(r"(?<=[.!?])\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Offered:
    """A reviewed tool as sentences may speak of it."""

    ref: str
    words: frozenset[str]  # its name's words and its review's intent, lower case
    counted: Mapping[str, str | None]  # what its review counts, by name, with the unit
    pointers: tuple[str, ...]  # its arguments


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the text and the lines that it stands on, from one."""

    text: str
    line: int
    last: int


def draft(text: str, tools: Sequence[Offered]) -> list[dict[str, Json]]:
    """One answer for each sentence, in order: ``text``, ``line``, ``last_line``, and ``rule`` or ``why``."""
    names: set[str] = set()
    found: list[dict[str, Json]] = []
    for sentence in sentences(text):
        answer = _read(sentence, tools) if len(sentence.text) <= _LONGEST else "it is too long for a rule"
        one: dict[str, Json] = {"text": sentence.text, "line": sentence.line, "last_line": sentence.last}
        if isinstance(answer, str):
            found.append(one | {"why": answer})
            continue
        name = f"line-{sentence.line}"
        number = 2
        while name in names:
            name, number = f"line-{sentence.line}-{number}", number + 1
        names.add(name)
        head: dict[str, Json] = {"kind": "Rule", "name": name, "says": " ".join(_BULLET.sub("", sentence.text).split())}
        found.append(one | {"rule": head | answer})
    return found


def written(answers: Sequence[Mapping[str, Json]]) -> str:
    """The proposed rules as a file to correct and apply, each under the sentence it is from."""
    parts: list[str] = []
    for one in answers:
        rule = one.get("rule")
        if isinstance(rule, Mapping):
            head = f"# line {one['line']}: {' '.join(str(one['text']).split())}"
            # JSON values are YAML, and their quotes keep text text.
            parts.append("\n".join([head, *(f"{name}: {canonical(value).decode()}" for name, value in rule.items())]))
    return "\n---\n".join(parts) + "\n" if parts else ""


def sentences(text: str) -> Iterator[Sentence]:
    """Every sentence. A blank line, a list item and a heading end one; nothing that is not white space is left out."""
    held: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        starts = _BULLET.match(line) is not None
        if held and (starts or not line.strip()):
            yield from _split(held)
            held = []
        if line.strip():
            held.append((number, line))
            if line.lstrip().startswith("#"):
                yield from _split(held)
                held = []
    yield from _split(held)


def _split(held: Sequence[tuple[int, str]]) -> Iterator[Sentence]:
    """The sentences of one paragraph, each with the lines of its first and last character."""
    joined = "\n".join(line for _, line in held)
    bullet = _BULLET.match(joined)
    begin = bullet.end() if bullet else 0
    starts = [0, *(match.end() for match in _END.finditer(joined) if match.end() > begin)]
    for start, end in zip(starts, [*starts[1:], len(joined)], strict=True):
        piece = joined[start:end]
        if piece.strip():
            lead = start + len(piece) - len(piece.lstrip())
            tail = start + len(piece.rstrip())
            yield Sentence(piece.strip(), _line(held, joined, lead), _line(held, joined, tail - 1))


def _line(held: Sequence[tuple[int, str]], joined: str, at: int) -> int:
    return held[joined.count("\n", 0, at)][0]


def _read(sentence: Sentence, tools: Sequence[Offered]) -> dict[str, Json] | str:
    """The members of a rule, or why there is none."""
    plain = _numbers(" ".join(_BULLET.sub("", sentence.text).split()))
    forms = [bool(_LIMIT.search(plain)), bool(_SINGLE.search(plain))]
    if not any(forms):
        if _BEFORE.search(plain):
            return "it may say that one call comes before another; which ones, a person must write"
        return "it has none of the forms that can be counted"
    if all(forms):
        return "it says more than one thing; write a sentence for each"
    more = _MORE.search(plain)
    if more is not None:
        return f"{more[0]!r} makes it say more than can be counted; a person must write it"
    if forms[0]:
        return _limit(plain, tools)
    return _once(plain, tools)


def _limit(plain: str, tools: Sequence[Offered]) -> dict[str, Json] | str:
    found = _LIMIT.search(plain)
    if found is None or len(_LIMIT.findall(plain)) > 1 or _numbers_left(plain, found):
        return "it has more than one amount"
    if _NOT.search(plain[: found.start()] + plain[found.end() :]):
        return "it has a negation that may turn its meaning; a person must write it"
    said = [match["what"].lower() for match in _PER.finditer(plain)]
    windows = [_PERIODS[" ".join(word.split())] for word in said if " ".join(word.split()) in _PERIODS]
    holders = [_HOLDERS[word] for word in said if word in _HOLDERS]
    if len(windows) > 1 or len(holders) > 1:
        return "it names more than one window or holder"
    if not windows and not holders:
        return "it does not say over what it counts: a call's own limit belongs into a grant"
    noun = (found["noun"] or "").lower()
    unit = _SIGNS.get(found["sign"] or "") or _SIGNS.get(noun) or _UNITS.get(noun)
    chosen = _chosen(plain, tools)
    if isinstance(chosen, str):
        return chosen
    most = found["most"].replace(",", "")
    if unit is None:
        if "." in most:
            return "calls are counted whole"
        limit: dict[str, Json] = {"calls": int(most)}
    else:
        names = {tuple(name for name, of in one.counted.items() if of == unit) for one in chosen}
        if len(names) != 1 or len(next(iter(names))) != 1:
            return f"the reviews of {', '.join(one.ref for one in chosen)} do not all count one amount in {unit}"
        limit = {next(iter(names))[0]: most, "unit": unit}
    # Not said whose: the strictest reading is that all are counted together.
    rule: dict[str, Json] = {"tools": [one.ref for one in chosen], "per": holders[0] if holders else "organisation"}
    return rule | {"limit": limit, **({"window": windows[0]} if windows else {})}


def _once(plain: str, tools: Sequence[Offered]) -> dict[str, Json] | str:
    found, single = _KEY.search(plain), _SINGLE.search(plain)
    if found is None or single is None or len(_SINGLE.findall(plain)) > 1:
        return "it does not begin with what may be done once"
    # *Not twice* and *once* mean the same; *twice* and *not once* do not.
    if len(_NOT.findall(plain)) != (1 if single["twice"] else 0):
        return "it has a negation that may turn its meaning; a person must write it"
    if re.search(r"\d", plain) or _PER.search(plain[found.end("key") :]):
        return "a number or a window beside *once* makes it say more than can be counted; a person must write it"
    chosen = _chosen(plain, tools)
    if isinstance(chosen, str):
        return chosen
    key = found["key"].lower()
    places = {tuple(pointer for pointer in one.pointers if key in _words(pointer)) for one in chosen}
    if len(places) != 1 or len(next(iter(places))) != 1:
        return f"no single argument of {', '.join(one.ref for one in chosen)} is called {key!r}"
    return {"tools": [one.ref for one in chosen], "per": "organisation", "once": {"by": [next(iter(places))[0]]}}


def _chosen(plain: str, tools: Sequence[Offered]) -> list[Offered] | str:
    """The tools that a sentence speaks of: by reference or by name, else by all verbs that one of them is known by."""
    low = plain.lower()
    named = [one for one in tools if re.search(rf"(?<![\w/]){re.escape(one.ref.lower())}(?![\w/])", low)]
    said = {_stem(word) for word in re.findall(r"[a-z]+", low)}
    found = named or [one for one in tools if any(_stem(word) in said for word in one.words)]
    return sorted(found, key=lambda one: one.ref) or "no reviewed tool is known by a word of it"


def _numbers(text: str) -> str:
    return re.sub(
        rf"\b({'|'.join(_WORD_NUMBERS)})\b", lambda match: _WORD_NUMBERS[match[0].lower()], text, flags=re.IGNORECASE
    )


def _numbers_left(plain: str, found: re.Match[str]) -> bool:
    rest = plain[: found.start()] + plain[found.end() :]
    rest = re.sub(r"\b(?:24\s+hours|30\s+days)\b", "", rest, flags=re.IGNORECASE)
    return re.search(r"\d", rest) is not None


def _words(pointer: str) -> set[str]:
    return set(re.findall(r"[a-z]+", pointer.lower()))


def _stem(word: str) -> str:
    """A verb's forms as one: pay, pays, paid, paying, payment, payments."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending in ("ments", "ment", "ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:  # noqa: PLR2004 - a verb's shortest stem
            return word.removesuffix(ending)
    return word
