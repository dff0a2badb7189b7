"""People: owners, reviewers, approvers, auditors, administrators, end users."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Role: TypeAlias = Literal["administrator", "reviewer", "approver", "auditor", "owner", "viewer"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One human. ``id`` is what the log names; the e-mail address never enters a leaf."""

    org: str
    id: str
    email: str
    name: str
    roles: tuple[Role, ...]
    state: Literal["active", "suspended", "departed"]
    created: int

    def has(self, *roles: Role) -> bool:
        """Whether this person is active and holds one of ``roles``; asked about nothing, the answer is no."""
        return self.state == "active" and any(role in self.roles for role in roles)
