"""The commands of the noun ``client``: OAuth clients, each of one agent."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.output import Column

app = group("client", "OAuth clients: programs that get tokens for one agent each.")

_COLUMNS: Final = (
    Column("name"),
    Column("agent"),
    Column("auth"),
    Column("grants"),
    Column("state"),
    Column("client id", "client_id"),
)

ClientArgument = Annotated[str, Argument(metavar="CLIENT", help="Its name or cli_ id.")]


@command(app, "add", example="remit client add -f desk.yaml")
async def add(job: Invocation, file: Annotated[Path, Option("--file", "-f", help="A file of kind Client.")]) -> None:
    """Register the clients of a file. A secret is shown this once."""
    documents = read_documents(file, "Client")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("clients", document.value))
    for one in made:
        job.out.document(one)
    if any("secret" in one for one in made):
        job.out.note("The secret is not kept and not shown again: put it where only its program reads it.")


@command(app, "list", example="remit client list")
async def list_clients(job: Invocation) -> None:
    """List clients, retired ones included."""
    async with as_person(job) as client:
        found = await client.listing("clients")
    job.out.table(found, _COLUMNS, "No clients: `remit client add -f FILE`.")


@command(app, "show", example="remit client show desk")
async def show(job: Invocation, client: ClientArgument) -> None:
    """Show a client; of its secrets only when they end."""
    async with as_person(job) as connection:
        job.out.document(await connection.get("clients", client))


@command(app, "renew-secret", example="remit client renew-secret desk")
async def renew_secret(job: Invocation, client: ClientArgument) -> None:
    """Make a new secret; the old one ends in an hour. The new one is shown this once."""
    async with as_person(job) as connection:
        job.out.document(await connection.act("clients", client, "secret", {}))
    job.out.note("The secret is not kept and not shown again: put it where only its program reads it.")


@command(app, "retire", example="remit client retire desk")
async def retire(job: Invocation, client: ClientArgument) -> None:
    """End a client for good, and every session that it started."""
    async with as_person(job) as connection:
        job.out.document(await connection.change("clients", client, {"state": "retired"}))
