"""What an administrator could change so that a refused call passes: a grant file to read, change and apply.

Nothing is widened here. Where nothing but a person's own number would help (a ceiling of a grant for an amount), the
proposal holds ``0.00`` until that person has written one. A policy that forbids and a definition in quarantine are no
matter of grants: then there is advice in place of a file. Files are JSON, which YAML is too, so no text in them can be
read as anything but a value.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.access import NO_TOOL, AccessRequest
from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.grants import Grant
from remit.core.ports import Unit
from remit.core.times import DAY, to_text
from remit.core.tools import COUNTED_EFFECTS
from remit.guards.json_in import parse
from remit.services import access
from remit.services.authority import Authority, ReviewedTool
from remit.services.deps import Deps
from remit.services.documents import CALLS, Directory, directory, grant_document

_LIFE: Final = 30 * DAY
_CALLS: Final = 20
# What a grant is read back with, and a file may not hold.
_READ_ONLY: Final = ("id", "state", "created_at")
_STARTS: Final = "A grant adds; it takes nothing back. Read it, change it, then `remit grant apply FILE`."


@dataclass(frozen=True, slots=True)
class _Proposal:
    """``files`` are grant documents to apply, ``instead_of`` the grant as it stands that they were made of."""

    advice: str
    files: tuple[Mapping[str, Json], ...] = ()
    instead_of: Mapping[str, Json] | None = None

    def document(self) -> dict[str, Json]:
        """As people read it."""
        out: dict[str, Json] = {"advice": self.advice}
        if self.files:
            before, after = _text(self.instead_of) if self.instead_of else "", "---\n".join(map(_text, self.files))
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "as it is", "proposed", lineterm="")
            out |= {"file": after, "diff": "\n".join(lines) + "\n"}
        return out


async def show(deps: Deps, caller: PersonCaller, id: str) -> dict[str, Json]:
    """One request, with the tools it is about and what could be done. Raises ``NotFound``."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        request, agent = await access.seen(view, caller, id)
        authority = await deps.authority.current(view)
        refs = [request.tool] if request.tool != NO_TOOL else await _named(view, request, authority)
        known = [authority.tools[ref] for ref in refs if ref in authority.tools]
        proposal = _proposed(request, agent, known, authority, await directory(view), now)
    tools: list[Json] = list(refs)
    return access.document(request, agent, now) | {"tools": tools} | proposal.document()


async def _named(view: Unit, request: AccessRequest, authority: Authority) -> list[str]:
    """Which tools of the registry the refused calls named; what stands in no registry is an agent's own text."""
    found: dict[str, None] = {}
    for index in request.events:
        for entry in await view.log.read(index, index + 1):
            leaf = parse(entry.leaf)
            ref = leaf.get("tool") if isinstance(leaf, Mapping) else None
            if isinstance(ref, str) and ref in authority.tools:
                found[ref] = None
    return sorted(found)


def _proposed(
    request: AccessRequest,
    agent: Agent,
    known: Sequence[ReviewedTool],
    authority: Authority,
    names: Directory,
    now: int,
) -> _Proposal:
    match request.code:
        case "tool.unknown":
            return _ungranted(agent, known, now)
        case "tool.changed":
            return _Proposal(f"`remit tool diff {request.tool}` shows what changed; a reviewer signs or leaves it.")
        case "server.quarantined":
            server = request.tool.partition("/")[0]
            return _Proposal(f"`remit server list` shows what {server} is now; an administrator agrees to it or not.")
        case "budget.exceeded":
            return _exceeded(request, authority, names)
        case _ if request.rule:
            return _Proposal(f"Policy {request.rule} forbids it, and no grant changes that: see `remit policy show`.")
        case _:
            return _unmet(request, agent, authority, names, now)


def _ungranted(agent: Agent, known: Sequence[ReviewedTool], now: int) -> _Proposal:
    """Each tool that it named and that there is, for itself, so that a person can leave some out."""
    live = [one for one in known if one.tool.state == "approved" and one.server.state == "active"]
    if not live:
        return _Proposal("It named no tool that is reviewed and on offer here, so there is nothing to grant.")
    expires = min(now + _LIFE, agent.expires or now + _LIFE)
    files = tuple(_grant(agent, one, expires) for one in live)
    return _Proposal(f"{_STARTS} An amount of 0.00 is yours to fill in.", files)


def _grant(agent: Agent, known: ReviewedTool, expires: int) -> Mapping[str, Json]:
    counted = known.review.effect in COUNTED_EFFECTS
    ceilings: dict[str, Json] = {limit.name: "0.00" for limit in known.review.limits if limit.of != "call"}
    limits: dict[str, Json] = {CALLS: 0 if counted and not ceilings else _CALLS, **ceilings, "per": "day"}
    return {
        "kind": "Grant",
        "agent": agent.name,
        "tools": [known.tool.ref],
        "limits": [limits],
        "expires": to_text(expires),
    }


def _exceeded(request: AccessRequest, authority: Authority, names: Directory) -> _Proposal:
    """The limit's own grant, for this tool alone: applied beside the first it lets as much through again."""
    grant = next((one for held in authority.grants.values() for one in held if one.id == request.rule), None)
    if grant is None or grant.state != "active":
        return _Proposal("The grant whose limit was met is no longer in force.")
    advice = (
        f"Beside {grant.id}, which stays, this lets as much through again. To raise a limit instead, "
        f"change it in the file, apply that, and `remit grant revoke {grant.id}`."
    )
    return _narrowed(grant, request.tool, names, advice)


def _unmet(request: AccessRequest, agent: Agent, authority: Authority, names: Directory, now: int) -> _Proposal:
    """The first grant that covers the tool under a condition, for this tool alone and without the condition."""
    known = authority.tools.get(request.tool)
    members = (agent.id, *request.people)
    reaching = (
        [one for member in members for one in authority.grants_reaching(member, known.tool, now)] if known else []
    )
    grant = next((one for one in reaching if one.when is not None), None)
    if grant is None:
        return _Proposal("No grant with a condition covers it now; see `remit grant list` and `remit policy show`.")
    advice = f"{_STARTS} As it stands here the condition is gone for this tool: rewrite it rather than drop it."
    return _narrowed(grant, request.tool, names, advice, without=("when",))


def _narrowed(grant: Grant, tool: str, names: Directory, advice: str, without: Sequence[str] = ()) -> _Proposal:
    before = {name: value for name, value in grant_document(grant, names).items() if name not in _READ_ONLY}
    after = {name: value for name, value in before.items() if name not in without} | {"tools": [tool]}
    return _Proposal(advice, (after,), before)


def _text(document: Mapping[str, Json]) -> str:
    return json.dumps(document, indent=2) + "\n"
