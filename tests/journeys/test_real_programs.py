"""Programs that others wrote, as they are published: three npm servers behind Remit, and clients before it.

What a call did is read from the server's own files. The servers and the inspector are had from npm, see
``conformance/programs.py``.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client.client import ConnectMode

from conformance.programs import program
from tests.journeys.real import Desk, alone, by_name, inspector, opened, programs, text

# The first of them installs what is not installed yet.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

MODES: Final[list[tuple[ConnectMode, str]]] = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A served Remit; skipped where the programs can't be had (tests/skips.toml)."""
    programs()
    with opened(tmp_path_factory.mktemp("remit") / "home") as made:
        yield made


@pytest.mark.parametrize(("mode", "revision"), MODES)
async def test_the_filesystem_server_writes_what_it_may_and_moves_nothing(
    desk: Desk, tmp_path: Path, mode: ConnectMode, revision: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (tmp_path / "secret").write_text("not for the agent")
    server = program("mcp-server-filesystem", str(folder))
    move = {"source": str(folder / "note.txt"), "destination": str(folder / "gone.txt")}
    async with alone(server) as client:
        itself = by_name((await client.list_tools()).tools)
    name = f"filesystem-{mode}"
    desk.govern(name, server, but="move_file")
    async with desk.client(mode, f"/{name}") as client:
        assert client.protocol_version == revision
        listed = by_name((await client.list_tools()).tools)
        assert len(itself) > 10
        assert listed == {name: tool for name, tool in itself.items() if name != "move_file"}
        wrote = await client.call_tool("write_file", {"path": move["source"], "content": "from the agent\n"})
        assert not wrote.is_error, text(wrote)
        read = await client.call_tool("read_text_file", {"path": move["source"]})
        assert text(read) == "from the agent\n"
        outside = await client.call_tool("read_text_file", {"path": str(tmp_path / "secret")})
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
    name = f"memory-{mode}"
    desk.govern(name, program("mcp-server-memory"), env, but="delete_entities")
    entity = {"name": "Remit", "entityType": "gateway", "observations": ["decides first"]}
    async with desk.client(mode) as client:
        assert client.protocol_version == revision
        flat = by_name((await client.list_tools()).tools)
        assert len([tool for tool in flat if tool.startswith(f"{name}__")]) == 8
        made = await client.call_tool(f"{name}__create_entities", {"entities": [entity]})
        assert not made.is_error, text(made)
        graph = await client.call_tool(f"{name}__read_graph", {})
        assert graph.structured_content == {"entities": [entity], "relations": []}
        refused = await client.call_tool(f"{name}__delete_entities", {"entityNames": ["Remit"]})
        assert refused.is_error
    assert json.loads(file.read_text()) == {"type": "entity", **entity}


@pytest.mark.parametrize(("mode", "revision"), MODES)
async def test_the_everything_server_answers_through_remit_as_it_does_alone(
    desk: Desk, mode: ConnectMode, revision: str
) -> None:
    server = program("mcp-server-everything")
    name = f"everything-{mode}"
    desk.govern(name, server, {"PATH": os.environ["PATH"]}, but="get-env")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("echo", {"message": "h\u00e9llo \u2603"}),
        ("get-sum", {"a": 19.5, "b": 22.5}),
        ("get-structured-content", {"location": "Chicago"}),
        ("get-tiny-image", {}),
        ("get-resource-links", {"count": 2}),
        ("get-sum", {"a": "no number"}),
    ]
    async with alone(server) as client:
        itself = [await client.call_tool(tool, arguments) for tool, arguments in calls[:-1]]
    async with desk.client(mode, f"/{name}") as client:
        assert client.protocol_version == revision
        assert "get-env" not in by_name((await client.list_tools()).tools)
        through = [await client.call_tool(tool, arguments) for tool, arguments in calls]
    assert [one.content for one in through[:-1]] == [one.content for one in itself]
    assert [one.structured_content for one in through[:-1]] == [one.structured_content for one in itself]
    assert "arguments.shape" in text(through[-1])


async def test_the_inspector_lists_and_calls_with_a_token_and_without_one_is_turned_away(
    desk: Desk, tmp_path: Path
) -> None:
    clock = str(Path(sys.executable).parent / "mcp-server-time")
    desk.govern("time", [clock], {}, but="convert_time")
    there = (desk.mcp, "--transport", "http")
    header = ("--header", f"Authorization: Bearer {desk.key}")
    code, said = await inspector(tmp_path, *there, "--method", "tools/list", *header)
    assert code == 0, said
    listed = [tool["name"] for tool in json.loads(said)["tools"]]
    assert [name for name in listed if name.startswith("time__")] == ["time__get_current_time"]
    call = ("--method", "tools/call", "--tool-name", "time__get_current_time", "--tool-arg", "timezone=Europe/Paris")
    code, said = await inspector(tmp_path, *there, *call, *header)
    assert code == 0, said
    assert "Europe/Paris" in said
    code, said = await inspector(tmp_path, *there, "--method", "tools/list")
    assert code != 0
    assert "auth_required" in said, said
