"""The commands about the home as a whole: make it, serve it, look it over; and a decision or a schema by hand."""

import asyncio
from collections.abc import Mapping
from secrets import token_hex
from typing import Annotated, Final

import typer
from typer import Argument, Option

from remit import wiring
from remit.cli import workers
from remit.cli.commands import NO, YES, Invocation, command
from remit.cli.connection import SESSION_TOKEN, as_person, as_session, check_home, live_url, load_settings
from remit.cli.doctor import look_over
from remit.cli.files import read_arguments
from remit.cli.output import Column, json_text
from remit.cli.signals import ended_by_signal
from remit.core.canonical import Json
from remit.core.errors import BadInput
from remit.guards.documents import schema as schema_of

_INIT_MEMBERS: Final[tuple[str, ...]] = ("home", "person", "admin_link")


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    command(app, "init", example="remit init --person ada@example.test")(init)
    command(app, "up", example="remit up --port 8765")(up)
    command(app, "status", example="remit status --json")(status)
    command(app, "doctor", example="remit doctor")(doctor)
    command(
        app,
        "decide",
        example="""remit decide --session ses_… --tool office/list_mail --arguments '{"limit": 5}'""",
    )(decide)
    command(app, "schema", example="remit schema ToolReview")(schema)


async def init(
    job: Invocation,
    person: Annotated[str, Option(help="Address of the first person, who gets every role.")] = wiring.DEFAULT_PERSON,
    issuer: Annotated[str, Option(help="Origin that tokens and the log carry for good.")] = wiring.DEFAULT_ISSUER,
    name: Annotated[str | None, Option(help="What the first person is called; default the address.")] = None,
) -> None:
    """Make a home: keys, store, log, the first person with a local key, and the shipped policies."""
    made = await wiring.init_home(job.home, person, issuer, name)
    answer = {member: made[member] for member in _INIT_MEMBERS if member in made}
    job.out.document(answer, [*answer.items(), ("person key", made.get("person_key_file"))])
    job.out.note(
        "The person key answers approvals. It is no wall against an agent that runs as your own user:\n"
        "where agents have a shell, let them run as another user.\n"
        "Next: `remit up`, or `remit server add`."
    )


async def up(
    job: Invocation,
    host: Annotated[str | None, Option(help="Address to listen on; default from the settings.")] = None,
    port: Annotated[int | None, Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = None,
    count: Annotated[
        int | None,
        Option("--workers", min=1, max=workers.MOST, help="Processes that serve; default from the settings."),
    ] = None,
) -> None:
    """Serve the API and the MCP gateway until SIGTERM or SIGINT; the first line on stdout says where."""
    check_home(job.home)
    chosen = load_settings(job.home)
    running = await live_url(job.home)
    if running is not None:
        job.out.note(f"Another server of this home answers at {running}; both write one log.")

    listening = asyncio.Event()

    def announce(facts: Mapping[str, Json]) -> None:
        listening.set()
        # JSON with and without --json: programs wait for this line and read the address from it.
        job.out.raw(json_text(facts, None))
        job.out.note(f"Remit serves {facts['url']}, MCP at {facts['mcp']}. Ctrl-C ends it.")

    address = chosen.host if host is None else host
    place = (job.home, chosen, address, chosen.port if port is None else port)
    several = chosen.workers if count is None else count
    if several > 1:
        # Nobody but us hears the signals here: they end it at any time.
        with ended_by_signal(asyncio.Event()):
            await workers.keep(*place, several, announce)
        return
    with ended_by_signal(listening):
        try:
            await wiring.serve(*place, announce)
        except UnicodeError as error:  # what Python makes of a name that no resolver could be asked for
            raise BadInput(f"--host {address!r} is no address", hint="Such as 127.0.0.1, or a name.") from error


async def status(job: Invocation) -> int:
    """Whether Remit can serve, and how much there is of what; exit 1 if it can't."""
    async with as_person(job) as client:
        found = await client.status()
    health = found["health"]
    shown = [("health", "ok" if health["ok"] else health["reason"]), *found["counts"].items()]
    url = await live_url(job.home)
    job.out.document(found, [*shown, ("server", url or "not running")])
    return YES if health["ok"] else NO


async def doctor(job: Invocation) -> int:
    """Look the installation over and say how to put right what is not; exit 1 if a check fails."""
    checks = await look_over(job)
    columns = [Column("id"), Column("ok"), Column("found"), Column("fix")]
    if job.out.json:
        job.out.document({"checks": checks})
    else:
        job.out.table(checks, columns, "Nothing to check.")
    return YES if all(check["ok"] for check in checks) else NO


async def decide(
    job: Invocation,
    session: Annotated[str, Option(help="The session's id.")],
    tool: Annotated[str, Option(help="The tool, as server/tool.")],
    arguments: Annotated[str, Option(help="The arguments as JSON; - reads stdin, @FILE a file.")],
    call_id: Annotated[str | None, Option(help="Your own id for the call; default a fresh one.")] = None,
    token: Annotated[str | None, Option(help=f"The session token; default {SESSION_TOKEN}.")] = None,
) -> int:
    """Ask for a decision on one call. An allow is recorded and spends its budget; exit 1 for deny and ask."""
    given = read_arguments(arguments)
    async with as_session(job, token) as client:
        answer = await client.decide(session, call_id or f"cli-{token_hex(8)}", tool, given)
    reasons = "\n".join(f"{one['text']}. {one['hint']} [{one['code']}]" for one in answer["reasons"])
    approval = answer["approval"]
    lines: list[tuple[str, object]] = [("decision", answer["decision"]), ("tool", answer["tool"])]
    lines += [("why", reasons or None), ("approval", approval["approval"] if approval else None)]
    lines += [("call", answer["call_id"]), ("intent", answer["intent"]), ("event", answer["event"])]
    job.out.document(answer, lines)
    if approval:
        job.out.note(f"A person answers with `remit approval approve {approval['approval']}`; then ask again.")
    return YES if answer["decision"] == "allow" else NO


async def schema(job: Invocation, kind: Annotated[str, Argument(metavar="KIND", help="Such as Grant.")]) -> None:
    """Print the JSON Schema of a kind of file or answer. Needs no home."""
    job.out.raw(json_text(schema_of(kind)))
