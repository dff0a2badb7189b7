"""What an agent is shown: the tools its session's chain reaches now, and no trace of any other."""

from dataclasses import dataclass

from remit.core.credentials import SessionCaller
from remit.core.errors import Unauthenticated
from remit.core.ports import Unit
from remit.core.servers import CallerTransport
from remit.core.sessions import Session
from remit.services import live, scopes
from remit.services.authority import Authority, ReviewedTool
from remit.services.deps import Deps


@dataclass(frozen=True, slots=True)
class Sight:
    """A live session and the authority it is seen under; ``named`` are the only tools that its keys leave, if any."""

    session: Session
    authority: Authority
    now: int
    named: frozenset[str] | None = None

    def tools(self) -> tuple[ReviewedTool, ...]:
        """What a gateway may list: reached, within the sealed plan, and on a server that a gateway can forward to."""
        plan = self.session.plan
        return tuple(
            known
            for known in self.authority.listed(self.session.chain, self.now)
            if not isinstance(known.server.transport, CallerTransport)
            and (plan is None or known.tool.ref in plan.tools)
            and (self.named is None or known.tool.ref in self.named)
        )

    def same_as(self, before: "Sight") -> bool:
        """Whether nothing can have changed since an earlier sight of this session: not the registry, and no grant."""
        held = (grant for member in self.session.chain for grant in self.authority.grants.get(member, ()))
        lapsed = any(grant.live(before.now) and not grant.live(self.now) for grant in held)
        return self.authority is before.authority and not lapsed

    def reached(self, ref: str) -> ReviewedTool | None:
        """The tool, if the chain reaches it and a gateway can forward to its server; quarantined or not."""
        known = self.authority.tools.get(ref)
        if known is None or isinstance(known.server.transport, CallerTransport) or known.server.state != "active":
            return None
        if self.named is not None and ref not in self.named:
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
    async with deps.store.view(deps.org) as view:
        return await sight_in(deps, view, caller)


async def sight_in(deps: Deps, unit: Unit, caller: SessionCaller) -> Sight:
    """The same as ``unit`` sees it."""
    now = deps.clock.now()
    session = await unit.sessions.get(caller.session)
    authority = await deps.authority.current(unit)
    if session is None or session.agent != caller.agent or not session.live(now):
        raise Unauthenticated("the session behind this credential has ended", hint="The host starts a new one.")
    for behind in {session.key, caller.key}:
        key = authority.behind(behind)
        if key is None or not key.live(now):
            raise Unauthenticated("the key behind this session is no longer good", hint="Ask the agent's owner.")
    named = scopes.within(authority, caller.key, session, await live.above(unit, session))
    return Sight(session, authority, now, named)
