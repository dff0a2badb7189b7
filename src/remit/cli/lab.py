"""The commands of the noun ``lab``: what would be decided, tried where nothing real is called."""

import tempfile
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any, Final

from typer import Argument, Option

from remit.cli.commands import NO, YES, Invocation, command, group
from remit.cli.connection import SESSION_TOKEN, as_person, as_session
from remit.cli.files import read_documents, read_text
from remit.cli.output import Column
from remit.core.canonical import Json, canonical
from remit.core.entitlements import input_schema
from remit.core.errors import InvalidDocument, NotFound
from remit.guards.json_in import parse
from remit.lab.canaries import Audit, Known, plant_and_read
from remit.lab.replay import Line, Registry, file_form, read_trace, replay
from remit.sdk.client import RemitClient
from remit.services.review_document import read_review

app = group("lab", "Attack it before they do: recorded sessions, decided again.")

_ROWS: Final = (
    Column("call", "call_id"),
    Column("tool"),
    Column("decision"),
    Column("recorded"),
    Column("differs", lambda item: {True: "yes", False: "", None: "not held"}[item["differs"]]),
    Column("why", lambda item: ", ".join(item["why"])),
)


class Profile(StrEnum):
    """Which rules of flow are in force."""

    balanced = "balanced"
    strict = "strict"


class Approver(StrEnum):
    """Who answers what is asked."""

    recorded = "recorded"
    attentive = "attentive"
    always = "always"
    never = "never"


@command(app, "replay", example="remit lab replay trace.jsonl --profile strict")
async def replay_trace(
    job: Invocation,
    trace: Annotated[Path, Argument(metavar="TRACE", help="JSON lines, as `remit audit export --trace` writes them.")],
    reviews: Annotated[
        Path | None, Option(metavar="DIR", help="Reviews to decide by; default those in force here.")
    ] = None,
    profile: Annotated[Profile, Option(help="Which rules are in force.")] = Profile.balanced,
    approver: Annotated[
        Approver, Option(help="recorded: as the trace; attentive: yes to what was done; always; never.")
    ] = Approver.recorded,
) -> int:
    """Decide every call of a recorded session again, by flow alone; exit 1 if one differs from the trace.

    Nothing of this home is changed and no server is called: it runs on a store of its own.
    """
    lines = read_trace(read_text(trace))
    refs = sorted({str(line["tool"]) for line in lines if line["t"] == "call"})
    registry = await _registry(job, refs) if reviews is None else Registry(_reviews(reviews))
    with tempfile.TemporaryDirectory(prefix="remit-lab-") as folder:
        found = await replay(lines, registry, Path(folder), profile=profile.value, approver=approver.value)
    if job.out.json:
        job.out.document(found)
    else:
        rows: Any = found["rows"]
        job.out.table(rows, _ROWS, "No call.")
        job.out.note(
            f"{found['calls']} calls, {found['asked']} asked, {found['denied']} denied, "
            f"{found['differs']} not as recorded; {profile.value}, {approver.value}."
        )
    return NO if found["differs"] else YES


def _reviews(folder: Path) -> dict[str, Line]:
    """The reviews of a directory, by reference."""
    files = [one for one in sorted(folder.rglob("*")) if one.suffix in (".yaml", ".yml", ".json")]
    if not files:
        raise InvalidDocument(f"{folder} holds no review", hint="`remit tool review export DIR` writes them.")
    documents = [one.value for file in files for one in read_documents(file, "ToolReview")]
    return {f"{one['server']}/{one['tool']}": one for one in documents}


async def _registry(job: Invocation, refs: list[str]) -> Registry:
    """The reviews and definitions in force here."""
    found: dict[str, Line] = {}
    definitions: dict[str, Line] = {}
    async with as_person(job) as client:
        for ref in refs:
            await _known(client, ref, found, definitions)
    return Registry(found, definitions)


async def _known(client: RemitClient, ref: str, reviews: dict[str, Line], definitions: dict[str, Line]) -> None:
    try:
        reviews[ref] = await client.tool_review(ref)
        shown = await client.tool(ref)
    except NotFound:
        return  # it is decided as a tool that is not there
    if isinstance(shown.get("definition"), dict):
        definitions[ref] = shown["definition"]


@command(app, "labels", example="remit lab labels notes --sandbox")
async def labels(
    job: Invocation,
    server: Annotated[str, Argument(metavar="SERVER", help="The server whose labels are looked at.")],
    *,
    sandbox: Annotated[
        bool, Option("--sandbox", help="Yes, what is written there may be rubbish: its tools that write are called.")
    ] = False,
    results: Annotated[
        Path | None, Option(metavar="FILE", help="Call nothing: JSON lines of `tool` and `result`, recorded before.")
    ] = None,
    canary: Annotated[list[str] | None, Option(help="With --results: a word that was planted.")] = None,
    token: Annotated[str | None, Option(help=f"A session token; default {SESSION_TOKEN}.")] = None,
) -> int:
    """Plant canaries in what third parties can write, and name every field labelled the system's that carries one.

    Exit 1 if there is one. The calls go through Remit in the given session, so its grants and questions hold.
    """
    if results is None and not sandbox:
        raise InvalidDocument(
            "this calls every tool of the server that writes",
            hint="Give --sandbox if that may be, or --results FILE with --canary for results that you have.",
        )
    tools = await _tools(job, server)
    if results is not None:
        found = Audit(planted={word.casefold(): word for word in canary or ()})
        for line in _recorded(results):
            if line["tool"] in tools:
                found.read += 1
                found.look(tools[line["tool"]], line["result"])
    else:
        async with as_session(job, token) as client:
            found = await plant_and_read(list(tools.values()), partial(_call, client, server), f"canary{token_hex(4)}x")
    answer = found.document(server)
    if job.out.json:
        job.out.document(answer)
    else:
        job.out.table(found.findings, _FINDINGS, "No field that is labelled the system's carried a canary.")
        job.out.table(found.skipped, _SKIPPED, "")
        job.out.note(f"{len(found.planted)} planted by {found.written} calls, {found.read} results read.")
    return NO if found.findings else YES


_FINDINGS: Final = (Column("tool"), Column("field"), Column("label"), Column("planted in", "planted_in"))
_SKIPPED: Final = (Column("not called", "tool"), Column("why"))


async def _tools(job: Invocation, server: str) -> dict[str, Known]:
    """The reviewed tools of a server, as they are in force."""
    found: dict[str, Known] = {}
    async with as_person(job) as client:
        for one in await client.tools("approved"):
            ref = str(one["tool"])
            if ref.partition("/")[0] == server:
                document = await client.tool_review(ref)
                shown = await client.tool(ref)
                review = read_review(file_form(document), org="", id="", reviewed_by="", reviewed_at=0)
                found[ref] = Known(review, input_schema(ref, shown["definition"]))
    if not found:
        raise NotFound(f"no tool of {server} is approved", hint="`remit tool list` shows each tool's state.")
    return found


async def _call(client: RemitClient, server: str, ref: str, arguments: Mapping[str, Json]) -> Json:
    """One call over MCP; a text where it has no result."""
    params: dict[str, Json] = {"name": ref.partition("/")[2], "arguments": arguments}
    message: dict[str, Json] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = parse(await client.mcp(canonical(message), server) or b"{}")
    result = answer.get("result") if isinstance(answer, Mapping) else None
    if not isinstance(result, Mapping):
        return "the call has no result"
    meta, content = result.get("_meta"), result.get("content")
    if isinstance(meta, Mapping) and "remit/decision" in meta:
        first = content[0] if isinstance(content, list) and content else {}
        return str(first.get("text", "refused")) if isinstance(first, Mapping) else "refused"
    return {name: value for name, value in result.items() if name != "_meta"}


def _recorded(file: Path) -> Iterator[Mapping[str, Any]]:
    for number, raw in enumerate(read_text(file).splitlines(), 1):
        if raw.strip():
            line = parse(raw.encode("utf-8", "surrogateescape"))
            if not isinstance(line, Mapping) or not {"tool", "result"} <= line.keys():
                raise InvalidDocument(f"{file}, line {number}: one object with `tool` and `result`")
            yield line
