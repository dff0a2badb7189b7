"""What a decision costs in a large registry: the start, and ``open`` up to the intent, as the registry grows.

In one process, on a real store. A registry is filled with agents, tools and grants; then the authority is loaded as a
start does it, and the steps of a decision up to the intent (1 to 4 and 6) are walked for sessions of its agents:
*evaluated*, where each question is new to the policy engine, and *cached*, where it is one that policy can't tell from
an earlier one. Flow, approval and the log are not in it; what they cost stands in the other rows.
"""

import asyncio
import gc
import itertools
import json
import resource
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from remit.core.agents import Agent
from remit.core.calls import ProposedCall
from remit.core.canonical import Json, Written, canonical, digest
from remit.core.credentials import Key
from remit.core.grants import Grant, NamedTool
from remit.core.labels import UNTRUSTED
from remit.core.people import Person
from remit.core.policies import PolicyRevision
from remit.core.ports import Noun, Unit
from remit.core.servers import CallerTransport, Server
from remit.core.sessions import FlowState, Session
from remit.core.tools import ArgumentReview, Definition, OutputReview, Tool, ToolReview, definition_id
from remit.services import decide, policies
from remit.services.authority import Authority, load
from remit.services.recorded import Facts
from remit.services.sealing import Sealer
from remit.storage.sqlite import SqliteStore, create_store
from remit.storage.subject_keys import SubjectKeys
from remit.wiring import SystemClock, SystemEntropy

ORG = "main"
NOW = 1_795_000_000_000
LATER = NOW + 86_400_000
SERVERS = 50
TURNS = 25
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "amount": {"type": "number"}, "note": {"type": "string"}},
    "required": ["id"],
}


@dataclass(frozen=True, slots=True)
class Size:
    """How large a registry is."""

    agents: int
    tools: int
    grants: int


def ident(prefix: str, number: int) -> str:
    """An id that is none, but as long as one."""
    return f"{prefix}_{number:026d}"


def tool_of(number: int) -> tuple[Tool, Definition, ToolReview]:
    """One reviewed tool of one of the servers."""
    server, name = number % SERVERS, f"tool_{number}"
    body = json.dumps({"name": name, "description": "Reads one thing.", "inputSchema": SCHEMA})
    ref, print_ = f"s{server}/{name}", digest(body.encode())
    tool = Tool(
        org=ORG,
        id=ident("tol", number),
        server=ident("srv", server),
        ref=ref,
        alias=f"s{server}__{name}",
        pinned=print_,
        offered=print_,
        review=ident("rev", number),
        effect="read",
        approved_at=NOW,
        created=NOW,
    )
    definition = Definition(
        org=ORG, id=definition_id(ref, print_), tool=ref, fingerprint=print_, body=body, first_seen=NOW
    )
    review = ToolReview(
        org=ORG,
        id=ident("rev", number),
        tool=ref,
        fingerprint=print_,
        effect="read",
        arguments={"/id": ArgumentReview(role="reference"), "/amount": ArgumentReview(role="how_much", type="money")},
        output=OutputReview(),
        mints={},
        discloses=(),
        limits=(),
        reversible=False,
        inverse=None,
        intent=(),
        idempotency=None,
        reconcile=None,
        reviewed_by=ident("per", 0),
        reviewed_at=NOW,
    )
    return tool, definition, review


def agent_for(number: int, size: Size) -> int:
    """Whose the grant is: of no agent and tool is there a second one, however many grants there are."""
    return (number + number // size.tools) % size.agents


def grant_of(number: int, size: Size) -> Grant:
    """One grant; every other one with a condition that reads the arguments and the session."""
    tool = number % size.tools
    when = 'context.args.id != "none" && context.session.calls < 1000000' if number % 2 else None
    return Grant(
        org=ORG,
        id=ident("grt", number),
        agent=ident("agt", agent_for(number, size)),
        person=None,
        tools=(NamedTool(f"s{tool % SERVERS}/tool_{tool}", "read"),),
        when=when,
        limits=(),
        expires=LATER,
        state="active",
        created=NOW,
    )


def agent_of(number: int) -> Agent:
    """One active agent."""
    return Agent(
        org=ORG,
        id=ident("agt", number),
        name=f"a{number}",
        owner=ident("per", 0),
        purpose="Is measured",
        mode="autonomous",
        state="active",
        expires=LATER,
        review_by=None,
        created=NOW,
    )


def nouns_of(size: Size) -> Iterator[Noun]:
    """A registry of this size."""
    owner = ident("per", 0)
    yield Person(org=ORG, id=owner, email="a@example.test", name="A", roles=("owner",), state="active", created=0)
    for number in range(SERVERS):
        yield Server(org=ORG, id=ident("srv", number), name=f"s{number}", transport=CallerTransport(), created=NOW)
    shipped = (("ask.cedar", policies.shipped()),)
    yield PolicyRevision(org=ORG, id="00000001", version="v", sources=shipped, applied_by=owner, applied_at=NOW)
    for number in range(size.tools):
        yield from tool_of(number)
    for number in range(size.agents):
        yield agent_of(number)
        yield _key(number)
    for number in range(size.grants):
        yield grant_of(number, size)


async def fill(store: SqliteStore, size: Size) -> None:
    """Write it, some at a time: one unit of all would be held in memory whole."""
    nouns = nouns_of(size)
    while some := list(itertools.islice(nouns, 2_000)):
        async with store.unit(ORG) as unit:
            for noun in some:
                await unit.nouns.add(noun)


def _key(number: int) -> Key:
    return Key(
        org=ORG,
        id=ident("key", number),
        purpose="host",
        agent=ident("agt", number),
        person=None,
        digest="0",
        expires=LATER,
        state="active",
        created=NOW,
    )


def facts_of(authority: Authority, agent: int, ref: str, calls: int) -> Facts:
    """What is known of one call of an agent's."""
    name = ident("agt", agent)
    session = Session(
        org=ORG,
        id=ident("ses", agent),
        root=ident("ses", agent),
        parent=None,
        agent=name,
        principal=None,
        chain=(name,),
        key=ident("key", agent),
        task=(),
        plan=None,
        context="unattested",
        state="active",
        created=NOW,
        expires=LATER,
    )
    arguments: dict[str, Json] = {"id": "m1", "amount": 5}
    return Facts(
        authority=authority,
        session=session,
        flow=FlowState(org=ORG, root=session.id, labels=UNTRUSTED, calls=calls, denials=0),
        call=ProposedCall("c1", ref, arguments),
        arguments=Written(canonical(arguments)),
        known=authority.tools[ref],
        before=None,
        now=NOW,
    )


_STEPS = (decide._live, decide._tool, decide._shape, decide._permitted, decide._budget)  # noqa: SLF001  # what is measured


async def walk(unit: Unit, facts: Facts) -> None:
    """Steps 1 to 4 and 6 of one decision, which must end in a yes."""
    live, tool, shape, policy, budget = _STEPS
    live(facts, facts.session.key, ())
    known = tool(facts)
    shape(known, facts.call)
    await budget(unit, facts, known, policy(facts, known, None).grants)


async def timed(unit: Unit, authority: Authority, size: Size, *, fresh: bool) -> float:
    """Median CPU microseconds of a decision; ``fresh`` questions are new to policy each time."""
    # Odd grants are those with a condition that tells calls apart; their agents and tools are the ones asked about.
    asked = range(1, min(size.grants, 40), 2)
    spent: list[float] = []
    for turn in range(TURNS):
        questions = []
        for number in asked:
            tool, calls = number % size.tools, (turn + 1 if fresh else 0)
            ref = f"s{tool % SERVERS}/tool_{tool}"
            questions.append(facts_of(authority, agent_for(number, size), ref, calls))
        begun = process_time()
        for facts in questions:
            await walk(unit, facts)
        spent.append((process_time() - begun) / len(questions))
    # The first question about an agent and a tool also parses what concerns the two, once.
    return statistics.median(spent[1:]) * 1e6


async def measure(folder: Path, size: Size) -> dict[str, Any]:
    """One registry: filled, loaded and asked."""
    clock, entropy = SystemClock(), SystemEntropy()
    sealer = Sealer(SubjectKeys(folder / "subjects", entropy), entropy)
    store: SqliteStore = await create_store(folder / "remit.db", clock, sealer)
    try:
        await fill(store, size)
        gc.collect()
        async with store.view(ORG) as view:
            begun, cpu = perf_counter(), process_time()
            authority = await load(view, await view.nouns.epoch())
            start, start_cpu = perf_counter() - begun, process_time() - cpu
            if authority.engine is None:
                raise RuntimeError(authority.fault)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            begun = perf_counter()
            again = await load(view, await view.nouns.epoch())
            reload = perf_counter() - begun
            del again
            evaluated = await timed(view, authority, size, fresh=True)
            cached = await timed(view, authority, size, fresh=False)
    finally:
        await store.close()
    return {
        "row": f"open with {size.grants} policies",
        "agents": size.agents,
        "tools": size.tools,
        "start_s": round(start, 2),
        "start_cpu_s": round(start_cpu, 2),
        "reload_s": round(reload, 2),
        "evaluated_us": round(evaluated, 1),
        "cached_us": round(cached, 1),
        "start_peak_mb": round(peak),
        "reload_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> int:
    """One size, in a process of its own, so that its memory is its own: agents, tools, grants and a folder."""
    agents, tools, grants = (int(word) for word in sys.argv[1:4])
    print(json.dumps(asyncio.run(measure(Path(sys.argv[4]), Size(agents, tools, grants)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
