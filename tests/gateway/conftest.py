"""A served Remit for every test of the MCP door."""

from collections.abc import AsyncIterator

import pytest

from tests.services.conftest import world as world
from tests.services.world import World
from tests.web.house import House, Upstream, open_house


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    """Both doors, an upstream, and one working agent."""
    async with open_house(world, Upstream()) as opened:
        yield opened
