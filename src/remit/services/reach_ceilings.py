"""The most that an agent can take under each countable: what its grants and the rules leave, added up.

An upper bound. Each call is debited under one grant, so the grants of a name add up; a grant without a ceiling of its
own, and no rule above it, bounds nothing, and then the answer is None.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from remit.core.amounts import SCALE, to_text
from remit.core.grants import Grant
from remit.core.rules import Rule
from remit.core.times import DAY
from remit.services.authority import Authority

_CALLS: Final = "calls"
# Who may hold a count that all sessions of the agent share, whomever it acts for.
_SHARED: Final = frozenset({"agent", "team", "organisation"})


def ceilings(authority: Authority, agent: str, refs: Sequence[str], now: int) -> dict[str, dict[str, str | None]]:
    """By name of what is counted: the most in one session, and in a day over all sessions that the agent may open."""
    tools = [authority.tools[ref] for ref in refs]
    names: dict[str, str | None] = {_CALLS: None}
    for known in tools:
        names.update({limit.name: limit.unit for limit in known.review.limits})
    found: dict[str, dict[str, str | None]] = {}
    for name, unit in names.items():
        counting = [known for known in tools if name == _CALLS or any(one.name == name for one in known.review.limits)]
        grants = {grant.id: grant for known in counting for grant in authority.grants_reaching(agent, known.tool, now)}
        ruled = [_rule_ceiling(authority.rules.get(known.tool.ref, ()), name, agent) for known in counting]
        held = _total(ruled)
        day = _least(_sum(grants.values(), name, ("day",)), held)
        session = _least(_sum(grants.values(), name, ("session", "day")), day)
        found[name] = {"session": _text(session), "day": _text(day), "unit": unit or name}
    return found


def _sum(grants: Iterable[Grant], name: str, scopes: Sequence[str]) -> int | None:
    """The ceilings of all these grants together; None if one of them has none."""
    total = 0
    for grant in grants:
        most = _least(*(_under(grant, name, per) for per in scopes))
        if most is None:
            return None
        total += most
    return total


def _total(found: Sequence[int | None]) -> int | None:
    """These together; None if one of them bounds nothing. Two tools under one rule count twice, which is no less."""
    return None if not found or None in found else sum(one for one in found if one is not None)


def _under(grant: Grant, name: str, per: str) -> int | None:
    """What one grant leaves of a name in one scope: its own ceiling, or so many calls of at most so much each."""
    direct = [limits.amounts[name] for limits in grant.limits if limits.per == per and name in limits.amounts]
    calls = [limits.amounts[_CALLS] for limits in grant.limits if limits.per == per and _CALLS in limits.amounts]
    each = [limits.amounts[name] for limits in grant.limits if limits.per == "call" and name in limits.amounts]
    product = min(calls) // SCALE * min(each) if calls and each and name != _CALLS else None
    return _least(*direct, product)


def _rule_ceiling(rules: Sequence[Rule], name: str, agent: str) -> int | None:
    """The tightest rule that holds for the agent over a day at least, whoever else it counts."""
    return _least(
        *(
            rule.ceiling.most
            for rule in rules
            if rule.ceiling is not None
            and rule.ceiling.name == name
            and rule.per in _SHARED
            and (not rule.agents or agent in rule.agents)
            and (rule.window is None or rule.window >= DAY)
        )
    )


def _least(*found: int | None) -> int | None:
    return min((one for one in found if one is not None), default=None)


def _text(amount: int | None) -> str | None:
    return None if amount is None else to_text(amount)
