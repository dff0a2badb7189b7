"""The commands of the noun ``agent``: identities with an owner, a purpose and an end."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents
from remit.cli.output import Column
from remit.core.canonical import Json
from remit.core.errors import InvalidDocument

app = group("agent", "Agents: identities with an owner, a purpose and an end.")

_ADVICE: Final = (Column("grant"), Column("verdict"), Column("why"))
_COLUMNS: Final = (
    Column("name"),
    Column("state"),
    Column("mode"),
    Column("owner"),
    Column("purpose"),
    Column("expires"),
    Column("review by", "review_by"),
    Column("look at", "attention"),
    Column("id"),
)

AgentArgument = Annotated[str, Argument(metavar="AGENT", help="The agent's name or agt_ id.")]


@command(app, "create", example="remit agent create -f bookkeeper.yaml")
async def create(
    job: Invocation,
    file: Annotated[Path | None, Option("--file", "-f", help="A file of kind Agent.")] = None,
    blueprint: Annotated[str | None, Option(help="Instead: make an active instance of this blueprint.")] = None,
    name: Annotated[str | None, Option(help="The instance's name.")] = None,
    owner: Annotated[str | None, Option(help="The instance's owner, if not the blueprint's.")] = None,
    expires: Annotated[str | None, Option(help="An earlier end of the instance than its blueprint's.")] = None,
) -> None:
    """Make the agents of a file, as drafts; or an instance of a blueprint, active at once."""
    instance = {"blueprint": blueprint, "name": name, "owner": owner, "expires": expires}
    given: dict[str, Json] = {member: value for member, value in instance.items() if value is not None}
    if (file is None) is not {"blueprint", "name"}.issubset(given) or (file is not None and given):
        raise InvalidDocument("an agent comes from a file, or from a blueprint", hint="-f FILE, or --blueprint --name.")
    if file is None:
        async with as_person(job) as client:
            job.out.document(await client.create("agents", {"kind": "Agent", **given}))
        return
    documents = read_documents(file, "Agent")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("agents", document.value))
    job.out.each(made, _COLUMNS, "No agent was made.")
    job.out.note("Next: `remit grant apply FILE`, then `remit agent activate AGENT`.")


@command(app, "list", example="remit agent list --orphans --stale --unused")
async def list_agents(
    job: Invocation,
    *,
    orphans: Annotated[bool, Option("--orphans", help="Those that no active person owns.")] = False,
    stale: Annotated[bool, Option("--stale", help="Those whose review is overdue, or due within two weeks.")] = False,
    unused: Annotated[bool, Option("--unused", help="Active ones that were allowed no call for a while.")] = False,
    since: Annotated[str, Option(metavar="DURATION", help="How long a while is.")] = "P30D",
) -> None:
    """List every agent, retired ones included; or only those of which one of the given things is true."""
    filters = {"orphans": "true" if orphans else None, "stale": "true" if stale else None}
    filters["unused"] = since if unused else None
    async with as_person(job) as client:
        found = await client.listing("agents", **filters)
    some = any(filters.values())
    job.out.table(found, _COLUMNS, "None." if some else "No agents yet: `remit agent create -f FILE`.")


@command(app, "review", example="remit agent review bookkeeper --until P180D")
async def review(
    job: Invocation,
    agent: AgentArgument,
    until: Annotated[
        str | None, Option(metavar="TIME", help="When to look again: a time, or a duration from now; at most a year.")
    ] = None,
    note: Annotated[str | None, Option(help="What was found, for the log.")] = None,
) -> None:
    """Say that you looked at an agent and that it may go on; past its review date it is refused everything."""
    body: dict[str, Json] = {name: text for name, text in (("until", until), ("note", note)) if text is not None}
    async with as_person(job) as client:
        job.out.document(await client.act("agents", agent, "review", body))


@command(app, "show", example="remit agent show bookkeeper")
async def show(job: Invocation, agent: AgentArgument) -> None:
    """Show one agent."""
    async with as_person(job) as client:
        job.out.document(await client.get("agents", agent))


@command(app, "activate", example="remit agent activate bookkeeper")
async def activate(job: Invocation, agent: AgentArgument) -> None:
    """Make an agent live; refused until it has an owner, a purpose, an expiry and a grant."""
    await _move(job, agent, "active")


@command(app, "suspend", example="remit agent suspend bookkeeper")
async def suspend(job: Invocation, agent: AgentArgument) -> None:
    """Stop an agent until it is activated again."""
    await _move(job, agent, "suspended")


@command(app, "retire", example="remit agent retire bookkeeper")
async def retire(job: Invocation, agent: AgentArgument) -> None:
    """End an agent for good; its name is never used again."""
    await _move(job, agent, "retired")


@command(app, "kill", example='remit agent kill bookkeeper --reason "pays strangers"')
async def kill(
    job: Invocation, agent: AgentArgument, reason: Annotated[str, Option(help="Why, for the log.")] = "killed by hand"
) -> None:
    """Stop an agent at once: it is suspended, its sessions, tokens and pending questions end."""
    async with as_person(job) as client:
        answer = await client.kill_agent(agent, reason)
    job.out.document(answer, [*answer["killed"].items(), ("event", answer["event"])])


@command(app, "advise", example="remit agent advise bookkeeper --since P90D")
async def advise(
    job: Invocation,
    agent: AgentArgument,
    since: Annotated[str, Option(metavar="DURATION", help="How far back its calls count.")] = "P30D",
    write: Annotated[Path | None, Option(metavar="DIR", help="Write each narrower grant to a file in here.")] = None,
    *,
    young: Annotated[bool, Option("--young", help="Also grants that are younger than that.")] = False,
) -> None:
    """Hold what was granted against what was used: each grant as it could be narrowed. Nothing is changed."""
    async with as_person(job) as client:
        found = await client.advice(agent, since, young=young)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for one in found["grants"]:
            if one["file"] is not None:
                (write / f"{one['grant']}.json").write_text(one["file"], encoding="utf-8")
    if job.out.json:
        job.out.document(found)
        return
    job.out.table(found["grants"], _ADVICE, "It holds no live grant.")
    for one in found["grants"]:
        if one["diff"]:
            job.out.text(f"\n{one['grant']}\n{one['diff'].rstrip()}")
    job.out.note(f"From {found['calls']} calls since {found['since']}. What it can't know:")
    for line in found["cannot_know"]:
        job.out.note(f"- {line}")


async def _move(job: Invocation, agent: str, state: str) -> None:
    async with as_person(job) as client:
        job.out.document(await client.change("agents", agent, {"state": state}))
