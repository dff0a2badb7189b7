"""The contract of a store, its rows: the registry, sessions, calls, counters, approvals, secrets."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.agents import Agent
from remit.core.calls import Reservation
from remit.core.errors import NameTaken, NotFound, Unavailable
from remit.core.labels import TRUSTED, UNTRUSTED, Labels
from remit.core.people import Person
from remit.core.ports import Store, Unit
from remit.core.servers import Server
from remit.core.sessions import FlowState
from remit.core.tools import Tool
from tests.storage.contract_orgs import fill
from tests.storage.nouns import (
    NOUNS,
    PERSON,
    Work,
    access_request,
    agent,
    approval,
    call,
    done,
    event,
    examples,
    held,
    ident,
    session,
    undone,
)

# Pairs that some database, file system or reader takes for one name.
LOOK_ALIKES = {
    "case": ("bookkeeper", "Bookkeeper"),
    "a trailing space": ("bookkeeper", "bookkeeper "),
    "a leading space": ("bookkeeper", " bookkeeper"),
    "a no-break space": ("book keeper", "book\N{NO-BREAK SPACE}keeper"),
    "a trailing line break": ("bookkeeper", "bookkeeper\n"),
    "a null character": ("bookkeeper", "bookkeeper\0x"),
    "a zero-width character": ("bookkeeper", "book\N{ZERO WIDTH JOINER}keeper"),
    "a Cyrillic letter": ("bookkeeper", "b\N{CYRILLIC SMALL LETTER O}okkeeper"),
    "two forms of one accent": ("ren\N{LATIN SMALL LETTER E WITH ACUTE}", "rene\N{COMBINING ACUTE ACCENT}"),
    "a full-width letter": ("bookkeeper", "\N{FULLWIDTH LATIN SMALL LETTER B}ookkeeper"),
    "sharp s": ("stra\N{LATIN SMALL LETTER SHARP S}e", "strasse"),
    "a dotted capital I": ("ibis", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}bis"),
    "a wildcard": ("book_keeper", "book%keeper"),
    "digits read as a number": ("1e2", "100"),
}
FRESH_ORG = (f"o{number}" for number in range(10**9))


class RowsContract:
    """The registry, sessions, calls, counters, approvals, secrets."""

    # The registry.

    @pytest.mark.parametrize("at", range(len(NOUNS)), ids=lambda at: NOUNS[at].__name__)
    async def test_a_noun_comes_back_as_it_was_added(self, store: Store, at: int) -> None:
        noun, kind = examples()[at], NOUNS[at]
        async with store.unit("main") as unit:
            await unit.nouns.add(noun)
            assert await unit.nouns.get(kind, noun.id) == noun
        async with store.view("main") as view:
            assert await view.nouns.get(kind, noun.id) == noun
            assert await view.nouns.all(kind) == (noun,)

    async def test_people_agents_servers_and_tools_are_found_by_name_and_only_under_their_kind(
        self, store: Store
    ) -> None:
        await fill(store, "main")
        async with store.view("main") as view:
            names: dict[Any, str] = {
                Person: "ada@example.test",
                Agent: "bookkeeper",
                Server: "office",
                Tool: "office/pay",
            }
            for kind, name in names.items():
                found = await view.nouns.named(kind, name)
                assert type(found) is kind
            assert await view.nouns.named(Agent, "office") is None
            assert await view.nouns.get(Server, ident("agt", 1)) is None

    async def test_all_nouns_of_a_kind_come_by_id_retired_ones_too(self, store: Store) -> None:
        async with store.unit("main") as unit:
            for number in (3, 1, 2):
                await unit.nouns.add(agent(number, f"a{number}", state="retired"))
        async with store.view("main") as view:
            assert [one.name for one in await view.nouns.all(Agent)] == ["a1", "a2", "a3"]

    async def test_the_epoch_grows_with_every_change_of_the_registry_and_with_nothing_else(self, store: Store) -> None:
        epochs: list[int] = []
        changes: tuple[Work, ...] = (
            lambda unit: unit.nouns.add(agent()),
            lambda unit: unit.nouns.replace(agent(state="suspended")),
            lambda unit: unit.nouns.replace(agent(state="suspended")),
        )
        for change in changes:
            async with store.unit("main") as unit:
                await change(unit)
                epochs.append(await unit.nouns.epoch())
        assert epochs == sorted(set(epochs))
        async with store.unit("main") as unit:
            await unit.log.append(event())
            await unit.key_use.touch(ident("key", 1), 5)
            await unit.sessions.add(session())
            await unit.secrets.put("token", b"x")
        async with store.view("main") as view:
            assert await view.nouns.epoch() == epochs[-1]

    async def test_an_epoch_of_an_undone_unit_is_never_given_again(self, store: Store) -> None:
        async def change(unit: Unit, number: int) -> int:
            await unit.nouns.add(agent(number, f"a{number}"))
            return await unit.nouns.epoch()

        lost, kept = set(), []
        for number in range(20):
            lost.add(await undone(store, partial(change, number=number)))
            kept.append(await done(store, partial(change, number=number)))
        assert len(lost) == 20
        assert lost.isdisjoint(kept)

    @pytest.mark.claim("registry:names-never-reused")
    async def test_a_name_or_id_once_used_is_never_given_again(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.nouns.add(agent())
        async with store.unit("main") as unit:
            await unit.nouns.replace(agent(state="retired"))
            # A refusal undoes nothing else in its unit.
            for again in (agent(2), agent(1, "cashier")):
                with pytest.raises(NameTaken):
                    await unit.nouns.add(again)
            await unit.nouns.add(agent(3, "auditor"))
        async with store.view("main") as view:
            assert [one.name for one in await view.nouns.all(Agent)] == ["bookkeeper", "auditor"]

    @pytest.mark.claim("registry:names-never-reused")
    @pytest.mark.parametrize("pair", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
    async def test_names_are_compared_byte_for_byte(self, store: Store, pair: tuple[str, str]) -> None:
        async with store.unit("main") as unit:
            await unit.nouns.add(agent(1, pair[0]))
            assert await unit.nouns.named(Agent, pair[1]) is None
            assert await unit.nouns.get(Agent, ident("agt", 1).upper()) is None
            await unit.nouns.add(agent(2, pair[1]))
            with pytest.raises(NameTaken):
                await unit.nouns.add(agent(3, pair[1]))
        async with store.view("main") as view:
            assert [await view.nouns.named(Agent, name) for name in pair] == [agent(1, pair[0]), agent(2, pair[1])]

    @pytest.mark.claim("registry:names-never-reused")
    async def test_of_many_units_that_race_for_a_name_one_gets_it(
        self, store: Store, another: Callable[[], Awaitable[Store]]
    ) -> None:
        stores, winners = (store, await another()), []

        async def claim(number: int) -> None:
            try:
                async with stores[number % 2].unit("main") as unit:
                    await unit.nouns.add(agent(number))
                winners.append(number)
            except NameTaken:
                pass

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(claim, number)
        async with store.view("main") as view:
            assert [one.id for one in await view.nouns.all(Agent)] == [ident("agt", number) for number in winners]
        assert len(winners) == 1

    async def test_a_noun_keeps_its_name_and_one_that_is_not_there_is_not_replaced(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.nouns.add(agent())
            for stranger in (agent(2), agent(1, "another")):
                with pytest.raises(NotFound):
                    await unit.nouns.replace(stranger)
        async with store.view("main") as view:
            assert await view.nouns.named(Agent, "bookkeeper") == agent()
            assert await view.nouns.named(Agent, "another") is None

    async def test_text_that_has_no_bytes_names_nothing(self, store: Store) -> None:
        async with store.view("main") as view:
            assert await view.nouns.named(Agent, "bookkeeper\udcff") is None
            assert await view.nouns.get(Agent, "\ud800") is None

    # Sessions and flow.

    async def test_sessions_are_found_by_root_key_and_agent(self, store: Store) -> None:
        root, child = session(1), session(2, root=1, chain=(PERSON, ident("agt", 1), ident("agt", 2)))
        ended = session(3, state="ended")
        other = session(4, key=ident("key", 2), chain=(ident("agt", 3),))
        async with store.unit("main") as unit:
            for one in (other, ended, child, root):
                await unit.sessions.add(one)
        async with store.view("main") as view:
            assert await view.sessions.get(root.id) == root
            assert await view.sessions.of_root(root.id) == (root, child)
            assert await view.sessions.live(None, None) == (root, child, other)
            assert await view.sessions.live(ident("agt", 2), None) == (child,)
            assert await view.sessions.live(None, ident("key", 2)) == (other,)
            assert await view.sessions.live(ident("agt", 2), ident("key", 2)) == ()

    async def test_sessions_that_ran_out_are_found_earliest_first(self, store: Store) -> None:
        late, later, living = session(1, expires=2_000), session(2, expires=1_000), session(3, expires=2_001)
        over = session(4, expires=1, state="ended")
        async with store.unit("main") as unit:
            for one in (late, later, living, over):
                await unit.sessions.add(one)
        async with store.unit("main") as unit:
            assert await unit.sessions.lapsed(2_000, 10) == (later, late)
            assert await unit.sessions.lapsed(2_000, 1) == (later,)
            await unit.sessions.replace(replace(later, state="expired"))
            await unit.sessions.replace(replace(living, expires=1_500))
            assert [one.id for one in await unit.sessions.lapsed(2_000, 10)] == [living.id, late.id]

    async def test_a_key_has_one_standing_session_for_good(self, store: Store) -> None:
        first, second = session(1, standing=True), session(2, standing=True)
        async with store.unit("main") as unit:
            await unit.sessions.add(first)
            assert await unit.sessions.standing(first.key) == first
        ended = replace(first, state="killed")
        async with store.unit("main") as unit:
            await unit.sessions.replace(ended)
        # Not even when it has ended: what it has seen, no later one may be without.
        with pytest.raises(Unavailable):
            await done(store, lambda unit: unit.sessions.add(second))
        await done(store, lambda unit: unit.sessions.add(replace(second, key=ident("key", 2))))
        async with store.view("main") as view:
            assert await view.sessions.standing(first.key) == ended
            assert await view.sessions.get(first.id) == ended
            assert await view.sessions.get(second.id) == replace(second, key=ident("key", 2))

    async def test_a_root_has_one_flow_state_and_the_last_one_written_counts(self, store: Store) -> None:
        secret = Labels("untrusted", frozenset({"finance", "salaries"}))
        for labels in (TRUSTED, UNTRUSTED, secret):
            flow = FlowState(org="main", root=ident("ses", 1), labels=labels, calls=3, denials=1)
            async with store.unit("main") as unit:
                await unit.sessions.put_flow(flow)
            async with store.view("main") as view:
                assert await view.sessions.flow(flow.root) == flow

    # Calls.

    async def test_calls_that_have_an_intent_and_no_outcome_are_listed(self, store: Store) -> None:
        async with store.unit("main") as unit:
            for state in ("denied", "asked", "open", "done", "failed", "unknown"):
                await unit.calls.put(call(state, state))
        async with store.unit("main") as unit:
            assert {one.call_id for one in await unit.calls.unfinished()} == {"open", "unknown"}
            await unit.calls.put(call("open", "done"))
        async with store.view("main") as view:
            assert [one.call_id for one in await view.calls.unfinished()] == ["unknown"]
            assert await view.calls.get(ident("ses", 1), "open") == call("open", "done")
            assert await view.calls.get(ident("ses", 2), "open") is None

    async def test_a_write_to_a_reference_is_seen_by_who_asked_before_it_and_in_that_root_only(
        self, store: Store
    ) -> None:
        async with store.unit("main") as unit:
            await unit.calls.touch("r1", 7, ("17", "18"))
            await unit.calls.touch("r1", 7, ("17",))
        async with store.view("main") as view:
            assert await view.calls.writers("r1", ("3", "17", "18"), 6) == (7,)
            for root, references, after in (
                ("r1", ("17",), 7),
                ("r1", ("1", "1%", "17 "), 0),
                ("r1", (), 0),
                ("r2", ("17",), 0),
            ):
                assert await view.calls.writers(root, references, after) == ()

    # Counters.

    @pytest.mark.claim("budget:exact-under-concurrency")
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(
        steps=st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 2**50), st.sampled_from(["hold", "spend", "release"])),
            max_size=12,
        )
    )
    async def test_counters_are_exact_sums_over_their_window(
        self, store: Store, steps: list[tuple[int, int, str]]
    ) -> None:
        org, open_ones = next(FRESH_ORG), list[Reservation]()
        spent, reserved = [0] * 4, [0] * 4
        for bucket, amount, what in steps:
            async with store.unit(org) as unit:
                if what == "hold" or not open_ones:
                    open_ones.append(held(amount, bucket=bucket))
                    await unit.counters.reserve(open_ones[-1])
                    reserved[bucket] += amount
                    continue
                item = open_ones.pop(amount % len(open_ones))
                await unit.counters.settle(item, spent=what == "spend")
                reserved[item.bucket] -= item.amount
                spent[item.bucket] += item.amount if what == "spend" else 0
        async with store.view(org) as view:
            for since in range(5):
                sums = (sum(spent[since:]), sum(reserved[since:]))
                assert await view.counters.taken("scope", "eur", since) == sums
            assert await view.counters.taken("scope", "usd", 0) == (0, 0)
            assert await view.counters.taken("elsewhere", "eur", 0) == (0, 0)

    @pytest.mark.claim("budget:exact-under-concurrency")
    async def test_a_sum_that_does_not_fit_is_refused_and_never_rounded_or_wrapped(self, store: Store) -> None:
        most = 2**63 - 1
        async with store.unit("main") as unit:
            await unit.counters.reserve(held(most))
        for wrong in (held(1), held(most)):
            with pytest.raises(Unavailable):
                async with store.unit("main") as unit:
                    await unit.counters.reserve(wrong)
        async with store.view("main") as view:
            assert await view.counters.taken("scope", "eur", 0) == (0, most)

    @pytest.mark.claim("budget:exact-under-concurrency")
    async def test_no_more_is_let_go_than_is_held(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.counters.reserve(held(5))
        for spent in (True, False):
            with pytest.raises(Unavailable):
                async with store.unit("main") as unit:
                    await unit.counters.settle(held(6), spent=spent)
        async with store.view("main") as view:
            assert await view.counters.taken("scope", "eur", 0) == (0, 5)

    @pytest.mark.claim("budget:exact-under-concurrency")
    async def test_many_units_at_once_never_take_more_than_the_limit(
        self, store: Store, another: Callable[[], Awaitable[Store]]
    ) -> None:
        stores, taken, limit = (store, await another()), [], 15

        async def take(number: int) -> None:
            async with stores[number % 2].unit("main") as unit:
                room = limit - sum(await unit.counters.taken("scope", "eur", 0))
                if room >= 2:
                    await unit.counters.reserve(held(2))
                    taken.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(take, number)
        assert len(taken) == 7
        async with store.view("main") as view:
            assert await view.counters.taken("scope", "eur", 0) == (0, 14)

    # Approvals.

    async def test_approvals_are_found_by_call_state_and_root(self, store: Store) -> None:
        ones = [
            approval(1),
            approval(2, "approved"),
            approval(3, "used"),
            approval(4, arguments_hash="sha256:9"),
            approval(5, root=ident("ses", 9)),
        ]
        async with store.unit("main") as unit:
            for one in ones:
                await unit.approvals.add(one)
        async with store.view("main") as view:
            assert await view.approvals.get(ones[1].id) == ones[1]
            found = await view.approvals.about(ident("ses", 1), "office/pay", "sha256:2")
            assert found == (ones[0], ones[1], ones[2])
            assert await view.approvals.list("pending", 10, None) == (ones[0], ones[3], ones[4])
            assert await view.approvals.list(None, 2, ones[0].id) == (ones[1], ones[2])
            waiting = await view.approvals.pending_of(ident("ses", 1))
            assert {one.id for one in waiting} == {ones[0].id, ones[1].id, ones[3].id}

    @pytest.mark.claim("approval:single-use")
    async def test_of_many_units_that_move_an_approval_from_one_state_one_does(
        self, store: Store, another: Callable[[], Awaitable[Store]]
    ) -> None:
        stores, moved = (store, await another()), []
        async with store.unit("main") as unit:
            await unit.approvals.add(approval(1, "approved"))

        async def use(number: int) -> None:
            async with stores[number % 2].unit("main") as unit:
                if await unit.approvals.move(approval(1, "used", note=str(number)), "approved"):
                    moved.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(use, number)
        assert len(moved) == 1
        async with store.view("main") as view:
            assert await view.approvals.get(ident("apr", 1)) == approval(1, "used", note=str(moved[0]))

    async def test_a_move_that_was_undone_can_be_made_again_and_one_of_nothing_is_none(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.approvals.add(approval(1))
        assert await undone(store, lambda unit: unit.approvals.move(approval(1, "denied"), "pending"))
        async with store.unit("main") as unit:
            assert not await unit.approvals.move(approval(1, "used"), "approved")
            assert not await unit.approvals.move(approval(2, "approved"), "pending")
            assert await unit.approvals.move(approval(1, "approved"), "pending")

    # Access requests.

    async def test_access_requests_are_found_while_they_are_open_by_what_was_refused(self, store: Store) -> None:
        ones = [
            access_request(1),
            access_request(2, tool="", rule="", expires=20),
            access_request(3, "closed"),
            access_request(4, agent=ident("agt", 2)),
        ]
        async with store.unit("main") as unit:
            for one in ones:
                await unit.access.put(one)
            await unit.access.put(access_request(1, count=5))
        ones[0] = access_request(1, count=5)
        async with store.view("main") as view:
            assert await view.access.get(ones[2].id) == ones[2]
            assert await view.access.open_for(ident("agt", 1), "office/pay", "policy.denied", "r") == ones[0]
            assert await view.access.open_for(ident("agt", 1), "office/pay", "policy.denied", "") is None
            assert await view.access.count_open(ident("agt", 1)) == 2
            assert await view.access.list("open", 10, None) == (ones[0], ones[1], ones[3])
            assert await view.access.list(None, 2, ones[0].id) == (ones[1], ones[2])
            assert await view.access.lapsed(9, 10) == (ones[0], ones[3])

    async def test_two_open_requests_about_the_same_can_t_be_stored(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.access.put(access_request(1))
        with pytest.raises(Unavailable):
            await done(store, lambda unit: unit.access.put(access_request(2)))
        await done(store, lambda unit: unit.access.put(access_request(2, "closed")))

    # What untrusted sessions wrote.

    async def test_a_stamp_is_told_to_other_roots_of_the_same_person_until_it_is_cleared(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.stamps.put("per_1", "ses_1", ["m1", "m2", "m1"])
            await unit.stamps.put("per_1", "ses_1", ["m1"])
            await unit.stamps.put("per_1", "ses_2", ["m3"])
        async with store.view("main") as view:
            assert await view.stamps.among("per_1", "ses_3", ["m1", "m3", "m9"]) == {"m1", "m3"}
            assert await view.stamps.among("per_1", "ses_1", ["m1", "m3"]) == {"m3"}
            assert await view.stamps.among("per_2", "ses_3", ["m1"]) == frozenset()
            assert await view.stamps.among("per_1", "ses_3", []) == frozenset()
            assert (await view.stamps.some("per_1", "ses_1"), await view.stamps.some("per_2", "ses_1")) == (True, False)
        async with store.unit("main") as unit:
            await unit.stamps.clear("per_1")
            assert await unit.stamps.some("per_1", "ses_9") is False

    # What lives for minutes.

    async def test_a_ticket_is_there_until_its_end_and_is_taken_once(self, store: Store) -> None:
        async with store.unit("main") as unit:
            await unit.tickets.put("code", "m1", "per_1", b"one", 10)
            await unit.tickets.put("code", "m2", "per_1", b"two", 20)
            await unit.tickets.put("refresh", "m1", "per_1", b"other", 20)
        async with store.unit("main") as unit:
            assert await unit.tickets.get("code", "m1", 9) == b"one"
            assert await unit.tickets.get("code", "m1", 10) is None
            assert await unit.tickets.take("code", "m1", 10) is None
            assert await unit.tickets.of("code", "per_1", 9) == (("m1", b"one"), ("m2", b"two"))
            assert await unit.tickets.take("code", "m1", 9) == b"one"
            assert await unit.tickets.take("code", "m1", 9) is None
            assert await unit.tickets.get("refresh", "m1", 9) == b"other"
        async with store.unit("main") as unit:
            await unit.tickets.drop("refresh", "per_1")
            await unit.tickets.sweep(20)
            assert await unit.tickets.of("code", "per_1", 0) == ()
            assert await unit.tickets.get("refresh", "m1", 9) is None

    async def test_a_mark_is_met_for_the_first_time_once_until_its_end(self, store: Store) -> None:
        async with store.unit("main") as unit:
            tries = [await unit.tickets.first("jti", "m1", now, 10) for now in (1, 2, 9, 10, 11)]
            assert tries == [True, False, False, True, True]
            assert await unit.tickets.first("dpop", "m1", 1, 10)

    # Secrets and the use of keys.

    async def test_a_secret_is_kept_under_its_name_and_the_last_one_counts(self, store: Store) -> None:
        for value in (b"\x00\xff", b"second"):
            async with store.unit("main") as unit:
                await unit.secrets.put("token", value)
                await unit.key_use.touch(ident("key", 1), len(value))
            async with store.view("main") as view:
                assert await view.secrets.get("token") == value
                assert await view.secrets.get("TOKEN") is None
                assert await view.key_use.last(ident("key", 1)) == len(value)
                assert await view.key_use.last(ident("key", 2)) is None
