"""The commands of the noun ``person``: who may own, review, approve, audit and administer."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.output import Column
from remit.core.canonical import Json
from remit.core.values import GLOBAL

app = group("person", "People, and what each may do.")

_COLUMNS: Final = (Column("email"), Column("name"), Column("roles"), Column("state"), Column("id"))


@command(app, "add", example="remit person add -f grace.yaml")
async def add(job: Invocation, file: Annotated[Path, Option("--file", "-f", help="A file of kind Person.")]) -> None:
    """Add the people of a file."""
    documents = read_documents(file, "Person")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("people", document.value))
    job.out.each(made, _COLUMNS, "Nobody was added.")


@command(app, "list", example="remit person list --json")
async def list_people(job: Invocation) -> None:
    """List everyone."""
    async with as_person(job) as client:
        found = await client.listing("people")
    job.out.table(found, _COLUMNS, "There is nobody here.")


@command(app, "identify", example="remit person identify ada@example.test --own iban:DE89370400440532013000")
async def identify(
    job: Invocation,
    person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")],
    own: Annotated[
        list[str] | None, Option(help="A value of theirs as TYPE:VALUE, or SERVER:KIND:VALUE; repeat it.")
    ] = None,
) -> None:
    """Say what else is this person's own, in place of what was said before: agents use it as if the task named it."""
    async with as_person(job) as client:
        job.out.document(await client.identify_person(person, [_identifier(one) for one in own or ()]))


def _identifier(text: str) -> dict[str, Json]:
    """A type (global, or of a server) and a value."""
    first, colon, rest = text.partition(":")
    if first in GLOBAL or not colon:
        return {"type": first, "value": rest}
    kind, _, value = rest.partition(":")
    return {"type": f"{first}:{kind}", "value": value}


@command(app, "link", example="remit person link grace@example.test")
async def link(
    job: Invocation, person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")]
) -> None:
    """Make a link that signs a person in to the pages: it works once, for a quarter of an hour."""
    async with as_person(job) as client:
        job.out.document(await client.sign_in_link(person))
    job.out.note("Whoever opens it is that person: hand it over as you would a password.")


@command(app, "suspend", example="remit person suspend grace@example.test")
async def suspend(
    job: Invocation, person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")]
) -> None:
    """Stop a person: their keys, answers and agents stop with them."""
    async with as_person(job) as client:
        job.out.document(await client.change("people", person, {"state": "suspended"}))


@command(app, "reinstate", example="remit person reinstate grace@example.test")
async def reinstate(
    job: Invocation, person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")]
) -> None:
    """Undo a suspension."""
    async with as_person(job) as client:
        job.out.document(await client.change("people", person, {"state": "active"}))
