"""Come in here for programs of others before and behind a served Remit: the desk they meet at, and how each is driven.

Clients are made to do the same: a ``Visit`` is one connection, its list and its calls, whoever makes it.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.client import ConnectMode
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool

from conformance.programs import NotHere, client, install, program, sqlite_server
from tests.cli.program import process, served

EXPIRES: Final = "2099-01-01T00:00:00.000Z"
_SECONDS: Final = 60


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

    def govern(
        self,
        server: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        but: str = "",
        when: Mapping[str, str] | None = None,
        shared: bool = False,
    ) -> None:
        """Register a stdio server, review every tool as a read, and grant all ``but`` one to the agent.

        ``when`` has the conditions under which some of them are granted.
        """
        stdio = {"command": command[0], "args": list(command[1:]), "env": dict(env or {})}
        self.ask("/v1/servers", {"kind": "Server", "name": server, "stdio": stdio, "shared": shared})
        tools = self.ask(f"/v1/servers/{server}/sync", {})["tools"]
        for tool in tools:
            review = {"kind": "ToolReview", "server": server, "tool": tool["tool"].partition("/")[2]}
            review |= {"fingerprint": tool["fingerprint"], "effect": "read"}
            self.ask(f"/v1/tools/{tool['tool']}/review", review)
        conditions = {f"{server}/{tool}": condition for tool, condition in (when or {}).items()}
        grant = {"kind": "Grant", "agent": "worker", "expires": EXPIRES}
        plain = [tool["tool"] for tool in tools if tool["tool"] not in {f"{server}/{but}", *conditions}]
        if plain:
            self.ask("/v1/grants", {**grant, "tools": plain})
        for tool, condition in conditions.items():
            self.ask("/v1/grants", {**grant, "tools": [tool], "when": condition})
        if not self.key:
            self.ask("/v1/agents/worker", {"state": "active"}, "PATCH")
        self.key = self.new_key("session")

    def new_key(self, purpose: str) -> str:
        """A key of the agent's; one for sessions has a standing session of its own."""
        return str(self.ask("/v1/keys", {"agent": "worker", "for": purpose, "expires": "P1D"})["secret"])

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
        httpx.Client(
            base_url=running["url"],
            headers=person,
            trust_env=False,
            timeout=60,
            # A server ends an idle connection after 5 s; what a client has kept as long meets it as it ends.
            limits=httpx.Limits(keepalive_expiry=1),
        ) as http,
    ):
        desk = Desk(running["mcp"], http)
        agent = {"kind": "Agent", "name": "worker", "owner": "admin@localhost", "purpose": "Works with real servers"}
        desk.ask("/v1/agents", {**agent, "mode": "autonomous", "expires": EXPIRES})
        yield desk


def programs() -> None:
    """Have all of them, or skip where they can't be had (tests/skips.toml)."""
    try:
        install()
        program("node")
        sqlite_server()
    except NotHere as error:
        pytest.skip(str(error))


@asynccontextmanager
async def alone(command: list[str], env: dict[str, str] | None = None) -> AsyncIterator[Client]:
    """The official client on the server itself, with no Remit between them."""
    async with Client(StdioServerParameters(command=command[0], args=command[1:], env=env)) as client:
        yield client


def by_name(tools: list[Tool]) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def inspector(home: Path, *arguments: str) -> tuple[int, str]:
    """The inspector's command line, run to its end: its exit status, and what it wrote."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    code, said, complained = await ran(program("mcp-inspector", "--cli", *arguments), env=environment)
    return code, said or complained


@dataclass(frozen=True)
class Visit:
    """One connection to be made: over HTTP with a token, or to a program that is started; and what to call there."""

    calls: Sequence[tuple[str, dict[str, Any]]]
    url: str = ""
    token: str = ""
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What a client saw on one visit. Of a call: whether it was told of an error, and all that was said."""

    revision: str
    tools: tuple[str, ...]
    calls: tuple[tuple[bool, str], ...]


async def python_visits(mode: ConnectMode, visits: Sequence[Visit]) -> list[Seen]:
    """The official Python client."""
    return [await _python_visit(mode, visit) for visit in visits]


async def _python_visit(mode: ConnectMode, visit: Visit) -> Seen:
    headers = {"Authorization": f"Bearer {visit.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        if visit.url:
            there = streamable_http_client(visit.url, http_client=http)
        else:
            program, *arguments = visit.command
            there = stdio_client(StdioServerParameters(command=program, args=arguments, env=dict(visit.env)))
        async with Client(there, mode=mode) as client:
            tools = tuple([tool.name for tool in (await client.list_tools()).tools])
            results = [await client.call_tool(name, arguments) for name, arguments in visit.calls]
            told = tuple((bool(result.is_error), text(result)) for result in results)
            return Seen(client.protocol_version or "", tools, told)


async def typescript_visits(generation: str, mode: str | None, visits: Sequence[Visit]) -> list[Seen]:
    """The official TypeScript client, of either generation: one process for all visits."""
    plan = []
    for visit in visits:
        there: dict[str, Any] = {"url": visit.url, "token": visit.token}
        if visit.command:
            there = {"command": visit.command[0], "args": list(visit.command[1:]), "env": dict(visit.env)}
        calls = [{"name": name, "arguments": arguments} for name, arguments in visit.calls]
        plan.append({**there, "mode": mode, "calls": calls})
    code, said, complained = await ran(client(generation), json.dumps(plan).encode())
    assert code == 0, complained
    return [_seen(visit, complained) for visit in json.loads(said)]


def _seen(visit: dict[str, Any], complained: str) -> Seen:
    assert "error" not in visit, (visit, complained)
    told = []
    for call in visit["calls"]:
        result = call.get("result")
        if result is None:
            told.append((True, str(call["error"]["message"])))
        else:
            words = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
            told.append((bool(result.get("isError")), words))
    return Seen(visit["revision"], tuple([tool["name"] for tool in visit["tools"]]), tuple(told))


async def inspector_visits(home: Path, visits: Sequence[Visit]) -> list[Seen]:
    """The inspector's command line, which does one thing each time it is started, and says no revision."""
    return [await _inspector_visit(home, visit) for visit in visits]


async def _inspector_visit(home: Path, visit: Visit) -> Seen:
    there = (visit.url, "--transport", "http", "--header", f"Authorization: Bearer {visit.token}")
    code, said = await inspector(home, *there, "--method", "tools/list")
    assert code == 0, said
    tools = tuple([tool["name"] for tool in json.loads(said)["tools"]])
    told = []
    for name, arguments in visit.calls:
        given = [
            part
            for key, value in arguments.items()
            for part in ("--tool-arg", f"{key}={value if isinstance(value, str) else json.dumps(value)}")
        ]
        code, said = await inspector(home, *there, "--method", "tools/call", "--tool-name", name, *given)
        told.append((code != 0 or bool(json.loads(said).get("isError")), said))
    return Seen("", tools, tuple(told))


async def ran(command: Sequence[str], given: bytes = b"", env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """A program run to its end: its exit status, what it wrote and what it complained of."""
    running = await asyncio.create_subprocess_exec(
        *command,
        env=None if env is None else dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complained = await asyncio.wait_for(running.communicate(given), _SECONDS)
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    return running.returncode or 0, said.decode(), complained.decode()
