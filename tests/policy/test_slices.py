"""Every slice held against the whole: generated worlds, all policies and grants as text, all entities, bare Cedar."""

import itertools
import json
import random
from dataclasses import dataclass
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.agents import Agent
from remit.core.grants import Grant, NamedTool, ToolsByEffect, ToolSelector
from remit.core.times import to_text
from remit.core.tools import EFFECTS
from remit.policy.cedar import parse
from remit.policy.engine import Engine
from remit.policy.slices import may_apply, named, places_read
from remit.policy.terms import PolicySource, Principal, ToolFacts
from tests.policy.made import NOW, agent, ask, engine, facts, grant, person, raw_allows, server

AGENTS = ("agt_1", "agt_2", "agt_3")  # the last one is suspended
PEOPLE = ("per_1", "per_2")
SERVERS = ("office", "git", "bare")
TOOLS = ("office/pay", "office/read", "git/push", "git/log", "git/read")
LISTED = {"n": {"type": "integer"}, "s": {"type": "string"}}
OVERFLOW = f"context.args has n && context.args.n + {2**63 - 4} > 5"

CONDITIONS = [
    "true",
    "false",
    "context.args has n",
    "context.args has n && context.args.n < 3",
    'context.args has s && context.args.s == "a"',
    "context.session.calls == 1",
    "context.approval.present",
    OVERFLOW,
    'context.chain.contains("agt_2")',
    "principal is Remit::Person",
    'principal == Remit::Agent::"agt_1"',
    'principal in [Remit::Agent::"agt_2", Remit::Agent::"agt_1"]',
    'resource == Remit::Server::"srv_git"',
    'resource.name == "git"',
    'Remit::Agent::"agt_2" has owner',
    'Remit::Agent::"agt_2".owner == "per_1"',
    'Remit::Agent::"agt_3" has owner',
    'Remit::Agent::"agt_3".mode == "autonomous"',
    'Remit::Person::"per_2".roles.contains("owner")',
    'Remit::Server::"srv_git".name == "git"',
    '[Remit::Server::"srv_bare"].contains(resource) || Remit::Server::"srv_bare" has name',
]
# A grant is held against one tool at a time, and may not name another; an operator may name any.
PLACES = [
    'action in Remit::Action::"effect:write"',
    'action in Remit::Action::"server:git"',
    'action in [Remit::Action::"server:bare", Remit::Action::"effect:read"]',
    'action == Remit::Action::"git/log"',
    'Remit::Action::"git/log" in Remit::Action::"server:git"',
    'Remit::Action::"git/push" in [Remit::Action::"effect:write", action]',
    'Remit::Action::"office/pay" in Remit::Action::"effect:spend"',
    '{"of": Remit::Action::"git/log"}.of in Remit::Action::"effect:read"',
]


@dataclass(frozen=True)
class World:
    """One generated world, as nouns for us and as text for bare Cedar."""

    ours: Engine
    whole: cedarpy.PolicySet
    entities: cedarpy.Entities
    grants: frozenset[str]  # the ids that bare Cedar gives to what came from grants
    active: tuple[Agent, ...]


def scopes(pick: random.Random) -> str:
    some = 'Remit::Agent::"%s"' % pick.choice(AGENTS)  # noqa: UP031 - braces are Cedar's here
    who = pick.choice(
        ["principal"] * 3
        + [
            f"principal == {some}",
            f"principal in {some}",
            "principal is Remit::Agent",
            "principal is Remit::Person",
            f"principal is Remit::Agent in {some}",
            f'principal == Remit::Person::"{pick.choice(PEOPLE)}"',
        ]
    )
    groups = [f"effect:{effect}" for effect in EFFECTS] + [f"server:{name}" for name in SERVERS] + list(TOOLS)
    uids = [f'Remit::Action::"{name}"' for name in pick.sample(groups, 3)]
    what = pick.choice(
        [
            "action",
            "action",
            f'action == Remit::Action::"{pick.choice(TOOLS)}"',
            f"action in {uids[0]}",
            f"action in [{', '.join(uids)}]",
        ]
    )
    place = f'Remit::Server::"srv_{pick.choice(SERVERS)}"'
    where = pick.choice(
        ["resource"] * 3
        + [
            f"resource == {place}",
            f"resource in {place}",
            "resource is Remit::Server",
            f"resource is Remit::Server in {place}",
        ]
    )
    return f"({who}, {what}, {where})"


def clauses(pick: random.Random) -> str:
    return "".join(
        f" {pick.choice(['when', 'unless'])} {{ {pick.choice(CONDITIONS + PLACES)} }}"
        for _ in range(pick.choice((0, 1, 1, 2)))
    )


def world(seed: int) -> World:
    pick = random.Random(seed)  # noqa: S311 - worlds, not secrets
    tools = [facts(ref, pick.choice(EFFECTS), LISTED) for ref in TOOLS]
    agents = [
        agent(name, state="suspended" if name == "agt_3" else "active", owner=pick.choice(PEOPLE)) for name in AGENTS
    ]
    people = [person(name, roles=pick.choice([("owner",), ("viewer", "owner"), ("viewer",)])) for name in PEOPLE]
    servers = [server(name) for name in SERVERS]
    operators = [
        f'@id("op{n}") {pick.choice(["permit", "forbid", "forbid"])}{scopes(pick)}{clauses(pick)};'
        for n in range(pick.randint(0, 6))
    ]
    # A permit on approval over everything is refused, so it can't be part of a world.
    operators = [text for text in operators if not ("permit" in text[:20] and "approval" in text)]
    grants = [made_grant(pick, n, tools) for n in range(pick.randint(1, 8))]
    texts = list(operators)
    for one in grants:
        texts += [as_text(one, tool) for tool in tools if one.reaches(tool.tool)]
    ours = Engine.compile([PolicySource("own", "\n".join(operators))], grants, tools, agents, people, servers)
    assert ours.left_out == ()
    active = tuple(one for one in agents if one.state == "active")
    return World(
        ours,
        cedarpy.PolicySet.from_json_str(cedarpy.policies_to_json_str("\n".join(texts))),
        cedarpy.Entities.from_json_str(json.dumps(entities(tools, active, people, servers)), None),
        frozenset(f"policy{n}" for n in range(len(operators), len(texts))),
        active,
    )


def made_grant(pick: random.Random, number: int, tools: list[ToolFacts]) -> Grant:
    some = pick.choice(tools)
    by_effect = ToolsByEffect(f"srv_{pick.choice(SERVERS)}", tuple(pick.sample(EFFECTS, 4)))
    selectors: tuple[ToolSelector, ...] = pick.choice(
        [(by_effect,), (NamedTool(some.ref, some.effect),), (by_effect, NamedTool(some.ref, some.effect))]
    )
    holder: dict[str, Any] = (
        {"agent": pick.choice(AGENTS[:2])} if pick.random() < 0.7 else {"agent": None, "person": pick.choice(PEOPLE)}
    )
    return grant(
        f"grt_{number}",
        *selectors,
        when=pick.choice([None, *CONDITIONS]),
        expires=NOW + pick.choice((-1, 0, 1, 1_000)),
        **holder,
    )


def as_text(one: Grant, tool: ToolFacts) -> str:
    """A grant as a person would write it in Cedar; the test's own, so that it shares nothing with what is tested."""
    who = f'Remit::Agent::"{one.agent}"' if one.agent else f'Remit::Person::"{one.person}"'
    end = f'when {{ context.now < datetime("{to_text(one.expires)}") }}'
    when = f" when {{ {one.when} }}" if one.when else ""
    return f'permit(principal == {who}, action == Remit::Action::"{tool.ref}", resource == Remit::Server::"{tool.server}") {end}{when};'


def entities(tools: list[ToolFacts], agents: Any, people: Any, servers: Any) -> list[dict[str, Any]]:
    def uid(kind: str, name: str) -> dict[str, str]:
        return {"type": f"Remit::{kind}", "id": name}

    out: list[dict[str, Any]] = [
        {"uid": uid("Agent", one.id), "attrs": {"name": one.name, "owner": one.owner, "mode": one.mode}, "parents": []}
        for one in agents
    ]
    out += [{"uid": uid("Person", one.id), "attrs": {"roles": list(one.roles)}, "parents": []} for one in people]
    out += [{"uid": uid("Server", one.id), "attrs": {"name": one.name}, "parents": []} for one in servers]
    for tool in tools:
        groups = [uid("Action", f"effect:{tool.effect}"), uid("Action", "server:" + tool.ref.partition("/")[0])]
        out.append({"uid": uid("Action", tool.ref), "attrs": {}, "parents": groups})
    return out


def expected(made: World, who: Principal, ref: str, arguments: dict[str, Any], calls: int, *, approval: bool) -> bool:
    """The whole set's answer under our two rules: no error anywhere, and a grant among what allowed it."""
    request = {
        "principal": f'Remit::{who.kind}::"{who.id}"',
        "action": f'Remit::Action::"{ref}"',
        "resource": f'Remit::Server::"srv_{ref.partition("/")[0]}"',
        "context": json.dumps(
            {
                "args": arguments,
                "provenance": {},
                "session": {"integrity": "trusted", "confidentiality": [], "intents": [], "calls": calls},
                "chain": ["agt_1"],
                "approval": {"present": approval},
                "now": {"__extn": {"fn": "datetime", "arg": to_text(NOW)}},
            }
        ),
    }
    answer = cedarpy.is_authorized(request, made.whole, made.entities)
    granted = bool(set(answer.diagnostics.reasons) & made.grants)
    return answer.decision is cedarpy.Decision.Allow and granted and not answer.diagnostics.errors


tally = {True: 0, False: 0}


@pytest.mark.claim("policy:default-deny")
@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_a_slice_answers_as_the_whole_set_does(seed: int) -> None:
    made = world(seed)
    pick = random.Random(seed + 1)  # noqa: S311 - questions, not secrets
    principals = [Principal("Agent", name) for name in AGENTS] + [Principal("Person", name) for name in PEOPLE]
    # Each question comes several times, slightly changed, so that kept answers are given where they may be.
    for _ in range(3):
        for who, ref in itertools.product(principals, TOOLS):
            arguments: dict[str, Any] = pick.choice([{}, {"n": 2}, {"n": 9}, {"s": "a"}, {"n": -4, "s": "b"}])
            calls, approval = pick.choice((0, 1)), pick.random() < 0.5
            answer = ask(made.ours, arguments, ref, who, calls=calls, approval_present=approval)
            known = who.kind == "Person" or who.id in {one.id for one in made.active}
            wanted = known and expected(made, who, ref, arguments, calls, approval=approval)
            assert answer.allowed is wanted, (who, ref, arguments, calls, approval, answer)
            tally[answer.allowed] += 1


def test_the_generated_worlds_allow_and_deny() -> None:
    """Worlds that always deny would agree with anything."""
    if not sum(tally.values()):
        for seed in range(40):
            made = world(seed)
            for ref in TOOLS:
                tally[ask(made.ours, {}, ref).allowed] += 1
    assert min(tally.values()) * 50 > max(tally.values())


READS: list[tuple[str, Any]] = [
    ("true", ()),
    ("context.args.n < 3", (("args",),)),
    ("context has args", (("args",),)),
    ('context.args.s like "a*"', (("args",),)),
    ('{"a": context.args}.a has n', (("args",),)),
    ("context.session.calls == 1", (("session", "calls"),)),
    ('context.session.integrity == "trusted"', (("session", "integrity"),)),
    ('context.session.confidentiality.contains("x")', (("session", "confidentiality"),)),
    ("context.session.intents.isEmpty()", (("session", "intents"),)),
    ("context.session == context.session", None),
    ('context.chain.contains("agt_2")', (("chain",),)),
    ("context.approval.present && context.args.n == 1", (("approval",), ("args",))),
    ("if context.approval has by then true else context.session.calls > 3", (("approval",), ("session", "calls"))),
    ('context.now < datetime("2026-01-01")', None),
    ('context.now.toTime() < duration("8h")', None),
    ("[context].contains(context)", None),
    ('{"c": context}.c.session.calls == 1', None),
    ("(if true then context else context).args.n == 1", None),
    ("principal == principal", ()),
]


@pytest.mark.claim("policy:default-deny")
@pytest.mark.parametrize(("condition", "places"), READS)
def test_what_a_condition_can_look_at_is_found_wherever_it_stands(condition: str, places: Any) -> None:
    [policy] = parse(f"permit(principal, action, resource) when {{ {condition} }};")
    assert places_read(clause["body"] for clause in policy["conditions"]) == places


@pytest.mark.claim("policy:default-deny")
def test_an_answer_is_kept_for_what_no_condition_can_tell_apart_and_for_nothing_else() -> None:
    """The control: with one answer kept for all questions, the second would be the first's."""
    limited = grant("grt_1", when="context.args has n && context.args.n < 3 && context.session.calls < 2")
    made = engine(grants=[limited], tools=[facts("office/pay", "read", LISTED)])
    for arguments, calls, allowed in (({"n": 2}, 0, True), ({"n": 3}, 0, False), ({"n": 2}, 2, False)) * 2:
        assert ask(made, arguments, calls=calls).allowed is allowed
    assert len(made._answers) == 3


@pytest.mark.claim("grant:never-widens")
def test_a_kept_answer_ends_with_the_first_grant_behind_it() -> None:
    second = grant("grt_2", when="context.args has n && context.args.n == 1", expires=NOW + 99)
    made = engine(grants=[grant("grt_1", expires=NOW + 10), second], tools=[facts("office/pay", "read", LISTED)])
    assert ask(made, {"n": 1}, now_ms=NOW).grants == ("grt_1", "grt_2")
    assert ask(made, {"n": 1}, now_ms=NOW + 9).grants == ("grt_1", "grt_2")
    assert ask(made, {"n": 1}, now_ms=NOW + 10).grants == ("grt_2",)
    assert not ask(made, {"n": 1}, now_ms=NOW + 99).allowed


OTHERS = [
    'Remit::Agent::"agt_2" has owner',
    'Remit::Agent::"agt_2".owner == "per_1"',
    'Remit::Person::"per_1".roles.contains("owner")',
    'Remit::Server::"srv_git".name == "git"',
    'Remit::Action::"git/log" in Remit::Action::"server:git"',
    'Remit::Action::"git/log" in Remit::Action::"effect:read" && Remit::Agent::"agt_2" has name',
    '[{"a": Remit::Agent::"agt_2"}].contains({"a": Remit::Agent::"agt_2"}) && Remit::Agent::"agt_2" has owner',
]


@pytest.mark.claim("policy:cedar-traps")
@pytest.mark.parametrize("condition", OTHERS)
def test_a_forbid_over_somebody_who_takes_no_part_holds(condition: str) -> None:
    """An entity left out of a slice has no attributes and no groups: such a forbid would be silently false."""
    forbid = f'@id("no") forbid(principal, action, resource) when {{ {condition} }};'
    assert raw_allows(f"permit(principal, action, resource); {forbid}")  # silently false, or skipped with an error
    nouns: dict[str, Any] = {"agents": [agent(), agent("agt_2")], "servers": [server(), server("git")]}
    ours = engine(forbid, tools=[facts(), facts("git/log")], **nouns)
    assert ask(ours).policies == ("no",)


def test_who_is_named_in_a_condition_is_found_wherever_it_stands() -> None:
    body = 'if [{"a": Remit::Agent::"x"}].contains({"a": principal}) then Remit::Server::"y" has name else Remit::Action::"z" in [action]'
    (policy,) = parse(f"forbid(principal, action, resource) when {{ true }} unless {{ {body} }};")
    assert set(named(policy)) == {("Remit::Agent", "x"), ("Remit::Server", "y"), ("Remit::Action", "z")}


@pytest.mark.parametrize(
    ("scope", "applies"),
    [
        ("principal, action, resource", True),
        ('principal == Remit::Agent::"agt_1", action, resource', True),
        ('principal == Remit::Agent::"agt_2", action, resource', False),
        ('principal == Remit::Person::"agt_1", action, resource', False),
        ('principal in Remit::Agent::"agt_1", action, resource', True),
        ('principal in Remit::Agent::"agt_2", action, resource', False),
        ("principal is Remit::Agent, action, resource", True),
        ("principal is Remit::Person, action, resource", False),
        ('principal is Remit::Agent in Remit::Agent::"agt_2", action, resource', True),
        ('principal is Remit::Person in Remit::Person::"per_1", action, resource', False),
        ('principal, action == Remit::Action::"office/pay", resource', True),
        ('principal, action == Remit::Action::"effect:read", resource', False),
        ('principal, action == Remit::Action::"office/other", resource', False),
        ('principal, action in Remit::Action::"office/pay", resource', True),
        ('principal, action in Remit::Action::"effect:read", resource', True),
        ('principal, action in Remit::Action::"effect:write", resource', False),
        ('principal, action in Remit::Action::"server:office", resource', True),
        ('principal, action in Remit::Action::"server:git", resource', False),
        ('principal, action in [Remit::Action::"server:git", Remit::Action::"effect:read"], resource', True),
        ('principal, action in [Remit::Action::"server:git", Remit::Action::"effect:write"], resource', False),
        ("principal, action in [], resource", False),
        ('principal, action, resource == Remit::Server::"srv_git"', True),
    ],
)
def test_a_policy_is_left_out_only_where_its_scope_can_not_match(scope: str, *, applies: bool) -> None:
    (policy,) = parse(f"forbid({scope});")
    assert may_apply(policy, ("Remit::Agent", "agt_1"), facts()) is applies
