"""Come in here for the program as a real process, and for the files that its tests hand it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-c", "from remit.cli.main import main; main()"]


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it wrote where."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)


Run = Callable[..., Answer]


def process(*arguments: str, program: Sequence[str] = PROGRAM, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program as a real process, run to its end."""
    return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


@contextmanager
def served(
    home: Path, ending: signal.Signals = signal.SIGTERM, env: Mapping[str, str] | None = None, *more: str
) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """``remit up`` on a free port, ``env`` added to ours: what its first line says, and the process, which is ended with ``ending``."""
    with subprocess.Popen(
        [*PROGRAM, "--home", str(home), "up", "--port", "0", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    ) as child:
        try:
            assert child.stdout is not None
            yield json.loads(child.stdout.readline()), child
        finally:
            child.send_signal(ending)
            child.wait(30)


def write(path: Path, text: str) -> str:
    """A file with this text; its path."""
    path.write_text(text, encoding="utf-8")
    return str(path)
