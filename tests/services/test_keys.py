"""Keys: one purpose, one showing, one end."""

import json

import pytest

from remit.core.credentials import HostCaller
from remit.core.errors import Forbidden, InvalidDocument, NotFound, Unauthenticated, WrongState
from remit.core.events import Kind
from remit.core.times import DAY, HOUR
from remit.guards.documents import check_answer
from remit.services import keys, people, sessions
from remit.services.authenticate import authenticate
from tests.services.world import World

pytestmark = pytest.mark.anyio

HOST = {"agent": "bookkeeper", "for": "host", "expires": "P30D"}


@pytest.mark.claim("credential:never-returned")
async def test_a_secret_is_shown_once_and_kept_nowhere(world: World) -> None:
    await world.live_agent()
    made = await keys.create(world.deps, world.admin, HOST)
    check_answer("Key", made)
    secret = str(made["secret"])
    listed = await keys.list_all(world.deps, world.admin)
    for line in listed:
        check_answer("Key", line)
    assert "secret" not in listed[0]
    stored = b"".join(path.read_bytes() for path in world.path.glob("remit.db*"))
    for text in (json.dumps(listed).encode(), stored, *(await world.raw_leaves())):
        assert secret.encode() not in text
    # The control: the very same text is a good credential.
    assert isinstance(await authenticate(world.deps, f"Bearer {secret}"), HostCaller)
    assert (await keys.list_all(world.deps, world.admin))[0]["last_used_at"] is not None


@pytest.mark.parametrize(
    "expires", ["P366D", "PT0S", "P1Y", "2020-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z", "soon"]
)
async def test_a_key_ends_in_the_future_and_within_a_year(world: World, expires: str) -> None:
    await world.live_agent()
    with pytest.raises(InvalidDocument):
        await keys.create(world.deps, world.admin, {**HOST, "expires": expires})


async def test_a_key_has_an_end_and_one_of_two_purposes(world: World) -> None:
    await world.live_agent()
    with pytest.raises(InvalidDocument):
        await keys.create(world.deps, world.admin, {"agent": "bookkeeper", "for": "host"})
    with pytest.raises(InvalidDocument):
        await keys.create(world.deps, world.admin, {**HOST, "for": "person"})
    with pytest.raises(NotFound):
        await keys.create(world.deps, world.admin, {**HOST, "agent": "nobody"})


async def test_a_revoked_key_is_dead_and_takes_its_sessions_with_it(world: World) -> None:
    await world.live_agent()
    made = await keys.create(world.deps, world.admin, HOST)
    caller = await authenticate(world.deps, f"Bearer {made['secret']}")
    assert isinstance(caller, HostCaller)
    started = await sessions.start(world.deps, caller, {"agent": "bookkeeper", "principal": "ada@example.test"})
    revoked = await keys.revoke(world.deps, world.admin, str(made["key"]))
    assert revoked["state"] == "revoked"
    with pytest.raises(Unauthenticated):
        await authenticate(world.deps, f"Bearer {made['secret']}")
    async with world.deps.store.view(world.deps.org) as view:
        session = await view.sessions.get(started.session.id)
    assert session is not None
    assert session.state == "killed"
    with pytest.raises(WrongState):
        await keys.revoke(world.deps, world.admin, str(made["key"]))
    assert (await world.kinds())[-1] == Kind.KEY_REVOKED


async def test_a_rotated_key_works_for_the_overlap_and_no_longer(world: World) -> None:
    await world.live_agent()
    old = await keys.create(world.deps, world.admin, {**HOST, "expires": "P20D"})
    new = await keys.rotate(world.deps, world.admin, str(old["key"]), HOUR)
    check_answer("Key", new)
    assert (new["for"], new["agent"]) == ("host", "bookkeeper")
    for made in (old, new):
        await authenticate(world.deps, f"Bearer {made['secret']}")
    world.later(HOUR)
    with pytest.raises(Unauthenticated):
        await authenticate(world.deps, f"Bearer {old['secret']}")
    await authenticate(world.deps, f"Bearer {new['secret']}")
    world.later(21 * DAY)
    with pytest.raises(WrongState):
        await keys.rotate(world.deps, world.admin, str(new["key"]))


async def test_the_key_of_a_suspended_owner_s_agent_is_not_handed_on(world: World) -> None:
    own = await world.person("own@example.test", "owner")
    await world.live_agent(owner="own@example.test")
    made = await keys.create(world.deps, world.admin, HOST)
    await people.suspend(world.deps, world.admin, own.person.id)
    with pytest.raises(WrongState):
        await keys.rotate(world.deps, world.admin, str(made["key"]))


async def test_keys_are_made_and_ended_by_owners_and_administrators_only(world: World) -> None:
    await world.live_agent()
    made = await keys.create(world.deps, world.admin, HOST)
    owner = await world.person("own@example.test", "owner", "approver")
    with pytest.raises(Forbidden):
        await keys.create(world.deps, owner, HOST)
    for step in (keys.revoke, keys.rotate):
        with pytest.raises(NotFound):
            await step(world.deps, owner, str(made["key"]))
    assert await keys.list_all(world.deps, owner) == ()
    auditor = await world.person("aud@example.test", "auditor")
    assert len(await keys.list_all(world.deps, auditor)) == 1
    with pytest.raises(Forbidden):
        await keys.revoke(world.deps, auditor, str(made["key"]))


async def test_a_person_key_answers_for_its_person_until_it_is_revoked(world: World) -> None:
    secret = await keys.create_person_key(world.deps, world.admin.person)
    caller = await authenticate(world.deps, f"Bearer {secret}")
    assert caller.key.startswith("key_")
    assert not isinstance(caller, HostCaller)
    world.later(3_000 * DAY)
    await authenticate(world.deps, f"Bearer {secret}")
    await keys.revoke(world.deps, world.admin, caller.key)
    with pytest.raises(Unauthenticated):
        await authenticate(world.deps, f"Bearer {secret}")
