"""More commands of the noun ``server``: one server shown, its record changed, and its observe mode."""

from pathlib import Path
from typing import Annotated, Final

from typer import Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.observing import health, observe_mode
from remit.cli.output import Column
from remit.cli.server import ServerArgument, app
from remit.core.errors import InvalidDocument

_MISSED: Final = (
    Column("tool"),
    Column("would"),
    Column("code"),
    Column("rule"),
    Column("argument"),
    Column("calls"),
    Column("last", "last_at"),
    Column("event"),
)


@command(app, "show", example="remit server show office")
async def show(job: Invocation, name: ServerArgument) -> None:
    """Show one server: its record, its observe mode, and how it answered this process."""
    async with as_person(job) as client:
        found = await client.get("servers", name)
    shown = [(member, value) for member, value in found.items() if member not in ("observe", "health")]
    job.out.document(found, [*shown, ("observe mode", observe_mode(found)), ("health", health(found))])


@command(app, "change", example="remit server change -f office.yaml")
async def change(
    job: Invocation, file: Annotated[Path, Option("--file", "-f", help="A file of kind Server, whole.")]
) -> None:
    """Put a file in place of the record of the server that it names; pins and stored credentials stay."""
    documents = read_documents(file, "Server")
    async with as_person(job) as client:
        made = await apply_all(
            job, documents, lambda document: client.change_server(str(document.value["name"]), document.value)
        )
    job.out.each(made, (Column("name"), Column("state"), Column("observe mode", observe_mode)), "No server changed.")


@command(app, "observe", example="remit server observe office --for P7D")
async def observe(
    job: Invocation,
    name: ServerArgument,
    lasting: Annotated[
        str | None, Option("--for", metavar="DURATION", help="How long, such as P7D; at most 30 days.")
    ] = None,
    off: Annotated[bool, Option("--off", help="End it now.")] = False,
) -> None:
    """Let through what policy, a limit or a question would stop at this server, and write it down, for a time."""
    if (lasting is None) is not off:
        raise InvalidDocument("one of --for DURATION and --off is needed", hint="Such as --for P7D.")
    async with as_person(job) as client:
        made = await client.observe_server(name, lasting)
    job.out.document(made, [("name", made["name"]), ("observe mode", observe_mode(made) or "off")])
    if not off:
        job.out.note(
            f"Calls of {name} that would be refused are now let through and written down; it ends by itself.\n"
            f"Next: `remit server observed {name}` says what grants and policies they would need."
        )


@command(app, "observed", example="remit server observed office")
async def observed(job: Invocation, name: ServerArgument) -> None:
    """List what observe mode let through at this server, by tool, reason, rule and argument."""
    async with as_person(job) as client:
        found = await client.observed(name)
    if job.out.json:
        job.out.document(found)
        return
    job.out.table(found["items"], _MISSED, "Nothing would have been refused.")
    if not found["complete"]:
        job.out.note("Not all of the log was read: there is more than this report takes in.")
    if found["items"]:
        job.out.note("`remit audit show EVENT` shows the arguments of a call; a grant or a policy then allows it.")
