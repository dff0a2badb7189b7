"""Come in here for the reference page of the command line, made from the commands themselves so that it can't drift."""

import sys
from collections.abc import Iterator
from typing import Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from remit.cli.main import app
from remit.core.errors import InternalError

_INTRODUCTION: Final = """# The command line

Made from the program by `remit.cli.reference`; a test holds it against the program. Do not edit it by hand.

`remit [--home DIR] NOUN VERB … [--json]`. The home is `--home`, else `REMIT_HOME`, else `./.remit` if it is there, else
`~/.remit`. When a server runs on that home the command speaks to it, otherwise to the same application in its own
process. stdout carries only the answer; notes and problems go to stderr, with `--json` as one line of JSON.

| exit status | meaning |
|---|---|
| 0 | done; or the answer is yes |
| 1 | the answer is no: verification failed, a check failed, a decision is deny or ask |
| 2 | wrong usage or a bad input file (names file, line, member) |
| 3 | no such thing |
| 4 | you may not, or: sign in |
| 5 | conflict: stale fingerprint, answered already, name taken |
| 6 | unavailable: server, store, log or upstream |
| 70 | our fault |

| variable | meaning |
|---|---|
| `REMIT_HOME` | the home folder |
| `REMIT_HOST_KEY` | the host key of `session start`, `session token`, `session end` and `wrap` |
| `REMIT_SESSION_TOKEN` | the session token of `decide` and of `wrap --session` |
| `NO_COLOR` | set to anything: no color |

Every command takes `--json`, `--home`, `--quiet` and `--no-color` at its end too.
"""
_SHARED: Final = frozenset({"json", "home", "quiet", "no_color", "help"})


def cli_reference() -> str:
    """The whole page, in Markdown."""
    root = typer.main.get_command(app)
    if not isinstance(root, TyperGroup):
        raise InternalError("the command line has lost its commands")
    return "\n".join([_INTRODUCTION, *(line for path, one in commands(root) for line in _section(path, one))])


def commands(group: TyperGroup, path: tuple[str, ...] = ("remit",)) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    """Every command that can be run, with its whole name; a group counts where it does something by itself."""
    for name, one in group.commands.items():
        here = (*path, name)
        if isinstance(one, TyperGroup):
            if one.invoke_without_command:
                yield " ".join(here), one
            yield from commands(one, here)
        elif isinstance(one, TyperCommand):
            yield " ".join(here), one


def _section(path: str, one: TyperCommand | TyperGroup) -> Iterator[str]:
    about, _, example = (one.help or "").partition("\n\nExample:")
    arguments = [param for param in one.params if isinstance(param, TyperArgument)]
    options = [param for param in one.params if isinstance(param, TyperOption) and param.name not in _SHARED]
    usage = " ".join([path, *(_argument(param) for param in arguments), *(_option(param) for param in options)])
    yield f"## {path}\n"
    yield f"{about}\n"
    yield f"```\n{usage}\n```\n"
    if arguments or options:
        yield "| | |\n|---|---|"
        yield from (f"| `{_argument(param)}` | {_about(param)} |" for param in arguments)
        yield from (f"| `{', '.join(param.opts)}` | {_about(param)} |" for param in options)
        yield ""
    yield f"Example: `{example.replace(chr(8), '').strip()}`\n"


def _argument(param: TyperArgument) -> str:
    name = (param.metavar or param.name or "").upper() if param.metavar is None else param.metavar
    more = "…" if param.nargs == -1 and not name.endswith("...") else ""
    return f"{name}{more}" if param.required else f"[{name}{more}]"


def _option(param: TyperOption) -> str:
    word = param.opts[0] if param.is_flag else f"{param.opts[0]} {(param.name or '').upper()}"
    return word if param.required else f"[{word}]"


def _about(param: TyperArgument | TyperOption) -> str:
    told = (param.help or "").replace("|", "\\|")
    choices = param.type_descriptor.choices
    if choices:
        told += f" One of {', '.join(str(getattr(one, 'value', one)) for one in choices)}."
    if isinstance(param, TyperOption) and param.default not in (None, False, ...) and not callable(param.default):
        told += f" Default `{getattr(param.default, 'value', param.default)}`."
    return told


if __name__ == "__main__":
    sys.stdout.write(cli_reference())
