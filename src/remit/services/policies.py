"""Operators' policies: checked whole, applied whole, kept whole, so that any earlier set can be had back.

A set with one error changes nothing but the log. A revision is never edited: a rollback is a new revision with the old
text, checked again, since the tools it speaks of may have changed meanwhile.
"""

from collections.abc import Sequence
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidPolicy, NotFound
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.policies import PolicyRevision
from remit.core.ports import Unit
from remit.core.times import to_text
from remit.policy.operators import ask_policies
from remit.policy.operators import check as check_sources
from remit.policy.terms import PolicyReport, PolicySource
from remit.services.authority import load, policy_sources
from remit.services.deps import Deps, require
from remit.services.registry import prove, require_reader

Sources = Sequence[tuple[str, str]]
"""File name and Cedar text, in order."""

_DIGITS: Final = 8


def shipped() -> str:
    """The text of the ``ask.cedar`` that a new home starts with."""
    return ask_policies().text


async def found(deps: Deps, person: Person, sources: Sources) -> None:
    """The first set, at the making of a home. Raises ``InvalidPolicy``."""
    await _apply(deps, person, sources, Kind.POLICY_APPLIED)


async def check(deps: Deps, caller: PersonCaller, sources: Sources) -> dict[str, Json]:
    """Every error and lint of a set, against the tools as they are reviewed now. Changes nothing."""
    require(caller, "administrator", "reviewer", "auditor")
    async with deps.store.view(deps.org) as view:
        return (await _report(view, sources)).document()


async def apply(deps: Deps, caller: PersonCaller, sources: Sources) -> dict[str, Json]:
    """Put a set in force, by an administrator. The report, with the number of the revision.

    Raises ``InvalidPolicy`` for a set with an error: the old one stays, and the refusal is in the log.
    """
    require(caller, "administrator")
    return await _apply(deps, caller.person, sources, Kind.POLICY_APPLIED)


async def rollback(deps: Deps, caller: PersonCaller, revision: str) -> dict[str, Json]:
    """Put an earlier set in force again, by revision number or by the version it had. By an administrator.

    Raises ``NotFound``, ``InvalidPolicy``.
    """
    require(caller, "administrator")
    async with deps.store.view(deps.org) as view:
        revisions = await view.nouns.all(PolicyRevision)
    wanted = revision.zfill(_DIGITS) if revision.isascii() and revision.isdigit() else revision
    earlier = [one for one in revisions if wanted in (one.id, one.version)]
    if not earlier:
        raise NotFound(f"there is no policy revision {revision!r}")
    return await _apply(deps, caller.person, earlier[-1].sources, Kind.POLICY_ROLLED_BACK)


async def show(deps: Deps, caller: PersonCaller) -> dict[str, Json]:
    """The set in force, with its text and its version as the tools are reviewed now."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        revisions = await view.nouns.all(PolicyRevision)
        people = {person.id: person.email for person in await view.nouns.all(Person)}
        report = await _report(view, [(source.name, source.text) for source in await policy_sources(view)])
    answer = report.document()
    if revisions:
        newest = revisions[-1]
        answer["revision"] = _number(newest)
        answer["applied_by"] = people.get(newest.applied_by, newest.applied_by)
        answer["applied_at"] = to_text(newest.applied_at)
        answer["sources"] = [{"file": name, "text": text} for name, text in newest.sources]
    return answer


async def _apply(deps: Deps, person: Person, sources: Sources, kind: Kind) -> dict[str, Json]:
    async with deps.store.unit(deps.org) as unit:
        report = await _report(unit, sources)
        if report.ok:
            return await _put(deps, unit, person, sources, report, kind)
        # Left normally, so that the refusal stays in the log; the exception is raised after it is there.
        event = await unit.log.append(_event(Kind.POLICY_REFUSED, person, None, sources))
    first = report.errors[0]
    more = f" (and {len(report.errors) - 1} more)" if len(report.errors) > 1 else ""
    raise InvalidPolicy(f"{first.file}, line {first.line}: {first.message}{more}", event=event)


async def _put(
    deps: Deps, unit: Unit, person: Person, sources: Sources, report: PolicyReport, kind: Kind
) -> dict[str, Json]:
    revision = PolicyRevision(
        org=deps.org,
        id=str(len(await unit.nouns.all(PolicyRevision)) + 1).zfill(_DIGITS),
        version=report.policy_version,
        sources=tuple((name, text) for name, text in sources),
        applied_by=person.id,
        applied_at=deps.clock.now(),
    )
    await unit.nouns.add(revision)
    await prove(unit)
    await unit.log.append(_event(kind, person, revision, sources))
    return report.document() | {"revision": _number(revision)}


async def _report(unit: Unit, sources: Sources) -> PolicyReport:
    # Not through the cache: this unit may yet be undone.
    authority = await load(unit, await unit.nouns.epoch())
    facts = [known.facts for known in authority.tools.values()]
    servers = [server.name for server in authority.servers.values() if server.state == "active"]
    return check_sources([PolicySource(name, text) for name, text in sources], facts, servers)


def _number(revision: PolicyRevision) -> str:
    return str(int(revision.id))


def _event(kind: Kind, person: Person, revision: PolicyRevision | None, sources: Sources) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=person.id,
        subject=person.id,
        about=revision.id if revision else None,
        policy=revision.version if revision else None,
        private={"/sources": [[name, text] for name, text in sources]},
    )
