"""The SQLite store keeps the contract."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from remit.core.ports import PayloadSealer
from remit.storage.sqlite import SqliteStore
from tests.storage.contract import StoreContract
from tests.storage.home import make_sealer, opened


class TestSqlite(StoreContract):
    """The contract, on a file in a temporary folder."""

    @pytest.fixture
    def sealer(self, tmp_path: Path) -> PayloadSealer:
        return make_sealer(tmp_path)

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = await opened(tmp_path)
        yield store
        await store.close()

    @pytest.fixture
    async def another(self, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[SqliteStore]]]:
        made: list[SqliteStore] = []

        async def make() -> SqliteStore:
            made.append(await opened(tmp_path))
            return made[-1]

        yield make
        for one in made:
            await one.close()
