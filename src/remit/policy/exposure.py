"""Who would learn what a session was shown: the secrets that a call could carry out (FLOW_RULES D1, D3, H3).

A model can write what it saw in other words, so no value is looked for: once a session was shown something with a
label, each of its calls may carry it. Its arguments are shown to the server's operator, reads as well, and to whoever
the review names beside. What a session was shown by one server alone is no news to that server.

Integrity has nothing to do with it: a session that no stranger's text reached can give a secret away too.
"""

from collections.abc import Collection, Iterable
from typing import Final

from remit.core.servers import Server
from remit.core.tools import ToolReview
from remit.core.values import URL
from remit.policy.demands import Miss
from remit.policy.memory import NOTHING

SECRETS: Final = frozenset({"secret", "credential", "card", "government_id"})
"""Labels of what opens, pays or identifies: an endorsed reader is not enough for these."""
DISCLOSURE: Final = "disclosure"
"""The type of the value that stands for labels shown by a tool."""
_ASKED: Final = 4


def exposures(review: ToolReview, server: Server, shown_by: Collection[tuple[str, str]]) -> tuple[Miss, ...]:
    """What a call of this tool would show that nobody cleared, as one miss at most.

    ``shown_by`` has each label of the session with the slug of a server that showed it. A server that names a clearance
    is held to it for every label; one that names none may have what is no secret.
    """
    labels = frozenset(label for label, _ in shown_by)
    secret = labels & SECRETS
    told = _to_readers(review, secret)
    if told:
        return (_miss("D1", review, told | _beyond(server, shown_by)),)
    unclear = _beyond(server, shown_by)
    return (_miss("H3", review, unclear),) if unclear else ()


def has_readers(review: ToolReview) -> bool:
    """Whether others than its operator learn what a call says: named readers, or whoever answers at an address."""
    named = any("readers_of" in one for one in review.discloses)
    return named or review.effect == "fetch" or any(one.type == URL for one in review.arguments.values())


def _to_readers(review: ToolReview, secret: frozenset[str]) -> frozenset[str]:
    return secret if has_readers(review) else frozenset()


def _beyond(server: Server, shown_by: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Labels that others showed and this server is not cleared for."""
    found = {label for label, whose in shown_by if whose != server.name and label not in server.clearance}
    return frozenset(found if server.clearance else found & SECRETS)


def _miss(rule: str, review: ToolReview, labels: Collection[str]) -> Miss:
    return Miss(rule, "", "what", f"{review.tool}: {', '.join(sorted(labels))}", DISCLOSURE, NOTHING, _ASKED)
