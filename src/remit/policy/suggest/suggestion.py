"""Come in here for what a review of a tool could say, judged from its definition alone. A person still signs it.

``suggest`` is pure and deterministic: no model, no network, and work that is bounded whatever the definition holds.
Rules
- Every member that is laxer than what holds without a review (FLOW_RULES E) has a finding that says on what it rests.
- A description, a title or an annotation is the server's own text. It can raise a risk and never lower one: each
  version of this function that heard it for comfort would be talked round by the first hostile server.
- What is not known has the default. A definition that is too large, too deep or not plain gets mostly defaults.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json
from remit.core.schema_leaves import last_name, schema_leaves
from remit.core.tools import ArgumentReview, Effect, LimitReview, OutputReview
from remit.policy.suggest.arguments import Argument, read_arguments, settled, shape
from remit.policy.suggest.effects import noun, suggested_effect, verb, verbs
from remit.policy.suggest.findings import Finding
from remit.policy.suggest.outputs import Parse, suggested_output
from remit.policy.suggest.words import LONGEST_NAME, forms, listed, words

MAX_ARGUMENTS: Final = 256
_MAX_INTENT: Final = 24
_CREATING: Final = frozenset(
    {
        "add",
        "book",
        "create",
        "insert",
        "make",
        "new",
        "open",
        "post",
        "register",
        "reserve",
        "schedule",
        "start",
        "submit",
        "upload",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The members of a ToolReview as they are proposed, why, and what a reviewer should look at."""

    effect: Effect
    arguments: Mapping[str, ArgumentReview]
    output: OutputReview
    mints: Mapping[str, str]
    discloses: tuple[Mapping[str, str], ...]
    limits: tuple[LimitReview, ...]
    intent: tuple[str, ...]
    findings: tuple[Finding, ...]
    flags: tuple[str, ...]


def suggest(
    definition: Mapping[str, Json], *, server: str, operator: str, parse: Parse, results: Sequence[Json] = ()
) -> Suggestion:
    """What a review of ``definition`` could say. ``results`` are CallToolResults recorded with permission.

    ``server`` is the server's name, ``operator`` who runs it, ``parse`` the strict reader of JSON in text blocks.
    """
    name = _name(definition)
    leaves, whole = schema_leaves(definition.get("inputSchema"), MAX_ARGUMENTS)
    thing = noun(name, server)
    mail = bool({"mail", "email", "emails", "mails"} & set(words(name)))
    told = read_arguments(leaves, server=server, noun=thing, mail=mail)
    effect, why, flags = suggested_effect(name, server, shape(told), definition)
    arguments = tuple(settled(told, effect))
    found = [one for one, _ in arguments]
    limits, counted = _limits(effect, found, {leaf.pointer for leaf in leaves if leaf.required})
    intent, asked = _intent(name, server, effect)
    output = suggested_output(
        definition,
        results,
        server=server,
        noun=thing,
        creates=effect in ("write", "spend", "admin") and _creates(name, server, found),
        looks=effect in ("read", "fetch"),
        page=[one.pointer for one in found if _pages(one)],
        parse=parse,
    )
    return Suggestion(
        effect=effect,
        arguments={one.pointer: one.review for one in found},
        output=output.review,
        mints=output.mints,
        discloses=_discloses(operator, effect, found),
        limits=limits,
        intent=intent,
        findings=(why, *(finding for _, finding in arguments), *counted, *asked, *output.findings),
        flags=(*flags, *_odd(definition, name, whole=whole), *output.flags),
    )


def _name(definition: Mapping[str, Json]) -> str:
    name = definition.get("name")
    return name if isinstance(name, str) else ""


def _creates(name: str, server: str, found: Sequence[Argument]) -> bool:
    """Whether the root of what comes back is new: a tool that is given a thing may give back that thing's own id."""
    return verb(name, server) in _CREATING and all(one.role != "reference" for one in found)


def _pages(one: Argument) -> bool:
    said = words(last_name(one.pointer))
    return one.numeric and one.role in ("free", "how_much") and bool(set(said) & listed("argument.paging"))


def _discloses(operator: str, effect: Effect, found: Sequence[Argument]) -> tuple[Mapping[str, str], ...]:
    """The server's operator sees all arguments; whoever a call names as a receiver sees what it sends."""
    readers = [one.pointer for one in found if one.role == "who"] if effect not in ("read", "fetch") else []
    return ({"operator": operator}, *({"readers_of": pointer} for pointer in readers))


def _limits(
    effect: Effect, found: Sequence[Argument], required: Collection[str]
) -> tuple[tuple[LimitReview, ...], tuple[Finding, ...]]:
    """What spends counts its amounts, or else its calls; what destroys counts its calls.

    An amount that may be left out can't be counted: the server may put one of its own there.
    """
    if effect not in ("spend", "destroy", "admin"):
        return (), ()
    limits: list[LimitReview] = []
    for one in found:
        name = (one.unit or "amount").lower()
        counts = effect == "spend" and one.role == "how_much" and one.type == "money"
        if (
            counts
            and "*" not in one.pointer
            and one.pointer in required
            and all(limit.name != name for limit in limits)
        ):
            limits.append(LimitReview(name=name, of=one.pointer, unit=one.unit))
    if not limits:
        limits.append(LimitReview(name="calls", of="call"))
    told = "an amount is counted" if limits[0].of != "call" else "no amount can be counted, so calls are"
    return tuple(limits), (Finding("/limits", f"what does `{effect}` is counted: {told}", "medium"),)


def _intent(name: str, server: str, effect: Effect) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The words by which a task asks for this: the verbs of its name, in their close forms."""
    if effect == "read":
        return (), ()
    head = verb(name, server)
    # A verb that looks is in most tasks, so it asks for nothing that changes something.
    said = [] if head is None or head in listed("effect.read") else list(verbs(name, server))
    asked = [form for word in said for form in (word, *forms(word))]
    if effect == "spend" and "send" in asked:
        asked.extend(sorted(listed("intent.spend")))
    if effect == "write" and asked and listed("intent.mail") & set(words(name)):
        asked.extend(sorted(listed("intent.mail")))
    intent = tuple(dict.fromkeys(asked))[:_MAX_INTENT]
    if not intent:
        return (), (
            Finding(
                "/intent",
                "its name begins with no verb that asks for this, so it is asked about once: the default",
                "low",
            ),
        )
    return intent, (
        Finding("/intent", f"`{intent[0]}` in its name, in the forms a task has for it", "medium", laxer=True),
    )


def _odd(definition: Mapping[str, Json], name: str, *, whole: bool) -> tuple[str, ...]:
    flags = []
    if not words(name):
        flags.append("Its name is not plain: nothing was taken from it.")
    if len(name) > LONGEST_NAME:
        flags.append(f"Its name is longer than {LONGEST_NAME} characters.")
    texts = [definition.get("title"), definition.get("description")]
    if any(
        isinstance(text, str)
        and not text.isprintable()
        and any(not char.isprintable() and char not in "\n\t\r" for char in text)
        for text in texts
    ):
        flags.append("Its description holds characters that a reader would not see: `remit tool show` writes them out.")
    if not whole:
        flags.append(
            "Its input schema has more, deeper or stranger members than are looked at: those have the default."
        )
    return tuple(flags)
