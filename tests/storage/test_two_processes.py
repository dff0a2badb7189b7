"""Two processes on one store: what is counted is counted once, and neither shuts the other out."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.storage.children import SERVED, append, child, look_then_take, take_from_limit, write_without_end
from tests.storage.contract_units import root
from tests.storage.home import opened

pytestmark = pytest.mark.anyio

LIMIT = 60


def together(work: Callable[..., None], home: Path, count: int, *arguments: Any) -> list[Any]:
    """What each of ``count`` processes says that start this work at the same moment."""
    go = SERVED.Barrier(count)
    with ExitStack() as stack:
        children = [stack.enter_context(child(work, home, go, *arguments)) for _ in range(count)]
        return [one.hear() for one in children]


async def made(home: Path) -> None:
    store = await opened(home)
    await store.close()


@pytest.mark.claim("budget:exact-under-concurrency")
@pytest.mark.parametrize(("processes", "callers"), [(2, 1), (2, 8), (3, 4)])
async def test_processes_at_once_take_exactly_what_a_limit_allows(tmp_path: Path, processes: int, callers: int) -> None:
    await made(tmp_path)
    taken = together(take_from_limit, tmp_path, processes, LIMIT, callers)
    assert sum(taken) == LIMIT
    store = await opened(tmp_path)
    async with store.view("main") as view:
        assert await view.counters.taken("scope", "eur", 0) == (0, LIMIT)
    await store.close()


@pytest.mark.claim("budget:exact-under-concurrency")
async def test_looking_in_one_unit_and_taking_in_another_passes_the_limit(tmp_path: Path) -> None:
    """The control: why a sum is read and held in one unit of work."""
    await made(tmp_path)
    assert together(look_then_take, tmp_path, 2, 1) == [1, 1]
    store = await opened(tmp_path)
    async with store.view("main") as view:
        assert await view.counters.taken("scope", "eur", 0) == (0, 2)
    await store.close()


@pytest.mark.claim("log:no-lost-record")
async def test_a_process_that_writes_without_pause_does_not_shut_out_another(tmp_path: Path) -> None:
    with child(write_without_end, tmp_path, 16) as busy:
        busy.hear()
        store = await opened(tmp_path)
        indices = [await append(store, f"ours {turn}") for turn in range(20)]
        busy.kill()
        theirs = [index for index, _ in busy.hear_all()]
    assert indices == sorted(indices)
    assert set(indices).isdisjoint(theirs)
    size, _ = await root(store)
    assert size > max(indices)
    await store.close()
