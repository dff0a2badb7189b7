"""Come in here for the address of a Remit as somebody gives it: what is one, and whether it leads off this machine."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

import httpx

from remit.core.errors import BadInput

# Nothing in it is expanded, quoted or split by a client's configuration, and none holds a password.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:/_~%\[\]-]+")


def checked(url: str) -> str:
    """``url`` without its last slash or ``/mcp``. Raises ``BadInput`` for what is no plain http address."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        plain = False
    if not plain or _ADDRESS.fullmatch(url) is None:
        raise BadInput(f"{url!r} is not the address of a Remit", hint="Such as https://remit.example.test.")
    return url.rstrip("/").removesuffix("/mcp")


def readable_on_the_way(address: str) -> bool:
    """Whether what is sent there passes other machines in plain text. The host is as httpx, which sends, reads it."""
    try:
        parts = httpx.URL(address)
        host = parts.host
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        local = False
    return not local and not address.startswith("https:")
