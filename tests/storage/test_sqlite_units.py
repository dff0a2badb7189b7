"""How the SQLite store runs its units: what shares a batch, what takes a batch back, and who is told what."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import apsw
import pytest

from remit.audit import tree
from remit.core.agents import Agent
from remit.core.errors import InternalError, LogUnavailable, StoreUnavailable
from remit.core.ports import Unit
from remit.storage.sqlite import SqliteStore
from tests.storage.children import append
from tests.storage.contract_units import leaves, root
from tests.storage.home import STORE, opened, raw
from tests.storage.nouns import ChangedMind, agent, event, undone

pytestmark = pytest.mark.anyio


async def until(condition: Callable[[], object]) -> None:
    """Wait, with a bound, until this holds."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def outcome(store: SqliteStore, name: str, size: int = 20) -> str:
    """Append in a unit of its own; how it ended."""
    try:
        await append(store, name, size)
    except (StoreUnavailable, LogUnavailable) as refusal:
        return type(refusal).__name__
    return "acknowledged"


def fill(store: SqliteStore) -> None:
    """No page more for this store: SQLite's own full disk."""
    store._writer.pragma("max_page_count", int(str(store._writer.pragma("page_count"))))


def make_room(store: SqliteStore) -> None:
    """As many pages as one likes."""
    store._writer.pragma("max_page_count", 10**6)


# What SQLite takes back by itself.


@pytest.mark.claim("log:no-lost-record")
async def test_units_beside_one_that_fills_the_disk_are_refused_with_it_and_later_ones_are_not(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await append(store, "before")
    fill(store)
    found: dict[str, str] = {}

    async def run(name: str, size: int) -> None:
        found[name] = await outcome(store, name, size)

    async with anyio.create_task_group() as tasks:
        # All wait for the same batch. SQLite takes it back whole in the middle.
        for name, size in (("early", 20), ("large", 200_000), ("late", 20), ("later", 20)):
            tasks.start_soon(run, name, size)
    assert found == {
        "early": "StoreUnavailable",
        "large": "LogUnavailable",
        "late": "acknowledged",
        "later": "acknowledged",
    }
    make_room(store)
    assert await append(store, "large", 200_000) == 3
    assert (await root(store))[0] == 4
    await store.close()


@pytest.mark.claim("log:no-lost-record")
async def test_a_unit_that_goes_on_after_its_batch_was_taken_back_writes_nothing(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await append(store, "before")
    fill(store)

    async def stubborn(unit: Unit) -> None:
        await unit.secrets.put("first", b"x")
        for size in (200_000, 20, 20):
            with pytest.raises(LogUnavailable):
                await unit.log.append(event(private={"/text": "x" * size}))
        await unit.secrets.put("last", b"x")

    with pytest.raises(StoreUnavailable):
        async with store.unit("main") as unit:
            await stubborn(unit)
    async with store.view("main") as view:
        assert [await view.secrets.get(name) for name in ("first", "last")] == [None, None]
    assert (await root(store))[0] == 1
    make_room(store)
    assert await append(store, "after") == 1
    await store.close()


async def test_in_plain_sqlite_statements_after_such_a_rollback_commit_one_by_one(tmp_path: Path) -> None:
    """The control of the test above: why nothing but a batch's own COMMIT may commit."""
    store = await opened(tmp_path)
    await store.close()
    alone = raw(tmp_path)
    alone.pragma("max_page_count", int(str(alone.pragma("page_count"))))
    alone.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.FullError):
        alone.execute("INSERT INTO secret VALUES ('main', 'large', zeroblob(200000))")
    alone.execute("INSERT INTO secret VALUES ('main', 'small', x'00')")
    alone.close()
    store = await opened(tmp_path)
    async with store.view("main") as view:
        assert await view.secrets.get("small") == b"\0"
    await store.close()


async def test_nothing_but_a_batch_commits_on_the_writing_connection(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(apsw.ConstraintError):
        store._writer.execute("INSERT INTO secret VALUES ('main', 'beside', x'00')")
    assert await append(store, "after") == 0
    async with store.view("main") as view:
        assert await view.secrets.get("beside") is None
    await store.close()


@pytest.mark.claim("log:no-lost-record")
async def test_a_commit_that_fails_fails_every_unit_of_its_batch_and_no_other(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    _make_commit_fail_on_orphans(store, tmp_path)
    found: dict[str, str] = {}

    async def orphan() -> None:
        try:
            async with store.unit("main") as unit:
                await unit.log.append(event())
                store._writer.execute("INSERT INTO orphan VALUES (1)")
        except StoreUnavailable as refusal:
            found["orphan"] = refusal.detail

    async def run(name: str) -> None:
        found[name] = await outcome(store, name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "before")
        tasks.start_soon(orphan)
        tasks.start_soon(run, "after")
    assert "could not be written" in found.pop("orphan")
    assert found == {"before": "StoreUnavailable", "after": "StoreUnavailable"}
    assert (await root(store))[0] == 0
    assert await append(store, "next batch") == 0
    await store.close()


def _make_commit_fail_on_orphans(store: SqliteStore, home: Path) -> None:
    """A constraint that SQLite checks at COMMIT only."""
    alone = raw(home)
    alone.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    alone.execute("CREATE TABLE orphan (of INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    alone.close()
    store._writer.pragma("foreign_keys", 1)


# Exceptions and cancellation.


async def test_a_unit_that_is_cancelled_harms_nobody_in_its_batch(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    kept: list[int] = []
    inside = anyio.Event()

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            async with store.unit("main") as unit:
                await unit.log.append(event(call="cancelled"))
                inside.set()
                scope.cancel()
                await anyio.sleep_forever()

    async def waits_for_the_disk() -> None:
        with anyio.CancelScope() as scope:
            async with store.unit("main") as unit:
                await unit.log.append(event(call="given up"))
                # Its work is done and stays in the batch; whoever asked for it goes away while the disk is awaited.
                scope.cancel()

    async def stays() -> None:
        kept.append(await append(store, "stays"))

    async with anyio.create_task_group() as tasks:
        for work in (stays, cancelled, stays, waits_for_the_disk, stays):
            tasks.start_soon(work)
    assert inside.is_set()
    assert len(set(kept)) == len(kept) == 3
    size, _ = await root(store)
    # One that was given up after its work is in the log and nobody was told so: that is what ``unknown`` is for.
    assert size == 4
    await store.close()


async def test_a_unit_cancelled_while_another_process_holds_the_store_leaves_no_lock_behind(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    other = raw(tmp_path)
    for cancels in (1, 3):
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(append(store, "given up"))
        await until(lambda: store._disk._threads and store._turn.locked())
        for _ in range(cancels):
            waiting.cancel()
            await anyio.lowlevel.checkpoint()
        assert not waiting.done(), "the connection is in use on the other thread"
        other.execute("COMMIT")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # Neither this process nor another one is shut out.
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        await append(store, "goes on")
    assert (await root(store))[0] == 2
    other.close()
    await store.close()


async def test_a_unit_waits_for_another_process_and_the_event_loop_does_not(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    other = raw(tmp_path)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(append(store, "patient"))
    await until(store._turn.locked)
    assert await leaves(store) == (), "views go on meanwhile"
    other.execute("COMMIT")
    assert await waiting == 0
    other.close()
    await store.close()


async def test_closing_waits_for_a_unit_that_waits_for_another_process(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    other = raw(tmp_path)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(append(store, "patient"))
    await until(lambda: store._disk._threads)
    closing = asyncio.create_task(store.close())
    await anyio.lowlevel.checkpoint()
    other.execute("COMMIT")
    await closing
    assert await waiting == 0
    other.close()


async def test_an_exception_in_the_only_unit_of_a_batch_leaves_nothing_and_blocks_nobody(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    other = raw(tmp_path)
    await undone(store, lambda unit: unit.nouns.add(agent()))
    await until(lambda: not store._commits)
    other.execute("BEGIN IMMEDIATE")
    other.execute("COMMIT")
    async with store.view("main") as view:
        assert await view.nouns.all(Agent) == ()
    other.close()
    await store.close()


async def test_an_error_of_the_database_in_a_unit_is_told_as_the_stores_own(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(StoreUnavailable) as refusal:
        async with store.unit("main"):
            store._writer.execute("INSERT INTO nowhere VALUES (1)")
    assert isinstance(refusal.value.__cause__, apsw.Error)
    with pytest.raises(ChangedMind):
        async with store.unit("main"):
            raise ChangedMind
    assert await append(store, "after") == 0
    await store.close()


# Event loops and threads.


async def test_a_store_refuses_the_event_loop_of_another_thread(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    refused: list[str] = []

    async def use() -> None:
        for kind in (store.unit, store.view):
            try:
                async with kind("main"):
                    refused.append("served")
            except InternalError as error:
                refused.append(error.code)

    await anyio.to_thread.run_sync(anyio.run, use)
    assert refused == ["internal_error"] * 2
    await append(store, "here")
    await store.close()


@pytest.mark.claim("log:no-lost-record")
def test_two_event_loops_of_one_process_each_with_a_store_of_its_own_write_one_log(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    start = threading.Barrier(2)

    async def write() -> None:
        store = await opened(tmp_path)
        start.wait(20)

        async def caller(number: int) -> None:
            names = [f"{threading.get_ident()}-{number}-{turn}" for turn in range(10)]
            acknowledged.extend([await append(store, name) for name in names])

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(caller, number)
        await store.close()

    async def check() -> None:
        store = await opened(tmp_path)
        assert (await root(store))[0] == 80
        await store.close()

    threads = [threading.Thread(target=anyio.run, args=(write,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(acknowledged) == list(range(80))
    anyio.run(check)


# The log's own table, and names.


@pytest.mark.claim("log:append-only")
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE leaf SET data = x'00' WHERE idx = 1",
        "UPDATE leaf SET idx = 9 WHERE idx = 1",
        "DELETE FROM leaf WHERE idx = 2",
        "DELETE FROM leaf",
        "INSERT OR REPLACE INTO leaf (org, idx, kind, data) VALUES ('main', 1, 60, x'00')",
        "INSERT INTO leaf (org, idx, kind, data) VALUES ('main', 1, 60, x'00') ON CONFLICT DO UPDATE SET data = x'00'",
    ],
)
async def test_no_statement_changes_or_takes_away_a_leaf(tmp_path: Path, attack: str) -> None:
    store = await opened(tmp_path)
    for number in range(3):
        await append(store, f"e{number}")
    before = await root(store)
    alone = raw(tmp_path)
    with pytest.raises(apsw.ConstraintError, match="the log only grows"):
        alone.execute(attack)
    assert await root(store) == before
    # The control: who may change the schema can do it all the same, and the tree shows it.
    for trigger in ("leaf_stays", "leaf_kept", "leaf_once"):
        alone.execute(f"DROP TRIGGER {trigger}")
    alone.execute(attack)
    alone.close()
    entries = await leaves(store)
    frontier, _ = tree.Frontier().extend(tree.leaf_hash(entry.leaf) for entry in entries)
    indices = [entry.index for entry in entries]
    assert (frontier.size, frontier.root(), indices) != (*before, [0, 1, 2])
    await store.close()


@pytest.mark.claim("registry:names-never-reused")
@pytest.mark.parametrize(("collation", "other"), [("NOCASE", "Bookkeeper"), ("RTRIM", "bookkeeper  ")])
def test_a_store_that_folds_names_would_take_another_name_for_the_first(
    tmp_path: Path, collation: str, other: str
) -> None:
    """The control of ``test_names_are_compared_byte_for_byte``: the same table as many a database makes it."""
    alone = apsw.Connection(str(tmp_path / STORE))
    alone.execute(f"CREATE TABLE noun (name TEXT COLLATE {collation} PRIMARY KEY)")
    alone.execute("INSERT INTO noun VALUES ('bookkeeper')")
    assert alone.execute("SELECT name FROM noun WHERE name = ?", (other,)).get == "bookkeeper"
    with pytest.raises(apsw.ConstraintError):
        alone.execute("INSERT INTO noun VALUES (?)", (other,))
    alone.close()
