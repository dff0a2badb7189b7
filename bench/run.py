"""``make bench``: what governing a call costs, in one run, against the same call served directly and passed through.

CPU is that of the process under test alone (user and system time of its whole life, from /proc), per call, so the echo
server behind it and the load before it are not in it. The machine is shared: ratios in one run hold, absolutes don't.
Every governed call has its intent and its outcome on disk (``synchronous=FULL``) before it is answered.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time
from typing import Any

import aiohttp
import apsw

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.appends import Figures, raw_group_commit, store_appends
from bench.flow import flow_rows
from remit.lab.results import write_results

BIN = Path(sys.executable).parent
ROUNDS = 3
CALLS = 2_000
ALONE = 150
CALLERS = 32
SIZES = ((10, 10, 10), (100, 100, 1_000), (1_000, 5_000, 10_000), (1_000, 5_000, 100_000))


@dataclass(frozen=True, slots=True)
class Target:
    """One way to the echo tool."""

    name: str
    url: str
    pid: int
    tool: str
    headers: dict[str, str]


@contextmanager
def started(command: list[str], log: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """A program that prints where it listens on its first line; ended afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, env=environment) as process,
    ):
        line = process.stdout.readline() if process.stdout else b""
        try:
            if not line:
                raise RuntimeError(f"{command[1]} did not start: {log.read_text()[-2000:]}")
            yield json.loads(line), process.pid
        finally:
            process.terminate()
            process.wait(10)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far: what the scheduler gave its threads, to the nanosecond.

    The ticks of ``/proc/PID/stat`` are too coarse for a call that takes a fiftieth of a millisecond.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def load(target: Target, calls: int, callers: int) -> tuple[float, list[float]]:
    """CPU milliseconds per call and every latency in milliseconds, for ``calls`` calls by ``callers`` at once."""
    latencies: list[float] = []
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": target.tool, "arguments": {"text": "x" * 200}},
        }
    )
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **target.headers}
    remaining = iter(range(calls))

    async def caller(http: aiohttp.ClientSession) -> None:
        for _ in remaining:
            begun = perf_counter()
            async with http.post(target.url, data=body, headers=headers) as answer:
                text = await answer.read()
            if b'"isError":true' in text or b'"error"' in text:
                raise RuntimeError(f"{target.name}: {text[:500]!r}")
            latencies.append((perf_counter() - begun) * 1_000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=callers)) as http:
        await asyncio.gather(*(caller(http) for _ in range(callers)))
        latencies.clear()
        remaining = iter(range(calls))
        before = cpu_seconds(target.pid)
        await asyncio.gather(*(caller(http) for _ in range(callers)))
        spent = cpu_seconds(target.pid) - before
    return spent * 1_000 / calls, latencies


async def governed(running: dict[str, Any], home: Path, echo: str) -> dict[str, str]:
    """Set an agent up for the echo tool; the headers it calls with."""
    person = {"Authorization": f"Bearer {(home / 'keys' / 'person.key').read_text().strip()}"}
    async with aiohttp.ClientSession() as http:

        async def post(path: str, body: Any, credential: dict[str, str] = person, verb: str = "post") -> Any:
            async with http.request(verb, running["url"] + path, json=body, headers=credential) as answer:
                if not answer.ok:
                    raise RuntimeError(f"{path}: {await answer.text()}")
                return await answer.json()

        await post("/v1/servers", {"kind": "Server", "name": "echo", "url": echo})
        listed = await post("/v1/servers/echo/sync", {})
        review = {
            "kind": "ToolReview",
            "server": "echo",
            "tool": "echo",
            "fingerprint": listed["tools"][0]["fingerprint"],
            "effect": "read",
            "arguments": {"/text": {"role": "free_text"}},
        }
        await post("/v1/tools/echo/echo/review", review)
        agent = {
            "kind": "Agent",
            "name": "bench",
            "owner": "admin@localhost",
            "purpose": "Is measured",
            "mode": "autonomous",
            "expires": "2099-01-01T00:00:00.000Z",
        }
        await post("/v1/agents", agent)
        grant = {"kind": "Grant", "agent": "bench", "tools": ["echo/echo"], "expires": agent["expires"]}
        await post("/v1/grants", grant)
        await post("/v1/agents/bench", {"state": "active"}, verb="patch")
        key = await post("/v1/keys", {"agent": "bench", "for": "host", "expires": "P1D"})
        host = {"Authorization": f"Bearer {key['secret']}"}
        session = await post("/v1/sessions", {"agent": "bench", "ttl": "PT1H"}, host)
        return {"Authorization": f"Bearer {session['token']}"}


async def measure(targets: list[Target]) -> list[dict[str, Any]]:
    """Rounds of all targets in turn; medians."""
    cpu: dict[str, list[float]] = {target.name: [] for target in targets}
    alone: dict[str, list[float]] = {target.name: [] for target in targets}
    together: dict[str, list[float]] = {target.name: [] for target in targets}
    for _ in range(ROUNDS):
        for target in targets:
            spent, latencies = await load(target, CALLS, CALLERS)
            cpu[target.name].append(spent)
            together[target.name] += latencies
            alone[target.name] += (await load(target, ALONE, 1))[1]
    direct = statistics.median(cpu["direct"])
    passed = statistics.median(cpu["passthrough"])
    rows = []
    for target in targets:
        spent = statistics.median(cpu[target.name])
        rows.append(
            {
                "row": f"call {target.name}",
                "cpu_ms_per_call": round(spent, 4),
                "times_direct": round(spent / direct, 2),
                "times_passthrough": round(spent / passed, 2),
                "alone_ms_p50": round(statistics.median(alone[target.name]), 2),
                "alone_ms_p99": round(quantile(alone[target.name], 0.99), 2),
                f"with_{CALLERS}_ms_p50": round(statistics.median(together[target.name]), 2),
                f"with_{CALLERS}_ms_p99": round(quantile(together[target.name], 0.99), 2),
            }
        )
    return rows


def quantile(values: list[float], share: float) -> float:
    """The value that ``share`` of all are below."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def append_rows(folder: Path) -> list[dict[str, Any]]:
    """Acknowledged appends a second: ours and a raw group commit, alone and with 256 at once."""
    rows = []
    for callers in (1, 256):
        raw: Figures = raw_group_commit(folder / f"raw-{callers}.db", callers)
        ours: Figures = asyncio.run(store_appends(folder / f"ours-{callers}", callers))
        rows.append(
            {
                "row": f"appends with {callers}",
                "ours_per_second": round(ours.rate),
                "raw_per_second": round(raw.rate),
                "raw_over_ours": round(raw.rate / ours.rate, 2),
                "ours_cpu_us": round(ours.cpu_us, 1),
                "raw_cpu_us": round(raw.cpu_us, 1),
            }
        )
    return rows


def scale_rows(folder: Path) -> list[dict[str, Any]]:
    """What a decision costs as the registry grows, each size in a process of its own."""
    rows = []
    for agents, tools, grants in SIZES:
        home = folder / f"scale-{grants}"
        home.mkdir()
        command = [sys.executable, str(ROOT / "bench" / "scale.py"), *map(str, (agents, tools, grants)), str(home)]
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        rows.append(json.loads(found.stdout))
    return rows


def main() -> int:
    """Measure, print, write build/bench.json."""
    began = time()
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as name:
        folder = Path(name)
        rows = append_rows(folder) + scale_rows(folder) + flow_rows()
        home = folder / "home"
        subprocess.run(
            [str(BIN / "remit"), "--home", str(home), "init", "--quiet"], check=True, stdout=subprocess.DEVNULL
        )
        targets_file = folder / "targets.json"
        with started([sys.executable, str(ROOT / "bench" / "echo.py")], folder / "echo.log") as (echo, echo_pid):
            targets_file.write_text(json.dumps({"echo": {"url": echo["mcp"]}}))
            through = [sys.executable, str(ROOT / "bench" / "passthrough.py"), str(targets_file)]
            up = [str(BIN / "remit"), "--home", str(home), "--json", "up", "--port", "0"]
            with (
                started(through, folder / "passthrough.log") as (raw, raw_pid),
                started(up, folder / "remit.log") as (ours, our_pid),
            ):
                headers = asyncio.run(governed(ours, home, echo["mcp"]))
                targets = [
                    Target("direct", echo["mcp"], echo_pid, "echo", {}),
                    Target("passthrough", raw["mcp"], raw_pid, "echo__echo", {}),
                    Target("governed", ours["mcp"], our_pid, "echo__echo", headers),
                ]
                rows += asyncio.run(measure(targets))
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"SQLite {apsw.sqlite_lib_version()}; {time() - began:.0f} s; build/bench.json")
    write_results("bench", rows, ok=True, started=began, seconds=time() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
