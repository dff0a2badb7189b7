"""Agents: what activation asks for, what stops an agent, and what stays stopped."""

import multiprocessing
from typing import Any

import anyio.to_thread
import pytest

from remit.core.approvals import Approval
from remit.core.credentials import HostCaller
from remit.core.errors import Forbidden, InvalidDocument, NameTaken, WrongState
from remit.core.events import Kind
from remit.core.times import DAY
from remit.guards.documents import check_answer
from remit.services import agents, grants, keys, people, sessions
from tests.services.world import World, race_for_name

pytestmark = pytest.mark.anyio


async def host(world: World, name: str = "bookkeeper") -> HostCaller:
    """The host of an agent, with a live key."""
    made = await keys.create(world.deps, world.admin, {"agent": name, "for": "host", "expires": "P90D"})
    agent = await agents.get(world.deps, world.admin, name)
    return HostCaller(org=world.deps.org, key=str(made["key"]), agent=str(agent["id"]))


async def start(world: World, caller: HostCaller, name: str = "bookkeeper") -> sessions.Started:
    """A session of that agent for the administrator."""
    return await sessions.start(world.deps, caller, {"agent": name, "principal": world.admin.person.email})


@pytest.mark.claim("registry:activation-needs-owner-purpose-expiry-grant")
async def test_activation_names_each_thing_that_is_missing(world: World) -> None:
    await world.agent("bare", owner=None, purpose=None, expires=None)
    with pytest.raises(WrongState) as refused:
        await agents.activate(world.deps, world.admin, "bare")
    for words in ("an owner", "a purpose", "an expiry", "a live grant"):
        assert words in refused.value.detail


@pytest.mark.claim("registry:activation-needs-owner-purpose-expiry-grant")
@pytest.mark.parametrize(
    ("member", "words"), [("owner", "an owner"), ("purpose", "a purpose"), ("expires", "an expiry")]
)
async def test_an_agent_that_lacks_one_member_is_not_activated(world: World, member: str, words: str) -> None:
    await world.live_agent("control")
    await world.agent("lacking", **{member: None})
    await world.grant("office/read_mail", agent="lacking")
    with pytest.raises(WrongState) as refused:
        await agents.activate(world.deps, world.admin, "lacking")
    assert words in refused.value.detail
    assert ";" not in refused.value.detail, "and nothing else is missing"


@pytest.mark.claim("registry:activation-needs-owner-purpose-expiry-grant")
async def test_an_agent_with_a_past_expiry_a_dead_grant_or_a_suspended_owner_is_not_activated(world: World) -> None:
    await world.live_agent("control")
    owner = await world.person("own@example.test", "owner")
    await world.agent("late", expires=world.in_future(DAY), owner="own@example.test")
    grant = await world.grant("office/read_mail", agent="late")
    await grants.revoke(world.deps, world.admin, str(grant["id"]))
    with pytest.raises(WrongState, match="a live grant"):
        await agents.activate(world.deps, world.admin, "late")
    await world.grant("office/read_mail", agent="late")
    await people.suspend(world.deps, world.admin, owner.person.id)
    with pytest.raises(WrongState, match="an owner who is an active person"):
        await agents.activate(world.deps, world.admin, "late")
    await people.reinstate(world.deps, world.admin, owner.person.id)
    assert (await agents.activate(world.deps, world.admin, "late"))["state"] == "active"
    await agents.suspend(world.deps, world.admin, "late")
    world.later(2 * DAY)
    with pytest.raises(WrongState, match="an expiry in the future"):
        await agents.activate(world.deps, world.admin, "late")


@pytest.mark.claim("registry:names-never-reused")
async def test_the_name_of_a_retired_agent_is_never_used_again(world: World) -> None:
    await world.agent("once")
    await agents.retire(world.deps, world.admin, "once")
    with pytest.raises(NameTaken):
        await world.agent("once")
    for step in (agents.activate, agents.suspend, agents.retire):
        with pytest.raises(WrongState):
            await step(world.deps, world.admin, "once")


@pytest.mark.claim("registry:names-never-reused")
async def test_two_processes_that_add_one_name_at_once_get_it_once(world: World) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2), context.Queue()
    children = [context.Process(target=race_for_name, args=(world.path, "office", barrier, outcomes)) for _ in range(2)]
    for child in children:
        child.start()
    found = [await anyio.to_thread.run_sync(outcomes.get, True, 60) for _ in children]
    for child in children:
        await anyio.to_thread.run_sync(child.join, 60)
    assert sorted(found) == ["added", "taken"]
    assert (await world.kinds()).count(Kind.SERVER_ADDED) == 1


@pytest.mark.claim("registry:not-live-refused")
async def test_a_stopped_agent_starts_nothing(world: World) -> None:
    await world.live_agent()
    caller = await host(world)
    await start(world, caller)
    await agents.suspend(world.deps, world.admin, "bookkeeper")
    with pytest.raises(WrongState):
        await start(world, caller)
    await agents.activate(world.deps, world.admin, "bookkeeper")
    await start(world, caller)
    world.later(31 * DAY)
    with pytest.raises(WrongState):
        await start(world, caller)
    await agents.retire(world.deps, world.admin, "bookkeeper")
    with pytest.raises(WrongState):
        await start(world, caller)


@pytest.mark.claim("registry:not-live-refused")
async def test_an_agent_whose_owner_is_suspended_starts_nothing_and_gets_no_key(world: World) -> None:
    owner = await world.person("own@example.test", "owner")
    await world.live_agent("control")
    await world.agent("mine", owner="own@example.test")
    await world.grant("office/read_mail", agent="mine")
    await agents.activate(world.deps, owner, "mine")
    caller = await host(world, "mine")
    await start(world, caller, "mine")
    await people.suspend(world.deps, world.admin, owner.person.id)
    with pytest.raises(WrongState):
        await start(world, caller, "mine")
    with pytest.raises(WrongState):
        await host(world, "mine")
    stopped = await world.signed_in(owner.person.id)
    for step in (agents.suspend, agents.activate, agents.retire):
        with pytest.raises(Forbidden):
            await step(world.deps, stopped, "mine")


async def test_a_draft_gets_no_key(world: World) -> None:
    await world.agent("draft")
    with pytest.raises(WrongState):
        await host(world, "draft")


async def test_owners_stop_their_own_agents_and_no_others(world: World) -> None:
    owner = await world.person("own@example.test", "owner")
    await world.live_agent()
    for step in (agents.suspend, agents.retire):
        with pytest.raises(Forbidden):
            await step(world.deps, owner, "bookkeeper")
    with pytest.raises(Forbidden):
        await agents.kill(world.deps, owner, "bookkeeper", "because")
    with pytest.raises(Forbidden):
        await agents.create(world.deps, owner, {"kind": "Agent", "name": "theirs", "owner": "ada@example.test"})
    mine = await agents.create(world.deps, owner, {"kind": "Agent", "name": "mine", "owner": "own@example.test"})
    check_answer("Agent", mine)
    assert (await agents.retire(world.deps, owner, "mine"))["state"] == "retired"


async def test_a_kill_stops_the_agent_and_its_sessions_and_counts_them(world: World) -> None:
    await world.live_agent()
    caller = await host(world)
    for _ in range(2):
        await start(world, caller)
    answer: dict[str, Any] = await agents.kill(world.deps, world.admin, "bookkeeper", "poisoned: called eve@evil.test")
    check_answer("Killed", answer)
    assert answer["killed"] == {"sessions": 2, "tokens": 2, "approvals": 0, "agents": 1, "calls": 0}
    assert (await world.kinds())[answer["event"]] == Kind.AGENT_KILLED
    assert (await agents.get(world.deps, world.admin, "bookkeeper"))["state"] == "suspended"
    again = await agents.kill(world.deps, world.admin, "bookkeeper", "again")
    assert again["killed"] == {"sessions": 0, "tokens": 0, "approvals": 0, "agents": 0, "calls": 0}
    assert b"evil" not in b"".join(await world.raw_leaves())


async def test_a_kill_voids_what_waits_for_a_person(world: World) -> None:
    await world.live_agent()
    session = (await start(world, await host(world))).session
    question = Approval(
        org=session.org,
        id=world.deps.new_id("apr"),
        kind="call",
        state="pending",
        agent=session.agent,
        chain=session.chain,
        session=session.id,
        root=session.root,
        credential=session.key,
        tool="office/read_mail",
        fingerprint="sha256:" + "0" * 64,
        server="srv",
        server_fingerprint=None,
        arguments=b"{}",
        arguments_hash="sha256:" + "0" * 64,
        references=(),
        policy_version="",
        authority_version="",
        asked_at=world.clock.at,
        expires_at=world.clock.at + DAY,
        asked_event=0,
    )
    async with world.deps.store.unit(world.deps.org) as unit:
        await unit.approvals.add(question)
    answer: dict[str, Any] = await agents.kill(world.deps, world.admin, "bookkeeper", "because")
    assert answer["killed"]["approvals"] == 1
    async with world.deps.store.view(world.deps.org) as view:
        voided = await view.approvals.get(question.id)
    assert voided is not None
    assert voided.state == "void"


async def test_a_change_gives_another_owner_but_never_takes_what_a_live_agent_needs(world: World) -> None:
    await world.live_agent()
    await world.person("own@example.test", "owner")
    file = {
        "kind": "Agent",
        "name": "bookkeeper",
        "owner": "own@example.test",
        "purpose": "Pays",
        "expires": world.in_future(),
    }
    changed = await agents.change(world.deps, world.admin, file)
    assert (changed["owner"], changed["state"]) == ("own@example.test", "active")
    with pytest.raises(WrongState, match="a purpose"):
        await agents.change(world.deps, world.admin, {**file, "purpose": " "})
    with pytest.raises(WrongState):
        await agents.change(world.deps, world.admin, {**file, "mode": "autonomous"})
    with pytest.raises(InvalidDocument):
        await agents.change(world.deps, world.admin, {**file, "state": "draft"})


async def test_no_purpose_stands_in_the_log(world: World) -> None:
    await world.agent()
    joined = b"".join(await world.raw_leaves())
    assert b"supplier" not in joined
    assert b"bookkeeper" not in joined
