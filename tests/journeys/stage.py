"""Come in here for real ``remit`` processes on a furnished home, and for what an outsider can say of its log."""

import asyncio
import base64
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from remit import settings
from remit.core.credentials import PersonCaller
from remit.core.people import Person
from remit.wiring import init_home, open_remit
from tests.cli.program import PROGRAM
from tests.services.world import HandClock, World
from tests.web.house import PERSON, House, Upstream, furnish

ROOT = Path(__file__).parents[2]
VERIFIER = ROOT / "src" / "remit" / "audit" / "verify.py"
PASSTHROUGH = ROOT / "bench" / "passthrough.py"
INTENT, OUTCOME, UNKNOWN = 62, 63, 64


@dataclass
class Home:
    """A furnished home: where it is, who holds which credential, the agent's session and its upstream."""

    path: Path
    credentials: dict[str, str]
    session: str
    upstream: Upstream


@dataclass
class Live:
    """One running ``remit up``."""

    home: Home
    process: asyncio.subprocess.Process
    url: str
    http: httpx.AsyncClient

    async def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def ask(self, method: str, path: str, who: str, body: object = None) -> httpx.Response:
        """One request by ``who``."""
        headers = {"authorization": f"Bearer {self.home.credentials[who]}"}
        return await self.http.request(method, path, headers=headers, json=body)

    async def call(self, name: str, arguments: object, call_id: str | None = None) -> dict[str, Any]:
        """One ``tools/call`` over MCP; its result."""
        params: dict[str, object] = {"name": name, "arguments": arguments}
        if call_id is not None:
            params["_meta"] = {"remit/call_id": call_id}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await self.ask("POST", "/mcp", "token", message)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["result"]
        return found


@asynccontextmanager
async def furnished(path: Path, issuer: str = "http://localhost:8765") -> AsyncIterator[Home]:
    """A home with an agent at work, and the upstream that it works on, which outlives every ``remit`` process."""
    upstream = Upstream()
    async with upstream.simulator.serving():
        await init_home(path, PERSON, issuer)
        async with open_remit(path, settings.load(path)) as remit:
            async with remit.deps.store.view("main") as view:
                admin = (await view.nouns.all(Person))[0]
            caller = PersonCaller(org="main", key="key_0", person=admin)
            world = World(remit.deps, HandClock(int(time.time() * 1000)), caller, path)
            transport = httpx.ASGITransport(app=remit.app)
            async with httpx.AsyncClient(base_url="http://localhost", transport=transport) as client:
                house = House(world, remit.servers, remit.app, client, upstream=upstream)
                await furnish(house)
        yield Home(path, house.credentials, house.session, upstream)


@asynccontextmanager
async def up(home: Home, port: int = 0, **environment: str) -> AsyncIterator[Live]:
    """``remit up`` on this port or a free one, ended with SIGTERM if it still lives."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("--home", str(home.path), "up", "--port", str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**_plain_environment(), **environment},
    )
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        url = json.loads(line)["url"]
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            yield Live(home, process, url, client)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def remit(home: Home, *arguments: str, **environment: str) -> tuple[int, str]:
    """One command as a real process: its exit status and its stdout."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("--home", str(home.path), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**_plain_environment(), **environment},
    )
    said, complaints = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode() or complaints.decode()


async def verified(home: Home, folder: Path) -> list[dict[str, Any]]:
    """Every leaf of an export that a copy of the verifier, alone in a folder, finds sound."""
    folder.mkdir()
    copy = shutil.copy(VERIFIER, folder / "verify.py")
    export = folder / "log.jsonl"
    async with open_remit(home.path, settings.load(home.path)) as opened:
        transport = httpx.ASGITransport(app=opened.app)
        headers = {"authorization": f"Bearer {home.credentials['auditor']}"}
        async with httpx.AsyncClient(base_url="http://localhost", transport=transport, headers=headers) as client:
            export.write_bytes((await client.get("/v1/audit/export")).raise_for_status().content)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(copy), str(export)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={},
    )
    found, _ = await process.communicate()
    assert process.returncode == 0, found.decode()
    lines = [json.loads(line) for line in export.read_bytes().splitlines()]
    return [json.loads(base64.b64decode(line["leaf"])) for line in lines if line["t"] == "leaf"]


def _plain_environment() -> dict[str, str]:
    """Ours, without a setting of Remit's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
