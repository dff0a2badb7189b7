"""The entry of the command line: the options that all commands share, and the nouns, each from its own file.

Every command speaks HTTP through ``remit.sdk``, to the running server or to the same application opened here; none
touches the store. What a command prints, and how it ends, is said in ``output.py`` and ``commands.py``.
"""

import contextlib
import io
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer
from typer import Option

from remit.cli import (
    access,
    agent,
    approval,
    audit,
    blueprint,
    client,
    connect,
    explain,
    grant,
    home,
    key,
    lab,
    person,
    policy,
    reach,
    rule,
    server_modes,
    session,
    suggestions,
    token,
    wrap,
)
from remit.cli.commands import HomeOption, Invocation, JsonOption, PlainOption, QuietOption
from remit.cli.diagnostics import to_stderr
from remit.cli.output import Output
from remit.core.errors import Malformed
from remit.problems import exit_code

_ABOUT: Final = """Give every AI agent an identity, an owner and a remit; decide every tool call; prove it afterwards.

Exit status: 0 done, or yes; 1 the answer is no; 2 wrong usage or a bad file; 3 no such thing; 4 you may not;
5 conflict; 6 unavailable; 70 our fault.

Example:

\b
  remit init --person ada@example.test
  remit up
"""

app = typer.Typer(name="remit", help=_ABOUT, no_args_is_help=True, rich_markup_mode=None, add_completion=False)

# The app of ``suggestions`` is that of ``tool``, and that of ``server_modes`` of ``server``, with all their commands.
for noun in (
    person,
    server_modes,
    suggestions,
    blueprint,
    agent,
    client,
    grant,
    key,
    session,
    token,
    approval,
    access,
    policy,
    rule,
    audit,
    lab,
):
    app.add_typer(noun.app)
home.register(app)
connect.register(app)
wrap.register(app)
reach.register(app)
explain.register(app)


def _version(wanted: bool) -> None:  # how Typer calls it
    if wanted:
        sys.stdout.write(f"remit {metadata.version('remit')}\n")
        raise typer.Exit


@app.callback()
def options(  # the options that all commands share
    context: typer.Context,
    *,
    home_folder: HomeOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    no_color: PlainOption = False,
    version: Annotated[bool, Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """What holds for every command."""
    del version
    to_stderr()
    context.obj = Invocation(home_folder, Output(json, quiet, not no_color))


def main() -> None:
    """Run the command line."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that can't show a character gets its escape, and the command its answer out.
            with contextlib.suppress(io.UnsupportedOperation):
                stream.reconfigure(errors="backslashreplace")
    for place, argument in enumerate(sys.argv[1:], 1):
        # Bytes that are no text in this locale: no name, address or argument of Remit's has such.
        if not argument.isprintable() and any("\ud800" <= char <= "\udfff" for char in argument):
            error = Malformed(
                f"argument {place} is not text in this locale", hint="Type it in UTF-8, or set LC_ALL=C.UTF-8."
            )
            Output().problem(error)
            sys.exit(exit_code(error))
    app(prog_name="remit")


def _open_streams() -> None:
    """A stream that whoever started us had closed leads nowhere, as in other programs, and is no fault of ours."""
    nowhere = Path(os.devnull)
    if sys.stdin is None:
        sys.stdin = nowhere.open(encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = nowhere.open("w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = nowhere.open("w", encoding="utf-8")
