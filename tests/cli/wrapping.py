"""Come in here for ``remit wrap`` as a process: a home with an agent at work, and the program spoken to by hand."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.program import PROGRAM, Run, write
from tests.cli.steps import ok
from tests.gateway import child as stdio_server

SERVER = Path(stdio_server.__file__)
GRANT = """kind: Grant
agent: reader
tools: [child/whoami, child/hang]
expires: 2031-01-31T00:00:00.000Z
"""


@dataclass(frozen=True)
class Scene:
    """A home with an agent at work, and a server that writes down what it does."""

    run: Run
    home: Path
    env: dict[str, str]
    acts: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SERVER), str(self.acts)]

    def remit(self, *arguments: str) -> Any:
        """The document that a command answers."""
        return ok(self.run(*arguments, "--json"))

    def wrapped(self, *more: str, command: list[str] | None = None) -> list[str]:
        """The arguments of ``remit wrap`` for this server."""
        options = ["--agent", "reader", "--server", "child", *more]
        return ["--home", str(self.home), "wrap", *options, "--", *(command or self.command)]

    def reviewed(self) -> None:
        """Review ``whoami`` and ``hang``, and grant them; the rest stays in quarantine."""
        offered = {tool["tool"]: tool["offered"] for tool in self.remit("tool", "list")["items"]}
        for name in ("whoami", "hang"):
            review = f"""{{kind: ToolReview, server: child, tool: {name}, effect: read,
                fingerprint: "{offered[f"child/{name}"]}", arguments: {{/id: {{role: reference, type: text}}}}}}"""
            self.remit("tool", "review", "apply", write(self.home / "review.yaml", review))
        self.remit("grant", "apply", write(self.home / "grant.yaml", GRANT))

    def state(self, session: str) -> str:
        """How a session stands."""
        return str(self.remit("session", "show", session)["state"])

    def acted(self) -> list[str]:
        """What the server did."""
        return [line.split()[0] for line in self.acts.read_text().splitlines()] if self.acts.exists() else []


@dataclass
class Wrapped:
    """A running ``remit wrap``, spoken to by hand."""

    process: subprocess.Popen[bytes]
    said: Path

    def tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, number: int, method: str = "ping", **params: object) -> None:
        self.tell(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())

    def call(self, number: int, tool: str) -> None:
        self.ask(number, "tools/call", name=tool, arguments={})

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.stderr()
        found: dict[str, Any] = json.loads(line)
        return found

    def stderr(self) -> str:
        return self.said.read_text()

    def session(self) -> str:
        [word] = {word.strip(",;.") for word in self.stderr().split() if word.startswith("ses_")}
        return word


@contextlib.contextmanager
def wrapping(scene: Scene, *more: str, arguments: Sequence[str] | None = None, **env: str) -> Iterator[Wrapped]:
    """``remit wrap`` with its host key, answering, or with other ``arguments``; killed in the end if it still lives."""
    said = scene.home / "said.txt"
    with (
        said.open("wb") as errors,
        subprocess.Popen(
            [*PROGRAM, *(arguments or scene.wrapped(*more))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "REMIT_HOST_KEY": scene.env["REMIT_HOST_KEY"], **env},
        ) as running,
    ):
        wrapped = Wrapped(running, said)
        try:
            wrapped.ask(0)
            assert wrapped.answer()["id"] == 0
            yield wrapped
        finally:
            running.kill()


def until(true: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    """Wait for something, as long as the process lives."""
    while not true():
        assert running.poll() is None
        os.sched_yield()
