"""Open streams and a real ``remit up``: what stays open by itself must not keep the process from stopping."""

import json
from pathlib import Path

import anyio
import pytest

from remit.gateway import revisions
from tests.gateway.streaming import BOTH, params_for
from tests.journeys.stage import furnished, up

pytestmark = pytest.mark.anyio


async def test_a_remit_that_is_told_to_stop_ends_its_subscriptions_and_stops(tmp_path: Path) -> None:
    """Otherwise it would wait for them as for calls under way: longer than the longest upstream call."""
    params = params_for(revisions.NEWEST, {"notifications": {"toolsListChanged": True}})
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    async with furnished(tmp_path / "home") as home, up(home) as live:
        headers = {"authorization": f"Bearer {home.credentials['token']}", "accept": BOTH}
        headers |= {"mcp-protocol-version": revisions.NEWEST, "mcp-method": "subscriptions/listen"}
        async with live.http.stream("POST", "/mcp", headers=headers, json=message) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "event: message"
            assert "acknowledged" in await anext(lines)
            with anyio.fail_after(30):
                live.process.terminate()
                said = [line.removeprefix("data: ") async for line in lines if line.startswith("data: ")]
                assert [json.loads(line)["result"]["resultType"] for line in said] == ["complete"]
                assert await live.process.wait() == 0
