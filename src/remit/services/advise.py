"""``remit agent advise``: what was granted against what was used, as grants that only shrink.

From the log of a window: every call that was allowed, with its amounts as far as its arguments can still be read.
Nothing is changed; the answer holds files to apply, and which grants they would stand in for.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Final

from remit.core.agents import Agent
from remit.core.amounts import ONE
from remit.core.calls import parts_of
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.decisions import Reason
from remit.core.errors import Forbidden
from remit.core.events import Kind
from remit.core.grants import Grant
from remit.core.ports import Unit
from remit.core.times import DAY, to_text
from remit.core.tools import Tool, ToolReview
from remit.guards.json_in import parse
from remit.policy.advice import CALLS, Use, narrowed
from remit.services import budgets, memories
from remit.services.deps import Deps
from remit.services.documents import Directory, directory, grant_document
from remit.services.registry import find

WINDOW: Final = 30 * DAY
_PAGE: Final = 1_000
_MOST: Final = 100_000
_READ_ONLY: Final = ("id", "state", "created_at")
_CANNOT: Final = (
    "Work that comes less often than the window: a quarter's end, a yearly report.",
    "Whether a condition could be tighter: it is kept as it is.",
    "What was refused or asked and never allowed: it does not count as use.",
)


async def advise(
    deps: Deps, caller: PersonCaller, named: str, *, window: int = WINDOW, young: bool = False
) -> dict[str, Json]:
    """What the grants of an agent could be narrowed to, for its owner, an auditor or an administrator.

    ``window`` is in milliseconds; ``young`` takes grants in that are younger. Raises ``NotFound``, ``Forbidden``.
    """
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        agent = await find(view, Agent, named)
        if not agent.answered_for_by(caller.person.id) and not caller.person.has("auditor", "administrator"):
            raise Forbidden("advice on an agent is for its owner, an auditor or an administrator")
        known = await directory(view)
        tools = await view.nouns.all(Tool)
        uses = await _uses(deps, view, agent.id, now - window)
        held = [one for one in await view.nouns.all(Grant) if one.agent == agent.id and one.live(now)]
    rows = [_advised(one, tools, uses, known, old=young or one.created <= now - window) for one in held]
    unread = sum(not one.known for one in uses)
    return {
        "agent": agent.name,
        "since": to_text(now - window),
        "calls": len(uses),
        "unreadable": unread,
        "grants": list(rows),
        "cannot_know": [*_CANNOT, *([f"The amounts of {unread} calls, which were erased."] if unread else [])],
    }


async def _uses(deps: Deps, view: Unit, agent: str, since: int) -> list[Use]:
    """Every call of the agent that was allowed since then."""
    reviews = {(one.tool, one.fingerprint): one for one in await view.nouns.all(ToolReview)}
    roots: dict[str, str] = {}
    found: list[Use] = []
    after = -1
    while len(found) < _MOST:
        page = await view.log.find(after=after, limit=_PAGE, kinds=[Kind.INTENT], session=None, agent=agent)
        for entry in page:
            leaf = parse(entry.leaf)
            if not isinstance(leaf, Mapping) or int(str(leaf["t"])) < since:
                continue
            session = str(leaf.get("session"))
            if session not in roots:
                row = await view.sessions.get(session)
                roots[session] = row.root if row else session
            review = reviews.get((str(leaf.get("tool")), str(leaf.get("fp"))))
            found.append(await _use(deps, view, leaf, entry.index, roots[session], review))
        if len(page) < _PAGE:
            break
        after = page[-1].index
    return found


async def _use(
    deps: Deps, view: Unit, leaf: Mapping[str, Json], index: int, root: str, review: ToolReview | None
) -> Use:
    tool, at = str(leaf.get("tool")), int(str(leaf["t"]))
    arguments = parts_of(await memories.opened(view, deps.sealer, index, "/arguments"))["arguments"]
    if review is None or not isinstance(arguments, Mapping):
        return Use(tool, at, root, {CALLS: ONE}, known=False)
    taken = budgets.amounts_of(review, arguments)
    return Use(tool, at, root, {CALLS: ONE}, known=False) if isinstance(taken, Reason) else Use(tool, at, root, taken)


def _advised(
    grant: Grant, tools: Sequence[Tool], uses: Sequence[Use], known: Directory, *, old: bool
) -> dict[str, Json]:
    before = _file(grant, known)
    if not old:
        return {"grant": grant.id, "verdict": "young", "why": "it is younger than the window", "file": None, "diff": ""}
    after = narrowed(grant, tools, uses)
    if after is None:
        why = f"nothing that it reaches was called: `remit grant revoke {grant.id}`"
        return {"grant": grant.id, "verdict": "unused", "why": why, "file": None, "diff": _diff(before, None)}
    proposed = _file(after, known)
    if proposed == before:
        return {"grant": grant.id, "verdict": "used", "why": "it is used as it is", "file": None, "diff": ""}
    why = f"apply the file, then `remit grant revoke {grant.id}`"
    return {
        "grant": grant.id,
        "verdict": "narrower",
        "why": why,
        "file": json.dumps(proposed, indent=2) + "\n",
        "diff": _diff(before, proposed),
    }


def _file(grant: Grant, known: Directory) -> dict[str, Json]:
    return {name: value for name, value in grant_document(grant, known).items() if name not in _READ_ONLY}


def _diff(before: Mapping[str, Json], after: Mapping[str, Json] | None) -> str:
    old, new = json.dumps(before, indent=2), "" if after is None else json.dumps(after, indent=2)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "as it is", "as it was used", lineterm="")
    return "\n".join(lines) + "\n"
