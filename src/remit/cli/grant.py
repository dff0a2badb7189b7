"""The commands of the noun ``grant``: what an agent may do, under which condition, within which limits, until when."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.output import Column
from remit.sdk.client import Document

app = group("grant", "Grants: tools, conditions, limits and an end.")


def _holder(item: Document) -> str:
    return str(item.get("agent") or f"person {item.get('person')}")


_COLUMNS: Final = (
    Column("id"),
    Column("state"),
    Column("of", _holder),
    Column("tools"),
    Column("when"),
    Column("limits"),
    Column("expires"),
)


@command(app, "apply", example="remit grant apply bookkeeper-grants.yaml")
async def apply(job: Invocation, file: Annotated[Path, Argument(metavar="FILE", help="A file of kind Grant.")]) -> None:
    """Put the grants of a file in force. They add to those there are; `grant revoke` ends one."""
    documents = read_documents(file, "Grant")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("grants", document.value))
    job.out.each(made, _COLUMNS, "No grant was made.")


@command(app, "list", example="remit grant list --agent bookkeeper")
async def list_grants(
    job: Invocation, agent: Annotated[str | None, Option(help="Only those of this agent.")] = None
) -> None:
    """List grants, revoked ones included."""
    async with as_person(job) as client:
        found = await client.listing("grants", agent=agent)
    job.out.table(found, _COLUMNS, "No grants: `remit grant apply FILE`.")


@command(app, "revoke", example="remit grant revoke grt_…")
async def revoke(job: Invocation, grant: Annotated[str, Argument(metavar="ID", help="The grt_ id.")]) -> None:
    """End a grant at once."""
    async with as_person(job) as client:
        job.out.document(await client.change("grants", grant, {"state": "revoked"}))
