"""A working agent at its desk: reviewed tools, grants, a host that starts sessions, and short ways to call and to close."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import Caller, HostCaller, PersonCaller, SessionCaller
from remit.core.decisions import Allow, Ask, Decision
from remit.core.times import DAY, to_text
from remit.services import agents, approve, keys, policies, sessions
from remit.services.authenticate import authenticate
from remit.services.authority import AuthorityCache
from remit.services.close import Delivery, close_call
from remit.services.decide import open_call
from remit.services.deps import Deps
from remit.services.memories import Memories
from remit.services.refusals import Refusals
from remit.services.sealing import Sealer
from remit.storage.sqlite import SqliteStore, open_store
from remit.storage.subject_keys import SubjectKeys
from tests.services.world import PAY, READ, TASK, HandClock, SystemEntropy, World

IBAN = "DE89370400440532013000"
PAYMENT: dict[str, Json] = {"recipient": IBAN, "amount": 80}
_numbers = itertools.count()


@dataclass
class Desk:
    """One agent that may read mail and pay up to 100 EUR a call and 250 EUR a day."""

    world: World
    host: HostCaller
    grants: dict[str, str]
    principal: str | None
    others: list[SqliteStore] = field(default_factory=list)

    @property
    def deps(self) -> Deps:
        """The first process."""
        return self.world.deps

    async def session(self, host: HostCaller | None = None, **members: Any) -> SessionCaller:
        """A session, and who calls tools in it."""
        request: dict[str, Any] = {"agent": (host or self.host).agent, "context": "attested", **members}
        request.setdefault("task", TASK)
        if self.principal is not None:
            request.setdefault("principal", self.principal)
        started = await sessions.start(self.deps, host or self.host, request)
        return as_session_caller(await authenticate(self.deps, f"Bearer {started.token}"))

    async def open(
        self,
        caller: SessionCaller,
        tool: str = "office/read_mail",
        arguments: Mapping[str, Json] | None = None,
        *,
        call_id: str | None = None,
        deps: Deps | None = None,
    ) -> Decision:
        """One decision."""
        call = ProposedCall(call_id or f"c{next(_numbers)}", tool, arguments if arguments is not None else {"id": "m1"})
        return await open_call(deps or self.deps, caller, call)

    async def pay(self, caller: SessionCaller, amount: Json = 80, **options: Any) -> Decision:
        """One decision on a payment."""
        return await self.open(caller, "office/pay_invoice", {**PAYMENT, "amount": amount}, **options)

    async def close(self, caller: SessionCaller, decision: Decision, outcome: Outcome | None = None) -> Delivery:
        """The end of an allowed call."""
        assert isinstance(decision.verdict, Allow), decision.reasons
        return await close_call(self.deps, caller, decision.call_id, outcome or done({"content": []}))

    async def with_ask_policy(self) -> None:
        """From here on a person must approve what spends, destroys or administers."""
        await policies.apply(self.deps, self.world.admin, (("ask.cedar", policies.shipped()),))

    async def answer(self, decision: Decision, answer: str = "approve", by: PersonCaller | None = None) -> str:
        """A person answers the question of an Ask; the approval's id."""
        assert isinstance(decision.verdict, Ask), decision.reasons
        await approve.answer(self.deps, by or self.world.admin, decision.verdict.approval, {"answer": answer})
        return decision.verdict.approval

    async def another_process(self) -> Deps:
        """The same home as another process has it: its own connections, its own caches, the same clock."""
        other = await second(self.world.path, self.deps, self.world.clock)
        store = other.store
        assert isinstance(store, SqliteStore)
        self.others.append(store)
        return other


async def second(path: Path, deps: Deps, clock: HandClock) -> Deps:
    """``deps`` over connections and caches of their own."""
    sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
    store = await open_store(path / "remit.db", clock, sealer)
    return replace(
        deps,
        store=store,
        sealer=sealer,
        authority=AuthorityCache(),
        refusals=Refusals(),
        memories=Memories(),
        instance="i-other",
    )


async def make_desk(world: World, mode: str = "delegated") -> Desk:
    """Set the world up for one agent of this mode."""
    await world.server(PAY, READ)
    await world.review("office/read_mail", output={"from": "structured", "fields": {"/id": {"writer": "system"}}})
    await world.review_pay()
    await world.agent(mode=mode)
    reading = await world.grant("office/read_mail")
    limits = [{"eur": "100.00", "per": "call"}, {"eur": "250.00", "per": "day"}]
    paying = await world.grant("office/pay_invoice", limits=limits)
    await agents.activate(world.deps, world.admin, "bookkeeper")
    host = await host_of(world, "bookkeeper")
    grants = {"read": str(reading["id"]), "pay": str(paying["id"])}
    return Desk(world, host, grants, world.admin.person.email if mode == "delegated" else None)


async def host_of(world: World, agent: str) -> HostCaller:
    """A host key of this agent, as its holder presents it."""
    request: dict[str, Json] = {"agent": agent, "for": "host", "expires": to_text(world.clock.at + 20 * DAY)}
    made = await keys.create(world.deps, world.admin, request)
    caller = await authenticate(world.deps, f"Bearer {made['secret']}")
    assert isinstance(caller, HostCaller)
    return caller


def as_session_caller(caller: Caller) -> SessionCaller:
    """The caller, who must be one that calls tools."""
    assert isinstance(caller, SessionCaller)
    return caller


def codes(decision: Decision) -> list[str]:
    """The codes of a decision's reasons."""
    return [reason.code for reason in decision.reasons]


def allowed(decision: Decision) -> bool:
    """Whether it is a yes."""
    return isinstance(decision.verdict, Allow)


def done(result: Json) -> Outcome:
    """The outcome of a call that was done."""
    return Outcome("done", result=result)
