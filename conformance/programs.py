"""Programs of others that Remit is held against: the official suite, real servers, clients, Node 24.

Those from npm are locked with their hashes in ``npm/`` (``npm install --package-lock-only
--omit-lockfile-registry-resolved`` there makes the lock anew) and installed into ``build/npm``; none of their install
scripts is run. ``mcp-server-sqlite`` needs an older SDK than ours, so it has an environment of its own in
``build/sqlite``, made from ``sqlite/requirements.lock`` (``pip-compile --generate-hashes --no-emit-find-links`` makes
that anew). What is installed once is used as it is, with no word to any registry.
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKED: Final = ROOT / "conformance" / "npm"
FOLDER: Final = ROOT / "build" / "npm"
CLIENTS: Final = ROOT / "conformance" / "clients"
SQLITE_LOCK: Final = ROOT / "conformance" / "sqlite" / "requirements.lock"
SQLITE: Final = ROOT / "build" / "sqlite"
OLDEST_NODE: Final = 24
_BIN: Final = FOLDER / "node_modules" / ".bin"
_FILES: Final = ("package.json", "package-lock.json")
_INSTALL_SECONDS: Final = 600


class NotHere(Exception):
    """A program that can't be had, and why: a sentence for whoever wanted it."""


def program(name: str, *arguments: str) -> list[str]:
    """The command for one of the npm programs, installed if it is not yet. Raises ``NotHere``."""
    install()
    return [node(), str(_BIN / name), *arguments]


def client(name: str) -> list[str]:
    """The command for one of ``clients/``, which stands where it finds the packages. Raises ``NotHere``."""
    install()
    return [node(), str(FOLDER / f"{name}.mjs")]


def sqlite_server(*arguments: str) -> list[str]:
    """The command for ``mcp-server-sqlite``, installed if it is not yet. Raises ``NotHere``."""
    python = SQLITE / "bin" / "python"
    with _made(SQLITE, SQLITE_LOCK.read_bytes()) as wanting:
        if wanting:
            _run([sys.executable, "-m", "venv", "--clear", str(SQLITE)])
            only = ["--require-hashes", "--only-binary", ":all:", "--disable-pip-version-check"]
            _run([str(python), "-m", "pip", "install", "--quiet", *only, "--requirement", str(SQLITE_LOCK)])
    return [str(SQLITE / "bin" / "mcp-server-sqlite"), *arguments]


def install() -> None:
    """Make ``build/npm`` what the lock says, if it is not that already. Raises ``NotHere``."""
    files = {name: (LOCKED / name).read_bytes() for name in _FILES}
    with _made(FOLDER, b"".join(files.values())) as wanting:
        if wanting:
            npm = shutil.which("npm")
            if npm is None:
                raise NotHere("npm is not installed (Debian: npm)")
            for name, content in files.items():
                (FOLDER / name).write_bytes(content)
            _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(FOLDER)])
        for source in CLIENTS.glob("*.mjs"):  # a module finds packages beside itself only
            there = FOLDER / source.name
            if not there.exists() or there.read_bytes() != source.read_bytes():
                shutil.copyfile(source, there)


def node() -> str:
    """Node of the lock where it is made for this machine, else the one on PATH. Raises ``NotHere`` for an older one."""
    found = str(_BIN / "node") if (_BIN / "node").exists() else shutil.which("node")
    if found is None:
        raise NotHere(f"Node {OLDEST_NODE} is not installed")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < OLDEST_NODE:
        raise NotHere(f"Node {OLDEST_NODE} or newer is needed, and {found} is {said.strip()}")
    return found


@contextmanager
def _made(folder: Path, lock: bytes) -> Iterator[bool]:
    """Hold ``folder`` for this process; whether it is yet to be made what ``lock`` says. Left well, it is that."""
    wanted, ready = hashlib.sha256(lock).hexdigest(), folder.parent / f"{folder.name}.ready"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        wanting = not ready.exists() or ready.read_text(encoding="utf-8") != wanted
        if wanting:
            ready.unlink(missing_ok=True)
        yield wanting
        if wanting:
            ready.write_text(wanted, encoding="utf-8")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    if done.returncode != 0:
        raise NotHere(f"{Path(command[0]).name} could not install what is locked: {done.stderr[-1_000:]}")
