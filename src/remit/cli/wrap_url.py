"""Come in here for ``remit wrap --url``: the way to one server that stands behind a Remit elsewhere.

Nothing is opened here: no home, no store, no program, no person's key. The host key starts a session there, or a given
session is used; what the client says goes to that Remit's own door, which decides as for every other client.

INVARIANT: a credential goes to the address that was given and nowhere else, and to no other machine in plain text.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final

import httpx

from remit.cli import addresses
from remit.cli.commands import Invocation
from remit.cli.connection import Clients
from remit.cli.wrap_session import Wanted, claimed, given_token, hosted, lent
from remit.core.errors import BadInput, Forbidden, Malformed, Unavailable
from remit.gateway.wrap import SessionDoor
from remit.sdk.answers import read_json
from remit.sdk.client import RemitClient

# Under the 5 s after which uvicorn and Node drop an idle connection, so that a call rarely meets one that is dying.
_KEPT_SECONDS: Final = 4.0
_LIST: Final = b'{"jsonrpc":"2.0","id":0,"method":"tools/list"}'


def server_of(url: str | None, server: str | None, command_line: Sequence[str]) -> str | None:
    """The server that is named with ``--url``; None without it. Raises ``BadInput`` for what does not go together."""
    if url is None:
        if not command_line:
            raise BadInput("no program is named", hint="Name it after --, or give --url and --server.")
        return None
    if command_line:
        raise BadInput(
            "with --url no program is started here: the server runs where that Remit is",
            hint="Leave out -- and what follows; add the program there with `remit server add NAME --stdio -- CMD`.",
        )
    if server is None:
        raise BadInput("--url needs --server", hint="Name the server as `remit server list` does there.")
    return server


@contextlib.asynccontextmanager
async def elsewhere(job: Invocation, url: str, wanted: Wanted, timeout: float) -> AsyncIterator[SessionDoor]:
    """The way in: the session lives, the server has been asked for its tools, and both were said."""
    clients = _clients(url, timeout)
    say = partial(_say_start, job, url, wanted)
    if wanted.key is None:
        token = given_token(wanted.session)
        _check_agent(wanted, token)
        async with clients(token) as client:
            say(f"session {wanted.session}, whose token is not renewed without a host key")
            await _say_tools(job, client, wanted)
            yield lent(wanted, client, str(wanted.session))
        return
    async with clients(wanted.key) as host, hosted(job, clients, host, wanted, say, _check_agent) as door:
        await _say_tools(job, door.client, wanted)
        yield door


def _clients(url: str, timeout: float) -> Clients:
    """What makes clients of the Remit at ``url``. Raises ``BadInput`` where a key could be read on the way."""
    address = addresses.checked(url)
    if addresses.readable_on_the_way(address):
        raise BadInput(
            f"{address} is another machine over plain http: whoever is on the way could read the key",
            hint="Use https there.",
        )
    limits = httpx.Limits(keepalive_expiry=_KEPT_SECONDS)

    def made(credential: str) -> RemitClient:
        # The system's authorities, or those of SSL_CERT_FILE: a company's own is found in either.
        secure = ssl.create_default_context() if address.startswith("https:") else False
        transport = httpx.AsyncHTTPTransport(verify=secure, trust_env=False, limits=limits)
        return RemitClient(address, credential, transport, timeout)

    return made


def _check_agent(wanted: Wanted, token: str) -> None:
    """Pass if a given session is of the agent that was named. Raises ``BadInput``, ``Forbidden``.

    Of a session that is started here, the Remit there sees to that.
    """
    if wanted.session is None:
        return
    claims = claimed(token)
    actor = claims.get("act")
    agent = actor.get("sub") if isinstance(actor, Mapping) else claims.get("sub")
    if not wanted.agent.startswith("agt_"):
        raise BadInput(
            "with --url and --session the agent is named by its id: its name can't be looked up from here",
            hint=f"The session says that it is of {agent}.",
        )
    if wanted.agent != agent:
        raise Forbidden(f"session {wanted.session} is of agent {agent}", hint="Name the agent that it is of.")


async def _say_tools(job: Invocation, client: RemitClient, wanted: Wanted) -> None:
    """Say so if nothing is there to be called. Raises what the door there raises."""
    answer = await client.mcp(_LIST, wanted.server)
    try:
        tools = read_json(answer or b"")["result"]["tools"]
    except (Malformed, LookupError, TypeError) as error:
        raise Unavailable("what answers at --url lists no tools", hint="Is it the address of a Remit?") from error
    if not tools:
        job.out.note(
            f"No tool of {wanted.server} is there for this agent: the server is not known there, or none of its tools "
            "is reviewed and granted. Who runs that Remit can say which."
        )


def _say_start(job: Invocation, url: str, wanted: Wanted, session: str) -> None:
    job.out.note(
        f"Agent {wanted.agent}, {session}; server {wanted.server} of {url}.\n"
        "Policy, log and the server's credentials are there, out of reach from here. What was given here is not: an "
        "agent\nthat runs as your own user can read the key. Where agents have a shell, let them run as another user."
    )
