"""Real kill -9, really full disks, files that are taken away or spoilt: no acknowledged record is lost."""

import contextlib
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest

from tests.storage.checks import EMPTY, Acknowledged, check
from tests.storage.children import append, child, write_on_a_full_disk, write_without_end
from tests.storage.contract_units import leaves
from tests.storage.home import opened
from tests.storage.nouns import event

pytestmark = pytest.mark.anyio

KILLS = 40


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.claim("log:append-only")
@pytest.mark.parametrize(("writers", "kills"), [(1, KILLS), (2, KILLS // 2), (3, KILLS // 4)])
async def test_no_acknowledged_unit_is_lost_and_none_is_there_in_part_after_kill_9(
    tmp_path: Path, writers: int, kills: int
) -> None:
    acknowledged: Acknowledged = []
    known = EMPTY
    for turn in range(kills):
        heard: Acknowledged = []
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(child(write_without_end, tmp_path, (1, 8, 3)[(turn + number) % 3]))
                for number in range(writers)
            ]
            for number, one in enumerate(running):
                # After so many acknowledgements, which is at any point of what is then under way.
                heard += [one.hear() for _ in range((7 * turn + 3 * number) % 12 + 1)]
                one.kill()
                heard += one.hear_all()
        acknowledged += heard
        assert len(dict(acknowledged)) == len(acknowledged), "an acknowledged index was given again"
        store = await opened(tmp_path)
        known = await check(store, heard, known)
        await store.close()
    store = await opened(tmp_path)
    await check(store, acknowledged)
    assert await append(store, "afterwards") == known.size
    await store.close()


@pytest.mark.claim("log:no-lost-record")
async def test_a_store_that_acknowledges_before_its_commit_does_lose_records(tmp_path: Path) -> None:
    """The control of the test above: the same kill, the same check, an acknowledgement that comes too early."""
    with child(_acknowledge_early, tmp_path) as early:
        said = early.hear()
        early.kill()
        heard = [said, *early.hear_all()]
    store = await opened(tmp_path)
    with pytest.raises(AssertionError):
        await check(store, heard)
    await store.close()


def _acknowledge_early(say: Connection, home: Path) -> None:
    async def work() -> None:
        store = await opened(home)
        async with store.unit("main") as unit:
            await unit.log.append(event(call="early"))
            say.send((0, "early"))
            await anyio.sleep_forever()

    anyio.run(work)


# A full disk.


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.parametrize(
    ("room", "size", "callers"),
    [(150_000, 20, 8), (700_000, 30_000, 3), (6_000_000, 100_000, 8)],
    ids=["log of writes", "pages of overflow", "after a checkpoint"],
)
async def test_a_full_disk_refuses_loses_nothing_and_is_got_over(
    tmp_path: Path, room: int, size: int, callers: int
) -> None:
    with child(write_on_a_full_disk, tmp_path, room, callers, size) as one:
        heard = one.hear_all()
    refused = [name for what, name in heard if what == "refused"]
    acknowledged = [(index, name) for index, name in heard if isinstance(index, int)]
    assert heard[-1] == ("again", 3 * callers), heard[-3:]
    assert set(refused) <= {"StoreUnavailable", "LogUnavailable"}
    # Each caller was refused once when the disk got full, and once more while it was.
    assert len(refused) == 2 * callers
    at = heard.index(("readable", len(acknowledged) - 3 * callers))
    assert len(heard) - at == 3 * callers + 2, "everything works again once there is room"
    store = await opened(tmp_path)
    await check(store, acknowledged)
    assert len(await leaves(store)) == len(acknowledged), "nothing that was refused is there"
    await store.close()


# Files that are not as they should be.
