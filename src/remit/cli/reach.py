"""``remit reach``: an agent's blast radius, as a table, as JSON, as a graph, and as a gate for CI."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from typer import Argument, Option, Typer

from remit.cli.commands import NO, YES, Invocation, command
from remit.cli.connection import as_person
from remit.cli.files import read_text
from remit.cli.output import Column
from remit.core.errors import InvalidDocument
from remit.core.reach_diff import added


def _verdict(one: Mapping[str, Any]) -> str:
    asks = one["needs_ask"] and one["verdict"] != "unreachable"
    return f"{one['verdict']}, asks" if asks else str(one["verdict"])


_TOOLS: Final = (
    Column("tool"),
    Column("effect"),
    Column("verdict", _verdict),
    Column(
        "conditions or why",
        lambda item: "\n".join(item["conditions"]) if item["verdict"] != "unreachable" else item["why"],
    ),
)
_FLOWS: Final = (Column("to"), Column("label"), Column("verdict"), Column("from"))
_SHOWN: Final = 3
_MOST: Final = (Column("at most"), Column("in a session"), Column("in a day"), Column("unit"))
_MEMBERS: Final = ("tools", "flows", "at_most", "people", "agents", "score")


def register(app: Typer) -> None:
    """Add the command to the root."""
    command(app, "reach", example="remit reach bookkeeper --diff before.json")(reach)


async def reach(
    job: Invocation,
    agent: Annotated[str, Argument(metavar="AGENT", help="The agent's name or agt_ id.")],
    diff: Annotated[
        str | None,
        Option(metavar="FILE", help="Exit 1 if there is more than in this saved answer; A..B holds B against A."),
    ] = None,
    without: Annotated[
        str | None, Option(metavar="REF", help="As it were without this grant (grt_ id) or tool (server/tool).")
    ] = None,
    *,
    dot: Annotated[bool, Option("--dot", help="Print the flows as a graph for Graphviz.")] = False,
) -> int:
    """Show what an agent could do with what it holds; each claim was rehearsed with the real decision.

    Save `remit reach AGENT --json`, change grants, reviews or policies, and `--diff` says what has become wider.
    """
    if diff is not None and ".." in diff:
        first, _, second = diff.partition("..")
        return _compared(job, _saved(first), _saved(second))
    async with as_person(job) as client:
        found = await client.reach(agent, without)
        whole = await client.reach(agent) if without is not None and diff is None else None
    if diff is not None:
        return _compared(job, _saved(diff), found)
    if job.out.json:
        job.out.document(found)
    elif dot:
        job.out.text("\n".join(_graph(found)))
    else:
        _print(job, found)
        if whole is not None:
            gone = added(found, whole)
            job.out.text(
                "\n".join([f"\nWithout {without}, this would be gone:", *(f"  {one}" for one in gone or ["nothing"])])
            )
    return YES


def _print(job: Invocation, found: dict[str, Any]) -> None:
    job.out.table(found["tools"], _TOOLS, "No tool is reviewed.")
    job.out.text("")
    flows = [one for one in found["flows"] if one["verdict"] != "unreachable"]
    job.out.table(_grouped(flows), _FLOWS, "No flow.")
    job.out.text("")
    rows = [
        {
            "at most": name,
            "in a session": most["session"] or "no ceiling",
            "in a day": most["day"] or "no ceiling",
            "unit": most["unit"],
        }
        for name, most in found["at_most"].items()
    ]
    job.out.table(rows, _MOST, "Nothing is counted.")
    job.out.text("")
    silent = sum(not one["needs_ask"] for one in flows)
    shown = [
        ("agent", f"{found['agent']} ({found['state']})"),
        ("flows that ask nobody", f"{silent} of {len(flows)}"),
        ("acts for", ", ".join(found["people"]) or "nobody"),
        ("agents under it", ", ".join(found["agents"]) or "none"),
        ("longest key", found["credential_lifetime"] or "none"),
        ("suggested labels", ", ".join(found["suggested"]) or "none"),
        ("not settled", found["unsettled"] or None),
        ("score", found["score"]),
    ]
    job.out.document({}, shown)
    job.out.note(f"The score: {found['score_formula']}. Witnesses: `remit reach {found['agent']} --json`.")


def _grouped(flows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each argument, label and verdict, those that ask nobody first; with the first few sources."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in sorted(flows, key=lambda one: (one["needs_ask"], one["to"]["tool"], one["to"]["argument"])):
        key = (f"{one['to']['tool']} {one['to']['argument']}".rstrip(), one["from"]["label"], _verdict(one))
        groups.setdefault(key, []).append(f"{one['from']['tool']} {one['from']['path']}".rstrip())
    return [
        {"to": sink, "label": label, "verdict": verdict, "from": _few(sources)}
        for (sink, label, verdict), sources in groups.items()
    ]


def _few(sources: Sequence[str]) -> str:
    rest = len(sources) - _SHOWN
    return ", ".join(sources[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _compared(job: Invocation, before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    wider, narrower = added(before, after), added(after, before)
    if job.out.json:
        job.out.document({"added": list(wider), "removed": list(narrower), "score": [before["score"], after["score"]]})
    else:
        job.out.text(
            "\n".join([*(f"+ {one}" for one in wider), *(f"- {one}" for one in narrower)] or ["No difference."])
        )
        job.out.text(f"score {before['score']} -> {after['score']}")
    return NO if wider else YES


def _saved(name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(read_text(Path(name)))
    except ValueError as error:
        raise InvalidDocument(f"{name} is not JSON") from error
    if not isinstance(found, dict) or any(member not in found for member in _MEMBERS):
        raise InvalidDocument(f"{name} is no answer of `remit reach AGENT --json`")
    return found


def _graph(found: Mapping[str, Any]) -> Iterator[str]:
    """The flows in Graphviz's language; a dashed line asks a person."""
    yield "digraph reach {"
    yield "  rankdir=LR; node [shape=box];"
    for one in found["tools"]:
        if one["verdict"] != "unreachable":
            yield f"  {_quoted(one['tool'])} [label={_quoted(one['tool'] + ' (' + one['effect'] + ')')}];"
    for one in found["flows"]:
        if one["verdict"] != "unreachable":
            label = f"{one['from']['label']} {one['from']['path']} -> {one['to']['argument']}"
            style = "dashed" if one["needs_ask"] else "solid"
            source, sink = _quoted(one["from"]["tool"]), _quoted(one["to"]["tool"])
            yield f"  {source} -> {sink} [label={_quoted(label)}, style={style}];"
    yield "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
