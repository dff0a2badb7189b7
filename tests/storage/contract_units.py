"""The contract of a store, its units of work: durable whole or not at all, one after another, each with its events."""

import base64
import hashlib
from collections.abc import Awaitable, Callable

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.audit import tree
from remit.audit.commitments import opens
from remit.core.agents import Agent
from remit.core.canonical import Json, canonical
from remit.core.errors import LogUnavailable, NameTaken, Unavailable
from remit.core.events import MAX_LEAF, Kind
from remit.core.labels import UNTRUSTED
from remit.core.ports import LogEntry, PayloadSealer, Store, Unit
from remit.core.sessions import FlowState
from remit.guards.json_in import parse
from tests.storage.nouns import PERSON, Work, agent, approval, call, done, event, held, ident, session

FRESH = (f"u{number}" for number in range(10**9))


async def leaves(store: Store, org: str = "main") -> tuple[LogEntry, ...]:
    """The whole log."""
    async with store.view(org) as view:
        return await view.log.read(0, await view.log.size())


async def root(store: Store, org: str = "main") -> tuple[int, bytes]:
    """Size and Merkle root of the log as it stands, every index being checked."""
    entries = await leaves(store, org)
    assert [entry.index for entry in entries] == list(range(len(entries)))
    assert [_member(entry, "i") for entry in entries] == list(range(len(entries)))
    frontier, _ = tree.Frontier().extend(tree.leaf_hash(entry.leaf) for entry in entries)
    return frontier.size, frontier.root()


def _member(entry: LogEntry, name: str) -> object:
    body = parse(entry.leaf)
    assert isinstance(body, dict)
    assert canonical(body) == entry.leaf
    return body.get(name)


class UnitsContract:
    """Units, views and the log."""

    # Units.

    async def test_a_unit_sees_its_own_work_and_nobody_else_does_before_it_is_left(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.nouns.add(agent())
            assert await unit.log.append(event()) == 0
            assert await unit.log.size() == 1
            async with store.view("main") as view:
                assert await view.nouns.all(Agent) == ()
                assert await view.log.size() == 0
        async with store.view("main") as view:
            assert await view.nouns.all(Agent) == (agent(),)
            assert await view.log.size() == 1

    async def test_a_unit_left_by_an_exception_is_undone_whole_and_the_exception_goes_on_as_it_was(
        self, store: Store
    ) -> None:
        wrong = NameTaken("as it was")

        async def work(unit: Unit) -> None:
            await unit.nouns.add(agent())
            await unit.sessions.add(session())
            await unit.counters.reserve(held(5))
            await unit.calls.put(call())
            await unit.approvals.add(approval())
            await unit.secrets.put("token", b"x")
            await unit.log.append(event(private={"/to": "DE89"}))
            raise wrong

        with pytest.raises(NameTaken) as caught:
            await done(store, work)
        assert caught.value is wrong
        async with store.view("main") as view:
            assert await view.nouns.epoch() == 0
            assert await view.sessions.live(None, None) == ()
            assert await view.counters.taken("scope", "eur", 0) == (0, 0)
            assert await view.calls.unfinished() == ()
            assert await view.approvals.list(None, 1, None) == ()
            assert await view.secrets.get("token") is None
            assert await view.log.size() == 0
            assert await view.log.private(0) == ()

    async def test_an_exception_in_one_unit_undoes_no_other_that_ran_beside_it(
        self, store: Store, another: Callable[[], Awaitable[Store]]
    ) -> None:
        stores, kept = (store, await another()), []

        async def work(number: int) -> None:
            async with stores[number % 2].unit("main") as unit:
                await unit.nouns.add(agent(number, f"a{number}"))
                index = await unit.log.append(event(about=ident("agt", number)))
                if number % 3 == 0:
                    raise ZeroDivisionError
            kept.append((index, ident("agt", number)))

        async def hold(number: int) -> None:
            if number % 3 == 0:
                with pytest.raises(ZeroDivisionError):
                    await work(number)
            else:
                await work(number)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(hold, number)
        await root(store)
        assert sorted(kept) == [(entry.index, _member(entry, "about")) for entry in await leaves(store)]
        async with store.view("main") as view:
            assert {one.id for one in await view.nouns.all(Agent)} == {name for _, name in kept}

    async def test_a_unit_sees_every_unit_that_was_acknowledged_before_it_wherever_it_ran(
        self, store: Store, another: Callable[[], Awaitable[Store]]
    ) -> None:
        stores = (store, await another())
        for number in range(20):
            async with stores[number % 2].unit("main") as unit:
                assert await unit.log.size() == number
                assert len(await unit.nouns.all(Agent)) == number
                await unit.nouns.add(agent(number, f"a{number}"))
                await unit.log.append(event())
            async with stores[1 - number % 2].view("main") as view:
                assert await view.log.size() == number + 1

    async def test_a_cancelled_unit_is_undone_and_the_store_goes_on(self, store: Store) -> None:
        with anyio.CancelScope() as scope:
            async with store.unit("main") as unit:
                await unit.log.append(event())
                await unit.nouns.add(agent())
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        async with store.unit("main") as unit:
            assert await unit.nouns.all(Agent) == ()
            assert await unit.log.append(event()) == 0

    # Views.

    async def test_a_view_sees_one_committed_state_for_as_long_as_it_lasts(self, store: Store) -> None:
        async with store.view("main") as view:
            assert await view.log.size() == 0
            async with store.unit("main") as unit:
                await unit.nouns.add(agent())
                await unit.log.append(event())
            assert await view.log.size() == 0
            assert await view.nouns.all(Agent) == ()
            async with store.view("main") as later:
                assert await later.log.size() == 1

    @pytest.mark.parametrize(
        "write",
        [
            lambda unit: unit.nouns.add(agent(2, "another")),
            lambda unit: unit.nouns.replace(agent(state="retired")),
            lambda unit: unit.sessions.add(session()),
            lambda unit: unit.sessions.replace(session()),
            lambda unit: unit.sessions.put_flow(
                FlowState(org="main", root="r", labels=UNTRUSTED, calls=0, denials=0),
            ),
            lambda unit: unit.calls.put(call()),
            lambda unit: unit.calls.touch("r", 1, ("17",)),
            lambda unit: unit.counters.reserve(held(1)),
            lambda unit: unit.counters.settle(held(1), spent=True),
            lambda unit: unit.approvals.add(approval()),
            lambda unit: unit.approvals.move(approval(), "pending"),
            lambda unit: unit.log.append(event()),
            lambda unit: unit.tree.add_hashes(0, 0, [bytes(32)]),
            lambda unit: unit.tree.add_checkpoint(1, "note"),
            lambda unit: unit.secrets.put("token", b"x"),
            lambda unit: unit.key_use.touch("k", 1),
            lambda unit: unit.stamps.put("p", "r", ["m"]),
            lambda unit: unit.stamps.clear("p"),
            lambda unit: unit.tickets.put("k", "m", "p", b"", 1),
            lambda unit: unit.tickets.take("k", "m", 0),
            lambda unit: unit.tickets.first("k", "m", 0, 1),
            lambda unit: unit.tickets.drop("k", "p"),
            lambda unit: unit.tickets.sweep(1),
        ],
    )
    async def test_a_view_writes_nothing(self, store: Store, write: Callable[[Unit], Awaitable[object]]) -> None:
        async with store.unit("main") as unit:
            await unit.nouns.add(agent())
            epoch = await unit.nouns.epoch()
        with pytest.raises(Unavailable):
            async with store.view("main") as view:
                await write(view)
        async with store.view("main") as view:
            assert await view.nouns.epoch() == epoch
            assert await view.log.size() == 0
            assert await view.secrets.get("token") is None
        async with store.unit("main") as unit:
            await unit.approvals.add(approval())
            await unit.counters.reserve(held(1))

    # The log.

    async def test_events_get_the_next_index_inside_their_unit(self, store: Store) -> None:
        async with store.unit("main") as unit:
            assert [await unit.log.append(event()) for _ in range(3)] == [0, 1, 2]
        async with store.unit("main") as unit:
            assert await unit.log.append(event()) == 3
        assert (await root(store))[0] == 4

    @pytest.mark.claim("log:append-only")
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
    @given(units=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8))
    async def test_every_tree_is_a_prefix_of_every_later_one_whatever_was_undone_between(
        self, store: Store, units: list[tuple[int, bool]]
    ) -> None:
        org, before = next(FRESH), list[LogEntry]()
        for count, undone in units:
            try:
                async with store.unit(org) as unit:
                    got = [await unit.log.append(event(call=f"c{number}")) for number in range(count)]
                    assert got == list(range(len(before), len(before) + count))
                    if undone:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                got = []
            now = list(await leaves(store, org))
            assert now[: len(before)] == before
            assert len(now) == len(before) + len(got)
            old = tree.Frontier().extend(tree.leaf_hash(entry.leaf) for entry in before)[0]
            grown = old.extend(tree.leaf_hash(entry.leaf) for entry in now[len(before) :])[0]
            assert (grown.size, grown.root()) == await root(store, org)
            before = now

    async def test_an_event_that_is_refused_takes_no_index_also_when_its_unit_goes_on(
        self, store: Store, sealer: PayloadSealer
    ) -> None:
        too_large = event(private={"/to": "DE89"}, codes=("x" * MAX_LEAF,))
        async with store.unit("main") as unit:
            with pytest.raises(LogUnavailable):
                await unit.log.append(too_large)
            assert await unit.log.append(event(private={"/to": "DE90"})) == 0
            with pytest.raises(LogUnavailable):
                await unit.log.append(too_large)
        async with store.unit("main") as unit:
            assert await unit.log.append(event()) == 1
        await root(store)
        async with store.view("main") as view:
            (kept,) = await view.log.private(0)
            assert await view.log.private(1) == ()
        opened = sealer.reveal(kept, "main")
        assert opened is not None
        assert opened[1] == b'"DE90"'

    async def test_a_leaf_holds_commitments_and_the_values_are_sealed_beside_it(
        self, store: Store, sealer: PayloadSealer
    ) -> None:
        values: dict[str, Json] = {"/to": "DE89370400440532013000", "/amount": {"eur": 5}}
        async with store.unit("main") as unit:
            index = await unit.log.append(event(private=values))
        async with store.view("main") as view:
            (entry,) = await view.log.read(index, index + 1)
            kept = {one.pointer: one for one in await view.log.private(index)}
        body = parse(entry.leaf)
        assert isinstance(body, dict)
        assert isinstance(body["commit"], dict)
        assert b"DE89" not in entry.leaf
        assert kept.keys() == values.keys() == body["commit"].keys()
        for pointer, one in kept.items():
            assert (one.index, one.subject) == (index, PERSON)
            assert b"DE89" not in one.sealed
            opened = sealer.reveal(one, "main")
            assert opened is not None
            assert opened[1] == canonical(values[pointer])
            assert opens(base64.b64decode(str(body["commit"][pointer])), opened[0], values[pointer])

    async def test_events_are_found_by_kind_session_and_agent_from_an_index_on(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.log.append(event(Kind.DENIED, session="s1", agent="a1"))
            await unit.log.append(event(Kind.INTENT, session="s1", agent="a2"))
            await unit.log.append(event(Kind.DENIED, session="s2", agent="a1"))
            await unit.log.append(event(Kind.OUTCOME))

        async def found(
            after: int = -1,
            limit: int = 10,
            kinds: tuple[int, ...] = (),
            session: str | None = None,
            agent: str | None = None,
        ) -> list[int]:
            async with store.view("main") as view:
                hits = await view.log.find(after=after, limit=limit, kinds=kinds, session=session, agent=agent)
                return [entry.index for entry in hits]

        assert await found() == [0, 1, 2, 3]
        assert await found(after=1) == [2, 3]
        assert await found(limit=2) == [0, 1]
        assert await found(kinds=(Kind.DENIED, Kind.OUTCOME)) == [0, 2, 3]
        assert await found(session="s1") == [0, 1]
        assert await found(kinds=(Kind.DENIED,), session="s1", agent="a1") == [0]
        assert await found(agent="A1") == []

    @pytest.mark.claim("log:append-only")
    async def test_hashes_and_heads_of_the_tree_are_never_written_twice(self, store: Store) -> None:
        hashes = [hashlib.sha256(bytes([number])).digest() for number in range(4)]
        async with store.unit("main") as unit:
            await unit.tree.add_hashes(0, 0, hashes[:2])
            await unit.tree.add_hashes(1, 0, hashes[2:3])
            await unit.tree.add_checkpoint(2, "two")
            await unit.tree.add_checkpoint(1, "one")
        again: tuple[Work, ...] = (
            lambda unit: unit.tree.add_hashes(0, 1, hashes[3:]),
            lambda unit: unit.tree.add_checkpoint(2, "another two"),
        )
        for write in again:
            with pytest.raises(Unavailable):
                await done(store, write)
        async with store.view("main") as view:
            assert await view.tree.hashes(0, 0, 9) == tuple(hashes[:2])
            assert await view.tree.hashes(1, 0, 1) == (hashes[2],)
            assert await view.tree.hashes(0, 1, 1) == ()
            assert await view.tree.checkpoint() == "two"

    # The end.

    async def test_a_closed_store_finishes_what_came_before_and_refuses_what_comes_after(self, store: Store) -> None:
        done: list[int] = []

        async def append() -> None:
            async with store.unit("main") as unit:
                index = await unit.log.append(event())
            done.append(index)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(append)
            await anyio.lowlevel.checkpoint()
            await store.close()
        assert sorted(done) == list(range(5))
        with pytest.raises(Unavailable):
            async with store.unit("main"):
                pass
        with pytest.raises(Unavailable):
            async with store.view("main"):
                pass
        await store.close()
