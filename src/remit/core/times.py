"""Time as text and back: milliseconds UTC inside, RFC 3339 with milliseconds and ``Z`` outside, ISO 8601 durations."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from remit.core.errors import InvalidDocument

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z", re.ASCII)
_DURATION = re.compile(
    r"P(?:(?P<d>\d{1,5})D)?(?:T(?=\d)(?:(?P<h>\d{1,5})H)?(?:(?P<m>\d{1,6})M)?(?:(?P<s>\d{1,7})S)?)?", re.ASCII
)


def to_text(millis: int) -> str:
    """RFC 3339 in UTC, always with three fraction digits."""
    moment = _EPOCH + timedelta(milliseconds=millis)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def from_text(text: str, pointer: str = "") -> int:
    """Milliseconds UTC of an RFC 3339 time in ``Z``; else ``InvalidDocument`` at ``pointer``."""
    if _STAMP.fullmatch(text) is None:
        raise InvalidDocument(f"{text!r} is not a time such as 2027-06-30T00:00:00.000Z", pointer=pointer)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidDocument(f"{text!r} is no time of the calendar", pointer=pointer) from error
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def duration(text: str, pointer: str = "") -> int:
    """Milliseconds of an ISO 8601 duration in days, hours, minutes and seconds; zero and unreadable refuse."""
    found = _DURATION.fullmatch(text)
    millis = 0
    if found is not None:
        for name, unit in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
            millis += int(found[name] or 0) * unit
    if millis == 0:
        raise InvalidDocument(f"{text!r} is not a duration such as PT1H", pointer=pointer)
    return millis


def seconds_to_text(millis: int) -> str:
    """An ISO 8601 duration of whole seconds, which is what ``duration`` reads."""
    return f"PT{millis // SECOND}S"
