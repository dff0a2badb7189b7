"""The commands of the noun ``rule``: what holds over many calls, signed off by an administrator."""

from pathlib import Path
from typing import Annotated, Final

from typer import Argument

from remit.cli.applying import apply_all
from remit.cli.commands import NO, YES, Invocation, command, group
from remit.cli.connection import as_person
from remit.cli.files import read_documents, read_text
from remit.cli.output import Column

app = group("rule", "Countable rules: limits, once per key, one call before another.")

RuleArgument = Annotated[str, Argument(metavar="RULE", help="The rule, by name or rul_ id.")]

_COLUMNS: Final = (
    Column("name"),
    Column("state"),
    Column("version"),
    Column("per"),
    Column("window"),
    Column("tools"),
    Column("says"),
)
_SENTENCES: Final = (Column("line"), Column("text"), Column("why"))


@command(app, "list", example="remit rule list")
async def list_rules(job: Invocation) -> None:
    """List rules, revoked ones included."""
    async with as_person(job) as client:
        job.out.table(await client.listing("rules"), _COLUMNS, "No rules: `remit rule apply FILE`.")


@command(app, "show", example="remit rule show invoice-once")
async def show(job: Invocation, rule: RuleArgument) -> None:
    """Show one rule."""
    async with as_person(job) as client:
        job.out.document(await client.get("rules", rule))


@command(app, "apply", example="remit rule apply rules.yaml")
async def apply(job: Invocation, file: Annotated[Path, Argument(metavar="FILE", help="A file of kind Rule.")]) -> None:
    """Sign the rules of a file off: they are in force at once. One that is there already gets another version."""
    documents = read_documents(file, "Rule")
    async with as_person(job) as client:
        made = await apply_all(job, documents, lambda document: client.create("rules", document.value))
    job.out.each(made, _COLUMNS, "No rule was made.")


@command(app, "revoke", example="remit rule revoke invoice-once")
async def revoke(job: Invocation, rule: RuleArgument) -> None:
    """End a rule at once. Its name is not used again."""
    async with as_person(job) as client:
        job.out.document(await client.change("rules", rule, {"state": "revoked"}))


@command(app, "draft", example="remit rule draft payments-policy.txt")
async def draft(
    job: Invocation, file: Annotated[Path, Argument(metavar="FILE", help="A policy document in plain text.")]
) -> int:
    """Propose rules from a policy document, and list each sentence that became none; exit 1 if there is one.

    Nothing is applied, and no model reads the text: fixed forms of English sentences, against the reviewed tools.
    """
    text = read_text(file)
    async with as_person(job) as client:
        answer = await client.draft_rules(text)
    open_ones = [one for one in answer["sentences"] if "why" in one]
    if job.out.json:
        job.out.document(answer)
        return NO if open_ones else YES
    job.out.text(answer["file"].rstrip("\n"))
    job.out.text(f"\n# {len(open_ones)} of {len(answer['sentences'])} sentences became no rule:")
    job.out.table(open_ones, _SENTENCES, "# none")
    return NO if open_ones else YES
