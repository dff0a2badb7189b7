"""``make conformance``: the official suite before the official SDK's everything-server, directly and through Remit.

    make conformance EVERYTHING=path/to/python-sdk/examples/servers/everything-server [CONTROL=ungranted]

The suite and Node 24 come from the npm registry (``programs.py``); the everything-server is published nowhere, so a
checkout of it is named. Through Remit means: a real ``remit up`` on a home of its own, a shim that adds the token which
the suite can't send, and the *permissive profile*, under which every tool is reviewed as a harmless read and granted to
one agent, and the server may ask the client. Each check of each scenario must end as it does directly, or as
``differences.toml`` lists with the reason; one that is listed and does not differ fails too. What the suite wrote stays
in ``build/conformance``.

``CONTROL=ungranted`` is the negative control: nothing is granted, every tool scenario must fail, and so must the run.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any, Final

import httpx

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from conformance.programs import NotHere, install
from conformance.suite import Verdict, compared, judged, listed, passes
from remit.lab.results import write_results

REVISIONS: Final = ("2025-11-25", "2026-07-28")
RECORDS: Final = ROOT / "build" / "conformance"
# What these two want of a call, a refusal is as well: a tool error, and any text.
CONTENT_WITH_A_NO: Final = frozenset({"tools-call-error", "tools-call-simple-text"})
EXPIRES: Final = "2099-01-01T00:00:00.000Z"
PERMISSIVE: Final = {"kind": "ToolReview", "effect": "read", "output": {"from": "opaque"}}
"""The permissive profile: what is said of every tool. It shows what Remit costs a protocol, and protects nothing."""


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


@contextmanager
def through_remit(url: str, folder: Path, *, granted: bool) -> Iterator[str]:
    """The same server behind Remit under the permissive profile; where the suite reaches it."""
    folder.mkdir()
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
    """Review every tool after the permissive profile, grant all to one agent; a session key of it."""
    asking = {"allow_elicitation": True, "allow_sampling": True}
    ask(http, "/v1/servers", {"kind": "Server", "name": "everything", "url": url, **asking})
    for tool in ask(http, "/v1/servers/everything/sync", {})["tools"]:
        named = {"server": "everything", "tool": tool["tool"].partition("/")[2], "fingerprint": tool["fingerprint"]}
        ask(http, f"/v1/tools/{tool['tool']}/review", {**PERMISSIVE, **named})
    agent = {"kind": "Agent", "name": "suite", "owner": "admin@localhost", "purpose": "Is the conformance suite"}
    ask(http, "/v1/agents", {**agent, "mode": "autonomous", "expires": EXPIRES})
    every = {"server": "everything", "effects": ["read"]}
    grant = ask(http, "/v1/grants", {"kind": "Grant", "agent": "suite", "tools": [every], "expires": EXPIRES})
    ask(http, "/v1/agents/suite", {"state": "active"}, "PATCH")
    if not granted:
        ask(http, f"/v1/grants/{grant['id']}", {"state": "revoked"}, "PATCH")
    return str(ask(http, "/v1/keys", {"agent": "suite", "for": "session", "expires": "P1D"})["secret"])


def ask(http: httpx.Client, path: str, body: Mapping[str, Any], verb: str = "POST") -> Any:
    """The answer to one request, which must be a good one."""
    answer = http.request(verb, path, json=body)
    if not answer.is_success:
        raise RuntimeError(f"{path}: {answer.text}")
    return answer.json()


def verdicts(everything: Path, *, granted: bool) -> Iterator[tuple[str, Verdict, Verdict]]:
    """Each revision, and what the suite says under it: directly, and through Remit."""
    with tempfile.TemporaryDirectory(prefix="remit-conformance-") as name:
        folder, records = Path(name), RECORDS if granted else RECORDS / "ungranted"
        serve = [sys.executable, str(ROOT / "conformance" / "everything.py")]
        paths = os.pathsep.join(filter(None, (str(everything), os.environ.get("PYTHONPATH"))))
        with started(serve, folder / "everything.log", PYTHONPATH=paths) as server:
            for revision in REVISIONS:
                direct = judged(server["url"], revision, records / revision / "direct")
                with through_remit(server["url"], folder / revision, granted=granted) as url:
                    yield revision, direct, judged(url, revision, records / revision / "remit")


def told(revision: str, direct: Verdict, through: Verdict) -> Iterator[dict[str, Any]]:
    """What it comes to: checks by their end, and the scenarios that the revision requires and that do not pass."""
    for way, one in (("directly", direct), ("through Remit", through)):
        yield {"row": f"{revision} {way}", "checks": one.counts(), "required_failing": one.failing()}


def stopped(direct: Verdict, through: Verdict) -> tuple[int, int]:
    """Of the tool scenarios that pass directly and that a refusal fails: how many fail, and how many there are."""
    names = [name for name in direct.scenarios.keys() - CONTENT_WITH_A_NO if name.startswith("tools-call-")]
    names = [name for name in names if passes(direct.scenarios[name])]
    return sum(not passes(through.scenarios.get(name, {})) for name in names), len(names)


def main() -> int:
    """Run, compare, print, write build/conformance.json (build/conformance-ungranted.json for the control)."""
    began, everything = time(), Path(os.environ.get("EVERYTHING", ""))
    granted = os.environ.get("CONTROL") != "ungranted"
    if not (everything / "mcp_everything_server").is_dir():
        sys.stderr.write("EVERYTHING names no everything-server; it is in examples/servers of the official SDK.\n")
        return 2
    meant = listed(ROOT / "conformance" / "differences.toml")
    rows: list[dict[str, Any]] = []
    sums: list[dict[str, Any]] = []
    controls: list[tuple[int, int]] = []
    try:
        install()
        for revision, direct, through in verdicts(everything, granted=granted):
            rows += compared(revision, direct, through, meant.get(revision, {}))
            sums += told(revision, direct, through)
            controls.append(stopped(direct, through))
    except NotHere as error:
        sys.stderr.write(f"The suite can't be had: {error}.\n")
        return 2
    status = report(rows, sums)
    name = "conformance" if granted else "conformance-ungranted"
    if not granted:
        print(", ".join(f"{failing} of {all_} tool scenarios fail with nothing granted" for failing, all_ in controls))
    write_results(name, [*rows, *sums], ok=status == 0, started=began, seconds=time() - began)
    return status


def report(rows: list[dict[str, Any]], sums: list[dict[str, Any]]) -> int:
    """Print the table and what it comes to; 1 if anything in it is wrong."""
    for row in rows:
        print(f"{row['row']:60} direct {row['direct']:>6} remit {row['remit']:>6}  {row['fault'] or row['why']}")
    for row in sums:
        checks = ", ".join(f"{count} {end}" for end, count in row["checks"].items())
        print(f"{row['row']:25} {checks}; {len(row['required_failing'])} required scenarios do not pass")
    faults = sum(bool(row["fault"]) for row in rows)
    same = sum(not row["ends"] and not row["fault"] for row in rows)
    print(f"{same} of {len(rows)} scenarios equal, {len(rows) - same - faults} explained, {faults} wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
