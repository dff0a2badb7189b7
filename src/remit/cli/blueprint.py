"""The commands of the noun ``blueprint``: what instances of one kind of agent may do, approved once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.output import Column
from remit.core.canonical import Json

app = group("blueprint", "Blueprints: what instances of one kind of agent may do, approved once.")

BlueprintArgument = Annotated[str, Argument(metavar="BLUEPRINT", help="The blueprint's name or blp_ id.")]

_COLUMNS: Final = (
    Column("name"),
    Column("state"),
    Column("version"),
    Column("owner"),
    Column("purpose"),
    Column("life"),
    Column("instances", lambda item: len(item["instances"])),
    Column("id"),
)


class Fate(StrEnum):
    """What becomes of instances."""

    retired = "retired"
    suspended = "suspended"


@command(app, "apply", example="remit blueprint apply invoice-reader.yaml")
async def apply(
    job: Invocation, file: Annotated[Path, Argument(metavar="FILE", help="A file of kind Blueprint.")]
) -> None:
    """Put the blueprints of a file in force. Another version narrows the instances there are, and never widens one."""
    documents = read_documents(file, "Blueprint")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("blueprints", document.value))
    job.out.each(made, _COLUMNS, "No blueprint was applied.")
    for one in made:
        if one["narrowed"]:
            job.out.note(f"{one['name']}: taken from {', '.join(one['narrowed'])} what this version no longer gives.")
        behind = [two["agent"] for two in one["instances"] if two["version"] != one["version"]]
        if behind:
            job.out.note(f"{one['name']}: {', '.join(behind)} hold no more than before; make new ones for what is new.")


@command(app, "list", example="remit blueprint list")
async def list_blueprints(job: Invocation) -> None:
    """List blueprints, retired ones included."""
    async with as_person(job) as client:
        job.out.table(await client.listing("blueprints"), _COLUMNS, "No blueprints: `remit blueprint apply FILE`.")


@command(app, "show", example="remit blueprint show invoice-reader")
async def show(job: Invocation, blueprint: BlueprintArgument) -> None:
    """Show one blueprint, with its instances and the version of each."""
    async with as_person(job) as client:
        job.out.document(await client.get("blueprints", blueprint))


@command(app, "retire", example="remit blueprint retire invoice-reader --instances suspended")
async def retire(
    job: Invocation,
    blueprint: BlueprintArgument,
    instances: Annotated[Fate, Option(help="What becomes of its instances; neither is ever active again.")] = (
        Fate.retired
    ),
    reason: Annotated[str | None, Option(help="Why, for the log.")] = None,
) -> None:
    """End a blueprint for good: its instances are stopped, and none is made any more."""
    body: dict[str, Json] = {"instances": instances.value}
    if reason is not None:
        body["reason"] = reason
    async with as_person(job) as client:
        job.out.document(await client.act("blueprints", blueprint, "retire", body))
