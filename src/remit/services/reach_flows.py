"""The flows of a reach: what one output could bring about in one argument of another call, each pair rehearsed.

The task of a rehearsal is the one that serves an attacker best: it speaks of both tools, gives every value but the one
that is steered, and says the words that rules of strength go by (a name, a superlative, "every"). What still asks under
it asks under any task with fewer words; what passes in silence under it might under some person's task.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final

from remit.core.canonical import Json
from remit.core.reach import FlowReach, ToolReach
from remit.core.tools import FieldReview
from remit.core.values import URL, qualified
from remit.policy.demands import Argument, uses
from remit.policy.examples import OTHER, STRANGE, kind_at, result_of, value, with_value
from remit.policy.exposure import has_readers
from remit.services.authority import ReviewedTool
from remit.services.rehearsal import Step
from remit.services.survey import Survey

NAME: Final = "Zebra Crossing"
_WORDS: Final = f"It is about {NAME}. Take the largest, newest, latest one, or the one with the most."
_STEERING: Final = frozenset({"who", "what", "how_much", "reference"})
_MOST_PATHS: Final = 3
"""Fields of one kind that are told apart for one tool; text of strangers is all alike to the rules."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One field of a tool's results, and what it is to an attacker."""

    known: ReviewedTool
    path: str
    label: str
    type: str


@dataclass(frozen=True, slots=True)
class _Pair:
    """One flow that is yet to be rehearsed: ``steps`` makes its calls from arguments that are known to pass."""

    flow: FlowReach
    source: ReviewedTool
    sink: ReviewedTool
    steered: Argument | None
    steps: Callable[[Mapping[str, Json], Mapping[str, Json]], list[Step]]


async def flows(survey: Survey, tools: Sequence[ToolReach]) -> list[FlowReach]:
    """Every pair of a source and a sink that could be called for one person in one session."""
    open_tools = [survey.authority.tools[one.tool] for one in tools if one.verdict == "reachable"]
    pairs = chain(_steering(survey, open_tools), _leaving(survey, open_tools), _minting(survey, open_tools))
    return [await _rehearsed(survey, pair) for pair in pairs]


async def _rehearsed(survey: Survey, pair: _Pair) -> FlowReach:
    both = {pair.source.tool.ref, pair.sink.tool.ref}
    able = [one for one in survey.principals if all((one, ref) in survey.known for ref in both)]
    if not able:
        return replace(pair.flow, verdict="unreachable", why="no person may have both called")
    if not survey.within_bound():
        return replace(pair.flow, why="there were too many to rehearse all")
    asks, own = (survey.known[able[0], one.tool.ref] for one in (pair.source, pair.sink))
    tried = await survey.attempt(able[0], pair.steps(asks, own), _task(pair, asks, own))
    if tried.verdict == "allow":
        return replace(pair.flow, verdict="reachable", needs_ask=tried.asked, witness=tried.witness)
    return replace(pair.flow, needs_ask=tried.asked, why=f"not passed: {', '.join(tried.codes)}")


# Sources and sinks


def _sources(known: ReviewedTool) -> Iterator[_Source]:
    """Fields that strangers fill, and true fields of records that they may have made or the agent chooses among."""
    output, server = known.review.output, known.server.name
    if output.form == "opaque" or not output.fields:
        yield _Source(known, "", "untrusted", "")
        return
    third = [pointer for pointer, told in output.fields.items() if told.writer != "system"]
    for pointer in third[:_MOST_PATHS]:
        yield _Source(known, pointer, "untrusted", "")
    if output.records is None:
        return
    label = "listed" if output.records.listing == "system" else "chosen"
    for pointer, told in output.fields.items():
        if told.writer == "system" and pointer.startswith(output.records.at):
            yield _Source(known, pointer, label, qualified(told.type, server, _last(pointer)))


def _arguments(survey: Survey, sink: ReviewedTool) -> Iterator[Argument]:
    """The arguments of a sink that say to whom, what, how much or which."""
    known = next((found for who in survey.principals if (found := survey.known.get((who, sink.tool.ref)))), None)
    for one in uses(sink.review, known or {}):
        if one.role in _STEERING or one.type == URL:
            yield one


def _secrets(known: ReviewedTool) -> Iterator[tuple[str, str]]:
    """Each confidentiality label that results of a tool carry, with the first field that does."""
    found: dict[str, str] = {}
    for pointer, told in known.review.output.fields.items():
        for label in told.confidentiality:
            found.setdefault(label, pointer)
    yield from found.items()


def _minted(known: ReviewedTool) -> Iterator[tuple[str, str]]:
    for pointer, kind in known.review.mints.items():
        yield pointer, qualified(kind, known.server.name, _last(pointer))


def _last(pointer: str) -> str:
    parts = [part for part in pointer.split("/") if part not in ("", "*")]
    return parts[-1] if parts else ""


# Pairs


def _steering(survey: Survey, tools: Sequence[ReviewedTool]) -> Iterator[_Pair]:
    sources = [one for known in tools for one in _sources(known)]
    for sink in (known for known in tools if known.review.effect != "read"):
        for argument in _arguments(survey, sink):
            fitting = [one for one in sources if one.label == "untrusted" or one.type == argument.type]
            for at, source in enumerate(fitting):
                flow = _flow(source.known, source.path, source.label, sink, argument.pointer)
                full = survey.full
                yield _Pair(flow, source.known, sink, argument, partial(_steering_steps, source, sink, argument))
                if full:  # one row stands for the rest: that of the worst that is not known
                    survey.unsettled += len(fitting) - at - 1
                    break


def _steering_steps(
    source: _Source, sink: ReviewedTool, argument: Argument, asks: Mapping[str, Json], own: Mapping[str, Json]
) -> list[Step]:
    canary = value(argument.type, kind_at(sink.facts.input_schema, _general(argument.pointer)), which=STRANGE)
    return [
        Step(source.known.tool.ref, asks, _answer(source, canary)),
        Step(sink.tool.ref, _with(own, argument.pointer, canary)),
    ]


def _leaving(survey: Survey, tools: Sequence[ReviewedTool]) -> Iterator[_Pair]:
    for known in tools:
        for label, path in _secrets(known):
            for sink in tools:
                if survey.full:
                    survey.unsettled += 1
                elif sink.server.id != known.server.id or has_readers(sink.review):
                    readers = next((one["readers_of"] for one in sink.review.discloses if "readers_of" in one), "")
                    flow = _flow(known, path, label, sink, readers)
                    yield _Pair(flow, known, sink, None, partial(_leaving_steps, known, path, sink))


def _leaving_steps(
    known: ReviewedTool, path: str, sink: ReviewedTool, asks: Mapping[str, Json], own: Mapping[str, Json]
) -> list[Step]:
    shown = _answer(_Source(known, path, "", ""), "a secret")
    return [Step(known.tool.ref, asks, shown), Step(sink.tool.ref, own)]


def _minting(survey: Survey, tools: Sequence[ReviewedTool]) -> Iterator[_Pair]:
    for known in tools:
        for path, kind in _minted(known):
            for sink in (one for one in tools if one.review.effect != "read" and one is not known):
                for argument in (one for one in _arguments(survey, sink) if one.type == kind):
                    flow = _flow(known, path, "minted", sink, argument.pointer)
                    yield _Pair(flow, known, sink, argument, partial(_minting_steps, known, path, sink, argument))


def _minting_steps(
    known: ReviewedTool,
    path: str,
    sink: ReviewedTool,
    argument: Argument,
    asks: Mapping[str, Json],
    own: Mapping[str, Json],
) -> list[Step]:
    """Twice the same call on an object of its own making: what holds once for each object holds for none of these."""
    steps: list[Step] = []
    for made in ("minted1", "minted2"):
        steps.append(Step(known.tool.ref, asks, {"content": [], "structuredContent": _with({}, path, made)}))
        steps.append(Step(sink.tool.ref, _with(own, argument.pointer, made), {"content": []}))
    return steps


def _with(arguments: Mapping[str, Json], pointer: str, new: Json) -> Mapping[str, Json]:
    found = with_value(arguments, pointer, new)
    return found if isinstance(found, Mapping) else {}


def _flow(source: ReviewedTool, path: str, label: str, sink: ReviewedTool, argument: str) -> FlowReach:
    """Nothing is known of it yet, which is the worst."""
    return FlowReach(
        source=source.tool.ref,
        path=path,
        label=label,
        sink=sink.tool.ref,
        argument=argument,
        effect=sink.review.effect,
        verdict="may",
        needs_ask=False,
    )


def _answer(source: _Source, canary: Json) -> Mapping[str, Json]:
    """A result in which one field holds the canary, and every other what it might."""
    output, server = source.known.review.output, source.known.server.name
    values: dict[str, Json] = {
        pointer: NAME if told.naming else _filling(pointer, told, server) for pointer, told in output.fields.items()
    }
    values[source.path or "/text"] = canary
    return result_of(output, values)


def _filling(pointer: str, told: FieldReview, server: str) -> Json:
    kind = qualified(told.type, server, _last(pointer))
    return (
        value(kind, [], which=OTHER) if kind != f"{server}:{_last(pointer)}" or told.type else f"other-{_last(pointer)}"
    )


def _task(pair: _Pair, asks: Mapping[str, Json], own: Mapping[str, Json]) -> str:
    """Words of both tools, every value but the steered one, and the words that rules go by."""
    source, sink, steered = pair.source.review, pair.sink.review, pair.steered
    given = [
        *uses(source, asks),
        *(one for one in uses(sink, own) if steered is None or one.pointer != steered.pointer),
    ]
    noun = "" if steered is None else steered.type.rpartition(":")[2]
    lines = [" ".join(dict.fromkeys((*source.intent, *sink.intent))), *(_said(one) for one in given), _WORDS]
    return "\n".join([*(line for line in lines if line), f"Do so for every {noun}." if noun else ""])


def _said(one: Argument) -> str:
    if isinstance(one.value, bool):
        return str(one.value).lower()
    if one.value is None:
        return ""
    return (
        f"{one.value}" if one.role in ("how_much", "free_text") or isinstance(one.value, str) else f"number {one.value}"
    )


def _general(pointer: str) -> str:
    """A pointer with ``*`` for each position."""
    return "/".join("*" if step.isdigit() else step for step in pointer.split("/"))
