"""The commands of the noun ``policy``: operators' Cedar policies, checked, applied and rolled back as a whole set."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument

from remit.cli.commands import NO, YES, Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_text
from remit.cli.output import Column
from remit.core.canonical import Json
from remit.core.errors import InvalidDocument, NotFound
from remit.sdk.client import Document

app = group("policy", "Operators' policies, in Cedar.")

_COLUMNS: Final = (Column("file"), Column("line"), Column("id"), Column("message"))

FolderArgument = Annotated[Path, Argument(metavar="DIR", help="A folder of *.cedar files.")]


@command(app, "check", example="remit policy check policies/")
async def check(job: Invocation, folder: FolderArgument) -> int:
    """Say what is wrong or odd about the policies of a folder; exit 1 if they would be refused."""
    sources = _sources(folder)
    async with as_person(job) as client:
        report = await client.check_policies(sources)
    _show(job, report)
    return NO if report["errors"] else YES


@command(app, "apply", example="remit policy apply policies/")
async def apply(job: Invocation, folder: FolderArgument) -> int:
    """Put the policies of a folder in force, whole. A bad set is refused and the old one stays."""
    sources = _sources(folder)
    async with as_person(job) as client:
        report = await client.apply_policies(sources)
    _show(job, report)
    return NO if report["errors"] else YES


@command(app, "show", example="remit policy show")
async def show(job: Invocation) -> None:
    """Show the set in force."""
    async with as_person(job) as client:
        report = await client.policies()
    if job.out.json:
        job.out.document(report)
        return
    facts = [(name, report.get(name)) for name in ("policy_version", "revision", "applied_by", "applied_at")]
    job.out.document(report, facts)
    for source in report.get("sources", ()):
        job.out.text(f"\n// {source['file']}\n{source['text']}")


@command(app, "rollback", example="remit policy rollback 1")
async def rollback(
    job: Invocation,
    version: Annotated[str, Argument(metavar="V", help="The revision's number, or its policy version.")],
) -> int:
    """Put an earlier set in force again, as a new revision."""
    async with as_person(job) as client:
        report = await client.roll_back_policies(version)
    _show(job, report)
    return NO if report["errors"] else YES


def _sources(folder: Path) -> list[dict[str, Json]]:
    """Every ``*.cedar`` of a folder, by name. A folder without one is a mistake, not an empty set."""
    if not folder.is_dir():
        raise NotFound(f"{folder} is no folder", hint="Name the folder that holds your *.cedar files.")
    files = sorted(folder.glob("*.cedar"))
    if not files:
        raise InvalidDocument(f"{folder} holds no *.cedar file", hint="`remit init` writes one: policies/ask.cedar.")
    return [{"file": path.name, "text": read_text(path)} for path in files]


def _show(job: Invocation, report: Document) -> None:
    if job.out.json:
        job.out.document(report)
        return
    job.out.document(report, [(name, report.get(name)) for name in ("policy_version", "revision")])
    for title in ("errors", "lints"):
        found = [{"message": item} if isinstance(item, str) else item for item in report[title]]
        if found:
            job.out.text(f"\n{title}:")
            job.out.table(found, _COLUMNS, "")
