"""``make soak``: does a Remit that is used for long stay as it is? ``SECONDS`` of mixed load (600 if unset).

32 callers at once make allowed, refused and asking calls, list tools, renew tokens, start and end sessions, send slowly
and hang up; a stdio server behind Remit is killed now and then. Every answer is held against what it must be. Every few
seconds the process is measured. It is well if no answer was wrong, descriptors and threads stay, and resident memory
grows by less than a tenth after the first fifth.

What may grow until it is full: SQLite's page caches (32 MiB for the writer and for each of up to eight readers), the
write-ahead log's index (mapped, and so resident, but shared), memories with a bound (``sights``, ``refusals``, sealed
pins). What may grow for ever: the store's file, on disk.
"""

import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.run import started
from remit.lab.results import write_results

PROGRAM = [sys.executable, "-c", "from remit.cli.main import main; main()"]
CALLERS = 32
PATIENT = 4
"""Callers that keep one session all the time, and so refuse nothing and renew their tokens."""
SESSION_STEPS = 150
SESSION_DENIALS = 30
"""Half of what suspends a session."""
SAMPLE_SECONDS = 3.0
KILL_SECONDS = 7.0
WARM = 0.2
FLAT = 8.0
"""Descriptors or threads that may come and go with the moment of a sample."""
GROWTH = 0.10
AFTERWARDS = 60.0
"""Seconds that requests under way may take when time is up."""
KEPT_ERRORS = 20
TOOLS = {"echo__echo", "pad__note", "pad__wipe"}
DOWN = ("was not called", "is not known")


class Unexpected(Exception):
    """An answer that is not what it must be."""


@dataclass(slots=True)
class Tally:
    """What was done, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    killed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment; sizes in KiB."""

    at: float
    rss: int
    anonymous: int
    descriptors: int
    threads: int
    store: int


@dataclass(slots=True)
class Soak:
    """One run: where Remit is, who may start sessions there, and until when."""

    url: str
    pid: int
    home: Path
    host: dict[str, str]
    until: float
    http: aiohttp.ClientSession
    tally: Tally = field(default_factory=Tally)
    samples: list[Sample] = field(default_factory=list)

    async def post(self, path: str, body: Any, credential: dict[str, str], expected: int = 200) -> Any:
        """One request with a JSON body; the JSON of its answer. Raises ``Unexpected``."""
        async with self.http.post(self.url + path, json=body, headers=credential) as answer:
            text = await answer.text()
            if answer.status != expected:
                raise Unexpected(f"{path}: {answer.status} {text[:300]}")
            return json.loads(text) if text else None

    async def rpc(self, method: str, params: Any, credential: dict[str, str]) -> Any:
        """One MCP request; its result. Raises ``Unexpected``."""
        return result_of(await self.post("/mcp", message(method, params), credential))


def message(method: str, params: Any) -> dict[str, Any]:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def result_of(answer: Any) -> Any:
    """The result of a JSON-RPC answer. Raises ``Unexpected`` when it has none."""
    if not isinstance(answer, dict) or "result" not in answer:
        raise Unexpected(f"no result: {str(answer)[:300]}")
    return answer["result"]


def call(tool: str, text: object) -> dict[str, Any]:
    """The params of a call."""
    return {"name": tool, "arguments": {"text": text}}


def verdict(result: Any) -> str:
    """What Remit decided of a call that was not forwarded."""
    found = result.get("_meta", {}).get("remit/decision", {})
    return str(found.get("decision"))


# Callers


@dataclass(slots=True)
class Caller:
    """One agent's program: a session, and a step after another in it."""

    soak: Soak
    number: int
    chance: random.Random
    session: str = ""
    token: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    denials: int = 0

    @property
    def patient(self) -> bool:
        """Whether this one keeps its session."""
        return self.number < PATIENT

    async def run(self) -> None:
        """Step after step until the time is over."""
        await self.start()
        while monotonic() < self.soak.until:
            name, step = self._next()
            try:
                await step()
                self.soak.tally.done[name] += 1
            except (Unexpected, aiohttp.ClientError, OSError, ValueError, KeyError, TimeoutError) as error:
                self.soak.tally.errors.append(f"{name}: {type(error).__name__} {error}")
        await self.end()

    def _next(self) -> tuple[str, Callable[[], Awaitable[None]]]:
        self.steps += 1
        if not self.patient and (self.steps >= SESSION_STEPS or self.denials >= SESSION_DENIALS):
            return "session", self.again
        steps = STEPS[:-1] if self.patient else STEPS
        name, step, _ = self.chance.choices(steps, weights=[weight for _, _, weight in steps])[0]
        return name, lambda: step(self)

    async def start(self) -> None:
        """A session of its own."""
        body = {"agent": "soaked", "ttl": "PT2H"}
        opened = await self.soak.post("/v1/sessions", body, self.soak.host, 201)
        self.session, self.token = opened["session"], bearer(opened["token"])
        self.steps = self.denials = 0

    async def end(self) -> None:
        """The session is over."""
        await self.soak.post(f"/v1/sessions/{self.session}/end", {}, self.soak.host, 204)

    async def again(self) -> None:
        """Another session; the old one's token is good for nothing any more."""
        await self.end()
        refused = await self.soak.rpc("tools/call", call("echo__echo", "late"), self.token)
        if verdict(refused) != "deny":
            raise Unexpected(f"a call after the end: {str(refused)[:300]}")
        await self.start()

    async def allowed(self) -> None:
        """A call that comes back."""
        text = f"{self.number}-{self.chance.random()}-" + "x" * self.chance.choice((10, 200, 5_000))
        self._is_echo(await self.soak.rpc("tools/call", call("echo__echo", text), self.token), text)

    def _is_echo(self, result: Any, text: str) -> None:
        if result.get("isError") or text not in result["content"][0]["text"]:
            raise Unexpected(f"no echo: {str(result)[:300]}")

    async def noted(self) -> None:
        """A call of the server that is killed now and then: either it answers, or Remit says what is known of it."""
        text = f"{self.number}-{self.chance.random()}"
        result = await self.soak.rpc("tools/call", call("pad__note", text), self.token)
        said = result["content"][0]["text"]
        if result.get("isError") and any(words in said for words in DOWN):
            self.soak.tally.done["call of a server that was down"] += 1
        elif said != text:
            raise Unexpected(f"no note: {str(result)[:300]}")

    async def refused(self) -> None:
        """A call of no tool, or of no shape: one already refused, or a new one."""
        self.denials += 1
        number = self.chance.choice((0, self.chance.random()))
        params = self.chance.choice((call(f"echo__none{number}", "a"), call("echo__echo", number)))
        result = await self.soak.rpc("tools/call", params, self.token)
        if verdict(result) != "deny":
            raise Unexpected(f"not refused: {str(result)[:300]}")

    async def asked(self) -> None:
        """A call that waits for a person."""
        text = self.chance.choice(("all", "some", "few"))
        result = await self.soak.rpc("tools/call", call("pad__wipe", text), self.token)
        if verdict(result) != "ask":
            raise Unexpected(f"not asked: {str(result)[:300]}")

    async def listed(self) -> None:
        """What this agent may see, all of it."""
        result = await self.soak.rpc("tools/list", {}, self.token)
        if {tool["name"] for tool in result["tools"]} != TOOLS:
            raise Unexpected(f"listed: {str(result)[:300]}")

    async def renewed(self) -> None:
        """A fresh token, used from here on."""
        answer = await self.soak.post(f"/v1/sessions/{self.session}/token", {}, self.soak.host)
        self.token = bearer(answer["token"])

    async def slow(self) -> None:
        """A call whose body comes in pieces."""
        text = f"slow-{self.chance.random()}"
        reader, writer = await self._opened()
        body = json.dumps(message("tools/call", call("echo__echo", text))).encode()
        writer.write(self._head(len(body)))
        for at in range(0, len(body), 40):
            writer.write(body[at : at + 40])
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Unexpected(f"slow: {answer[:300]!r}")
        self._is_echo(result_of(json.loads(rest)), text)

    async def gone(self) -> None:
        """A client that hangs up in the middle of its request, or before it is answered."""
        _, writer = await self._opened()
        body = json.dumps(message("tools/call", call("echo__echo", "gone"))).encode()
        writer.write(self._head(len(body)) + body[: self.chance.choice((0, len(body) // 2, len(body)))])
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.soak.url.removeprefix("http://").partition(":")
        return await asyncio.open_connection(host, int(port))

    def _head(self, length: int) -> bytes:
        lines = ["POST /mcp HTTP/1.1", "Host: localhost", f"Authorization: {self.token['Authorization']}"]
        lines += ["Content-Type: application/json", f"Content-Length: {length}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode()


STEPS: tuple[tuple[str, Callable[[Caller], Awaitable[None]], int], ...] = (
    ("call allowed", Caller.allowed, 60),
    ("call of stdio", Caller.noted, 10),
    ("call asked", Caller.asked, 4),
    ("tools/list", Caller.listed, 6),
    ("token", Caller.renewed, 2),
    ("slow", Caller.slow, 1),
    ("gone", Caller.gone, 2),
    ("call refused", Caller.refused, 10),
)


def bearer(credential: str) -> dict[str, str]:
    """The header that carries a credential."""
    return {"Authorization": f"Bearer {credential}"}


# The process


async def sampling(soak: Soak, began: float) -> None:
    """Measure until the time is over."""
    while monotonic() < soak.until:
        await asyncio.sleep(SAMPLE_SECONDS)
        soak.samples.append(sample(soak.pid, soak.home, monotonic() - began))


def sample(pid: int, home: Path, at: float) -> Sample:
    """What the process holds now."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    status = {name: value.split() for name, _, value in lines}
    stored = sum(file.stat().st_size for file in home.glob("remit.db*")) // 1_024
    return Sample(
        at,
        int(status["VmRSS"][0]),
        int(status["RssAnon"][0]),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        int(status["Threads"][0]),
        stored,
    )


async def killing(soak: Soak) -> None:
    """Kill the stdio server now and then, and never when it may not be ours: only a child of our own process."""
    while monotonic() + KILL_SECONDS < soak.until:
        await asyncio.sleep(KILL_SECONDS)
        for child in children(soak.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                soak.tally.killed += 1


def children(pid: int) -> list[int]:
    """The children of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in lists for child in file.read_text().split()]


# A house for it


async def furnish(soak: Soak, echo: str) -> None:
    """Two servers, three reviewed tools, and an agent that may call them."""
    person = bearer((soak.home / "keys" / "person.key").read_text().strip())
    stdio = {"command": sys.executable, "args": ["-I", "-S", str(ROOT / "bench" / "child.py")], "env": {}}
    await soak.post("/v1/servers", {"kind": "Server", "name": "echo", "url": echo}, person, 201)
    await soak.post("/v1/servers", {"kind": "Server", "name": "pad", "stdio": stdio, "shared": True}, person, 201)
    for server in ("echo", "pad"):
        for one in (await soak.post(f"/v1/servers/{server}/sync", {}, person))["tools"]:
            review = {"kind": "ToolReview", "server": server, "tool": one["tool"].partition("/")[2]}
            review |= {"fingerprint": one["fingerprint"], "arguments": {"/text": {"role": "free_text"}}}
            effect = "admin" if one["tool"] == "pad/wipe" else "read"
            await soak.post(f"/v1/tools/{one['tool']}/review", review | {"effect": effect}, person, 201)
    agent = {"kind": "Agent", "name": "soaked", "owner": "admin@localhost", "purpose": "Is soaked"}
    expires = "2099-01-01T00:00:00.000Z"
    await soak.post("/v1/agents", agent | {"mode": "autonomous", "expires": expires}, person, 201)
    tools = ["echo/echo", "pad/note", "pad/wipe"]
    grant = {"kind": "Grant", "agent": "soaked", "tools": tools, "expires": expires}
    await soak.post("/v1/grants", grant, person, 201)
    async with soak.http.patch(soak.url + "/v1/agents/soaked", json={"state": "active"}, headers=person) as answer:
        answer.raise_for_status()
    key = await soak.post("/v1/keys", {"agent": "soaked", "for": "host", "expires": "P1D"}, person, 201)
    soak.host.update(bearer(key["secret"]))


async def load(soak: Soak, echo: str, seconds: float, seed: int) -> float:
    """Furnish, then everything at once; the seconds that it took."""
    await furnish(soak, echo)
    began = monotonic()
    soak.until = began + seconds
    callers = [Caller(soak, number, random.Random(seed + number)) for number in range(CALLERS)]  # noqa: S311
    tasks = [one.run() for one in callers]
    async with asyncio.timeout(seconds + AFTERWARDS):
        await asyncio.gather(*tasks, sampling(soak, began), killing(soak))
    return monotonic() - began


# Figures


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Units per second, by least squares."""
    if len(points) < 2 or len({x for x, _ in points}) < 2:  # noqa: PLR2004 - two points make a line
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def figures(name: str, samples: Sequence[Sample], value: Callable[[Sample], float]) -> dict[str, Any]:
    """A measure a fifth in and at the end (the median of some samples each), and what it gains an hour in between."""
    warm = samples[int(len(samples) * WARM) :]
    few = max(len(samples) // 20, 1)
    early = statistics.median(value(one) for one in warm[:few])
    late = statistics.median(value(one) for one in warm[-few:])
    return {
        "row": name,
        "at_20_percent": early,
        "at_the_end": late,
        "most": max(value(one) for one in samples),
        "growth": round(late / early - 1, 4),
        "an_hour": round(slope([(one.at, value(one)) for one in warm]) * 3_600, 1),
    }


def judged(soak: Soak, took: float, trouble: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """The rows of the result, and whether all is well."""
    tally = soak.tally
    errors = [*tally.errors, *trouble]
    calls = sum(count for name, count in tally.done.items() if name.startswith("call "))
    first: dict[str, Any] = {"row": "load", "calls_per_second": round(calls / took), "errors": len(errors)}
    first |= {"killed_servers": tally.killed, "did": dict(sorted(tally.done.items())), "seen": errors[:KEPT_ERRORS]}
    memory = figures("rss_kib", soak.samples, lambda one: one.rss)
    descriptors = figures("descriptors", soak.samples, lambda one: one.descriptors)
    threads = figures("threads", soak.samples, lambda one: one.threads)
    rows = [first, memory, figures("anonymous_kib", soak.samples, lambda one: one.anonymous), descriptors, threads]
    rows.append(figures("store_kib", soak.samples, lambda one: one.store))
    flat = all(one["at_the_end"] - one["at_20_percent"] <= FLAT for one in (descriptors, threads))
    return rows, not errors and tally.killed > 0 and flat and memory["growth"] < GROWTH


def troubles(log: Path) -> list[str]:
    """What the program itself wrote down as having failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line[:500] for line in lines if '"level": "error"' in line or "Traceback" in line]


async def soaked(running: dict[str, Any], pid: int, home: Path, echo: str, seconds: float) -> tuple[Soak, float]:
    """The run itself."""
    connector = aiohttp.TCPConnector(limit=CALLERS)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=90)) as http:
        soak = Soak(running["url"], pid, home, {}, 0.0, http)
        return soak, await load(soak, echo, seconds, seed=1)


def main() -> int:
    """Soak, print, write build/soak.json."""
    began, seconds = time(), float(os.environ.get("SECONDS", "600"))
    with tempfile.TemporaryDirectory(prefix="remit-soak-") as name:
        folder = Path(name)
        home, log = folder / "home", folder / "remit.log"
        subprocess.run([*PROGRAM, "--home", str(home), "init", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        up = [*PROGRAM, "--home", str(home), "--json", "up", "--port", "0"]
        with (
            started([sys.executable, str(ROOT / "bench" / "echo.py")], folder / "echo.log") as (echo, _),
            started(up, log) as (running, pid),
        ):
            soak, took = asyncio.run(soaked(running, pid, home, echo["mcp"], seconds))
        rows, ok = judged(soak, took, troubles(log))
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"{'ok' if ok else 'NOT OK'}; {time() - began:.0f} s; build/soak.json")
    write_results("soak", rows, ok=ok, started=began, seconds=time() - began)
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
