"""Rules as plain values: a tighter rule never allows more, and folding only ever joins keys."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import Reason
from remit.core.rules import Ceiling, First, Once, Reached, Rule
from remit.core.times import DAY, MINUTE
from remit.policy.rules import Asked, Party, claims, refusal, spellings

BASE: Final = Rule(
    org="main",
    id="rul_1",
    name="few",
    says="Few.",
    tools=(Reached(ref="office/pay"),),
    per="organisation",
    agents=(),
    window=None,
    ceiling=Ceiling("eur", 100, "EUR"),
    once=None,
    first=None,
    state="active",
    version=1,
    applied_by="per_1",
    applied_at=0,
)
Call = tuple[int, str, str, str, int]
CALLS: Final = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.sampled_from(["ses_1", "ses_2"]),
        st.sampled_from(["agt_1", "agt_2"]),
        st.sampled_from(["a", "A ", "b", "b-1", "b 01"]),
        st.integers(0, 3 * DAY),
    ),
    max_size=12,
)


def run(rules: list[Rule], calls: list[Call]) -> list[bool]:
    """Each call decided in order, against what those that were allowed had taken."""
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    answers = []
    for amount, root, agent, key, now in sorted(calls, key=lambda call: call[4]):
        asked = Asked("office/pay", {"id": key}, {"eur": amount, "calls": 10_000}, {"eur": "EUR"})
        found = claims(rules, asked, Party(root, (agent,), "per_1"), now)
        fits = not isinstance(found, Reason) and all(
            refusal(one, sum(n for at, n in taken.get((one.scope, one.name), []) if at >= one.since), 0) is None
            for one in found
        )
        answers.append(fits)
        if fits and not isinstance(found, Reason):
            for one in found:
                taken.setdefault((one.scope, one.name), []).append((one.bucket, one.amount))
    return answers


@pytest.mark.claim("rule:only-narrows")
@given(CALLS, st.integers(0, 120), st.integers(0, 120))
def test_the_sum_of_what_a_limit_allows_never_passes_it_and_a_tighter_one_allows_no_more(
    calls: list[Call], most: int, less: int
) -> None:
    def total(ceiling: int) -> int:
        rule = replace(BASE, ceiling=Ceiling("eur", ceiling, "EUR"))
        ordered = sorted(calls, key=lambda call: call[4])
        return sum(call[0] for call, fits in zip(ordered, run([rule], calls), strict=True) if fits)

    assert total(most) <= most
    assert total(min(most, less)) <= min(most, less)


@pytest.mark.claim("rule:only-narrows")
@given(CALLS, CALLS, st.integers(0, 120), st.integers(0, 120), st.booleans(), st.booleans())
def test_after_the_same_past_a_tighter_rule_allows_no_call_that_the_looser_refuses(
    past: list[Call], calls: list[Call], most: int, less: int, longer: bool, more: bool
) -> None:
    """Tighter: a lower ceiling, a longer window, one more rule. Each call is judged against one and the same past."""
    loose = replace(BASE, ceiling=Ceiling("eur", max(most, less), "EUR"), window=DAY)
    tight = replace(loose, ceiling=Ceiling("eur", min(most, less), "EUR"), window=2 * DAY if longer else DAY)
    once = replace(BASE, id="rul_2", ceiling=None, once=Once(("/id",)))
    for call in calls:
        now = max([one[4] for one in [*past, call]]) + MINUTE
        last = (*call[:4], now)
        assert _judged([tight, *([once] if more else [])], past, last) <= _judged([loose], past, last)


def _judged(rules: list[Rule], past: list[Call], call: Call) -> bool:
    """One call after a past that was all taken, whatever the rules would have said of it."""
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for amount, root, agent, key, now in [*past, call]:
        asked = Asked("office/pay", {"id": key}, {"eur": amount, "calls": 10_000}, {"eur": "EUR"})
        found = claims(rules, asked, Party(root, (agent,), "per_1"), now)
        assert not isinstance(found, Reason)
        fits = all(
            refusal(one, sum(n for at, n in taken.get((one.scope, one.name), []) if at >= one.since), 0) is None
            for one in found
        )
        for one in found:
            taken.setdefault((one.scope, one.name), []).append((one.bucket, one.amount))
    return fits


@pytest.mark.claim("rule:once-per-key")
@given(st.text("aB1 -_./0", min_size=1, max_size=12), st.integers(0, 11), st.sampled_from([" ", "-", "_", "/", "  "]))
def test_case_blanks_and_signs_never_part_two_keys(key: str, at: int, sign: str) -> None:
    found = spellings(key)
    for other in (key.upper(), key.lower(), f" {key}", f"{key}{sign}", key[:at] + sign + key[at:]):
        again = spellings(other)
        assert (found is None) == (again is None)
        if found is not None and again is not None:
            assert found[0] == again[0]


def test_a_number_and_its_text_are_one_key_and_zeros_before_it_are_none() -> None:
    assert spellings(17) == spellings("17") == spellings("0017")
    one, other = spellings("INV-2026-017"), spellings("INV-2026-17")
    assert one is not None
    assert other is not None
    assert one[1] == other[1]
    assert spellings(True) is spellings(None) is spellings({}) is None


@pytest.mark.claim("rule:in-order")
@given(st.text(max_size=8), st.text(max_size=8))
def test_what_is_proved_of_one_value_is_proved_of_no_other(one: str, other: str) -> None:
    rule = replace(BASE, ceiling=None, first=First(("office/check",), {"/to": "/vendor"}))
    party = Party("ses_1", ("agt_1",), "per_1")
    before = claims([rule], Asked("office/check", {"vendor": one}, {}, {}), party, 0)
    after = claims([rule], Asked("office/pay", {"to": other}, {}, {}), party, 0)
    assert not isinstance(before, Reason)
    assert not isinstance(after, Reason)
    assert ({(c.scope, c.name) for c in before} == {(c.scope, c.name) for c in after}) == (one == other)
    assert refusal(after[0], 0, 10_000) is not None, "what is under way is not done"
