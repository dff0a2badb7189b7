"""The contract of a store, its organizations: none ever sees anything of another."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from remit.core import ports
from remit.core.agents import Agent
from remit.core.labels import UNTRUSTED
from remit.core.ports import Store, Unit
from remit.core.sessions import FlowState
from tests.storage.nouns import access_request, agent, approval, call, event, examples, held, ident, session

OTHER = "other"


class OrgsContract:
    """Two organizations on one store."""

    async def test_an_organization_sees_nothing_of_another_by_any_read(self, store: Store) -> None:
        await fill(store, "main")
        reads = _reads()
        async with store.view("main") as view:
            for name, read in reads.items():
                assert await read(view) not in (None, (), 0, (0, 0), False), f"{name} finds what was put there"
        async with store.view(OTHER) as view:
            assert {name: await read(view) for name, read in reads.items()} == _NOTHING

    async def test_two_organizations_hold_the_same_names_ids_and_indices_side_by_side(self, store: Store) -> None:
        await fill(store, "main")
        await fill(store, OTHER)
        async with store.unit(OTHER) as unit:
            await unit.nouns.replace(agent(org=OTHER, state="suspended"))
            await unit.sessions.replace(session(org=OTHER, state="killed", standing=True))
            await unit.calls.put(call(state="done", org=OTHER))
            await unit.counters.settle(held(5), spent=True)
            assert await unit.approvals.move(approval(state="denied", org=OTHER), "pending")
            await unit.secrets.put("token", b"theirs")
            await unit.log.append(event())
        async with store.view("main") as view:
            assert await view.nouns.get(Agent, ident("agt", 1)) == agent()
            assert await view.sessions.standing(ident("key", 1)) == session(standing=True)
            assert await view.calls.unfinished() == (call(),)
            assert await view.counters.taken("scope", "eur", 0) == (0, 5)
            assert await view.approvals.pending_of(ident("ses", 1)) == (approval(),)
            assert await view.secrets.get("token") == b"ours"
            assert await view.log.size() == 1

    def test_every_read_of_every_port_is_among_those_tried(self) -> None:
        found = set()
        for port, kind in inspect.get_annotations(ports.Unit).items():
            if port != "org":
                methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}
                found |= {f"{port}.{name}" for name in methods}
        assert found - _WRITES == set(_reads()) == set(_NOTHING)


_WRITES = {
    "nouns.add",
    "nouns.replace",
    "sessions.add",
    "sessions.replace",
    "sessions.put_flow",
    "calls.put",
    "calls.touch",
    "calls.untouch",
    "counters.reserve",
    "counters.settle",
    "approvals.add",
    "approvals.move",
    "access.put",
    "log.append",
    "tree.add_hashes",
    "tree.add_checkpoint",
    "secrets.put",
    "key_use.touch",
    "stamps.put",
    "stamps.clear",
    "tickets.put",
    "tickets.take",
    "tickets.first",
    "tickets.drop",
    "tickets.sweep",
}
_NOTHING: dict[str, Any] = {
    "nouns.epoch": 0,
    "nouns.get": None,
    "nouns.named": None,
    "nouns.all": (),
    "sessions.get": None,
    "sessions.of_root": (),
    "sessions.standing": None,
    "sessions.live": (),
    "sessions.lapsed": (),
    "sessions.flow": None,
    "calls.get": None,
    "calls.unfinished": (),
    "calls.writers": (),
    "counters.taken": (0, 0),
    "approvals.get": None,
    "approvals.about": (),
    "approvals.list": (),
    "approvals.of_values": (),
    "approvals.of_texts": (),
    "approvals.pending_of": (),
    "access.get": None,
    "access.open_for": None,
    "access.count_open": 0,
    "access.list": (),
    "access.lapsed": (),
    "log.size": 0,
    "log.read": (),
    "log.find": (),
    "log.private": (),
    "tree.hashes": (),
    "tree.checkpoint": None,
    "secrets.get": None,
    "key_use.last": None,
    "stamps.some": False,
    "stamps.among": frozenset(),
    "tickets.get": None,
    "tickets.of": (),
}


def _reads() -> dict[str, Callable[[Unit], Awaitable[Any]]]:
    """Every way to read what ``fill`` has put there."""
    ses, key = ident("ses", 1), ident("key", 1)
    return {
        "nouns.epoch": lambda unit: unit.nouns.epoch(),
        "nouns.get": lambda unit: unit.nouns.get(Agent, ident("agt", 1)),
        "nouns.named": lambda unit: unit.nouns.named(Agent, "bookkeeper"),
        "nouns.all": lambda unit: unit.nouns.all(Agent),
        "sessions.get": lambda unit: unit.sessions.get(ses),
        "sessions.of_root": lambda unit: unit.sessions.of_root(ses),
        "sessions.standing": lambda unit: unit.sessions.standing(key),
        "sessions.live": lambda unit: unit.sessions.live(None, None),
        "sessions.lapsed": lambda unit: unit.sessions.lapsed(1 << 60, 10),
        "sessions.flow": lambda unit: unit.sessions.flow(ses),
        "calls.get": lambda unit: unit.calls.get(ses, "c1"),
        "calls.unfinished": lambda unit: unit.calls.unfinished(),
        "calls.writers": lambda unit: unit.calls.writers(ses, ("17",), 0),
        "counters.taken": lambda unit: unit.counters.taken("scope", "eur", 0),
        "approvals.get": lambda unit: unit.approvals.get(ident("apr", 1)),
        "approvals.about": lambda unit: unit.approvals.about(ses, "office/pay", "sha256:2"),
        "approvals.list": lambda unit: unit.approvals.list(None, 10, None),
        "approvals.of_values": lambda unit: unit.approvals.of_values(ses),
        "approvals.of_texts": lambda unit: unit.approvals.of_texts(ses),
        "approvals.pending_of": lambda unit: unit.approvals.pending_of(ses),
        "access.get": lambda unit: unit.access.get(ident("acr", 1)),
        "access.open_for": lambda unit: unit.access.open_for(ident("agt", 1), "office/pay", "policy.denied", "r"),
        "access.count_open": lambda unit: unit.access.count_open(ident("agt", 1)),
        "access.list": lambda unit: unit.access.list(None, 10, None),
        "access.lapsed": lambda unit: unit.access.lapsed(1 << 60, 10),
        "log.size": lambda unit: unit.log.size(),
        "log.read": lambda unit: unit.log.read(0, 100),
        "log.find": lambda unit: unit.log.find(after=-1, limit=10, kinds=(), session=None, agent=None),
        "log.private": lambda unit: unit.log.private(0),
        "tree.hashes": lambda unit: unit.tree.hashes(0, 0, 10),
        "tree.checkpoint": lambda unit: unit.tree.checkpoint(),
        "secrets.get": lambda unit: unit.secrets.get("token"),
        "key_use.last": lambda unit: unit.key_use.last(key),
        "stamps.some": lambda unit: unit.stamps.some("per_1", "ses_2"),
        "stamps.among": lambda unit: unit.stamps.among("per_1", "ses_2", ["m1", "m2"]),
        "tickets.get": lambda unit: unit.tickets.get("code", "m1", 0),
        "tickets.of": lambda unit: unit.tickets.of("code", "per_1", 0),
    }


async def fill(store: Store, org: str) -> None:
    """One of everything."""
    async with store.unit(org) as unit:
        for noun in examples(org):
            await unit.nouns.add(noun)
        await unit.sessions.add(session(org=org, standing=True))
        await unit.sessions.put_flow(
            FlowState(org=org, root=ident("ses", 1), labels=UNTRUSTED, calls=1, denials=0),
        )
        await unit.calls.put(call(org=org))
        await unit.calls.touch(ident("ses", 1), 7, ("17",))
        await unit.counters.reserve(held(5))
        await unit.approvals.add(approval(org=org))
        await unit.access.put(access_request(org=org))
        await unit.approvals.add(approval(2, "denied", org=org, kind="value"))
        await unit.approvals.add(approval(3, "denied", org=org, kind="text"))
        await unit.log.append(event(private={"/to": "DE89"}))
        await unit.tree.add_hashes(0, 0, [bytes(32)])
        await unit.tree.add_checkpoint(1, "note")
        await unit.secrets.put("token", b"ours")
        await unit.key_use.touch(ident("key", 1), 5)
        await unit.stamps.put("per_1", "ses_1", ["m1"])
        await unit.tickets.put("code", "m1", "per_1", b"{}", 10)
