"""Policy revisions: what operators wrote, kept whole, so that the set in force can be shown and rolled back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRevision:
    """One accepted set of operator policies. ``id`` is a running number as text; the highest number is in force."""

    org: str
    id: str
    version: str
    sources: tuple[tuple[str, str], ...]  # file name and Cedar text
    applied_by: str
    applied_at: int
