"""The commands of the noun ``approval``: a person answers what an agent may not answer for itself.

What is shown is exactly what is hashed, whole, with hidden characters made visible; beside it, looked up and marked as
such, who the ids are and what the tool does, because nobody answers for an id. The person is who holds the local
person key; ``--as`` only chooses among keys that lie in the home, and is no proof of anything.
"""

from collections.abc import Awaitable
from enum import StrEnum
from typing import Annotated, Final, Literal

from typer import Argument, Option

from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.output import Column
from remit.core.canonical import Json
from remit.core.errors import RemitError
from remit.sdk.client import Document, RemitClient

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

_AFTER: Final = {
    "call": "The agent can now make the call again, with these arguments and no others.",
    "value": "The agent can now make the call again, and use these values until the session ends.",
    "text": "The agent can now follow this text, within this bound, until its session ends.",
}

ApprovalArgument = Annotated[str, Argument(metavar="ID", help="The apr_ id.")]
AsOption = Annotated[str | None, Option("--as", help="Use keys/EMAIL.key of the home instead of person.key.")]
NoteOption = Annotated[str | None, Option(help="Why, for the log.")]


@command(app, "list", example="remit approval list --state pending")
async def list_approvals(job: Invocation, state: Annotated[State | None, Option(help="Only these.")] = None) -> None:
    """List questions, oldest first."""
    async with as_person(job) as client:
        found = await client.approvals(state.value if state else None)
        names = {} if job.out.json else {agent["id"]: agent["name"] for agent in await client.listing("agents")}
    agent = Column("agent", lambda item: names.get(item["agent"], item["agent"]))
    columns = [agent if column.title == "agent" else column for column in _COLUMNS]
    job.out.table(found, columns, "No questions.")


@command(app, "show", example="remit approval show apr_…")
async def show(job: Invocation, approval: ApprovalArgument) -> None:
    """Show one question whole: what is shown is what would be done."""
    async with as_person(job) as client:
        await _show(job, client, await client.approval(approval))


@command(app, "approve", example="remit approval approve apr_…")
async def approve(
    job: Invocation,
    approval: ApprovalArgument,
    scope: Annotated[Scope | None, Option(help="A call is approved once, a value for the session.")] = None,
    note: NoteOption = None,
    person: AsOption = None,
) -> None:
    """Say yes: to this exact call, once; or to the values asked about, for the session."""
    found = await _answer(job, approval, "approve", scope, note, person)
    job.out.note(_AFTER[found["kind"]])


@command(app, "deny", example='remit approval deny apr_… --note "not this supplier"')
async def deny(job: Invocation, approval: ApprovalArgument, note: NoteOption = None, person: AsOption = None) -> None:
    """Say no. The same question is not asked again in that session."""
    await _answer(job, approval, "deny", None, note, person)


@command(
    app,
    "adopt",
    example="remit approval adopt ses_… c-12 /content/0/text --tool shop/add --type shop:item --calls 8",
)
async def adopt(
    job: Invocation,
    session: Annotated[str, Argument(metavar="SESSION", help="The ses_ id.")],
    call: Annotated[str, Argument(metavar="CALL", help="The id of the call whose result holds the text.")],
    path: Annotated[str, Argument(metavar="PATH", help="Where in the result, as a JSON pointer.")],
    tool: Annotated[list[str], Option(help="A tool that the text is for; repeat it.")],
    calls: Annotated[int, Option(min=1, help="How many calls it may cover.")],
    type_: Annotated[list[str] | None, Option("--type", help="A type of values to take from it; repeat it.")] = None,
    limit: Annotated[list[str] | None, Option(help="A ceiling NAME=AMOUNT, as reviews count it; repeat it.")] = None,
) -> None:
    """Ask for a text that the session read to be adopted as part of its task; then read it, and approve it or not."""
    ceilings = {name: amount for name, _, amount in (one.partition("=") for one in limit or ())}
    wanted: dict[str, Json] = {
        "call_id": call,
        "path": path,
        "tools": list(tool),
        "types": list(type_ or ()),
        "limits": {**ceilings, "calls": calls},
    }
    async with as_person(job) as client:
        found = await client.act("sessions", session, "adoptions", wanted)
        await _show(job, client, found)
    job.out.note(f"Nothing is adopted yet: read it, then `remit approval approve {found['approval']}`, or deny it.")


async def _answer(  # what was typed, handed on
    job: Invocation,
    approval: str,
    word: Literal["approve", "deny"],
    scope: Scope | None,
    note: str | None,
    person: str | None,
) -> Document:
    async with as_person(job, person) as client:
        found = await client.answer(approval, word, scope.value if scope else None, note)
        await _show(job, client, found)
    return found


async def _show(job: Invocation, client: RemitClient, found: Document) -> None:
    if job.out.json:
        job.out.document(found)
        return
    lines: list[tuple[str, object]] = []
    for name, value in found.items():
        match name:
            case "agent" | "answered_by":
                lines.append((name, await _member(client, str(value))))
            case "yes_by":
                lines.append(("said yes", ", ".join([await _member(client, one) for one in value]) or "nobody yet"))
            case "chain":
                lines.append((name, " > ".join([await _member(client, one) for one in value])))
            case "shown":
                # Arguments are drawn in ASCII, in which no letter passes for another; this is how they read.
                lines.append(("they read", value if not str(value).isascii() else None))
            case "value":
                pass
            case "values":
                lines += [("nothing vouches for", _value(one)) for one in value]
            case _:
                lines.append((name, value))
        lines += await _beside(client, name, value)
    job.out.document(found, lines)


def _value(one: Document) -> str:
    """A value, what it is, what it would be used for, and where it stood."""
    origin = one.get("origin") or {}
    where = f", listed by call {origin['call_id']} at {origin['path']}" if origin else ""
    return f"{one['text']} ({one['type']}), as {one['role']} of a {one['effect']} at {one['server']}{where}"


async def _beside(client: RemitClient, name: str, value: object) -> list[tuple[str, object]]:
    """What else Remit knows of one member of a question."""
    if name == "agent" and (agent := await _looked_up(client.get("agents", str(value)))):
        return [("its owner", agent["owner"]), ("its purpose", agent["purpose"])]
    if name == "tool" and (tool := await _looked_up(client.tool(str(value)))):
        return [("its effect", tool.get("effect"))]
    return []


async def _member(client: RemitClient, name: str) -> str:
    noun: Literal["people", "agents"] = "people" if name.startswith("per_") else "agents"
    one = await _looked_up(client.get(noun, name))
    return f"{one.get('email') or one.get('name')} ({name})" if one else name


async def _looked_up(asked: Awaitable[Document]) -> Document | None:
    try:
        return await asked
    except RemitError:
        return None
