"""Reach: what an agent could do with what it holds, measured; its blast radius.

A verdict ``reachable`` always has a witness: calls that the real decision allowed when they were rehearsed.
``unreachable`` is said only where nothing could be called; what was not settled is ``may``, and counts as the worst.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from remit.core.canonical import Json
from remit.core.tools import Effect

ReachVerdict: TypeAlias = Literal["reachable", "unreachable", "may"]

WEIGHTS: Final[Mapping[Effect, int]] = {"read": 1, "fetch": 2, "write": 3, "spend": 5, "destroy": 8, "admin": 8}
"""How much a tool counts by its effect."""
SILENT: Final = 4
"""How often something counts that no person would be asked about."""
FORMULA: Final = (
    "for each tool that is not unreachable, and for each of its arguments that a flow which is not unreachable steers: "
    "the weight of the effect (read 1, fetch 2, write 3, spend 5, destroy 8, admin 8), times 4 unless a person is asked"
)


@dataclass(frozen=True, slots=True)
class Witness:
    """Calls that were rehearsed under a task, each with the decision on it, and the result that it was given."""

    task: str
    calls: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReach:
    """One tool that the agent could call, or could not, and why. ``suggested`` says that nobody changed its labels."""

    tool: str
    effect: Effect
    verdict: ReachVerdict
    conditions: tuple[str, ...] = ()
    needs_ask: bool = False
    why: str = ""
    suggested: bool = False
    witness: Witness | None = None

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 7."""
        return {
            "tool": self.tool,
            "effect": self.effect,
            "verdict": self.verdict,
            "conditions": list(self.conditions),
            "needs_ask": self.needs_ask,
            "why": self.why,
            "suggested": self.suggested,
            **_shown(self.witness),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReach:
    """What one output could bring about in one argument of another call.

    ``label`` is ``untrusted`` for text of third parties, ``chosen`` for what is true of a record that they may have
    made, ``minted`` for ids that the agent can make more of, else the confidentiality label of what could leave.
    """

    source: str
    path: str
    label: str
    sink: str
    argument: str
    effect: Effect
    verdict: ReachVerdict
    needs_ask: bool
    why: str = ""
    witness: Witness | None = None

    @property
    def silent(self) -> bool:
        """Whether it may happen without a person."""
        return self.verdict != "unreachable" and not self.needs_ask

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 7."""
        return {
            "from": {"tool": self.source, "path": self.path, "label": self.label},
            "to": {"tool": self.sink, "argument": self.argument},
            "verdict": self.verdict,
            "needs_ask": self.needs_ask,
            "why": self.why,
            **_shown(self.witness),
        }


def _shown(witness: Witness | None) -> dict[str, Json]:
    return {
        "task": witness.task if witness else None,
        "witness": [dict(one) for one in witness.calls] if witness else [],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The whole answer. Ceilings are plain decimals, None where nothing holds; ``credential_lifetime`` is ISO 8601."""

    agent: str
    state: str
    at: str
    authority_version: str
    tools: tuple[ToolReach, ...]
    flows: tuple[FlowReach, ...]
    at_most: Mapping[str, Mapping[str, str | None]]
    people: tuple[str, ...]
    agents: tuple[str, ...]
    credential_lifetime: str | None
    unsettled: int = 0  # flows and tools that were not rehearsed, for there were too many
    without: str | None = None
    weights: Mapping[Effect, int] = field(default_factory=lambda: WEIGHTS)

    @property
    def score(self) -> int:
        """One number, by ``FORMULA``. Taking a grant away never raises it: all that it counts needs a grant."""
        tools = sum(
            self.weights[one.effect] * (1 if one.needs_ask else SILENT)
            for one in self.tools
            if one.verdict != "unreachable"
        )
        steered: dict[tuple[str, str], int] = {}
        for one in self.flows:
            if one.verdict != "unreachable" and one.label in ("untrusted", "chosen"):
                weight = self.weights[one.effect] * (1 if one.needs_ask else SILENT)
                place = (one.sink, one.argument)
                steered[place] = max(steered.get(place, 0), weight)
        return tools + sum(steered.values())

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 7."""
        suggested = [one.tool for one in self.tools if one.suggested and one.verdict != "unreachable"]
        return {
            "agent": self.agent,
            "state": self.state,
            "at": self.at,
            "authority_version": self.authority_version,
            "tools": [one.document() for one in self.tools],
            "flows": [one.document() for one in self.flows],
            "at_most": {name: dict(most) for name, most in self.at_most.items()},
            "people": list(self.people),
            "agents": list(self.agents),
            "credential_lifetime": self.credential_lifetime,
            "suggested": suggested,
            "unsettled": self.unsettled,
            "without": self.without,
            "score": self.score,
            "score_formula": FORMULA,
        }
