"""Numbers as Cedar's ``decimal``: exact, or not at all."""

from decimal import Context, Decimal

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.canonical import Json
from remit.policy.decimals import decimal_text
from tests.policy.made import raw

LARGEST, SMALLEST = Decimal("922337203685477.5807"), Decimal("-922337203685477.5808")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"),
        (-0, "0.0"),
        (Decimal("-0.0"), "0.0"),
        (5, "5.0"),
        (-5, "-5.0"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1e2"), "100.0"),
        (Decimal("1E+14"), "100000000000000.0"),
        (Decimal("1.00000000"), "1.0"),
        (Decimal("0.0001"), "0.0001"),
        (Decimal("1e-4"), "0.0001"),
        (Decimal("-0.5"), "-0.5"),
        (LARGEST, "922337203685477.5807"),
        (SMALLEST, "-922337203685477.5808"),
        ("100", "100.0"),
        ("100.00", "100.0"),
        ("-3.1415", "-3.1415"),
        ("007", "7.0"),
    ],
)
def test_a_number_that_fits_has_one_spelling(value: Json, text: str) -> None:
    assert decimal_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        Decimal("0.00001"),
        Decimal("100.00000000000000001"),
        Decimal("1e-999999"),
        Decimal("1e999999"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        LARGEST + Decimal("0.0001"),
        SMALLEST - Decimal("0.0001"),
        2**63,
        10**400,
        True,
        False,
        None,
        [],
        {},
        "",
        " 1",
        "1 ",
        "+1",
        "1.",
        ".5",
        "1e2",
        "0x10",
        "1_000",
        "1,000",
        "1.00000",
        "1.23456",
        "١٢",
        "\uff11",
        "NaN",
        "--1",
        "1\n",
        "9999999999999999",
    ],
)
def test_a_number_that_does_not_fit_exactly_is_none_and_never_rounded(value: Json) -> None:
    assert decimal_text(value) is None


def test_a_binary_float_has_lost_its_spelling() -> None:
    assert decimal_text(0.5) is None  # type: ignore[arg-type]  # what json.loads would give


@given(st.decimals(min_value=SMALLEST, max_value=LARGEST, places=4))
def test_every_decimal_of_four_places_in_range_is_the_same_number_to_cedar(value: Decimal) -> None:
    text = decimal_text(value)
    assert text is not None
    assert Decimal(text) == value
    equal = f'permit(principal, action, resource) when {{ context.d == decimal("{value:f}") }};'
    assert raw(equal, {"d": {"__extn": {"fn": "decimal", "arg": text}}}).decision is cedarpy.Decision.Allow


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.integers() | st.text(max_size=24))
def test_whatever_the_value_the_answer_is_its_exact_spelling_or_nothing(value: Decimal | int | str) -> None:
    text = decimal_text(value)
    if text is not None:
        assert Decimal(text) == Decimal(value)
        assert SMALLEST <= Decimal(text) <= LARGEST


@given(st.decimals(min_value=SMALLEST, max_value=LARGEST, allow_nan=False))
def test_two_spellings_of_one_number_are_one(value: Decimal) -> None:
    # With room for every digit: to normalize is also to round, and another number is no other spelling.
    plain = value.normalize(Context(prec=400, Emin=-999, Emax=999))
    assert plain == value
    assert decimal_text(value) == decimal_text(plain)
