"""Approvals: one question to a person about one exact call, answered once, used once."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from remit.core.tools import Effect

ApprovalState: TypeAlias = Literal["pending", "approved", "denied", "expired", "void", "used"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The question and all it is bound to. ``arguments`` are the canonical bytes, whole: what is hashed is shown.

    One of kind ``text`` asks whether a text that ``tool`` brought is adopted (rule B15); its arguments are the bound.
    ``owner`` is the person the agent belongs to, who by four eyes may not answer; ``references`` are the values of
    reference arguments, a write to which in the session voids the approval.
    """

    org: str
    id: str
    kind: Literal["call", "value", "text"]
    state: ApprovalState
    agent: str
    chain: tuple[str, ...]
    session: str
    root: str
    credential: str
    tool: str
    fingerprint: str
    server: str
    server_fingerprint: str | None
    arguments: bytes
    arguments_hash: str
    references: tuple[str, ...]
    policy_version: str
    authority_version: str
    asked_at: int
    expires_at: int
    asked_event: int
    answered_by: str | None = None
    answered_at: int | None = None
    void_because: str | None = None
    note: str | None = None
    values: tuple[str, ...] = ()  # what a question about values asks about, by key; their texts stand with its event
    effect: Effect | None = None  # the highest effect that a yes to these values is for
    shown_values: bytes = b"[]"  # those texts and where they stood, canonical; never in the row
    persons: int = 1  # how many different ones must say yes
    yes_by: tuple[str, ...] = ()  # who has
    returned: bool = False  # it was used, its call reached no server, and it was given back

    def state_at(self, now: int) -> ApprovalState:
        """The state as time has it: an unanswered or unused approval past its expiry is expired."""
        return "expired" if self.state in ("pending", "approved") and now >= self.expires_at else self.state
