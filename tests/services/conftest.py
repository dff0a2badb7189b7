"""A founded organization for every test of a service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remit.core.credentials import PersonCaller
from remit.services import people
from remit.services.sealing import Sealer
from remit.storage.sqlite import create_store
from remit.storage.subject_keys import SubjectKeys
from tests.services.desk import Desk, make_desk
from tests.services.world import HandClock, SystemEntropy, World, make_deps


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path, anyio_backend: str) -> AsyncIterator[World]:
    """A founded organization."""
    clock = HandClock()
    sealer = Sealer(SubjectKeys(tmp_path / "subjects", SystemEntropy()), SystemEntropy())
    store = await create_store(tmp_path / "remit.db", clock, sealer)
    deps = make_deps(store, clock, sealer)
    first = await people.found(deps, "ada@example.test", "Ada")
    yield World(deps, clock, PersonCaller(org=deps.org, key="key_0", person=first), tmp_path)
    await store.close()


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    """A working agent: it may read mail, and pay 100 EUR a call and 250 EUR a day."""
    made = await make_desk(world)
    yield made
    for store in made.others:
        await store.close()
