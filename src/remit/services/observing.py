"""Observe mode of one server: what would be refused there is let through and written down, until it ends by itself.

An administrator turns it on for at most 30 days, to learn which grants and policies a server's agents need. It answers
for policy, limits and questions to people, of this one server's approved tools, and for nothing else. INVARIANT: what a
call stands on is never passed (credentials, sessions, pins, the sealed plan, shapes, a person's no), nor what could not
be judged (an error of policy, an amount that can't be counted). Every step is still taken, so limits are still counted.

A mode that outlived its end would be an open door that nobody watches, so it is asked for at every decision, with that
decision's own time, and never kept with an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.decisions import REASONS, Reason
from remit.core.errors import InvalidDocument, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ports import LogEntry, Unit
from remit.core.servers import Server
from remit.core.times import DAY, to_text
from remit.guards.json_in import parse
from remit.services import recorded
from remit.services.deps import Deps, require
from remit.services.documents import server_document
from remit.services.recorded import Facts
from remit.services.registry import find

LONGEST: Final = 30 * DAY
WOULD_DENY: Final = "observe.would_deny"
WOULD_ASK: Final = "observe.would_ask"
PRIVATE: Final = "/observed"
_ASKED: Final = frozenset({"flow.value", "flow.call"})
_PASSED: Final = frozenset({"policy.denied", "budget.exceeded", "approval.needed", "approval.too_large", *_ASKED})
_PLAN: Final = "plan"
_STEP: Final = 1_000
# Intents that one report reads; beyond them it says that it is cut short.
MOST_READ: Final = 50_000


def passes(reasons: Sequence[Reason]) -> bool:
    """Whether all of these are what observe mode answers for. A sealed plan is the host's own, and is kept."""
    return all(reason.code in _PASSED and reason.rule != _PLAN for reason in reasons)


def noticed(server: Server, missed: Sequence[Reason]) -> tuple[Reason, ...]:
    """What the Allow of a call says that would have been refused, or asked about, for these reasons."""
    asks = all(reason.code == "approval.needed" or reason.code in _ASKED for reason in missed)
    until = f"on {server.name}, until {to_text(server.observe_until or 0)}"
    return (Reason(WOULD_ASK if asks else WOULD_DENY, until), *missed)


def draft(facts: Facts, approval: str | None, reasons: Sequence[Reason]) -> EventDraft:
    """The event of an intent. What only observe mode let through is in its codes, and committed to with its rules."""
    plain = recorded.draft(facts, Kind.INTENT, tuple(dict.fromkeys(reason.code for reason in reasons)), about=approval)
    if not reasons:
        return plain
    missed: list[Json] = [
        {name: value for name, value in reason.document().items() if name != "hint"} for reason in reasons[1:]
    ]
    return replace(plain, private={**plain.private, PRIVATE: missed})


# Turned on and off


def check_end(server: Server, now: int) -> None:
    """Raise ``InvalidDocument`` for an end that is past or too far away: the mode is never without one."""
    if server.observe_until is not None and not now < server.observe_until <= now + LONGEST:
        raise InvalidDocument(
            "observe mode ends in the future, and at most 30 days from now",
            hint="Set a nearer time, or leave observe out of the record.",
            pointer="/observe/until",
        )


async def switch(deps: Deps, caller: PersonCaller, named: str, lasting: int | None) -> dict[str, Json]:
    """Observe mode on for ``lasting`` milliseconds from now, or off with None. By an administrator."""
    require(caller, "administrator")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        before = await find(unit, Server, named)
        if before.state != "active":
            raise WrongState(f"server {before.name} is retired")
        server = replace(before, observe_until=now + lasting if lasting is not None else None)
        check_end(server, now)
        if server != before:
            await unit.nouns.replace(server)
            await note(unit, caller, before, server)
    return server_document(server)


async def note(unit: Unit, caller: PersonCaller, before: Server | None, server: Server) -> None:
    """The event for a record whose end of observe mode is another than before."""
    until = server.observe_until
    if until == (before.observe_until if before else None):
        return
    await unit.log.append(
        EventDraft(
            kind=Kind.SERVER_OBSERVED,
            actor=caller.person.id,
            subject=caller.person.id,
            about=server.id,
            codes=("off",) if until is None else ("on",),
            private={} if until is None else {"/until": to_text(until)},
        )
    )


# What was let through


@dataclass(slots=True)
class _Group:
    """Calls that were let through for one and the same reason."""

    calls: int = 0
    agents: set[str] = field(default_factory=set)
    first: int = 0
    last: int = 0
    event: int = 0

    def take(self, event: Mapping[str, Json]) -> None:
        at, index = event["t"], event["i"]
        self.first = self.first or (at if isinstance(at, int) else 0)
        self.last, self.event = (number if isinstance(number, int) else 0 for number in (at, index))
        self.agents.add(str(event.get("agent")))
        self.calls += 1


async def observed(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """What observe mode let through at a server, grouped by tool, reason, rule and argument, most calls first.

    For administrators and auditors: it is read out of the log. ``complete`` is whether all of the log was read.
    """
    require(caller, "administrator", "auditor")
    groups: dict[tuple[str, ...], _Group] = {}
    async with deps.store.view(deps.org) as view:
        server = await find(view, Server, named)
        after = await _begun(view, server, deps.clock.now())
    read = 0
    while after is not None and read < MOST_READ:
        async with deps.store.view(deps.org) as view:  # a view each time: a long one would keep what others overwrite
            found = await view.log.find(after=after, limit=_STEP, kinds=[Kind.INTENT], session=None, agent=None)
            for entry in found:
                await _take(deps, view, server, entry, groups)
        read, after = read + len(found), found[-1].index if len(found) == _STEP else None
    lines = sorted(groups.items(), key=lambda item: (-item[1].calls, item[0]))
    return {
        "server": server.name,
        "until": to_text(server.observe_until) if server.observe_until is not None else None,
        "complete": after is None,
        "items": [_line(key, group) for key, group in lines],
    }


async def _begun(view: Unit, server: Server, now: int) -> int | None:
    """The event that turned the mode on first, within the time that one reaches back; None if none did."""
    switched = await view.log.find(after=-1, limit=MOST_READ, kinds=[Kind.SERVER_OBSERVED], session=None, agent=None)
    for entry in switched:
        event = _read(entry)
        at = event.get("t")
        if event.get("about") == server.id and isinstance(at, int) and at >= now - 2 * LONGEST:
            return entry.index
    return None


async def _take(deps: Deps, view: Unit, server: Server, entry: LogEntry, groups: dict[tuple[str, ...], _Group]) -> None:
    event = _read(entry)
    tool, listed = str(event.get("tool", "")), event.get("codes")
    codes = [str(code) for code in listed] if isinstance(listed, list) else []
    if tool.partition("/")[0] != server.name or not codes or codes[0] not in {WOULD_DENY, WOULD_ASK}:
        return
    for reason in await _reasons(deps, view, entry.index, codes):
        key = (tool, codes[0].partition(".")[2], *(str(reason.get(name, "")) for name in ("code", "rule", "argument")))
        groups.setdefault(key, _Group()).take(event)


async def _reasons(deps: Deps, view: Unit, index: int, codes: Sequence[str]) -> list[Mapping[str, Json]]:
    """What was committed to beside the codes; the codes alone where that was erased."""
    for private in await view.log.private(index):
        opened = deps.sealer.reveal(private, deps.org) if private.pointer == PRIVATE else None
        if opened is not None:
            value = parse(opened[1])
            return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
    return [{"code": code} for code in codes[1:]]


def _line(key: tuple[str, ...], group: _Group) -> dict[str, Json]:
    tool, would, code, rule, argument = key
    return {
        "tool": tool,
        "would": would.removeprefix("would_"),
        "code": code,
        "rule": rule or None,
        "argument": argument or None,
        "text": REASONS[code].text,
        "calls": group.calls,
        "agents": sorted(group.agents),
        "first_at": to_text(group.first),
        "last_at": to_text(group.last),
        "event": group.event,
    }


def _read(entry: LogEntry) -> Mapping[str, Json]:
    event = parse(entry.leaf)
    return event if isinstance(event, Mapping) else {}
