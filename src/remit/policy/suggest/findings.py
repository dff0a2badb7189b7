"""What a suggestion is made of: for each member of the review why it is proposed, how sure, and whether it is laxer.

*Laxer* is meant against FLOW_RULES E, what holds for a member that nobody reviewed. A finding that is laxer says on
which word, format or type of the definition it rests, so that a reviewer can check it and strike it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from remit.core.canonical import Json
from remit.core.tools import ArgumentReview, ArgumentRole, Effect

Sure: TypeAlias = Literal["high", "medium", "low"]
RISK: Final[Mapping[Effect, int]] = {"read": 0, "fetch": 1, "write": 2, "spend": 3, "destroy": 4, "admin": 4}
"""How much an effect asks for. Destroy and admin stand in one row of FLOW_RULES C."""

# FLOW_RULES C, by role: what a value of that role must be worth. A reference is taken as one's own object.
DEMANDS: Final[Mapping[Effect, Mapping[ArgumentRole, int]]] = {
    "read": {},
    "fetch": {},
    "write": {"who": 2, "what": 1, "reference": 2, "how_much": 2},
    "spend": {"who": 3, "what": 3, "reference": 2, "how_much": 2},
    "destroy": {"who": 3, "what": 3, "reference": 3, "how_much": 3},
    "admin": {"who": 3, "what": 3, "reference": 3, "how_much": 3},
}
SHARED: Final[Mapping[ArgumentRole, int]] = {"who": 2, "what": 3, "reference": 3}
"""The same for a write that lets others read an object that is there."""
LINK: Final[Mapping[Effect, int]] = {"read": 0, "fetch": 2, "write": 3, "spend": 3, "destroy": 3, "admin": 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """One member of the suggested review, by its JSON pointer, and why it says what it says."""

    member: str
    why: str
    sure: Sure = "medium"
    laxer: bool = False

    def document(self) -> dict[str, Json]:
        """As it is shown to people."""
        return {"member": self.member, "why": self.why, "sure": self.sure, "laxer": self.laxer}


def demand(effect: Effect, argument: ArgumentReview, *, shares: bool = False) -> int:
    """How much a value of this argument must be worth once a session is tainted (FLOW_RULES C)."""
    if argument.type == "url":
        return LINK[effect]
    if argument.type == "date" or argument.role in ("free", "free_text"):
        return 0
    table = SHARED if shares and effect == "write" else DEMANDS[effect]
    return table.get(argument.role, 0)
