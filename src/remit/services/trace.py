"""The trace of a session: what was asked, answered, decided and returned, as ``remit lab replay`` reads it again.

Made from the log, so it holds what was committed to and can still be opened. It is people's data: for an auditor or an
administrator.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import NotFound
from remit.core.events import Kind
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.sessions import Session
from remit.guards.json_in import parse
from remit.services import memories
from remit.services.deps import Deps, require

MOST_EVENTS: Final = 20_000
"""Events of one session that a trace is made of; a longer one is cut there and says so."""
_DECISIONS: Final = {Kind.DENIED: "deny", Kind.ASKED: "ask", Kind.INTENT: "allow"}
_KINDS: Final = tuple(
    int(kind) for kind in (*_DECISIONS, Kind.OUTCOME, Kind.UNKNOWN, Kind.APPROVED, Kind.APPROVAL_DENIED)
)
_ERASED: Final = "[erased]"


async def trace(deps: Deps, caller: PersonCaller, session_id: str) -> dict[str, Json]:
    """The lines of one session, and whether they are all. Raises ``NotFound``, ``Forbidden``."""
    require(caller, "auditor", "administrator")
    async with deps.store.view(deps.org) as view:
        session = await view.sessions.get(session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id}")
        lines = [await _head(deps, view, session)]
        entries = await view.log.find(after=-1, limit=MOST_EVENTS, kinds=_KINDS, session=session_id, agent=None)
        asked: dict[str, str] = {}
        for entry in entries:
            leaf = parse(entry.leaf)
            if isinstance(leaf, Mapping):
                lines += [line async for line in _lines(deps, view, entry.index, leaf, asked)]
    return {"lines": list(lines), "whole": len(entries) < MOST_EVENTS}


async def _head(deps: Deps, view: Unit, session: Session) -> dict[str, Json]:
    started = await view.log.find(after=-1, limit=1, kinds=[Kind.SESSION_STARTED], session=session.id, agent=None)
    task = await memories.opened(view, deps.sealer, started[0].index, "/task") if started else None
    principal = await view.nouns.get(Person, session.principal) if session.principal else None
    head: dict[str, Json] = {"t": "session", "session": session.id, "context": session.context}
    if principal is not None:
        head["principal"] = principal.email
    if isinstance(task, list):
        head["task"] = task
    if session.plan is not None and session.plan.speaks:  # what else a plan does is not replayed
        head["plan"] = {"tools": list(session.plan.tools)}
    return head


async def _lines(
    deps: Deps, view: Unit, index: int, leaf: Mapping[str, Json], asked: dict[str, str]
) -> AsyncIterator[dict[str, Json]]:
    kind, call = Kind(int(str(leaf["k"]))), str(leaf.get("call"))
    if kind in _DECISIONS:
        written = await memories.opened(view, deps.sealer, index, "/arguments")
        named = await memories.opened(view, deps.sealer, index, "/tool")
        tool = leaf.get("tool") or named or _ERASED
        if kind == Kind.ASKED:
            asked[str(leaf.get("about"))] = call
        arguments = written if isinstance(written, Mapping) else _ERASED
        yield {"t": "call", "call_id": call, "tool": tool, "arguments": arguments}
        yield {"t": "verdict", "call_id": call, "decision": _DECISIONS[kind], "codes": leaf["codes"], "event": index}
    elif kind in (Kind.OUTCOME, Kind.UNKNOWN):
        result = await memories.opened(view, deps.sealer, index, "/result")
        line: dict[str, Json] = {"t": "result", "call_id": call, "outcome": leaf.get("outcome") or "unknown"}
        yield line if result is None else {**line, "result": result}
    else:
        answer = "approve" if kind == Kind.APPROVED else "deny"
        yield {"t": "answer", "call_id": asked.get(str(leaf.get("about")), ""), "answer": answer, "by": leaf["actor"]}
