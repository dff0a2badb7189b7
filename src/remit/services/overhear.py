"""What a server says while a call is still under way: it may be shown only once the session counts as having seen it.

A progress or a log message is third-party text that reaches the agent before the outcome. So its labels are joined
into the state that the root session shares *before* the first of it is shown, and are on disk by then. All frames of
one call have the same labels: nobody wrote them but the server, and they may hold whatever the tool's result may.
"""

from remit.core.credentials import SessionCaller
from remit.core.errors import CallClosed
from remit.core.ports import Unit
from remit.core.sessions import FlowState
from remit.policy.flow import unseen_labels
from remit.services.close import output_of
from remit.services.deps import Deps
from remit.services.listing import sight_in
from remit.services.recorded import first_flow


async def overhear(deps: Deps, caller: SessionCaller, call_id: str) -> None:
    """Join what a frame of this open call may show; nothing is written where the session has seen as much already.

    Raises ``Unauthenticated`` when the session or its key lives no more, ``CallClosed`` when no such call is open,
    ``Unavailable`` when it can't be recorded. After any of these nothing may be shown.
    """
    # INVARIANT: a view sees only what is on disk, and labels only join; so what it finds there stays.
    async with deps.store.view(deps.org) as view:
        if await _taught(deps, view, caller, call_id) is None:
            return
    async with deps.store.unit(deps.org) as unit:
        taught = await _taught(deps, unit, caller, call_id)
        if taught is not None:
            await unit.sessions.put_flow(taught)


async def _taught(deps: Deps, unit: Unit, caller: SessionCaller, call_id: str) -> FlowState | None:
    """The root's state with the labels of this call's frames in it; None if they are there."""
    sight = await sight_in(deps, unit, caller)
    call = await unit.calls.get(caller.session, call_id)
    if call is None or call.state != "open":
        raise CallClosed(f"no call is open under {call_id}")
    flow = await unit.sessions.flow(sight.session.root) or first_flow(sight.session)
    taught = flow.showing(unseen_labels(await output_of(unit, sight.authority, call)), call.server)
    return None if taught == flow else taught
