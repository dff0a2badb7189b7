"""Nouns made by hand for policy: agents, tools, grants, an engine over them, and raw Cedar for the negative controls."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cedarpy

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.grants import Grant, NamedTool, ToolSelector
from remit.core.people import Person
from remit.core.servers import CallerTransport, Server
from remit.core.times import DAY
from remit.core.tools import ArgumentReview, Effect, Tool
from remit.policy.engine import Engine
from remit.policy.terms import PolicyAnswer, PolicyContext, PolicySource, Principal, ToolFacts

NOW = 1_795_000_000_000
AGENT = Principal("Agent", "agt_1")
PERSON = Principal("Person", "per_1")
OBJECT: dict[str, Json] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "amount": {"type": "number"},
        "on": {"type": "boolean"},
    },
}


def agent(id: str = "agt_1", **members: Any) -> Agent:
    facts: dict[str, Any] = {"owner": "per_1", "purpose": "Tests.", "mode": "autonomous", "state": "active"}
    dates: dict[str, Any] = {"expires": NOW + DAY, "review_by": None, "created": 0}
    return Agent(**{"org": "main", "id": id, "name": id[4:], **facts, **dates, **members})


def person(id: str = "per_1", **members: Any) -> Person:
    facts: dict[str, Any] = {"email": f"{id}@example.test", "name": id, "roles": ("owner",), "state": "active"}
    return Person(**{"org": "main", "id": id, "created": 0, **facts, **members})


def server(name: str = "office", **members: Any) -> Server:
    facts: dict[str, Any] = {"transport": CallerTransport(), "created": 0}
    return Server(**{"org": "main", "id": f"srv_{name}", "name": name, **facts, **members})


def facts(
    ref: str = "office/pay",
    effect: Effect = "read",
    properties: Mapping[str, Json] | None = None,
    *,
    schema: Json = None,
    money: Sequence[str] = (),
    **members: Any,
) -> ToolFacts:
    """One reviewed tool. ``properties`` are those of its input; ``schema`` is the whole of it."""
    whole = schema if schema is not None else OBJECT if properties is None else {**OBJECT, "properties": properties}
    pins: dict[str, Any] = {
        "pinned": "sha256:1",
        "offered": "sha256:1",
        "review": "rev_1",
        "approved_at": 1,
        "created": 1,
    }
    of: dict[str, Any] = {"server": "srv_" + ref.partition("/")[0], "alias": ref.replace("/", "__"), "effect": effect}
    tool = Tool(**{"org": "main", "id": f"tol_{ref}", "ref": ref, **pins, **of, **members})
    reviewed = {pointer: ArgumentReview(role="how_much", type="money", unit="EUR") for pointer in money}
    return ToolFacts(tool=tool, input_schema=whole, arguments=reviewed)


def grant(id: str = "grt_1", *tools: ToolSelector, when: str | None = None, **members: Any) -> Grant:
    selectors = tools or (NamedTool("office/pay", "read"),)
    terms: dict[str, Any] = {"limits": (), "expires": NOW + DAY, "state": "active", "created": 2}
    holder: dict[str, Any] = {"agent": "agt_1", "person": None}
    return Grant(**{"org": "main", "id": id, "tools": selectors, "when": when, **holder, **terms, **members})


def engine(
    policies: str = "", grants: Sequence[Grant] | None = None, tools: Sequence[ToolFacts] | None = None, **nouns: Any
) -> Engine:
    """An engine for one agent that may pay, unless told otherwise."""
    return Engine.compile(
        [PolicySource("own.cedar", policies)] if policies else [],
        [grant()] if grants is None else grants,
        [facts()] if tools is None else tools,
        nouns.get("agents", [agent()]),
        nouns.get("people", [person()]),
        nouns.get("servers", [server()]),
    )


def context(engine: Engine, ref: str, arguments: Mapping[str, Json], **members: Any) -> PolicyContext:
    seen: dict[str, Any] = {"integrity": "trusted", "confidentiality": frozenset(), "intents": frozenset()}
    facts: dict[str, Any] = {"calls": 0, "chain": ("agt_1",), "now_ms": NOW}
    return PolicyContext(args=engine.encode(ref, arguments), **{**seen, **facts, **members})


def ask(
    engine: Engine,
    arguments: Mapping[str, Json] | None = None,
    ref: str = "office/pay",
    principal: Principal = AGENT,
    **members: Any,
) -> PolicyAnswer:
    """One question, arguments as JSON was read."""
    return engine.decide(principal, ref, context(engine, ref, arguments or {}, **members))


def raw(policies: str, context: Mapping[str, Any] | None = None, **more: Any) -> cedarpy.AuthzResult:
    """The same call put to Cedar with nothing of ours between: text, no schema, context as it came."""
    request = {
        "principal": 'Remit::Agent::"agt_1"',
        "action": 'Remit::Action::"office/pay"',
        "resource": 'Remit::Server::"srv_office"',
        "context": json.dumps(context or {}),
    }
    return cedarpy.is_authorized(
        request | more.get("request", {}), policies, more.get("entities", []), more.get("schema")
    )


def raw_allows(policies: str, context: Mapping[str, Any] | None = None, **more: Any) -> bool:
    return raw(policies, context, **more).decision is cedarpy.Decision.Allow
