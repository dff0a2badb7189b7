"""The official MCP client as the agent, and the office example as the server: what it did is read in its own file."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client

from examples.office.reviews import for_tools
from remit.core.servers import Server
from remit.services import review, servers
from tests.web.house import House

pytestmark = pytest.mark.anyio
OFFICE = Path(__file__).parents[2] / "examples" / "office" / "server.py"


@asynccontextmanager
async def agent(
    house: House, at: str = "/mcp", who: str = "token", mode: ConnectMode = "auto", **options: Any
) -> AsyncIterator[Client]:
    """A connected client that presents a session token; ``options`` are the client's own."""
    headers = {"Authorization": f"Bearer {house.credentials.get(who, who)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(house.url + at, http_client=http), mode=mode, **options) as client,
    ):
        yield client


@pytest.fixture
async def bureau(house: House, tmp_path: Path) -> AsyncIterator[Path]:
    """The office as a real server ``bureau``, reviewed as its example says; the agent may read and pay up to 100 EUR."""
    db, world = tmp_path / "office.db", house.world
    command = [sys.executable, str(OFFICE), "--db", str(db), "--http", "0"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        url = (await process.stderr.readline()).decode().removeprefix("office: ").strip()
        await servers.add(world.deps, world.admin, {"kind": "Server", "name": "bureau", "url": url})
        listed = await house.servers.sync(world.admin, "bureau")
        assert isinstance(listed, dict)
        prints = {str(one["tool"]).partition("/")[2]: str(one["fingerprint"]) for one in listed["tools"]}
        for document in for_tools(prints):
            document["server"] = "bureau"
            text = (
                json.dumps(document)
                .replace("office:", "bureau:")
                .replace('"operator": "office"', '"operator": "bureau"')
            )
            await review.apply_review(world.deps, world.admin, json.loads(text.replace("office/", "bureau/")))
        await world.grant({"server": "bureau", "effects": ["read"]})
        await world.grant("bureau/pay_invoice", limits={"eur": "100.00", "per": "day"})
        yield db
    finally:
        await house.servers.aclose()
        process.terminate()
        await process.communicate()


def payments(db: Path) -> list[tuple[str, str]]:
    """What the office itself says was paid."""
    with closing(sqlite3.connect(db)) as store:
        return store.execute("select recipient, amount from payments order by n").fetchall()


@pytest.mark.claim("tool:no-effect-ungranted")
@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_a_day_with_the_official_client(house: House, bureau: Path, mode: ConnectMode, revision: str) -> None:
    await house.with_ask_policy()
    pay = {"recipient": "DE89370400440532013000", "amount": 80.1, "invoice": "inv-17", "key": "k"}
    async with agent(house, mode=mode) as client:
        assert client.protocol_version == revision
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"bureau__read_file", "bureau__pay_invoice"} <= names
        assert "bureau__delete_file" not in names
        read = await client.call_tool("bureau__read_file", {"id": "file-3"})
        assert not read.is_error
        assert read.structured_content is not None
        assert "4000.00 EUR" in read.structured_content["text"]
        waiting = await client.call_tool("bureau__pay_invoice", pay)
        assert waiting.is_error
        assert waiting.meta is not None
        decision = waiting.meta["remit/decision"]
        assert decision["decision"] == "ask"
        path = f"/v1/approvals/{decision['approval']['approval']}/answer"
        assert (await house.ask("POST", path, "approver", {"answer": "approve"})).status_code == 200
        assert not (await client.call_tool("bureau__pay_invoice", pay)).is_error
        for tool, arguments in (
            ("bureau__pay_invoice", {**pay, "amount": 4000, "key": "x"}),
            ("bureau__delete_file", {"id": "file-3"}),
            ("bureau__no_such_tool", {}),
        ):
            assert (await client.call_tool(tool, arguments)).is_error
    assert payments(bureau) == [("DE89370400440532013000", "80.10")]


async def test_the_official_client_on_the_door_of_one_server(house: House, bureau: Path) -> None:
    async with agent(house, "/mcp/bureau") as client:
        assert "list_mail" in {tool.name for tool in (await client.list_tools()).tools}
        listed = await client.call_tool("list_payments", {})
        assert listed.structured_content == {"items": []}
    assert payments(bureau) == []


@pytest.mark.claim("tool:no-effect-ungranted")
async def test_without_remit_the_same_client_pays_the_attacker(house: House, bureau: Path) -> None:
    """The negative control: the office itself checks nothing, so what it was not made to do, Remit stopped."""
    async with house.world.deps.store.view("main") as view:
        server = await view.nouns.named(Server, "bureau")
    assert server is not None
    url = server.transport.url  # type: ignore[union-attr]
    async with Client(streamable_http_client(url)) as client:
        evil = {"recipient": "DE66500105175441279831", "amount": 4000, "invoice": "inv-17", "key": "x"}
        assert not (await client.call_tool("pay_invoice", evil)).is_error
    assert payments(bureau) == [("DE66500105175441279831", "4000.00")]
