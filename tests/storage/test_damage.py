"""Files that are taken away, spoilt or closed to us: a clear refusal, never an acknowledgement of what is not there."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import apsw
import pytest

from remit.core.agents import Agent
from remit.core.errors import StoreUnavailable
from remit.storage.instances import Instance
from remit.storage.subject_keys import SubjectKeys
from tests.services.world import SystemEntropy
from tests.storage.children import append, child, write_without_end
from tests.storage.contract_units import leaves, root
from tests.storage.home import STORE, opened, raw
from tests.storage.nouns import agent

pytestmark = pytest.mark.anyio

NOBODY = 65_534


async def _refused(home: Path) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as refusal:
        await opened(home)
    assert "apsw" not in str(refusal.value)
    return refusal.value


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.parametrize("gone", [["-wal"], ["-wal", "-shm"], [""], ["", "-wal", "-shm"]], ids=str)
async def test_a_store_whose_files_are_deleted_while_it_is_open_acknowledges_nothing_more(
    tmp_path: Path, gone: list[str]
) -> None:
    store = await opened(tmp_path)
    assert await append(store, "before") == 0
    for suffix in gone:
        (tmp_path / f"{STORE}{suffix}").unlink()
    for name in ("after", "still after"):
        with pytest.raises(StoreUnavailable, match="deleted or moved"):
            await append(store, name)
    await store.close()


@pytest.mark.claim("log:no-lost-record")
async def test_a_backup_moved_over_an_open_store_is_noticed(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await append(store, "before")
    shutil.copy(tmp_path / STORE, tmp_path / "backup.db")
    (tmp_path / "backup.db").replace(tmp_path / STORE)
    with pytest.raises(StoreUnavailable, match="deleted or moved"):
        await append(store, "after")
    await store.close()


async def test_sqlite_alone_goes_on_acknowledging_into_a_deleted_file(tmp_path: Path) -> None:
    """The control of the tests above: what is committed so is gone when the process is killed."""
    store = await opened(tmp_path)
    await append(store, "before")
    alone = raw(tmp_path)
    assert alone.execute("SELECT count(*) FROM secret").get == 1
    (tmp_path / f"{STORE}-wal").unlink()
    (tmp_path / f"{STORE}-shm").unlink()
    alone.execute("INSERT INTO secret VALUES ('main', 'acknowledged', x'00')")
    shutil.copytree(tmp_path, tmp_path / "as a kill leaves it")
    left = await opened(tmp_path / "as a kill leaves it")
    async with left.view("main") as view:
        assert await view.secrets.get("acknowledged") is None
    await left.close()
    alone.close()
    await store.close()


async def test_a_write_ahead_log_deleted_after_a_kill_leaves_an_earlier_whole_state(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(5):
        await append(store, f"kept {number}")
    await store.close()
    with child(write_without_end, tmp_path, 3) as writer:
        for _ in range(20):
            writer.hear()
        writer.kill()
    (tmp_path / f"{STORE}-wal").unlink()
    store = await opened(tmp_path)
    size, _ = await root(store)
    # What is missing can't be seen from inside: it shows against any head that was signed later and kept elsewhere.
    assert size >= 5
    assert await append(store, "goes on") == size
    await store.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"\0" * 100 + data[100:],
        lambda data: b"SQLite format 4\0" + data[16:],
        lambda _: b"no database at all, but long enough to be taken for one\n" * 20,
        lambda data: data[:16] + b"\xff" * 84 + data[100:],
        lambda data: data[:100] + b"\xff" * 4_000 + data[4_100:],
    ],
    ids=["zeroed header", "another format", "text", "spoilt header", "spoilt schema page"],
)
async def test_a_spoilt_file_is_refused_in_words(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    store = await opened(tmp_path)
    await append(store, "before")
    await store.close()
    path = tmp_path / STORE
    path.write_bytes(spoil(path.read_bytes()))
    assert STORE in (await _refused(tmp_path)).detail


async def test_spoilt_pages_are_refused_where_they_are_read(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(40):
        await append(store, f"e{number}", size=2_000)
    await store.close()
    path = tmp_path / STORE
    alone = raw(tmp_path)
    pages = [int(row[0]) for row in alone.execute("SELECT rootpage FROM sqlite_schema WHERE name IN ('leaf', 'noun')")]
    alone.close()
    data = bytearray(path.read_bytes())
    for page in pages:
        data[(page - 1) * 4_096 : (page - 1) * 4_096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    store = await opened(tmp_path)
    with pytest.raises(StoreUnavailable):
        await leaves(store)
    with pytest.raises(StoreUnavailable):
        async with store.unit("main") as unit:
            await unit.nouns.add(agent())
    await store.close()


async def test_a_row_that_nobody_here_wrote_is_refused_as_unreadable(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    async with store.unit("main") as unit:
        await unit.nouns.add(agent())
    alone = raw(tmp_path)
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"org":"main"}',
        b"\xff",
        alone.execute("SELECT body FROM noun").get[:-1] + b',"x":1}',
    ):
        alone.execute("UPDATE noun SET body = ?", (body,))
        with pytest.raises(StoreUnavailable, match="stored agent"):
            async with store.view("main") as view:
                await view.nouns.all(Agent)
    alone.close()
    await store.close()


async def test_a_broken_reader_is_not_used_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await append(store, "before")
    assert len(await leaves(store)) == 1
    for reader in store._readers:
        reader.close()
    with pytest.raises(StoreUnavailable):
        await leaves(store)
    assert len(await leaves(store)) == 1
    await store.close()


async def test_idle_readers_are_few_however_many_views_there_were_at_once(tmp_path: Path) -> None:
    store = await opened(tmp_path)

    async def read(reading: list[int], everybody_reads: anyio.Event) -> None:
        async with store.view("main") as view:
            reading.append(await view.log.size())
            if len(reading) == 60:
                everybody_reads.set()
            await everybody_reads.wait()

    for _ in range(3):
        reading, everybody_reads = list[int](), anyio.Event()
        async with anyio.create_task_group() as tasks:
            for _ in range(60):
                tasks.start_soon(read, reading, everybody_reads)
        assert len(store._readers) == 8
        assert _open_files(tmp_path / f"{STORE}-wal") <= 8 + 1
        # SQLite keeps handles of the database itself for reuse while any connection holds a lock on it.
        assert _open_files(tmp_path / STORE) <= 60 + 1
    await store.close()
    assert _open_files(tmp_path / STORE) == 0


def _open_files(path: Path) -> int:
    return sum(os.path.realpath(entry) == str(path) for entry in Path("/proc/self/fd").iterdir())


# Places that can't be opened.


async def test_a_store_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / STORE).mkdir(parents=True)
    for home in (tmp_path / "missing", tmp_path / "folder"):
        (home / "subjects").mkdir(parents=True, exist_ok=True)
    (tmp_path / "missing" / STORE).symlink_to(tmp_path / "missing" / "not" / "there")
    for home in (tmp_path / "missing", tmp_path / "folder", tmp_path / "file"):
        await _refused(home)


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A home that everybody may read and nobody but its owner may write."""
    home = Path(tempfile.mkdtemp())
    yield home
    home.chmod(0o755)
    shutil.rmtree(home)


@pytest.mark.parametrize("made", [True, False], ids=["a store in it", "nothing in it"])
async def test_a_folder_that_can_not_be_written_is_refused_in_words(closed_home: Path, *, made: bool) -> None:
    if made:
        store = await opened(closed_home)
        await append(store, "before")
        await store.close()
        (closed_home / STORE).chmod(0o444)
    (closed_home / "subjects").mkdir(exist_ok=True)
    closed_home.chmod(0o555)
    with child(_open_as_nobody, closed_home) as other:
        heard = other.hear()
    assert [kind for kind, _ in heard] == ["StoreUnavailable"] * 3
    assert not any("apsw" in words or "Errno" in words for _, words in heard)


def _open_as_nobody(say: Connection, home: Path) -> None:
    # Once before: what is imported at first use may stand where nobody may look.
    anyio.run(anyio.lowlevel.checkpoint)
    if os.geteuid() == 0:  # whom no mode bits stop
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    found = []
    for attempt in (
        lambda: anyio.run(opened, home),
        lambda: Instance(home, "i-1"),
        lambda: SubjectKeys(home / "keys", SystemEntropy()),
    ):
        try:
            attempt()
            found.append(("opened", ""))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to see it
            found.append((type(error).__name__, str(error)))
    say.send(found)


def test_apsw_itself_speaks_of_these_in_its_own_errors(tmp_path: Path) -> None:
    """The control: without the store's translation, its callers would meet these."""
    (tmp_path / STORE).write_bytes(b"no database at all\n" * 100)
    with pytest.raises(apsw.NotADBError):
        raw(tmp_path).execute("SELECT 1 FROM org")
