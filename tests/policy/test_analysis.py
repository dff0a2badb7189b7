"""What is proved to let nothing through lets nothing through; an example is only ever a proposal."""

import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.canonical import Json
from remit.policy.analysis import Example, could_pass
from tests.policy.made import AGENT, ask, engine, facts, grant

PROPERTIES: dict[str, Json] = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "amount": {"type": "number"},
    "on": {"type": "boolean"},
}
TOOL = facts(schema={"type": "object", "properties": PROPERTIES, "required": sorted(PROPERTIES)})


def answer(when: str | None, policies: str = "") -> Example | bool | None:
    """What could pass a grant with this condition and these policies."""
    made = engine(policies, [grant(when=when)], [TOOL])
    return could_pass([made.stand(AGENT, "office/pay")])


def passes(when: str | None, arguments: dict[str, Json], policies: str = "", **members: Any) -> bool:
    """Whether the real engine allows a call."""
    return ask(engine(policies, [grant(when=when)], [TOOL]), arguments, **members).allowed


@pytest.mark.claim("reach:proved")
@pytest.mark.parametrize(
    "when",
    [
        'context.args.text == "a" && context.args.text == "b"',
        "context.args.count > 5 && context.args.count < 6",
        'context.args.amount.lessThan(decimal("1.00")) && context.args.amount.greaterThan(decimal("1.00"))',
        'context.args.text like "a*" && context.args.text like "b*"',
        "context.args.on && !context.args.on",
        '["a", "b"].contains(context.args.text) && context.args.text == "c"',
        'context.session.integrity == "trusted" && context.session.integrity == "untrusted"',
        "false",
    ],
)
def test_a_condition_that_contradicts_itself_is_proved_to_let_nothing_through(when: str) -> None:
    assert answer(when) is False


@pytest.mark.claim("reach:proved")
def test_a_forbid_that_meets_a_grant_is_proved_and_one_that_a_person_lifts_is_not() -> None:
    forbid = '@id("f") forbid(principal, action == Remit::Action::"office/pay", resource)'
    assert answer("context.args.count > 5", f"{forbid} when {{ context.args.count >= 3 }};") is False
    assert answer("context.args.count > 5", f"{forbid} unless {{ context.approval.present }};") is not False
    assert answer(None, f"{forbid};") is False


@pytest.mark.claim("reach:proved")
@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ('context.args.text like "x*z" && context.args.count > 41', {"count": 42}),
        ('context.args.amount.greaterThan(decimal("7.25")) && context.args.on', {"on": True}),
        ('context.args.amount.lessThanOrEqual(decimal("100.00"))', {}),
    ],
)
def test_an_example_passes_the_real_engine(when: str, wanted: dict[str, Json]) -> None:
    found = answer(when)
    assert isinstance(found, Example)
    base: dict[str, Json] = {"text": "t", "count": 0, "amount": Decimal(0), "on": False}
    arguments = {**base, **{pointer[1:]: value for pointer, value in found.arguments.items()}}
    assert passes(when, arguments)
    assert wanted.items() <= arguments.items() or "count" in wanted


def test_without_the_extra_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "z3", None)
    assert answer("false") is None


TEXTS = ("a", "ab", "b", "xyz")
atoms = st.one_of(
    st.sampled_from(TEXTS).map(lambda text: f'context.args.text == "{text}"'),
    st.sampled_from(["a*", "*b", "x*z", "*"]).map(lambda text: f'context.args.text like "{text}"'),
    st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(-2, 3)).map(
        lambda pair: f"context.args.count {pair[0]} {pair[1]}"
    ),
    st.tuples(
        st.sampled_from(["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]),
        st.sampled_from(["-1.00", "0.50", "2.00"]),
    ).map(lambda pair: f'context.args.amount.{pair[0]}(decimal("{pair[1]}"))'),
    st.just("context.args.on"),
    st.just('["a", "xyz"].contains(context.args.text)'),
    st.sampled_from(["trusted", "untrusted"]).map(lambda word: f'context.session.integrity == "{word}"'),
    st.just("context.session.calls > 2"),
    st.just('principal == Remit::Agent::"agt_1"'),
    st.just('context.chain.contains("agt_1")'),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) && ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) || ({pair[1]})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda three: f"if ({three[0]}) then ({three[1]}) else ({three[2]})"),
    ),
    max_leaves=6,
)
arguments = st.fixed_dictionaries(
    {
        "text": st.sampled_from([*TEXTS, ""]),
        "count": st.integers(-3, 4),
        "amount": st.sampled_from([Decimal(-1), Decimal("0.5"), Decimal("0.75"), Decimal(2), Decimal(3)]),
        "on": st.booleans(),
    }
)


@pytest.mark.claim("reach:proved")
@settings(max_examples=150, deadline=None)
@given(
    conditions, conditions, st.sampled_from(["when", "unless"]), st.lists(arguments, min_size=1, max_size=8), st.data()
)
def test_what_the_engine_allows_is_never_proved_impossible(
    when: str, forbidden: str, kind: str, tried: list[dict[str, Json]], data: st.DataObject
) -> None:
    policies = f'@id("f") forbid(principal, action == Remit::Action::"office/pay", resource) {kind} {{ {forbidden} }};'
    made = engine(policies, [grant(when=when)], [TOOL])
    proved = could_pass([made.stand(AGENT, "office/pay")]) is False
    for one in tried:
        integrity = data.draw(st.sampled_from(["trusted", "untrusted"]))
        allowed = ask(made, one, integrity=integrity, calls=data.draw(st.integers(0, 4))).allowed
        assert not (proved and allowed), (when, policies, one, integrity)
