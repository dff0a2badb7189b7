"""Come in here for the words that tell an operator what state a server is in, beside its record."""

import time
from typing import Final

from remit.core.errors import RemitError
from remit.core.times import SECOND, from_text
from remit.sdk.client import Document

_STATES: Final = {
    "well": "well",
    "failing": "failing",
    "resting": "resting: not called until it may have recovered",
    "unused": "not used by this process yet",
}


def still_observing(item: Document) -> bool:
    """Whether a server's observe mode has not ended yet, by this machine's clock."""
    mode = item.get("observe")
    if not isinstance(mode, dict):
        return False
    try:
        return time.time() * SECOND < from_text(str(mode["until"]))
    except RemitError:
        return True


def observe_mode(item: Document) -> str | None:
    """Whether, and until when, what would be refused at a server is let through."""
    if not isinstance(item.get("observe"), dict):
        return None
    until = item["observe"]["until"]
    return f"ON until {until}" if still_observing(item) else f"ended {until}"


def health(item: Document) -> str | None:
    """How a server answered the process that was asked, which knows of no other process."""
    found = item.get("health")
    if not isinstance(found, dict):
        return None
    words = _STATES.get(str(found.get("state")), str(found.get("state")))
    failures = found.get("failures")
    return f"{words} ({failures} failures in a row)" if failures else words
