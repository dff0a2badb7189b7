"""The commands of the noun ``key``: host keys start sessions, session keys call tools; never one for both."""

from enum import StrEnum
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.output import Column
from remit.core.canonical import Json
from remit.sdk.client import Document

app = group("key", "Keys of agents: one kind starts sessions, another calls tools.")


class Purpose(StrEnum):
    """What a key does."""

    host = "host"
    session = "session"


_COLUMNS: Final = (
    Column("key"),
    Column("for"),
    Column("of", lambda item: item.get("agent") or item.get("person")),
    Column("state"),
    Column("expires", "expires_at"),
    Column("last used", "last_used_at"),
    Column("only tools", "tools"),
    Column("only from", "addresses"),
)

KeyArgument = Annotated[str, Argument(metavar="ID", help="The key_ id.")]


@command(app, "create", example="remit key create --agent bookkeeper --for host --expires P30D")
async def create(
    job: Invocation,
    agent: Annotated[str, Option(help="The agent's name or id.")],
    purpose: Annotated[Purpose, Option("--for", help="Whether it starts sessions or calls tools.")],
    expires: Annotated[str, Option(help="A time, or a duration from now such as P30D; at most a year.")],
    tool: Annotated[list[str] | None, Option(metavar="REF", help="Only for this tool; may be repeated.")] = None,
    address: Annotated[
        list[str] | None, Option(metavar="CIDR", help="Only for use from this network; may be repeated.")
    ] = None,
) -> None:
    """Make a key for an agent. Its secret is shown this once."""
    document: dict[str, Json] = {"agent": agent, "for": purpose.value, "expires": expires}
    lists = {"tools": tool, "addresses": address}
    document |= {name: list(value) for name, value in lists.items() if value}
    async with as_person(job) as client:
        made = await client.create("keys", document)
    _show_secret(job, made)


@command(app, "list", example="remit key list --agent bookkeeper")
async def list_keys(
    job: Invocation, agent: Annotated[str | None, Option(help="Only those of this agent.")] = None
) -> None:
    """List keys, without their secrets."""
    async with as_person(job) as client:
        found = await client.listing("keys", agent=agent)
    job.out.table(found, _COLUMNS, "No keys: `remit key create`.")


@command(app, "rotate", example="remit key rotate key_…")
async def rotate(
    job: Invocation,
    key: KeyArgument,
    overlap: Annotated[
        str | None, Option(metavar="DURATION", help="How long the old one still works: an hour, at most a week.")
    ] = None,
) -> None:
    """Make a new key like this one, which then ends. The new secret is shown this once."""
    async with as_person(job) as client:
        made = await client.rotate_key(key, overlap)
    _show_secret(job, made)


@command(app, "revoke", example="remit key revoke key_…")
async def revoke(job: Invocation, key: KeyArgument) -> None:
    """End a key at once, and the sessions that it started."""
    async with as_person(job) as client:
        job.out.document(await client.change("keys", key, {"state": "revoked"}))


def _show_secret(job: Invocation, made: Document) -> None:
    job.out.document(made)
    job.out.note("The secret is not kept and not shown again: put it where only its program reads it.")
