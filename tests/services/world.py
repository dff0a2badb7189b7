"""A whole registry on a real store in a temporary folder, with a clock that tests move by hand."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import NameTaken
from remit.core.people import Person
from remit.core.times import DAY, to_text
from remit.services import agents, grants, people, review, servers
from remit.services.authority import AuthorityCache
from remit.services.deps import Deps
from remit.services.documents import Document
from remit.services.sealing import Sealer
from remit.storage.sqlite import SqliteStore, open_store
from remit.storage.subject_keys import SubjectKeys
from remit.tokens.jwt import SessionTokens
from remit.tokens.keys import SecretBox, SigningKey

START = 1_795_000_000_000
ISSUER = "http://localhost:8765"
IDENTITY: dict[str, Any] = {"serverInfo": {"name": "office", "version": "1"}, "instructions": "Be kind."}
PAY_SCHEMA = {
    "type": "object",
    "properties": {
        "recipient": {"type": "string"},
        "amount": {"type": "number"},
        "note": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
    },
    "required": ["recipient", "amount"],
}


@dataclass
class HandClock:
    """Time that moves when a test says so."""

    at: int = START

    def now(self) -> int:
        return self.at


class SystemEntropy:
    """Real randomness: ids must differ."""

    def bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


def tool(name: str, schema: Mapping[str, Any] | None = None, **members: Any) -> bytes:
    """One Tool object as a server would send it."""
    return json.dumps({"name": name, "inputSchema": schema or {"type": "object"}, **members}).encode()


PAY = tool("pay_invoice", PAY_SCHEMA, description="Pay an invoice.")
READ = tool("read_mail", {"type": "object", "properties": {"id": {"type": "string"}}}, description="Read one mail.")


def pay_review(fingerprint: str, **members: Any) -> dict[str, Any]:
    """A good review of ``PAY``."""
    return {
        "kind": "ToolReview",
        "server": "office",
        "tool": "pay_invoice",
        "fingerprint": fingerprint,
        "effect": "spend",
        "arguments": {
            "/recipient": {"role": "who", "type": "iban"},
            "/amount": {"role": "how_much", "type": "money", "unit": "EUR"},
            "/note": {"role": "free_text"},
        },
        "limits": [{"name": "eur", "of": "/amount", "unit": "EUR"}],
        "intent": ["pay"],
        **members,
    }


# It says what is to be done, and gives no value: so flow asks about the values alone.
TASK: list[Json] = [{"text": "Pay what is due.", "source": "principal"}]
# Of these arguments flow demands nothing: for tests of the other steps in sessions that have seen anything.
UNDEMANDING = {
    "/recipient": {"role": "free"},
    "/amount": {"role": "free", "type": "money", "unit": "EUR"},
    "/note": {"role": "free"},
}


@dataclass
class World:
    """One organization: its dependencies, its administrator, and short ways to do the usual things."""

    deps: Deps
    clock: HandClock
    admin: PersonCaller
    path: Path
    lists: dict[str, list[bytes]] = field(default_factory=dict)

    async def person(self, email: str, *roles: str) -> PersonCaller:
        """Another signed-in person."""
        document: Document = {"kind": "Person", "email": email, "name": email, "roles": list(roles)}
        made = await people.add(self.deps, self.admin, document)
        return await self.signed_in(str(made["id"]))

    async def signed_in(self, id: str) -> PersonCaller:
        """The person as the store has them now."""
        async with self.deps.store.view(self.deps.org) as view:
            person = await view.nouns.get(Person, id)
        assert person is not None
        return PersonCaller(org=self.deps.org, key="key_0", person=person)

    def later(self, millis: int = 1_000) -> None:
        """Let time pass."""
        self.clock.at += millis

    def in_future(self, millis: int = 30 * DAY) -> str:
        """A time to come, as a file writes it."""
        return to_text(self.clock.at + millis)

    async def server(self, *definitions: bytes, name: str = "office") -> dict[str, Any]:
        """A server that lists these tools, synced by the administrator."""
        await servers.add(self.deps, self.admin, {"kind": "Server", "name": name, "url": "http://127.0.0.1:9/mcp"})
        return await self.sync(*definitions, name=name)

    async def sync(
        self, *definitions: bytes, name: str = "office", by: PersonCaller | None = None, identity: Any = None
    ) -> dict[str, Any]:
        """What the server lists now."""
        self.later()
        return await review.sync(self.deps, by or self.admin, name, identity or IDENTITY, definitions)

    async def offered(self, ref: str) -> str:
        """The fingerprint that is offered now."""
        return str((await review.show(self.deps, self.admin, ref))["offered"])

    async def state(self, ref: str) -> str:
        """The tool's state."""
        return str((await review.show(self.deps, self.admin, ref))["state"])

    async def review(self, ref: str, **members: Any) -> dict[str, Any]:
        """A plain review of the definition offered now."""
        self.later()
        server, _, name = ref.partition("/")
        document = {
            "kind": "ToolReview",
            "server": server,
            "tool": name,
            "fingerprint": await self.offered(ref),
            "effect": "read",
            **members,
        }
        return await review.apply_review(self.deps, self.admin, document)

    async def review_pay(self, **members: Any) -> dict[str, Any]:
        """The good review of ``PAY``."""
        self.later()
        document = pay_review(await self.offered("office/pay_invoice"), **members)
        return await review.apply_review(self.deps, self.admin, document)

    async def without_demands(self) -> None:
        """From here on flow demands nothing of a payment."""
        await self.review_pay(arguments=UNDEMANDING)

    async def agent(self, name: str = "bookkeeper", **members: Any) -> dict[str, Any]:
        """A draft with everything but a grant."""
        document = {
            "kind": "Agent",
            "name": name,
            "owner": self.admin.person.email,
            "purpose": "Pays approved supplier invoices",
            "expires": self.in_future(),
            **members,
        }
        return await agents.create(
            self.deps, self.admin, {key: value for key, value in document.items() if value is not None}
        )

    async def grant(self, *tools: Any, agent: str = "bookkeeper", **members: Any) -> dict[str, Any]:
        """A grant to an agent."""
        self.later()
        document = {"kind": "Grant", "agent": agent, "tools": list(tools), "expires": self.in_future(), **members}
        return await grants.apply(self.deps, self.admin, document)

    async def live_agent(self, name: str = "bookkeeper", **members: Any) -> dict[str, Any]:
        """An active agent that may read mail."""
        if "office" not in self.lists:
            self.lists["office"] = [READ]
            await self.server(READ)
            await self.review("office/read_mail")
        await self.agent(name, **members)
        await self.grant("office/read_mail", agent=name)
        return await agents.activate(self.deps, self.admin, name)

    async def reaches(self, ref: str, agent: str = "bookkeeper") -> bool:
        """Whether a decision would find a live grant of this agent for this tool, as the registry stands."""
        async with self.deps.store.view(self.deps.org) as view:
            authority = await AuthorityCache().current(view)
        known = authority.tools.get(ref)
        named = next(one.id for one in authority.agents.values() if one.name == agent)
        now = self.clock.now()
        return (
            known is not None
            and known.tool.state == "approved"
            and bool(authority.grants_reaching(named, known.tool, now))
        )

    async def leaves(self) -> list[dict[str, Any]]:
        """Every event."""
        return [json.loads(leaf) for leaf in await self.raw_leaves()]

    async def raw_leaves(self) -> list[bytes]:
        """Every event's bytes."""
        async with self.deps.store.view(self.deps.org) as view:
            return [entry.leaf for entry in await view.log.read(0, await view.log.size())]

    async def kinds(self) -> list[int]:
        """The kinds of all events, in order."""
        return [leaf["k"] for leaf in await self.leaves()]

    async def epoch(self) -> int:
        """The registry's epoch."""
        async with self.deps.store.view(self.deps.org) as view:
            return await view.nouns.epoch()


def make_deps(store: SqliteStore, clock: HandClock, sealer: Sealer) -> Deps:
    """The dependencies of one process on ``store``."""
    return Deps(
        org="main",
        issuer=ISSUER,
        instance="i-test",
        store=store,
        clock=clock,
        entropy=SystemEntropy(),
        sealer=sealer,
        tokens=SessionTokens(SigningKey.create(), ISSUER),
        box=SecretBox(bytes(32)),
        authority=AuthorityCache(),
    )


def race_for_name(path: Path, name: str, barrier: Any, outcomes: Any) -> None:
    """In a process of its own: add a server of this name at the same moment as another process does."""
    anyio.run(_race, path, name, barrier, outcomes)


async def _race(path: Path, name: str, barrier: Any, outcomes: Any) -> None:
    clock = HandClock()
    sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
    store = await open_store(path / "remit.db", clock, sealer)
    deps = make_deps(store, clock, sealer)
    async with store.view(deps.org) as view:
        admin = (await view.nouns.all(Person))[0]
    caller = PersonCaller(org=deps.org, key="key_0", person=admin)
    barrier.wait(30)
    try:
        await servers.add(deps, caller, {"kind": "Server", "name": name, "caller": True})
        outcomes.put("added")
    except NameTaken:
        outcomes.put("taken")
    finally:
        await store.close()
