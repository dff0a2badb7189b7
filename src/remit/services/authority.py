"""Authority: everything in the registry that a decision reads, compiled once per registry change.

A decision must not re-read and re-parse the registry per call, nor use an old one. So ``AuthorityCache`` keeps one
immutable ``Authority`` with the epoch it was made from, and each unit of work asks for the epoch first (one row): a
revocation that was committed anywhere is seen by the next decision everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from remit.core.agents import Agent
from remit.core.canonical import Json, canonical, digest
from remit.core.clients import Client
from remit.core.credentials import Key
from remit.core.entitlements import CALL, GET, Method, input_schema, method_of
from remit.core.errors import BadInput, InvalidPolicy
from remit.core.grants import Grant
from remit.core.people import Person
from remit.core.policies import PolicyRevision
from remit.core.ports import Unit
from remit.core.rules import Rule
from remit.core.servers import Server
from remit.core.tools import Definition, Tool, ToolReview, definition_id
from remit.guards.json_in import parse
from remit.guards.shape import ArgumentShape
from remit.policy.engine import Engine
from remit.policy.terms import PolicySource, Principal, ToolFacts

# Pairs of member and tool whose grants one authority remembers.
_MOST_REACHING: Final = 100_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedTool:
    """A tool, or what else ``method`` says, with its pinned definition, its review, and what was compiled from them."""

    tool: Tool
    server: Server
    body: bytes
    review: ToolReview
    shape: ArgumentShape
    facts: ToolFacts
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The registry as one epoch has it. ``engine`` is None, and ``fault`` says why, when policy can't be compiled."""

    epoch: int
    agents: Mapping[str, Agent]
    people: Mapping[str, Person]
    servers: Mapping[str, Server]
    keys: Mapping[str, Key]
    tools: Mapping[str, ReviewedTool]
    aliases: Mapping[str, str]  # flat MCP name of a tool to reference
    prompts: Mapping[str, str]  # the same of a prompt
    grants: Mapping[str, tuple[Grant, ...]]
    rules: Mapping[str, tuple[Rule, ...]]  # by reference of a tool that they reach, or that must come first
    engine: Engine | None
    fault: str
    policy_version: str
    clients: Mapping[str, Client] = field(default_factory=dict)
    _versions: dict[tuple[str, ...], str] = field(default_factory=dict)
    _parties: dict[tuple[str, ...], tuple[tuple[Principal, ...], tuple[Principal, ...]]] = field(default_factory=dict)
    _reaching: dict[tuple[str, str], tuple[Grant, ...]] = field(default_factory=dict)

    def grants_reaching(self, member: str, tool: Tool, now: int) -> tuple[Grant, ...]:
        """Live grants of one chain member that cover ``tool``, a tool as this authority knows it, by id."""
        key = (member, tool.ref)
        found = self._reaching.get(key)
        if found is None:
            found = tuple(grant for grant in self.grants.get(member, ()) if grant.reaches(tool))
            if len(self._reaching) < _MOST_REACHING:
                self._reaching[key] = found
        return tuple(grant for grant in found if grant.live(now))

    def behind(self, credential: str) -> Key | Client | None:
        """The key, or the client, by whose id a token or a session says what stands behind it."""
        return self.keys.get(credential) or self.clients.get(credential)

    def bounded(self, chain: Sequence[str]) -> tuple[str, ...]:
        """The members of a chain that need a grant: every agent, and a person whom any grant ever named.

        INVARIANT: also one that is revoked or expired. Otherwise taking a person's last grant away would free them.
        """
        members = dict.fromkeys(chain)  # an agent that works under itself is bounded, and debited, once
        return tuple(member for member in members if member not in self.people or member in self.grants)

    def parties(self, chain: tuple[str, ...]) -> tuple[tuple[Principal, ...], tuple[Principal, ...]]:
        """Who of a chain needs a permit, and who needs none, as policy knows them."""
        found = self._parties.get(chain)
        if found is None:
            bounded = self.bounded(chain)
            needing = tuple(self._principal(member) for member in bounded)
            free = tuple(self._principal(member) for member in chain if member not in bounded)
            found = self._parties[chain] = (needing, free)
        return found

    def _principal(self, member: str) -> Principal:
        return Principal("Agent" if member in self.agents else "Person", member)

    def reached(self, chain: Sequence[str], known: ReviewedTool, now: int) -> bool:
        """Whether every bounded member of the chain holds a grant for the tool; an empty chain reaches nothing."""
        bounded = self.bounded(chain)
        return bool(bounded) and all(self.grants_reaching(member, known.tool, now) for member in bounded)

    def listed(self, chain: Sequence[str], now: int) -> tuple[ReviewedTool, ...]:
        """The tools that this chain may be shown, by reference: granted, approved, on a server that is as agreed."""
        return tuple(
            known
            for _, known in sorted(self.tools.items())
            if known.tool.state == "approved"
            and known.server.state == "active"
            and not known.server.quarantined
            and self.reached(chain, known, now)
        )

    def candidates(self, chain: Sequence[str], tool: Tool, now: int) -> tuple[tuple[Grant, ...], ...]:
        """Per bounded member of the chain its live grants for the tool, whether their conditions hold or not."""
        return tuple(self.grants_reaching(member, tool, now) for member in self.bounded(chain))

    def version(self, chain: tuple[str, ...]) -> str:
        """``authority_version``: the chain's grants, the reviews and fingerprints they reach, the members' state.

        INVARIANT: with ``policy_version`` it moves with every registry change that can change a decision of the chain.
        """
        known = self._versions.get(chain)
        if known is None:
            known = self._versions[chain] = digest(canonical(self._facts(chain)))
        return known

    def _facts(self, chain: tuple[str, ...]) -> Json:
        grants = [grant for member in chain for grant in self.grants.get(member, ())]
        reached: list[Json] = [
            [known.tool.ref, known.tool.pinned, known.tool.review, known.tool.state, *_server_facts(known.server)]
            for _, known in sorted(self.tools.items())
            if any(grant.reaches(known.tool) for grant in grants)
        ]
        rules = {one.id: one.version for known in self.rules.values() for one in known}
        counted: dict[str, Json] = (
            {"rules": sorted([rule, version] for rule, version in rules.items())} if rules else {}
        )
        return counted | {
            "members": [[member, *self._member_facts(member)] for member in chain],
            "grants": [[grant.id, grant.state, grant.expires] for grant in grants],
            "tools": reached,
        }

    def _member_facts(self, member: str) -> list[Json]:
        """What liveness and policy read of an agent (and its owner) or a person."""
        agent, person = self.agents.get(member), self.people.get(member)
        if agent is not None:
            owner = self.people.get(agent.owner or "")
            facts: list[Json] = [
                agent.state,
                agent.expires,
                agent.owner,
                agent.name,
                agent.mode,
                owner.state if owner else None,
            ]
            return facts if agent.review_by is None else [*facts, agent.review_by]
        return [person.state, list(person.roles)] if person else ["unknown"]


def _server_facts(server: Server) -> tuple[Json, ...]:
    facts = (server.state, server.quarantined, server.pinned)
    return facts if server.observe_until is None else (*facts, server.observe_until)


class AuthorityCache:
    """The newest ``Authority`` of one org, rebuilt when the registry's epoch has moved."""

    def __init__(self) -> None:
        """Empty until first asked."""
        self._current: Authority | None = None

    @property
    def newest(self) -> Authority | None:
        """What was last found to be current, by whichever unit asked last."""
        return self._current

    async def current(self, unit: Unit) -> Authority:
        """The authority as ``unit`` sees the registry."""
        epoch = await unit.nouns.epoch()
        if self._current is None or self._current.epoch != epoch:
            self._current = await load(unit, epoch)
        return self._current


async def load(unit: Unit, epoch: int) -> Authority:
    """Read and compile the registry."""
    agents = {agent.id: agent for agent in await unit.nouns.all(Agent)}
    people = {person.id: person for person in await unit.nouns.all(Person)}
    servers = {server.id: server for server in await unit.nouns.all(Server)}
    grants = await unit.nouns.all(Grant)
    tools = await _reviewed_tools(unit, servers)
    sources = await policy_sources(unit)
    by_member: dict[str, tuple[Grant, ...]] = {}
    for grant in grants:
        member = grant.agent or grant.person or ""
        by_member[member] = (*by_member.get(member, ()), grant)
    engine, fault = _compile(sources, grants, tools, agents, people, servers)
    return Authority(
        epoch=epoch,
        agents=agents,
        people=people,
        servers=servers,
        keys={key.id: key for key in await unit.nouns.all(Key)},
        tools=tools,
        aliases={known.tool.alias: ref for ref, known in tools.items() if known.method == CALL},
        prompts={known.tool.alias: ref for ref, known in tools.items() if known.method == GET},
        grants=by_member,
        rules=_rules(await unit.nouns.all(Rule), tools),
        engine=engine,
        fault=fault,
        policy_version=engine.policy_version if engine else digest(b""),
        clients={client.id: client for client in await unit.nouns.all(Client)},
    )


def _rules(rules: tuple[Rule, ...], tools: Mapping[str, ReviewedTool]) -> dict[str, tuple[Rule, ...]]:
    """The rules in force for each tool; a tool that none is about is not there."""
    active = [rule for rule in rules if rule.state == "active"]
    found = {
        ref: tuple(
            rule
            for rule in active
            if rule.reaches(ref, one.server.id, one.review.effect) or (rule.first and ref in rule.first.tools)
        )
        for ref, one in tools.items()
    }
    return {ref: reaching for ref, reaching in found.items() if reaching}


async def policy_sources(unit: Unit) -> tuple[PolicySource, ...]:
    """The operators' policies in force: those of the newest revision."""
    revisions = await unit.nouns.all(PolicyRevision)
    return tuple(PolicySource(name, text) for name, text in revisions[-1].sources) if revisions else ()


async def _reviewed_tools(unit: Unit, servers: Mapping[str, Server]) -> dict[str, ReviewedTool]:
    """Every tool that has a pin and a review.

    One that can't be read or compiled (any more) is left out: it is not there, and stops nobody else.
    """
    reviews = {review.id: review for review in await unit.nouns.all(ToolReview)}
    found: dict[str, ReviewedTool] = {}
    for tool in await unit.nouns.all(Tool):
        if tool.pinned is None or tool.review is None:
            continue
        definition = await unit.nouns.get(Definition, definition_id(tool.ref, tool.pinned))
        review, server = reviews.get(tool.review), servers.get(tool.server)
        if definition is None or review is None or server is None:
            continue
        try:
            found[tool.ref] = _reviewed(tool, server, definition.body.encode(), review)
        except BadInput as error:
            log.warning("tool.unreadable", tool=tool.ref, cause=type(error).__name__)
    return found


def _reviewed(tool: Tool, server: Server, body: bytes, review: ToolReview) -> ReviewedTool:
    """Compiled. Raises ``BadInput`` for a definition or row that nobody can read."""
    document = parse(body)
    schema = input_schema(tool.ref, document)
    shape, facts = ArgumentShape.compile(schema), ToolFacts.of(tool, review, schema)
    method = method_of(tool.ref)
    return ReviewedTool(tool=tool, server=server, body=body, review=review, shape=shape, facts=facts, method=method)


def _compile(
    sources: tuple[PolicySource, ...],
    grants: tuple[Grant, ...],
    tools: Mapping[str, ReviewedTool],
    agents: Mapping[str, Agent],
    people: Mapping[str, Person],
    servers: Mapping[str, Server],
) -> tuple[Engine | None, str]:
    try:
        engine = Engine.compile(
            sources,
            grants,
            [known.facts for known in tools.values()],
            agents.values(),
            people.values(),
            servers.values(),
        )
    except InvalidPolicy as error:
        return None, error.detail
    return engine, ""
