"""Come in here to have calls decided by the real decision, and nothing of it stay.

A rehearsal is one unit of work that is undone: in it a session is started, calls are opened, answered and closed by the
same services as ever, over the same registry. INVARIANT: nothing is forwarded, and no event, counter or question of it
is ever committed; a store keeps that promise by ``Store.unit``, which an exception undoes.

The key behind the session is made up and lives in the rehearsal only, so what an agent could do is found also while
nobody holds a key of its own.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal

from remit.core.calls import Outcome, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import HostCaller, Key, PersonCaller, SessionCaller
from remit.core.decisions import Allow, Ask, Decision
from remit.core.errors import AlreadyAnswered, Forbidden, RemitError
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.reach import Witness
from remit.services import approve, sessions
from remit.services.authority import Authority, AuthorityCache
from remit.services.close import close_call
from remit.services.decide import open_call
from remit.services.deps import Deps
from remit.services.memories import Memories
from remit.services.refusals import Refusals

_KEY: Final = "key_rehearsal"
_MOST_QUESTIONS: Final = 4


class _Undone(Exception):
    """Ends a rehearsal."""


@dataclass(frozen=True, slots=True)
class _Within:
    """A store that is one unit which somebody else opened and will undo."""

    only: Unit

    @asynccontextmanager
    async def unit(self, org: str) -> AsyncIterator[Unit]:
        """The unit."""
        del org
        yield self.only

    @asynccontextmanager
    async def view(self, org: str) -> AsyncIterator[Unit]:
        """The same: what was written in it is seen in it."""
        del org
        yield self.only

    async def close(self) -> None:
        """Nothing: it is not ours."""


class _Fixed(AuthorityCache):
    """One authority, whatever the registry says meanwhile."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self._current = authority

    async def current(self, unit: Unit) -> Authority:
        """The one."""
        del unit
        assert self._current is not None  # noqa: S101 - set when it was made
        return self._current


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a rehearsal, and what it is answered if it is not the last."""

    tool: str
    arguments: Mapping[str, Json]
    result: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """How a rehearsal ended: the last call that was decided, and whether a person was asked on the way."""

    verdict: Literal["allow", "ask", "deny"]
    asked: bool
    codes: tuple[str, ...]
    witness: Witness


@asynccontextmanager
async def rehearsed(deps: Deps, authority: Authority) -> AsyncIterator[Deps]:
    """``deps`` over a unit of work that is undone when this is left."""
    try:
        async with deps.store.unit(deps.org) as unit:
            yield replace(
                deps,
                store=_Within(unit),
                authority=_Fixed(authority),
                refusals=Refusals(),
                memories=Memories(deps.memories.profile),
            )
            raise _Undone
    except _Undone:
        return


def with_key(authority: Authority, agent: str, deps: Deps) -> Authority:
    """``authority`` with a host key of this agent that nobody holds."""
    now = deps.clock.now()
    key = Key(
        org=deps.org,
        id=_KEY,
        purpose="host",
        agent=agent,
        person=None,
        digest="",
        expires=now + 3_600_000,
        state="active",
        created=now,
    )
    return replace(authority, keys={**authority.keys, _KEY: key})


async def attempt(
    deps: Deps,
    authority: Authority,
    agent: str,
    principal: str | None,
    steps: Sequence[Step],
    *,
    task: str = "",
    attested: bool = True,
) -> Tried:
    """Take these steps in one session for ``principal`` (an id), with persons saying yes to whatever is asked.

    ``authority`` comes from ``with_key``. What can't even be started is a deny.
    """
    async with rehearsed(deps, authority) as inner:
        request: dict[str, Json] = {"agent": agent, "context": "attested" if attested else "unattested"}
        if principal is not None:
            request["principal"] = principal
        if task:
            request["task"] = [{"text": task, "source": "principal"}]
        try:
            started = await sessions.start(inner, HostCaller(deps.org, _KEY, agent), request)
        except RemitError as error:
            return Tried("deny", asked=False, codes=(error.code,), witness=Witness(task, ()))
        caller = SessionCaller(deps.org, _KEY, agent, started.session.id)
        return await _taken(inner, caller, authority, steps, task)


async def _taken(deps: Deps, caller: SessionCaller, authority: Authority, steps: Sequence[Step], task: str) -> Tried:
    calls: list[Mapping[str, Json]] = []
    asked, number = False, 0
    verdict: Literal["allow", "ask", "deny"] = "deny"
    codes: tuple[str, ...] = ()
    for step in steps:
        for _ in range(_MOST_QUESTIONS):
            number += 1
            decision = await open_call(deps, caller, ProposedCall(f"w{number}", step.tool, step.arguments))
            codes = tuple(dict.fromkeys(one.code for one in decision.verdict.reasons))
            verdict = _word(decision)
            calls.append(
                {"tool": step.tool, "arguments": dict(step.arguments), "decision": verdict, "codes": list(codes)}
            )
            if not isinstance(decision.verdict, Ask):
                break
            asked = True
            if not await _answered(deps, authority, decision.verdict.approval):
                break
        if verdict != "allow":
            break
        if step.result is not None:
            calls[-1] = {**calls[-1], "result": dict(step.result)}
            await close_call(deps, caller, f"w{number}", Outcome("done", result=step.result))
    return Tried(verdict, asked, codes, Witness(task, tuple(calls)))


def _word(decision: Decision) -> Literal["allow", "ask", "deny"]:
    match decision.verdict:
        case Allow():
            return "allow"
        case Ask():
            return "ask"
        case _:
            return "deny"


async def _answered(deps: Deps, authority: Authority, approval: str) -> bool:
    """Whether somebody who may said yes."""
    for person in _approvers(authority):
        try:
            await approve.answer(deps, PersonCaller(deps.org, _KEY, person), approval, {"answer": "approve"})
        except (Forbidden, AlreadyAnswered):
            continue
        except RemitError:
            return False
        return True
    return False


def _approvers(authority: Authority) -> list[Person]:
    return [one for one in authority.people.values() if one.has("approver")]
