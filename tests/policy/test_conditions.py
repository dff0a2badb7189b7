"""Conditions of grants: what is one, for whom a grant is compiled, and when its condition no longer fits a tool."""

import pytest

from remit.core.errors import InvalidPolicy
from remit.core.grants import NamedTool
from remit.core.times import DAY
from remit.policy.conditions import MAX_BYTES, entity_type, parse_condition, permit, principal_of
from remit.policy.engine import check_grant
from remit.policy.terms import Principal
from tests.policy.made import NOW, agent, ask, engine, facts, grant


@pytest.mark.parametrize(
    ("condition", "arguments", "allowed"),
    [
        ("true", {}, True),
        ("false", {}, False),
        ("true // and a remark", {}, True),
        ("// a remark\ntrue", {}, True),
        ('context.args has text && context.args.text == "a"', {"text": "a"}, True),
        ('context.args has text && context.args.text == "a"', {"text": "b"}, False),
        ('context.args has text && context.args.text == "a"', {}, False),
        ("context.args has count && context.args.count <= 5", {"count": 5}, True),
        ("context.args has count && context.args.count <= 5", {"count": 6}, False),
        ('context.args has text && context.args.text like "a*\\*"', {"text": "ab*"}, True),
        ('context.args has text && context.args.text like "a*\\*"', {"text": "abc"}, False),
        ("context.args has count && context.args.count == -9223372036854775808", {"count": -(2**63)}, True),
        ("if context.args has on then context.args.on else false", {"on": True}, True),
        ("if context.args has on then context.args.on else false", {}, False),
        ('context.session.integrity == "trusted" && context.session.calls == 0', {}, True),
        ('context.chain.contains("agt_1")', {}, True),
        ('resource.name == "office" && action == Remit::Action::"office/pay"', {}, True),
        ("context.approval.present", {}, False),
        ('principal is Remit::Agent && principal.owner == "per_1"', {}, True),
    ],
)
def test_a_condition_means_what_cedar_says(condition: str, arguments: dict[str, object], *, allowed: bool) -> None:
    ours = engine(grants=[grant(when=condition)])
    assert ours.left_out == ()
    assert ask(ours, arguments).allowed is allowed  # type: ignore[arg-type]  # JSON of the table


def test_a_condition_is_kept_as_it_was_written_and_as_a_tree() -> None:
    condition = parse_condition("1 == 1")
    assert condition.text == "1 == 1"
    assert condition.body == {"==": {"left": {"Value": 1}, "right": {"Value": 1}}}


def test_the_bound_on_a_condition_counts_bytes() -> None:
    fits = '"' + "a" * (MAX_BYTES - 8) + '" == ""'
    assert len(fits.encode()) == MAX_BYTES
    assert parse_condition(fits)
    with pytest.raises(InvalidPolicy):
        parse_condition(fits.replace("a", "aa", 1))
    with pytest.raises(InvalidPolicy):
        parse_condition(fits.replace("aa", "ä", 1).replace("a", "ä", 1))


def test_a_grant_must_name_an_agent_or_a_person_and_not_both() -> None:
    for holder in ({"agent": None}, {"person": "per_1"}):
        with pytest.raises(InvalidPolicy):
            principal_of(grant(**holder))
        ours = engine(grants=[grant(**holder)])
        assert not ask(ours).allowed
        assert [one.ref for one in ours.left_out] == [None]


def test_a_principal_of_no_known_kind_has_no_type() -> None:
    assert entity_type(Principal("Agent", "x")) == "Remit::Agent"
    assert entity_type(Principal("Robot", "x")) == ""  # type: ignore[arg-type]  # the attack


def test_a_permit_names_one_principal_one_action_and_one_resource_and_ends() -> None:
    made = permit(grant(expires=NOW), facts(), None)
    assert made["principal"]["entity"]["id"] == "agt_1"
    assert made["action"]["entity"]["id"] == "office/pay"
    assert made["resource"]["entity"]["id"] == "srv_office"
    (clause,) = made["conditions"]
    assert clause["body"]["<"]["right"] == {"datetime": [{"Value": "2026-11-18T11:06:40.000Z"}]}


def test_ids_and_names_with_quotes_are_data() -> None:
    odd = 'agt_"; permit(principal, action, resource);'
    one = facts('office/p"ay } ; permit(principal, action, resource);')
    ours = engine(grants=[grant("grt_1", NamedTool(one.ref, "read"), agent=odd, when="true")], tools=[one])
    assert [(left.grant, left.ref) for left in ours.left_out] == []
    assert not ask(ours, ref=one.ref).allowed  # agt_1 has nothing


@pytest.mark.parametrize(
    "condition",
    [
        "context.args.count < 5",  # optional, so it may be absent
        "context.args.amuont < 5",
        "context.args has text && context.args.text < 5",
        "context.args",
        "1",
        "principal.roles.isEmpty()",  # no agent has roles
        'action in Remit::Action::"server:elsewhere"',
        'Remit::Robot::"x" == principal',
        "context.provenance.text == 1",
    ],
)
def test_a_condition_that_does_not_fit_the_tool_is_refused_and_never_granted(condition: str) -> None:
    with pytest.raises(InvalidPolicy):
        check_grant(grant(when=condition), [facts()])
    ours = engine(grants=[grant(when=condition)])
    assert [(one.grant, one.ref) for one in ours.left_out] == [("grt_1", "office/pay")]
    assert not ask(ours).allowed


def test_a_condition_need_not_fit_tools_that_the_grant_does_not_reach() -> None:
    check_grant(grant(when="context.args has count"), [facts(), facts("office/other", properties={})])
    assert check_grant(grant(), [facts()]) == ()


def test_one_condition_may_fit_one_tool_and_not_another() -> None:
    tools = [
        facts(schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
        facts("office/b"),
    ]
    both = grant("grt_1", NamedTool("office/pay", "read"), NamedTool("office/b", "read"), when="context.args.n < 5")
    ours = engine(grants=[both], tools=tools)
    assert [(one.grant, one.ref) for one in ours.left_out] == [("grt_1", "office/b")]
    assert ask(ours, {"n": 4}).allowed
    assert not ask(ours, {}, ref="office/b").allowed


def test_whether_a_shared_condition_fits_is_known_per_kind_of_principal() -> None:
    """One condition, an agent and a person: what fits the one says nothing of the other."""
    text = 'principal.mode == "autonomous"'
    grants = [grant("grt_1", when=text), grant("grt_2", when=text, agent=None, person="per_1")]
    for row in (grants, grants[::-1]):
        ours = engine(grants=row)
        assert [(one.grant, one.ref) for one in ours.left_out] == [("grt_2", "office/pay")]
        assert ask(ours).allowed
        assert not ask(ours, principal=Principal("Person", "per_1")).allowed


def test_whether_a_shared_condition_fits_does_not_hang_on_whose_grant_was_first() -> None:
    text = 'principal == Remit::Agent::"agt_2" && context.args has text'
    grants = [grant("grt_1", when=text), grant("grt_2", when=text, agent="agt_2")]
    ours = engine(grants=grants, agents=[agent(), agent("agt_2")])
    assert ours.left_out == ()
    assert not ask(ours, {"text": "x"}).allowed
    assert ask(ours, {"text": "x"}, principal=Principal("Agent", "agt_2")).allowed


def test_a_grant_that_ended_before_it_was_compiled_allows_nothing() -> None:
    assert not ask(engine(grants=[grant(expires=NOW - DAY)])).allowed
