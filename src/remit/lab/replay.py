"""Come in here to replay a recorded session of somebody's own agent: no model, no upstream, the real decision.

Every tool of the trace is reviewed as the given reviews say, granted to one agent without a ceiling that is met, and
decided by ``open_call`` over a store of its own. So what is replayed is flow: a denial that the trace has for another
reason (policy, a budget, a tool that was not there) is told and not held against.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json, canonical
from remit.core.credentials import HostCaller, PersonCaller, SessionCaller
from remit.core.decisions import Ask, Decision
from remit.core.errors import BadInput, InvalidDocument, RemitError
from remit.core.times import DAY, SECOND, to_text
from remit.guards.json_in import as_json, parse
from remit.lab.empty import LabClock, empty_remit
from remit.policy.memory import Profile
from remit.services import agents, approve, grants, imports, keys, people, review, servers, sessions
from remit.services.authenticate import authenticate
from remit.services.close import close_call
from remit.services.decide import open_call
from remit.services.deps import Deps

Approver: TypeAlias = Literal["recorded", "attentive", "always", "never"]
Line: TypeAlias = Mapping[str, Any]

MOST_LINES: Final = 100_000
_AGENT: Final = "replayed"
# An agent needs a grant to be live; a trace may name no tool that is reviewed.
_NONE: Final = "remit-lab/none"
_KINDS: Final = ("session", "call", "result", "answer", "verdict")
_PLENTY: Final = "1000000000"
_OURS: Final = "operator@lab.example.test"
_FLOW: Final = ("flow.", "approval.")
# What a review is read back with, and a file may not hold.
_ANSWERED: Final = ("reviewed", "because", "look_at", "id", "grants")


@dataclass(frozen=True, slots=True)
class Registry:
    """The tools of a trace: reviews in their file form and definitions, by reference."""

    reviews: Mapping[str, Line]
    definitions: Mapping[str, Line] = field(default_factory=dict)


def read_trace(text: str) -> tuple[Line, ...]:
    """The lines of a trace. Raises ``InvalidDocument`` with the line for what is none."""
    found = []
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = parse(raw.encode("utf-8", "surrogateescape"))
        except BadInput as error:
            raise InvalidDocument(f"line {number}: {error.detail}") from error
        if not isinstance(line, Mapping) or line.get("t") not in _KINDS:
            raise InvalidDocument(f"line {number}: `t` is one of {', '.join(_KINDS)}")
        if line["t"] == "call" and not isinstance(line.get("arguments"), Mapping):
            raise InvalidDocument(f"line {number}: the arguments of this call are not there, or were erased")
        found.append(line)
        if len(found) > MOST_LINES:
            raise InvalidDocument(f"a trace has at most {MOST_LINES} lines")
    if not found or found[0]["t"] != "session":
        raise InvalidDocument("a trace begins with a line of `t` session")
    return tuple(found)


async def replay(
    lines: Sequence[Line], registry: Registry, folder: Path, *, profile: Profile, approver: Approver
) -> dict[str, Json]:
    """Decide every call of the trace again; one row each, and how many differ from what the trace says."""
    clock = LabClock()
    refs = sorted({_NONE, *(str(line["tool"]) for line in lines if line["t"] == "call")})
    registry = Registry({**registry.reviews, _NONE: {"effect": "read"}}, registry.definitions)
    async with empty_remit(folder, profile, clock) as deps:
        person, host = await _furnished(deps, lines, registry, refs, clock)
        run = _Run(deps, clock, person, host, approver, _approved(lines))
        for line in lines:
            clock.at += SECOND
            await run.take(line)
    rows = run.rows
    return {
        "profile": profile,
        "approver": approver,
        "calls": len(rows),
        "asked": sum(row["asked"] is True for row in rows),
        "denied": sum(row["decision"] == "deny" for row in rows),
        "differs": sum(row["differs"] is True for row in rows),
        "rows": list(rows),
    }


def _approved(lines: Sequence[Line]) -> frozenset[bytes]:
    """The calls of the trace that were made and done: what an attentive person says yes to."""
    done = {line["call_id"] for line in lines if line["t"] == "result" and line.get("outcome") == "done"}
    return frozenset(_exact(line) for line in lines if line["t"] == "call" and line["call_id"] in done)


def _exact(line: Line) -> bytes:
    return canonical([line["tool"], line["arguments"]])


@dataclass
class _Run:
    """A replay while it is under way."""

    deps: Deps
    clock: LabClock
    person: PersonCaller
    host: HostCaller
    approver: Approver
    approved: frozenset[bytes]
    rows: list[dict[str, Json]] = field(default_factory=list)
    _caller: SessionCaller | None = None
    _open: set[str] = field(default_factory=set)
    _asks: dict[str, str] = field(default_factory=dict)

    async def take(self, line: Line) -> None:
        """The next line."""
        match line["t"]:
            case "session":
                await self._start(line)
            case "call":
                await self._call(line)
            case "answer":
                if self.approver == "recorded":
                    await self._answer(str(line.get("call_id")), str(line["answer"]))
            case "verdict":
                self._compare(line)
            case _:
                await self._result(line)

    async def _start(self, line: Line) -> None:
        request: dict[str, Json] = {"agent": _AGENT, "principal": self.person.person.email, "ttl": "P1D"}
        request |= {name: line[name] for name in ("task", "plan", "context") if name in line}
        started = await sessions.start(self.deps, self.host, request)
        self._caller = SessionCaller(self.deps.org, self.host.key, self.host.agent, started.session.id)
        self._open.clear()
        self._asks.clear()

    async def _call(self, line: Line) -> None:
        decision = await self._decided(line)
        first = decision
        if isinstance(decision.verdict, Ask) and self._says_yes(line):
            await self._answer(str(line["call_id"]), "approve")
            decision = await self._decided(line)
        document = first.document()
        reasons = first.verdict.reasons
        self.rows.append(
            {
                "call_id": line["call_id"],
                "tool": line["tool"],
                "decision": document["decision"],
                "asked": isinstance(first.verdict, Ask),
                "made": decision.document()["decision"] == "allow",
                "why": [f"{one.rule or one.code} {one.argument or ''}".strip() for one in reasons],
                "recorded": None,
                "differs": None,
            }
        )

    async def _decided(self, line: Line) -> Decision:
        if self._caller is None:
            raise InvalidDocument("a call before any session")
        call = ProposedCall(str(line["call_id"]), str(line["tool"]), line["arguments"])
        decision = await open_call(self.deps, self._caller, call)
        if isinstance(decision.verdict, Ask):
            self._asks[call.call_id] = decision.verdict.approval
        elif decision.document()["decision"] == "allow":
            self._open.add(call.call_id)
        return decision

    def _says_yes(self, line: Line) -> bool:
        return self.approver == "always" or (self.approver == "attentive" and _exact(line) in self.approved)

    async def _answer(self, call_id: str, answer: str) -> None:
        approval = self._asks.pop(call_id, None)
        if approval is not None:
            await approve.answer(self.deps, self.person, approval, {"answer": answer})

    async def _result(self, line: Line) -> None:
        if self._caller is None or line["call_id"] not in self._open:
            return  # it was not made here
        self._open.discard(line["call_id"])
        outcome = Outcome(line.get("outcome") or "unknown", result=line.get("result"))
        await close_call(self.deps, self._caller, line["call_id"], outcome)

    def _compare(self, line: Line) -> None:
        """Hold the newest row of this call against what the trace says of it."""
        row = next((one for one in reversed(self.rows) if one["call_id"] == line.get("call_id")), None)
        if row is None or row["recorded"] is not None:
            return
        row["recorded"] = line["decision"]
        codes = [str(one) for one in line.get("codes") or [one["code"] for one in line.get("reasons", ())]]
        elsewhere = [one for one in codes if not one.startswith(_FLOW)]
        by_policy = line["decision"] == "ask" and codes == ["approval.needed"]
        row["differs"] = None if elsewhere or by_policy else row["decision"] != line["decision"]


async def _furnished(
    deps: Deps, lines: Sequence[Line], registry: Registry, refs: Sequence[str], clock: LabClock
) -> tuple[PersonCaller, HostCaller]:
    """Servers, reviewed tools, one agent with a grant of each; the person of the trace, who answers."""
    email = next((str(line["principal"]) for line in lines if line.get("principal")), _OURS)
    person = PersonCaller(deps.org, "key_0", await people.found(deps, email, email))
    forever = to_text(clock.at + 300 * DAY)
    agent: dict[str, Json] = {
        "kind": "Agent",
        "name": _AGENT,
        "owner": email,
        "purpose": "Does again what was done",
        "expires": forever,
    }
    await agents.create(deps, person, agent)
    for slug in sorted({ref.partition("/")[0] for ref in refs}):
        await servers.add(deps, person, {"kind": "Server", "name": slug, "caller": True, "operator": slug})
        own = [ref for ref in refs if ref.partition("/")[0] == slug and ref in registry.reviews]
        definitions = [_definition(registry, ref) for ref in own]
        await imports.import_tools(deps, person, slug, definitions)
    for ref in refs:
        clock.at += SECOND
        if ref in registry.reviews:
            await _granted(deps, person, ref, registry.reviews[ref], forever)
    await agents.activate(deps, person, _AGENT)
    made = await keys.create(deps, person, {"agent": _AGENT, "for": "host", "expires": forever})
    host = await authenticate(deps, f"Bearer {made['secret']}")
    assert isinstance(host, HostCaller)  # noqa: S101 - the key is one
    return person, host


def _definition(registry: Registry, ref: str) -> dict[str, Json]:
    """The tool's own, or one that takes any arguments, where nobody has it."""
    known = registry.definitions.get(ref)
    if known is not None:
        return dict(known)
    members = {pointer.split("/")[1] for pointer in registry.reviews[ref].get("arguments", {})}
    return {
        "name": ref.partition("/")[2],
        "inputSchema": {"type": "object", "properties": {name: {} for name in sorted(members)}},
    }


def file_form(document: Line) -> dict[str, Any]:
    """A review as a file has it, of one as the API answers or a suggestion holds it."""
    return {key: value for key, value in document.items() if key not in _ANSWERED}


async def _granted(deps: Deps, person: PersonCaller, ref: str, document: Line, expires: str) -> None:
    server, _, name = ref.partition("/")
    shown = await review.show(deps, person, ref)
    kept = file_form(document)
    signed = {**kept, "kind": "ToolReview", "server": server, "tool": name, "fingerprint": shown["offered"]}
    read = parse(as_json(signed))
    assert isinstance(read, dict)  # noqa: S101 - it was one
    try:
        await review.apply_review(deps, person, read)
    except RemitError as error:
        raise InvalidDocument(f"the review of {ref}: {error.detail}", hint=error.hint) from error
    ceilings: dict[str, Json] = {str(one["name"]): _PLENTY for one in document.get("limits") or ()}
    limits: dict[str, Json] = {"calls": 1_000_000, **ceilings, "per": "day"}
    grant: dict[str, Json] = {"kind": "Grant", "agent": _AGENT, "tools": [ref], "limits": [limits], "expires": expires}
    await grants.apply(deps, person, grant)
