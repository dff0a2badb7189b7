"""Come in here for a Remit on which a suite is replayed: a real store in a folder, one agent granted every tool.

What decides is what decides for everybody: ``open_call`` and ``close_call`` over SQLite, as a caller that forwards by
itself. The sessions are unattested, so flow judges from the first call on; no policy asks beside it. Only the clock is
the stage's own, which moves a second with each call.
"""

import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import HostCaller, PersonCaller, SessionCaller
from remit.core.decisions import Ask, Decision
from remit.core.times import DAY, SECOND, to_text
from remit.guards.json_in import as_json, parse
from remit.lab.agentdojo.tools import Suite, plain
from remit.lab.empty import LabClock, empty_remit
from remit.policy.memory import Profile
from remit.services import agents, approve, grants, imports, keys, people, review, servers, sessions
from remit.services.authenticate import authenticate
from remit.services.close import close_call
from remit.services.decide import open_call
from remit.services.deps import Deps

AGENT: Final = "assistant"
_OWNERS: Final = {"workspace": "emma.johnson@bluesparrowtech.com", "travel": "emma.johnson@gmail.com"}
_PLENTY: Final = "1000000000"
_MOST_QUESTIONS: Final = 8
"""Rounds of questions about one call, after which it counts as refused."""


@dataclass
class Stage:
    """One suite under control. Sessions on it share nothing but the registry."""

    suite: Suite
    deps: Deps
    clock: LabClock
    person: PersonCaller
    host: HostCaller
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def session(self, prompt: str) -> "StageSession":
        """A session with this task of its person's."""
        self.clock.at += SECOND
        async with self.deps.store.unit(self.deps.org) as unit:
            await unit.stamps.clear(self.person.person.id)  # each task begins in a world that nobody wrote to
        request: dict[str, Json] = {
            "agent": AGENT,
            "principal": self.person.person.email,
            "task": [{"text": prompt, "source": "principal"}],
            "ttl": "PT1H",
        }
        started = await sessions.start(self.deps, self.host, request)
        caller = await authenticate(self.deps, f"Bearer {started.token}")
        assert isinstance(caller, SessionCaller)  # noqa: S101 - a session token's
        return StageSession(self, caller)

    def call_id(self) -> str:
        """A fresh one."""
        return f"c{next(self._numbers)}"


@dataclass
class StageSession:
    """One session: calls are decided, run on an environment, and reported."""

    stage: Stage
    caller: SessionCaller
    questions: int = 0
    asked: list[dict[str, Json]] = field(default_factory=list)

    async def call(self, environment: Any, tool: str, arguments: Mapping[str, Any], *, approved: bool) -> bool:
        """Make one call if it may be made; whether it was. ``approved``: a person says yes to whatever is asked.

        One question is what a person is asked at once about one call.
        """
        stage, exact = self.stage, _exact(arguments)
        for _ in range(_MOST_QUESTIONS):
            stage.clock.at += SECOND
            call = ProposedCall(stage.call_id(), f"{stage.suite.name}/{tool}", exact)
            decision = await open_call(stage.deps, self.caller, call)
            if not isinstance(decision.verdict, Ask):
                break
            self._note(tool, exact, decision)
            if not approved:
                return False
            await approve.answer(stage.deps, stage.person, decision.verdict.approval, {"answer": "approve"})
        document = decision.document()
        if document["decision"] != "allow":
            if document["decision"] == "deny":
                self._note(tool, exact, decision)
            return False
        result = stage.suite.call(environment, tool, exact)
        outcome = Outcome("failed" if result.get("isError") else "done", result=result)
        await close_call(stage.deps, self.caller, call.call_id, outcome)
        return True

    def _note(self, tool: str, arguments: Mapping[str, Json], decision: Decision) -> None:
        asks = isinstance(decision.verdict, Ask)
        self.questions += asks
        why: Json = [f"{one.code} {one.rule or ''} {one.argument or ''}".strip() for one in decision.verdict.reasons]
        self.asked.append({"tool": tool, "arguments": dict(arguments), "asked": asks, "why": why})


@asynccontextmanager
async def staged(
    suite: Suite, labels: Mapping[str, Mapping[str, Any]], profile: Profile, folder: Path
) -> AsyncIterator[Stage]:
    """A suite whose every tool is reviewed as ``labels`` say and granted to one agent; the store is in ``folder``."""
    clock = LabClock()
    async with empty_remit(folder, profile, clock) as deps:
        email = _OWNERS.get(suite.name, "emma.johnson@example.test")
        person = PersonCaller("main", "key_0", await people.found(deps, email, "Emma Johnson"))
        host = await _furnished(deps, person, suite, labels, clock)
        yield Stage(suite, deps, clock, person, host)


async def _furnished(
    deps: Deps, person: PersonCaller, suite: Suite, labels: Mapping[str, Mapping[str, Any]], clock: LabClock
) -> HostCaller:
    """The registry: server, tools, reviews, the agent with a grant of each tool; who may start its sessions."""
    await servers.add(deps, person, {"kind": "Server", "name": suite.name, "caller": True, "operator": suite.name})
    await imports.import_tools(deps, person, suite.name, list(suite.definitions()))
    forever = to_text(clock.at + 300 * DAY)
    agent: dict[str, Json] = {
        "kind": "Agent",
        "name": AGENT,
        "owner": person.person.email,
        "purpose": "Does the tasks of a suite",
        "expires": forever,
    }
    await agents.create(deps, person, agent)
    for tool, document in labels.items():
        clock.at += SECOND
        signed = {name: value for name, value in document.items() if name not in ("because", "look_at")}
        read = parse(as_json(signed))
        assert isinstance(read, dict)  # noqa: S101 - it was one
        await review.apply_review(deps, person, read)
        await grants.apply(deps, person, _grant(f"{suite.name}/{tool}", document, forever))
    await agents.activate(deps, person, AGENT)
    made = await keys.create(deps, person, {"agent": AGENT, "for": "host", "expires": forever})
    host = await authenticate(deps, f"Bearer {made['secret']}")
    assert isinstance(host, HostCaller)  # noqa: S101 - the key is one
    return host


def _grant(ref: str, document: Mapping[str, Any], expires: str) -> dict[str, Json]:
    """Flow alone is measured: limits are there, because effects that are counted need them, and are never met."""
    named: Sequence[Mapping[str, Any]] = document.get("limits") or ()
    ceilings: dict[str, Json] = {str(one["name"]): _PLENTY for one in named}
    limits: dict[str, Json] = {"calls": 1_000_000, **ceilings, "per": "day"}
    return {"kind": "Grant", "agent": AGENT, "tools": [ref], "limits": [limits], "expires": expires}


def _exact(arguments: Mapping[str, Any]) -> Mapping[str, Json]:
    """Arguments as they would come over a wire: plain JSON with exact numbers."""
    found = parse(json.dumps(plain(arguments), ensure_ascii=False).encode())
    assert isinstance(found, dict)  # noqa: S101 - a mapping was given
    return found
