"""Scopes: what of an agent's grants a token is asked for (RFC 6749 section 3.3).

``tools`` is all of it; ``effect:read``, ``server:office`` and ``tool:office/read_mail`` are parts. A scope never gives
anything: what a token reaches is what its chain is granted, and of that what the scope names.
"""

from collections.abc import Iterable
from typing import Final, get_args

from remit.core.oauth import OAuthRefusal
from remit.core.tools import Effect

ALL: Final = "tools"
SUPPORTED: Final = (ALL, *(f"effect:{effect}" for effect in get_args(Effect)))
_KINDS: Final = frozenset({"effect", "server", "tool"})
_MOST: Final = 1_000


def read_scope(text: str) -> tuple[str, ...]:
    """The parts of a ``scope`` parameter; none given means all. Raises ``OAuthRefusal`` (``invalid_scope``)."""
    parts = tuple(dict.fromkeys(part for part in text.split(" ") if part))
    for part in parts[: _MOST + 1]:
        kind, colon, name = part.partition(":")
        if part != ALL and not (colon and name and kind in _KINDS):
            raise OAuthRefusal("invalid_scope", f"there is tools, effect:E, server:S and tool:S/T, and no {part[:80]}")
    if len(parts) > _MOST:
        raise OAuthRefusal("invalid_scope", f"a scope has up to {_MOST} parts")
    return parts or (ALL,)


def covers(scope: Iterable[str], ref: str, effect: Effect) -> bool:
    """Whether a scope names this tool."""
    wanted = {ALL, f"effect:{effect}", f"server:{ref.partition('/')[0]}", f"tool:{ref}"}
    return any(part in wanted for part in scope)


def of_tools(refs: Iterable[str] | None) -> str:
    """The scope of a token that reaches exactly these tools, or all when there is no list."""
    return ALL if refs is None else " ".join(f"tool:{ref}" for ref in refs)
