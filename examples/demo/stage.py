"""Everything real that the demo needs: a repository, an office, and what their own stores say happened.

Nothing here asks Remit. What was done is read from the office's SQLite file and from git itself.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
OFFICE: Final = ROOT / "examples" / "office" / "server.py"
BIN: Final = Path(sys.executable).parent
WAIT: Final = 30.0


@dataclass
class Stage:
    """A folder with a repository and an office in it, and the processes that were started for them."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    office: subprocess.Popen[bytes] | None = None
    office_port: int = 0

    @property
    def repository(self) -> Path:
        """The git repository that the agent works on."""
        return self.folder / "repository"

    @property
    def office_db(self) -> Path:
        """The office's own store."""
        return self.folder / "office.db"

    @property
    def office_url(self) -> str:
        """Where the office listens."""
        return f"http://127.0.0.1:{self.office_port}/mcp"

    def child_environment(self) -> dict[str, str]:
        """All that the git server gets: where git is, and an author."""
        names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME")
        mails = ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
        author = dict.fromkeys(names, "bookkeeper") | dict.fromkeys(mails, "bookkeeper@example.test")
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **author}

    def set_up(self) -> None:
        """Make the repository and start the office."""
        self.repository.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        (self.repository / "ledger.txt").write_text("2026-11-23 opened\n")
        self.git("add", "ledger.txt")
        self.git("commit", "-q", "-m", "Open the ledger")
        self.start_office()

    def start_office(self, *options: str) -> None:
        """Start the office on a free port, or on the port it had."""
        port_file = self.folder / "office.port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, str(OFFICE), "--db", str(self.office_db), "--http", str(self.office_port)]
        with (self.folder / "office.log").open("ab") as log:
            process = subprocess.Popen([*command, "--port-file", str(port_file), *options], stdout=log, stderr=log)
        self.office = process
        wait_for(port_file.exists, "the office")
        self.office_port = int(port_file.read_text())

    def restart_office(self, *options: str) -> None:
        """Stop the office and start another one in its place."""
        if self.office is not None:
            end(self.office)
        self.start_office(*options)

    def tear_down(self) -> None:
        """End every process that was started here."""
        if self.office is not None:
            end(self.office)
        while self.processes:
            end(self.processes.pop())

    def git(self, *arguments: str) -> str:
        """Ask git itself."""
        git = shutil.which("git") or "git"
        command = [git, "-C", str(self.repository), *arguments]
        done = subprocess.run(command, env=self.child_environment(), capture_output=True, text=True, check=True)
        return done.stdout

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Ask the office's own store."""
        with closing(sqlite3.connect(self.office_db)) as store:
            store.row_factory = sqlite3.Row
            return [dict(row) for row in store.execute(query, values)]


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Return once ``condition`` holds; raises ``TimeoutError`` when it does not within half a minute."""
    until = monotonic() + WAIT
    while not condition():
        if monotonic() > until:
            raise TimeoutError(f"{what} did not come up")
        sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process of ours to end, and make it end."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
