"""Departures that one administrator asked for and another must still agree to, where the settings ask for two."""

from dataclasses import dataclass
from typing import Final, Literal

from remit.core.times import DAY

LIFE: Final = DAY
"""How long the first administrator's word holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """One administrator's word that a person departs, and who (a ``per_`` id) is to own their agents then."""

    org: str
    id: str
    person: str
    to: str | None
    asked_by: str
    asked_at: int
    state: Literal["open", "done"]

    def stands(self, now: int) -> bool:
        """Whether another administrator may still agree to it at ``now``."""
        return self.state == "open" and now < self.asked_at + LIFE
