"""``remit up --workers`` as real processes: spread, killed, started again, and ended together."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.program import PROGRAM, Run, process, served
from tests.cli.steps import ok, working
from tests.cli.wrapping import Scene

COUNT = 3
PATIENCE = 60.0


@dataclass(frozen=True)
class Fleet:
    """A served home of several workers, and a session that may call the child."""

    scene: Scene
    url: str
    parent: subprocess.Popen[str]
    session: str
    token: str

    def call(self, tool: str, call_id: str | None = None) -> dict[str, Any]:
        """One call over a connection of its own, so that any worker may take it. Raises what httpx raises."""
        params: dict[str, Any] = {"name": tool, "arguments": {}}
        if call_id is not None:
            params["_meta"] = {"remit/call_id": call_id}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"authorization": f"Bearer {self.token}", "connection": "close"}
        answer = httpx.post(f"{self.url}/mcp/child", json=message, headers=headers, timeout=PATIENCE, trust_env=False)
        found: dict[str, Any] = answer.json()["result"]
        return found

    def workers(self) -> list[int]:
        """The processes that serve."""
        return workers_of(self.parent.pid)


def workers_of(pid: int) -> list[int]:
    """The workers that this process started."""
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def parent_of(pid: int) -> int:
    """Who started this one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def text(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])


def until(true: Callable[[], bool], parent: subprocess.Popen[str]) -> None:
    """Wait for something, as long as the parent lives."""
    while not true():
        assert parent.poll() is None
        os.sched_yield()


@pytest.fixture
def fleet(run: Run, home: Path, tmp_path: Path) -> Iterator[Fleet]:
    _, env = working(run, tmp_path)
    scene = Scene(run, home, env, tmp_path / "acts.txt")
    ok(run("server", "add", "child", "--stdio", "--json", "--", *scene.command), "Server")
    scene.remit("server", "sync", "child")
    scene.reviewed()
    with served(home, signal.SIGTERM, None, "--workers", str(COUNT)) as (facts, parent):
        started = ok(run("session", "start", "--agent", "reader", "--json", env=env), "SessionStarted")
        yield Fleet(scene, facts["url"], parent, started["session"], started["token"])


@pytest.mark.claim("worker:one-owner")
def test_a_session_meets_one_child_whoever_takes_its_calls(fleet: Fleet) -> None:
    assert len(fleet.workers()) == COUNT
    with ThreadPoolExecutor(8) as pool:
        pids = {text(result) for result in pool.map(fleet.call, ["whoami"] * 48)}
    assert len(pids) == 1
    assert parent_of(int(pids.pop())) in fleet.workers()
    log = ok(fleet.scene.run("audit", "verify", "--json"), "VerifyAnswer")
    assert log["ok"], "many processes wrote one log"


@pytest.mark.claim("worker:sent-at-most-once")
def test_after_kill_9_of_a_worker_its_calls_are_unknown_never_made_again_and_others_serve(fleet: Fleet) -> None:
    owner = parent_of(int(text(fleet.call("whoami"))))
    with ThreadPoolExecutor(6) as pool:
        hanging = [pool.submit(fleet.call, "hang", f"hang-{number}") for number in range(6)]
        until(lambda: fleet.scene.acted().count("hang") == len(hanging), fleet.parent)
        os.kill(owner, signal.SIGKILL)
        for one in hanging:
            # Either the worker that took it says so, or that was the one which died.
            error = one.exception(PATIENCE)
            assert isinstance(error, httpx.TransportError) or "not known" in text(one.result())
    until(lambda: len(fleet.workers()) == COUNT, fleet.parent)
    assert owner not in fleet.workers()
    until(lambda: len(unknown(fleet)) == len(hanging), fleet.parent)
    assert fleet.scene.acted().count("hang") == len(hanging), "none was sent again"
    until(lambda: "isError" not in called(fleet), fleet.parent)
    assert parent_of(int(text(fleet.call("whoami")))) in fleet.workers()


def called(fleet: Fleet) -> dict[str, Any]:
    """One call, as it ends; an error where nobody took it."""
    try:
        return fleet.call("whoami")
    except httpx.TransportError:
        return {"isError": True}


def unknown(fleet: Fleet) -> list[Any]:
    """The calls whose outcome nobody knows."""
    found: list[Any] = fleet.scene.remit("audit", "unknown")["items"]
    return found


def test_when_the_parent_is_killed_its_workers_and_their_children_end(fleet: Fleet) -> None:
    child = int(text(fleet.call("whoami")))
    workers = fleet.workers()
    fleet.parent.kill()
    fleet.parent.wait(30)
    for pid in (*workers, child):
        while (
            Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        ):
            os.sched_yield()
    assert fleet.scene.remit("status")["health"]["ok"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order_and_leaves_nothing_behind(run: Run, home: Path, ending: signal.Signals) -> None:
    with served(home, ending, None, "--workers", "2") as (facts, parent):
        assert run("status", "--json").json()["health"]["ok"]
        pids = workers_of(parent.pid)
        assert len(pids) == 2
        announced = json.loads((home / "run" / "server.json").read_text())
        assert announced["pid"] == parent.pid
        assert announced["url"] == facts["url"]
    assert parent.returncode == 0
    assert list((home / "run").iterdir()) == []
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_an_address_that_is_taken_and_a_home_that_is_none_are_said_once(home: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = process("--home", str(home), "up", "--port", port, "--workers", "2")
    assert answer.returncode == 6
    assert "can't be listened on" in answer.stderr
    assert answer.stdout == ""
    none = process("--home", str(tmp_path / "none"), "up", "--workers", "2")
    assert none.returncode == 3
    for wrong in ("0", "65", "x"):
        assert process("--home", str(home), "up", "--workers", wrong).returncode == 2


def test_a_worker_that_does_not_come_up_ends_the_others(home: Path) -> None:
    """The socket of one can't be made where the path is too long for the operating system."""
    deep = home / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    answer = subprocess.run(
        [*PROGRAM, "--home", str(home), "up", "--port", "0", "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(deep)},
    )
    assert answer.returncode == 6, answer.stderr
    assert answer.stdout == ""
    assert "did not come up" in answer.stderr
    assert sys.executable not in answer.stdout
