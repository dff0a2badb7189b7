"""Come in here for ``remit wrap``: one MCP server under control, for a client that starts its servers itself.

Stdin and stdout speak MCP; everything else is on stderr. The program is not run here: the gateway runs it, as it runs
every stdio server, and only as the record says that was made for it. With ``--url`` that gateway is elsewhere
(``wrap_url.py``). What is wrapped starts a session with a host key, and ends it when its client goes away or it is told
to end.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from typer import Argument, Option

from remit.cli.commands import Invocation, command
from remit.cli.connection import SESSION_TOKEN, Clients, check_home, host_key, load_settings, person_key, reached
from remit.cli.output import unwritable
from remit.cli.server import stdio_transport
from remit.cli.session import KeyFileOption
from remit.cli.wrap_session import Wanted, given_token, hosted, lent
from remit.cli.wrap_url import elsewhere, server_of
from remit.core.canonical import Json
from remit.core.errors import Conflict, Forbidden, NotFound, Unauthenticated, Unavailable
from remit.core.ids import check_slug
from remit.gateway.wrap import SessionDoor, pump
from remit.guards.json_in import JsonLimits
from remit.sdk.client import RemitClient
from remit.tokens import apikeys

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_CHUNK: Final = 65_536
_WAITS_LONGER: Final = 15.0
_NO_WALL: Final = (
    "wrap is no wall against an agent that runs as your own user: it can start the program itself, or read this home.\n"
    "Where agents have a shell, let them run as another user."
)

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "wrap", example="remit wrap --agent reader -- mcp-server-time --local-timezone UTC")(wrap)


async def wrap(  # each is one option of the command line
    job: Invocation,
    agent: Annotated[str, Option(help="The agent that calls, which must be the key's own.")],
    command_line: Annotated[
        list[str] | None, Argument(metavar="CMD", help="The program and its arguments, after --; not with --url.")
    ] = None,
    server: Annotated[str | None, Option(help="The server's name; default after the program.")] = None,
    session: Annotated[
        str | None, Option(help=f"Call in this session, with {SESSION_TOKEN} or its host key, and let it live on.")
    ] = None,
    url: Annotated[
        str | None, Option(help="The Remit elsewhere that runs --server and decides; nothing is opened or run here.")
    ] = None,
    principal: Annotated[str | None, Option("--as", help="The person it acts for, vouched for by the host.")] = None,
    ttl: Annotated[str, Option(help="How long the session may last at most.")] = "P1D",
    key_file: KeyFileOption = None,
) -> None:
    """Speak MCP on stdin and stdout for one server, each call decided and recorded. Ends with its client."""
    program = command_line or []
    named = server_of(url, server, program)
    if url is None:
        check_home(job.home)
    chosen = load_settings(job.home)
    name = check_slug(named or server or _slug(program[0]), "server")
    wanted = Wanted(agent, name, session, principal, ttl, host_key(key_file))
    limits = JsonLimits(max_bytes=chosen.max_body, max_depth=chosen.max_depth)
    timeout = chosen.call_timeout + _WAITS_LONGER
    with _ended_by_signal():
        way = _here(job, wanted, program, timeout) if url is None else elsewhere(job, url, wanted, timeout)
        async with way as door:
            await pump(_input(), _output, door.post, limits)


@contextlib.asynccontextmanager
async def _here(job: Invocation, wanted: Wanted, program: list[str], timeout: float) -> AsyncIterator[SessionDoor]:
    """The way in through the Remit of this home, which runs the program."""
    stdio = stdio_transport(program, [])
    async with reached(job.home, timeout, lasting=True) as clients, _session(job, clients, wanted, stdio) as door:
        yield door


@contextlib.asynccontextmanager
async def _session(
    job: Invocation, clients: Clients, wanted: Wanted, stdio: Mapping[str, Json]
) -> AsyncIterator[SessionDoor]:
    """The way in for what is wrapped: its server is there, its session lives, and both were said."""
    given = None if wanted.key is not None else given_token(wanted.session)
    say = partial(_say_start, job, wanted)
    async with clients(person_key(job.home)) as person:
        await _check_agent(person, wanted)
        await _registered(job, person, wanted.server, stdio)
    if given is not None and wanted.session is not None:
        async with clients(given) as client:
            say(f"session {wanted.session}, whose token is not renewed without a host key")
            yield lent(wanted, client, wanted.session)
        return
    async with clients(wanted.key or "") as host, hosted(job, clients, host, wanted, say) as door:
        yield door


def _say_start(job: Invocation, wanted: Wanted, session: str) -> None:
    job.out.note(f"Agent {wanted.agent}, {session}; server {wanted.server}.\n{_NO_WALL}")


async def _registered(job: Invocation, person: RemitClient, name: str, stdio: Mapping[str, Json]) -> None:
    """Pass if the server record ``name`` is this very command; make it where there is none. Raises ``Conflict``."""
    try:
        record = await person.get("servers", name)
    except NotFound:
        record = await person.create("servers", {"kind": "Server", "name": name, "stdio": dict(stdio)})
        job.out.note(f"Server {name} was registered: {_line(stdio)}")
    there = record.get("stdio")
    if record["state"] == "retired":
        raise Conflict(f"server {name} was retired", hint="Names are never used again: choose another with --server.")
    if not isinstance(there, dict) or _line(there) != _line(stdio):
        raise Conflict(
            f"server {name} is not this command but {_line(there) if isinstance(there, dict) else 'no program'}",
            hint="Give the command as it is recorded, or choose another name with --server.",
        )
    if "seen" not in record:
        await _synced(person, name)
    waiting = [tool for tool in await person.tools("quarantined") if tool["server"] == name]
    if waiting:
        job.out.note(
            f"Tools of {name} in quarantine, hidden and refused until they are reviewed: {len(waiting)}. Next:\n"
            f"`remit tool list --state quarantined`, `remit tool show {name}/TOOL`, `remit tool review apply FILE`."
        )


async def _synced(person: RemitClient, name: str) -> None:
    try:
        await person.sync_server(name)
    except Unavailable as error:
        hint = "It is started with no variables but those of its record: `remit server add NAME --env …` names some."
        raise type(error)(f"server {name}: {error.detail}", hint=hint, event=error.event) from error


def _line(stdio: Mapping[str, Json]) -> str:
    args = stdio.get("args")
    return repr([stdio["command"], *(args if isinstance(args, list) else ())])


async def _check_agent(person: RemitClient, wanted: Wanted) -> None:
    """Pass if session and host key are of the agent that was named. Raises ``Forbidden``, ``Unauthenticated``."""
    agent = (await person.get("agents", wanted.agent))["name"]
    if wanted.session is not None and (await person.session(wanted.session))["agent"] != agent:
        raise Forbidden(f"session {wanted.session} is not of agent {agent}", hint="Name the agent that it is of.")
    if wanted.key is not None and await _agent_of(person, wanted.key) != agent:
        raise Forbidden(f"this host key is not of agent {agent}", hint="A host key starts sessions for its own agent.")


async def _agent_of(person: RemitClient, text: str) -> Json:
    key = apikeys.read(text)
    if key is None or key.purpose != "host":
        raise Unauthenticated("this is no host key", hint="See `remit key list`.")
    try:
        found = await person.get("keys", key.key_id)
    except NotFound as error:
        raise Unauthenticated("this home knows no such key", hint="See `remit key list`.") from error
    return str(found["agent"])


def _slug(program: str) -> str:
    """A server's name after its program's file name."""
    return re.sub(r"[^a-z0-9]+", "-", Path(program).stem.lower()).lstrip("-0123456789")[:32].rstrip("-")


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let the first SIGTERM or SIGINT cancel what is under way here; a second one does not cut the ending short."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    told = False

    def end() -> None:
        nonlocal told
        if task is not None and not told:
            told = True
            task.cancel()

    for number in _ENDING:
        loop.add_signal_handler(number, end)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            yield
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


async def _input() -> AsyncIterator[bytes]:
    """What comes in on stdin: a pipe, a terminal or a file."""
    descriptor = sys.stdin.fileno()
    while chunk := await _aside(partial(os.read, descriptor, _CHUNK)):
        yield chunk


async def _output(line: bytes) -> None:
    """All of ``line`` on stdout. Raises ``BrokenPipeError``, ``Unavailable``."""
    try:
        await _aside(partial(_write_all, sys.stdout.fileno(), line))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


async def _aside(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, done in a thread that may block for ever: nothing waits for it at the end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: OSError | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # T, as there was no error

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except OSError as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await done
