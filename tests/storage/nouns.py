"""What the store's tests put into a store: one good example of each noun, and strategies that draw any."""

import types
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from remit.core.access import AccessRequest, AccessState
from remit.core.agents import Agent
from remit.core.approvals import Approval, ApprovalState
from remit.core.blueprints import Blueprint, GrantTemplate
from remit.core.calls import Call, CallState, Reservation
from remit.core.canonical import Json
from remit.core.clients import Client, ClientSecret, Workload
from remit.core.credentials import Key
from remit.core.departures import Departure
from remit.core.events import EventDraft, Kind
from remit.core.grants import Grant, Limits, NamedTool, ToolsByEffect
from remit.core.ids import ALPHABET
from remit.core.people import Person
from remit.core.policies import PolicyRevision
from remit.core.ports import Noun, Store, Unit
from remit.core.rules import Ceiling, Reached, Rule
from remit.core.servers import InjectedSecret, Server, StdioTransport
from remit.core.sessions import FlowState, Segment, Session
from remit.core.tools import (
    ArgumentReview,
    Definition,
    FieldReview,
    LimitReview,
    OtherCall,
    OutputReview,
    RecordsReview,
    Tool,
    ToolReview,
)

NOUNS: Final[tuple[Any, ...]] = (
    Person,
    Agent,
    Server,
    Definition,
    Tool,
    ToolReview,
    Grant,
    Key,
    PolicyRevision,
    Rule,
    Client,
    Departure,
    Blueprint,
)
STORED: Final[tuple[Any, ...]] = (*NOUNS, Session, FlowState, Call, Approval, AccessRequest)

I64: Final = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def ident(prefix: str, number: int) -> str:
    """An id of the right form, by number."""
    digits = ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits = ALPHABET[digit] + digits
    return f"{prefix}_{digits}"


PERSON: Final = ident("per", 1)


def agent(number: int = 1, name: str = "bookkeeper", org: str = "main", **members: Any) -> Agent:
    """An active agent; any member may be another."""
    facts: dict[str, Any] = {
        "owner": PERSON,
        "purpose": "Pays approved supplier invoices",
        "mode": "delegated",
        "state": "active",
        "expires": 2_000,
        "review_by": None,
        "created": 1_000,
    }
    return Agent(org=org, id=ident("agt", number), name=name, **{**facts, **members})


def examples(org: str = "main") -> tuple[Noun, ...]:
    """One of every noun, all members set to something that is not its default."""
    review = ToolReview(
        org=org,
        id=ident("rev", 1),
        tool="office/pay",
        fingerprint="sha256:1",
        effect="spend",
        arguments={
            "/to": ArgumentReview(role="who", type="iban"),
            "/amount": ArgumentReview(role="how_much", type="money", unit="EUR"),
        },
        output=OutputReview(
            form="structured",
            fields={
                "/id": FieldReview(
                    writer="system", type="office:id", naming=True, custodian=True, confidentiality=("finance",)
                )
            },
            records=RecordsReview(at="/items/*", id="/items/*/id", page=("/limit",), listing="members"),
        ),
        mints={"/id": "office:payment"},
        discloses=({"operator": "office"}, {"readers_of": "/to"}),
        limits=(LimitReview(name="eur", of="/amount", unit="EUR"), LimitReview(name="calls", of="call")),
        reversible=True,
        inverse=OtherCall(tool="office/cancel", arguments={"/id": "/id"}),
        intent=("pay", "settle"),
        idempotency="/key",
        reconcile=OtherCall(tool="office/find", arguments={"/key": "/key"}, done_if="/found"),
        reviewed_by=PERSON,
        reviewed_at=5,
        suggested=True,
    )
    return (
        Person(
            org=org,
            id=PERSON,
            email="ada@example.test",
            name="Ada \N{LATIN SMALL LETTER O WITH DIAERESIS}",
            roles=("administrator", "owner"),
            state="active",
            created=1,
        ),
        agent(org=org),
        Server(
            org=org,
            id=ident("srv", 1),
            name="office",
            transport=StdioTransport("python", ("-m", "office"), (("HOME", "/home"), ("TOKEN", "vault:token"))),
            secrets=(InjectedSecret("env", "TOKEN"),),
            shared=True,
            operator="office",
            clearance=("finance",),
            allow_elicitation=True,
            allow_sampling=True,
            state="retired",
            pinned="sha256:1",
            seen="sha256:2",
            created=2,
        ),
        Definition(
            org=org, id="office/pay@sha256:1", tool="office/pay", fingerprint="sha256:1", body="{}", first_seen=3
        ),
        Tool(
            org=org,
            id=ident("tol", 1),
            server=ident("srv", 1),
            ref="office/pay",
            alias="office__pay",
            pinned="sha256:1",
            offered="sha256:1",
            review=review.id,
            effect="spend",
            approved_at=4,
            created=4,
        ),
        review,
        Grant(
            org=org,
            id=ident("grt", 1),
            agent=ident("agt", 1),
            person=None,
            tools=(NamedTool("office/pay", "spend"), ToolsByEffect(ident("srv", 1), ("read", "fetch"), future=True)),
            when="context.args.amount < 5",
            limits=(Limits("day", {"eur": 2_500_000}),),
            expires=9,
            state="active",
            created=6,
        ),
        Key(
            org=org,
            id=ident("key", 1),
            purpose="host",
            agent=ident("agt", 1),
            person=None,
            digest="sha256:9",
            expires=9,
            state="active",
            created=7,
        ),
        PolicyRevision(
            org=org, id="1", version="sha256:3", sources=(("ask.cedar", "forbid …"),), applied_by=PERSON, applied_at=8
        ),
        Rule(
            org=org,
            id=ident("rul", 1),
            name="eur-a-day",
            says="At most 500 EUR a day.",
            tools=(Reached(ref="office/pay"), Reached(server=ident("srv", 1), effects=("spend",))),
            per="team",
            agents=(ident("agt", 1),),
            window=86_400_000,
            ceiling=Ceiling("eur", 5_000_000, "EUR"),
            once=None,
            first=None,
            state="revoked",
            version=2,
            applied_by=PERSON,
            applied_at=9,
        ),
        Client(
            org=org,
            id=ident("cli", 1),
            name="desk",
            agent=ident("agt", 1),
            auth="workload",
            grants=("client_credentials",),
            redirects=("http://127.0.0.1/back",),
            state="retired",
            created=10,
            secrets=(ClientSecret("sha256:4", 11),),
            keys='{"keys":[]}',
            workload=Workload(
                issuer="https://issuer.test",
                audience="remit",
                subject="repo:*",
                claims=(("ref", "main"),),
                keys_url="https://issuer.test/k",
            ),
            document="https://client.test/remit.json",
            dpop=True,
        ),
        Departure(
            org=org, id=ident("dep", 1), person=PERSON, to=None, asked_by=ident("per", 2), asked_at=9, state="open"
        ),
        Blueprint(
            org=org,
            id=ident("blp", 1),
            name="clerks",
            version=3,
            owner=PERSON,
            deputy=ident("per", 2),
            purpose="Reads and pays",
            mode="delegated",
            model=None,
            life=86_400_000,
            most_instances=10,
            grants=(
                GrantTemplate(
                    "paying",
                    (NamedTool("office/pay", "spend"), ToolsByEffect(ident("srv", 1), ("read",))),
                    "context.args.n < 3",
                    (Limits("day", {"eur": 5}),),
                ),
            ),
            state="active",
            created=9,
        ),
    )


def session(number: int = 1, root: int | None = None, org: str = "main", **members: Any) -> Session:
    """A session, a root of its own unless ``root`` says otherwise."""
    facts: dict[str, Any] = {
        "parent": None if root is None else ident("ses", root),
        "agent": ident("agt", 1),
        "principal": PERSON,
        "chain": (PERSON, ident("agt", 1)),
        "key": ident("key", 1),
        "task": (Segment("pay the invoice", "principal"), Segment("a mail", "quoted")),
        "plan": None,
        "context": "attested",
        "state": "active",
        "created": 1,
        "expires": 9,
    }
    of = ident("ses", number if root is None else root)
    return Session(org=org, id=ident("ses", number), root=of, **{**facts, **members})


def call(call_id: str = "c1", state: CallState = "open", org: str = "main", **members: Any) -> Call:
    """A call of session 1."""
    facts: dict[str, Any] = {
        "session": ident("ses", 1),
        "root": ident("ses", 1),
        "tool": "office/pay",
        "fingerprint": "sha256:1",
        "arguments_hash": "sha256:2",
        "answer": b'{"decision":"allow"}\xff\x00',
        "intent": 3,
        "instance": "i-1",
        "deadline": 10,
        "reservations": (held(5),),
    }
    return Call(org=org, call_id=call_id, state=state, **{**facts, **members})


def held(amount: int, scope: str = "scope", name: str = "eur", bucket: int = 0) -> Reservation:
    """An amount to hold."""
    return Reservation(ident("grt", 1), scope, name, bucket, amount)


def approval(number: int = 1, state: ApprovalState = "pending", org: str = "main", **members: Any) -> Approval:
    """A question about one exact call of session 1."""
    facts: dict[str, Any] = {
        "kind": "call",
        "agent": ident("agt", 1),
        "chain": (PERSON, ident("agt", 1)),
        "session": ident("ses", 1),
        "root": ident("ses", 1),
        "credential": ident("key", 1),
        "tool": "office/pay",
        "fingerprint": "sha256:1",
        "server": ident("srv", 1),
        "server_fingerprint": None,
        "arguments": b'{"to":"DE"}',
        "arguments_hash": "sha256:2",
        "references": ("17",),
        "policy_version": "sha256:3",
        "authority_version": "sha256:4",
        "asked_at": 1,
        "expires_at": 9,
        "asked_event": 2,
    }
    return Approval(org=org, id=ident("apr", number), state=state, **{**facts, **members})


def access_request(number: int = 1, state: AccessState = "open", org: str = "main", **members: Any) -> AccessRequest:
    """What agent 1 was refused."""
    facts: dict[str, Any] = {
        "agent": ident("agt", 1),
        "people": (PERSON,),
        "tool": "office/pay",
        "code": "policy.denied",
        "rule": "r",
        "count": 1,
        "first": 1,
        "last": 2,
        "expires": 9,
        "events": (7,),
    }
    return AccessRequest(org=org, id=ident("acr", number), state=state, **{**facts, **members})


def event(kind: Kind = Kind.DENIED, private: Mapping[str, Json] | None = None, **members: Any) -> EventDraft:
    """An event of person 1."""
    return EventDraft(kind=kind, actor=PERSON, subject=PERSON, private=private or {}, **members)


Work: TypeAlias = Callable[[Unit], Awaitable[object]]


class ChangedMind(Exception):
    """What a unit is left with for no fault of the store's."""


async def undone(store: Store, work: Work, org: str = "main") -> object:
    """Do this work in a unit that is then left by an exception; what the work gave."""
    found = None
    try:
        async with store.unit(org) as unit:
            found = await work(unit)
            raise ChangedMind
    except ChangedMind:
        return found


async def done(store: Store, work: Work, org: str = "main") -> object:
    """Do this work in a unit; what it gave."""
    async with store.unit(org) as unit:
        return await work(unit)


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a member's type, as far as a store must keep it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([any_of(one) for one in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(any_of(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(any_of, arguments))
    if origin is frozenset:
        return st.frozensets(any_of(arguments[0]), max_size=3)
    if origin is Mapping:
        return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=3)
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return st.builds(hint, **{one.name: any_of(hints[one.name]) for one in fields(hint)})
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=20),
        int: I64,
        bool: st.booleans(),
        bytes: st.binary(max_size=20),
        type(None): st.none(),
    }
    return plain[hint]
