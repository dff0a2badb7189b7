"""A store comes to the version of its program: from nothing, by many at once, whole or not at all, never backwards."""

import resource
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import apsw
import pytest

from remit.core.errors import StoreUnavailable
from remit.storage.migrate import NEWEST, migrate, migrations
from tests.storage.children import SERVED, append, child, open_at_once
from tests.storage.contract_units import root
from tests.storage.home import STORE, opened, raw

pytestmark = pytest.mark.anyio


def shape(home: Path) -> list[tuple[object, ...]]:
    """Every table, index and trigger, and the version."""
    alone = raw(home)
    found = [tuple(row) for row in alone.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name")]
    found.append((alone.pragma("user_version"),))
    alone.close()
    return found


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [number for number, _ in migrations()] == list(range(1, NEWEST + 1))


async def test_an_empty_file_becomes_a_store_and_opening_it_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / STORE).touch()
    store = await opened(tmp_path)
    await append(store, "first")
    await store.close()
    before = shape(tmp_path)
    assert before[-1] == (NEWEST,)
    store = await opened(tmp_path)
    assert await append(store, "second") == 1
    await store.close()
    assert shape(tmp_path) == before


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.parametrize("turn", range(4))
async def test_processes_that_start_at_once_on_nothing_make_one_store(tmp_path: Path, turn: int) -> None:
    count = 2 + turn % 2
    go = SERVED.Barrier(count)
    with anyio.fail_after(60):
        said = await anyio.to_thread.run_sync(_start_all, tmp_path, go, count)
    assert set(said) == set(range(count))
    store = await opened(tmp_path)
    assert (await root(store))[0] == count
    await store.close()


def _start_all(home: Path, go: object, count: int) -> list[int | str]:
    if count == 0:
        return []
    with child(open_at_once, home, go) as one:
        rest = _start_all(home, go, count - 1)
        return [one.hear(), *rest]


async def test_a_store_of_a_newer_remit_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await append(store, "first")
    await store.close()
    alone = raw(tmp_path)
    alone.execute(f"PRAGMA user_version = {NEWEST + 1}")
    alone.close()
    before = shape(tmp_path)
    with pytest.raises(StoreUnavailable, match="newer Remit") as refusal:
        await opened(tmp_path)
    assert refusal.value.hint
    assert shape(tmp_path) == before
    # The control: at its own version the same file is a store.
    alone = raw(tmp_path)
    alone.execute(f"PRAGMA user_version = {NEWEST}")
    alone.close()
    store = await opened(tmp_path)
    assert await append(store, "second") == 1
    await store.close()


def test_a_migration_that_fails_leaves_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = apsw.Connection(":memory:")
    migrate(alone)
    before = alone.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
    broken = (*migrations(), (NEWEST + 1, "CREATE TABLE half (x); CREATE TABLE half (x);"))
    monkeypatch.setattr("remit.storage.migrate.migrations", lambda: broken)
    with pytest.raises(apsw.SQLError):
        migrate(alone)
    assert alone.pragma("user_version") == NEWEST
    assert alone.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall() == before
    assert not alone.in_transaction


async def test_a_disk_without_room_for_a_store_is_told_and_got_over(tmp_path: Path) -> None:
    with child(_open_with_little_room, tmp_path) as one:
        heard = one.hear_all()
    assert [what for what, _ in heard] == ["StoreUnavailable"] * (len(heard) - 1) + ["opened"]
    assert len(heard) > 3
    assert not any("transaction" in words for _, words in heard), "the cause is told, not what came of it"
    store = await opened(tmp_path)
    assert await append(store, "first") == 0
    await store.close()


def _open_with_little_room(say: Connection, home: Path) -> None:
    (home / "subjects").mkdir()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 1_000, 5_000, 20_000, 40_000, 80_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            anyio.run(opened, home)
        except StoreUnavailable as refusal:
            say.send((type(refusal).__name__, refusal.detail))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    anyio.run(opened, home)
    say.send(("opened", ""))
