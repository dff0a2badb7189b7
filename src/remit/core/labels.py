"""Labels: what a session has been shown. They only join; nothing an agent does lowers one.

Integrity is a two-point lattice (trusted below untrusted), confidentiality a set; the join of both is the label of
everything seen so far.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Integrity: TypeAlias = Literal["trusted", "untrusted"]


@dataclass(frozen=True, slots=True)
class Labels:
    """How far to trust, and how secret, what a session holds."""

    integrity: Integrity = "untrusted"
    confidentiality: frozenset[str] = frozenset()

    def join(self, other: "Labels") -> "Labels":
        """The least label above both: untrusted if either is, secret as both are."""
        untrusted = "untrusted" in (self.integrity, other.integrity)
        return Labels("untrusted" if untrusted else "trusted", self.confidentiality | other.confidentiality)

    def within(self, other: "Labels") -> bool:
        """Whether this label is at or below ``other``."""
        return self.join(other) == other

    def document(self) -> dict[str, str | list[str]]:
        """The JSON form of INTERFACES section 4."""
        return {"integrity": self.integrity, "confidentiality": sorted(self.confidentiality)}


TRUSTED = Labels("trusted")
UNTRUSTED = Labels("untrusted")
