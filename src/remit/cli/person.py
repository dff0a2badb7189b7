"""The commands of the noun ``person``: who may own, review, approve, audit and administer."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.output import Column

app = group("person", "People, and what each may do.")

_COLUMNS: Final = (Column("email"), Column("name"), Column("roles"), Column("state"), Column("id"))

WhoArgument = Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")]


@command(app, "add", example="remit person add -f grace.yaml")
async def add(job: Invocation, file: Annotated[Path, Option("-f", "--file", help="A file of kind Person.")]) -> None:
    """Add the people of a file."""
    documents = read_documents(file, "Person")
    made = []
    async with as_person(job) as client:
        made = [await client.create_from(document) for document in ()]
        for document in documents:
            made.append(await client.create("people", document.value))
    job.out.each(made, _COLUMNS, "Nobody was added.")
