"""Step 5 of a tool call: the values that fall short, and what persons have said of them.

A person's yes to a value is strength 4 (rule B14): for its type, under this root session, at this server, for effects
no higher than the one that was asked about. A no is a veto for that value. Rows hold only hashes of values; the values
themselves stand with the event that asked, sealed for their person.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.approvals import Approval
from remit.core.canonical import Json, canonical, digest
from remit.core.decisions import Reason
from remit.core.tools import Effect, ToolReview
from remit.core.values import Atom
from remit.guards.hidden_text import reveal
from remit.policy.demands import Miss

RANK: Final[Mapping[Effect, int]] = {"read": 0, "fetch": 1, "write": 2, "spend": 3, "destroy": 4, "admin": 4}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said of values under one root session, by key: the highest effect endorsed, and those refused."""

    endorsed: Mapping[str, int]
    refused: frozenset[str]
    waiting: Mapping[str, Approval]


def value_key(root: str, server: str, atom: Atom) -> str:
    """The name of a value under one root session and server, which tells nothing of it."""
    return digest(canonical(["remit/v1/value", root, server, atom.type, atom.text]))


def key_of(root: str, server: str, miss: Miss) -> str:
    """The name of the value that a miss is about."""
    return value_key(root, server, Atom(miss.type, miss.value))


def spoken(approvals: Iterable[Approval], now: int) -> Spoken:
    """Read the answers off the approvals of one root session."""
    endorsed: dict[str, int] = {}
    refused: set[str] = set()
    waiting: dict[str, Approval] = {}
    for one in approvals:
        match one.state_at(now):
            case "approved":
                for key in one.values:
                    endorsed[key] = max(endorsed.get(key, 0), RANK[one.effect or "read"])
            case "denied":
                refused.update(one.values)
            case "pending":
                waiting[_together(one.values)] = one
            case _:
                pass
    return Spoken(endorsed, frozenset(refused), waiting)


def open_misses(misses: Sequence[Miss], said: Spoken, root: str, review: ToolReview) -> tuple[Miss, ...]:
    """The misses that no person's yes meets."""
    server = review.tool.partition("/")[0]
    rank = RANK[review.effect]
    return tuple(
        one for one in misses if not (one.about_value and said.endorsed.get(key_of(root, server, one), -1) >= rank)
    )


def asked_before(said: Spoken, keys: Sequence[str]) -> Approval | None:
    """The question about exactly these values that waits already."""
    return said.waiting.get(_together(keys))


def _together(keys: Iterable[str]) -> str:
    return " ".join(sorted(keys))


def reasons(misses: Sequence[Miss]) -> tuple[Reason, ...]:
    """Why a call is put to a person, miss by miss."""
    return tuple(
        Reason(
            "flow.value" if one.about_value and one.rule not in _CALLS else "flow.call",
            words(one),
            rule=one.rule,
            argument=one.argument or None,
            value=one.value or None,
            origin=_origin(one),
        )
        for one in misses[:8]
    )


def words(miss: Miss) -> str:
    """Why a miss asks, in words."""
    if not miss.about_value or miss.rule in _CALLS:
        return _CALLS[miss.rule]
    where = f" (listed by call {miss.has.call})" if miss.has.call else ""
    return f"{miss.value!r} at {miss.argument} has strength {miss.has.level} of {miss.needs}{where}"


_CALLS: Final[Mapping[str, str]] = {
    "C4": "this was done once already in this session",
    "C5": "the task names other dates",
    "C6": "the task gives another title",
    "D1": "the session was shown what is secret, and this tool has readers; a yes is for this tool, in this session",
    "D2": "the session read what the task does not name; a yes is for this tool, in this session",
    "H3": "the session was shown what this server is not cleared for; a yes is for this tool, in this session",
    "C8": "the task says no word of what this tool does; a yes is for the tool, in this session",
    "E": "nothing vouches for this answer to its server",
}


def _origin(miss: Miss) -> dict[str, Json] | None:
    if miss.has.call is None:
        return None
    return {"call_id": miss.has.call, "path": miss.has.path, "writer": "system", "integrity": "untrusted"}


def shown(misses: Sequence[Miss], review: ToolReview) -> list[Json]:
    """The values of a question as a person is shown them (INTERFACES section 4)."""
    server = review.tool.partition("/")[0]
    return [
        {
            "text": reveal(one.value),
            "type": one.type,
            "role": one.role,
            "effect": review.effect,
            "server": server,
            "origin": _origin(one),
        }
        for one in misses
    ]
