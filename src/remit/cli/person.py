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
        said: dict[str, Json] = {"identifiers": [_identifier(one) for one in own or ()]}
        job.out.document(await client.act("people", person, "identifiers", said))


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
        job.out.document(await client.act("people", person, "link", {}))
    job.out.note("Whoever opens it is that person: hand it over as you would a password.")


@command(app, "suspend", example="remit person suspend grace@example.test")
async def suspend(
    job: Invocation, person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")]
) -> None:
    """Stop a person: their keys, answers and agents stop with them, and what runs for them is killed."""
    async with as_person(job) as client:
        job.out.document(await client.change("people", person, {"state": "suspended"}))


@command(app, "depart", example="remit person depart grace@example.test --to ada@example.test --dry-run")
async def depart(
    job: Invocation,
    person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")],
    to: Annotated[str | None, Option(metavar="PERSON", help="Who owns their agents from now on.")] = None,
    reason: Annotated[str | None, Option(help="Why, for the log.")] = None,
    *,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
) -> None:
    """Let a person leave: their agents are suspended and handed on, their sessions and every key they knew end."""
    given: dict[str, Json] = {"to": to, "reason": reason, "dry_run": dry_run or None}
    body = {name: value for name, value in given.items() if value is not None}
    async with as_person(job) as client:
        answer = await client.act("people", person, "depart", body)
    lines = [(name, answer[name]) for name in ("person", "state", "to", "event")]
    lines += [(f"agent {one['agent']}", f"{one['was']} > {one['state']}") for one in answer["agents"]]
    job.out.document(answer, [*lines, *answer["stopped"].items()])
    if answer["dry_run"]:
        job.out.note("Nothing was changed: this is what would happen.")
    elif answer["state"] == "asked":
        job.out.note(
            "Another administrator must agree, by the same command, within a day. Till then: `person suspend`."
        )
    elif answer["agents"] and to is not None:
        job.out.note("Its new owner looks at each agent, then `remit agent activate` and `remit key create`.")


@command(app, "reinstate", example="remit person reinstate grace@example.test")
async def reinstate(
    job: Invocation, person: Annotated[str, Argument(metavar="PERSON", help="E-mail address or per_ id.")]
) -> None:
    """Undo a suspension or a departure; what was stopped or handed on stays so."""
    async with as_person(job) as client:
        job.out.document(await client.change("people", person, {"state": "active"}))
