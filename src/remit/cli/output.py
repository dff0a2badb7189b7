"""Come in here for everything that the command line puts on a screen or into a pipe.

Rules:

- stdout carries the answer and nothing else: with ``--json`` one document (or one a line for streams), otherwise a
  table or plain lines. Notes and problems go to stderr.
- Text that came from a tool, an agent or a file can't act on the terminal: every character that a reader would not see
  for what it is (escape sequences, bidirectional overrides, invisible and private ones) is shown as ``⟨U+…⟩``.
- JSON is written in ASCII, so that no such character stands raw in it either, and it reads back as exactly what it was.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit.core.canonical import number_text
from remit.core.errors import InternalError, RemitError, Unavailable
from remit.guards.hidden_text import reveal
from remit.sdk.client import Document

Cell = Callable[[Document], object]

_PIPE_WIDTH: Final = 240
# A table squeezed into less loses whole cells; a terminal that is narrower wraps the lines itself.
_LEAST_WIDTH: Final = 80


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with every character that would act or hide written out; with ``lines``, line feeds and tabs stay."""
    return reveal(text, layout=lines)


def json_text(value: object, indent: int | None = 2) -> str:
    """JSON in printable ASCII with exact numbers; ``indent`` None writes it on one line."""
    return _write(value, indent, 0)


def _write(value: object, indent: int | None, depth: int) -> str:
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, Mapping):
        members = [f"{_string(str(key))}: {_write(item, indent, depth + 1)}" for key, item in value.items()]
        return _block("{", members, "}", indent, depth)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _block("[", [_write(item, indent, depth + 1) for item in value], "]", indent, depth)
    return _string(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _block(start: str, parts: list[str], end: str, indent: int | None, depth: int) -> str:
    if not parts:
        return start + end
    if indent is None:
        return start + ", ".join(parts) + end
    inner = "\n" + " " * indent * (depth + 1)
    return start + inner + ("," + inner).join(parts) + "\n" + " " * indent * depth + end


def _string(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def words(value: object) -> str:
    """A cell's text: a list joined by commas, nothing for None, JSON for what has members."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return ", ".join(str(item) for item in value)
    return json_text(value, None)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, and how a cell is got (by member name, where no function is given)."""

    title: str
    cell: Cell | str | None = None

    def text(self, item: Document) -> str:
        """The cell of ``item``, safe for a terminal."""
        cell = self.cell if self.cell is not None else self.title
        return visible(words(cell(item) if callable(cell) else item.get(cell)))


@dataclass(frozen=True, slots=True)
class Output:
    """Where answers go, and in which form."""

    json: bool = False
    quiet: bool = False
    color: bool = True

    def document(self, value: Document, lines: Sequence[tuple[str, object]] | None = None) -> None:
        """One thing: as JSON, or as ``name  value`` lines (by default all its members)."""
        if self.json:
            self.raw(json_text(value))
            return
        shown = list(value.items()) if lines is None else list(lines)
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, item in shown:
            if item is not None:
                table.add_row(Text(visible(str(name))), Text(_lines(item)))
        self._print(table)

    def table(self, items: Iterable[Document], columns: Sequence[Column], empty: str) -> None:
        """A list: as one page in JSON, or as a table; ``empty`` is noted on stderr where there is nothing to show."""
        found = list(items)
        if self.json:
            self.raw(json_text({"items": found, "next": None}))
            return
        if not found:
            self.note(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(Text(column.title), overflow="fold")
        for item in found:
            table.add_row(*(Text(column.text(item)) for column in columns))
        self._print(table)

    def each(self, items: Sequence[Document], columns: Sequence[Column], empty: str) -> None:
        """What a file of one or more documents came to: one document for one, a page or table for more."""
        if self.json and len(items) == 1:
            self.document(items[0])
        else:
            self.table(items, columns, empty)

    def line(self, value: Document, text: str) -> None:
        """One item of a stream: a line of JSON, or ``text``."""
        self.raw(json_text(value, None) if self.json else visible(text))

    def text(self, text: str) -> None:
        """Lines of text as they are, save for what would act on a terminal."""
        self.raw(visible(text, lines=True))

    def raw(self, text: str) -> None:
        """Text that is known to be safe, with a line end."""
        try:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(error) from error

    def note(self, text: str) -> None:
        """Something to know beside the answer; ``--quiet`` leaves it out."""
        if not self.quiet:
            _say(visible(text, lines=True))

    def problem(self, error: RemitError) -> None:
        """What went wrong and what to do next, on stderr; with ``--json`` as one line of JSON."""
        if self.json:
            facts: Document = {"code": error.code, "title": error.title, "detail": error.detail, "hint": error.hint}
            _say(json_text(facts | {"event": error.event}, None))
            return
        number = f", event {error.event}" if error.event is not None else ""
        if isinstance(error, InternalError) and error.event is None:
            number = ", no event"
        text = f"remit: {error.detail} [{error.code}{number}]\n  next: {error.hint}"
        _say(visible(text, lines=True))

    def _print(self, table: Table) -> None:
        drawn = io.StringIO()
        self._console(drawn).print(table)
        self.raw("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()))

    def _console(self, into: TextIO) -> Console:
        terminal = True if sys.stdout.isatty() else None  # None: as the environment says, such as FORCE_COLOR
        width = max(_LEAST_WIDTH, Console(file=sys.stdout).width) if terminal else _PIPE_WIDTH
        form = partial(
            Console, file=into, width=width, force_terminal=terminal, markup=False, emoji=False, highlight=False
        )
        console = form()
        return console if self.color and not console.no_color else form(color_system=None)


def leave_stdout() -> None:
    """Lead what is still buffered nowhere: Python would fail on it once more when it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unwritable(error: OSError) -> Unavailable:
    """Stdout takes no more. The command itself may well have been done by then."""
    leave_stdout()
    hint = "What was asked for may be done all the same: look before you repeat it."
    return Unavailable(f"stdout can't be written: {error.strerror}", hint=hint)


def _say(text: str) -> None:
    # Where stderr takes nothing there is nobody left to tell; the exit status still says it.
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _lines(value: Any) -> str:
    """A value for a page of its own: nested things as indented JSON, text with its lines."""
    nested = isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
    if nested or isinstance(value, Mapping):
        return visible(json_text(value), lines=True)
    return visible(words(value), lines=True)
