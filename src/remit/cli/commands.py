"""Come in here for how a command is made and run: its options, its example, its errors, its exit status.

A command is an async function whose first parameter is the ``Invocation``; it returns None for *done* or an exit
status. ``command`` gives it the options that all have (``--json`` at its end, too), puts its example into its help, and
turns what it raises into words on stderr and a status from ``remit.problems``. Nothing else exits.
"""

import inspect
import sys
import traceback
from collections.abc import Callable, Coroutine
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
import uvloop

from remit.cli.output import Output, leave_stdout
from remit.core.errors import InternalError, RemitError
from remit.problems import exit_code
from remit.settings import home_from_environment

Work = Callable[..., Coroutine[Any, Any, int | None]]
W = TypeVar("W", bound=Work)

YES: Final = 0
NO: Final = 1
_INTERRUPTED: Final = 130

# Not looked at by Typer: what is wrong with a home is said, with its own exit status, by who opens it.
HomeOption = Annotated[
    Path | None, typer.Option("--home", readable=False, help="The home folder; default as REMIT_HOME has it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No notes on stderr; problems still.")]
PlainOption = Annotated[bool, typer.Option("--no-color", help="No color; NO_COLOR is honored too.")]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What holds for one run of the program, whatever the command."""

    chosen_home: Path | None = None
    out: Output = field(default_factory=Output)

    @property
    def home(self) -> Path:
        """The home folder: as chosen, as the environment has it, or the default."""
        return home_from_environment(self.chosen_home).absolute()

    def narrowed(self, home: Path | None, *, json: bool, quiet: bool, plain: bool) -> "Invocation":
        """This invocation with the options that were given at the end of the command."""
        out = Output(self.out.json or json, self.out.quiet or quiet, self.out.color and not plain)
        return replace(self, chosen_home=home or self.chosen_home, out=out)


def group(name: str, about: str) -> typer.Typer:
    """The commands of one noun."""
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None, add_completion=False)


def command(app: typer.Typer, name: str, *, example: str) -> Callable[[W], W]:
    """Register an async function as the command ``name`` of ``app``; ``example`` is a line as one would type it."""

    def register(work: W) -> W:
        app.command(name, help=_help(work, example))(_runner(work))
        return work

    return register


def fallback(app: typer.Typer, *, example: str) -> Callable[[W], W]:
    """Register an async function as what ``app`` does when none of its commands is named."""

    def register(work: W) -> W:
        app.callback(invoke_without_command=True, no_args_is_help=False, help=_help(work, example))(_runner(work))
        return work

    return register


def _help(work: Work, example: str) -> str:
    # \b keeps the lines of a paragraph as they are.
    return f"{inspect.getdoc(work)}\n\nExample:\n\n\b\n  {example}"


def _runner(work: Work) -> Callable[..., None]:
    """``work`` as Typer calls it: a context first, the options that all have at the end."""

    def run(
        context: typer.Context,
        home: Path | None = None,
        json: bool = False,  # an option of the command line
        quiet: bool = False,
        no_color: bool = False,
        **given: Any,
    ) -> None:
        found = context.find_object(Invocation) or Invocation()
        job = found.narrowed(home, json=json, quiet=quiet, plain=no_color)
        if context.invoked_subcommand is not None:
            context.obj = job
            return
        raise typer.Exit(execute(job, lambda: work(job, **given)))

    own = list(inspect.signature(work).parameters.values())[1:]
    shared = [
        _option("json", JsonOption, default=False),
        _option("home", _hidden(HomeOption), default=None),
        _option("quiet", _hidden(QuietOption), default=False),
        _option("no_color", _hidden(PlainOption), default=False),
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    named = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    run.__signature__ = inspect.Signature([context, *named, *shared])  # type: ignore[attr-defined]  # read by Typer
    run.__annotations__ = {one.name: one.annotation for one in (context, *named, *shared)}
    return run


def execute(job: Invocation, work: Callable[[], Coroutine[Any, Any, int | None]]) -> int:
    """Run a command to its end; the exit status. The one place where errors become words."""
    try:
        return uvloop.run(work()) or YES
    except RemitError as error:
        job.out.problem(error)
        return exit_code(error)
    except BrokenPipeError:
        leave_stdout()  # whoever read us has enough
        return NO
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the last place: a fault of ours is said as such, never as a yes
        fault = InternalError(f"{type(error).__name__}: {error}", hint="Report this with what you typed.")
        job.out.problem(fault)
        if not job.out.quiet and not job.out.json:
            traceback.print_exception(error, file=sys.stderr)
        return exit_code(fault)


def _option(name: str, annotation: Any, *, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _hidden(annotation: Any) -> Any:
    kind, option = annotation.__origin__, copy(annotation.__metadata__[0])
    option.hidden = True
    return Annotated[kind, option]
