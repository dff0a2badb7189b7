"""The commands of the noun ``access``: what agents were refused, for who may change it.

Remit makes the requests; an agent can neither write into one nor answer it. A proposed grant is printed and never
applied: ``remit grant apply`` is another command, of an administrator.
"""

from enum import StrEnum
from typing import Annotated, Final

from typer import Argument, Option

from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.output import Column

app = group("access", "What agents were refused, and a person could change.")


class State(StrEnum):
    """What became of a request."""

    open = "open"
    closed = "closed"
    expired = "expired"


_COLUMNS: Final = (
    Column("request"),
    Column("state"),
    Column("agent"),
    Column("tool", lambda item: item["tool"] or "(not there for it)"),
    Column("why", lambda item: f"{item['why']} [{item['code']}]"),
    Column("rule"),
    Column("count"),
    Column("last", "last_at"),
)

RequestArgument = Annotated[str, Argument(metavar="ID", help="The acr_ id.")]


@command(app, "list", example="remit access list --state open")
async def list_requests(job: Invocation, state: Annotated[State | None, Option(help="Only these.")] = None) -> None:
    """List what agents were refused, oldest first: each agent, tool and rule once, with how often."""
    async with as_person(job) as client:
        found = await client.access_requests(state.value if state else None)
    job.out.table(found, _COLUMNS, "No access requests.")


@command(app, "show", example="remit access show acr_…")
async def show(job: Invocation, request: RequestArgument) -> None:
    """Show one request, and a grant that would let it pass, to read and change. Nothing is granted."""
    async with as_person(job) as client:
        found = await client.access_request(request)
    shown = [(name, value) for name, value in found.items() if name != "file"]
    job.out.document(found, shown)
    if found["events"]:
        job.out.note(f"The arguments of the last refused call: `remit audit show {found['events'][-1]}`.")
    if "file" in found:
        job.out.note("The proposed file alone: the member file of `--json`.")


@command(app, "close", example="remit access close acr_…")
async def close(
    job: Invocation, request: RequestArgument, reason: Annotated[str | None, Option(help="Why, for the log.")] = None
) -> None:
    """Say that a request is dealt with. If the same is refused again, another is opened."""
    async with as_person(job) as client:
        job.out.document(await client.close_access_request(request, reason))
