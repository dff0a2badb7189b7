"""Documents and nouns are two forms of one thing, and nothing but the written form gets in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.agents import Agent
from remit.core.errors import InvalidDocument
from remit.core.grants import Grant, Limits, NamedTool, ToolsByEffect
from remit.core.ids import new_id
from remit.core.people import ROLES, Person
from remit.core.servers import CallerTransport, HttpTransport, Server, StdioTransport, Tls
from remit.core.tools import (
    EFFECTS,
    ArgumentReview,
    FieldReview,
    LimitReview,
    OtherCall,
    OutputReview,
    RecordsReview,
    ToolReview,
)
from remit.guards.documents import check_answer, check_document, kinds, schema
from remit.services.documents import (
    Directory,
    agent_document,
    grant_document,
    person_document,
    read_agent,
    read_grant,
    read_person,
    read_server,
    server_document,
)
from remit.services.review_document import read_review, review_document

ORG, CREATED = "main", 1_795_000_000_000
ADA = Person(
    org=ORG,
    id=new_id("per", 1, bytes(10)),
    email="ada@example.test",
    name="Ada",
    roles=ROLES,
    state="active",
    created=CREATED,
)
BOT = Agent(
    org=ORG,
    id=new_id("agt", 1, bytes(10)),
    name="bot",
    owner=ADA.id,
    purpose="Reads",
    mode="delegated",
    state="draft",
    expires=CREATED,
    review_by=None,
    created=CREATED,
)
OFFICE = Server(org=ORG, id=new_id("srv", 1, bytes(10)), name="office", transport=CallerTransport(), created=CREATED)
KNOWN = Directory(people={ADA.id: ADA}, agents={BOT.id: BOT}, servers={OFFICE.id: OFFICE})
READ_ONLY = ("id", "state", "created_at", "secrets", "pinned", "seen")

times = st.integers(0, 4_000_000_000_000)
slugs = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
lines = st.text(st.characters(exclude_categories=("C", "Z"), max_codepoint=0x1FFF), min_size=1, max_size=40)
pointers = st.lists(st.sampled_from(["a", "b~0", "c~1d", "*", "e f"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
types = st.none() | st.sampled_from(["iban", "email", "office:invoice"])
units = st.none() | st.sampled_from(["EUR", "rows"])


def as_file(document: dict[str, Any]) -> dict[str, Any]:
    """What a person would write: an answer without the members that Remit sets."""
    return {name: value for name, value in document.items() if name not in READ_ONLY}


@given(slugs, st.none() | lines, st.sampled_from(["delegated", "autonomous"]), st.none() | times, st.none() | times)
def test_an_agent_reads_back_as_itself(
    name: str, purpose: str | None, mode: Any, ends: int | None, review: int | None
) -> None:
    agent = Agent(
        org=ORG,
        id="agt_x",
        name=name,
        owner=ADA.id,
        purpose=purpose,
        mode=mode,
        state="draft",
        expires=ends,
        review_by=review,
        created=CREATED,
    )
    document = agent_document(agent, KNOWN)
    assert read_agent(as_file(document), KNOWN, org=ORG, id="agt_x", created=CREATED) == agent


@given(lines, st.lists(st.sampled_from(ROLES), min_size=1, unique=True).map(tuple))
def test_a_person_reads_back_as_themself(name: str, roles: Any) -> None:
    person = Person(org=ORG, id=ADA.id, email="a@b", name=name, roles=roles, state="active", created=CREATED)
    document = person_document(person)
    check_answer("Person", document)
    assert read_person(as_file(document), org=ORG, id=ADA.id, created=CREATED) == person


transports = st.one_of(
    st.just(CallerTransport()),
    st.sampled_from([HttpTransport("https://mcp.example.test/mcp?x=1"), HttpTransport("http://127.0.0.1:9000/")]),
    st.just(HttpTransport("http://mcp.example.test/", insecure=True)),
    st.builds(
        HttpTransport,
        st.just("https://mcp.example.test/"),
        st.builds(Tls, st.none() | st.just("/ca.pem"), st.just("/cert.pem")),
    ),
    st.builds(
        StdioTransport,
        st.just("/usr/bin/env"),
        st.lists(lines, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["A", "B_1"]), lines, max_size=2).map(lambda env: tuple(env.items())),
    ),
)


@given(
    slugs,
    transports,
    st.booleans(),
    lines,
    st.lists(st.sampled_from(["finance", "hr"]), unique=True).map(tuple),
    st.none() | st.integers(1, 3_600),
)
def test_a_server_reads_back_as_itself(
    name: str, transport: Any, flag: bool, operator: str, clearance: Any, number: int | None
) -> None:
    server = Server(
        org=ORG,
        id=OFFICE.id,
        name=name,
        transport=transport,
        shared=flag,
        operator=operator,
        clearance=clearance,
        allow_sampling=flag,
        timeout=number * 1_000 if number is not None else None,
        concurrency=number,
        observe_until=CREATED + number if number is not None else None,
        created=CREATED,
    )
    document = server_document(server)
    check_answer("Server", document)
    assert read_server(as_file(document), org=ORG, id=OFFICE.id, created=CREATED) == server


selectors = st.one_of(
    st.just(NamedTool("office/pay", "spend")),
    st.builds(
        ToolsByEffect,
        st.just(OFFICE.id),
        st.lists(st.sampled_from(EFFECTS), min_size=1, unique=True).map(tuple),
        st.booleans(),
    ),
)
ceilings = st.builds(
    Limits,
    st.sampled_from(["call", "session", "day"]),
    st.dictionaries(st.just("calls"), st.integers(0, 99).map(lambda n: n * 10_000), min_size=1)
    | st.dictionaries(st.sampled_from(["eur", "rows"]), st.integers(0, 10**12), min_size=1),
)


@given(
    st.lists(selectors, min_size=1, max_size=3).map(tuple),
    st.none() | lines,
    st.lists(ceilings, max_size=2).map(tuple),
    times,
    st.booleans(),
)
def test_a_grant_reads_back_as_itself(tools: Any, when: str | None, limits: Any, expires: int, personal: bool) -> None:
    grant = Grant(
        org=ORG,
        id=new_id("grt", 1, bytes(10)),
        agent=None if personal else BOT.id,
        person=ADA.id if personal else None,
        tools=tools,
        when=when,
        limits=limits,
        expires=expires,
        state="active",
        created=CREATED,
    )
    document = grant_document(grant, KNOWN)
    check_answer("Grant", document)
    effects: Any = {"office/pay": "spend"}
    assert read_grant(as_file(document), KNOWN, effects, org=ORG, id=grant.id, created=CREATED) == grant


others = st.builds(
    OtherCall,
    tool=st.just("office/cancel"),
    arguments=st.dictionaries(pointers, pointers, max_size=2),
    done_if=pointers,
)
reviews = st.builds(
    ToolReview,
    org=st.just(ORG),
    id=st.just("rev_x"),
    tool=st.sampled_from(["office/pay", "office/a/b.c"]),
    fingerprint=st.just("sha256:" + "a" * 64),
    effect=st.sampled_from(EFFECTS),
    arguments=st.dictionaries(
        pointers,
        st.builds(
            ArgumentReview,
            role=st.sampled_from(["who", "what", "how_much", "reference", "free_text", "free"]),
            type=types,
            unit=units,
        ),
        max_size=3,
    ),
    output=st.builds(
        OutputReview,
        form=st.sampled_from(["structured", "json_text", "opaque"]),
        fields=st.dictionaries(
            pointers,
            st.builds(
                FieldReview,
                writer=st.sampled_from(["system", "members", "anyone"]),
                type=types,
                naming=st.booleans(),
                custodian=st.booleans(),
                confidentiality=st.sampled_from([(), ("finance",), ("finance", "hr")]),
            ),
            max_size=3,
        ),
        records=st.none()
        | st.builds(
            RecordsReview,
            at=pointers,
            id=pointers,
            page=st.lists(pointers, unique=True, max_size=2).map(tuple),
            listing=st.sampled_from(["system", "members", "anyone"]),
        ),
    ),
    mints=st.dictionaries(pointers, st.just("office:payment"), max_size=2),
    discloses=st.lists(
        st.one_of(st.just({"operator": "office"}), pointers.map(lambda at: {"readers_of": at})), max_size=2
    ).map(tuple),
    limits=st.lists(
        st.builds(LimitReview, name=st.sampled_from(["eur", "rows"]), of=st.just("call") | pointers, unit=units),
        max_size=2,
    ).map(tuple),
    reversible=st.booleans(),
    inverse=st.none(),
    intent=st.lists(st.sampled_from(["pay", "settle"]), unique=True).map(tuple),
    idempotency=st.none() | pointers,
    reconcile=st.none() | others,
    reviewed_by=st.just(ADA.id),
    reviewed_at=times,
)


@given(reviews)
def test_a_review_reads_back_as_itself(review: ToolReview) -> None:
    document = review_document(review, ADA.email)
    check_answer("ToolReview", document)
    again = read_review(document, org=ORG, id=review.id, reviewed_by=review.reviewed_by, reviewed_at=review.reviewed_at)
    assert again == review


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"kind": "Server", "name": "a", "url": "ftp://x/"}, "/url"),
        ({"kind": "Server", "name": "a", "url": "http://u:p@x/"}, "/url"),
        ({"kind": "Server", "name": "a", "url": "http://x/#f"}, "/url"),
        ({"kind": "Server", "name": "a", "url": "http:///x"}, "/url"),
        ({"kind": "Server", "name": "a", "url": "http://[x/"}, "/url"),
        ({"kind": "Server", "name": "a", "stdio": {"command": "npx"}}, "/stdio/command"),
        ({"kind": "Server", "name": "a", "stdio": {"command": "../x"}}, "/stdio/command"),
        ({"kind": "Server", "name": "a", "stdio": {"command": "/x", "env": {"A=B": "1"}}}, "/stdio/env"),
        ({"kind": "Server", "name": "a__b", "caller": True}, "/name"),
        ({"kind": "Server", "name": "a"}, ""),
        ({"kind": "Server", "name": "a", "caller": True, "url": "http://x/"}, ""),
        ({"kind": "Server", "name": "a", "caller": True, "pinned": "sha256:" + "a" * 64}, "/pinned"),
        ({"kind": "Agent", "name": "a", "caller": True}, "/kind"),
    ],
)
def test_a_server_that_could_reach_elsewhere_is_refused(document: Any, pointer: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_server(document, org=ORG, id=OFFICE.id, created=CREATED)
    assert refused.value.pointer in (pointer, "/caller")


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"state": "active"}, "/state"),
        ({"owner": "nobody@example.test"}, "/owner"),
        ({"expires": "2027-02-30T00:00:00.000Z"}, "/expires"),
        ({"expires": "2027-02-20T00:00:00+01:00"}, "/expires"),
        ({"purpose": "a\nb"}, "/purpose"),
        ({"purpose": "a\u202eb"}, "/purpose"),
        ({"name": "Bot"}, "/name"),
        ({"apiVersion": "remit/v2"}, "/apiVersion"),
    ],
)
def test_an_agent_file_says_only_what_a_file_may_say(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_agent({"kind": "Agent", "name": "a", **members}, KNOWN, org=ORG, id="agt_x", created=CREATED)
    assert refused.value.pointer == pointer


def test_every_member_of_every_schema_is_described_in_a_sentence() -> None:
    def members(node: Any) -> Any:
        if isinstance(node, dict):
            properties = node.get("properties", {})
            yield from (properties.items() if isinstance(properties, dict) and node.get("type") == "object" else ())
            for value in node.values():
                yield from members(value)
        elif isinstance(node, list):
            for value in node:
                yield from members(value)

    for kind in kinds():
        for name, member in members(schema(kind)):
            assert str(member.get("description", "")).endswith("."), f"{kind}: {name}"


def test_every_object_of_every_schema_is_closed() -> None:
    def objects(node: Any) -> Any:
        if isinstance(node, dict):
            if isinstance(node.get("properties"), dict) and node.get("type") == "object":
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)

    for kind in kinds():
        for node in objects(schema(kind)):
            assert node.get("additionalProperties") is False, kind


def test_a_printed_schema_stands_alone() -> None:
    for kind in kinds():
        assert ".json#" not in repr(schema(kind))
        assert "Values.json" not in repr(schema(kind))


def test_a_document_of_an_unknown_kind_is_refused() -> None:
    for kind in ("Values", "Nothing", "../Agent"):
        with pytest.raises(InvalidDocument, match="no kind"):
            check_document(kind, {})
