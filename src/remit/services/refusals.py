"""Denials that the very same call would get again: answered from memory, and counted.

A denial is final, but agents repeat themselves. What the registry, the session's labels and the call's own bytes
decided is decided the same way while none of them changes, so a repeat costs no evaluation and no line in the log: it
points at the event of the first. INVARIANT: only a no is ever kept. What hangs on a limit, a clock or a person who may
still answer is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json, digest
from remit.core.decisions import Decision, Reason
from remit.core.labels import Labels
from remit.core.times import MINUTE
from remit.services.authority import Authority
from remit.services.recorded import Facts

MEMORY: Final = MINUTE
MOST: Final = 4_096
_LASTING: Final = frozenset(
    {
        *("tool.unknown", "tool.changed", "server.quarantined", "plan.tool", "arguments.shape", "arguments.encoding"),
        *("policy.denied", "budget.uncountable", "approval.denied", "approval.too_large"),
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One denial, and what it was decided on."""

    reasons: tuple[Reason, ...]
    event: int
    request_access: Mapping[str, Json] | None
    authority: Authority
    labels: Labels
    until: int


class Refusals:
    """The lasting denials of one process."""

    def __init__(self) -> None:
        """None yet."""
        self._kept: dict[tuple[str, str, str], Refusal] = {}

    def find(self, facts: Facts) -> Refusal | None:
        """The denial that this very call got before, while nothing that it was decided on has changed."""
        kept = self._kept.get(_key(facts))
        if kept is None or kept.authority is not facts.authority or kept.labels != facts.flow.labels:
            return None
        return kept if facts.now < kept.until else None

    def keep(self, facts: Facts, reasons: tuple[Reason, ...], answer: Decision) -> None:
        """Remember a recorded denial, if it is of the lasting kind."""
        if answer.event is None or not all(reason.code in _LASTING for reason in reasons):
            return
        while len(self._kept) >= MOST:
            self._kept.pop(next(iter(self._kept)))
        self._kept[_key(facts)] = Refusal(
            reasons, answer.event, answer.request_access, facts.authority, facts.flow.labels, facts.now + MEMORY
        )


def _key(facts: Facts) -> tuple[str, str, str]:
    return facts.session.id, facts.call.tool, digest(facts.arguments)
