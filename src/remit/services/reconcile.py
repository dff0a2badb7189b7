"""What was cut short: found at start and while running, and brought to an end.

Intents without an outcome are marked unknown and listed until a person settles them; an erasure that was recorded but
not carried out is carried out. Approvals, access requests and sessions that ran out are written down as such. A caller
that forwards by itself and reports nothing within 30 s counts as having been shown what is untrusted.

A forwarding process that died can't report any more. Each process holds a lock under its instance name for as long as
it lives, so ``alive`` can tell; a caller that forwards by itself has until its deadline.
"""

from collections.abc import Callable
from functools import partial

from remit.core.calls import Call
from remit.core.credentials import PersonCaller
from remit.services.access import expire as expire_requests
from remit.services.approve import expire
from remit.services.audit import finish_erasures
from remit.services.close import give_up, unseen
from remit.services.decide import FORWARD_WITHIN, REPORT_WITHIN
from remit.services.deps import Deps, require
from remit.services.sessions import expire as expire_sessions


async def sweep(deps: Deps, alive: Callable[[str], bool]) -> tuple[Call, ...]:
    """Mark as unknown every open call that nobody will report on, then tidy up; all unknown calls are returned.

    What keeps others safe comes first, and what goes wrong in one part keeps none of the others from being done.
    """
    async with deps.store.view(deps.org) as view:
        waiting = [call for call in await view.calls.unfinished() if call.state == "open"]
    now = deps.clock.now()
    faults: list[Exception] = []
    silent = {(call.root, call.tool): call for call in waiting if _silent(call, now)}
    chores = [
        *(partial(_taint, deps, call) for call in silent.values()),
        *(partial(_lose, deps, call) for call in waiting if _lost(call, now, alive)),
        *(partial(chore, deps) for chore in (finish_erasures, expire, expire_sessions, expire_requests)),
    ]
    for chore in chores:
        try:
            await chore()
        except Exception as error:  # noqa: BLE001 - raised below, once the other chores are done
            faults.append(error)
    if faults:
        raise faults[0]
    async with deps.store.view(deps.org) as view:
        return tuple(call for call in await view.calls.unfinished() if call.state == "unknown")


async def _lose(deps: Deps, call: Call) -> None:
    async with deps.store.unit(deps.org) as unit:
        again = await unit.calls.get(call.session, call.call_id)
        if again is not None and again.state == "open":
            session = await unit.sessions.get(call.session)
            await give_up(unit, again, session, await unit.sessions.flow(call.root))


async def unknown(deps: Deps, caller: PersonCaller) -> tuple[Call, ...]:
    """Every call whose effect nobody knows."""
    require(caller, "administrator", "auditor")
    async with deps.store.view(deps.org) as view:
        return tuple(call for call in await view.calls.unfinished() if call.state == "unknown")


async def _taint(deps: Deps, call: Call) -> None:
    """Attack G7: who says nothing of what it read would else stay clean. Labels only join, so once is enough."""
    async with deps.store.view(deps.org) as view:
        flow, shown = await view.sessions.flow(call.root), await unseen(view, call)
    if flow is None or flow.showing(shown, call.server) == flow:
        return
    async with deps.store.unit(deps.org) as unit:
        flow = await unit.sessions.flow(call.root)
        if flow is not None:
            await unit.sessions.put_flow(flow.showing(shown, call.server))


def _silent(call: Call, now: int) -> bool:
    return call.instance is None and now >= call.deadline - REPORT_WITHIN + FORWARD_WITHIN


def _lost(call: Call, now: int, alive: Callable[[str], bool]) -> bool:
    return now >= call.deadline or (call.instance is not None and not alive(call.instance))
