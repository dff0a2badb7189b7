"""How every one-word command leaves its result: ``build/<name>.json``, in the one shape of INTERFACES section 10."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def write_results(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    ok: bool,
    started: float,
    seconds: float,
    folder: Path | None = None,
) -> Path:
    """Write ``{"commit","machine","started","seconds","rows","ok"}``; ``started`` is a Unix time. The path."""
    target = (folder or Path.cwd() / "build") / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "commit": commit(),
        "machine": machine(),
        "started": datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "seconds": round(seconds, 3),
        "rows": list(rows),
        "ok": ok,
    }
    target.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
    return target


def commit() -> str:
    """The commit that is checked out, with ``+`` when files differ from it; ``unknown`` outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """What was measured on: architecture, cores, Python."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
