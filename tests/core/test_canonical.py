"""Canonical bytes: one value has one spelling, and two values never share one (INTERFACES section 2, RFC 8785)."""

import json
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.canonical import I64_MAX, I64_MIN, Json, b64, canonical, digest, fingerprint, number_text
from remit.core.errors import Malformed
from remit.guards.json_in import parse
from tests.core.values import decimals, integers, respelled, same, texts, values

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "canonical.json").read_text("utf-8")
)


def plain_jcs(text: str) -> str:
    """RFC 8785 as it stands, for the numbers used here: every number is a double."""
    return json.dumps(json.loads(text, parse_int=float), separators=(",", ":"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_canonical_bytes_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    value = parse(vector["json"].encode())
    assert canonical(value).decode() == vector["canonical"]
    assert digest(canonical(value)) == vector["digest"]
    assert canonical(parse(canonical(value))).decode() == vector["canonical"]


@given(values)
def test_canonical_bytes_read_back_as_the_value_and_are_their_own_canonical_form(value: Json) -> None:
    data = canonical(value)
    assert same(parse(data), value)
    assert canonical(parse(data)) == data


@given(values, values)
def test_two_values_have_the_same_bytes_exactly_if_they_are_one(one: Json, other: Json) -> None:
    assert (canonical(one) == canonical(other)) is same(one, other)


@given(values, st.integers(0, 5))
def test_no_other_spelling_of_a_value_has_other_bytes(value: Json, scale: int) -> None:
    assert canonical(respelled(value, scale=scale)) == canonical(value)


@given(decimals | integers)
def test_a_number_is_a_plain_decimal_of_exactly_its_value(number: Decimal | int) -> None:
    text = canonical(number).decode()
    assert Decimal(text) == number
    assert "e" not in text.lower()
    assert text in {"0", text.lstrip("+")}
    assert "." not in text or text[-1] not in "0."
    assert text != "-0"


def test_what_plain_jcs_takes_for_one_number_stays_two() -> None:
    """Attack F5, with its control: the standard form has one hash for a limit and for a hair above it."""
    assert plain_jcs("100.00000000000000001") == plain_jcs("1e2") == plain_jcs("100")
    assert canonical(parse(b"100.00000000000000001")) != canonical(parse(b"100"))
    assert canonical(parse(b"1e2")) == canonical(parse(b"100"))
    assert plain_jcs("9007199254740993") == plain_jcs("9007199254740992")
    assert canonical(2**53 + 1) != canonical(2**53)


@given(st.dictionaries(texts, st.none(), min_size=2, max_size=6))
def test_members_stand_in_the_order_of_their_utf_16_units(value: dict[str, None]) -> None:
    keys = list(json.loads(canonical(value)))
    assert [key.encode("utf-16-be") for key in keys] == sorted(key.encode("utf-16-be") for key in keys)


def test_the_order_of_members_is_not_the_one_that_python_would_choose() -> None:
    assert canonical({"\ue000": 1, "\U0001f600": 2}).decode() == '{"\U0001f600":2,"\ue000":1}'
    assert json.dumps({"\ue000": 1, "\U0001f600": 2}, sort_keys=True).index("e000") < 5


def test_strings_that_only_normalisation_would_join_stay_apart() -> None:
    for one, other in (("\u00e9", "e\u0301"), ("\ufb01", "fi"), ("\u212b", "\u00c5"), ("A", "a")):
        assert canonical(one) != canonical(other)


@pytest.mark.parametrize("bound", [I64_MIN, I64_MAX])
def test_integers_are_written_in_full_up_to_the_bounds_and_not_beyond(bound: int) -> None:
    beyond = bound + (1 if bound > 0 else -1)
    assert canonical(bound).decode() == str(bound)
    assert canonical(Decimal(bound)).decode() == str(bound)
    for value in (beyond, Decimal(beyond), Decimal(beyond).scaleb(-1).scaleb(1), Decimal(f"{beyond}.0")):
        with pytest.raises(Malformed):
            canonical(value)


REFUSED: dict[str, Any] = {
    "a binary float": 1.5,
    "not a number": Decimal("NaN"),
    "signalling": Decimal("sNaN"),
    "infinity": Decimal("-Infinity"),
    "over a double": Decimal("1e309"),
    "over a double, in 309 digits and a half": Decimal("9" * 309 + ".5"),
    "under a double": Decimal("1e-325"),
    "a zero that would be long to write": Decimal("0e999999999"),
    "a lone surrogate": "\ud800",
    "surrogates the wrong way round": "\udc00\ud800",
    "a key with a lone surrogate": {"\ud800": 1},
    "a key that is no text": {1: 2},
    "a null key": {None: 1},
    "bytes": b"x",
    "a bytearray": bytearray(b"x"),
    "a set": {1},
    "anything": object(),
    "inside": [{"a": [1.0]}],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_one_spelling_has_no_canonical_bytes(name: str) -> None:
    with pytest.raises(Malformed):
        canonical(REFUSED[name])


def test_a_value_that_nests_without_end_is_refused_and_does_not_break_us() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Malformed):
        canonical(value)


def test_what_a_double_can_hold_at_its_edges_has_a_form() -> None:
    assert len(number_text(Decimal("5e-324"))) == 326
    assert number_text(Decimal("-0.00")) == number_text(Decimal("0e5")) == "0"
    assert number_text(Decimal("17976931348623157" + "0" * 292 + ".5")).endswith("0.5")


def test_booleans_and_named_numbers_are_what_they_stand_for() -> None:
    class Number(IntEnum):
        ONE = 1

    assert canonical([True, False, None, Number.ONE]) == b"[true,false,null,1]"
    assert canonical(True) != canonical(1)


def test_a_fingerprint_covers_members_that_nobody_knows_and_no_order_of_them() -> None:
    tool: dict[str, Any] = {"name": "x", "inputSchema": {}, "_meta": {"a": 1}, "icons": [], "execution": {}}
    assert fingerprint(tool) == fingerprint(dict(reversed(tool.items())))
    for name in tool:
        assert fingerprint({**tool, name: "other"}) != fingerprint(tool)
        assert fingerprint({key: value for key, value in tool.items() if key != name}) != fingerprint(tool)


def test_hashes_and_bytes_have_the_form_that_others_expect() -> None:
    assert digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert b64(b"\xfb\xff") == "+/8="
