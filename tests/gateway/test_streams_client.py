"""Progress, logs and cancellation between the official client and a server of the official SDK, with Remit between them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client

from remit.core.canonical import Json
from remit.services import servers
from tests.gateway.streaming import outcomes, until
from tests.web.house import House

pytestmark = pytest.mark.anyio
PROGRAM = Path(__file__).with_name("slow_server.py")
MODES: tuple[ConnectMode, ...] = ("auto", "legacy")


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where the server writes that it was cancelled."""
    return tmp_path / "told"


@pytest.fixture(params=["http", "stdio"])
async def slow(house: House, told: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """The house with the slow server, whose one tool is granted."""
    world, process = house.world, None
    document: dict[str, Json] = {"kind": "Server", "name": "slow"}
    if request.param == "http":
        command = [sys.executable, str(PROGRAM), str(told), "http"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        document["url"] = (await process.stderr.readline()).decode().strip()
    else:
        document["stdio"] = {"command": sys.executable, "args": [str(PROGRAM), str(told)], "env": {}}
    try:
        await servers.add(world.deps, world.admin, document)
        await house.servers.sync(world.admin, "slow")
        await world.review("slow/work")
        await world.grant("slow/work")
        yield house
    finally:
        await house.servers.aclose()
        if process is not None:
            process.terminate()
            await process.communicate()


@asynccontextmanager
async def listening(house: House, mode: ConnectMode, logged: list[Any]) -> AsyncIterator[Client]:
    """A client that asks for log messages."""

    async def take(params: Any) -> None:
        logged.append(params.data)

    headers = {"Authorization": f"Bearer {house.credentials['token']}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(
            streamable_http_client(house.url + "/mcp", http_client=http),
            mode=mode,
            logging_callback=take,
            log_level="info",
        ) as client,
    ):
        yield client


@pytest.mark.claim("stream:cancelled-by-its-own")
@pytest.mark.parametrize("mode", MODES)
async def test_the_official_client_is_told_what_an_official_server_says_and_what_it_cancels_is_cancelled_there(
    slow: House, told: Path, mode: ConnectMode
) -> None:
    """A log message is told to a stateless client, over HTTP, where it stands on the call's own stream."""
    heard: list[tuple[float, float | None, str | None]] = []
    logged: list[Any] = []
    scope = anyio.CancelScope()

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def enough(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        scope.cancel()

    async with listening(slow, mode, logged) as client:
        assert not (await client.call_tool("slow__work", {"steps": 2})).is_error
        over_http = "url" in (await slow.ask("GET", "/v1/servers/slow", "auditor")).json()
        expected = ["logged 1", "logged 2"] if over_http and mode == "auto" else []
        await until(lambda: len(logged) == len(expected))
        assert logged == expected
        assert not (await client.call_tool("slow__work", {"steps": 3}, progress_callback=progressed)).is_error
        await until(lambda: len(heard) == 3)
        assert heard == [(step, 3, f"step {step}") for step in (1, 2, 3)]
        size, _ = await slow.state()
        with scope:
            await client.call_tool("slow__work", {"steps": 1, "wait": True}, progress_callback=enough)
        assert scope.cancelled_caught
        async with asyncio.timeout(20):
            while not (ended := await outcomes(slow, size)):
                await asyncio.sleep(0.005)
        assert [end["outcome"] for end in ended] == ["unknown"]
        await until(told.exists)
        assert not (await client.call_tool("slow__work", {"steps": 1})).is_error
    assert told.read_text("utf-8") == "cancelled\n"
