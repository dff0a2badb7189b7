"""The commands of the noun ``audit``: the log read, exported and proved, and calls whose effect nobody knows.

``verify`` trusts nothing that Remit says of itself: it runs the independent verifier over an export, under the log key
that was put into this home when it was made (or the one that is given).
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from typer import Argument, Option

from remit.audit.verify import Unusable, bounded_lines, read_seen
from remit.audit.verify import verify as verify_lines
from remit.cli.commands import NO, YES, Invocation, command, fallback, group
from remit.cli.connection import as_person
from remit.cli.output import Column, json_text, unwritable
from remit.core.errors import BadInput, InvalidDocument, NotFound
from remit.core.events import Kind
from remit.core.times import to_text
from remit.sdk.client import Document, RemitClient

app = group("audit", "The log: read, exported, proved.")
unknown = group("unknown", "Calls with an intent and no known outcome.")
app.add_typer(unknown)

_PAGE: Final = 200
_PAUSE: Final = 0.5
_MOST_LINES: Final = 1_000_000
_NAMES: Final = {int(kind): kind.name.lower() for kind in Kind}
_SHOWN: Final = ("actor", "agent", "session", "call", "tool", "decision", "outcome", "intent", "about")
_UNKNOWN: Final = (
    Column("call"),
    Column("session"),
    Column("tool"),
    Column("intent"),
)
_PROBLEMS: Final = (Column("index"), Column("what"))


class Form(StrEnum):
    """What an export is written as."""

    jsonl = "jsonl"


class Outcome(StrEnum):
    """What became of a call, once somebody found out."""

    done = "done"
    failed = "failed"


KindOption = Annotated[str | None, Option(help="Only this kind, by name or number, such as intent.")]
SessionOption = Annotated[str | None, Option(help="Only this session's.")]
AgentOption = Annotated[str | None, Option(help="Only this agent's.")]
IndexArgument = Annotated[int, Argument(metavar="I", min=0, help="The event's index.")]


@command(app, "tail", example="remit audit tail -f --agent bookkeeper")
async def tail(  # each is one option of the command line
    job: Invocation,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on with new events until interrupted.")] = False,
    lines: Annotated[
        int, Option("--lines", "-n", min=0, max=_MOST_LINES, help="How many of the newest to begin with.")
    ] = 20,
    kind: KindOption = None,
    session: SessionOption = None,
    agent: AgentOption = None,
) -> None:
    """Print the newest events, one a line; with -f go on as they come."""
    filters = {"kind": _kind(kind), "session": session, "agent": agent}
    async with as_person(job) as client:
        newest: deque[Document] = deque(maxlen=lines)
        last = await _first(client, lines, filters)
        while page := await _after(client, last, filters):
            newest.extend(page)
            last = int(page[-1]["i"])
        for event in newest:
            job.out.line(event, _line(event))
        while follow:
            page = await _after(client, last, filters)
            for event in page:
                job.out.line(event, _line(event))
                last = int(event["i"])
            if not page:
                await asyncio.sleep(_PAUSE)


@command(app, "show", example="remit audit show 42")
async def show(job: Invocation, index: IndexArgument) -> None:
    """Show one event, with its private values for those who may read them."""
    async with as_person(job) as client:
        event = await client.event(index)
    named = [("kind", _NAMES.get(event["k"])), ("at", to_text(event["t"]))]
    job.out.document(event, [*named, *event.items()])


@command(app, "export", example="remit audit export --output log.jsonl")
async def export(
    job: Invocation,
    form: Annotated[Form, Option("--format", help="JSON lines, as `audit verify` reads them.")] = Form.jsonl,
    output: Annotated[Path | None, Option("--output", "-o", help="A new file; default stdout.")] = None,
    private: Annotated[bool, Option("--private", help="With the private values and their salts.")] = False,
    trace: Annotated[bool, Option("--trace", help="One session, as `remit lab replay` reads it.")] = False,
    session: Annotated[str | None, Option(help="With --trace: which one.")] = None,
) -> None:
    """Write the whole log as JSON lines that the verifier checks alone; with --trace one session of it."""
    del form  # the only one so far
    if trace or session is not None:
        await _export_trace(job, session if trace else None, output)
        return
    async with as_person(job) as client:
        if output is None:
            try:
                await _write_export(client, sys.stdout.buffer, private=private)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise unwritable(error) from error
            return
        with _written_to(output) as file:
            await _write_export(client, file, private=private)
    job.out.note(f"Written to {output}. `remit audit verify {output}` checks it.")


@contextlib.contextmanager
def _written_to(output: Path) -> Iterator[BinaryIO]:
    try:
        with _new_file(output) as file:
            yield file
    except FileExistsError as error:
        raise BadInput(f"{output} is there already", hint="Name a new file; nothing is written over.") from error
    except OSError as error:
        raise BadInput(f"{output} can't be written: {error.strerror}", hint="Choose another place.") from error


async def _export_trace(job: Invocation, session: str | None, output: Path | None) -> None:
    if session is None:
        raise InvalidDocument("a trace is of one session", hint="Use --trace with --session.")
    async with as_person(job) as client:
        found = await client.trace(session)
    text = "".join(f"{json_text(line, None)}\n" for line in found["lines"])
    if output is None:
        job.out.raw(text)
    else:
        with _written_to(output) as file:
            file.write(text.encode())
    if not found["whole"]:
        job.out.note("The session is longer: the trace ends where it was cut.")


@command(app, "verify", example="remit audit verify log.jsonl")
async def verify(
    job: Invocation,
    path: Annotated[Path | None, Argument(metavar="PATH", help="An export; default this home's log now.")] = None,
    key: Annotated[str | None, Option(help="The verifier key that you trust; default this home's.")] = None,
    seen: Annotated[
        list[Path] | None,
        Option(help="A file with an earlier checkpoint of this log, or with the last line of an export."),
    ] = None,
) -> int:
    """Check a log, each event and signature, with the independent verifier; exit 1 if it does not hold."""
    trusted = key or _home_key(job, required=path is None)
    earlier = [_read_note(file) for file in seen or []]
    if path is None:
        with tempfile.TemporaryFile() as whole:
            async with as_person(job) as client:
                await _write_export(client, whole, private=False)
            whole.seek(0)
            answer = _verified(whole, trusted, earlier)
    else:
        try:
            with path.open("rb") as file:
                answer = _verified(file, trusted, earlier)
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {path}", hint="`remit audit export --output FILE` writes one.") from error
        except OSError as error:
            raise BadInput(f"{path} can't be read: {error.strerror}", hint="Check the path.") from error
    job.out.document(answer, [(name, value) for name, value in answer.items() if name != "problems"])
    if not job.out.json and answer["problems"]:
        job.out.table(answer["problems"], _PROBLEMS, "")
    if trusted is None:
        job.out.note("No trusted key was given, so this says nothing about who signed: give --key, or --home.")
    return YES if answer["ok"] else NO


@command(app, "prove", example="remit audit prove 42 > event-42.tlog-proof")
async def prove(job: Invocation, index: IndexArgument) -> None:
    """Print a proof that an event is in the log, in the form that C2SP names tlog-proof@v1."""
    async with as_person(job) as client:
        proof = await client.proof(index)
    if job.out.json:
        job.out.document({"event": index, "proof": proof})
    else:
        job.out.text(proof)


@fallback(unknown, example="remit audit unknown --json")
async def list_unknown(job: Invocation) -> None:
    """List calls with an intent and no known outcome: they stay spent until somebody finds out."""
    async with as_person(job) as client:
        found = await client.unknown_calls()
    job.out.table(found, _UNKNOWN, "Every call has an outcome.")
    if found:
        job.out.note('Find out, then `remit audit unknown settle CALL done|failed --because "…"`.')


@command(unknown, "settle", example='remit audit unknown settle c17 done --because "the bank shows it"')
async def settle(
    job: Invocation,
    call: Annotated[str, Argument(metavar="CALL", help="The call's id.")],
    outcome: Annotated[Outcome, Argument(metavar="done|failed", help="What became of it.")],
    because: Annotated[str, Option(help="How you know, for the log.")],
    session: Annotated[str | None, Option(help="Its session, where two have a call of this id.")] = None,
) -> None:
    """Say what became of an unknown call. What was spent stays spent."""
    body = {"call": call, "outcome": outcome.value, "because": because}
    if session is not None:
        body["session"] = session
    async with as_person(job) as client:
        job.out.document(await client.settle(body))


async def _first(client: RemitClient, lines: int, filters: dict[str, str | None]) -> int | None:
    """After which index to begin. Without a filter the newest lie at the end; with one they may lie anywhere."""
    if any(filters.values()):
        return None
    size = (await client.status())["counts"].get("events", 0)
    return int(size) - lines - 1 if size > lines else None


async def _after(client: RemitClient, last: int | None, filters: dict[str, str | None]) -> list[Document]:
    page = await client.events(last, _PAGE, **filters)
    items: list[Document] = page["items"]
    return items


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file for its owner only, which is there under its name once it is whole, or not at all."""
    if path.exists():
        raise FileExistsError
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.link(name, path)
    finally:
        Path(name).unlink()


async def _write_export(client: RemitClient, file: BinaryIO, *, private: bool) -> None:
    async for part in client.export(private=private):
        file.write(part)


def _verified(file: BinaryIO, key: str | None, seen: list[str]) -> Document:
    try:
        return verify_lines(bounded_lines(file), key, seen)
    except Unusable as error:
        hint = "A key is <origin>+<key id>+<base64>, a checkpoint a C2SP note."
        raise InvalidDocument(str(error), hint=hint) from error


def _home_key(job: Invocation, *, required: bool) -> str | None:
    path = job.home / "keys" / "log.vkey"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        if required:
            raise NotFound(f"there is no log key {path}", hint="Give --key, or a home with --home.") from error
        return None


def _read_note(path: Path) -> str:
    try:
        return read_seen(path)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}", hint="Check the path.") from error
    except Unusable as error:
        raise InvalidDocument(str(error), hint="Give the signed head that you kept, alone in its file.") from error


def _kind(text: str | None) -> str | None:
    """The number of a kind, given as either."""
    if text is None or text.isdigit():
        return text
    for number, name in _NAMES.items():
        if name == text.lower():
            return str(number)
    raise InvalidDocument(f"there is no kind of event {text!r}", hint=f"There are {', '.join(_NAMES.values())}.")


def _line(event: Document) -> str:
    facts = [f"{name}={event[name]}" for name in _SHOWN if name in event]
    codes = " ".join(event["codes"])
    name = _NAMES.get(event["k"], str(event["k"]))
    return " ".join(part for part in (str(event["i"]), to_text(event["t"]), name, *facts, codes) if part)
