"""What the program stands on fails it: streams, terminals, bytes that are no text, homes in pieces, several at once."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remit.guards.documents import check_answer
from tests.cli.program import PROGRAM, Run, process, served, write
from tests.cli.steps import ok

COMMANDS = [("person", "list"), ("person", "list", "--json"), ("audit", "export")]


def _shell(line: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program behind a redirection that only a shell can write."""
    return process(*arguments, program=["sh", "-c", f'exec "$@" {line}', "sh", *PROGRAM, "--home", str(home)])


@pytest.mark.parametrize("arguments", COMMANDS)
def test_an_answer_that_stdout_can_not_take_is_said_and_is_no_yes(home: Path, arguments: tuple[str, ...]) -> None:
    ended = _shell(">/dev/full", home, *arguments)
    assert ended.returncode == 6
    assert "stdout can't be written" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_is_no_fault(home: Path, closed: str) -> None:
    ended = _shell(closed, home, "person", "list")
    assert ended.returncode == 0, ended.stderr


def test_a_secret_or_arguments_from_a_closed_stdin_are_missing_and_not_our_fault(home: Path) -> None:
    assert _shell("<&-", home, "server", "secret", "files", "env:X").returncode == 2
    ended = _shell("<&-", home, "decide", "--session", "s", "--tool", "a/b", "--arguments", "-", "--token", "t")
    assert ended.returncode == 2, ended.stderr


def test_a_reader_that_has_enough_ends_the_command_quietly(home: Path) -> None:
    for arguments in COMMANDS[1:]:
        with subprocess.Popen(
            [*PROGRAM, "--home", str(home), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.close()
            _, said = child.communicate(timeout=30)
        assert said == b""
        assert child.returncode in (0, 1)


@pytest.mark.parametrize("words", [["agent", "show", b"\xff"], ["person", "suspend", b"b\xc3"], [b"\xed\xa0\x80"]])
def test_bytes_that_are_no_text_are_wrong_usage(home: Path, words: list[str | bytes]) -> None:
    ended = subprocess.run([*PROGRAM, "--home", str(home), *words], capture_output=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert b"is not text" in ended.stderr
    assert ended.stdout == b""


@pytest.mark.parametrize("columns", [1, 20])
def test_a_narrow_terminal_loses_nothing_of_the_answer(home: Path, columns: int) -> None:
    """A pseudo-terminal of this width; the terminal may wrap lines, the program may not leave cells out."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*PROGRAM, "--home", str(home), "--no-color", "person", "list"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as child:
        os.close(slave)
        seen = b""
        try:
            while part := os.read(master, 65_536):
                seen += part
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(master)
    assert child.returncode == 0
    letters = "".join(seen.decode().split())
    for word in ("email", "ada@example.test", "administrator", "active"):
        assert word in letters


def test_a_terminal_is_not_needed(home: Path) -> None:
    ended = process("--home", str(home), "person", "list", stdin=subprocess.DEVNULL, start_new_session=True)
    assert ended.returncode == 0
    assert all(line == line.rstrip() for line in ended.stdout.splitlines())


def test_several_commands_at_once_write_one_log(home: Path, run: Run, tmp_path: Path) -> None:
    def add(number: int) -> int:
        text = f"{{kind: Person, email: p{number}@example.test, name: P, roles: [viewer]}}"
        path = write(tmp_path / f"{number}.yaml", text)
        return process("--home", str(home), "person", "add", "-f", path).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(add, range(2))) == [0, 0]
        same = list(pool.map(add, [9, 9]))
    assert sorted(same) == [0, 5]
    assert len(ok(run("person", "list", "--json"), "Page")["items"]) == 4
    assert ok(run("audit", "verify", "--json"), "VerifyAnswer")["ok"]


def test_an_interrupted_command_says_nothing_and_ends_as_interrupted(home: Path, run: Run, tmp_path: Path) -> None:
    write(tmp_path / "silent.py", "import sys\nprint('up', file=sys.stderr, flush=True)\nfor _ in sys.stdin: pass\n")
    silent = str(tmp_path / "silent.py")
    marker = tmp_path / "started"
    program = f"exec 3>{marker}; exec {sys.executable} {silent}"
    assert run("server", "add", "silent", "--stdio", "--", "sh", "-c", program).code == 0
    with subprocess.Popen(
        [*PROGRAM, "--home", str(home), "server", "sync", "silent"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        while not marker.exists() and child.poll() is None:
            os.sched_yield()
        child.send_signal(signal.SIGINT)
        out, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert out == ""
    assert "Traceback" not in said
    assert run("audit", "verify").code == 0


@pytest.mark.parametrize("identity", ["", "{}", "[]", '{"issuer": 1}', "garbage"])
def test_doctor_finds_a_home_too_broken_to_open_and_does_not_break_itself(run: Run, home: Path, identity: str) -> None:
    write(home / "home.json", identity)
    answer = run("doctor", "--json")
    assert answer.code == 1, answer.stderr
    check_answer("Doctor", answer.json())
    [failed] = [one for one in answer.json()["checks"] if not one["ok"]]
    assert failed["id"] == "store"
    assert failed["fix"]


@pytest.mark.parametrize("host", ["no..such", "203.0.113.7"])
def test_an_address_that_can_not_be_listened_on_is_said(home: Path, host: str) -> None:
    ended = process("--home", str(home), "up", "--host", host, "--port", "0")
    assert ended.returncode in (2, 6)
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "next:" in ended.stderr


def test_a_taken_port_is_unavailable_and_a_second_server_says_that_there_is_one(home: Path) -> None:
    with served(home) as (facts, _):
        port = facts["url"].rpartition(":")[2]
        ended = process("--home", str(home), "up", "--port", port)
    assert ended.returncode == 6
    assert facts["url"] in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("REMIT_PORT", "abc"), ("REMIT_PORT", "-1"), ("REMIT_CALL_TIMEOUT", "nan"), ("REMIT_MAX_DEPTH", "1e9")],
)
def test_a_garbled_setting_in_the_environment_is_named(run: Run, home: Path, name: str, value: str) -> None:
    answer = run("status", env={name: value})
    assert answer.code == 2
    assert name.removeprefix("REMIT_").lower() in answer.stderr
    assert (
        run("status", env={"REMIT_NO_SUCH": "x", "REMIT_HOME": "/nowhere"}).code == 0
    )  # --home wins; others are nobody's


@pytest.mark.parametrize("credential", ["x", "a.b.c", "remit_h_x", "k\r\nX-Evil: 1", "é", "x" * 9_000])
def test_a_garbled_credential_is_refused_as_one(run: Run, home: Path, credential: str) -> None:
    env = {"REMIT_HOST_KEY": credential, "REMIT_SESSION_TOKEN": credential}
    assert run("session", "start", "--agent", "a", env=env).code == 4
    assert run("decide", "--session", "s", "--tool", "a/b", "--arguments", "{}", env=env).code == 4


@pytest.mark.claim("cli:person-key-is-private")
def test_a_host_key_file_that_others_may_read_is_refused(run: Run, home: Path, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "host.key", "remit_h_x\n"))
    path.chmod(0o604)
    loose = run("session", "start", "--agent", "a", "--key-file", str(path))
    assert loose.code == 4
    assert "chmod 600" in loose.stderr
    path.chmod(0o600)
    shut = run("session", "start", "--agent", "a", "--key-file", str(path))
    assert "chmod 600" not in shut.stderr  # the control: now the key itself is looked at
    assert run("session", "start", "--agent", "a", "--key-file", str(tmp_path)).code == 2
    assert run("session", "start", "--agent", "a", "--key-file", str(tmp_path / "none")).code == 3


def test_a_problem_is_one_line_of_json_where_json_is_wanted(run: Run, home: Path) -> None:
    answer = run("agent", "show", "nobody", "--json")
    assert answer.stdout == ""
    assert set(json.loads(answer.stderr)) == {"code", "title", "detail", "hint", "event"}
