"""Step 5 as the decision takes it: what a call demands, less what the session and its persons have given."""

from collections.abc import Sequence

from remit.core.approvals import Approval
from remit.core.decisions import Reason
from remit.core.ports import Unit
from remit.policy.demands import Miss, misses
from remit.policy.exposure import exposures
from remit.policy.flow import input_sinks
from remit.policy.memory import NOTHING
from remit.services import endorsed
from remit.services.authority import ReviewedTool
from remit.services.deps import Deps
from remit.services.recorded import Facts


async def short(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool) -> tuple[Miss, ...] | Reason:
    """Every demand of the call that nothing meets; a reason to refuse, for a value that a person said no to."""
    unvouched = _answers(facts, known)
    secret = facts.flow.labels.confidentiality
    exposed = exposures(known.review, known.server, facts.flow.origins) if secret else ()
    unguarded = facts.flow.labels.integrity == "trusted" or known.review.effect == "read"
    found = () if unguarded else await _demanded(deps, unit, facts, known)
    if not found and not exposed:
        return unvouched
    root, server = facts.session.root, known.server.name
    said = endorsed.spoken(await unit.approvals.of_values(root), facts.now)
    for one in (*found, *exposed):
        if one.about_value and endorsed.key_of(root, server, one) in said.refused:
            return Reason("flow.refused", rule="B14", argument=one.argument or None)
    return (*unvouched, *endorsed.open_misses((*found, *exposed), said, root, known.review))


async def _demanded(deps: Deps, unit: Unit, facts: Facts, known: ReviewedTool) -> tuple[Miss, ...]:
    """What an untrusted session lacks for the values of this call."""
    agent = facts.authority.agents.get(facts.session.agent)
    owner = agent.owner if agent else None
    memory = await deps.memories.of(unit, deps.sealer, facts.session, facts.flow, owner)
    # A tool outside of a sealed plan came no further than step 2.
    planned = facts.session.plan is not None and facts.session.plan.speaks
    return misses(memory, known.review, facts.call.arguments, tainted=True, planned=planned, fetches=facts.flow.fetches)


def _answers(facts: Facts, known: ReviewedTool) -> tuple[Miss, ...]:
    """Answers to the server's questions whose values nothing vouches for."""
    inputs = facts.call.inputs
    sinks = () if inputs is None else input_sinks(inputs, known.review.effect, facts.flow.labels)
    return tuple(Miss("E", at, "what", "", "", NOTHING, 0) for at in sinks)


async def waiting(unit: Unit, facts: Facts, known: ReviewedTool, keys: Sequence[str]) -> Approval | None:
    """The question about exactly these values, for effects no lower, that is before a person already."""
    said = endorsed.spoken(await unit.approvals.of_values(facts.session.root), facts.now)
    before = endorsed.asked_before(said, keys)
    enough = before is not None and endorsed.RANK[before.effect or "read"] >= endorsed.RANK[known.review.effect]
    return before if enough else None
