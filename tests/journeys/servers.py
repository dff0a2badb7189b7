"""Come in here for six real servers, each with what an agent may do there, what is refused, and where effects show.

Every server has one call that is allowed, one that the condition of its grant refuses, and one of a tool that was not
granted. Each call carries a mark, so that it is known whose effect is found.
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from conformance.programs import program, sqlite_server

Call = tuple[str, dict[str, Any]]
DENIED: Final = "denied"
"""What stands in the argument that a grant's condition refuses."""


@dataclass(frozen=True)
class RealServer:
    """One program as it is published, and how one sees from outside what it did."""

    name: str
    command: Sequence[str]
    work: Callable[[str], Sequence[Call]]
    """The calls that are allowed."""
    denied: Callable[[str], Call]
    """A call of a granted tool, against the condition of its grant."""
    hidden: Callable[[str], Call]
    """A call of a tool that was not granted. Both would have an effect, after ``work``."""
    when: Mapping[str, str]
    effects: Callable[[], Sequence[str]] | None = None
    """What is in the server's own store; None for a server that keeps nothing, whose answers tell."""
    said: str = ""
    """What the allowed answer holds, where there is no store."""
    env: Mapping[str, str] = field(default_factory=dict)

    def granted(self) -> str:
        """A tool that is granted, under a condition."""
        return self.denied("")[0]

    def withheld(self) -> str:
        """The tool that is not granted."""
        return self.hidden("")[0]

    def calls(self, mark: str) -> list[Call]:
        """All of them, the hidden one last."""
        return [*self.work(mark), self.denied(mark), self.hidden(mark)]


def real_servers(folder: Path) -> list[RealServer]:
    """All six, with their stores below ``folder``."""
    return [_filesystem(folder), _memory(folder), _everything(), _git(folder), _time(), _sqlite(folder)]


def _filesystem(folder: Path) -> RealServer:
    files = folder / "files"
    files.mkdir()
    return RealServer(
        name="filesystem",
        command=program("mcp-server-filesystem", str(files)),
        work=lambda mark: [("write_file", {"path": str(files / mark), "content": mark})],
        denied=lambda mark: ("write_file", {"path": str(files / f"{DENIED}-{mark}"), "content": mark}),
        hidden=lambda mark: ("move_file", {"source": str(files / mark), "destination": str(files / f"moved-{mark}")}),
        when={"write_file": _unless("path")},
        effects=lambda: [file.name for file in files.iterdir()],
    )


def _memory(folder: Path) -> RealServer:
    file = folder / "memory.jsonl"

    def entities(mark: str) -> dict[str, Any]:
        return {"entities": [{"name": mark, "entityType": "mark", "observations": ["it was here"]}]}

    return RealServer(
        name="memory",
        command=program("mcp-server-memory"),
        work=lambda mark: [("create_entities", entities(mark))],
        denied=lambda mark: ("create_entities", entities(f"{DENIED}-{mark}")),
        hidden=lambda mark: ("delete_entities", {"entityNames": [mark]}),
        when={"create_entities": _unless("entities")},
        effects=lambda: [json.loads(line)["name"] for line in file.read_text().splitlines()] if file.exists() else [],
        env={"MEMORY_FILE_PATH": str(file), "PATH": os.environ["PATH"]},
    )


def _everything() -> RealServer:
    return RealServer(
        name="everything",
        command=program("mcp-server-everything"),
        work=lambda mark: [("echo", {"message": mark})],
        denied=lambda mark: ("echo", {"message": f"{DENIED}-{mark}"}),
        hidden=lambda _: ("get-env", {}),
        when={"echo": _unless("message")},
        said="Echo: ",
        env={"PATH": os.environ["PATH"]},
    )


def _git(folder: Path) -> RealServer:
    repository = folder / "repository"
    repository.mkdir()
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=30).stdout

    git("init", "--quiet", "--initial-branch=main")
    git("config", "user.name", "worker")
    git("config", "user.email", "worker@example.test")
    git("commit", "--quiet", "--allow-empty", "--message", "begin")

    def add(name: str) -> Call:
        (repository / name).write_text(name)
        return ("git_add", {"repo_path": str(repository), "files": [name]})

    def work(mark: str) -> Sequence[Call]:  # what is added last is there to be committed by who may not
        commit = {"repo_path": str(repository), "message": mark}
        return [add(mark), ("git_commit", commit), add(f"more-{mark}")]

    def effects() -> Sequence[str]:
        heads = git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
        return [*git("log", "--format=%s").split()[:-1], *[head for head in heads if head != "main"]]

    return RealServer(
        name="git",
        command=[str(Path(sys.executable).parent / "mcp-server-git"), "--repository", str(repository)],
        work=work,
        denied=lambda mark: ("git_commit", {"repo_path": str(repository), "message": f"{DENIED}-{mark}"}),
        hidden=lambda mark: ("git_create_branch", {"repo_path": str(repository), "branch_name": f"branch-{mark}"}),
        when={"git_commit": _unless("message")},
        effects=effects,
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    )


def _time() -> RealServer:
    return RealServer(
        name="time",
        command=[str(Path(sys.executable).parent / "mcp-server-time"), "--local-timezone", "UTC"],
        work=lambda _: [("get_current_time", {"timezone": "Europe/Paris"})],
        denied=lambda _: ("get_current_time", {"timezone": "Asia/Tokyo"}),
        hidden=lambda _: (
            "convert_time",
            {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Europe/Paris"},
        ),
        when={"get_current_time": 'context.args.timezone == "Europe/Paris"'},
        said="Europe/Paris",
    )


def _sqlite(folder: Path) -> RealServer:
    file = folder / "notes.db"
    with closing(sqlite3.connect(file)) as store:
        store.execute("CREATE TABLE notes (mark TEXT)")

    def effects() -> Sequence[str]:
        with closing(sqlite3.connect(file)) as store:
            tables = store.execute("SELECT name FROM sqlite_master WHERE name <> 'notes'").fetchall()
            return [str(row[0]) for row in [*store.execute("SELECT mark FROM notes").fetchall(), *tables]]

    def insert(mark: str) -> Call:
        return ("write_query", {"query": f"INSERT INTO notes VALUES ('{mark}')"})

    return RealServer(
        name="sqlite",
        command=sqlite_server("--db-path", str(file)),
        work=lambda mark: [insert(mark)],
        denied=lambda mark: insert(f"{DENIED}-{mark}"),
        hidden=lambda mark: ("create_table", {"query": f"CREATE TABLE [table-{mark}] (x)"}),
        when={"write_query": _unless("query")},
        effects=effects,
    )


def _unless(argument: str) -> str:
    return f'!(context.args.{argument} like "*{DENIED}*")'
