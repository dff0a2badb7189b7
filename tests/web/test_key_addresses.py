"""Keys with networks over real HTTP: the connection's own address counts, and a header only from a trusted proxy."""

from dataclasses import replace
from typing import Any

import pytest

from tests.services.world import World
from tests.web.house import House, Upstream, open_house

pytestmark = pytest.mark.anyio

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ELSEWHERE, HERE = "192.0.2.0/24", "127.0.0.0/8"


async def key(house: House, purpose: str, network: str) -> str:
    """The secret of a key for use from this network."""
    body = {"agent": "bookkeeper", "for": purpose, "expires": "P1D", "addresses": [network]}
    answer = await house.ask("POST", "/v1/keys", "administrator", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


async def both(house: House, network: str, **headers: Any) -> set[int]:
    """The statuses at both doors: a session is started with a host key, and MCP is spoken with a session key."""
    start = {"agent": "bookkeeper", "principal": "ada@example.test"}
    given = {"headers": {name.replace("_", "-"): value for name, value in headers.items()}}
    api = await house.ask("POST", "/v1/sessions", await key(house, "host", network), start, **given)
    mcp = await house.ask("POST", "/mcp", await key(house, "session", network), PING, **given)
    return {api.status_code // 100, mcp.status_code // 100}


@pytest.mark.claim("key:only-from-its-networks")
async def test_without_a_trusted_proxy_no_header_moves_a_client(house: House) -> None:
    assert await both(house, HERE) == {2}, "the control"
    assert await both(house, ELSEWHERE) == {4}
    assert await both(house, ELSEWHERE, x_forwarded_for="192.0.2.7") == {4}
    assert await both(house, ELSEWHERE, forwarded="for=192.0.2.7", x_real_ip="192.0.2.7") == {4}
    assert await both(house, HERE, x_forwarded_for="192.0.2.7") == {2}


@pytest.mark.claim("key:only-from-its-networks")
async def test_behind_a_trusted_proxy_the_client_that_it_names_counts(world: World) -> None:
    world.deps = replace(world.deps, trusted_proxies=("127.0.0.1/32",))
    async with open_house(world, Upstream()) as house:
        assert await both(house, ELSEWHERE, x_forwarded_for="192.0.2.7") == {2}
        assert await both(house, ELSEWHERE, x_forwarded_for="192.0.2.7, 203.0.113.9") == {4}
        assert await both(house, ELSEWHERE) == {4}
        assert await both(house, HERE, x_forwarded_for="192.0.2.7") == {4}
