"""The commands of the noun ``session``: a host starts, renews and ends them; people look at them and stop them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.commands import Invocation, command, group
from remit.cli.connection import HOST_KEY, as_host, as_person
from remit.cli.files import read_value
from remit.core.canonical import Json

app = group("session", "Sessions: one task of one agent.")

_TOKEN_NOTE: Final = "The token calls tools in this session for five minutes; `remit session token` renews it."  # noqa: S105

SessionArgument = Annotated[str, Argument(metavar="SESSION", help="The ses_ id.")]
KeyFileOption = Annotated[Path | None, Option("--key-file", help=f"File of the host key; default {HOST_KEY}.")]


@command(app, "start", example='remit session start --agent bookkeeper --as ada@example.test --task "Pay the invoices"')
async def start(  # each is one option of the command line
    job: Invocation,
    agent: Annotated[str, Option(help="The agent, which must be the key's own.")],
    principal: Annotated[str | None, Option("--as", help="The person it acts for, vouched for by the host.")] = None,
    task: Annotated[list[str] | None, Option(help="What the person wants, in their own words.")] = None,
    quoted: Annotated[list[str] | None, Option(help="Text that somebody else wrote; it endorses nothing.")] = None,
    plan: Annotated[Path | None, Option(help="A file with the tools and limits to seal.")] = None,
    ttl: Annotated[str | None, Option(help="How long the session may last, such as PT1H.")] = None,
    parent: Annotated[str | None, Option(help="The session that this one works for.")] = None,
    attested: Annotated[
        bool, Option("--attested", help="The host vouches that all the model reads passes through Remit.")
    ] = False,
    key_file: KeyFileOption = None,
) -> None:
    """Start a session with a host key; the answer holds the first session token."""
    request = {
        "agent": agent,
        "context": "attested" if attested else "unattested",
        "principal": principal,
        "task": _segments(task or [], quoted or []) or None,
        "plan": read_value(plan) if plan is not None else None,
        "ttl": ttl,
        "parent": parent,
    }
    async with as_host(job, key_file) as client:
        job.out.document(await client.start_session(_without_none(request)))
    job.out.note(_TOKEN_NOTE)


@command(app, "token", example="remit session token ses_…")
async def token(job: Invocation, session: SessionArgument, key_file: KeyFileOption = None) -> None:
    """Get a fresh token for a live session, with its agent's host key."""
    async with as_host(job, key_file) as client:
        job.out.document(await client.renew_token(session))


@command(app, "show", example="remit session show ses_…")
async def show(job: Invocation, session: SessionArgument) -> None:
    """Show a session's state, labels and budgets."""
    async with as_person(job) as client:
        job.out.document(await client.session(session))


@command(app, "end", example="remit session end ses_…")
async def end(
    job: Invocation,
    session: SessionArgument,
    reason: Annotated[str | None, Option(help="Why, for the log.")] = None,
    key_file: KeyFileOption = None,
) -> None:
    """End a session with its agent's host key; its tokens die."""
    async with as_host(job, key_file) as client:
        await client.end_session(session, reason)
    job.out.document({"session": session, "state": "ended"})


@command(app, "kill", example='remit session kill ses_… --reason "wrong recipient"')
async def kill(
    job: Invocation, session: SessionArgument, reason: Annotated[str, Option(help="Why, for the log.")] = "killed"
) -> None:
    """Stop a session at once, with all that hangs on it. By the agent's owner or an administrator."""
    async with as_person(job) as client:
        answer = await client.kill_session(session, reason)
    job.out.document(answer, [*answer["killed"].items(), ("event", answer["event"])])


def _segments(task: list[str], quoted: list[str]) -> list[Json]:
    """The task in pieces that say who wrote them."""
    own: list[Json] = [{"text": text, "source": "principal"} for text in task]
    return [*own, *({"text": text, "source": "quoted"} for text in quoted)]


def _without_none(members: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value is not None}
