"""Step 6 of a tool call, for countable rules: looked up and held in the unit of work that writes the intent."""

from collections.abc import Mapping

from remit.core.calls import Reservation
from remit.core.decisions import Reason
from remit.core.ports import Unit
from remit.policy import rules
from remit.services import budgets
from remit.services.authority import ReviewedTool
from remit.services.recorded import Facts


async def held(unit: Unit, facts: Facts, known: ReviewedTool) -> tuple[Reservation, ...] | Reason:
    """What rules hold for this call, or the first reason why one refuses it."""
    reaching = facts.authority.rules[known.tool.ref]
    taken = budgets.amounts_of(known.review, facts.call.arguments)
    if isinstance(taken, Reason):
        return taken
    claims = rules.claims(reaching, _asked(facts, known, taken), _party(facts), facts.now)
    if isinstance(claims, Reason):
        return claims
    for claim in claims:
        no = rules.refusal(claim, *await unit.counters.taken(claim.scope, claim.name, claim.since))
        if no is not None:
            return no
    return tuple(
        Reservation(claim.rule.id, claim.scope, claim.name, claim.bucket, claim.amount, proves=claim.proves)
        for claim in claims
        if claim.amount
    )


def persons(facts: Facts, known: ReviewedTool) -> int | Reason:
    """How many different persons a rule wants to say yes to this call; 0 for none."""
    reaching = [one for one in facts.authority.rules.get(known.tool.ref, ()) if one.approvals is not None]
    if not reaching:
        return 0
    taken = budgets.amounts_of(known.review, facts.call.arguments)
    return (
        taken
        if isinstance(taken, Reason)
        else rules.persons_wanted(reaching, _asked(facts, known, taken), _party(facts))
    )


def _asked(facts: Facts, known: ReviewedTool, taken: Mapping[str, int]) -> rules.Asked:
    units = {limit.name: None if limit.of == "call" else limit.unit for limit in known.review.limits}
    return rules.Asked(known.tool.ref, facts.call.arguments, taken, units)


def _party(facts: Facts) -> rules.Party:
    """A chain without a person works for the owner of its first agent: so their agents share what is theirs."""
    agents = tuple(member for member in facts.session.chain if member in facts.authority.agents)
    first = facts.authority.agents.get(agents[0]) if agents else None
    person = facts.session.principal or (first.owner if first else None) or ""
    return rules.Party(facts.session.root, agents, person)
