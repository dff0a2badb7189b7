"""Step 4 as the decision takes it: what policy says of every member of the chain, and on which grants that rests."""

from dataclasses import dataclass

from remit.core.canonical import canonical
from remit.core.decisions import Reason
from remit.core.grants import Grant
from remit.policy.encoding import Unencodable
from remit.policy.terms import PolicyContext
from remit.policy.verdicts import Answers, PolicyDenies, PolicyNeedsApproval, policy_verdict
from remit.services.authority import ReviewedTool
from remit.services.recorded import Facts


@dataclass(frozen=True, slots=True)
class Permitted:
    """Per bounded chain member the live grants that policy found satisfied; and whether a person must still say yes."""

    grants: tuple[tuple[Grant, ...], ...]
    needs_approval: bool


def permitted(facts: Facts, known: ReviewedTool, approver: str | None) -> Permitted | Reason:
    """Ask policy about every member of the chain: authorities intersect, and a forbid holds for whom it names.

    ``approver`` has said yes, if set.
    """
    engine = facts.authority.engine
    if engine is None:
        return Reason("policy.error", facts.authority.fault)
    try:
        arguments = engine.encode(known.tool.ref, facts.call.arguments, facts.arguments)
    except Unencodable as error:
        return Reason("arguments.encoding", error.why, argument=error.pointer)
    context = PolicyContext(
        args=arguments,
        integrity=facts.flow.labels.integrity,
        confidentiality=facts.flow.labels.confidentiality,
        intents=frozenset(),
        calls=facts.flow.calls,
        chain=facts.session.chain,
        now_ms=facts.now,
        inputs=None if facts.call.inputs is None else canonical(facts.call.inputs.document()).decode(),
    )
    chain, free = facts.authority.parties(facts.session.chain)
    verdict = policy_verdict(engine, chain, known.tool.ref, context, free=free, approved_by=approver)
    if isinstance(verdict, PolicyDenies):
        return _denial(verdict.answers)
    asks = isinstance(verdict, PolicyNeedsApproval)
    answers = verdict.approved if isinstance(verdict, PolicyNeedsApproval) else verdict.answers
    rows = tuple(
        tuple(
            grant
            for grant in facts.authority.grants_reaching(principal.id, known.tool, facts.now)
            if grant.id in answers[principal].grants
        )
        for principal in chain
    )
    if not rows or not all(rows):
        return Reason("policy.denied")
    return Permitted(rows, needs_approval=asks)


def _denial(answers: Answers) -> Reason:
    """Why policy said no: an error before anything else, else the policy that forbids, else that nothing permits."""
    for answer in answers.values():
        if answer.errors:
            return Reason("policy.error", rule=next(iter(answer.policies), None))
    for answer in answers.values():
        if not answer.allowed and answer.policies:
            return Reason("policy.denied", rule=answer.policies[0])
    return Reason("policy.denied", "no condition of a grant is met")
