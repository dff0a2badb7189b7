"""Rule B15: one text of strangers that a person, who saw it whole, took over as part of the task, within a bound.

What stands in it then has strength 2 for the tools and types of the bound, and for nothing else: it meets no demand of
3, and no rule that speaks of the call rather than of a value. An adoption covers a call whole or not at all, so that
whatever is left of a question shows all that there is to judge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from remit.core.values import Atom, atom
from remit.policy.demands import Miss
from remit.policy.task import Task

ADOPTED: Final = 2
"""The strength of a value that stands in an adopted text."""
_VALUES: Final = frozenset({"C", "C2", "C3", "C7"})


@dataclass(frozen=True, slots=True)
class Adoption:
    """A text and what it was adopted for. ``limits`` are ceilings in ten-thousandths by name, ``calls`` among them."""

    id: str
    text: Task
    tools: frozenset[str]
    types: frozenset[str]
    limits: Mapping[str, int]

    def covers(self, tool: str, misses: Iterable[Miss]) -> bool:
        """Whether it meets every one of these demands of a call of this tool."""
        return tool in self.tools and all(self.meets(one) for one in misses)

    def meets(self, miss: Miss) -> bool:
        """Whether it meets one demand of a call of a tool that it was adopted for."""
        if miss.rule == "C8":
            return True  # the person saw the tool's own name beside the text
        if miss.rule not in _VALUES or miss.needs > ADOPTED or miss.type not in self.types:
            return False
        # INVARIANT: what has no single reading is shown as it came, and stands in no text.
        named = Atom(miss.type, miss.value)
        return atom(miss.type, miss.value) == named and self.text.names(named)
