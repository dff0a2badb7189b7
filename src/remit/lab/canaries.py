"""Come in here to find fields that are labelled as the system's and that a third party can fill (FLOW_RULES E).

A canary is a word that stands nowhere else. One is written into each text argument of each tool that writes; then the
tools that read are called, and whoever sees a canary in a field that a review calls the system's, a custodian or an id
has found a wrong label. What no canary reached is not proved right: a third party may have other ways in.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from remit.core.canonical import Json
from remit.core.tools import FieldReview, ToolReview
from remit.core.values import qualified
from remit.guards.json_in import parse
from remit.guards.shape import ArgumentShape
from remit.policy.examples import example, kind_at, with_value
from remit.policy.flow import leaves, reviewable

Call: TypeAlias = Callable[[str, Mapping[str, Json]], Awaitable[Json]]
"""Calls a tool by reference; the CallToolResult, or a text that says why there is none."""

_MOST_LEAVES: Final = 20_000
_PLANTED: Final = ("free_text", "what")


@dataclass(frozen=True, slots=True)
class Known:
    """One reviewed tool and its input schema."""

    review: ToolReview
    schema: Json


@dataclass(slots=True)
class Audit:
    """What was planted, by canary, and what came of it."""

    planted: dict[str, str] = field(default_factory=dict)
    written: int = 0
    read: int = 0
    skipped: list[dict[str, Json]] = field(default_factory=list)
    findings: list[dict[str, Json]] = field(default_factory=list)

    def document(self, server: str) -> dict[str, Json]:
        """As people read it."""
        return {
            "server": server,
            "planted": len(self.planted),
            "written": self.written,
            "read": self.read,
            "skipped": list(self.skipped),
            "findings": list(self.findings),
        }

    def look(self, known: Known, result: Json) -> None:
        """Note every field of a result that must not hold a canary and does."""
        for pointer, label, canary in carried(known.review, result, tuple(self.planted)):
            found: dict[str, Json] = {
                "tool": known.review.tool,
                "field": pointer,
                "label": label,
                "planted_in": self.planted[canary],
            }
            if found not in self.findings:
                self.findings.append(found)


async def plant_and_read(tools: Sequence[Known], call: Call, mark: str) -> Audit:
    """Write canaries by every tool of the effect ``write``, then call all that read; ``mark`` makes them rare."""
    audit = Audit()
    for known in (one for one in tools if one.review.effect == "write"):
        arguments = dict(_arguments(known))
        for pointer in _texts(known):
            canary = f"{mark}{len(audit.planted)}"
            planted = with_value(arguments, pointer, canary)
            if isinstance(planted, Mapping) and not ArgumentShape.compile(known.schema).check(planted):
                arguments = dict(planted)
                audit.planted[canary] = f"{known.review.tool} {pointer}"
        audit.written += await _called(audit, known, arguments, call)
    for known in (one for one in tools if one.review.effect in ("read", "fetch")):
        audit.read += await _called(audit, known, _arguments(known), call)
    return audit


async def _called(audit: Audit, known: Known, arguments: Mapping[str, Json], call: Call) -> int:
    result = await call(known.review.tool, arguments)
    if isinstance(result, str):
        audit.skipped.append({"tool": known.review.tool, "why": result})
        return 0
    audit.look(known, result)
    return 1


def carried(review: ToolReview, result: Json, canaries: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each field of a result that a review calls the system's and that holds a canary: pointer, label, canary."""
    document = reviewable(review.output, result, parse) if isinstance(result, Mapping) else None
    if document is None:
        return  # nothing of it counts as the system's
    minted = dict.fromkeys(review.mints, "mints")
    for leaf in leaves(document, _MOST_LEAVES):
        told = review.output.fields.get(leaf.pointer) or review.output.fields.get(leaf.general)
        label = minted.get(leaf.general) or ("" if told is None or told.writer != "system" else _words(told))
        if label and isinstance(leaf.value, str):
            yield from ((leaf.general, label, one) for one in canaries if one in leaf.value.casefold())


def _words(told: FieldReview) -> str:
    return "system, custodian" if told.custodian else "system"


def _arguments(known: Known) -> Mapping[str, Json]:
    server = known.review.tool.partition("/")[0]
    kinds = {
        pointer: qualified(told.type, server, pointer.rpartition("/")[2])
        for pointer, told in known.review.arguments.items()
    }
    return example(known.schema, kinds)


def _texts(known: Known) -> Iterator[str]:
    """The arguments that take text of anybody's: by their reviewed role, else by their schema."""
    schema = known.schema
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    listed = [f"/{name}" for name in properties] if isinstance(properties, Mapping) else []
    for pointer in dict.fromkeys((*known.review.arguments, *listed)):
        told = known.review.arguments.get(pointer)
        texts = any(node.get("type") == "string" for node in kind_at(schema, pointer))
        if texts and (told is None or told.role in _PLANTED):
            yield pointer
