"""Programs that others wrote, as they are published: three npm servers behind Remit, and clients before it.

What a call did is read from the server's own files. The servers and the inspector are had from npm, see
``conformance/programs.py``.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool

from conformance.programs import NotHere, install, program
from tests.cli.program import process, served

# The first of them installs what is not installed yet.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

EXPIRES: Final = "2099-01-01T00:00:00.000Z"
MODES: Final[list[tuple[ConnectMode, str]]] = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    """Skip where the programs can't be had (tests/skips.toml)."""
    try:
        install()
        program("node")
    except NotHere as error:
        pytest.skip(str(error))


@dataclass
class Desk:
    """A served Remit, its administrator's hands, and an agent's session key once it has a server to work with."""

    mcp: str
    http: httpx.Client
    key: str = ""

    def ask(self, path: str, body: dict[str, Any], verb: str = "POST") -> Any:
        """One good answer to the administrator."""
        answer = self.http.request(verb, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def govern(self, server: str, command: list[str], env: dict[str, str] | None = None, *, but: str = "") -> None:
        """Register a stdio server, review every tool as a read, and grant all ``but`` one to the agent."""
        stdio = {"command": command[0], "args": command[1:], "env": env or {}}
        self.ask("/v1/servers", {"kind": "Server", "name": server, "stdio": stdio})
        tools = self.ask(f"/v1/servers/{server}/sync", {})["tools"]
        for tool in tools:
            review = {"kind": "ToolReview", "server": server, "tool": tool["tool"].partition("/")[2]}
            review |= {"fingerprint": tool["fingerprint"], "effect": "read"}
            self.ask(f"/v1/tools/{tool['tool']}/review", review)
        granted = [tool["tool"] for tool in tools if tool["tool"] != f"{server}/{but}"]
        self.ask("/v1/grants", {"kind": "Grant", "agent": "worker", "tools": granted, "expires": EXPIRES})
        self.ask("/v1/agents/worker", {"state": "active"}, "PATCH")
        self.key = self.ask("/v1/keys", {"agent": "worker", "for": "session", "expires": "P1D"})["secret"]

    @asynccontextmanager
    async def client(self, mode: ConnectMode, door: str = "") -> AsyncIterator[Client]:
        """The official client, with the agent's key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(f"{self.mcp}{door}", http_client=http), mode=mode) as client,
        ):
            yield client


@contextmanager
def opened(home: Path) -> Iterator[Desk]:
    """``remit init`` and ``remit up``, as real processes; an agent that has nothing yet."""
    made = process("--home", str(home), "init", "--quiet")
    assert made.returncode == 0, made.stderr
    person = {"Authorization": f"Bearer {(home / 'keys' / 'person.key').read_text().strip()}"}
    with (
        served(home) as (running, _),
        httpx.Client(base_url=running["url"], headers=person, trust_env=False, timeout=60) as http,
    ):
        desk = Desk(running["mcp"], http)
        agent = {"kind": "Agent", "name": "worker", "owner": "admin@localhost", "purpose": "Works with real servers"}
        desk.ask("/v1/agents", {**agent, "mode": "autonomous", "expires": EXPIRES})
        yield desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A served Remit."""
    with opened(tmp_path / "home") as made:
        yield made


@asynccontextmanager
async def alone(command: list[str], env: dict[str, str] | None = None) -> AsyncIterator[Client]:
    """The official client on the server itself, with no Remit between them."""
    async with Client(StdioServerParameters(command=command[0], args=command[1:], env=env)) as client:
        yield client


def by_name(tools: list[Tool]) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


@pytest.mark.parametrize(("mode", "revision"), MODES)
async def test_the_filesystem_server_writes_what_it_may_and_moves_nothing(
    desk: Desk, tmp_path: Path, mode: ConnectMode, revision: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    server = program("mcp-server-filesystem", str(folder))
    move = {"source": str(folder / "note.txt"), "destination": str(folder / "gone.txt")}
    async with alone(server) as client:
        itself = by_name((await client.list_tools()).tools)
    desk.govern("filesystem", server, but="move_file")
    async with desk.client(mode, "/filesystem") as client:
        assert client.protocol_version == revision
        listed = by_name((await client.list_tools()).tools)
        assert len(itself) > 10
        assert listed == {name: tool for name, tool in itself.items() if name != "move_file"}
        wrote = await client.call_tool("write_file", {"path": move["source"], "content": "from the agent\n"})
        assert not wrote.is_error, text(wrote)
        read = await client.call_tool("read_text_file", {"path": move["source"]})
        assert text(read) == "from the agent\n"
        outside = await client.call_tool("read_text_file", {"path": str(tmp_path / "home" / "keys" / "person.key")})
        assert outside.is_error
        assert "Access denied" in text(outside)
        refused = await client.call_tool("move_file", move)
        assert refused.is_error
        assert "tool.unknown" in text(refused)
    assert [file.name for file in folder.iterdir()] == ["note.txt"]
    assert (folder / "note.txt").read_text() == "from the agent\n"
    async with alone(server) as client:  # the negative control: the server itself would have moved it
        assert not (await client.call_tool("move_file", move)).is_error
    assert [file.name for file in folder.iterdir()] == ["gone.txt"]


@pytest.mark.parametrize(("mode", "revision"), MODES)
async def test_the_memory_server_remembers_what_was_said_through_remit(
    desk: Desk, tmp_path: Path, mode: ConnectMode, revision: str
) -> None:
    file = tmp_path / "memory.jsonl"
    env = {"MEMORY_FILE_PATH": str(file), "PATH": os.environ["PATH"]}
    desk.govern("memory", program("mcp-server-memory"), env, but="delete_entities")
    entity = {"name": "Remit", "entityType": "gateway", "observations": ["decides first"]}
    async with desk.client(mode) as client:
        assert client.protocol_version == revision
        assert len((await client.list_tools()).tools) == 8
        made = await client.call_tool("memory__create_entities", {"entities": [entity]})
        assert not made.is_error, text(made)
        graph = await client.call_tool("memory__read_graph", {})
        assert graph.structured_content == {"entities": [entity], "relations": []}
        refused = await client.call_tool("memory__delete_entities", {"entityNames": ["Remit"]})
        assert refused.is_error
    assert json.loads(file.read_text()) == {"type": "entity", **entity}


@pytest.mark.parametrize(("mode", "revision"), MODES)
async def test_the_everything_server_answers_through_remit_as_it_does_alone(
    desk: Desk, mode: ConnectMode, revision: str
) -> None:
    server = program("mcp-server-everything")
    desk.govern("everything", server, {"PATH": os.environ["PATH"]}, but="get-env")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("echo", {"message": "h\u00e9llo \u2603"}),
        ("get-sum", {"a": 19.5, "b": 22.5}),
        ("get-structured-content", {"location": "Chicago"}),
        ("get-tiny-image", {}),
        ("get-resource-links", {"count": 2}),
        ("get-sum", {"a": "no number"}),
    ]
    async with alone(server) as client:
        itself = [await client.call_tool(name, arguments) for name, arguments in calls[:-1]]
    async with desk.client(mode, "/everything") as client:
        assert client.protocol_version == revision
        assert "get-env" not in by_name((await client.list_tools()).tools)
        through = [await client.call_tool(name, arguments) for name, arguments in calls]
    assert [one.content for one in through[:-1]] == [one.content for one in itself]
    assert [one.structured_content for one in through[:-1]] == [one.structured_content for one in itself]
    assert "arguments.shape" in text(through[-1])


async def inspector(home: Path, *arguments: str) -> tuple[int, str]:
    """The inspector's command line, run to its end: its exit status, and what it wrote."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    child = await asyncio.create_subprocess_exec(
        *program("mcp-inspector", "--cli", *arguments),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await asyncio.wait_for(child.communicate(), 60)
    return child.returncode or 0, (said or complained).decode()


async def test_the_inspector_lists_and_calls_with_a_token_and_without_one_is_turned_away(
    desk: Desk, tmp_path: Path
) -> None:
    clock = str(Path(sys.executable).parent / "mcp-server-time")
    desk.govern("time", [clock], {}, but="convert_time")
    there = (desk.mcp, "--transport", "http")
    header = ("--header", f"Authorization: Bearer {desk.key}")
    code, said = await inspector(tmp_path, *there, "--method", "tools/list", *header)
    assert code == 0, said
    assert [tool["name"] for tool in json.loads(said)["tools"]] == ["time__get_current_time"]
    call = ("--method", "tools/call", "--tool-name", "time__get_current_time", "--tool-arg", "timezone=Europe/Paris")
    code, said = await inspector(tmp_path, *there, *call, *header)
    assert code == 0, said
    assert "Europe/Paris" in said
    code, said = await inspector(tmp_path, *there, "--method", "tools/list")
    assert code != 0
    assert "auth_required" in said, said
