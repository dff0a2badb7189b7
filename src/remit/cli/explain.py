"""``remit explain``: why a call was decided as it was, or would be, argument by argument."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from typer import Argument, Option, Typer

from remit.cli.commands import Invocation, command
from remit.cli.connection import as_person
from remit.cli.files import read_arguments
from remit.cli.output import Column
from remit.core.errors import InvalidDocument, NotFound
from remit.sdk.client import RemitClient

_DECISIONS: Final = "60,61,62"
_ARGUMENTS: Final = (
    Column("argument"),
    Column("role"),
    Column("value"),
    Column("has", "strength"),
    Column("needs", lambda item: f"{item['needs']} ({', '.join(item['demanded_by'])})" if item["demanded_by"] else ""),
    Column("met", lambda item: "yes" if item["met"] else "no"),
    Column("because", lambda item: "\n".join(_because(one) for one in item["granted"][:3]) or "nothing vouches for it"),
)
_DEMANDS: Final = (
    Column("rule"),
    Column("met", lambda item: "yes" if item["met"] else "no"),
    Column("of the call", "text"),
)


def register(app: Typer) -> None:
    """Add the command to the root."""
    command(app, "explain", example="remit explain 42")(explain)


async def explain(
    job: Invocation,
    call: Annotated[
        str | None, Argument(metavar="CALL", help="The event of a decision; with --session, the call's own id.")
    ] = None,
    session: Annotated[str | None, Option(help="The session's id.")] = None,
    tool: Annotated[str | None, Option(help="For a call that nobody has made: the tool, as server/tool.")] = None,
    arguments: Annotated[str | None, Option(help="Its arguments as JSON; - reads stdin, @FILE a file.")] = None,
) -> None:
    """Show for each argument of a call the value, what vouches for it, and what was demanded.

    For a call of the log, as things were when it was decided; with --tool and --arguments for one that nobody has
    made, as things are now in that session. Nothing is recorded, reserved or asked.
    """
    async with as_person(job) as client:
        found = await _found(client, call, session, tool, arguments)
    if job.out.json:
        job.out.document(found)
        return
    verdict = {True: "untrusted", False: "trusted: no value is demanded anything of", None: None}[found["tainted"]]
    lines: list[tuple[str, object]] = [("decision", found["decision"]), ("tool", found["tool"])]
    lines += [("codes", ", ".join(found["codes"]) or None), ("flow alone", found["verdict"]), ("session", verdict)]
    lines += [(one["code"], f"{one['text']} {one['hint']}") for one in found.get("reasons", ())]
    job.out.document(found, lines)
    if found["arguments"]:
        job.out.text("")
        job.out.table(found["arguments"], _ARGUMENTS, "")
    if found["call_demands"]:
        job.out.text("")
        job.out.table(found["call_demands"], _DEMANDS, "")
    if not found["whole"]:
        job.out.note("Part of what the session was shown was erased, or was too much to keep: that endorses nothing.")


async def _found(
    client: RemitClient, call: str | None, session: str | None, tool: str | None, arguments: str | None
) -> dict[str, Any]:
    if tool is not None and session is not None and call is None:
        return await client.explain(session, tool, read_arguments(arguments or "{}"))
    if call is None or tool is not None or arguments is not None:
        raise InvalidDocument(
            "name one call", hint="EVENT; or CALL with --session; or --session, --tool and --arguments for a new one."
        )
    if session is None:
        if not (call.isascii() and call.isdecimal()):
            raise InvalidDocument(f"{call!r} is no event", hint="Name its --session for a call by its own id.")
        return await client.explanation(int(call))
    return await client.explanation(await _event_of(client, session, call))


async def _event_of(client: RemitClient, session: str, call: str) -> int:
    """The newest decision on a call of this session."""
    newest, after = -1, None
    for _ in range(1_000):
        page = await client.events(after, kind=_DECISIONS, session=session)
        newest = max([newest, *(one["i"] for one in page["items"] if one.get("call") == call)])
        if page["next"] is None:
            break
        after = int(page["next"])
    if newest < 0:
        raise NotFound(f"there is no decision on a call {call} in that session")
    return newest


def _because(one: Mapping[str, Any]) -> str:
    where = f" (call {one['call']} at {one['path']})" if one.get("call") else ""
    how = f": {one['because']}" if one.get("because") else ""
    return f"{one['rule']}, {one['strength']}: {one['from']}{where}{how}"
