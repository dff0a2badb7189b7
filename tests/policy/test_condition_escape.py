"""Attack D6: a grant's condition tries to become more than one condition of that grant. Listed attacks, then generated ones."""

import json

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import InvalidPolicy
from remit.policy.cedar import parse, render
from remit.policy.conditions import parse_condition, permit
from remit.policy.engine import check_grant
from tests.policy.made import ask, engine, facts, grant, raw_allows

pytestmark = pytest.mark.claim("policy:condition-cannot-escape")

# What the design measured: pasted into a permit, this permits everything.
D6 = "true) }; permit(principal,action,resource) when { (true"

ESCAPES = [
    D6,
    "true }; permit(principal,action,resource) when { true",
    "true }; permit(principal,action,resource); @x permit(principal,action,resource) when { true",
    "true) };permit(principal,action,resource);permit(principal,action,resource)when{(true",
    "true }\n;\npermit\n(principal,action,resource)\nwhen\n{ true",
    "true) } unless { (false",
    "true } unless { false",
    "true } when { true",
    "true) } when { (true",
    "false } ; permit(principal, action, resource) unless { false",
    "true)}; forbid(principal,action,resource) unless {(true",
    "true }; // \n permit(principal, action, resource) when { true",
    "true }; permit(principal,action,resource) when { true } //",
    "true }; permit(principal,action,resource); //",
    "true) }; permit(principal,action,resource); //",
    "// nothing",
    "//\n",
    "true /* } */; permit(principal, action, resource) when { true",
    'true && "\\"" == "}; permit(principal,action,resource) when { true',
    '"a" == "a\\" }; permit(principal,action,resource) when { true',
    '"" }; permit(principal,action,resource) when { "" == ""',
    "true\r}; permit(principal,action,resource) when {\rtrue",
    "true\x00}; permit(principal,action,resource) when { true",
    "true\u2028}; permit(principal,action,resource) when { true",
    "true\x85}; permit(principal,action,resource) when { true",
    "\ufefftrue",
    "true\uff09 }\uff1b permit(principal,action,resource) when { \uff08true",
    "true \u202e}; permit(principal,action,resource) when { true",
    "principal == ?principal",
    "resource in ?resource",
    "true }; permit(principal == ?principal, action, resource) when { true",
    "?slot",
    '@id("x") true',
    '@id("grt_2") permit(principal,action,resource);',
    'true }; @id("grt_1") permit(principal,action,resource) when { true',
    "permit(principal,action,resource)",
    "permit(principal,action,resource);",
    "true;",
    ";",
    ";;",
    "true; true",
    "",
    " \n\t ",
    "{ true",
    "true }",
    "( true",
    "true )",
    "}{",
    ") && (",
    "true) && (true",
    "true) || (true",
    "1 == 1) } unless { !(true",
    "if true then true else true }; permit(principal,action,resource) when { true",
    "{}} ; permit(principal,action,resource) when {{}",
    "true, action, resource); permit(principal",
    "advice { true }",
    "true when true",
    "when { true }",
    "true #",
    "'true'",
    "`true`",
    "true\\",
    "\\u{7d}; permit(principal,action,resource) when \\u{7b} true",
    "\ud800",
]


def pasted(condition: str) -> str:
    """How it must not be done."""
    return f"permit(principal, action, resource) when {{ false && ({condition}) }};"


@pytest.mark.parametrize("condition", [D6, ESCAPES[3], "true) }; permit(principal,action,resource); //"])
def test_pasted_into_text_the_measured_conditions_permit_everything(condition: str) -> None:
    assert raw_allows(pasted(condition))
    assert not raw_allows(pasted("true"))


@pytest.mark.parametrize("condition", ESCAPES)
def test_a_condition_that_is_not_one_expression_is_refused(condition: str) -> None:
    with pytest.raises(InvalidPolicy):
        parse_condition(condition)
    with pytest.raises(InvalidPolicy):
        check_grant(grant(when=condition), [facts()])


@pytest.mark.parametrize("condition", ESCAPES)
def test_a_stored_condition_that_is_not_one_expression_grants_nothing(condition: str) -> None:
    ours = engine(grants=[grant(when=condition)])
    assert not ask(ours).allowed
    assert [(one.grant, one.ref) for one in ours.left_out] == [("grt_1", None)]


LOOKS_LIKE = [
    '"}; permit(principal,action,resource) when { true" == "x"',
    '"true) }; permit(principal,action,resource) when { (true" == ""',
    'context.args has text && context.args.text like "*}; permit(*"',
    'context.args has "}; permit(principal,action,resource); //"',
    '{"}; permit(principal,action,resource)": 1} == {"x": 1}',
    "false // }; permit(principal,action,resource) when { true",
    '"\\u{7d}\\u{3b}" == "x"',
    'principal == Remit::Agent::"\\"}; permit(principal,action,resource) when { true"',
    '{"__entity": {"type": "Remit::Agent", "id": "agt_1"}} == {"__entity": {"type": "x", "id": "y"}}',
    '{"__extn": {"fn": "decimal", "arg": "1.0"}} == {"__extn": {"fn": "x", "arg": "y"}}',
]


@pytest.mark.parametrize("condition", LOOKS_LIKE)
def test_text_inside_a_string_or_comment_stays_text(condition: str) -> None:
    tree = one_condition(condition)
    assert not ask(engine(grants=[grant(when=condition)])).allowed
    # As text again it is still one permit, with the same tree: nothing in it was ever syntax.
    assert parse(render(permit(grant(), facts(), parse_condition(condition))))[0]["conditions"][1]["body"] == tree


def test_a_condition_is_bounded_in_bytes_and_depth_so_that_the_parser_survives() -> None:
    with pytest.raises(InvalidPolicy):
        parse_condition('"' + "ä" * 2_047 + '" == ""')
    assert parse_condition("context.session.calls == " + "1" * 18)
    for deep in ("(" * 2_000 + "true" + ")" * 2_000, "[" * 33 + "]" * 33 + ".isEmpty()", " || ".join(["true"] * 900)):
        with pytest.raises(InvalidPolicy):
            parse_condition(deep)
    assert parse_condition(" || ".join(["true"] * 60))


WORDS = "true false 1 principal action resource context .args .text && || ! == < + - in has like is if then else"
SIGNS = "( ) { } [ ] ; , : :: permit forbid when unless // @id ?principal decimal * (principal,action,resource)"
PIECES = ['"x"', '"', "\\", "\n", "\r", "\x00", 'Remit::Agent::"agt_1"', ") }; (", "} unless {"]
TOKENS = st.sampled_from([*WORDS.split(), *SIGNS.split(), *PIECES, "}; permit(principal,action,resource) when {"])
WELL_FORMED = st.recursive(
    st.sampled_from(
        ["true", "false", "context.session.calls < 5", 'principal == Remit::Agent::"agt_1"', "{}.isEmpty()"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"{two[0]} && {two[1]}"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} || {two[1]})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda three: f"(if {three[0]} then {three[1]} else {three[2]})"),
        inner.map(lambda one: f"({one}) // }}; permit(principal,action,resource);"),
    ),
    max_leaves=8,
)


def one_condition(text: str) -> object:
    """The tree of an accepted condition, after checking that the permit around it is exactly ours."""
    condition = parse_condition(text)
    made = permit(grant(), facts(), condition)
    assert set(made) == {"effect", "principal", "action", "resource", "conditions"}
    assert made["effect"] == "permit"
    assert made["principal"] == {"op": "==", "entity": {"type": "Remit::Agent", "id": "agt_1"}}
    assert made["action"] == {"op": "==", "entity": {"type": "Remit::Action", "id": "office/pay"}}
    assert made["resource"] == {"op": "==", "entity": {"type": "Remit::Server", "id": "srv_office"}}
    assert [clause["kind"] for clause in made["conditions"]] == ["when", "when"]
    # Cedar itself, reading the compiled policy back, sees one policy and no template.
    loaded = json.loads(cedarpy.policies_to_json_str(render(made)))
    assert len(loaded["staticPolicies"]) == 1
    assert loaded["templates"] == {}
    tree: object = made["conditions"][1]["body"]
    return tree


@settings(max_examples=1_500)
@given(st.lists(TOKENS, min_size=1, max_size=14).map(" ".join))
def test_no_row_of_tokens_is_more_than_one_condition(text: str) -> None:
    refused_or_one(text)


@settings(max_examples=300)
@given(WELL_FORMED, st.lists(TOKENS, max_size=4).map(" ".join), WELL_FORMED)
def test_no_tokens_between_two_conditions_open_a_third_way(before: str, between: str, after: str) -> None:
    refused_or_one(f"{before} {between} {after}")


@given(st.text(max_size=60))
def test_no_text_is_more_than_one_condition(text: str) -> None:
    refused_or_one(text)


@settings(max_examples=300)
@given(WELL_FORMED, WELL_FORMED)
def test_joining_with_an_accepted_condition_never_widens(first: str, second: str) -> None:
    """`and` of two conditions allows no more than either, whatever their precedence or comments."""
    both = engine(grants=[grant(when=f"({first}\n) && ({second}\n)")])
    if ask(both).allowed:
        assert ask(engine(grants=[grant(when=first)])).allowed
        assert ask(engine(grants=[grant(when=second)])).allowed


def refused_or_one(text: str) -> None:
    try:
        parse_condition(text)
    except InvalidPolicy:
        return
    one_condition(text)
