"""Every command explains itself, takes the options that all take, and is on the reference page as it is."""

from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from remit.cli.main import app
from remit.cli.reference import cli_reference, commands
from tests.cli.program import Run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def _commands() -> list[str]:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return [path for path, _ in commands(root)]


WANTED = """init; doctor; status; up; decide; schema; connect; wrap; server add; server list; server check; server sync; server rm; server approve;
server secret; server show; server change; server observe; server observed; tool list; tool show; tool diff; tool approve;
tool suggest; tool import; tool review apply; tool review export; agent create;
agent activate; agent suspend; agent retire; agent kill; agent list; agent show; grant apply; grant list; grant revoke;
rule list; rule show; rule apply; rule revoke; rule draft;
key create; key list; key rotate; key revoke; session start; session show; session end; session kill; session token;
approval list; approval show; approval approve; approval deny; approval adopt; access list; access show; access close; policy check; policy apply; policy show; policy rollback;
person add; person list; person suspend; audit tail; audit show; audit export; audit verify; audit prove; audit unknown;
audit unknown settle; client add; client list; client show; client renew-secret; client retire; token inspect; token rotate; person link; person identify; reach; explain; agent advise; agent review; person depart; blueprint apply; blueprint list; blueprint show; blueprint retire; lab replay; lab labels"""


def test_every_command_that_was_promised_is_there() -> None:
    wanted = {f"remit {' '.join(name.split())}" for name in WANTED.split(";")}
    assert wanted <= set(_commands())


@pytest.mark.parametrize("path", _commands())
def test_every_command_has_help_with_an_example_of_itself(run: Run, path: str) -> None:
    answer = run(*path.split()[1:], "--help")
    assert answer.code == 0
    assert "Example:" in answer.stdout
    assert f"  {path}" in answer.stdout.split("Example:")[1]
    assert "--json" in answer.stdout


@pytest.mark.parametrize("path", _commands())
def test_an_option_that_there_is_not_is_wrong_usage(run: Run, path: str) -> None:
    answer = run(*path.split()[1:], "--no-such-option")
    assert answer.code == 2
    assert answer.stdout == ""
    assert "--no-such-option" in answer.stderr


def test_a_command_that_there_is_not_is_wrong_usage(run: Run) -> None:
    answer = run("agnet")
    assert answer.code == 2
    assert "agent" in answer.stderr


def test_the_reference_page_is_what_the_program_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == cli_reference(), (
        "run `python -m remit.cli.reference > docs/reference/cli.md`"
    )
