"""People: owners, reviewers, approvers, auditors, administrators, end users."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Role: TypeAlias = Literal["administrator", "reviewer", "approver", "auditor", "owner", "viewer"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Passkey:
    """One credential of a person's device: its id and public key in base64url, what they call it, and since when."""

    id: str
    key: str
    name: str
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One human. ``id`` is what the log names; the e-mail address never enters a leaf.

    ``identifiers`` are further values that are this person's own, as type and value: an account, a phone number, a
    handle at a server. To flow control they are as good as words of the task (rule B1).
    """

    org: str
    id: str
    email: str
    name: str
    roles: tuple[Role, ...]
    state: Literal["active", "suspended", "departed"]
    created: int
    identifiers: tuple[tuple[str, str], ...] = ()
    passkeys: tuple[Passkey, ...] = ()

    def has(self, *roles: Role) -> bool:
        """Whether this person is active and holds one of ``roles``; asked about nothing, the answer is no."""
        return self.state == "active" and any(role in self.roles for role in roles)
