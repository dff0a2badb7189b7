"""Come in here for how the tests of the command line run it within their own process."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from remit.cli.main import app
from tests.cli.program import Answer, Run


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests, and no home but the test's own."""
    for name in list(os.environ):
        if name.startswith("REMIT_") or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run one command in this process, on the home ``tmp_path/home``."""

    def invoke(*arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Answer:
        given = list(arguments) if "--home" in arguments else ["--home", str(tmp_path / "home"), *arguments]
        result = CliRunner().invoke(app, given, input=stdin, env=env, prog_name="remit")
        return Answer(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def home(run: Run, tmp_path: Path) -> Path:
    """A home that was just made."""
    made = run("init", "--person", "ada@example.test", "--json")
    assert made.code == 0, made.stderr
    return tmp_path / "home"
