"""``remit reach``: what an agent could do with what it holds, each claim with a witness that the real decision allowed.

Three tiers. (1) The scope of grants over the finite set of tools says exactly what nothing permits. (2) Arguments that
may pass are proposed from the pinned schema and from what conditions compare with, and held against policy alone. (3)
Each proposal that passes is rehearsed whole. What no proposal opens is ``may``: not shown to be possible, nor proved
not to be.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from remit.core.agents import Agent
from remit.core.amounts import to_text as amount_text
from remit.core.canonical import Json, Written, canonical
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, NotFound
from remit.core.grants import Grant
from remit.core.reach import Reach, ToolReach
from remit.core.times import seconds_to_text, to_text
from remit.core.tools import COUNTED_EFFECTS
from remit.core.values import qualified
from remit.policy.analysis import Example, could_pass
from remit.policy.encoding import Unencodable
from remit.policy.examples import example, kind_at, with_value
from remit.policy.terms import PolicyContext
from remit.policy.trials import proposals
from remit.policy.verdicts import PolicyDenies, policy_verdict
from remit.services.authority import Authority, ReviewedTool
from remit.services.deps import Deps
from remit.services.reach_ceilings import ceilings
from remit.services.reach_flows import flows
from remit.services.registry import find
from remit.services.rehearsal import Step, with_key
from remit.services.survey import MOST_TRIALS, Survey

MOST_PEOPLE: Final = 8
"""Persons that an agent is tried for; those whom no grant names are all alike, and count as one."""
_MOST_CONDITIONS: Final = 12
_NO_GRANT: Final = "no live grant reaches it for any person"


async def reach(
    deps: Deps, caller: PersonCaller, named: str, *, without: str | None = None, most: int = MOST_TRIALS
) -> dict[str, Json]:
    """The reach of an agent, as the registry stands; ``without`` leaves out a grant (by id) or a tool (by reference).

    At ``most`` so many rehearsals are made.

    For its owner, an auditor or an administrator. Raises ``NotFound``, ``Forbidden``.
    """
    async with deps.store.view(deps.org) as view:
        agent = await find(view, Agent, named)
        authority = await deps.authority.current(view)
    if not agent.answered_for_by(caller.person.id) and not caller.person.has("auditor", "administrator"):
        raise Forbidden("the reach of an agent is for its owner, an auditor or an administrator")
    if without is not None:
        authority = _narrowed(authority, without)
    now = deps.clock.now()
    survey = Survey(deps, with_key(authority, agent.id, deps), agent, _principals(authority, agent), now, most)
    tools = [await _tool(survey, known) for _, known in sorted(authority.tools.items())]
    found = Reach(
        agent=agent.name,
        state=agent.state if agent.live(now) or agent.state != "active" else "expired",
        at=to_text(now),
        authority_version=authority.version(survey.chain(survey.principals[0] if survey.principals else None)),
        tools=tuple(tools),
        flows=tuple(await flows(survey, tools)),
        at_most=ceilings(authority, agent.id, [one.tool for one in tools if one.verdict != "unreachable"], now),
        people=tuple(_people(authority, agent)),
        agents=tuple(sorted(one.name for one in authority.agents.values() if _sub_agent(one, agent, now))),
        credential_lifetime=_longest(authority, agent, now),
        unsettled=survey.unsettled,
        without=without,
    )
    return found.document()


def _narrowed(authority: Authority, without: str) -> Authority:
    fresh: dict[str, dict[object, object]] = {"_versions": {}, "_parties": {}, "_reaching": {}}
    if "/" in without:
        if without not in authority.tools:
            raise NotFound(f"there is no reviewed tool {without}")
        tools = {ref: known for ref, known in authority.tools.items() if ref != without}
        return replace(authority, tools=tools, **fresh)  # type: ignore[arg-type]  # caches, empty
    if not any(one.id == without for held in authority.grants.values() for one in held):
        raise NotFound(f"there is no grant {without}", hint="Name a grant by its grt_ id, or a tool as server/tool.")
    # A person whom the grant names stays bounded: the row stays, as a revoked one would.
    grants = {
        member: tuple(replace(one, state="revoked") if one.id == without else one for one in held)
        for member, held in authority.grants.items()
    }
    engine = authority.engine.without_grant(without) if authority.engine else None
    return replace(authority, grants=grants, engine=engine, **fresh)  # type: ignore[arg-type]  # caches, empty


def _principals(authority: Authority, agent: Agent) -> tuple[str | None, ...]:
    """For whom to try: each person whom a grant bounds, and one for all the others."""
    if agent.mode == "autonomous":
        return (None,)
    active = [one.id for one in authority.people.values() if one.state == "active"]
    free = [one for one in active if one not in authority.grants]
    owner_first = sorted(free, key=lambda one: one != agent.owner)
    return (*owner_first[:1], *sorted(one for one in active if one in authority.grants))[:MOST_PEOPLE]


def _people(authority: Authority, agent: Agent) -> Iterator[str]:
    """The e-mail addresses of whom its host may start sessions for."""
    if agent.mode == "delegated":
        yield from sorted(one.email for one in authority.people.values() if one.state == "active")


def _sub_agent(one: Agent, agent: Agent, now: int) -> bool:
    """Whether it may work under this agent's sessions (decision 0007)."""
    return one.id != agent.id and one.live(now) and one.owner == agent.owner and one.mode == agent.mode


def _longest(authority: Authority, agent: Agent, now: int) -> str | None:
    """How long the longest-lived of its keys may still be used."""
    ends = [key.expires for key in authority.keys.values() if key.agent == agent.id and key.live(now)]
    known = [end - now for end in ends if end is not None]
    return seconds_to_text(max(known)) if known else None


# One tool


async def _tool(survey: Survey, known: ReviewedTool) -> ToolReach:
    ref, review = known.tool.ref, known.review
    found = ToolReach(
        tool=ref,
        effect=review.effect,
        verdict="unreachable",
        conditions=tuple(_conditions(survey, known)),
        suggested=review.suggested,
    )
    closed = _closed(survey, known)
    if closed is not None:
        return replace(found, why=closed)
    best: ToolReach | None = None
    why: dict[str, None] = {}
    for principal in survey.principals:
        if not survey.authority.reached(survey.chain(principal), known, survey.now):
            continue
        for arguments in _passing(survey, principal, known):
            if not survey.within_bound():
                why["not.rehearsed"] = None
                break
            tried = await survey.attempt(principal, [Step(ref, arguments)])
            if tried.verdict != "allow":
                why.update(dict.fromkeys(tried.codes))
                continue
            survey.known.setdefault((principal, ref), arguments)
            one = replace(found, verdict="reachable", needs_ask=tried.asked, witness=tried.witness)
            best = one if best is None or (best.needs_ask and not tried.asked) else best
            if not tried.asked:
                break
    if best is None and not why:
        return await _solved(survey, known, found)
    return best or replace(found, verdict="may", why=f"no call that was tried passed ({', '.join(why) or 'by policy'})")


async def _solved(survey: Survey, known: ReviewedTool, found: ToolReach) -> ToolReach:
    """What the conditions say when no proposal passed policy: proved to let nothing through, or an example to try."""
    open_yet = False
    for principal in survey.principals:
        chain = survey.chain(principal)
        engine = survey.authority.engine
        if engine is None or not survey.authority.reached(chain, known, survey.now):
            continue
        needing, free = survey.authority.parties(chain)
        stands = [engine.stand(one, known.tool.ref) for one in needing]
        stands += [engine.stand(one, known.tool.ref, free=True) for one in free]
        answer = could_pass(stands)
        open_yet = open_yet or answer is not False
        if isinstance(answer, Example) and survey.within_bound():
            arguments = _with_all(next(bases(known)), answer.arguments)
            tried = await survey.attempt(principal, [Step(known.tool.ref, arguments)])
            if tried.verdict == "allow":
                survey.known.setdefault((principal, known.tool.ref), arguments)
                return replace(found, verdict="reachable", needs_ask=tried.asked, witness=tried.witness)
    if open_yet:
        return replace(found, verdict="may", why="no call that was tried passed (by policy)")
    return replace(found, why="no arguments satisfy its conditions: proved")


def _with_all(base: Mapping[str, Json], values: Mapping[str, Json]) -> Mapping[str, Json]:
    found: Json = base
    for pointer, new in values.items():
        found = with_value(found, pointer, new)
    return found if isinstance(found, Mapping) else {}


def _closed(survey: Survey, known: ReviewedTool) -> str | None:
    """Why nobody can call this through the agent, as the registry alone says; None if somebody may."""
    if not survey.agent.live(survey.now):
        return f"the agent is {survey.agent.state} or expired"
    if known.server.state != "active" or known.server.quarantined:
        return "its server is not active as it was agreed to"
    if known.tool.state != "approved":
        return f"its definition is {known.tool.state}"
    if known.review.effect in COUNTED_EFFECTS and not known.review.limits:
        return "its review counts nothing"
    reaching = [
        principal
        for principal in survey.principals
        if survey.authority.reached(survey.chain(principal), known, survey.now)
    ]
    if not reaching:
        return _NO_GRANT
    engine = survey.authority.engine
    if engine is None:
        return "policy can't be compiled"
    shut = [
        next(
            (by for who in survey.authority.parties(survey.chain(one))[0] if (by := engine.shut(who, known.tool.ref))),
            None,
        )
        for one in reaching
    ]
    return f"policy {shut[0]} forbids it whatever the call" if all(shut) else None


def _passing(survey: Survey, principal: str | None, known: ReviewedTool) -> Iterator[Mapping[str, Json]]:
    """Arguments that fit the pinned schema and that policy lets through, in the order in which they are to be tried."""
    engine = survey.authority.engine
    if engine is None:
        return
    chain = survey.chain(principal)
    needing, free = survey.authority.parties(chain)
    bodies = [body for who in (*needing, *free) for body in engine.bodies(who, known.tool.ref)]
    seen: set[bytes] = set()
    for base in bases(known):
        for arguments in proposals(base, bodies, _types(known, bodies)):
            written = canonical(arguments)
            if written in seen or known.shape.check(arguments):
                continue
            seen.add(written)
            try:
                encoded = engine.encode(known.tool.ref, arguments, Written(written))
            except Unencodable:
                continue
            context = PolicyContext(
                args=encoded,
                integrity="trusted",
                confidentiality=frozenset(),
                intents=frozenset(),
                calls=0,
                chain=chain,
                now_ms=survey.now,
            )
            verdict = policy_verdict(engine, needing, known.tool.ref, context, free=free)
            if not isinstance(verdict, PolicyDenies):
                yield arguments
                if len(seen) > 64:  # noqa: PLR2004 - more of the same kind settle nothing
                    return


def bases(known: ReviewedTool) -> Iterator[Mapping[str, Json]]:
    """Arguments made up from the pinned schema: with all that the review speaks of, then with what is required."""
    server = known.tool.ref.partition("/")[0]
    schema = known.facts.input_schema
    kinds = {
        pointer: qualified(told.type, server, pointer.rpartition("/")[2])
        for pointer, told in known.review.arguments.items()
    }
    spoken = frozenset(pointer for pointer, told in known.review.arguments.items() if told.role != "free")
    counted = frozenset(one.of for one in known.review.limits if one.of != "call")
    yield example(schema, kinds, spoken | counted)
    yield example(schema, kinds, counted)


def _types(known: ReviewedTool, bodies: Sequence[object]) -> dict[str, Sequence[str]]:
    """The JSON types of each argument of the schema, by pointer."""
    found: dict[str, Sequence[str]] = {}
    schema = known.facts.input_schema
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    for name in properties if bodies and isinstance(properties, Mapping) else ():
        pointer = "/" + str(name).replace("~", "~0").replace("/", "~1")
        named = [node.get("type") for node in kind_at(schema, pointer)]
        found[pointer] = [str(one) for one in named if isinstance(one, str)]
    return found


def _conditions(survey: Survey, known: ReviewedTool) -> Iterator[str]:
    """What the grants that reach it say, for people."""
    members = dict.fromkeys(member for one in survey.principals for member in survey.chain(one))
    grants: list[Grant] = [
        grant for member in members for grant in survey.authority.grants_reaching(member, known.tool, survey.now)
    ]
    for grant in grants[:_MOST_CONDITIONS]:
        said = [f"until {to_text(grant.expires)}"]
        if grant.when is not None:
            said.append(f"when {' '.join(grant.when.split())}")
        said += [
            f"at most {amount_text(most)} {name} per {limits.per}"
            for limits in grant.limits
            for name, most in sorted(limits.amounts.items())
        ]
        yield f"{grant.id}: {'; '.join(said)}"
