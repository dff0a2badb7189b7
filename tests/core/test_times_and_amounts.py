"""Times, durations and countables: exact, in one plain form, and never read two ways (attack G8)."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import amounts, times
from remit.core.errors import InvalidDocument
from remit.guards.documents import schema
from remit.guards.json_in import parse

FIRST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp() * 1000)
LAST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() * 1000) + 999
OTHER_DIGITS = "\u0661\u0662\u0663"  # Arabic-Indic 1, 2, 3, which int() and Decimal() read


# ---------------------------------------------------------------------------------------------------------------- times


@given(st.integers(FIRST, LAST))
def test_every_time_of_the_calendar_reads_back_as_itself(millis: int) -> None:
    text = times.to_text(millis)
    assert times.from_text(text) == millis
    assert len(text) == len("2027-06-30T00:00:00.000Z")


@given(st.integers(FIRST, LAST), st.integers(FIRST, LAST))
def test_texts_sort_as_times_do(one: int, two: int) -> None:
    assert (times.to_text(one) < times.to_text(two)) is (one < two)


def test_the_form_is_rfc_3339_in_z_with_milliseconds() -> None:
    assert times.to_text(0) == "1970-01-01T00:00:00.000Z"
    assert times.to_text(1_795_000_000_007) == "2026-11-18T11:06:40.007Z"
    assert times.from_text("2027-06-30T00:00:00Z") == times.from_text("2027-06-30T00:00:00.0Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2027-01-01",
        "2027-02-30T00:00:00Z",
        "2027-01-01T24:00:00Z",
        "2027-01-01T00:00:60Z",
        "2027-01-01T00:00:00+01:00",
        "2027-01-01T00:00:00",
        "2027-01-01t00:00:00z",
        "2027-01-01 00:00:00Z",
        "2027-01-01T00:00:00.0000Z",
        "2027-01-01T00:00:00,5Z",
        "2027-01-01T00:00:00Z\n",
        "0000-01-01T00:00:00Z",
        f"{OTHER_DIGITS}7-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        times.from_text(text, "/expires")
    assert refused.value.pointer == "/expires"


def test_durations_are_days_to_seconds() -> None:
    assert times.duration("P1DT2H3M4S") == times.DAY + 2 * times.HOUR + 3 * times.MINUTE + 4 * times.SECOND
    assert times.duration("PT5M") == 5 * times.MINUTE
    assert times.duration("P30D") == 30 * times.DAY


@given(st.integers(0, 99_999), st.integers(0, 99_999), st.integers(0, 999_999), st.integers(0, 9_999_999))
def test_a_duration_is_the_exact_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"P{days}DT{hours}H{minutes}M{seconds}S"
    total = days * times.DAY + hours * times.HOUR + minutes * times.MINUTE + seconds * times.SECOND
    if total:
        assert times.duration(text) == total
    else:
        with pytest.raises(InvalidDocument):
            times.duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "PT0S",
        "P0D",
        "P1M",
        "P1Y",
        "P1W",
        "-PT1H",
        "PT-1H",
        "1h",
        "PT1H ",
        "PT1.5S",
        "pt1h",
        "PT1S1M",
        "P1DT",
        f"PT{OTHER_DIGITS}H",
        "PT" + "9" * 30 + "S",
    ],
)
def test_what_is_no_duration_or_lasts_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument):
        times.duration(text, "/ttl")


# -------------------------------------------------------------------------------------------------------------- amounts

plain = st.decimals(min_value=0, max_value=Decimal("999999999999999.9999"), places=4, allow_nan=False)


@given(plain)
def test_an_amount_is_exact_and_reads_back_as_itself(value: Decimal) -> None:
    units = amounts.from_text(format(value, "f"))
    assert units == value * 10_000
    assert Decimal(amounts.to_text(units)) == value
    assert amounts.from_text(amounts.to_text(units)) == units
    assert amounts.from_json(value) == units


@given(st.lists(plain, max_size=30))
def test_a_sum_of_amounts_is_the_sum_of_their_values(parts: list[Decimal]) -> None:
    assert sum(amounts.from_text(format(part, "f")) for part in parts) == sum(parts) * 10_000


def test_binary_floats_would_lose_what_a_limit_is_about() -> None:
    """The control: three dimes pass a limit of 0.3 as decimals and not as floats."""
    assert sum([amounts.from_text("0.1")] * 3) == amounts.from_text("0.3")
    assert sum([0.1] * 3) > 0.3


REFUSED: dict[str, object] = {
    "negative": -1,
    "negative decimal": Decimal("-0.01"),
    "negative text": "-1",
    "a negative zero as text": "-0",
    "a plus": "+1",
    "finer than four digits": Decimal("0.00001"),
    "finer than four digits as text": "0.00001",
    "an exponent as text": "1e3",
    "a comma": "1,5",
    "grouped": "1_000",
    "a unit in it": "100 EUR",
    "a sign of money": "€100",
    "a blank": " 1",
    "a line feed": "1\n",
    "a bare point": "1.",
    "no whole part": ".5",
    "other digits": OTHER_DIGITS,
    "full width": "\uff11",
    "hexadecimal": "0x10",
    "not a number": "NaN",
    "infinite": "Infinity",
    "empty": "",
    "too many digits": "9" * 16,
    "too large": 10**16,
    "beyond 64 bits": 2**70,
    "beyond a double": Decimal("1e400"),
    "a zero of a thousand million places": Decimal("0e999999999"),
    "not a number at all": Decimal("NaN"),
    "a bool": True,
    "null": None,
    "a float": 1.5,
    "a list": [1],
    "an object": {"amount": 1},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_amount_does_not_count(name: str) -> None:
    assert amounts.from_json(REFUSED[name]) is None


@pytest.mark.parametrize("name", [name for name, value in REFUSED.items() if isinstance(value, str)])
def test_a_limit_in_a_file_is_a_plain_amount_too(name: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        amounts.ceiling(REFUSED[name], "/limits/eur")
    assert refused.value.pointer == "/limits/eur"


@pytest.mark.parametrize("value", [-1, 10**16, 1.5, True, None, [], Decimal(1)])
def test_a_limit_in_a_file_is_a_whole_number_or_a_text(value: object) -> None:
    with pytest.raises(InvalidDocument):
        amounts.ceiling(value, "/limits/eur")


def test_the_same_amount_in_other_numbers_of_json_counts_the_same() -> None:
    spelled = parse(b'[1000,1e3,1000.0,1.0E+3,"1000","1000.00"]')
    assert isinstance(spelled, list)
    assert {amounts.from_json(one) for one in spelled} == {1000 * amounts.ONE}
    assert amounts.from_json(parse(b"-0")) == amounts.from_json(parse(b"-0.0")) == 0


@pytest.mark.parametrize(
    ("units", "text"),
    [(0, "0"), (10_000, "1"), (2_500_000, "250"), (15_000, "1.50"), (12_345, "1.2345"), (1, "0.0001")],
)
def test_amounts_are_shown_as_money_is(units: int, text: str) -> None:
    assert amounts.to_text(units) == text


def test_the_schema_of_files_takes_the_same_amounts() -> None:
    """A file's schema and the reader must not drift apart: its pattern is the reader's."""
    amount = schema("Grant")["$defs"]["amount"]["anyOf"]
    assert amount[1]["pattern"] == f"^{amounts._PLAIN.pattern}$"
    assert amount[0] == {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
