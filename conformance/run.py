"""``make conformance``: the official suite before the official SDK's everything-server, directly and through Remit.

    make conformance EVERYTHING=path/to/python-sdk/examples/servers/everything-server [CONTROL=ungranted]

The suite and Node 24 come from the npm registry into ``build/conformance``; the everything-server is published nowhere,
so a checkout of it is named. Through Remit means: a shim that adds the token which the suite can't send, and the
*permissive profile*, under which every tool is reviewed as a harmless read and granted to one agent. Each scenario must
end as it does directly, or be one that ``differences.toml`` lists with the reason; one that is listed and does not
differ fails too. ``CONTROL=ungranted`` grants nothing, and must fail.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Final

import httpx

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from remit.lab.results import write_results

SUITE: Final = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE: Final = "node@24"
REVISIONS: Final = ("2025-11-25", "2026-07-28")
FOLDER: Final = ROOT / "build" / "conformance"
EXPIRES: Final = "2099-01-01T00:00:00.000Z"
_LINE = re.compile(r"^[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Score:
    """How one scenario ended: checks that passed, and checks that did not."""

    passed: int
    failed: int


Scores = Mapping[str, Score]


@contextmanager
def started(command: list[str], log: Path, said: str = "", **environment: str) -> Iterator[dict[str, Any]]:
    """A program that prints where it listens as JSON on its first line; ended afterwards."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")} | environment
    pipe = subprocess.PIPE
    with log.open("wb") as errors, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, env=env) as child:
        try:
            if child.stdin is None or child.stdout is None:
                raise RuntimeError("a program without pipes")
            child.stdin.write(said.encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(f"{command} did not start: {log.read_text()[-2_000:]}")
            yield json.loads(line)
        finally:
            child.terminate()
            child.wait(30)


def installed() -> Path:
    """The folder with Node 24 and the suite, installed there if they are not."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / "node_modules" / ".bin" / "conformance").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), NODE, SUITE]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return FOLDER / "node_modules" / ".bin"


def scored(url: str, revision: str, out: Path) -> Scores:
    """What the suite says of the server at ``url``."""
    tools = installed()
    command = [str(tools / "node"), str(tools / "conformance"), "server", "--url", url, "--requirements", revision]
    ended = subprocess.run(
        [*command, "-o", str(out)], capture_output=True, text=True, check=False, timeout=900, cwd=FOLDER
    )
    (out.parent / f"{out.name}.log").write_text(ended.stdout + ended.stderr, encoding="utf-8")
    found = {name: Score(int(passed), int(failed)) for name, passed, failed in _LINE.findall(ended.stdout)}
    if not found:
        raise RuntimeError(f"the suite said nothing: {ended.stderr[-2_000:]}")
    return found


SERVE: Final = """
import json, socket, sys
import mcp_everything_server.server as one
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
print(json.dumps({"url": f"http://localhost:{port}/mcp"}), flush=True)
one.main.callback(port, "ERROR")
"""


@contextmanager
def through_remit(url: str, folder: Path, *, granted: bool) -> Iterator[str]:
    """The same server behind Remit under the permissive profile; where the suite reaches it."""
    home, remit = folder / "home", str(Path(sys.executable).parent / "remit")
    subprocess.run([remit, "--home", str(home), "init", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    with started([remit, "--home", str(home), "--json", "up", "--port", "0"], folder / "remit.log") as running:
        person = {"Authorization": f"Bearer {(home / 'keys' / 'person.key').read_text().strip()}"}
        with httpx.Client(base_url=running["url"], headers=person, trust_env=False, timeout=60) as http:
            token = permissive(http, url, granted=granted)
        shim = [sys.executable, str(ROOT / "tests" / "bearer_shim.py"), f"{running['mcp']}/everything"]
        with started(shim, folder / "shim.log", said=token) as door:
            yield door["url"]


def permissive(http: httpx.Client, url: str, *, granted: bool) -> str:
    """Review every tool as a harmless read, grant all to one agent; a session key of it."""
    post(http, "/v1/servers", {"kind": "Server", "name": "everything", "url": url})
    tools = post(http, "/v1/servers/everything/sync", {})["tools"]
    for tool in tools:
        name = tool["tool"].partition("/")[2]
        review = {"kind": "ToolReview", "server": "everything", "tool": name, "fingerprint": tool["fingerprint"]}
        post(http, f"/v1/tools/{tool['tool']}/review", {**review, "effect": "read"})
    agent = {"kind": "Agent", "name": "suite", "owner": "admin@localhost", "purpose": "Is the conformance suite"}
    post(http, "/v1/agents", {**agent, "mode": "autonomous", "expires": EXPIRES})
    every: Any = {"server": "everything", "effects": ["read"]} if granted else tools[0]["tool"]
    post(http, "/v1/grants", {"kind": "Grant", "agent": "suite", "tools": [every], "expires": EXPIRES})
    http.patch("/v1/agents/suite", json={"state": "active"}).raise_for_status()
    return str(post(http, "/v1/keys", {"agent": "suite", "for": "session", "expires": "P1D"})["secret"])


def post(http: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    """The answer to one request, which must be a good one."""
    answer = http.post(path, json=body)
    if not answer.is_success:
        raise RuntimeError(f"{path}: {answer.text}")
    return answer.json()


def compared(revision: str, direct: Scores, through: Scores, listed: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a scenario, with what is wrong about it, if anything."""
    rows = []
    for name in sorted({*direct, *through, *listed}):
        one, other = direct.get(name, Score(0, 0)), through.get(name, Score(0, 0))
        reason, differs = listed.get(name), one != other
        fault = ""
        if differs and reason is None:
            fault = "differs, and is not listed"
        elif not differs and reason is not None:
            fault = "is listed, and does not differ"
        rows.append(
            {
                "row": f"{revision} {name}",
                "direct": f"{one.passed}/{one.passed + one.failed}",
                "remit": f"{other.passed}/{other.passed + other.failed}",
                "why": reason or "",
                "fault": fault,
            }
        )
    return rows


def main() -> int:
    """Run, compare, print, write build/conformance.json."""
    began, everything = time(), os.environ.get("EVERYTHING", "")
    if not (Path(everything) / "mcp_everything_server").is_dir():
        sys.stderr.write("EVERYTHING names no everything-server; it is in examples/servers of the official SDK.\n")
        return 2
    granted = os.environ.get("CONTROL") != "ungranted"
    listed = tomllib.loads((ROOT / "conformance" / "differences.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="remit-conformance-") as name:
        folder = Path(name)
        serve = [sys.executable, "-c", SERVE]
        with started(serve, folder / "everything.log", PYTHONPATH=everything) as server:
            for revision in REVISIONS:
                place = folder / revision
                place.mkdir()
                direct = scored(server["url"], revision, place / "direct")
                with through_remit(server["url"], place, granted=granted) as url:
                    through = scored(url, revision, place / "remit")
                rows += compared(revision, direct, through, listed.get(revision, {}))
    for row in rows:
        print(f"{row['row']:60} direct {row['direct']:>6} remit {row['remit']:>6}  {row['fault'] or row['why']}")
    faults = [row for row in rows if row["fault"]]
    same = sum(row["direct"] == row["remit"] for row in rows)
    print(f"{same} of {len(rows)} equal, {len(rows) - same - len(faults)} explained, {len(faults)} wrong")
    write_results("conformance", rows, ok=not faults, started=began, seconds=time() - began)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
