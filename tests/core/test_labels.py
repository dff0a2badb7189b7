"""Labels: the laws of the join, from which it follows that nothing an agent does lowers one."""

from functools import reduce
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.labels import TRUSTED, UNTRUSTED, Integrity, Labels
from remit.guards.documents import check_answer

labels = st.builds(
    Labels,
    st.sampled_from(get_args(Integrity)),
    st.frozensets(st.sampled_from(["finance", "hr", "board", "pii"])),
)


@given(labels, labels, labels)
def test_the_join_is_commutative_associative_and_idempotent(a: Labels, b: Labels, c: Labels) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a


@given(labels, labels, labels)
def test_the_join_is_the_least_label_above_both(a: Labels, b: Labels, c: Labels) -> None:
    joined = a.join(b)
    assert a.within(joined)
    assert b.within(joined)
    if a.within(c) and b.within(c):
        assert joined.within(c)


@given(labels, labels, labels)
def test_the_order_is_an_order_and_the_join_keeps_it(a: Labels, b: Labels, c: Labels) -> None:
    assert a.within(a)
    if a.within(b):
        assert a.join(c).within(b.join(c))
        if b.within(a):
            assert a == b
        if b.within(c):
            assert a.within(c)


@given(labels)
def test_trusted_is_below_all_and_untrusted_is_never_made_trusted_again(a: Labels) -> None:
    assert a.join(TRUSTED) == a
    assert TRUSTED.within(a)
    assert a.join(UNTRUSTED).integrity == "untrusted"
    assert not UNTRUSTED.within(TRUSTED)


@pytest.mark.claim("session:labels-only-join")
@given(labels, st.lists(labels, max_size=6), st.lists(labels, max_size=6))
def test_nothing_seen_later_or_earlier_or_in_another_order_lowers_a_label(
    start: Labels, seen: list[Labels], more: list[Labels]
) -> None:
    after = reduce(Labels.join, seen, start)
    assert start.within(after)
    assert all(one.within(after) for one in seen)
    assert after == reduce(Labels.join, reversed(seen), start)
    assert after.within(reduce(Labels.join, more, after))


@pytest.mark.claim("session:labels-only-join")
def test_taking_the_last_label_seen_would_let_a_clean_read_wash_a_session() -> None:
    """The control: the obvious other way, to keep what was read last, lowers."""
    poisoned, clean = Labels("untrusted", frozenset({"hr"})), TRUSTED
    last = reduce(lambda _, seen: seen, [poisoned, clean])
    assert not poisoned.within(last)
    assert poisoned.within(reduce(Labels.join, [poisoned, clean]))


def test_a_label_that_says_nothing_is_untrusted() -> None:
    assert Labels() == UNTRUSTED


@given(labels)
def test_the_document_is_sorted_and_what_the_interface_says(a: Labels) -> None:
    document = a.document()
    check_answer("Labels", document)
    assert document == {"integrity": a.integrity, "confidentiality": sorted(a.confidentiality)}
