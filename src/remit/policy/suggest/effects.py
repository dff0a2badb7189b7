"""What calling a tool does to the world, as far as its definition lets one say.

`read` switches every rule off, so it is proposed only for a verb that looks, at the head of the name, with nothing in
name, arguments, annotations or description that says otherwise. Every other sign can only raise the effect; where
there is none it is `write`, the default. A description or an annotation is the server's own text: it is heard only
against it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json
from remit.core.tools import Effect
from remit.policy.suggest.findings import RISK, Finding, Sure
from remit.policy.suggest.words import listed, sentence, singular, words

_CLASSES: Final[tuple[Effect, ...]] = ("destroy", "admin", "spend", "write")
_ABOUT: Final = 4
"""Words at the beginning of an argument's description that say what it is."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the arguments of a tool are, as far as the effect turns on it: names by kind."""

    links: tuple[str, ...] = ()
    money: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    prose: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    told_links: tuple[str, ...] = ()  # by description only


@dataclass(frozen=True, slots=True)
class _Sign:
    effect: Effect
    why: str
    sure: Sure = "medium"


def suggested_effect(
    name: str, server: str, shape: Shape, definition: Mapping[str, Json]
) -> tuple[Effect, Finding, tuple[str, ...]]:
    """The effect, why, and what a reviewer should look at because it is not a plain case."""
    said = _spoken(name, server)
    named = _named(said)
    start = named or _reading(said)
    base = start or _Sign("write", "its name has no verb that is known: the default", "low")
    signs = [base, *_shaped(base.effect, shape), *_told(base.effect, shape, definition)]
    best = max(signs, key=lambda sign: RISK[sign.effect])
    laxer = best.effect in ("read", "fetch")
    why = best.why if best is base else f"{best.why} (by its name alone: {base.effect})"
    return best.effect, Finding("/effect", why, best.sure, laxer=laxer), tuple(_flags(best.effect, shape))


def verb(name: str, server: str) -> str | None:
    """The verb that a name begins with, if it is one of the lists."""
    said = _spoken(name, server)
    every = ("read", *_CLASSES)
    return said[0] if said and any(said[0] in listed(f"effect.{one}") for one in every) else None


def verbs(name: str, server: str) -> Iterator[str]:
    """Every word of a name that does something, the one at its head first."""
    said = _spoken(name, server)
    yield from (word for at, word in enumerate(said) if at == 0 or word in _acting(said, at))


def noun(name: str, server: str) -> str | None:
    """What a tool is about: the last word of its name before a preposition, after the verb."""
    said = _spoken(name, server)
    rest = said[1:] if verb(name, server) else said
    plain = [word for word in (_object(rest) or rest) if word.isalpha() and word not in listed("effect.prepositions")]
    return plain[-1] if plain else None


def _object(rest: Sequence[str]) -> Sequence[str]:
    """What a verb acts on: the words up to the first preposition."""
    stop = next((at for at, word in enumerate(rest) if word in listed("effect.prepositions")), len(rest))
    return rest[:stop]


def _spoken(name: str, server: str) -> tuple[str, ...]:
    """The words of a name, without the server's own name before them."""
    said, own = words(name), words(server)
    return said[len(own) :] if own and said[: len(own)] == own and len(said) > len(own) else said


def _reading(said: Sequence[str]) -> _Sign | None:
    if not said or said[0] not in listed("effect.read"):
        return None
    if len(said) > 1 and said[1] in listed("effect.read_undone"):
        return _Sign("write", f"`{said[0]} {said[1]}` may be more than looking", "low")
    remote = [word for word in said if word in listed("effect.remote")]
    if remote:
        return _Sign("fetch", f"its name begins with `{said[0]}`, and `{remote[0]}` says that it asks elsewhere")
    return _Sign("read", f"its name begins with the reading verb `{said[0]}`, and no other verb stands in it", "medium")


def _acting(said: Sequence[str], at: int) -> frozenset[str]:
    """The word at a place, if it acts there and is not a noun behind a reading verb."""
    word = said[at]
    reading = said[0] in listed("effect.read")
    joined = at > 0 and said[at - 1] in listed("effect.connectors")
    if at and word in listed("effect.nouns_too") and not joined and (reading or verb_known(said[0])):
        return frozenset()
    if at and reading and not joined and word in listed("effect.read"):
        return frozenset()
    return frozenset({word}) if verb_known(word) else frozenset()


def verb_known(word: str) -> bool:
    """Whether a word is a verb that changes something."""
    return any(word in listed(f"effect.{one}") for one in _CLASSES)


def _named(said: Sequence[str]) -> _Sign | None:
    """The gravest thing that the name says the tool does."""
    acting = [word for at, word in enumerate(said) if word in _acting(said, at)]
    found: list[_Sign] = []
    for one in _CLASSES:
        hit = next((word for word in acting if word in listed(f"effect.{one}")), None)
        if hit is not None:
            found.append(_Sign(one, f"`{hit}` in its name", "high" if hit == said[0] else "medium"))
    if not found:
        return None
    changed = _object(said[1:])
    thing = next((word for word in changed if word in listed("effect.admin_objects")), None)
    if thing is not None and acting[0] in listed("effect.admin_changes"):
        found.append(_Sign("admin", f"`{acting[0]}` and `{thing}` in its name: who may do what changes"))
    bought = next((word for word in changed if word in listed("effect.spend_nouns")), None)
    if bought is not None:
        found.append(_Sign("spend", f"`{acting[0]}` and `{bought}` in its name"))
    # Of two that ask for as much, the verb says more than the thing; a verb that takes away says most.
    return max(found, key=lambda sign: RISK[sign.effect])


def _shaped(base: Effect, shape: Shape) -> Iterator[_Sign]:
    """What the arguments say."""
    if shape.links and RISK[base] < RISK["fetch"]:
        yield _Sign("fetch", f"`{shape.links[0]}` is a link", "high")
    if shape.code:
        yield _Sign("admin", f"it carries out what `{shape.code[0]}` holds", "medium")
    if base in ("read", "fetch") and shape.changing:
        yield _Sign("write", f"a tool that only looks takes no `{shape.changing[0]}`", "low")
    if base not in ("read", "fetch") and shape.money:
        yield _Sign("spend", f"`{shape.money[0]}` is an amount of money", "medium")


def _told(base: Effect, shape: Shape, definition: Mapping[str, Json]) -> Iterator[_Sign]:
    """What the server says of its tool, where that asks for more care."""
    hints = definition.get("annotations")
    told = hints if isinstance(hints, Mapping) else {}
    if told.get("destructiveHint") is True:
        yield _Sign("destroy", "its annotations say destructive")
    if told.get("readOnlyHint") is False:
        yield _Sign("write", "its annotations say that it is not read-only")
    if told.get("openWorldHint") is True:
        yield _Sign("fetch", "its annotations say that it deals with the world outside")
    if shape.told_links:
        yield _Sign("fetch", f"`{shape.told_links[0]}` is described as a link", "low")
    titles = (told.get("title"), definition.get("title"), definition.get("description"))
    spoken: list[tuple[str, ...]] = [sentence(text) for text in titles]
    for one in _CLASSES:
        hit = _first(spoken, listed(f"effect.said.{one}"))
        if hit is None:
            # In the imperative a sentence about the tool begins with the verb.
            begun = [text[0] for text in spoken if text]
            hit = next((word for word in begun if {word, singular(word)} & listed(f"effect.{one}")), None)
        if hit is not None and RISK[one] > RISK[base]:
            yield _Sign(one, f"`{hit}` in its description", "low")


def _first(texts: Sequence[Sequence[str]], wanted: Collection[str]) -> str | None:
    return next((word for text in texts for word in text if word in wanted), None)


def _flags(effect: Effect, shape: Shape) -> Iterator[str]:
    if effect == "read" and shape.prose:
        yield f"It is read and takes free text (`{shape.prose[0]}`): does that text leave the house, or is it kept?"
    if effect == "fetch":
        yield "What it is asked for leaves the house: its arguments are seen by whoever answers."
    if effect in ("read", "fetch") and (shape.links or shape.told_links):
        yield "It takes a link: whoever chose the link learns that it was opened, and what stands in it."


def about(description: object) -> tuple[str, ...]:
    """The first words of an argument's description, which say what it is."""
    said = sentence(description)
    return tuple(word for word in said if word not in ("the", "a", "an", "of"))[:_ABOUT]
