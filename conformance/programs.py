"""Programs from the npm registry that Remit is held against: the official suite, real servers, the inspector, Node 24.

Locked with their hashes in ``npm/`` (``npm install --package-lock-only --omit-lockfile-registry-resolved`` there makes
the lock anew); installed into ``build/npm``, and none of their install scripts is run.
"""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKED: Final = ROOT / "conformance" / "npm"
FOLDER: Final = ROOT / "build" / "npm"
OLDEST_NODE: Final = 24
_BIN: Final = FOLDER / "node_modules" / ".bin"
_FILES: Final = ("package.json", "package-lock.json")
_INSTALL_SECONDS: Final = 600


class NotHere(Exception):
    """A program that can't be had, and why: a sentence for whoever wanted it."""


def program(name: str, *arguments: str) -> list[str]:
    """The command for one of the programs, installed if it is not yet. Raises ``NotHere``."""
    install()
    return [node(), str(_BIN / name), *arguments]


def install() -> None:
    """Make ``build/npm`` what the lock says, if it is not that already. Raises ``NotHere``."""
    files = {name: (LOCKED / name).read_bytes() for name in _FILES}
    wanted, ready = hashlib.sha256(b"".join(files.values())).hexdigest(), FOLDER / "ready"
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise NotHere("npm is not installed (Debian: npm)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS, cwd=FOLDER)
    if done.returncode != 0:
        raise NotHere(f"npm could not install what {LOCKED.name}/package-lock.json names: {done.stderr[-1_000:]}")
    ready.write_text(wanted, encoding="utf-8")


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
