"""The official client before Remit, the official SDK's server behind it: resources, prompts and completion."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client, MCPError, types
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client

from remit.services import servers
from tests.gateway.test_proxy_client import agent
from tests.web.house import House

pytestmark = pytest.mark.anyio
SERVER = Path(__file__).parent / "surface_server.py"
MODES: list[ConnectMode] = ["auto", "legacy"]


@pytest.fixture
async def library(house: House, tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """The server as ``library``; notes may be read but not those of ``b``, one prompt got, and both completed."""
    effects, world = tmp_path / "effects", house.world
    effects.touch()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(SERVER), str(effects), stdout=pipe)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        await servers.add(world.deps, world.admin, {"kind": "Server", "name": "library", "url": url})
        await house.servers.sync(world.admin, "library")
        for name in ("resources/read", "resources/list", "prompts/get:greet", "completion/complete"):
            await world.review(f"library/{name}")
        await world.grant("library/resources/read", when='context.args.uri != "note:///b"')
        await world.grant("library/resources/list", "library/prompts/get:greet", "library/completion/complete")
        yield url, effects
    finally:
        await house.servers.aclose()
        process.terminate()
        await process.communicate()


def done(effects: Path) -> list[list[str]]:
    """What the server says was done."""
    return [json.loads(line) for line in effects.read_text().splitlines()]


@pytest.mark.claim("surface:hidden-alike")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flat", [True, False])
async def test_the_official_client_reads_gets_and_completes_what_it_is_granted(
    house: House, library: tuple[str, Path], mode: ConnectMode, flat: bool
) -> None:
    uris, names = ("library+", "library__") if flat else ("", "")
    async with agent(house, "/mcp" if flat else "/mcp/library", mode=mode) as client:
        assert client.server_capabilities is not None
        assert client.server_capabilities.resources is not None
        listed = [one.uri for one in (await client.list_resources()).resources]
        assert listed == [f"{uris}note:///a", f"{uris}note:///b"]
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == f"{uris}note:///{{id}}"
        [content] = (await client.read_resource(listed[0])).contents
        assert isinstance(content, types.TextResourceContents)
        assert content.text == "about note:///a"
        assert [one.name for one in (await client.list_prompts()).prompts] == [f"{names}greet"]
        got = await client.get_prompt(f"{names}greet", {"who": "Ada"})
        assert [one.role for one in got.messages] == ["user", "assistant"]
        reference = types.PromptReference(type="ref/prompt", name=f"{names}greet")
        assert (await client.complete(reference, {"name": "who", "value": "A"})).completion.values == ["Ada", "Alan"]
        with pytest.raises(MCPError, match=r"policy\.denied"):
            await client.read_resource(listed[1])
        for hidden in (f"{names}plans", f"{names}none"):
            with pytest.raises(MCPError, match=r"tool\.unknown"):
                await client.get_prompt(hidden)
            with pytest.raises(MCPError, match=r"tool\.unknown"):
                await client.complete(types.PromptReference(type="ref/prompt", name=hidden), {"name": "a", "value": ""})
    assert done(library[1]) == [["read", "note:///a"], ["get", "greet"], ["complete", "ref/prompt"]]


async def test_without_remit_the_same_client_reads_and_gets_all_of_it(library: tuple[str, Path]) -> None:
    """The negative control: the server checks nothing, so what it did not do above, Remit stopped."""
    async with Client(streamable_http_client(library[0])) as client:
        await client.read_resource("note:///b")
        await client.get_prompt("plans")
    assert done(library[1]) == [["read", "note:///b"], ["get", "plans"]]
