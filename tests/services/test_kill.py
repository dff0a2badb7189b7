"""The kill switch: what dies with an agent, a session, a key or a person; what is marked; and what can't slip through."""

import multiprocessing
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from remit.core.calls import ProposedCall
from remit.core.credentials import SessionCaller
from remit.core.decisions import Allow, Ask
from remit.core.errors import AlreadyAnswered, InvalidDocument, NotFound, Unauthenticated, WrongState
from remit.core.events import Kind
from remit.guards.documents import check_answer
from remit.services import agents, approve, keys, people, sessions
from remit.services.authenticate import authenticate
from remit.services.decide import open_call
from remit.services.sealing import Sealer
from remit.storage.sqlite import open_store
from remit.storage.subject_keys import SubjectKeys
from tests.services.desk import Desk, allowed, as_session_caller, codes, done, host_of
from tests.services.world import HandClock, SystemEntropy, World, make_deps

pytestmark = pytest.mark.anyio

SECRET = {"content": [{"type": "text", "text": "the combination is 1-2-3-4"}]}
Kill = Callable[[Desk, SessionCaller], Awaitable[Any]]


async def _person(desk: Desk, session: SessionCaller) -> Any:
    del session
    await desk.world.person("eve@example.test", "administrator")
    return await people.suspend(desk.deps, desk.world.admin, desk.world.admin.person.id)


KILLS: dict[str, Kill] = {
    "agent kill": lambda desk, _: agents.kill(desk.deps, desk.world.admin, "bookkeeper", "leak"),
    "agent retire": lambda desk, _: agents.retire(desk.deps, desk.world.admin, "bookkeeper"),
    "session kill": lambda desk, one: sessions.kill(desk.deps, desk.world.admin, one.session, "leak"),
    "key revoke": lambda desk, _: keys.revoke(desk.deps, desk.world.admin, desk.host.key),
    "person suspend": _person,
}


async def helper_of(world: World, name: str = "helper") -> Any:
    """The host of another agent that may read mail."""
    await world.agent(name)
    await world.grant("office/read_mail", agent=name)
    await agents.activate(world.deps, world.admin, name)
    return await host_of(world, name)


async def of_kind(world: World, kind: Kind) -> list[dict[str, Any]]:
    return [leaf for leaf in await world.leaves() if leaf["k"] == kind]


@pytest.mark.claim("kill:nothing-in-flight-is-shown")
@pytest.mark.parametrize("name", KILLS)
async def test_what_a_call_in_flight_brings_back_after_a_kill_is_shown_to_nobody(desk: Desk, name: str) -> None:
    """The control is another call of the same session, closed before the kill."""
    session = await desk.session()
    before, during = await desk.open(session), await desk.open(session)
    assert (await desk.close(session, before, done(SECRET))).result == SECRET
    await KILLS[name](desk, session)
    delivery = await desk.close(session, during, done(SECRET))
    assert "combination" not in str(delivery.result)
    assert delivery.withheld
    assert isinstance(during.verdict, Allow)
    (mark,) = await of_kind(desk.world, Kind.INTERRUPTED)
    assert (mark["intent"], mark["session"], mark["tool"]) == (during.verdict.intent, session.session, during.tool)
    outcome = (await of_kind(desk.world, Kind.OUTCOME))[-1]
    assert (outcome["intent"], outcome["outcome"], outcome["codes"]) == (
        during.verdict.intent,
        "done",
        ["result.stopped"],
    )


@pytest.mark.claim("kill:nothing-in-flight-is-shown")
async def test_a_session_that_ends_in_good_order_still_gets_its_answer(desk: Desk) -> None:
    session = await desk.session()
    decision = await desk.open(session)
    await sessions.end(desk.deps, desk.host, session.session, "done")
    assert (await desk.close(session, decision, done(SECRET))).result == SECRET
    assert await of_kind(desk.world, Kind.INTERRUPTED) == []


async def test_what_was_paid_in_flight_stays_paid(desk: Desk) -> None:
    """A kill gives nothing back: the amount of a call under way counts as its outcome says."""
    await desk.world.without_demands()
    session = await desk.session()
    decision = await desk.pay(session, 100)
    await sessions.kill(desk.deps, desk.world.admin, session.session, "leak")
    await desk.close(session, decision, done(SECRET))
    fresh = await desk.session()
    assert allowed(await desk.pay(fresh, 100))
    assert codes(await desk.pay(fresh, 100)) == ["budget.exceeded"]


@pytest.mark.claim("kill:down-the-tree")
@pytest.mark.parametrize("name", KILLS)
async def test_a_kill_takes_every_child_and_what_waits_and_leaves_what_stands_beside(desk: Desk, name: str) -> None:
    """Children of children, started with another agent's key. The other agent's own session is the control."""
    await desk.with_ask_policy()
    helper = await helper_of(desk.world)
    await desk.world.grant("office/pay_invoice", agent="helper")
    root = await desk.session()
    child = await desk.session(helper, parent=root.session)
    grandchild = await desk.session(parent=child.session)
    carl = await desk.world.person("carl@example.test", "viewer")
    await desk.world.person("own@example.test", "owner")
    beside = await desk.session(helper, principal=carl.person.email)
    asked = await desk.pay(root)
    below = await desk.pay(grandchild, 81)
    assert isinstance(asked.verdict, Ask)
    assert isinstance(below.verdict, Ask)
    size = len(await desk.world.leaves())
    answer = await KILLS[name](desk, root)
    if name in ("agent kill", "session kill"):
        check_answer("Killed", answer)
        assert answer["killed"]["sessions"] == answer["killed"]["tokens"] == 3
        assert answer["killed"]["approvals"] == 2
    for session in (root, child, grandchild):
        assert not allowed(await desk.open(session))
        async with desk.deps.store.view("main") as view:
            stored = await view.sessions.get(session.session)
        assert stored is not None
        assert stored.state == "killed", "and not only refused: it does not come back when what stopped it is undone"
    written = [leaf["k"] for leaf in (await desk.world.leaves())[size:]]
    assert written.count(Kind.SESSION_KILLED) == (4 if name == "person suspend" else 3)
    assert written.count(Kind.APPROVAL_VOID) == 2
    if name != "person suspend":  # she owns the other agent too
        assert allowed(await desk.open(beside))


@pytest.mark.claim("kill:down-the-tree")
async def test_what_a_suspended_person_s_agents_had_running_does_not_come_back_with_them(desk: Desk) -> None:
    await desk.world.person("eve@example.test", "administrator")
    eve = next(one for one in await people.list_all(desk.deps, desk.world.admin) if one["email"] == "eve@example.test")
    root = await desk.world.signed_in(str(eve["id"]))
    session = await desk.session()
    await people.suspend(desk.deps, root, desk.world.admin.person.id)
    await people.reinstate(desk.deps, root, desk.world.admin.person.id)
    assert codes(await desk.open(session)) == ["session.not_live"]
    assert allowed(await desk.open(await desk.session())), "a new one is the control"


@pytest.mark.claim("kill:down-the-tree")
@pytest.mark.parametrize("name", ["agent kill", "session kill", "key revoke"])
async def test_no_child_outlives_its_parent_nor_is_started_under_it_any_more(desk: Desk, name: str) -> None:
    helper = await helper_of(desk.world)
    root = await desk.session()
    other = await desk.another_process()
    await KILLS[name](desk, root)
    for deps in (desk.deps, other):
        request: Any = {"agent": "helper", "principal": desk.principal, "parent": root.session}
        with pytest.raises(InvalidDocument):
            await sessions.start(deps, helper, request)
    assert allowed(await desk.open(await desk.session(helper)))


@pytest.mark.claim("kill:down-the-tree")
async def test_a_kill_in_the_middle_of_a_tree_leaves_what_is_above(desk: Desk) -> None:
    helper = await helper_of(desk.world)
    root = await desk.session()
    child = await desk.session(helper, parent=root.session)
    grandchild = await desk.session(parent=child.session)
    await agents.kill(desk.deps, desk.world.admin, "helper", "leak")
    assert not allowed(await desk.open(child))
    assert not allowed(await desk.open(grandchild))
    assert allowed(await desk.open(root))


@pytest.mark.claim("kill:down-the-tree")
@pytest.mark.parametrize("name", ["agent kill", "session kill", "key revoke"])
async def test_an_answer_that_comes_after_the_kill_opens_nothing(desk: Desk, name: str) -> None:
    """Also one given in another process. The control is the same question, answered before."""
    await desk.with_ask_policy()
    session = await desk.session()
    first = await desk.pay(session)
    await desk.answer(first)
    assert allowed(await desk.pay(session)), "the control"
    waiting, said_yes = await desk.pay(session, 81), await desk.pay(session, 82)
    await desk.answer(said_yes)
    other = await desk.another_process()
    await KILLS[name](desk, session)
    assert isinstance(waiting.verdict, Ask)
    assert isinstance(said_yes.verdict, Ask)
    for deps in (desk.deps, other):
        with pytest.raises(AlreadyAnswered, match="void"):
            await approve.answer(deps, desk.world.admin, waiting.verdict.approval, {"answer": "approve"})
        for amount in (81, 82):
            assert not allowed(await desk.pay(session, amount, deps=deps))
    for asked in (waiting, said_yes):
        assert isinstance(asked.verdict, Ask)
        assert (await approve.show(desk.deps, desk.world.admin, asked.verdict.approval)).state == "void"


@pytest.mark.claim("kill:down-the-tree")
@pytest.mark.parametrize("name", ["agent kill", "session kill", "key revoke"])
async def test_a_killed_session_gets_no_token_and_its_key_no_new_standing_session(desk: Desk, name: str) -> None:
    request: Any = {"agent": "bookkeeper", "for": "session", "expires": "P1D"}
    made = await keys.create(desk.deps, desk.world.admin, request)
    header = f"Bearer {made['secret']}"
    standing = as_session_caller(await authenticate(desk.deps, header))
    session = await desk.session()
    await KILLS[name](desk, session)
    with pytest.raises((WrongState, NotFound)):
        await sessions.renew(desk.deps, desk.host, session.session)
    if name == "agent kill":
        with pytest.raises(Unauthenticated):
            await authenticate(desk.deps, header)
        assert not allowed(await desk.open(standing))


# ------------------------------------------------------------------------------------------------------- two processes


def open_until_refused(path: Path, session: SessionCaller, most: int, heard: Any) -> None:
    """In a process of its own: open calls until one is refused; says when three were allowed, and how many were."""
    anyio.run(_open_until_refused, path, session, most, heard)


async def _open_until_refused(path: Path, session: SessionCaller, most: int, heard: Any) -> None:
    clock = HandClock(10**13)
    sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
    store = await open_store(path / "remit.db", clock, sealer)
    async with store.view("main") as view:
        known = await view.sessions.get(session.session)
    assert known is not None
    clock.at = known.created
    deps = make_deps(store, clock, sealer)
    count = 0
    try:
        while count < most:
            decision = await open_call(deps, session, ProposedCall(f"r{count}", "office/read_mail", {"id": "m1"}))
            if not isinstance(decision.verdict, Allow):
                break
            count += 1
            if count == 3:
                heard.put("running")
    finally:
        await store.close()
        heard.put(count)


async def race(desk: Desk, session: SessionCaller, kill: Kill | None, most: int) -> int:
    """Let another process open calls, kill in the midst of it; how many it was allowed."""
    spawn = multiprocessing.get_context("spawn")
    heard = spawn.Queue()
    process = spawn.Process(target=open_until_refused, args=(desk.world.path, session, most, heard))
    process.start()
    try:
        assert await anyio.to_thread.run_sync(lambda: heard.get(timeout=60)) == "running"
        if kill is not None:
            await kill(desk, session)
        return int(await anyio.to_thread.run_sync(lambda: heard.get(timeout=60)))
    finally:
        await anyio.to_thread.run_sync(process.join)


@pytest.mark.claim("kill:no-intent-after")
@pytest.mark.parametrize("name", ["agent kill", "session kill", "key revoke"])
async def test_no_intent_follows_a_kill_in_the_log_and_each_one_before_it_is_marked(desk: Desk, name: str) -> None:
    """Another process opens calls as fast as it can. Without a kill it is allowed every one, which is the control."""
    session = await desk.session(ttl="P1D")
    count = await race(desk, session, KILLS[name], 2_000)
    assert 3 <= count < 2_000
    leaves = await desk.world.leaves()
    (killed,) = [leaf["i"] for leaf in leaves if leaf["k"] == Kind.SESSION_KILLED]
    intents = [leaf["i"] for leaf in leaves if leaf["k"] == Kind.INTENT]
    assert len(intents) == count
    assert max(intents) < killed
    assert {leaf["intent"] for leaf in leaves if leaf["k"] == Kind.INTERRUPTED} == set(intents)


@pytest.mark.claim("kill:no-intent-after")
async def test_without_a_kill_the_other_process_is_allowed_every_call(desk: Desk) -> None:
    assert await race(desk, await desk.session(ttl="P1D"), None, 20) == 20
