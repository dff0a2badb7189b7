"""Come in here for what a stdio server's program is, as files: the executable, and the code that it is told to run.

Part of the server's fingerprint, so that a changed program is quarantined as a changed definition is. Launchers
(``env``, ``uv run``, ``nice`` …) are looked through. Not every way to name code is known: what stands in a
configuration file, a module path or the environment is not followed.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from remit.core.canonical import Json
from remit.core.errors import UpstreamUnavailable
from remit.gateway.upstream_wire import StdioTarget

_INTERPRETER: Final = re.compile(r"(python|pypy)[0-9.]*|node|deno|bun|ruby|perl|php|java|(ba|da|z)?sh")
_LAUNCHER: Final = frozenset({"env", "uv", "uvx", "nice", "nohup", "stdbuf", "setsid", "timeout", "ionice", "chrt"})
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_JAR: Final = "-jar"
# Options whose next argument is code that runs before the script, or in its place.
_CODE: Final = frozenset(
    {"-r", "--require", "--import", "--loader", "--experimental-loader", _JAR, "-cp", "-classpath"}
)
_DEEPEST: Final = 4


def program_of(target: StdioTarget) -> dict[str, Json]:
    """``executable``, with ``runs``, ``preloads`` and ``script`` where there are any: each a path and its SHA-256.

    Raises ``UpstreamUnavailable`` for a file that can't be read.
    """
    found: dict[str, Json] = {"executable": _hashed(Path(target.command).resolve())}
    command, args = target.command, list(target.args)
    path = dict(target.env).get("PATH", os.defpath)
    runs: list[Json] = []
    for _ in range(_DEEPEST):
        inner = _launched(command, args, path)
        if inner is None:
            break
        command, args = inner
        runs.append(_hashed(Path(command).resolve()))
    if runs:
        found["runs"] = runs
    if _INTERPRETER.fullmatch(Path(command).name) is not None:
        preloads, script = _code(args)
        if preloads:
            found["preloads"] = preloads
        if script is not None:
            found["script"] = script
    return found


def _launched(command: str, args: Sequence[str], path: str) -> tuple[str, list[str]] | None:
    """What a launcher starts, and with which arguments; None where the command is none, or it can't be told.

    It is looked up where the child will look: on the ``path`` of its own environment, or the one ``env`` sets.
    """
    if Path(command).name not in _LAUNCHER:
        return None
    for at, argument in enumerate(args):
        if _ASSIGNMENT.fullmatch(argument):
            path = argument.removeprefix("PATH=") if argument.startswith("PATH=") else path
        if argument.startswith("-") or _ASSIGNMENT.fullmatch(argument) or argument in ("run", "tool"):
            continue
        found = shutil.which(argument, path=path)
        if found is not None:
            return found, list(args[at + 1 :])
    return None


def _code(args: Sequence[str]) -> tuple[list[Json], Json]:
    """The files that options name as code, and the first other one. Later arguments may be data, which may change."""
    preloads: list[Json] = []
    skip = False
    for argument, following in zip(args, [*args[1:], ""], strict=True):
        if skip:
            skip = False
            continue
        option, _, joined = argument.partition("=")
        if option in _CODE:
            skip = not joined
            preloads += [_hashed(path.resolve()) for path in _files(joined or following)]
            if option == _JAR:
                break  # the archive is the program, and what follows is its own
        elif not argument.startswith("-") and _is_file(Path(argument)):
            return preloads, _hashed(Path(argument).resolve())
    return preloads, None


def _files(named: str) -> Iterator[Path]:
    """The files of an option's value, which may be several, as a class path is."""
    yield from (path for part in named.split(":") if part and _is_file(path := Path(part)))


def _is_file(path: Path) -> bool:
    """Whether it is one; what is too long to be a name is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _hashed(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UpstreamUnavailable("the server's program can't be read") from error
    return {"path": str(path), "sha256": content}
