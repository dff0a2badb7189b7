"""The commands of the noun ``tool``: what servers offer, what changed in it, and the reviews that people sign.

A definition is somebody else's text. It is shown with every hidden character made visible, so that nobody signs what
they did not see.
"""

import io
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from ruamel.yaml import YAML
from typer import Argument, Option

from remit.cli.applying import apply_all
from remit.cli.commands import Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import FileDocument
from remit.cli.output import Column
from remit.cli.reviewers import read_reviews, without_why
from remit.core.errors import BadInput, InvalidDocument
from remit.core.ids import split_ref, tool_ref
from remit.sdk.client import Document

app = group("tool", "Tools, and the reviews that people sign for them.")
reviews = group("review", "Reviews as files.")
app.add_typer(reviews)


class State(StrEnum):
    """Whether a tool can be called: only approved ones can."""

    approved = "approved"
    quarantined = "quarantined"
    gone = "gone"


def _labels(item: Document) -> str:
    """Where the labels in force come from, and whether the server itself has shown the definition."""
    signed = {None: "", True: "suggested", False: "reviewed"}[item["suggested"]]
    return ", ".join(word for word in (signed, "imported" if item["imported"] else "") if word)


_COLUMNS: Final = (
    Column("tool"),
    Column("kind"),
    Column("state"),
    Column("effect"),
    Column("labels", _labels),
    Column("pinned", lambda item: _short(item["pinned"])),
    Column("offered", lambda item: _short(item["offered"])),
)
_CHANGES: Final = (Column("path"), Column("before"), Column("after"), Column("hidden"))
_REVIEWED: Final = (
    Column("tool", lambda item: tool_ref(item["server"], item["tool"])),
    Column("effect"),
    Column("reached by", "reach"),
    Column("id"),
)
_SHOWN_DIGITS: Final = 19

RefArgument = Annotated[str, Argument(metavar="REF", help="The tool, as server/tool.")]


@command(app, "list", example="remit tool list --state quarantined")
async def list_tools(job: Invocation, state: Annotated[State | None, Option(help="Only these.")] = None) -> None:
    """List tools and whether they can be called."""
    async with as_person(job) as client:
        found = await client.tools(state.value if state else None)
    job.out.table(found, _COLUMNS, "No such tools: `remit server sync NAME` looks for some.")


@command(app, "show", example="remit tool show office/send_mail")
async def show(job: Invocation, ref: RefArgument) -> None:
    """Show a tool with its definition as its server sent it, hidden characters made visible."""
    async with as_person(job) as client:
        found = await client.tool(ref)
    job.out.document(found)
    if found.get("hidden"):
        job.out.note("This definition holds characters that a reader would not see; they are written out above.")


@command(app, "diff", example="remit tool diff office/send_mail")
async def diff(
    job: Invocation,
    ref: RefArgument,
    start: Annotated[str | None, Option("--from", help="A fingerprint; default the pinned one.")] = None,
    end: Annotated[str | None, Option("--to", help="A fingerprint; default the one offered now.")] = None,
) -> None:
    """Show how two definitions of a tool differ."""
    async with as_person(job) as client:
        answer = await client.tool_diff(ref, start, end)
    if job.out.json:
        job.out.document(answer)
        return
    job.out.document(answer, [("from", answer["from"]), ("to", answer["to"])])
    job.out.table(answer["changes"], _CHANGES, "They do not differ.")


@command(app, "approve", example="remit tool approve office/send_mail --fingerprint sha256:…")
async def approve(
    job: Invocation, ref: RefArgument, fingerprint: Annotated[str, Option(help="The definition that you looked at.")]
) -> None:
    """Sign the last review again for the definition that is offered now."""
    async with as_person(job) as client:
        _show_reviewed(job, [await client.approve_tool(ref, fingerprint)])


@command(reviews, "apply", example="remit tool review apply reviews/")
async def apply(
    job: Invocation,
    named: Annotated[
        list[str] | None,
        Argument(metavar="[FILE]...", help="Files of kind ToolReview, or folders of them; with --suggested, tools."),
    ] = None,
    suggested: Annotated[
        bool, Option("--suggested", help="Sign what `tool suggest` says, unchanged and marked so.")
    ] = False,
    server: Annotated[str | None, Option(help="With --suggested: all quarantined tools of this server.")] = None,
) -> None:
    """Sign reviews: each pins its tool at the fingerprint that it names."""
    if suggested:
        await _apply_suggested(job, named or [], server)
        return
    if not named or server is not None:
        raise InvalidDocument("name the files or folders to apply", hint="--server goes with --suggested.")
    documents = read_reviews([Path(one) for one in named])
    async with as_person(job) as client:

        async def send(document: FileDocument) -> Document:
            ref = tool_ref(str(document.value["server"]), str(document.value["tool"]))
            return await client.review_tool(ref, document.value)

        _show_reviewed(job, await apply_all(job, documents, send))


async def _apply_suggested(job: Invocation, refs: list[str], server: str | None) -> None:
    """Sign the suggestions as they are made now. Nobody has gone through them, and each says so."""
    if bool(refs) == (server is not None):
        raise InvalidDocument("name the tools, or one server with --server", hint="`remit tool list` shows them.")
    signed: list[Document] = []
    async with as_person(job) as client:
        waiting = [one["tool"] for one in await client.tools("quarantined") if one["server"] == server]
        for ref in refs or waiting:
            found = await client.suggested_review(ref)
            signed.append(await client.review_tool(ref, without_why(found)))
    job.out.each(signed, _REVIEWED, "No tool of that server waits for a review.")
    job.out.note("These labels are suggestions that nobody has gone through: `remit tool list` shows which.")


@command(reviews, "export", example="remit tool review export reviews/")
async def export(
    job: Invocation, folder: Annotated[Path, Argument(metavar="DIR", help="Where to write; made if absent.")]
) -> None:
    """Write the review in force of every tool as a file that applies again."""
    async with as_person(job) as client:
        signed = [tool for tool in await client.tools() if tool["review"] is not None]
        found = [await client.tool_review(tool["tool"]) for tool in signed]
    written: list[Document] = []
    for review in found:
        kept = {name: value for name, value in review.items() if name not in ("id", "reviewed")}
        written.append({"tool": tool_ref(review["server"], review["tool"]), "file": write_review(folder, review, kept)})
    job.out.table(written, (Column("tool"), Column("file")), "No tool has a review yet.")


def write_review(
    folder: Path, review: Mapping[str, Any], document: Mapping[str, Any], comments: Sequence[str] = ()
) -> str:
    """Write one review under ``folder``, with ``comments`` (single safe lines) above it; where it stands now."""
    path = _review_path(folder, review)
    text = "".join(f"# {line}\n" for line in comments) + _yaml(dict(document))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} can't be written: {error.strerror}", hint="Choose another folder.") from error
    return str(path)


def _review_path(folder: Path, review: Mapping[str, Any]) -> Path:
    """``DIR/server/tool.yaml``; a tool's name is its server's text, so it is kept from naming another place."""
    server, tool = split_ref(tool_ref(str(review["server"]), str(review["tool"])))
    name = "".join(char if char.isalnum() or char in "_-" else f"%{ord(char):02x}" for char in tool)
    path = folder / server / f"{name}.yaml"
    if path.is_symlink():
        raise InvalidDocument(f"{path} is a link, which is not followed", hint="Remove it, or choose another folder.")
    return path


def _yaml(value: Document) -> str:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.width = 4096  # a fingerprint stays on the line of its name
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as if it were only a flag
    out = io.StringIO()
    writer.dump(value, out)
    return out.getvalue()


def _show_reviewed(job: Invocation, answers: list[Document]) -> None:
    job.out.each(answers, _REVIEWED, "Nothing was signed.")
    job.out.note("A review gives nothing by itself: it lets grants reach the tool.")


def _short(fingerprint: str | None) -> str | None:
    return None if fingerprint is None else fingerprint[:_SHOWN_DIGITS] + "…"
