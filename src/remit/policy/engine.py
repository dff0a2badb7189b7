"""Step 4 of a tool call: may this principal call this tool with these arguments, in this context?

``Engine.compile`` does the work when policies or the registry change; ``decide`` only evaluates. Its rules:

1. Nothing known, nothing granted, nothing evaluated: no. No question raises.
2. Only a grant allows. An operator's permit is evaluated, so that its errors show, but alone it widens nothing.
3. Any evaluation error in any policy that applies is a no, since the engine would skip a forbid that errors.
4. A grant ends at its expiry even in an engine made before it. An answer is kept for questions that no condition can
   tell from its own, until the first of the grants behind it ends.
5. A grant whose condition does not fit a tool (any more) doesn't reach that tool; ``left_out`` says so. Operators'
   policies that do not fit refuse the whole engine: a forbid can't be left out.

What it refuses to know: sessions, budgets, liveness at this instant (steps 2, 5 and 6 are never cached here), and how
a chain is found; ``verdicts.py`` joins the answers of a chain's members.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.errors import InvalidPolicy
from remit.core.grants import Grant
from remit.core.people import Person
from remit.core.servers import Server
from remit.core.times import to_text
from remit.policy.analysis import Stand
from remit.policy.cedar import Bench, Est, Schema, load_schema, render, validate
from remit.policy.conditions import Condition, entity_type, parse_condition, permit, principal_of
from remit.policy.encoding import RecordOf, argument_types, encode_with
from remit.policy.lints import lint_expression
from remit.policy.operators import OperatorPolicy, examine
from remit.policy.schema import ACTION, AGENT, PERSON, SERVER, tool_schema, whole_schema
from remit.policy.slices import Key, Place, ScopeIndex, named, places_read, seen
from remit.policy.terms import (
    CedarJson,
    CedarRecord,
    Finding,
    PolicyAnswer,
    PolicyContext,
    PolicySource,
    Principal,
    ToolFacts,
)

# How many parsed slices an engine keeps; the oldest goes first. One is a few tens of kilobytes.
MAX_SLICES: Final = 4_096
# How many answers an engine keeps; one is a few hundred bytes.
MAX_ANSWERS: Final = 65_536
# Up to how many canonical bytes the encoded arguments of a call are kept.
MAX_KEPT_ARGUMENTS: Final = 2_048

# What stands for a permit where none is needed. No operator's @id and no grant's id has a slash.
_UNBOUNDED: Final[Mapping[str, Est]] = {
    "remit/unbounded": {
        "effect": "permit",
        "principal": {"op": "All"},
        "action": {"op": "All"},
        "resource": {"op": "All"},
        "conditions": [],
    }
}

_Entity = Mapping[str, Any]


class _Tool:
    """One tool; how its arguments are encoded and its schema are made when they are first asked for."""

    def __init__(self, facts: ToolFacts) -> None:
        self.facts = facts

    @cached_property
    def types(self) -> RecordOf:
        return argument_types(self.facts)

    @cached_property
    def schema(self) -> Schema:
        return load_schema(tool_schema(self.facts, self.types))


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """The policies of one principal and tool, parsed.

    ``grants`` are the ids of those that are permits, ``ends`` their expiries in milliseconds UTC, ``places`` the places
    of the context that any policy reads, None if it may be any.
    """

    bench: Bench
    grants: frozenset[str]
    ends: tuple[int, ...]
    places: tuple[Place, ...] | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A grant that does not reach a tool it names, or anything (``ref`` None), because it does not fit."""

    grant: str
    ref: str | None
    why: str


def check_grant(grant: Grant, tools: Sequence[ToolFacts]) -> tuple[str, ...]:
    """Advice on the condition of ``grant``.

    Raises ``InvalidPolicy`` unless it is one expression that fits every tool that the grant reaches.
    """
    principal_of(grant)
    condition = None if grant.when is None else parse_condition(grant.when)
    if condition is None:
        return ()
    for facts in tools:
        if grant.reaches(facts.tool):
            fault = _misfit(permit(grant, facts, condition), _Tool(facts))
            if fault is not None:
                raise InvalidPolicy(f"the condition does not fit {facts.ref}: {fault}")
    return lint_expression(condition.body)


class _Conditions:
    """Grants' conditions, each text parsed once and held against each tool once: many grants share one."""

    def __init__(self) -> None:
        self._parsed: dict[str, Condition | InvalidPolicy] = {}
        self._misfits: dict[tuple[str, str, str], str | None] = {}

    def of(self, grant: Grant) -> Condition | None:
        """The condition of a grant, if it has one. Raises ``InvalidPolicy``."""
        if grant.when is None:
            return None
        if grant.when not in self._parsed:
            try:
                self._parsed[grant.when] = parse_condition(grant.when)
            except InvalidPolicy as error:
                self._parsed[grant.when] = error
        found = self._parsed[grant.when]
        if isinstance(found, InvalidPolicy):
            raise InvalidPolicy(found.detail)
        return found

    def misfit(self, grant: Grant, tool: _Tool) -> str | None:
        """Why a grant does not fit a tool that it reaches, or None. Raises ``InvalidPolicy``."""
        condition = self.of(grant)
        if condition is None:
            return None
        key = (principal_of(grant).kind, tool.facts.ref, condition.text)
        if key not in self._misfits:
            self._misfits[key] = _misfit(permit(grant, tool.facts, condition), tool)
        return self._misfits[key]


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """Policies and registry as they stood when it was compiled. Immutable but for its memory of slices and answers."""

    policy_version: str
    lints: tuple[Finding, ...]
    bounded: frozenset[str]  # people whom any grant names, whatever its state: they bound every chain they are in
    _tools: Mapping[str, _Tool]
    _operators: tuple[OperatorPolicy, ...]
    _scopes: ScopeIndex
    _grants: Mapping[Principal, tuple[Grant, ...]]
    _nobodys: tuple[LeftOut, ...]  # grants that name neither an agent nor a person, or both
    _entities: Mapping[tuple[str, str], _Entity]
    _conditions: _Conditions
    _slices: dict[tuple[Principal, str, bool], _Slice | None] = field(default_factory=dict)
    _answers: dict[Key, tuple[PolicyAnswer, float]] = field(default_factory=dict)
    _encoded: dict[tuple[str, bytes], CedarRecord] = field(default_factory=dict)

    @classmethod
    def compile(
        cls,
        sources: Sequence[PolicySource],
        grants: Sequence[Grant],
        tools: Sequence[ToolFacts],
        agents: Iterable[Agent] = (),
        people: Iterable[Person] = (),
        servers: Iterable[Server] = (),
    ) -> "Engine":
        """All that can be done before a question. Pass grants in every state: revoked ones still name their person.

        Raises ``InvalidPolicy`` if the operators' set has an error, or two tools one reference.
        """
        compiled = {facts.ref: _Tool(facts) for facts in tools}
        if len(compiled) != len(tools):
            raise InvalidPolicy("two tools have the same reference")
        servers = [server for server in servers if server.state == "active"]
        typed = [(tool.facts, tool.types) for tool in compiled.values()]
        examined = examine(sources, typed, [server.name for server in servers])
        if not examined.report.ok:
            first = examined.report.errors[0]
            raise InvalidPolicy(f"{first.file}, line {first.line}: {first.message}")
        operators = tuple(one for one in examined.policies if one.id)
        held, nobodys = _by_principal(grants)
        return cls(
            policy_version=examined.report.policy_version,
            lints=examined.report.lints,
            bounded=frozenset(grant.person for grant in grants if grant.person is not None),
            _tools=compiled,
            _operators=operators,
            _scopes=ScopeIndex([one.est for one in operators]),
            _grants=held,
            _nobodys=nobodys,
            _entities=_entities(agents, people, servers),
            _conditions=_Conditions(),
        )

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Every grant that does not reach a tool it names, or anything, because its condition does not fit."""
        misfits = (one for tool in self._tools.values() for one in self._left_out(tool))
        return (*misfits, *self._left_out(None), *self._nobodys)

    def left_out_of(self, ref: str) -> tuple[LeftOut, ...]:
        """The grants that do not reach this tool although they name it."""
        tool = self._tools.get(ref)
        return (*(self._left_out(tool) if tool else ()), *self._left_out(None), *self._nobodys)

    def _left_out(self, tool: _Tool | None) -> Iterator[LeftOut]:
        """Grants whose condition does not fit ``tool``; with None those whose condition is none."""
        for grant in (one for grants in self._grants.values() for one in grants if one.when is not None):
            try:
                fault = self._conditions.misfit(grant, tool) if tool and grant.reaches(tool.facts.tool) else None
                if tool is None:
                    self._conditions.of(grant)
            except InvalidPolicy as error:
                if tool is None:
                    yield LeftOut(grant.id, None, error.detail)
                continue
            if fault is not None and tool is not None:
                yield LeftOut(grant.id, tool.facts.ref, fault)

    def encode(self, ref: str, arguments: Mapping[str, Json], written: bytes | None = None) -> CedarRecord:
        """The arguments of a call to ``ref``. Raises ``Unencodable``; an unknown tool gives what no question takes.

        ``written`` are their canonical bytes, if they are at hand: then small ones are encoded once for equal calls.
        """
        tool = self._tools.get(ref)
        if tool is None:
            return CedarRecord("", {})
        if written is None or len(written) > MAX_KEPT_ARGUMENTS:
            return encode_with(ref, tool.types, arguments)
        key = hashlib.sha256(written).digest()
        found = self._encoded.get((ref, key))
        if found is None:
            while len(self._encoded) >= MAX_SLICES:
                self._encoded.pop(next(iter(self._encoded)), None)
            found = replace(encode_with(ref, tool.types, arguments), key=key)
            self._encoded[ref, key] = found
        return found

    def granted(self, principal: Principal) -> frozenset[str]:
        """The tools that some grant could allow this principal. Not a decision: for lists and quick refusals."""
        return frozenset(ref for ref, tool in self._tools.items() if self._permits(principal, tool))

    def bodies(self, principal: Principal, ref: str) -> tuple[Est, ...]:
        """The conditions of every policy that can matter to this principal and tool: what a call is measured by."""
        tool = self._tools.get(ref)
        if tool is None:
            return ()
        chosen = self._in_scope(principal, tool)
        permits = [est for est, _ in self._permits(principal, tool).values()]
        return (*_bodies([one.est for one in chosen]), *_bodies(permits, skip=1))

    def stand(self, principal: Principal, ref: str, *, free: bool = False) -> Stand:
        """What a call of this principal stands before, for a proof; ``free`` for who needs no permit."""
        tool = self._tools.get(ref)
        if tool is None:
            return Stand((), ())
        forbids = [one.est for one in self._in_scope(principal, tool) if one.est["effect"] == "forbid"]
        if free:
            return Stand(None, forbids)
        # The first condition of a grant's permit is its end, which whoever asks has looked at.
        permits = [{**est, "conditions": est["conditions"][1:]} for est, _ in self._permits(principal, tool).values()]
        return Stand(permits, forbids)

    def shut(self, principal: Principal, ref: str) -> str | None:
        """The id of an operator's policy that forbids this principal the tool whatever the call says, or None."""
        tool = self._tools.get(ref)
        chosen = [] if tool is None else self._in_scope(principal, tool)
        return next((one.id for one in chosen if one.est["effect"] == "forbid" and not one.est["conditions"]), None)

    def without_grant(self, id: str) -> "Engine":
        """The same engine, as it were without one grant. Whom the grant names stays bounded."""
        kept = {who: tuple(one for one in held if one.id != id) for who, held in self._grants.items()}
        return replace(self, _grants=kept, _slices={}, _answers={}, _encoded={})

    def _in_scope(self, principal: Principal, tool: _Tool) -> list[OperatorPolicy]:
        who = (entity_type(principal), principal.id)
        return [self._operators[place] for place in self._scopes.of(who, tool.facts)]

    def decide(self, principal: Principal, ref: str, context: PolicyContext) -> PolicyAnswer:
        """Whether policy allows ``principal`` to call ``ref`` now. Never raises."""
        return self._answer(principal, ref, context, free=False)

    def unforbidden(self, person: Principal, ref: str, context: PolicyContext) -> PolicyAnswer:
        """Whether nothing forbids ``ref`` to a person whom no grant names and who so needs no permit. Never raises.

        For a person whom a grant names, and for an agent, the answer is no: they need one.
        """
        if person.kind != "Person" or person.id in self.bounded:
            return PolicyAnswer(allowed=False)
        return self._answer(person, ref, context, free=True)

    def _answer(self, principal: Principal, ref: str, context: PolicyContext, *, free: bool) -> PolicyAnswer:
        """The answer for who needs a permit, or with ``free`` for who needs none."""
        tool = self._tools.get(ref)
        who = (entity_type(principal), principal.id)
        if tool is None or who not in self._entities or (SERVER, tool.facts.server) not in self._entities:
            return PolicyAnswer(allowed=False, errors=("the principal, tool or server is not known",))
        if context.args.ref != ref:
            return PolicyAnswer(allowed=False, errors=("the arguments were encoded for another tool",))
        try:
            policies = self._slice(principal, tool, free=free)
            if policies is None:
                return PolicyAnswer(allowed=False)
            if policies.places is None:
                return _evaluated(policies, who, tool, context)
            key = (principal, ref, free, *seen(policies.places, context))
            kept = self._answers.get(key)
            if kept is not None and context.now_ms < kept[1]:
                return kept[0]
            answer = _evaluated(policies, who, tool, context)
        except (InvalidPolicy, OverflowError, TypeError, ValueError):
            # A time outside the calendar, a slice that doesn't load, a value that is none: the answer to all is no.
            return PolicyAnswer(allowed=False, errors=("the policies or the context could not be loaded",))
        self._keep(key, answer, policies.ends, context.now_ms)
        return answer

    def _keep(self, key: Key, answer: PolicyAnswer, ends: Sequence[int], now: int) -> None:
        """Remember an answer until the first of the permits that it was given under ends."""
        if answer.errors:
            return
        while len(self._answers) >= MAX_ANSWERS:
            self._answers.pop(next(iter(self._answers)), None)
        self._answers[key] = (answer, min((end for end in ends if end > now), default=math.inf))

    def _slice(self, principal: Principal, tool: _Tool, *, free: bool = False) -> _Slice | None:
        """The policies that can matter to this principal and tool, parsed once; None where nothing could permit."""
        key = (principal, tool.facts.ref, free)
        if key in self._slices:
            return self._slices[key]
        made = self._cut(principal, tool, free=free)
        while len(self._slices) >= MAX_SLICES:
            self._slices.pop(next(iter(self._slices)), None)
        self._slices[key] = made
        return made

    def _cut(self, principal: Principal, tool: _Tool, *, free: bool) -> _Slice | None:
        granted = {} if free else self._permits(principal, tool)
        permits: Mapping[str, Est] = _UNBOUNDED if free else {name: est for name, (est, _) in granted.items()}
        if not permits:
            return None
        who = (entity_type(principal), principal.id)
        chosen = self._in_scope(principal, tool)
        policies = {**{one.id or "": one.est for one in chosen}, **permits}
        read = dict.fromkeys(pair for est in policies.values() for pair in named(est))
        taking_part = dict.fromkeys([who, (SERVER, tool.facts.server), *read])
        entities = [self._entities[pair] for pair in taking_part if pair in self._entities]
        places = places_read([*_bodies([one.est for one in chosen]), *_bodies(permits.values(), skip=1)])
        bench = Bench.of(policies, entities, self._schema(tool, read))
        return _Slice(bench, frozenset(permits), tuple(end for _, end in granted.values()), places)

    def _permits(self, principal: Principal, tool: _Tool) -> dict[str, tuple[Est, int]]:
        """The permit of each grant of ``principal`` that reaches ``tool`` and fits it, with its end."""
        found: dict[str, tuple[Est, int]] = {}
        for grant in self._grants.get(principal, ()):
            if not grant.reaches(tool.facts.tool):
                continue
            try:
                if self._conditions.misfit(grant, tool) is None:
                    found[grant.id] = (permit(grant, tool.facts, self._conditions.of(grant)), grant.expires)
            except InvalidPolicy:
                continue  # a condition that is none reaches nothing; ``left_out`` says so
        return found

    def _schema(self, tool: _Tool, read: Iterable[tuple[str, str]]) -> Schema:
        """The tool's own schema, with the other tools that a condition names: the schema is what places them."""
        others = [self._tools[name] for kind, name in read if kind == ACTION and name in self._tools]
        if all(other is tool for other in others):
            return tool.schema
        # By reference, because a condition may name the tool itself too.
        every = {one.facts.ref: one for one in (tool, *others)}
        return load_schema(whole_schema([(one.facts, one.types) for one in every.values()]))


def _evaluated(policies: _Slice, who: tuple[str, str], tool: _Tool, context: PolicyContext) -> PolicyAnswer:
    raw = policies.bench.answer(who, (ACTION, tool.facts.ref), (SERVER, tool.facts.server), _context(context))
    by_grant = tuple(name for name in raw.determining if name in policies.grants)
    others = tuple(name for name in raw.determining if name not in policies.grants)
    return PolicyAnswer(raw.allowed and bool(by_grant), by_grant, others, raw.errors)


def _bodies(policies: Iterable[Est], skip: int = 0) -> Iterator[Est]:
    """The bodies of all conditions. The first of a grant's permit says when it ends, which an answer's end answers."""
    for est in policies:
        yield from (clause["body"] for clause in est["conditions"][skip:])


def _by_principal(grants: Iterable[Grant]) -> tuple[Mapping[Principal, tuple[Grant, ...]], tuple[LeftOut, ...]]:
    """Active grants by whom they name, and those that name nobody, or two."""
    found: dict[Principal, list[Grant]] = {}
    nobodys: list[LeftOut] = []
    for grant in grants:
        if grant.state == "active":
            try:
                found.setdefault(principal_of(grant), []).append(grant)
            except InvalidPolicy as error:
                nobodys.append(LeftOut(grant.id, None, error.detail))
    return {principal: tuple(held) for principal, held in found.items()}, tuple(nobodys)


def _misfit(policy: Est, tool: _Tool) -> str | None:
    """Why a permit does not fit its tool's schema, or None."""
    faults = validate(render(policy), tool.schema)
    return faults[0].message if faults else None


def _entities(
    agents: Iterable[Agent], people: Iterable[Person], servers: Iterable[Server]
) -> Mapping[tuple[str, str], _Entity]:
    """Who and what can take part: active ones only, so that the others are unknown here too."""
    out: dict[tuple[str, str], _Entity] = {}
    for agent in agents:
        if agent.state == "active" and agent.owner is not None:
            attributes = {"name": agent.name, "owner": agent.owner, "mode": agent.mode}
            out[AGENT, agent.id] = _entity(AGENT, agent.id, attributes)
    for person in people:
        if person.state == "active":
            out[PERSON, person.id] = _entity(PERSON, person.id, {"roles": list(person.roles)})
    for server in servers:
        out[SERVER, server.id] = _entity(SERVER, server.id, {"name": server.name})
    return out


def _entity(kind: str, name: str, attributes: Mapping[str, CedarJson]) -> _Entity:
    return {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": []}


def _context(context: PolicyContext) -> dict[str, CedarJson]:
    approval: dict[str, CedarJson] = {"present": context.approval_present}
    if context.approval_by is not None:
        approval["by"] = context.approval_by
    inputs: dict[str, CedarJson] = {} if context.inputs is None else {"inputs": context.inputs}
    return {
        **inputs,
        "args": context.args.value,
        "provenance": {},
        "session": {
            "integrity": context.integrity,
            "confidentiality": sorted(context.confidentiality),
            "intents": sorted(context.intents),
            "calls": context.calls,
        },
        "chain": list(context.chain),
        "approval": approval,
        "now": {"__extn": {"fn": "datetime", "arg": to_text(context.now_ms)}},
    }
