"""The office example behind our connections: a real MCP server, its effects read from its own SQLite file."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import jsonschema_rs
import pytest

from examples.office.reviews import FOLDER, for_tools, with_fingerprint
from remit.gateway.upstream import (
    Connection,
    HttpTarget,
    Limits,
    Result,
    StdioTarget,
    Target,
    UpstreamKey,
    Upstreams,
    list_tools,
)

pytestmark = pytest.mark.anyio
OFFICE = Path(__file__).parents[2] / "examples" / "office"
SERVER = str(OFFICE / "server.py")
KEY = UpstreamKey("main", "office", "ada", "ses_1")
PRINT = "sha256:" + "0" * 64


def stdio(db: Path, *flags: str) -> StdioTarget:
    return StdioTarget(sys.executable, (SERVER, "--db", str(db), *flags))


@asynccontextmanager
async def over_http(db: Path, *flags: str) -> AsyncIterator[HttpTarget]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, "--db", str(db), "--http", "0", *flags, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        yield HttpTarget(line.removeprefix("office: ").strip())
    finally:
        process.terminate()
        await process.communicate()


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Connection]:
    with anyio.fail_after(60):
        upstreams = Upstreams(lambda: 0.0, Limits())
        try:
            yield await upstreams.get(KEY, target)
        finally:
            await upstreams.aclose()


async def use(connection: Connection, tool: str, **arguments: object) -> dict[str, object]:
    params = json.dumps({"name": tool, "arguments": arguments}).encode()
    reply = await connection.call("tools/call", params, 20)
    assert isinstance(reply, Result), reply
    answer = json.loads(reply.raw)
    assert isinstance(answer, dict)
    return answer


def stored(db: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(db)) as store:
        return store.execute(query).fetchall()


async def spend_a_day(connection: Connection) -> None:
    """Every tool once, each answer held against the tool's own output schema."""
    tools = {tool["name"]: tool for tool in map(json.loads, await list_tools(connection))}
    day: list[tuple[str, dict[str, object]]] = [
        ("list_mail", {}),
        ("read_mail", {"id": "mail-1"}),
        ("send_mail", {"to": "ben@example.test", "subject": "Paid", "body": "Today."}),
        ("list_files", {}),
        ("read_file", {"id": "file-3"}),
        ("write_file", {"name": "minutes.txt", "text": "Nothing happened."}),
        ("delete_file", {"id": "file-2"}),
        ("list_invoices", {}),
        ("read_invoice", {"id": "inv-17"}),
        ("pay_invoice", {"recipient": "DE89 3704 0044 0532 0130 00", "amount": 80.1, "invoice": "inv-17", "key": "k"}),
        ("pay_invoice", {"recipient": "DE89370400440532013000", "amount": 80.10, "invoice": "inv-17", "key": "k"}),
        ("list_payments", {}),
    ]
    for tool, arguments in day:
        answer = await use(connection, tool, **arguments)
        assert not answer.get("isError"), answer
        jsonschema_rs.validate(tools[tool]["outputSchema"], answer["structuredContent"])
        assert json.loads(answer["content"][0]["text"]) == answer["structuredContent"]  # type: ignore[index]
    assert {tool for tool, _ in day} == set(tools)


def check_the_day(db: Path) -> None:
    assert stored(db, "select recipient, amount, invoice from payments") == [
        ("DE89370400440532013000", "80.10", "inv-17")
    ]
    assert stored(db, "select recipient, subject from mail where folder = 'sent'") == [("ben@example.test", "Paid")]
    assert stored(db, "select name from files order by n") == [("minutes.txt",), ("prices-2027.txt",)]


async def test_a_day_at_the_office_over_stdio(tmp_path: Path) -> None:
    db = tmp_path / "office.db"
    async with connected(stdio(db)) as connection:
        await spend_a_day(connection)
    check_the_day(db)


@pytest.mark.parametrize("flags", [(), ("--json-response",)], ids=["events", "json"])
async def test_a_day_at_the_office_over_http(tmp_path: Path, flags: tuple[str, ...]) -> None:
    db = tmp_path / "office.db"
    async with over_http(db, *flags) as target, connected(target) as connection:
        await spend_a_day(connection)
    check_the_day(db)


async def test_the_office_does_what_an_attacker_wants_of_it(tmp_path: Path) -> None:
    db = tmp_path / "office.db"
    async with connected(stdio(db)) as connection:
        read = await use(connection, "read_file", id="file-3")
        assert "4000.00 EUR" in read["structuredContent"]["text"]  # type: ignore[index]
        evil = {"recipient": "DE66500105175441279831", "amount": 4000, "invoice": "inv-17", "key": "x"}
        await use(connection, "pay_invoice", **evil)
    assert stored(db, "select recipient, amount from payments") == [("DE66500105175441279831", "4000.00")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": -1},
        {"amount": 0},
        {"amount": 1.001},
        {"amount": "80"},
        {"amount": True},
        {"invoice": "inv-99"},
        {"recipient": "nobody"},
        {"extra": 1},
        {"amount": 81, "key": "used"},
    ],
)
async def test_the_office_refuses_what_its_schema_and_records_do_not_allow(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    db = tmp_path / "office.db"
    good = {"recipient": "DE89370400440532013000", "amount": 80, "invoice": "inv-17", "key": "used"}
    async with connected(stdio(db)) as connection:
        assert not (await use(connection, "pay_invoice", **good)).get("isError")
        assert (await use(connection, "pay_invoice", **{**good, "key": "new", **wrong})).get("isError")
    assert stored(db, "select amount from payments") == [("80.00",)]


async def test_a_changed_definition_differs_in_one_tool_only(tmp_path: Path) -> None:
    db = tmp_path / "office.db"
    async with connected(stdio(db)) as connection:
        before = await list_tools(connection)
    async with connected(stdio(db)) as connection:
        again = await list_tools(connection)
    async with connected(stdio(db, "--changed-definition")) as connection:
        after = await list_tools(connection)
    assert before == again
    changed = [json.loads(new)["name"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["write_file"]


def test_seeding_makes_the_office_and_ends(tmp_path: Path) -> None:
    db = tmp_path / "office.db"
    subprocess.run([sys.executable, SERVER, "--db", str(db), "--seed"], check=True, stdin=subprocess.DEVNULL)
    assert stored(db, "select id, amount, currency from invoices") == [("inv-17", "80.00", "EUR")]


def test_every_tool_has_a_review_and_every_argument_and_field_a_line_in_it() -> None:
    tools = json.loads((OFFICE / "tools.json").read_text("utf-8"))
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {tool["name"] for tool in tools}
    for tool, review in zip(tools, for_tools({tool["name"]: PRINT for tool in tools}), strict=True):
        assert (review["server"], review["tool"], review["fingerprint"]) == ("office", tool["name"], PRINT)
        assert set(review["arguments"]) == {f"/{name}" for name in tool["inputSchema"]["properties"]}
        assert set(review["output"]["fields"]) == set(leaves(tool["outputSchema"]))
        assert (review["effect"] == "read") == tool["annotations"]["readOnlyHint"]


def leaves(schema: dict[str, dict[str, dict[str, dict[str, object]]]], at: str = "") -> list[str]:
    found = []
    for name, part in schema["properties"].items():
        found += leaves(part["items"], f"{at}/{name}/*") if part["type"] == "array" else [f"{at}/{name}"]  # type: ignore[comparison-overlap]
    return found


def test_a_review_is_not_completed_with_what_is_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 hex"):
        with_fingerprint(FOLDER / "read_file.yaml", "sha256:…")
    reviewed = tmp_path / "read_file.yaml"
    reviewed.write_text(json.dumps(with_fingerprint(FOLDER / "read_file.yaml", PRINT)), "utf-8")
    with pytest.raises(ValueError, match="without a fingerprint"):
        with_fingerprint(reviewed, PRINT)
