"""The commands of the noun ``approval``: a person answers what an agent may not answer for itself.

What is shown is exactly what is hashed, whole, with hidden characters made visible. The person is who holds the local
person key; ``--as`` only chooses among keys that lie in the home, and is no proof of anything.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from typer import Argument, Option

from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.output import Column
from remit.sdk.client import Document

app = group("approval", "Questions to a person about one exact call.")


class State(StrEnum):
    """What became of a question."""

    pending = "pending"
    approved = "approved"
    denied = "denied"
    expired = "expired"
    void = "void"
    used = "used"


class Scope(StrEnum):
    """What an answer covers."""

    once = "once"
    session = "session"


_COLUMNS: Final = (
    Column("approval"),
    Column("state"),
    Column("agent"),
    Column("tool"),
    Column("arguments"),
    Column("asked", "asked_at"),
    Column("expires", "expires_at"),
)

ApprovalArgument = Annotated[str, Argument(metavar="ID", help="The apr_ id.")]
AsOption = Annotated[str | None, Option("--as", help="Use keys/EMAIL.key of the home instead of person.key.")]
NoteOption = Annotated[str | None, Option(help="Why, for the log.")]


@command(app, "list", example="remit approval list --state pending")
async def list_approvals(job: Invocation, state: Annotated[State | None, Option(help="Only these.")] = None) -> None:
    """List questions, oldest first."""
    async with as_person(job) as client:
        found = await client.approvals(state.value if state else None)
    job.out.table(found, _COLUMNS, "No questions.")


@command(app, "show", example="remit approval show apr_…")
async def show(job: Invocation, approval: ApprovalArgument) -> None:
    """Show one question whole: what is shown is what would be done."""
    async with as_person(job) as client:
        _show(job, await client.approval(approval))


@command(app, "approve", example="remit approval approve apr_…")
async def approve(
    job: Invocation,
    approval: ApprovalArgument,
    scope: Annotated[Scope | None, Option(help="A call is approved once, a value for the session.")] = None,
    note: NoteOption = None,
    person: AsOption = None,
) -> None:
    """Say yes, once, to this exact call."""
    await _answer(job, approval, "approve", scope, note, person)
    job.out.note("The agent can now make the call again, with these arguments and no others.")


@command(app, "deny", example='remit approval deny apr_… --note "not this supplier"')
async def deny(job: Invocation, approval: ApprovalArgument, note: NoteOption = None, person: AsOption = None) -> None:
    """Say no. The same question is not asked again in that session."""
    await _answer(job, approval, "deny", None, note, person)


async def _answer(  # what was typed, handed on
    job: Invocation,
    approval: str,
    word: Literal["approve", "deny"],
    scope: Scope | None,
    note: str | None,
    person: str | None,
) -> None:
    async with as_person(job, person) as client:
        _show(job, await client.answer(approval, word, scope.value if scope else None, note))


def _show(job: Invocation, found: Document) -> None:
    # The parsed arguments are shown; `shown` says the same in one string for other screens.
    job.out.document(found, [(name, value) for name, value in found.items() if name != "shown"])
