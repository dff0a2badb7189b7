"""People: who may add whom, and whom nobody may stop."""

import pytest

from remit.core.errors import Forbidden, InvalidDocument, NameTaken, NotFound, WrongState
from remit.core.events import Kind
from remit.guards.documents import check_answer
from remit.services import people
from tests.services.world import World

pytestmark = pytest.mark.anyio


async def test_the_first_person_has_every_role_and_is_the_only_first(world: World) -> None:
    assert world.admin.person.has("administrator")
    assert world.admin.person.has("reviewer")
    with pytest.raises(WrongState):
        await people.found(world.deps, "eve@example.test", "Eve")


async def test_the_founder_can_be_given_the_id_that_the_log_names_already(world: World) -> None:
    leaves = await world.leaves()
    assert (leaves[0]["k"], leaves[0]["actor"]) == (Kind.PERSON_ADDED, world.admin.person.id)


async def test_only_administrators_add_people(world: World) -> None:
    other = await world.person("rev@example.test", "reviewer", "owner", "approver", "auditor", "viewer")
    document = {"kind": "Person", "email": "x@example.test", "name": "X", "roles": ["administrator"]}
    with pytest.raises(Forbidden):
        await people.add(world.deps, other, document)
    check_answer("Person", await people.add(world.deps, world.admin, document))


async def test_an_address_is_used_once(world: World) -> None:
    await world.person("rev@example.test", "reviewer")
    with pytest.raises(NameTaken):
        await world.person("rev@example.test", "viewer")


async def test_a_person_without_a_role_is_refused(world: World) -> None:
    with pytest.raises(InvalidDocument):
        await world.person("x@example.test")


async def test_a_suspended_person_can_do_nothing_until_reinstated(world: World) -> None:
    boss = await world.person("boss@example.test", "administrator")
    await people.suspend(world.deps, world.admin, "boss@example.test")
    stopped = await world.signed_in(boss.person.id)
    with pytest.raises(Forbidden):
        await people.list_all(world.deps, stopped)
    with pytest.raises(WrongState):
        await people.suspend(world.deps, world.admin, boss.person.id)
    assert (await people.reinstate(world.deps, world.admin, boss.person.id))["state"] == "active"
    assert (await world.kinds())[-2:] == [Kind.PERSON_SUSPENDED, Kind.PERSON_CHANGED]


async def test_the_last_administrator_cannot_be_suspended(world: World) -> None:
    with pytest.raises(WrongState, match="last"):
        await people.suspend(world.deps, world.admin, world.admin.person.email)


async def test_an_unknown_person_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await people.get(world.deps, world.admin, "nobody@example.test")


async def test_no_address_and_no_name_stands_in_the_log(world: World) -> None:
    await world.person("very.private@example.test", "viewer")
    joined = b"".join(await world.raw_leaves())
    assert b"example.test" not in joined
    assert b"Ada" not in joined
