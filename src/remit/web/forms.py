"""Requests of the OAuth endpoints and of pages: parameters that are given once, in a form or a query, within bounds."""

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from remit.core.oauth import OAuthRefusal
from remit.doors import BODY_SECONDS, headers_of

FORM: Final = "application/x-www-form-urlencoded"
MOST_BYTES: Final = 65_536
_MOST_FIELDS: Final = 1_200


async def read_form(request: Request) -> tuple[dict[str, str], tuple[tuple[str, str], ...], Mapping[str, str]]:
    """The parameters by name, all pairs as they came, and the headers. Raises ``OAuthRefusal`` and ``Malformed``."""
    headers = headers_of(request.scope)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthRefusal("invalid_request", f"the body is {FORM}")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise OAuthRefusal("invalid_request", f"the body is over {MOST_BYTES} bytes", status=413)
    except TimeoutError:
        raise OAuthRefusal("invalid_request", "the body did not come in time") from None
    try:
        pairs = _pairs(body.decode("ascii"))
    except UnicodeDecodeError:
        raise OAuthRefusal("invalid_request", "the body is no form") from None
    return single(pairs), pairs, headers


def read_query(request: Request) -> dict[str, str]:
    """The parameters of the query by name. Raises ``OAuthRefusal`` for one that is given twice."""
    return single(_pairs(request.scope["query_string"].decode("ascii", "replace")))


def single(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Parameters by name; of two values, another reader might take the other one (RFC 6749 section 3.1).

    A name that ends in ``[]`` is a list of a form of ours, and is not in what this gives. An empty value is none.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name.endswith("[]") or not value:
            continue
        if name in found:
            raise OAuthRefusal("invalid_request", f"the parameter {name[:80]} is given twice")
        found[name] = value
    return found


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(
            parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS, separator="&")
        )
    except (ValueError, UnicodeDecodeError):
        raise OAuthRefusal("invalid_request", "the parameters can't be read") from None
