"""The commands of the noun ``server``: the upstream MCP servers whose tools agents call.

A stdio server's command is resolved to an absolute path here, once: its child gets no PATH, and a name that a later
PATH would resolve otherwise is another program. A credential is read from stdin, so that it stands in no shell history
and in no list of processes.
"""

import getpass
import shutil
import sys
from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import YES, Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.observing import health, observe_mode
from remit.cli.output import Column
from remit.core.canonical import Json
from remit.core.errors import BadInput, InvalidDocument, Unavailable
from remit.guards.documents import check_document
from remit.sdk.client import Document

# As every failure to reach an upstream.
UNREACHED: Final = 6

app = group("server", "The upstream MCP servers whose tools agents call.")

_MAX_SECRET: Final = 65_536


def _transport(item: Document) -> str:
    if "stdio" in item:
        stdio = item["stdio"]
        return " ".join([stdio["command"], *stdio.get("args", ())])
    return str(item.get("url", "in the caller's own process"))


_COLUMNS: Final = (
    Column("name"),
    Column("state"),
    Column("reached at", _transport),
    Column("observe mode", observe_mode),
    Column("health", health),
    Column("shared"),
    Column("secrets"),
    Column("id"),
)

ServerArgument = Annotated[str, Argument(metavar="NAME", help="The server's name or srv_ id.")]


@command(app, "add", example="remit server add time --stdio -- mcp-server-time --local-timezone UTC")
async def add(  # each is one option of the command line
    job: Invocation,
    name: Annotated[
        str | None, Argument(metavar="NAME", help="The first part of every reference to its tools.")
    ] = None,
    command_line: Annotated[
        list[str] | None, Argument(metavar="CMD", help="With --stdio: the program and its arguments, after --.")
    ] = None,
    url: Annotated[str | None, Option(help="Where it speaks streamable HTTP.")] = None,
    stdio: Annotated[bool, Option("--stdio", help="A child process, given after --.")] = False,
    caller: Annotated[bool, Option("--caller", help="Its tools run in the caller's process.")] = False,
    env: Annotated[list[str] | None, Option(help="NAME=VALUE that the child gets; it gets no other.")] = None,
    secret: Annotated[
        list[str] | None, Option(help="header:NAME, env:NAME or tls:key; its value is a line on stdin, in this order.")
    ] = None,
    ca: Annotated[Path | None, Option(help="PEM file; only certificates that it signed are believed.")] = None,
    cert: Annotated[Path | None, Option(help="Our certificate, PEM; its key is --secret tls:key.")] = None,
    insecure: Annotated[bool, Option("--insecure", help="Plain http to another machine is meant.")] = False,
    shared: Annotated[bool, Option("--shared", help="Sessions may share a connection.")] = False,
    operator: Annotated[str | None, Option(help="Who runs it, and so sees every argument.")] = None,
    allow_elicitation: Annotated[
        bool, Option("--allow-elicitation", help="It may ask the client's user in the middle of a call.")
    ] = False,
    allow_sampling: Annotated[
        bool, Option("--allow-sampling", help="It may ask the client's model in the middle of a call.")
    ] = False,
    file: Annotated[
        Path | None, Option("--file", "-f", help="A file of kind Server, in place of NAME and its options.")
    ] = None,
) -> None:
    """Add an upstream server. Nothing is contacted until its first sync."""
    if file is not None:
        beside = (name, command_line, url, env, secret, operator, stdio, caller, shared, ca, cert, insecure)
        if any((*beside, allow_elicitation, allow_sampling)):
            hint = "Write it all in the file; its credentials come after, by `remit server secret`."
            raise InvalidDocument("--file stands alone", hint=hint)
        await _add_file(job, file)
        return
    if name is None:
        raise InvalidDocument("NAME is missing", hint="See `remit server add --help`.")
    document = _document(name, command_line or [], url, env or [], stdio=stdio, caller=caller, shared=shared)
    if operator is not None:
        document["operator"] = operator
    asking = {"allow_elicitation": allow_elicitation, "allow_sampling": allow_sampling}
    document |= {member: True for member, on in asking.items() if on}
    document |= _on_the_way(ca, cert, insecure=insecure)
    check_document("Server", document)
    places = [_place(item) for item in secret or []]
    values = _secrets_in([":".join(place) for place in places])
    async with as_person(job) as client:
        made = await client.create("servers", document)
        for (place, key), value in zip(places, values, strict=True):
            made = await client.store_secret(name, place, key, value)
    job.out.document(made)
    if not caller:
        job.out.note(f"Next: `remit server sync {name}` lists its tools; they are quarantined until reviewed.")


@command(app, "list", example="remit server list --json")
async def list_servers(job: Invocation) -> None:
    """List every server, retired ones included."""
    async with as_person(job) as client:
        found = await client.listing("servers")
    job.out.table(found, _COLUMNS, "No servers yet: `remit server add`.")


@command(app, "check", example="remit server check office")
async def check(job: Invocation, name: ServerArgument) -> int:
    """Reach the server now, and say what to do if it can't be; exit 6 then. Nothing is changed."""
    async with as_person(job) as client:
        answer = await client.check_server(name)
    job.out.document(answer)
    if not answer["ok"] and not job.out.json:
        job.out.note(f"Next: {answer['hint']}")
    return YES if answer["ok"] else UNREACHED


@command(app, "sync", example="remit server sync office")
async def sync(job: Invocation, name: ServerArgument) -> None:
    """List the server's tools now, and say what is new, changed or gone."""
    async with as_person(job) as client:
        try:
            answer = await client.sync_server(name)
        except Unavailable as error:
            raise type(error)(f"server {name}: {error.detail}", hint=error.hint, event=error.event) from error
    if job.out.json:
        job.out.document(answer)
        return
    job.out.table(answer["tools"], (Column("tool"), Column("state"), Column("fingerprint")), "It lists no tools.")
    for refused in answer.get("refused", ()):
        job.out.note(f"Refused {refused['tool'] or 'a tool'}: {refused['why']}")
    itself = answer.get("server")
    if itself and itself["quarantined"]:
        job.out.note(
            f"The server itself is not what was agreed to. Look at it, then "
            f"`remit server approve {name} --fingerprint {itself['fingerprint']}`."
        )
    if any(tool["state"] in ("new", "changed", "renamed?") for tool in answer["tools"]):
        job.out.note("Next: `remit tool list --state quarantined`, then `remit tool show REF` and review.")


@command(app, "rm", example="remit server rm office")
async def remove(job: Invocation, name: ServerArgument) -> None:
    """Retire a server for good: its tools are there for nobody, its credentials are overwritten."""
    async with as_person(job) as client:
        job.out.document(await client.change("servers", name, {"state": "retired"}))


@command(app, "approve", example="remit server approve office --fingerprint sha256:…")
async def approve(
    job: Invocation,
    name: ServerArgument,
    fingerprint: Annotated[str | None, Option(help="The server fingerprint you looked at.")] = None,
) -> None:
    """Agree to what the server itself is now: its program, instructions and identity."""
    async with as_person(job) as client:
        if fingerprint is None:
            seen = (await client.get("servers", name)).get("seen", "none yet")
            raise InvalidDocument(
                "--fingerprint is missing: nobody agrees to what they did not name",
                hint=f"The server was last seen as {seen}.",
            )
        job.out.document(await client.approve_server(name, fingerprint))


@command(app, "secret", example="remit server secret office header:Authorization < token.txt")
async def secret(
    job: Invocation,
    name: ServerArgument,
    place: Annotated[str, Argument(metavar="PLACE", help="header:NAME, env:NAME or tls:key.")],
) -> None:
    """Keep a credential, read from stdin, that is injected into the server's requests, environment or handshake."""
    where, key = _place(place)
    [value] = _secrets_in([place])
    async with as_person(job) as client:
        job.out.document(await client.store_secret(name, where, key, value))


async def _add_file(job: Invocation, file: Path) -> None:
    documents = read_documents(file, "Server")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("servers", document.value))
    job.out.each(made, _COLUMNS, "No server was added.")
    job.out.note("Next: `remit server sync NAME` lists its tools; they are quarantined until reviewed.")


def _document(  # the members of a Server file
    name: str, command_line: list[str], url: str | None, env: list[str], *, stdio: bool, caller: bool, shared: bool
) -> dict[str, Json]:
    if [url is not None, stdio, caller].count(True) != 1:
        hint = "See `remit server add --help`."
        raise InvalidDocument("exactly one of --url, --stdio and --caller is needed", hint=hint)
    if not stdio and (command_line or env):
        raise InvalidDocument("a program and --env go with --stdio", hint="Leave them out, or use --stdio -- CMD.")
    document: dict[str, Json] = {"kind": "Server", "name": name}
    if url is not None:
        document["url"] = url
    elif caller:
        document["caller"] = True
    else:
        document["stdio"] = stdio_transport(command_line, env)
    if shared:
        document["shared"] = True
    return document


def _on_the_way(ca: Path | None, cert: Path | None, *, insecure: bool) -> dict[str, Json]:
    """What a record says of the way to its URL; relative paths are made absolute here."""
    files: dict[str, Json] = {
        name: str(path.absolute()) for name, path in (("ca", ca), ("cert", cert)) if path is not None
    }
    return ({"tls": files} if files else {}) | ({"insecure": True} if insecure else {})


def stdio_transport(command_line: list[str], env: list[str]) -> dict[str, Json]:
    """A server's ``stdio`` member for a command as one would type it. Raises ``InvalidDocument``, ``BadInput``."""
    if not command_line:
        raise InvalidDocument("--stdio needs a program", hint="Such as --stdio -- mcp-server-time.")
    program, *arguments = command_line
    found = shutil.which(program)
    if found is None:
        raise BadInput(
            f"there is no program {program!r} that this user can run",
            hint="Install it, or give its whole path. It is looked up now, because its child gets no PATH.",
        )
    variables: dict[str, Json] = {}
    for item in env:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InvalidDocument(f"--env {item!r} is not NAME=VALUE", hint="For a credential use --secret env:NAME.")
        variables[key] = value
    # Made absolute and not resolved further: a virtual environment's python is a link and must stay one.
    stdio: dict[str, Json] = {"command": str(Path(found).absolute()), "args": list(arguments)}
    return stdio | {"env": variables} if variables else stdio


def _place(text: str) -> tuple[str, str]:
    place, colon, name = text.partition(":")
    if place not in ("header", "env", "tls") or not colon or not name:
        raise InvalidDocument(f"{text!r} is not header:NAME, env:NAME or tls:key", hint="Such as header:Authorization.")
    return place, name


def _secrets_in(names: list[str]) -> list[str]:
    """One value a name: asked for on a terminal, else one line each from stdin; a single one may be all of stdin."""
    if not names:
        return []
    if sys.stdin.isatty():
        return [getpass.getpass(f"{name}: ") for name in names]
    text = sys.stdin.read(_MAX_SECRET)
    values = [text.removesuffix("\n").removesuffix("\r")] if len(names) == 1 else text.splitlines()
    if len(values) != len(names) or not all(values):
        raise InvalidDocument(
            f"stdin holds {len([value for value in values if value])} values for {len(names)} secrets",
            hint="Write each value on a line of its own, in the order of the --secret options.",
        )
    return values
