"""What a stdio server runs is pinned: the executable, what a launcher starts, the script, and what is loaded before it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remit.gateway.program import program_of
from remit.gateway.upstream_wire import StdioTarget


def files(tmp_path: Path) -> dict[str, str]:
    """A script, something that is loaded before it, data, and an archive, by name."""
    found = {}
    for name in ("server.py", "before.js", "data.json", "app.jar"):
        (tmp_path / name).write_text(name)
        found[name] = str(tmp_path / name)
    return found


def names(found: dict[str, Any], member: str) -> list[str]:
    """The file names under a member."""
    value = found.get(member, [])
    return [Path(one["path"]).name for one in (value if isinstance(value, list) else [value])]


@pytest.mark.claim("server:program-pinned")
@pytest.mark.parametrize(
    ("command", "args", "preloads", "script"),
    [
        ("python3", ("server.py", "data.json"), [], ["server.py"]),
        ("python3", ("-u", "server.py"), [], ["server.py"]),
        ("node", ("-r", "before.js", "server.py"), ["before.js"], ["server.py"]),
        ("node", ("--require=before.js", "server.py", "data.json"), ["before.js"], ["server.py"]),
        ("java", ("-Xmx1g", "-jar", "app.jar", "data.json"), ["app.jar"], []),
        ("program", ("server.py",), [], []),
    ],
)
def test_the_code_that_an_interpreter_is_given_is_part_of_what_the_server_is(
    tmp_path: Path, command: str, args: tuple[str, ...], preloads: list[str], script: list[str]
) -> None:
    known = files(tmp_path)
    (tmp_path / command).write_text("the interpreter")
    given = tuple("=".join(known.get(part, part) for part in one.split("=")) for one in args)
    found = program_of(StdioTarget(str(tmp_path / command), given))
    assert (names(found, "preloads"), names(found, "script")) == (preloads, script)
    for name in (*preloads, *script):
        (tmp_path / name).write_text("changed")
        assert program_of(StdioTarget(str(tmp_path / command), given)) != found, name
        (tmp_path / name).write_text(name)


@pytest.mark.claim("server:program-pinned")
def test_a_launcher_is_looked_through(tmp_path: Path) -> None:
    script = files(tmp_path)["server.py"]
    launcher = tmp_path / "env"
    launcher.write_text("env")
    target = StdioTarget(str(launcher), ("-i", "LANG=C", sys.executable, script))
    found: Any = program_of(target)
    assert found["runs"][0]["path"] == str(Path(sys.executable).resolve())
    assert names(found, "script") == ["server.py"]
    (tmp_path / "server.py").write_text("changed")
    assert program_of(target) != found
    plain: Any = program_of(StdioTarget(str(tmp_path / "data.json"), (script,)))
    assert plain.keys() == {"executable"}, "the control: what is no interpreter is given data"


def _program(folder: Path, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "mytool").write_text(f"#!/bin/sh\necho {says}\n")
    (folder / "mytool").chmod(0o755)


@pytest.mark.claim("server:program-pinned")
@pytest.mark.parametrize("assigned", [True, False])
def test_a_launched_program_is_looked_up_where_the_child_will_find_it(tmp_path: Path, *, assigned: bool) -> None:
    """On the child's own path, or the one that ``env`` sets; never on Remit's."""
    _program(tmp_path / "bin", "one")
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    args = (f"PATH={path}", "mytool") if assigned else ("mytool",)
    target = StdioTarget("/usr/bin/env", args, () if assigned else (("PATH", path),))
    before = program_of(target)
    run = [target.command, *target.args]
    assert subprocess.run(run, env=dict(target.env), capture_output=True, check=True).stdout == b"one\n"
    _program(tmp_path / "bin", "another")
    assert program_of(target) != before
    assert program_of(StdioTarget("/usr/bin/env", ("mytool",), (("PATH", "/usr/bin:/bin"),))).get("runs") is None


def test_an_argument_that_is_no_file_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("the interpreter")
    found = program_of(StdioTarget(str(tmp_path / "python3"), ("-c", "# " + "x" * 5_000, "y" * 300)))
    assert "script" not in found
