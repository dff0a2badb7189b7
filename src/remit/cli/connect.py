"""Come in here for ``remit connect``: what an MCP client on this machine is told so that it calls tools through Remit.

No credential is ever printed or written: the configuration names an environment variable that holds it, or in VS Code
a password that is asked for. A file is only added to. What it holds stays, and an entry of the same name that says
something else is refused, because it is somebody's.
"""

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Final, TypeAlias

import typer
from typer import Argument, Option

from remit.cli import addresses
from remit.cli.commands import Invocation, command
from remit.cli.connection import live_url, load_settings
from remit.cli.files import read_text
from remit.cli.output import json_text
from remit.core.canonical import Json
from remit.core.errors import BadInput, Conflict, InvalidDocument, Malformed, NotFound, RemitError
from remit.core.ids import check_slug
from remit.guards.json_in import parse

VARIABLE: Final = "REMIT_SESSION_KEY"
_INPUT: Final = "remit-session-key"
# A name that every client takes.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Client(StrEnum):
    """What is connected."""

    claude_code = "claude-code"
    cursor = "cursor"
    vscode = "vscode"
    python = "python"


Members: TypeAlias = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Form:
    """How a client is configured: in which file of a project, and the whole of what that file must hold for us."""

    file: str
    members: Callable[[str, str], Members] | None = None

    def content(self, name: str, url: str) -> str:
        """The file, if it held nothing else."""
        return _PROGRAM.format(url=url) if self.members is None else json_text(self.members(name, url)) + "\n"


def _claude_code(name: str, url: str) -> Members:
    return {"mcpServers": {name: {"type": "http", "url": url, "headers": _bearer(f"${{{VARIABLE}}}")}}}


def _cursor(name: str, url: str) -> Members:
    return {"mcpServers": {name: {"url": url, "headers": _bearer(f"${{env:{VARIABLE}}}")}}}


def _vscode(name: str, url: str) -> Members:
    asked: Json = {"type": "promptString", "id": _INPUT, "description": "Remit session key", "password": True}
    server: Json = {"type": "http", "url": url, "headers": _bearer(f"${{input:{_INPUT}}}")}
    return {"servers": {name: server}, "inputs": [asked]}


def _bearer(reference: str) -> Json:
    return {"Authorization": f"Bearer {reference}"}


_PROGRAM: Final = '''\
"""Lists the tools that this agent may call through Remit. Needs the `mcp` package, version 2."""

import asyncio
import os

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    headers = {{"Authorization": f"Bearer {{os.environ['REMIT_SESSION_KEY']}}"}}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=90, trust_env=False) as http,
        Client(streamable_http_client("{url}", http_client=http)) as remit,
    ):
        for tool in (await remit.list_tools()).tools:
            print(tool.name)


asyncio.run(main())
'''

FORMS: Final[Mapping[Client, Form]] = {
    Client.claude_code: Form(".mcp.json", _claude_code),
    Client.cursor: Form(".cursor/mcp.json", _cursor),
    Client.vscode: Form(".vscode/mcp.json", _vscode),
    Client.python: Form("remit_client.py"),
}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "connect", example="remit connect claude-code --write")(connect)


async def connect(  # each is one option of the command line
    job: Invocation,
    client: Annotated[Client, Argument(metavar="CLIENT", help="What is to call tools through Remit.")],
    server: Annotated[str | None, Option(help="Only this server's tools, by its own names.")] = None,
    url: Annotated[str | None, Option(help="Where Remit is; default the running one, or as the settings say.")] = None,
    name: Annotated[str, Option(help="What the client calls it.")] = "remit",
    write: Annotated[bool, Option("--write", help="Add it to the client's file in this folder.")] = False,
) -> None:
    """Print, or write, what an MCP client is configured with to call tools through the gateway."""
    if _NAME.fullmatch(name) is None:
        raise InvalidDocument(f"--name {name!r} is not up to 64 letters, digits, hyphens and underscores")
    form, address = FORMS[client], addresses.checked(url) if url is not None else await _address(job.home)
    address += "/mcp" if server is None else f"/mcp/{check_slug(server, 'server')}"
    content = form.content(name, address)
    said = "add this there, or let --write do it"
    if write:
        said = "written" if _written(form, name, address, content) else "it holds this already; nothing was changed"
    if job.out.json:
        job.out.document({"client": client.value, "file": form.file, "content": content})
    elif not write:
        job.out.raw(content)
    job.out.note(f"{form.file}: {said}.")
    _say_what_is_needed(job, client, address)


def _say_what_is_needed(job: Invocation, client: Client, address: str) -> None:
    place = "when VS Code asks for it" if client is Client.vscode else f"in the variable {VARIABLE}"
    job.out.note(
        f"Make the key with `remit key create --agent NAME --for session --expires P30D` and give it {place}.\n"
        "All that is called with it happens in that key's one standing session, which counts as untrusted from its "
        "start and stays so."
    )
    if addresses.readable_on_the_way(address):
        job.out.note("Over plain http to another machine the key can be read on the way: use https there.")


async def _address(home: Path) -> str:
    """The origin of the running server, else the one that ``up`` would listen on."""
    running = await live_url(home)
    if running is not None:
        return running
    chosen = load_settings(home)
    if chosen.port == 0:
        raise NotFound("no server runs, and its port will be any free one", hint="Run `remit up`, or give --url.")
    host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    return addresses.checked(f"http://{host}:{chosen.port}")


def _written(form: Form, name: str, address: str, content: str) -> bool:
    """Whether the file in the current folder had to be changed to hold this. Raises ``Conflict``, ``BadInput``."""
    path = Path(form.file)
    if path.is_symlink():
        raise BadInput(f"{path} is a symbolic link", hint="Write to where it leads, or take it away.")
    before = read_text(path) if path.exists() else None
    if form.members is None:
        if before not in (None, content):
            raise Conflict(f"{path} says something else already", hint="Move it away, or leave --write out.")
        after = content
    else:
        members = form.members(name, address)
        old: Members = {} if before is None else _strict(path, before)
        merged = _merged(path, old, members)
        if merged == old:
            return False
        after = json_text(merged) + "\n"
    if after == before:
        return False
    _replace(path, after)
    return True


def _strict(path: Path, text: str) -> Members:
    """The object that a file holds. Raises ``Malformed``, ``InvalidDocument``: what we can't read whole stays."""
    hint = "Take comments and trailing commas out, or leave --write out and add it by hand."
    try:
        value = parse(text.encode())
    except RemitError as error:
        raise Malformed(f"{path} is not strict JSON: {error.detail}", hint=hint) from error
    if not isinstance(value, dict):
        raise InvalidDocument(f"{path} is not one JSON object", hint=hint)
    return value


def _merged(path: Path, old: Members, wanted: Members) -> Members:
    """``old`` with what is wanted added to it, member by member and item by item."""
    new = dict(old)
    for member, addition in wanted.items():
        there = old.get(member, [] if isinstance(addition, list) else {})
        if isinstance(addition, dict) and isinstance(there, dict):
            [(name, entry)] = addition.items()
            _refuse_another(path, name, there.get(name, entry), entry)
            new[member] = {**there, name: entry}
        elif isinstance(addition, list) and isinstance(there, list):
            [item] = addition
            same = [one for one in there if isinstance(one, dict) and one.get("id") == _INPUT]
            for one in same:
                _refuse_another(path, _INPUT, one, item)
            new[member] = there if same else [*there, item]
        else:
            raise InvalidDocument(f"{path}: {member} is not what it should be", hint="Correct the file by hand.")
    return new


def _refuse_another(path: Path, name: str, there: Json, wanted: Json) -> None:
    if there != wanted:
        raise Conflict(f"{path} has another entry {name!r}", hint="Choose another with --name, or change it by hand.")


def _replace(path: Path, text: str) -> None:
    """A whole new file or the old one. Its permissions stay as they were. Raises ``BadInput``."""
    fresh = path.parent / f".{path.name}.{token_hex(6)}"
    try:
        path.parent.mkdir(exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        with fresh.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise BadInput(f"{path} can't be written: {error.strerror}", hint="Check who owns the folder.") from error
