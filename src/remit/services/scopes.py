"""What the keys behind a call leave of its agent's grants: a key may name its tools, and then reaches no other.

INVARIANT: looked up for each call, over every key that the call stands on: the one behind the credential, and those
that started the session and every session above it. So a list narrows all that comes of its key, and none widens.
"""

from collections.abc import Sequence

from remit.core.sessions import Session
from remit.services.authority import Authority


def within(authority: Authority, presented: str, session: Session, parents: Sequence[Session]) -> frozenset[str] | None:
    """The references of the tools that every one of these keys names; None where no key names any."""
    found: frozenset[str] | None = None
    for behind in (presented, *(one.key for one in (session, *parents))):
        key = authority.keys.get(behind)
        if key is not None and key.tools is not None:
            named = frozenset(key.tools)
            found = named if found is None else found & named
    return found
