"""Homes made, wrong, loose or shut; and the settings in them."""

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from remit.guards.documents import check_answer
from tests.cli.program import Run, process, write

# The interpreter may lie where only root reads, and some of it is imported at first use. So the command runs once as
# root, unheard, and then as nobody.
AS_NOBODY = [
    sys.executable,
    "-c",
    """
import contextlib, io, os
from remit.cli.main import main

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
main()
""",
]


def test_init_makes_a_home_for_its_owner_only(run: Run, tmp_path: Path) -> None:
    answer = run("init", "--person", "ada@example.test", "--json")
    assert answer.code == 0, answer.stderr
    check_answer("Init", answer.json())
    home = tmp_path / "home"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "keys" / "person.key").stat().st_mode) == 0o600
    assert "same" in answer.stderr or "own user" in answer.stderr


@pytest.mark.claim("cli:person-key-is-private")
def test_init_writes_no_key_through_a_link_or_into_a_file_that_others_read(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine", "utf-8")
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True)
    (keys / "person.key").symlink_to(elsewhere)
    (keys / "log.seed").write_text("", "utf-8")
    (keys / "log.seed").chmod(0o644)
    assert run("init").code == 0
    assert elsewhere.read_text("utf-8") == "mine"
    assert not (keys / "person.key").is_symlink()
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}


def test_a_second_init_is_a_conflict_and_changes_nothing(run: Run, home: Path) -> None:
    key = (home / "keys" / "person.key").read_bytes()
    answer = run("init")
    assert answer.code == 5
    assert answer.stdout == ""
    assert (home / "keys" / "person.key").read_bytes() == key


def test_a_home_that_is_none_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    for home in (tmp_path / "absent", tmp_path):
        answer = run("agent", "list", "--home", str(home))
        assert answer.code == 3
        assert "remit init" in answer.stderr
    write(tmp_path / "file", "")
    assert run("status", "--home", str(tmp_path / "file")).code == 3


def test_the_home_is_named_by_option_environment_or_folder(run: Run, home: Path, tmp_path: Path) -> None:
    assert process("status", "--quiet", env={**os.environ, "REMIT_HOME": str(home)}).returncode == 0
    assert process("status", "--quiet", cwd=tmp_path).returncode == 3
    home.rename(tmp_path / ".remit")
    assert process("status", "--quiet", cwd=tmp_path).returncode == 0


def test_a_home_of_another_user_is_unavailable() -> None:
    """As root the program runs as nobody; else the home is shut to its owner."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        assert process("--home", str(home), "init").returncode == 0
        if os.geteuid() == 0:
            ended = process("--home", str(home), "status", program=AS_NOBODY)
        else:
            home.chmod(0)
            ended = process("--home", str(home), "status")
            home.chmod(0o700)
    assert ended.returncode == 6, ended.stderr
    assert "chmod 700" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.claim("cli:person-key-is-private")
def test_a_person_key_that_others_may_read_is_refused(run: Run, home: Path) -> None:
    key = home / "keys" / "person.key"
    key.chmod(0o640)
    answer = run("agent", "list")
    assert answer.code == 4
    assert "chmod 600" in answer.stderr
    assert key.read_text().strip() not in answer.stderr
    key.chmod(0o600)
    assert run("agent", "list").code == 0  # the control: the same key, private again


def test_doctor_finds_nothing_in_a_new_home(run: Run, home: Path) -> None:
    answer = run("doctor", "--json")
    assert answer.code == 0, answer.stdout
    check_answer("Doctor", answer.json())
    assert {"home", "permissions", "settings", "person-key", "store", "log"} <= {
        one["id"] for one in answer.json()["checks"]
    }


@pytest.mark.parametrize("broken", ["absent", "permissions", "settings", "person-key", "store"])
def test_doctor_names_what_is_broken_and_the_fix(run: Run, home: Path, broken: str) -> None:
    match broken:
        case "absent":
            shutil.rmtree(home)
            broken = "home"
        case "permissions":
            home.chmod(0o755)
        case "settings":
            write(home / "remit.toml", "port = 99999\n")
        case "person-key":
            (home / "keys" / "person.key").unlink()
        case _:
            for path in home.glob("remit.db*"):
                path.unlink()
            write(home / "remit.db", "this is no database, and it is long enough to be looked at by SQLite " * 99)
            (home / "remit.db").chmod(0o600)
    answer = run("doctor", "--json")
    assert answer.code == 1, answer.stderr
    check_answer("Doctor", answer.json())
    failed = [one for one in answer.json()["checks"] if not one["ok"]]
    assert [one["id"] for one in failed] == [broken]
    assert failed[0]["fix"]


@pytest.mark.parametrize("text", ["prot = 1\n", "port = 99999\n", "port = \n"])
def test_wrong_settings_are_bad_input_that_names_the_member(run: Run, home: Path, text: str) -> None:
    write(home / "remit.toml", text)
    answer = run("status")
    assert answer.code == 2
    assert "remit.toml" in answer.stderr
    assert text.split(maxsplit=1)[0] in answer.stderr or "not TOML" in answer.stderr


def test_schema_needs_no_home(run: Run) -> None:
    answer = run("schema", "Grant")
    assert answer.code == 0
    assert answer.json()["title"] == "Grant"
    assert run("schema", "Grnat").code == 2


def test_no_color_means_no_escape_even_where_color_is_forced(home: Path) -> None:
    colored = process("--home", str(home), "status", env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"})
    assert "\x1b[" in colored.stdout  # the control
    for more, options in (({"NO_COLOR": "1"}, ()), ({}, ("--no-color",))):
        env = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", **more}
        plain = process("--home", str(home), "status", *options, env=env)
        assert plain.returncode == 0
        assert "\x1b" not in plain.stdout


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.parametrize("empty", [True, False])
def test_a_store_that_was_lost_is_said_and_not_made_anew(run: Run, home: Path, empty: bool) -> None:
    """The control: with the store back in its place the same commands answer, and its log verifies."""
    store, kept = home / "remit.db", home.parent / "kept.db"
    store.rename(kept)
    if empty:
        store.touch()
    for command in (("status",), ("agent", "list"), ("audit", "verify"), ("up", "--port", "0")):
        answer = run(*command)
        assert answer.code == 6, answer.stdout
        assert "Restore" in answer.stderr
    assert store.exists() == empty
    kept.replace(store)
    assert run("audit", "verify").code == 0


def test_a_store_is_for_its_owner_only(run: Run, home: Path) -> None:
    assert run("status").code == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.glob("remit.db*")} == {0o600}


def test_init_does_not_write_over_a_home_that_lost_its_name(run: Run, home: Path) -> None:
    before = {path.name: path.read_bytes() for path in (home / "keys").iterdir()}
    (home / "home.json").unlink()
    answer = run("init")
    assert answer.code == 5
    assert "home.json" in answer.stderr
    assert before == {path.name: path.read_bytes() for path in (home / "keys").iterdir()}


def test_init_where_a_file_stands_says_so(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "mine")
    answer = run("init", "--home", file)
    assert answer.code == 2
    assert "Choose another" in answer.stderr
    assert Path(file).read_text("utf-8") == "mine"


@pytest.mark.parametrize("name", ["token.pem", "master.key", "log.seed"])
def test_a_key_of_the_home_that_others_may_read_or_that_is_none_is_refused(run: Run, home: Path, name: str) -> None:
    key = home / "keys" / name
    key.chmod(0o640)
    loose = run("status")
    assert loose.code == 4
    assert "chmod 600" in loose.stderr
    key.chmod(0o600)
    assert run("status").code == 0, "the control"
    key.write_bytes(b"no key")
    broken = run("status")
    assert broken.code == 6
    assert "Restore" in broken.stderr


@pytest.mark.parametrize("identity", ["", "[]", "{}", '{"issuer": 1, "origin": "x"}', "garbage"])
def test_a_home_whose_name_can_not_be_read_is_said_and_not_guessed(run: Run, home: Path, identity: str) -> None:
    write(home / "home.json", identity)
    answer = run("status")
    assert answer.code == 6
    assert "Restore" in answer.stderr
