"""The engine's five rules: default deny, only grants allow, errors deny, grants end, and what does not fit is left out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import InvalidPolicy
from remit.core.grants import NamedTool, ToolsByEffect
from remit.core.times import DAY
from remit.policy.encoding import Unencodable
from remit.policy.engine import MAX_SLICES, Engine, check_grant
from remit.policy.terms import CedarRecord, PolicyAnswer, PolicyContext, PolicySource, Principal, ToolFacts
from tests.policy.made import (
    AGENT,
    NOW,
    PERSON,
    agent,
    ask,
    context,
    engine,
    facts,
    grant,
    person,
    raw,
    raw_allows,
    server,
)

OPEN = '@id("open") permit(principal, action, resource);'


# Rule 1: default deny.


def test_a_granted_call_is_allowed_and_says_by_what() -> None:
    assert ask(engine()) == PolicyAnswer(allowed=True, grants=("grt_1",))


@pytest.mark.claim("policy:default-deny")
def test_an_empty_engine_denies_whatever_is_asked() -> None:
    nothing = Engine.compile([], [], [])
    empty = PolicyContext(
        args=CedarRecord("office/pay", {}),
        integrity="trusted",
        confidentiality=frozenset(),
        intents=frozenset(),
        calls=0,
        chain=(),
        now_ms=NOW,
    )
    for principal in (AGENT, PERSON, Principal("Agent", "")):
        for ref in ("office/pay", "", "effect:read", "remit:nothing"):
            answer = nothing.decide(principal, ref, empty)
            assert not answer.allowed
            assert answer.errors


@pytest.mark.claim("policy:default-deny")
@pytest.mark.parametrize(
    "missing",
    [
        {"grants": []},
        {"tools": []},
        {"agents": []},
        {"servers": []},
        {"agents": [agent(state="suspended")]},
        {"agents": [agent(state="draft")]},
        {"agents": [agent(state="retired")]},
        {"agents": [agent(owner=None)]},
        {"servers": [server(state="retired")]},
        {"servers": [server("other")]},
        {"grants": [grant(state="revoked")]},
        {"grants": [grant(agent="agt_2")]},
        {"grants": [grant(agent=None, person="per_1")]},
        {"grants": [grant("grt_1", NamedTool("office/other", "read"))]},
        {"grants": [grant("grt_1", NamedTool("office/pay", "write"))]},
        {"grants": [grant("grt_1", ToolsByEffect("srv_office", ("write",)))]},
        {"grants": [grant("grt_1", ToolsByEffect("srv_other", ("read",)))]},
        {"grants": [grant("grt_1", ToolsByEffect("srv_office", ("read",)), created=0)]},
        {"grants": [grant(tools=())]},
        {"tools": [facts(effect="write")]},
        {"tools": [facts("office/other")]},
    ],
)
def test_with_anything_missing_the_answer_is_no(missing: dict[str, Any]) -> None:
    assert ask(engine()).allowed
    assert not ask(engine(**missing)).allowed
    assert not ask(engine(OPEN, **missing)).allowed  # and an operator's permit makes up for none of it


@pytest.mark.claim("policy:default-deny")
@pytest.mark.parametrize(
    "ref", ["office/nothing", "OFFICE/PAY", "office/pay ", "effect:read", "server:office", "remit:nothing", ""]
)
def test_a_tool_that_is_not_exactly_known_is_denied(ref: str) -> None:
    ours = engine(OPEN)
    assert ours.encode(ref, {"text": "x"}) == CedarRecord("", {})
    for record in (ours.encode(ref, {}), CedarRecord(ref, {}), ours.encode("office/pay", {})):
        answer = ours.decide(AGENT, ref, replace(context(ours, "office/pay", {}), args=record))
        assert not answer.allowed


@pytest.mark.claim("policy:default-deny")
@pytest.mark.parametrize(
    "who",
    [
        Principal("Agent", "agt_2"),
        Principal("Agent", "per_1"),
        Principal("Person", "agt_1"),
        Principal("Agent", ""),
        PERSON,
    ],
)
def test_a_principal_that_is_not_exactly_known_is_denied(who: Principal) -> None:
    assert not ask(engine(OPEN), principal=who).allowed


@pytest.mark.claim("policy:default-deny")
def test_a_principal_of_an_unknown_kind_is_denied_and_does_not_raise() -> None:
    robot = Principal("Robot", "agt_1")  # type: ignore[arg-type]  # the attack
    assert not ask(engine(), principal=robot).allowed


@pytest.mark.claim("policy:default-deny")
def test_arguments_encoded_for_another_tool_are_denied() -> None:
    ours = engine(
        tools=[facts(), facts("office/other")],
        grants=[grant("grt_1", NamedTool("office/pay", "read"), NamedTool("office/other", "read"))],
    )
    other = context(ours, "office/other", {})
    assert ours.decide(AGENT, "office/other", other).allowed
    assert ours.decide(AGENT, "office/pay", other).errors == ("the arguments were encoded for another tool",)


@pytest.mark.claim("policy:default-deny")
def test_arguments_encoded_before_a_new_review_do_not_pass_the_new_schema() -> None:
    before, after = engine(), engine(tools=[facts(properties={"text": {"type": "integer"}})])
    stale = context(before, "office/pay", {"text": "x"})
    assert before.decide(AGENT, "office/pay", stale).allowed
    assert after.decide(AGENT, "office/pay", stale).errors == ("the request does not fit the schema",)


def test_what_is_listed_as_granted_is_what_a_permit_was_compiled_for() -> None:
    ours = engine(
        grants=[grant(), grant("grt_2", when="(", agent="agt_2"), grant("grt_3", state="revoked", agent="agt_3")]
    )
    assert ours.granted(AGENT) == {"office/pay"}
    for other in ("agt_2", "agt_3", "agt_4"):
        assert ours.granted(Principal("Agent", other)) == frozenset()


# Rule 2: only a grant allows.


@pytest.mark.claim("policy:operator-permit-grants-nothing")
def test_an_operators_permit_alone_gives_nobody_a_tool() -> None:
    assert raw_allows(OPEN)
    assert ask(engine(OPEN, grants=[])) == PolicyAnswer(allowed=False)
    closed = engine(OPEN, grants=[grant(when="false")])
    assert ask(closed) == PolicyAnswer(allowed=False, policies=("open",))
    assert ask(engine(OPEN)) == PolicyAnswer(allowed=True, grants=("grt_1",), policies=("open",))


@pytest.mark.claim("policy:operator-permit-grants-nothing")
def test_an_operators_permit_does_not_step_around_a_grants_condition_or_end() -> None:
    text = f'{OPEN} @id("two") permit(principal == Remit::Agent::"agt_1", action == Remit::Action::"office/pay", resource);'
    assert not ask(engine(text, grants=[grant(when="context.args has text")])).allowed
    assert not ask(engine(text, grants=[grant(expires=NOW)])).allowed


@pytest.mark.claim("policy:operator-permit-grants-nothing")
def test_an_operators_policy_may_not_be_named_like_a_grant() -> None:
    for name in ("grt_1", "grt_01J00000000000000000000000", "grt_"):
        with pytest.raises(InvalidPolicy):
            engine(OPEN.replace("open", name), grants=[grant(when="false")])


def test_a_forbid_overrides_every_grant() -> None:
    forbid = '@id("no") forbid(principal, action, resource) when { context.args has text };'
    ours = engine(forbid, grants=[grant(), grant("grt_2", when="true")])
    assert ask(ours, {}) == PolicyAnswer(allowed=True, grants=("grt_1", "grt_2"))
    assert ask(ours, {"text": "x"}) == PolicyAnswer(allowed=False, policies=("no",))


# Rule 3: errors deny (the traps file shows the engine's own errors; here is what never reaches it).


@pytest.mark.claim("policy:error-denies")
@pytest.mark.parametrize(
    "members",
    [
        {"now_ms": 10**18},
        {"now_ms": -(10**18)},
        {"now_ms": -62_135_596_800_001},
        {"calls": 2**63},
        {"calls": -(2**63) - 1},
        {"calls": "many"},
        {"calls": 1.5},
        {"calls": None},
        {"integrity": 5},
        {"integrity": "\ud800"},
        {"chain": ("\ud800",)},
        {"chain": (1,)},
        {"confidentiality": frozenset({1})},
        {"approval_present": "yes"},
        {"approval_by": 7},
        {"approval_present": True, "approval_by": "\ud800"},
        {"args": CedarRecord("office/pay", {"text": float("nan")})},  # type: ignore[dict-item]  # the attack
        {"args": CedarRecord("office/pay", {"text": b"x"})},
        {"args": CedarRecord("office/pay", {"unlisted": "x"})},
        {"args": CedarRecord("office/pay", {"text": {"__entity": {"type": "Remit::Agent", "id": "agt_1"}}})},
        {"args": CedarRecord("office/pay", {"amount": {"__extn": {"fn": "ip", "arg": "::1"}}})},
    ],
)  # fmt: skip
def test_a_context_that_can_not_be_read_denies_with_an_error(members: dict[str, Any]) -> None:
    ours = engine(OPEN)
    answer = ours.decide(AGENT, "office/pay", replace(context(ours, "office/pay", {}), **members))
    assert not answer.allowed
    assert answer.errors


SECRET = "hunter2-SECRET"
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.binary(max_size=4), st.just(SECRET),
    st.recursive(st.integers() | st.just(SECRET), lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(["a", "__entity", "__extn", "fn", "arg", "type", "id", SECRET]), one, max_size=3), max_leaves=8),
)  # fmt: skip


@pytest.mark.claim("policy:error-denies")
@settings(max_examples=300)
@given(
    arguments=st.dictionaries(st.sampled_from(["text", "count", "amount", "on", "x"]), ODD, max_size=4),
    members=st.fixed_dictionaries(
        {}, optional={"integrity": ODD, "calls": ODD, "now_ms": st.integers(), "approval_present": ODD, "approval_by": ODD, "chain": st.lists(ODD, max_size=2).map(tuple)}
    ),
    ref=st.sampled_from(["office/pay", "office/none", ""]),
    who=st.sampled_from([AGENT, PERSON, Principal("Agent", SECRET)]),
)  # fmt: skip
def test_no_question_raises_and_no_answer_repeats_an_argument(
    arguments: dict[str, Any], members: dict[str, Any], ref: str, who: Principal
) -> None:
    """Also for contexts that no type checker would pass: a gate that is asked nonsense says no."""
    odd = f'@id("n") forbid(principal, action, resource) when {{ context.args has count && context.args.count + {2**63 - 1} > 0 }};'
    ours = engine(odd, grants=[grant(), grant("grt_2", when='context.args has text && context.args.text == "a"')])
    why = ""
    try:
        record = ours.encode(ref, arguments)
    except Unencodable as refused:
        record, why = CedarRecord(ref, arguments), refused.why
    answer = ours.decide(who, ref, replace(context(ours, "office/pay", {}), args=record, **members))
    told = " ".join((why, *answer.errors, *answer.grants, *answer.policies))
    assert SECRET not in told
    if answer.allowed:
        assert (who, ref) == (AGENT, "office/pay")
        assert answer.grants
        assert not answer.errors


def test_an_error_of_the_engine_does_not_quote_the_argument_that_caused_it() -> None:
    policy = f'@id("d") forbid(principal, action, resource) when {{ context.args has count && context.args.count + {2**63 - 1} > 0 }};'
    bare = raw("permit(principal, action, resource);" + policy, {"args": {"count": 777_123}})
    assert "777123" in " ".join(bare.diagnostics.errors)
    answer = ask(engine(policy), {"count": 777_123})
    assert answer.errors == ("policy d could not be evaluated",)


# Rule 4: a grant ends, also in an engine that is older than its end.


def test_a_grant_ends_at_its_expiry_in_an_engine_made_before() -> None:
    ours = engine(grants=[grant(expires=NOW + 5_000)])
    assert ask(ours, now_ms=NOW).allowed
    assert ask(ours, now_ms=NOW + 4_999).allowed
    assert not ask(ours, now_ms=NOW + 5_000).allowed
    assert not ask(ours, now_ms=NOW + 5 * DAY).allowed


def test_the_end_of_one_grant_is_not_the_end_of_another() -> None:
    ours = engine(grants=[grant(expires=NOW + 5_000), grant("grt_2", expires=NOW + 9_000)])
    assert ask(ours, now_ms=NOW).grants == ("grt_1", "grt_2")
    assert ask(ours, now_ms=NOW + 5_000).grants == ("grt_2",)


# Rule 5: what does not fit.


def test_a_grant_that_no_longer_fits_a_tool_is_left_out_and_the_others_stay() -> None:
    named = (NamedTool("office/pay", "read"), NamedTool("office/other", "read"))
    grants = [grant("grt_1", *named, when="context.args has count"), grant("grt_2", when="context.args.old < 5")]
    ours = engine(grants=grants, tools=[facts(), facts("office/other")])
    assert [(one.grant, one.ref) for one in ours.left_out] == [("grt_2", "office/pay")]
    assert all(one.why for one in ours.left_out)
    assert ask(ours, {"count": 1}).grants == ("grt_1",)
    assert ask(ours, {"count": 1}, ref="office/other").grants == ("grt_1",)


@pytest.mark.claim("policy:bad-set-refused")
def test_operators_policies_that_do_not_fit_refuse_the_whole_engine() -> None:
    for bad in ("@id", '@id("x") forbid(principal, action, resource) unless { context.args.count < 5 };'):
        with pytest.raises(InvalidPolicy):
            engine(bad)


def test_two_tools_with_one_reference_refuse_the_whole_engine() -> None:
    with pytest.raises(InvalidPolicy):
        engine(tools=[facts(), facts(effect="write")])


@pytest.mark.parametrize(
    "members",
    [
        {"effect": None},
        {"ref": "effect:spend"},
        {"ref": "server:office"},
        {"ref": "effect:/x"},
        {"ref": "a:b/c"},
        {"ref": "office"},
        {"ref": "/x"},
        {"ref": "x/"},
    ],
)
def test_a_tool_that_nobody_reviewed_or_that_is_named_like_a_group_is_not_taken(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidPolicy):
        ToolFacts(tool=replace(facts().tool, **members), input_schema={}, arguments={})


# What bounds a chain, and the memory of slices.


def test_people_whom_any_grant_names_stay_bounded_when_it_is_revoked_expired_or_unreadable() -> None:
    for members in ({}, {"state": "revoked"}, {"expires": 1}, {"when": ")"}):
        held = grant("grt_2", agent=None, person="per_1", **members)
        assert engine(grants=[grant(), held]).bounded == {"per_1"}
    assert engine().bounded == frozenset()


def test_a_person_may_be_granted_a_tool_of_their_own() -> None:
    ours = engine(grants=[grant("grt_2", agent=None, person="per_1", when='principal.roles.contains("owner")')])
    assert ask(ours, principal=PERSON).grants == ("grt_2",)
    assert not ask(
        engine(people=[person(state="suspended")], grants=[grant("grt_2", agent=None, person="per_1")]),
        principal=PERSON,
    ).allowed


def test_the_memory_of_slices_is_bounded_and_forgets_without_changing_an_answer() -> None:
    many = [agent(f"agt_{number}") for number in range(8)]
    grants = [
        grant(f"grt_{number}", agent=f"agt_{number}", when=f"context.session.calls < {number}") for number in range(8)
    ]
    ours = engine(agents=many, grants=grants)
    first = Principal("Agent", "agt_0")
    for number in range(MAX_SLICES):
        ours._slices[AGENT, str(number), False] = ours._slice(first, ours._tools["office/pay"])
    for _ in range(2):
        answers = [ask(ours, principal=Principal("Agent", f"agt_{number}"), calls=3).allowed for number in range(8)]
        assert answers == [number > 3 for number in range(8)]
        assert len(ours._slices) <= MAX_SLICES


def test_a_policy_that_is_too_deep_to_load_is_refused_when_written_and_does_not_deny_every_call() -> None:
    def row(length: int) -> str:
        return " || ".join(["context.session.calls > 90"] * length)

    def forbid(length: int) -> str:
        return f'@id("deep") forbid(principal, action, resource) when {{ {row(length)} }};'

    assert ask(engine(forbid(50))).allowed
    for length in (62, 100, 330):
        with pytest.raises(InvalidPolicy, match="too deep"):
            engine(forbid(length))
        with pytest.raises(InvalidPolicy):
            check_grant(grant(when=row(length)), [facts()])


def test_very_many_policies_and_grants_are_decided_like_few() -> None:
    grants = [grant(f"grt_{number}", when=f"context.session.calls == {number}") for number in range(400)]
    text = "\n".join(
        f'@id("f{number}") forbid(principal, action, resource) when {{ context.session.calls == {number + 300} }};'
        for number in range(400)
    )
    ours = Engine.compile([PolicySource("many", text)], grants, [facts()], [agent()], [person()], [server()])
    assert ask(ours, calls=299).grants == ("grt_299",)
    assert ask(ours, calls=300).policies == ("f0",)
    assert not ask(ours, calls=300).allowed
    assert ask(ours, calls=400).grants == ()
