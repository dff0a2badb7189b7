"""What an agent is shown: the tools its session's chain reaches now, and no trace of any other."""

from dataclasses import dataclass

from remit.core.credentials import SessionCaller
from remit.core.errors import Unauthenticated
from remit.core.servers import CallerTransport
from remit.core.sessions import Session
from remit.services.authority import Authority, ReviewedTool
from remit.services.deps import Deps


@dataclass(frozen=True, slots=True)
class Sight:
    """A live session and the authority it is seen under."""

    session: Session
    authority: Authority
    now: int

    def tools(self) -> tuple[ReviewedTool, ...]:
        """What a gateway may list: reached, within the sealed plan, and on a server that a gateway can forward to."""
        plan = self.session.plan
        return tuple(
            known
            for known in self.authority.listed(self.session.chain, self.now)
            if not isinstance(known.server.transport, CallerTransport)
            and (plan is None or known.tool.ref in plan.tools)
        )

    def reached(self, ref: str) -> ReviewedTool | None:
        """The tool, if the chain reaches it and a gateway can forward to its server; quarantined or not."""
        known = self.authority.tools.get(ref)
        if known is None or isinstance(known.server.transport, CallerTransport) or known.server.state != "active":
            return None
        return known if self.authority.reached(self.session.chain, known, self.now) else None

    def shown(self, ref: str) -> ReviewedTool | None:
        """The same if it is also listed: approved, on a server that is as agreed, and within the sealed plan."""
        known, plan = self.reached(ref), self.session.plan
        if known is None or known.tool.state != "approved" or known.server.quarantined:
            return None
        return known if plan is None or ref in plan.tools else None


async def look(deps: Deps, caller: SessionCaller) -> Sight:
    """The caller's session, if it lives. Raises ``Unauthenticated``: a credential dies with its session."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        session = await view.sessions.get(caller.session)
        authority = await deps.authority.current(view)
    if session is None or session.agent != caller.agent or not session.live(now):
        raise Unauthenticated("the session behind this credential has ended", hint="The host starts a new one.")
    key = authority.keys.get(session.key)
    if key is None or not key.live(now):
        raise Unauthenticated("the key behind this session is no longer good", hint="Ask the agent's owner.")
    return Sight(session, authority, now)
