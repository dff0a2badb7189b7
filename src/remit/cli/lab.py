"""The commands of the noun ``lab``: what would be decided, tried where nothing real is called."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from typer import Argument, Option

from remit.cli.commands import NO, YES, Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents, read_text
from remit.cli.output import Column
from remit.core.errors import InvalidDocument, NotFound
from remit.lab.replay import Line, Registry, read_trace, replay
from remit.sdk.client import RemitClient

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
