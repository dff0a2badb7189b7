"""Words: how a name is split into them, and the one file that says what each list of them is for.

Names come from upstream servers. Only the first ``LONGEST_NAME`` characters of one are looked at, once, from left to
right, and a name with anything but plain letters and digits in it has no words at all: a look-alike is not a verb.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Final

LONGEST_NAME: Final = 128
LONGEST_TEXT: Final = 4_000
"""Characters of a description that are looked at."""
_SHORT: Final = 2


def words(name: str) -> tuple[str, ...]:
    """The words of a name in snake, kebab, dotted or camel case, in lower case; none for a name that is not plain."""
    if not name.isascii() or not name.isprintable() or len(name) > LONGEST_NAME:
        return ()
    found: list[str] = []
    word = ""
    for position, char in enumerate(name):
        following = name[position + 1 : position + 2]
        begins = char.isupper() and bool(word) and (not word[-1].isupper() or following.islower())
        if begins or (word and char.isdigit() != word[-1].isdigit()):
            found.append(word)
            word = ""
        if char.isalnum():
            word += char
        elif word:
            found.append(word)
            word = ""
    found.extend([word] if word else [])
    return tuple(one.lower() for one in found)


def sentence(text: object) -> tuple[str, ...]:
    """The words of the beginning of a description, in lower case; what is not plain text parts them like a blank."""
    if not isinstance(text, str):
        return ()
    plain = "".join(char if char.isascii() and (char.isalnum() or char == "-") else " " for char in text[:LONGEST_TEXT])
    return tuple(plain.lower().split())


def singular(word: str) -> str:
    """One of what a word names, for the plain plurals."""
    if len(word) > _SHORT + 1 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if len(word) > _SHORT and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def listed(place: str) -> frozenset[str]:
    """The words of one list of the file, by its dotted name."""
    return _lists()[place]


def pairs(place: str) -> frozenset[tuple[str, str]]:
    """The pairs of words of one list."""
    found: Any = _file()
    for step in place.split("."):
        found = found[step]
    return frozenset((first, second) for first, second in found.get("pairs", ()))


def reason(place: str) -> str:
    """Why a list is there, in one sentence."""
    found: Any = _file()
    for step in place.split("."):
        found = found[step]
    return str(found["why"])


def forms(verb: str) -> tuple[str, ...]:
    """The forms by which a task asks for a verb."""
    known: dict[str, list[str]] = _file()["intent"]["forms"]
    return tuple(known.get(verb, ()))


@cache
def _file() -> dict[str, Any]:
    source = resources.files("remit.policy.suggest") / "words.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


@cache
def _lists() -> dict[str, frozenset[str]]:
    """Every list of words, by dotted name: ``effect.read``, and ``effect.said.destroy`` for one with its own name."""
    found: dict[str, frozenset[str]] = {}
    for group, parts in _file().items():
        named = {name: part for name, part in parts.items() if isinstance(part, dict) and name != "forms"}
        for name, part in named.items():
            for key, value in part.items():
                if key == "words":
                    found[f"{group}.{name}"] = frozenset(value)
                elif key not in ("why", "pairs"):
                    found[f"{group}.{name}.{key}"] = frozenset(value)
    return found
