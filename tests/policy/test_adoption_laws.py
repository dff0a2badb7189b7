"""Law 1 of flow: a person who adopts a text adds strength 2 within its bound, and nothing else anywhere (B15)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.sessions import Segment
from remit.core.values import Atom, atom
from remit.policy.adoption import ADOPTED, Adoption
from remit.policy.demands import Miss
from remit.policy.memory import NOTHING
from remit.policy.task import Task

WORDS = ("oat-milk", "rye-bread", "bob@shop.test", "https://shop.test/a", "DE89370400440532013000", "80", "17")
TYPES = ("office:item", "email", "url", "iban", "money", "tool", "beyond the task")
TOOLS = ("office/add", "office/give", "shop/add")
RULES = ("C", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "D1", "D2", "E", "H3")

adoptions = st.builds(
    Adoption,
    st.just("apr_1"),
    st.lists(st.sampled_from(WORDS)).map(lambda said: Task([Segment("Take " + ", then ".join(said), "principal")])),
    st.frozensets(st.sampled_from(TOOLS)),
    st.frozensets(st.sampled_from(TYPES)),
    st.just({"calls": 10_000}),
)
demands = st.builds(
    Miss,
    st.sampled_from(RULES),
    st.just("/a"),
    st.just("what"),
    st.sampled_from((*WORDS, "oat\u200b-milk", "", "gold-bar")),
    st.sampled_from(TYPES),
    st.just(NOTHING),
    st.integers(0, 4),
)


@pytest.mark.claim("flow:an-adopted-text-has-bounds")
@given(adoptions, st.sampled_from(TOOLS), st.lists(demands, min_size=1, max_size=4))
def test_what_an_adopted_text_covers_stands_in_it_and_in_its_bound(
    one: Adoption, tool: str, misses: list[Miss]
) -> None:
    if not one.covers(tool, misses):
        return
    assert tool in one.tools
    for miss in misses:
        if miss.rule == "C8":
            continue
        assert miss.needs <= ADOPTED
        assert miss.type in one.types
        assert atom(miss.type, miss.value) == Atom(miss.type, miss.value)
        assert one.text.names(Atom(miss.type, miss.value))
        assert miss.rule in ("C", "C2", "C3", "C7")


@given(adoptions, st.sampled_from(TOOLS), st.lists(demands, min_size=1, max_size=4), demands)
def test_one_more_demand_is_never_easier_to_cover(one: Adoption, tool: str, misses: list[Miss], more: Miss) -> None:
    if one.covers(tool, [*misses, more]):
        assert one.covers(tool, misses)


def test_it_covers_something_at_all() -> None:
    """The control of the laws above."""
    text = Task([Segment("Take 'oat-milk'.", "principal")])
    one = Adoption("apr_1", text, frozenset({"office/add"}), frozenset({"office:item"}), {"calls": 10_000})
    assert one.covers("office/add", [Miss("C2", "/a", "what", "oat-milk", "office:item", NOTHING, 2)])
