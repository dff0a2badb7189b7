"""Come in here for the session that ``remit wrap`` speaks in: started with a host key, or one that was given.

Whether its gateway is this home's or another machine's is no matter here.
"""

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from remit.cli.commands import Invocation
from remit.cli.connection import SESSION_TOKEN, Clients, no_host_key
from remit.core.canonical import Json
from remit.core.errors import BadInput, Malformed, RemitError, Unauthenticated, Unavailable
from remit.core.times import from_text
from remit.gateway.wrap import SessionDoor
from remit.sdk.answers import read_json
from remit.sdk.client import RemitClient
from remit.tokens import apikeys

_LAST_WORDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: the agent, its server, and how its session comes to be."""

    agent: str
    server: str
    session: str | None
    principal: str | None
    ttl: str
    key: str | None


@contextlib.asynccontextmanager
async def hosted(
    job: Invocation,
    clients: Clients,
    host: RemitClient,
    wanted: Wanted,
    say: Callable[[str], None],
    check: Callable[[Wanted, str], None] = lambda _wanted, _token: None,
) -> AsyncIterator[SessionDoor]:
    """A session of the host key's: the named one, or a new one that ends with us.

    ``say`` is told which it is; ``check`` sees the token first, and may raise.
    """
    key = apikeys.read(wanted.key or "")
    if wanted.session is not None:
        answer = await host.renew_token(wanted.session)
    else:
        answer = await host.start_session(_request(wanted))
    try:
        session, token = wanted.session or str(answer["session"]), str(answer["token"])
        expires = from_text(answer["token_expires_at"])
    except (LookupError, TypeError, BadInput) as error:
        raise Unavailable("what answers is no Remit: it gave no token", hint="Check the address.") from error
    try:
        check(wanted, token)
        say(f"session {session}, with host key {key.key_id if key else ''}")
        async with clients(token) as client:
            yield SessionDoor(session, wanted.server, client, host, expires, _now)
    finally:
        if wanted.session is None:
            await _end(job, host, session)


def _request(wanted: Wanted) -> dict[str, Json]:
    request: dict[str, Json] = {"agent": wanted.agent, "context": "unattested", "ttl": wanted.ttl}
    return request if wanted.principal is None else {**request, "principal": wanted.principal}


async def _end(job: Invocation, host: RemitClient, session: str) -> None:
    try:
        async with asyncio.timeout(_LAST_WORDS):
            await host.end_session(session, "wrap ended")
    except (RemitError, TimeoutError) as error:
        why = error.detail if isinstance(error, RemitError) else "no answer in time"
        job.out.note(f"Session {session} could not be ended ({why}); `remit session kill {session}` does it.")
    else:
        job.out.note(f"Session {session} ended.")


def given_token(session: str | None) -> str:
    """The session token of the environment, for ``session``. Raises ``Unauthenticated`` where there is none."""
    if session is None:
        raise no_host_key()
    token = os.environ.get(SESSION_TOKEN, "").strip()
    if not token:
        raise Unauthenticated(
            "--session needs its session token, or its agent's host key",
            hint=f"Give the token in {SESSION_TOKEN}, or the host key with --key-file FILE.",
        )
    if claimed(token).get("txn") != session:
        raise Unauthenticated(
            f"{SESSION_TOKEN} holds no token of session {session}", hint="Give the one it began with."
        )
    return token


def claimed(token: str) -> dict[str, Json]:
    """What a token says of itself. Whether that is true is the gateway's to check."""
    try:
        part = token.split(".")[1]
        claims = read_json(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError, Malformed):
        return {}
    return claims if isinstance(claims, dict) else {}


def lent(wanted: Wanted, client: RemitClient, session: str) -> SessionDoor:
    """The door of a session whose token was given, and which nobody here may renew."""
    return SessionDoor(session, wanted.server, client, None, 0, _now)


def _now() -> int:
    return time.time_ns() // 1_000_000
