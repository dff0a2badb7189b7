"""Step 4 for a chain: everybody must be allowed, and an approval turns only what names it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.grants import Grant, NamedTool
from remit.policy.engine import Engine
from remit.policy.operators import ask_policies
from remit.policy.terms import Principal
from remit.policy.verdicts import PolicyAllows, PolicyDenies, PolicyNeedsApproval, PolicyVerdict, policy_verdict
from tests.policy.made import AGENT, PERSON, agent, context, engine, facts, grant

OTHER = Principal("Agent", "agt_2")
ASK = '@id("ask") forbid(principal, action, resource) unless { context.approval.present };'


def verdict(ours: Engine, *chain: Principal, approved_by: str | None = None, calls: int = 0) -> PolicyVerdict:
    return policy_verdict(
        ours, chain, "office/pay", context(ours, "office/pay", {}, calls=calls), approved_by=approved_by
    )


def holders(*ids: str, when: str | None = None) -> list[Grant]:
    """One grant each, for agents and people."""
    return [
        grant(f"grt_{one}", when=when, agent=one if one[0] == "a" else None, person=one if one[0] == "p" else None)
        for one in ids
    ]


@pytest.mark.claim("policy:default-deny")
def test_a_chain_of_nobody_is_denied() -> None:
    ours = engine()
    assert isinstance(verdict(ours), PolicyDenies)
    assert isinstance(verdict(ours, approved_by="per_1"), PolicyDenies)
    assert isinstance(verdict(ours, AGENT), PolicyAllows)


def test_authority_is_the_intersection_along_the_chain() -> None:
    names = ("agt_1", "agt_2", "per_1")
    members = (AGENT, OTHER, PERSON)
    for held in itertools.product((False, True), repeat=3):
        ours = engine(
            agents=[agent(), agent("agt_2")],
            grants=holders(*(name for name, one in zip(names, held, strict=True) if one)),
        )
        for chain in itertools.permutations(members):
            expected = PolicyAllows if all(held) else PolicyDenies
            found = verdict(ours, *chain)
            assert isinstance(found, expected)
            assert set(found.answers) == set(members)


@given(
    st.lists(st.sampled_from([AGENT, OTHER, PERSON]), max_size=4),
    st.integers(0, 6),
    st.sampled_from([AGENT, OTHER, PERSON]),
)
def test_a_longer_chain_never_allows_more(chain: list[Principal], calls: int, more: Principal) -> None:
    grants = [
        *holders("agt_1", when="context.session.calls < 5"),
        *holders("agt_2", when="context.session.calls > 2"),
        *holders("per_1", when="context.approval.present"),
    ]
    ours = engine(agents=[agent(), agent("agt_2")], grants=grants)
    rank = {PolicyDenies: 0, PolicyNeedsApproval: 1, PolicyAllows: 2}
    if chain:
        assert rank[type(verdict(ours, *chain, more, calls=calls))] <= rank[type(verdict(ours, *chain, calls=calls))]


def test_deny_then_allow_needs_a_person_and_the_yes_is_then_allowed() -> None:
    ours = engine(ASK)
    found = verdict(ours, AGENT)
    assert isinstance(found, PolicyNeedsApproval)
    assert found.answers[AGENT].policies == ("ask",)
    assert found.approved[AGENT].grants == ("grt_1",)
    assert isinstance(verdict(ours, AGENT, approved_by="per_1"), PolicyAllows)


def test_deny_twice_is_a_deny_that_no_approval_turns() -> None:
    veto = '@id("veto") forbid(principal, action, resource);'
    for text in (veto, ASK + veto):
        ours = engine(text)
        assert isinstance(verdict(ours, AGENT), PolicyDenies)
        assert isinstance(verdict(ours, AGENT, approved_by="per_1"), PolicyDenies)


def test_an_approval_stands_in_for_no_grant() -> None:
    for grants in ([], holders("agt_2"), [grant(when="false")], [grant(state="revoked")]):
        ours = engine(ASK, grants=grants)
        assert isinstance(verdict(ours, AGENT), PolicyDenies)
        assert isinstance(verdict(ours, AGENT, approved_by="per_1"), PolicyDenies)


def test_one_member_who_needs_an_approval_makes_the_chain_need_one_and_one_who_may_not_denies_it() -> None:
    text = ASK.replace("principal,", "principal is Remit::Person,")
    two = engine(text, grants=holders("agt_1", "per_1"))
    assert isinstance(verdict(two, AGENT), PolicyAllows)
    assert isinstance(verdict(two, AGENT, PERSON), PolicyNeedsApproval)
    one = engine(text, grants=holders("per_1"))
    assert isinstance(verdict(one, AGENT, PERSON), PolicyDenies)


def test_a_grant_may_itself_ask_for_an_approval() -> None:
    ours = engine(grants=[grant(when="context.approval.present")])
    assert isinstance(verdict(ours, AGENT), PolicyNeedsApproval)
    wide = engine(grants=[grant(when="context.approval.present"), grant("grt_2", when="context.session.calls < 5")])
    assert isinstance(verdict(wide, AGENT), PolicyAllows)
    assert isinstance(verdict(wide, AGENT, calls=9), PolicyNeedsApproval)


def test_who_said_yes_may_matter() -> None:
    by = 'context.approval has by && context.approval.by == "per_1"'
    ours = engine(f'@id("by") forbid(principal, action, resource) when {{ context.approval.present && !({by}) }};')
    assert isinstance(verdict(ours, AGENT, approved_by="per_1"), PolicyAllows)
    assert isinstance(verdict(ours, AGENT, approved_by="per_2"), PolicyDenies)


def test_what_the_caller_says_of_approval_is_overwritten() -> None:
    ours = engine(ASK)
    claimed = context(ours, "office/pay", {}, approval_present=True, approval_by="per_1")
    assert ours.decide(AGENT, "office/pay", claimed).allowed  # the engine alone takes the fact it is given
    assert isinstance(policy_verdict(ours, [AGENT], "office/pay", claimed), PolicyNeedsApproval)


@pytest.mark.claim("policy:error-denies")
def test_an_error_without_the_approval_is_a_deny_and_no_question_to_a_person() -> None:
    text = f'@id("odd") forbid(principal, action, resource) unless {{ context.approval.present || context.session.calls + {2**63 - 1} > 0 }};'
    ours = engine(text)
    assert isinstance(verdict(ours, AGENT, calls=1), PolicyDenies)
    assert isinstance(verdict(ours, AGENT, calls=0), PolicyAllows)


@pytest.mark.parametrize("effect", ["read", "fetch", "write", "spend", "destroy", "admin"])
def test_the_shipped_policies_ask_before_a_spend_destroy_or_admin_call(effect: str) -> None:
    tool = facts(effect=effect)  # type: ignore[arg-type]  # every effect there is
    ours = engine(ask_policies().text, tools=[tool], grants=[grant("grt_1", NamedTool("office/pay", tool.effect))])
    asked = isinstance(verdict(ours, AGENT), PolicyNeedsApproval)
    assert asked is (effect in {"spend", "destroy", "admin"})
    assert isinstance(verdict(ours, AGENT, approved_by="per_1"), PolicyAllows)
