"""The commands of the noun ``token``: what a token says and whether it holds, and the keys that sign tokens."""

import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

from typer import Argument

from remit.cli.commands import NO, Invocation, command, group
from remit.cli.connection import SESSION_TOKEN, as_person, read_key
from remit.core.canonical import Json
from remit.core.errors import BadInput, Unauthenticated
from remit.core.times import MINUTE, to_text
from remit.tokens.assertions import header_of, key_set, read_assertion

app = group("token", "Session tokens: what they say, and the keys that sign them.")

_HEADERS: Final = frozenset({"alg", "kid", "typ"})


@command(app, "inspect", example="remit token inspect token.txt")
async def inspect(
    job: Invocation,
    file: Annotated[Path | None, Argument(help=f"File, - for standard input; default {SESSION_TOKEN}.")] = None,
) -> int | None:
    """Show what a token says, held against this Remit's keys and its clock. Exit 1 for one that is not good."""
    text = _token(file)
    async with as_person(job) as client:
        keys = key_set(json.dumps(await client.jwks()))
    wrong, claims = _judged(text, keys)
    found: dict[str, Json] = {"good": wrong is None}
    if wrong is not None:
        found["why"] = wrong
    job.out.document(found | {"claims": claims})
    if claims and isinstance(claims.get("exp"), int):
        ends = to_text(int(str(claims["exp"])) * 1_000)
        job.out.note(f"It ends at {ends}. Whether its session lives is another thing.")
    return None if wrong is None else NO


@command(app, "rotate", example="remit token rotate")
async def rotate(job: Invocation) -> None:
    """Make another key that signs tokens, from a minute on; the old one verifies until its last token has ended."""
    async with as_person(job) as client:
        job.out.document(await client.rotate_token_keys())


def _token(file: Path | None) -> str:
    """The token, from where no list of processes shows it."""
    if file is None:
        text = os.environ.get(SESSION_TOKEN, "")
    elif str(file) == "-":
        text = sys.stdin.read(16_385)
    else:
        text = read_key(file)
    if not text.strip():
        raise BadInput("there is no token to look at", hint=f"Name a file, or set {SESSION_TOKEN}.")
    return text.strip()


def _judged(text: str, keys: Any) -> tuple[str | None, dict[str, Json]]:
    """Why a token is not good, or None; and what it says, if that can be read."""
    claims: dict[str, Json] = {}
    try:
        header_of(text, _HEADERS)
        claims = _claims(text)
        read_assertion(text, keys, time.time_ns() // 1_000_000, 5 * MINUTE)
    except Unauthenticated as error:
        return error.detail, claims
    return None, claims


def _claims(text: str) -> dict[str, Json]:
    """What stands in a token, whoever signed it."""
    body = text.split(".")[1]
    try:
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
