"""The commands ``tool suggest`` and ``tool import``: what a review could say, and definitions from a file.

A suggestion is written as a file that applies, with why at its top, member by member. It is marked ``suggested``; who
has gone through it takes that line out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from typer import Argument, Option

from remit.cli.commands import Invocation, command
from remit.cli.connection import as_person
from remit.cli.files import read_text
from remit.cli.output import Column, visible
from remit.cli.reviewers import without_why
from remit.cli.tool import app, write_review
from remit.core.canonical import Json
from remit.core.errors import InvalidDocument, RemitError
from remit.core.ids import tool_ref
from remit.guards.json_in import parse
from remit.sdk.client import Document, RemitClient

_SUGGESTED: Final = (
    Column("tool", lambda item: tool_ref(item["server"], item["tool"])),
    Column("effect"),
    Column("laxer than the default", lambda item: sum(one["laxer"] for one in item["because"])),
    Column("look at", lambda item: len(item["look_at"])),
)
_BECAUSE: Final = (Column("member"), Column("sure"), Column("laxer"), Column("why"))
_SYNCED: Final = (Column("tool"), Column("state"), Column("fingerprint"))
_MAX_RESULTS: Final = 50


@command(app, "suggest", example="remit tool suggest office/send_mail")
async def suggest(
    job: Invocation,
    refs: Annotated[list[str] | None, Argument(metavar="[REF]...", help="Tools, as server/tool.")] = None,
    server: Annotated[str | None, Option(help="All tools of this server.")] = None,
    results: Annotated[
        Path | None, Option(help="JSON lines of CallToolResults of the one tool, recorded in a sandbox.")
    ] = None,
    out: Annotated[Path | None, Option("--out", "-o", help="Write review files into this folder.")] = None,
) -> None:
    """Suggest a review from a tool's definition, with why and how sure, member by member. Nothing is changed."""
    recorded = read_results(results) if results is not None else []
    if recorded and (server is not None or len(refs or ()) != 1):
        raise InvalidDocument("--results belong to one tool", hint="Name that one tool.")
    async with as_person(job) as client:
        named = await tools_named(client, refs or [], server)
        found = [await client.suggested_review(ref, recorded) for ref in named]
    if out is not None:
        written: list[Document] = [
            {"tool": tool_ref(one["server"], one["tool"]), "file": write_review(out, one, without_why(one), why(one))}
            for one in found
        ]
        job.out.table(written, (Column("tool"), Column("file")), "There is no such tool.")
        job.out.note("Go through each file, then take out `suggested: true` and apply it.")
    elif len(found) == 1 and not job.out.json:
        show(job, found[0])
    else:
        job.out.each(found, _SUGGESTED, "There is no such tool.")


@command(app, "import", example="remit tool import tools.json --server office")
async def import_tools(
    job: Invocation,
    file: Annotated[Path, Argument(metavar="FILE", help="The result of tools/list, or its array of tools.")],
    server: Annotated[str, Option(help="The server that they belong to.")],
) -> None:
    """Take in definitions from a file, to be reviewed before their server is connected. Nothing is contacted."""
    tools = read_tools(file, job)
    async with as_person(job) as client:
        answer = await client.import_tools(server, tools)
    if job.out.json:
        job.out.document(answer)
    else:
        job.out.table(answer["tools"], _SYNCED, "No tool was taken in.")
    for one in answer.get("refused", ()):
        job.out.note(f"Refused: {one['tool'] or 'a tool without a name'}: {one['why']}")
    job.out.note(
        "They are quarantined until reviewed; a later sync with another definition is a change like any other."
    )


async def tools_named(client: RemitClient, refs: Sequence[str], server: str | None) -> list[str]:
    """The tools that a command is about: those named, or all of a server that are still listed."""
    if bool(refs) == (server is not None):
        raise InvalidDocument("name the tools, or one server with --server", hint="`remit tool list` shows them.")
    if server is None:
        return list(refs)
    here = [one for one in await client.tools() if one["server"] == server and one["state"] != "gone"]
    return [str(one["tool"]) for one in here]


def read_tools(file: Path, job: Invocation) -> list[Mapping[str, Json]]:
    """The Tool objects of a ``tools/list`` result, strictly read.

    Raises ``InvalidDocument``, ``Malformed``, ``TooLarge``.
    """
    value = _json(file, read_text(file))
    listed = value.get("tools") if isinstance(value, Mapping) else value
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise InvalidDocument(
            f"{file} is neither the result of tools/list nor an array of tools", hint='Give {"tools": [...]} or [...].'
        )
    if isinstance(value, Mapping) and value.get("nextCursor") is not None:
        job.out.note(f"{file} is one page of several: import the others, too.")
    return listed


def read_results(file: Path) -> list[Mapping[str, Json]]:
    """Recorded results, one JSON object a line. Raises ``InvalidDocument``, ``Malformed``, ``TooLarge``."""
    found: list[Mapping[str, Json]] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        value = _json(file, line, number)
        if not isinstance(value, Mapping):
            raise InvalidDocument(f"{file}, line {number}: a CallToolResult is an object")
        found.append(value)
    if len(found) > _MAX_RESULTS:
        raise InvalidDocument(f"{file} holds {len(found)} results; {_MAX_RESULTS} are enough", hint="Give fewer.")
    return found


def why(suggested: Document) -> list[str]:
    """The reasons of a suggestion as lines, safe in a comment and on a terminal."""
    lines = [
        f"{one['member']} ({one['sure']}{', laxer' if one['laxer'] else ''}): {one['why']}"
        for one in suggested["because"]
    ]
    return [visible(line) for line in (*lines, *(f"look at: {flag}" for flag in suggested["look_at"]))]


def show(job: Invocation, suggested: Document) -> None:
    """One suggestion for people: the review, then why."""
    job.out.document(without_why(suggested))
    job.out.table(suggested["because"], _BECAUSE, "")
    for flag in suggested["look_at"]:
        job.out.note(f"Look at: {flag}")


def _json(file: Path, text: str, line: int | None = None) -> Any:
    place = f"{file}, line {line}" if line is not None else str(file)
    try:
        return parse(text.encode())
    except RemitError as error:
        raise type(error)(f"{place}: {error.detail}", hint=error.hint) from error
