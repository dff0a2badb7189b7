"""Step 4 for a whole chain, with approval: allowed, denied, or a person must answer first.

Every member must be allowed (authority is the intersection along the chain); a chain of nobody is denied. Without an
approval the members are asked once with ``approval.present`` false and, if that denies, once more with true: deny then
allow needs a person, deny twice is a deny. With one they are asked with true only. So an approval turns nothing but a
policy that names it. A first question that could not be evaluated is a deny at once: no person is asked to mend it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from remit.policy.engine import Engine
from remit.policy.terms import PolicyAnswer, PolicyContext, Principal

Answers: TypeAlias = Mapping[Principal, PolicyAnswer]


@dataclass(frozen=True, slots=True)
class PolicyAllows:
    """Every member of the chain is allowed; ``answers`` tells by what."""

    answers: Answers


@dataclass(frozen=True, slots=True)
class PolicyDenies:
    """At least one member is not allowed, and no approval would change that."""

    answers: Answers


@dataclass(frozen=True, slots=True)
class PolicyNeedsApproval:
    """Denied as things stand (``answers``), allowed once a person has said yes (``approved``)."""

    answers: Answers
    approved: Answers


PolicyVerdict: TypeAlias = PolicyAllows | PolicyDenies | PolicyNeedsApproval


def policy_verdict(
    engine: Engine,
    chain: Sequence[Principal],
    ref: str,
    context: PolicyContext,
    *,
    free: Sequence[Principal] = (),
    approved_by: str | None = None,
) -> PolicyVerdict:
    """What policy says to ``chain`` calling ``ref``. ``approved_by`` is the person behind a held approval.

    The approval fields of ``context`` are set here. Who of a chain needs a permit is the caller's to know: every agent,
    and the person if ``engine.bounded`` holds them; other people are ``free``, and only what forbids counts for them.
    """
    if not chain:
        return PolicyDenies({})
    if approved_by is not None:
        held = _ask(engine, chain, free, ref, replace(context, approval_present=True, approval_by=approved_by))
        return PolicyAllows(held) if _all_allow(held) else PolicyDenies(held)
    plain = not context.approval_present and context.approval_by is None
    unapproved = context if plain else replace(context, approval_present=False, approval_by=None)
    before = _ask(engine, chain, free, ref, unapproved)
    if _all_allow(before):
        return PolicyAllows(before)
    if any(answer.errors for answer in before.values()):
        return PolicyDenies(before)
    after = _ask(engine, chain, free, ref, replace(context, approval_present=True, approval_by=None))
    return PolicyNeedsApproval(before, after) if _all_allow(after) else PolicyDenies(before)


def _ask(
    engine: Engine, chain: Sequence[Principal], free: Sequence[Principal], ref: str, context: PolicyContext
) -> Answers:
    answers = {person: engine.unforbidden(person, ref, context) for person in free}
    answers.update((principal, engine.decide(principal, ref, context)) for principal in chain)
    return answers


def _all_allow(answers: Answers) -> bool:
    return bool(answers) and all(answer.allowed for answer in answers.values())
