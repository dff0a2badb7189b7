"""Servers: credentials go in, and come out only on the way upstream."""

import json
from typing import Any

import pytest

from remit.core.errors import Forbidden, InvalidDocument, NameTaken, NotFound, StoreUnavailable, WrongState
from remit.core.servers import Server
from remit.services import servers
from remit.services.registry import find
from tests.services.world import PAY, World

pytestmark = pytest.mark.anyio

VALUE = "Bearer very-secret-value"
HTTP = {"kind": "Server", "name": "office", "url": "http://127.0.0.1:9/mcp"}
STDIO: dict[str, Any] = {
    "kind": "Server",
    "name": "git",
    "stdio": {"command": "/usr/bin/env", "env": {"PLAIN": "1", "TOKEN": "vault:GIT_TOKEN"}},
}


async def noun(world: World, name: str) -> Server:
    async with world.deps.store.view(world.deps.org) as view:
        return await find(view, Server, name)


@pytest.mark.claim("credential:never-returned")
async def test_a_stored_credential_is_in_no_answer_no_event_and_not_readable_in_the_store(world: World) -> None:
    await servers.add(world.deps, world.admin, HTTP)
    answer = await servers.store_secret(world.deps, world.admin, "office", "header", "Authorization", VALUE)
    assert answer["secrets"] == ["header:Authorization"]
    shown = [answer, await servers.get(world.deps, world.admin, "office")]
    shown += list(await servers.list_all(world.deps, world.admin))
    assert VALUE not in json.dumps(shown)
    everything = b"".join(await world.raw_leaves()) + b"".join(
        path.read_bytes() for path in world.path.glob("remit.db*")
    )
    assert b"very-secret-value" not in everything
    # The control: the gateway gets the very value, so it is there and was looked for in the right form.
    opened = await servers.secrets_of(world.deps, await noun(world, "office"))
    assert opened.headers == (("Authorization", VALUE),)
    assert "very-secret-value" not in repr(opened)


@pytest.mark.claim("credential:never-returned")
async def test_a_sealed_credential_opens_for_no_other_server(world: World) -> None:
    await servers.add(world.deps, world.admin, HTTP)
    await servers.add(world.deps, world.admin, {**HTTP, "name": "evil"})
    await servers.store_secret(world.deps, world.admin, "office", "header", "Authorization", VALUE)
    await servers.store_secret(world.deps, world.admin, "evil", "header", "Authorization", "x" * 8)
    office, evil = await noun(world, "office"), await noun(world, "evil")
    async with world.deps.store.unit(world.deps.org) as unit:
        sealed = await unit.secrets.get(f"{office.id}/header:Authorization")
        assert sealed is not None
        await unit.secrets.put(f"{evil.id}/header:Authorization", sealed)
    with pytest.raises(StoreUnavailable):
        await servers.secrets_of(world.deps, evil)


async def test_a_child_gets_the_listed_environment_and_its_stored_values(world: World) -> None:
    await servers.add(world.deps, world.admin, STDIO)
    with pytest.raises(NotFound):
        await servers.secrets_of(world.deps, await noun(world, "git"))
    await servers.store_secret(world.deps, world.admin, "git", "env", "GIT_TOKEN", "t0ken-of-git")
    await servers.store_secret(world.deps, world.admin, "git", "env", "OTHER", "other-one")
    opened = await servers.secrets_of(world.deps, await noun(world, "git"))
    assert dict(opened.env) == {"PLAIN": "1", "TOKEN": "t0ken-of-git", "OTHER": "other-one"}


@pytest.mark.parametrize(
    ("name", "place", "header", "value"),
    [
        ("office", "header", "X Y", "long-enough"),
        ("office", "header", "Host", "long-enough"),
        ("office", "header", "Mcp-Session-Id", "long-enough"),
        ("office", "header", "X", "a\r\nHost: evil"),
        ("office", "header", "X", ""),
        ("office", "header", "X", " padded-value"),
        ("office", "header", "X", "7-bytes"),
        ("office", "env", "TOKEN", "long-enough"),
        ("git", "header", "X", "long-enough"),
        ("git", "env", "A=B", "long-enough"),
        ("git", "env", "A", "long\x00enough"),
        ("git", "env", "A", "7-bytes"),
    ],
)
async def test_a_credential_that_cannot_stand_in_its_place_is_refused(
    world: World, name: str, place: servers.Place, header: str, value: str
) -> None:
    await servers.add(world.deps, world.admin, HTTP)
    await servers.add(world.deps, world.admin, STDIO)
    with pytest.raises(InvalidDocument):
        await servers.store_secret(world.deps, world.admin, name, place, header, value)


async def test_only_administrators_add_retire_and_hold_credentials(world: World) -> None:
    other = await world.person("rev@example.test", "reviewer", "owner", "approver", "auditor", "viewer")
    with pytest.raises(Forbidden):
        await servers.add(world.deps, other, HTTP)
    await servers.add(world.deps, world.admin, HTTP)
    with pytest.raises(Forbidden):
        await servers.store_secret(world.deps, other, "office", "header", "X", "long-enough")
    with pytest.raises(Forbidden):
        await servers.retire(world.deps, other, "office")


@pytest.mark.claim("registry:names-never-reused")
async def test_a_retired_server_keeps_its_name_loses_its_credentials_and_its_tools(world: World) -> None:
    await world.server(PAY)
    await world.review_pay()
    await servers.store_secret(world.deps, world.admin, "office", "header", "Authorization", VALUE)
    server = await noun(world, "office")
    answer = await servers.retire(world.deps, world.admin, "office")
    assert (answer["state"], answer["secrets"]) == ("retired", [])
    async with world.deps.store.view(world.deps.org) as view:
        assert await view.secrets.get(f"{server.id}/header:Authorization") == b""
    with pytest.raises(NameTaken):
        await servers.add(world.deps, world.admin, HTTP)
    with pytest.raises(WrongState):
        await world.sync(PAY)
    await world.agent()
    with pytest.raises(InvalidDocument, match="no approved tool"):
        await world.grant("office/pay_invoice")
