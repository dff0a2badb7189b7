"""Values as flow compares them: an *atom* is one exact value of one type, in the one spelling its grammar gives.

Two spellings are one atom only where the grammar has a single reading for both (FLOW_RULES A1 to A3). What has none, or
hides something, has no atom and so can have no strength: text with invisible characters, text that mixes scripts, an
address with a rest that nobody parsed, a date that two countries read differently.

A type is global by nature (``GLOBAL``), or it belongs to one server: ``office:invoice``. Types never cross.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from remit.core.canonical import Json, canonical
from remit.core.errors import Malformed

EMAIL: Final = "email"
IBAN: Final = "iban"
URL: Final = "url"
HOST: Final = "host"
DATE: Final = "date"
TIME: Final = "time"
MONEY: Final = "money"
PHONE: Final = "phone"
GLOBAL: Final = frozenset({EMAIL, IBAN, URL, HOST, DATE, TIME, MONEY, PHONE})
IDENTITIES: Final = frozenset({EMAIL, IBAN, PHONE})
"""Global types whose every value is somebody."""
LONGEST: Final = 2_048
"""Characters; a longer value is no atom."""

_EMAIL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)+")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")
_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]|localhost")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?", re.ASCII)
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_MONEY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,4})?")
_PHONE = re.compile(r"\+?[0-9]{6,15}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PORTS: Final = {"http": 80, "https": 443}
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# Scripts that one word of one language mixes as a matter of course.
_TOGETHER: Final = {"CJK": "HAN", "HIRAGANA": "HAN", "KATAKANA": "HAN", "HANGUL": "HAN", "BOPOMOFO": "HAN"}


@dataclass(frozen=True, slots=True)
class Atom:
    """One exact value: its type, and its one spelling."""

    type: str
    text: str


def qualified(kind: str | None, server: str, name: str) -> str:
    """The full type of an argument or field: ``kind`` as reviewed, or the ``name`` it has, at this server."""
    if kind is None:
        return f"{server}:{name}"
    return kind if kind in GLOBAL or ":" in kind else f"{server}:{kind}"


def atom(kind: str, value: Json) -> Atom | None:
    """The atom of a scalar, or None where its type gives it no single reading."""
    text = _plain(value)
    if text is None or not text or len(text) > LONGEST or deceptive(text):
        return None
    spelled = _GRAMMARS.get(kind, _word)(text)
    return None if spelled is None else Atom(kind, spelled)


@lru_cache(maxsize=8_192)
def deceptive(text: str) -> bool:
    """Whether a text holds what is not seen, or letters of scripts that are not written together (FLOW_RULES A1)."""
    if text.isascii():
        return _CONTROL.search(text) is not None
    if any(
        unicodedata.category(character) in ("Cf", "Cc", "Co", "Cn", "Cs") and character not in "\t\n\r"
        for character in text
    ):
        return True
    if any(character.isdigit() and not character.isascii() for character in text):
        return True
    scripts = {_script(character) for character in text if character.isalpha()}
    return len(scripts - {"HAN"}) > 1


def _script(character: str) -> str:
    if character.isascii():
        return "LATIN"
    word = unicodedata.name(character, "UNKNOWN").partition(" ")[0]
    return _TOGETHER.get(word, word)


def _plain(value: Json) -> str | None:
    """A scalar as text; numbers in their one plain spelling."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, Decimal)):
        try:
            return canonical(value).decode()
        except Malformed:
            return None
    return None


# Grammars: the one spelling of a whole text, or None.


def _word(text: str) -> str | None:
    """Any other type: white space folded, nothing else. An upstream may well tell ``a`` from ``A``."""
    return " ".join(text.split()) or None


def _email(text: str) -> str | None:
    found = text.strip().lower()
    return found if _EMAIL.fullmatch(found) else None


def _iban(text: str) -> str | None:
    found = "".join(text.split()).upper()
    return found if _IBAN.fullmatch(found) else None


def _host(text: str) -> str | None:
    found = text.strip().lower().removesuffix(".")
    return found if _HOST.fullmatch(found) else None


def url_parts(text: str) -> tuple[str, str, str] | None:
    """Scheme (or nothing), host with port, and the rest of a web address; None for anything with more to it."""
    found = text.strip()
    if "\\" in found or any(character.isspace() for character in found):
        return None
    try:
        parts = urlsplit(found if "://" in found else f"//{found}")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("", "http", "https") or "@" in parts.netloc:
        return None
    host = _host(parts.hostname or "")
    if host is None:
        return None
    shown = host if port is None or port == _PORTS.get(parts.scheme) else f"{host}:{port}"
    rest = (
        (parts.path or "/")
        + (f"?{parts.query}" if parts.query else "")
        + (f"#{parts.fragment}" if parts.fragment else "")
    )
    return parts.scheme, shown, rest


def _url(text: str) -> str | None:
    parts = url_parts(text)
    if parts is None:
        return None
    scheme, host, rest = parts
    # A bare name is asked for by https or http as the server likes; either way it is that name and that path.
    return f"{scheme}://{host}{rest}" if scheme else f"{host}{rest}"


def _date(text: str) -> str | None:
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    month, day = int(found[2]), int(found[3])
    return f"{found[1]}-{found[2]}-{found[3]}" if 1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[month - 1] else None  # noqa: PLR2004 - months


def _time(text: str) -> str | None:
    found = _TIME.fullmatch(text.strip())
    return f"{int(found[1]):02d}:{found[2]}" if found else None


def _money(text: str) -> str | None:
    found = text.strip()
    if _MONEY.fullmatch(found) is None:
        return None
    return canonical(Decimal(found)).decode()


def _phone(text: str) -> str | None:
    found = re.sub(r"[ ().\-/]", "", text.strip())
    return found if _PHONE.fullmatch(found) else None


_GRAMMARS: Final[dict[str, Callable[[str], str | None]]] = {
    EMAIL: _email,
    IBAN: _iban,
    URL: _url,
    HOST: _host,
    DATE: _date,
    TIME: _time,
    MONEY: _money,
    PHONE: _phone,
}
