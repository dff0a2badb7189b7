"""The agent: a real MCP client of the official SDK. Its brain is a script, and says so; there is no model here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a call answered: whether it went through, its text and structured content, and Remit's decision if any."""

    done: bool
    text: str
    content: dict[str, Any]
    decision: dict[str, Any]

    @property
    def reason(self) -> str:
        """The code of the first reason, or nothing."""
        reasons = self.decision.get("reasons") or [{}]
        return str(reasons[0].get("code", ""))


class Agent:
    """One connected agent."""

    def __init__(self, client: Client) -> None:
        """Use ``connected``."""
        self._client = client

    async def tools(self) -> list[str]:
        """The names of all tools that are listed."""
        return sorted(tool.name for tool in (await self._client.list_tools()).tools)

    async def call(self, tool: str, meta: dict[str, Any] | None = None, **arguments: Any) -> Said:
        """Call a tool by its flat name. ``meta`` goes along as ``_meta``."""
        result = await self._client.call_tool(tool, arguments, meta=meta)  # type: ignore[arg-type]
        text = "\n".join(block.text for block in result.content if block.type == "text")
        decision = (result.meta or {}).get("remit/decision", {})
        return Said(not result.is_error, text, result.structured_content or {}, decision)


@asynccontextmanager
async def connected(mcp: str, token: str) -> AsyncIterator[Agent]:
    """An agent that presents ``token`` to the MCP server at ``mcp``."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False) as http,
        Client(streamable_http_client(mcp, http_client=http)) as client,
    ):
        yield Agent(client)
