"""What each argument of a tool decides, and what kind of value it takes.

What is told by a name or a format is proposed; the rest has the default of FLOW_RULES E: text that is not plainly prose
is `what`, a switch or a choice is free unless it lets more happen. A type is global by its format or name, a reference
has one of this server, and everything else stays a type of its own: two kinds of things that share a type would endorse
each other.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from remit.core.canonical import Json
from remit.core.schema_leaves import Node, SchemaLeaf, last_name, part, types
from remit.core.tools import ArgumentReview, ArgumentRole, Effect
from remit.policy.suggest.effects import Shape, about
from remit.policy.suggest.findings import Finding, Sure, demand
from remit.policy.suggest.words import listed, singular, words

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CURRENCIES: Final = frozenset(
    {"eur", "usd", "gbp", "chf", "sek", "nok", "dkk", "pln", "czk", "jpy", "cny", "inr", "aud", "cad"}
)
_MOST_CHOICES: Final = 64
_LINKS: Final = frozenset({"uri", "url", "iri", "uri-reference", "iri-reference", "uri-template"})
_DAYS: Final = frozenset({"date", "date-time"})
_DESCRIBED_PEOPLE: Final = frozenset(
    {"email", "e-mail", "iban", "recipient", "recipients", "account", "phone", "username", "payee", "beneficiary"}
)
_DESCRIBED_TYPES: Final = {"email": "email", "e-mail": "email", "emails": "email", "iban": "iban", "phone": "phone"}
_DESCRIBED_PLACES: Final = frozenset({"url", "uri", "link", "path", "id", "address", "command", "hostname"})


@dataclass(frozen=True, slots=True)
class Argument:
    """One leaf of the input schema, as far as it can be told what it is: role, type, unit, and why."""

    pointer: str
    role: ArgumentRole
    why: str
    sure: Sure
    type: str | None = None
    unit: str | None = None
    numeric: bool = False
    told_link: bool = False
    heard: bool = False

    @property
    def review(self) -> ArgumentReview:
        """As the review has it."""
        return ArgumentReview(role=self.role, type=self.type, unit=self.unit)


def read_arguments(leaves: Sequence[SchemaLeaf], *, server: str, noun: str | None, mail: bool) -> tuple[Argument, ...]:
    """What every leaf is by itself, before the tool's effect is known. ``mail``: the tool's own name speaks of mail."""
    some = [leaf for leaf in leaves if not _only(leaf.nodes, "null")]
    return tuple(_heard(_read(leaf, server, noun, mail=mail), leaf) for leaf in some)


def shape(arguments: Sequence[Argument]) -> Shape:
    """What of the arguments the effect turns on."""

    def named(place: str, *roles: ArgumentRole) -> tuple[str, ...]:
        return tuple(
            last_name(one.pointer)
            for one in arguments
            if (not roles or one.role in roles) and set(words(last_name(one.pointer))) & listed(place)
        )

    return Shape(
        links=tuple(last_name(one.pointer) for one in arguments if one.type == "url"),
        money=tuple(last_name(one.pointer) for one in arguments if one.type in ("money", "iban")),
        people=tuple(last_name(one.pointer) for one in arguments if one.role == "who"),
        code=named("argument.code", "what"),
        prose=tuple(last_name(one.pointer) for one in arguments if one.role == "free_text"),
        changing=named("argument.changing", "free_text", "who", "reference"),
        told_links=tuple(last_name(one.pointer) for one in arguments if one.told_link),
    )


def settled(arguments: Sequence[Argument], effect: Effect) -> Iterator[tuple[Argument, Finding]]:
    """Every argument as the effect leaves it, with its finding: what a number decides depends on what is done."""
    shares = (
        effect == "write"
        and any(one.role == "reference" for one in arguments)
        and any(one.role == "who" for one in arguments)
    )
    for one in arguments:
        found = one
        if one.numeric and one.role == "free" and effect in ("spend", "destroy", "admin"):
            found = Argument(one.pointer, "how_much", f"a number, in a tool that does `{effect}`", "low")
        unnamed = ArgumentReview(role="what")
        lower = demand(effect, found.review, shares=shares) < demand(effect, unnamed, shares=shares)
        # A number, a switch and plain prose ask for nothing by default either.
        laxer = found.heard or (lower and (found.role not in ("free", "free_text") or found.type == "date"))
        yield found, Finding(f"/arguments/{part(found.pointer)}", found.why, found.sure, laxer=laxer)


# One leaf


def _read(leaf: SchemaLeaf, server: str, noun: str | None, *, mail: bool) -> Argument:
    name = last_name(leaf.pointer)
    said = words(name)
    text = _is_text(leaf.nodes)
    at = leaf.pointer
    if not said:
        return Argument(at, "what", "its name is not plain letters: the default", "low")
    if not text and _only(leaf.nodes, "boolean"):
        return _choice(at, said, ())
    found = _formatted(at, leaf.nodes) or _place(at, said) or _person(at, said, server, mail=mail)
    found = found or _amount(at, said, leaf.nodes)
    if found is not None:
        return found
    choices = _choices(leaf.nodes)
    if choices is not None and not _points(said):
        return _choice(at, said, choices)
    if text and _moment(said):
        return _dated(at, said)
    if _points(said) and not (_is_number(leaf.nodes) and said[0] in listed("argument.paging")):
        return _reference(at, said, server, noun)
    if text and _prose(said):
        return Argument(at, "free_text", f"`{said[-1]}` is a word for sentences that somebody reads", "medium")
    return _rest(at, said, leaf.nodes, text=text)


def _formatted(at: str, nodes: Sequence[Node]) -> Argument | None:
    """By the format that the schema demands."""
    formats = {found for node in nodes if isinstance(found := node.get("format"), str)}
    if formats & _LINKS:
        return Argument(at, "what", "its format is a web address", "high", type="url")
    if formats & {"email", "idn-email"}:
        return Argument(at, "who", "its format is a mail address", "high", type="email")
    if formats & {"hostname", "idn-hostname"}:
        return Argument(at, "what", "its format is a host name", "high", type="host")
    if formats & _DAYS:
        return Argument(at, "what", "its format is a date", "high", type="date")
    return None


def _place(at: str, said: Sequence[str]) -> Argument | None:
    """Links, hosts, code, secrets: by name, whatever the schema says of it."""
    link = _hit(said, "argument.link")
    if link is not None and not _points(said):
        return Argument(at, "what", f"`{link}` in its name is a web address", "medium", type="url")
    if said[-1] in listed("argument.host"):
        return Argument(at, "what", f"`{said[-1]}` in its name is a host", "medium", type="host")
    code = _hit(said, "argument.code")
    if code is not None and not _points(said):
        return Argument(at, "what", f"`{code}` in its name: it is carried out as it comes", "medium")
    secret = _hit(said, "argument.secret")
    if secret is not None and not _points(said):
        return Argument(at, "what", f"`{secret}` in its name is a secret, or becomes one", "medium")
    return None


def _person(at: str, said: Sequence[str], server: str, *, mail: bool) -> Argument | None:
    """Who gets, sees or answers for something."""
    if _hit(said, "argument.iban"):
        return Argument(at, "who", "`iban` in its name is an account", "medium", type="iban")
    if _hit(said, "argument.phone"):
        return Argument(
            at, "who", f"`{_hit(said, 'argument.phone')}` in its name is a telephone number", "medium", type="phone"
        )
    last = said[-1]
    mailed = last in listed("argument.email") or (last in ("address", "addresses") and _hit(said, "argument.email"))
    if mailed:
        return Argument(at, "who", "`email` in its name is a mail address", "medium", type="email")
    if mail and last in listed("argument.mail_readers"):
        return Argument(at, "who", f"`{last}` of a tool that its name says is about mail", "medium", type="email")
    person = _hit(said, "argument.who")
    if person is None or _moment(said) or _prose(said) or (person in ("from", "to") and len(said) > 1):
        return None
    if last in ("id", "ids", "uuid", "guid", "handle", "slug"):
        return Argument(at, "who", f"`{person}` in its name says who", "medium", type=_kind(server, person))
    return Argument(at, "who", f"`{person}` in its name says who", "medium")


def _amount(at: str, said: Sequence[str], nodes: Sequence[Node]) -> Argument | None:
    number = _is_number(nodes)
    money = _hit(said, "argument.amount")
    if money is not None and not _points(said) and (number or _is_text(nodes)):
        unit = next((word.upper() for word in said if word in _CURRENCIES), None)
        told = f", and `{unit.lower()}` in which unit" if unit else ""
        return Argument(
            at, "how_much", f"`{money}` in its name says how much{told}", "medium", "money", unit, numeric=True
        )
    many = _hit(said, "argument.quantity")
    if number and many is not None:
        return Argument(at, "how_much", f"`{many}` in its name says how many", "medium", numeric=True)
    return None


def _choice(at: str, said: Sequence[str], choices: Sequence[Json]) -> Argument:
    """A switch or a closed list: free, unless it lets more happen."""
    wide = _hit(said, "argument.widening")
    for value in choices:
        wide = wide or _hit(words(value), "argument.widening") if isinstance(value, str) else wide
    if wide is not None:
        return Argument(at, "what", f"`{wide}` lets more happen than the rest of the call says", "medium")
    return Argument(at, "free", "a switch, or one of a closed list that widens nothing", "medium")


def _dated(at: str, said: Sequence[str]) -> Argument:
    if said[-1] == "time" and len(said) == 1:
        return Argument(at, "what", "`time` is its name", "low", type="time")
    return Argument(at, "what", f"`{'_'.join(said)}` is a name for a day or a moment", "medium", type="date")


def _reference(at: str, said: Sequence[str], server: str, noun: str | None) -> Argument:
    own = [
        word
        for word in said
        if word not in ("id", "ids", "uuid", "guid", "ref", "reference", "number", "handle", "slug", "key")
    ]
    named = [word for word in own if word not in ("path", "paths")] or own
    thing = named[-1] if named else noun
    kind = _kind(server, thing)
    why = f"`{said[-1]}` at the end of its name points at a thing that is there"
    return Argument(at, "reference", why, "medium" if own else "low", type=kind)


def _rest(at: str, said: Sequence[str], nodes: Sequence[Node], *, text: bool) -> Argument:
    if text:
        return Argument(at, "what", "text that is not plainly prose: the default", "low")
    number = _is_number(nodes)
    why = (
        "it cuts a listing into pages"
        if _hit(said, "argument.paging")
        else "neither text nor a name that is known: the default"
    )
    return Argument(at, "free", why, "low", numeric=number)


def _heard(one: Argument, leaf: SchemaLeaf) -> Argument:
    """What its own description adds. That is the server's text: it can ask for more care, and never for less.

    It may say which of the global types an identity has. That asks for nothing less either: the role stays, and only a
    value that has that type's grammar can be endorsed at all.
    """
    said = {word for text in leaf.told for word in about(text)}
    if said & listed("argument.prose"):
        return one
    link = bool(said & {"url", "uri", "link"})
    untold = one.type is None and (one.role in ("what", "free_text") or (one.role == "free" and one.numeric))
    if link and untold:
        return replace(one, role="what", type="url", why="it is described as a web address", sure="low", told_link=True)
    kinds = {kind for word, kind in _DESCRIBED_TYPES.items() if word in said}
    if one.role == "who" and one.type is None and len(kinds) == 1:
        kind = kinds.pop()
        return replace(
            one, type=kind, why=f"{one.why}; it is described as `{kind}`, which its values must then be", heard=True
        )
    described = said & (_DESCRIBED_PEOPLE | _DESCRIBED_PLACES)
    if described and one.role in ("free_text", "free") and untold:
        return replace(one, role="what", why=f"it is described as `{min(described)}`", sure="low")
    return replace(one, told_link=True) if link and one.type != "url" else one


# What a schema allows


def _is_text(nodes: Sequence[Node]) -> bool:
    """Whether text can stand here: also where the schema does not say what can."""
    return any(not types(node) or set(types(node)) & {"string", "object", "array"} for node in nodes)


def _is_number(nodes: Sequence[Node]) -> bool:
    return any({"number", "integer"} & set(types(node)) for node in nodes)


def _only(nodes: Sequence[Node], kind: str) -> bool:
    found = {one for node in nodes for one in types(node)} | {"any" for node in nodes if not types(node)}
    return found - {"null"} == {kind} or found == {kind}


def _choices(nodes: Sequence[Node]) -> tuple[Json, ...] | None:
    """The values of a closed list, or None where anything may stand. A list too long to look through counts as open."""
    found: list[Json] = []
    for node in nodes:
        if types(node) == ("null",):
            continue
        values = node.get("enum")
        if "const" in node:
            found.append(node["const"])
        elif isinstance(values, list) and len(values) <= _MOST_CHOICES:
            found.extend(values)
        elif types(node) != ("boolean",):
            return None
    return tuple(found)


# What a name says


def _hit(said: Sequence[str], place: str) -> str | None:
    return next((word for word in said if word in listed(place)), None)


def _points(said: Sequence[str]) -> bool:
    return said[-1] in listed("argument.reference")


def _moment(said: Sequence[str]) -> bool:
    return said[-1] in listed("argument.time") or said[-1] in listed("argument.date")


def _prose(said: Sequence[str]) -> bool:
    return said[-1] in listed("argument.prose")


def _kind(server: str, thing: str | None) -> str | None:
    """A type of this server's own, where its name can be one."""
    if thing is None:
        return None
    kind = f"{server}:{singular(thing)}"
    return kind if _KIND.fullmatch(singular(thing)) and _KIND.fullmatch(server) else None
