"""JSON values that have a canonical form, for hypothesis, each number also in a spelling that is not the canonical one."""

from decimal import Decimal

from hypothesis import strategies as st

from remit.core.canonical import I64_MAX, I64_MIN, Json

integers = st.integers(I64_MIN, I64_MAX)
# Binary floats stand at the corners of what a double can hold; their exact decimals are what a reader hands us.
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12
) | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e17, max_value=1e17).map(
    lambda number: Decimal(repr(number))
)
texts = st.text(max_size=12)
scalars = st.none() | st.booleans() | integers | decimals | texts
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def same(one: Json, other: Json) -> bool:
    """Whether two values are one JSON value: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def respelled(value: Json, *, scale: int) -> Json:
    """The same value with members in another order and every number spelt with ``scale`` trailing zeros."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, Decimal)):
        digits = Decimal(value).as_tuple()
        exponent = int(digits.exponent) - scale
        return Decimal((digits.sign, (*digits.digits, *(0,) * scale), exponent))
    if isinstance(value, dict):
        return {key: respelled(value[key], scale=scale) for key in reversed(value)}
    return [respelled(item, scale=scale) for item in value] if isinstance(value, list) else value
