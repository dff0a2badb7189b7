"""The strict reader: what two readers could read differently is refused; what is read keeps its exact value."""

import json
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.core.canonical import Json, canonical
from remit.core.errors import BadInput, Malformed, TooLarge
from remit.guards.json_in import JsonLimits, as_json, parse
from tests.core.values import same, values

DUPLICATES: Final = {
    "plain": b'{"to":"a","to":"b"}',
    "spelt with an escape": b'{"to":"a","\\u0074o":"b"}',
    "spelt with another escape": b'{"a/b":1,"a\\/b":2}',
    "an astral key, once as a pair of escapes": '{"\U0001f600":1,"\\ud83d\\ude00":2}'.encode(),
    "escapes in two cases": b'{"\\u00e9":1,"\\u00E9":2}',
    "below": b'{"o":[{"a":1,"a":1}]}',
    "far apart": b'{"a":1,' + b",".join(b'"k%d":0' % n for n in range(500)) + b',"a":2}',
    "the empty key": b'{"":1,"":2}',
    "with the same value": b'{"a":1,"a":1}',
}
REFUSED: Final = {
    **{f"a duplicate key: {name}": body for name, body in DUPLICATES.items()},
    "NaN": b"[NaN]",
    "nan": b"[nan]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16 with a mark": '{"a":1}'.encode("utf-16"),
    "UTF-16 without": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32-be"),
    "UTF-7": b"+AHs-+AH0-",
    "Latin-1": b'"\xfc"',
    "overlong in two bytes": b'"\xc0\xaf"',
    "overlong in three": b'"\xe0\x80\xaf"',
    "overlong nul": b'"\xc0\x80"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "cut off in a character": b'"\xe2\x82',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "a pair of encoded surrogates": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "a lone high surrogate": b'"\\ud800"',
    "a lone low surrogate": b'"\\udc00x"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "a lone surrogate in a key": b'{"\\ud800":1}',
    "65 levels of arrays": b"[" * 65 + b"]" * 65,
    "65 levels of objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "65 levels of both": b'[{"a":' * 33 + b"1" + b"}]" * 33,
    "10,000 levels": b"[" * 10_000 + b"]" * 10_000,
    "10,000 levels that never end": b"[" * 10_000,
    "one over 64 bits": b"9223372036854775808",
    "one under 64 bits": b"-9223372036854775809",
    "over 64 bits with a point": b"9223372036854775808.0",
    "over 64 bits with an exponent": b"1e19",
    "overflow": b"1e400",
    "negative overflow": b"-1e400",
    "overflow in 309 digits and a half": b"9" * 309 + b".5",
    "underflow": b"1e-400",
    "a huge exponent": b"1E+999999999",
    "a hugely negative exponent": b"1E-999999999",
    "an exponent over 64 bits": b"1e99999999999999999999",
    "a zero with a huge exponent": b"0e999999999",
    "5,000 digits": b"1" * 5_000,
    "a million digits": b"1" * 1_000_000,
    "a leading zero": b"01",
    "a plus": b"+1",
    "no whole part": b".5",
    "no fraction": b"1.",
    "two signs": b"--1",
    "hexadecimal": b"0x10",
    "an underscore": b"1_000",
    "a trailing comma": b"[1,]",
    "a trailing comma in an object": b'{"a":1,}',
    "trailing text": b"{} x",
    "trailing nul": b"{}\x00",
    "two documents": b"{}{}",
    "two lines": b"{}\n{}",
    "a comment": b"{}/**/",
    "single quotes": b"{'a':1}",
    "a bare key": b"{a:1}",
    "a bare control character": b'"\x01"',
    "a bare line feed": b'"\n"',
    "an unknown escape": b'"\\x41"',
    "half an escape": b'"\\u00"',
    "a blank of another script": b"\xc2\xa01",
    "a vertical tab": b"\x0b1",
    "nothing": b"",
    "blanks": b"  ",
    "cut off": b'{"a":',
    "half a word": b"tru",
    "another word": b"None",
}


@pytest.mark.claim("input:strict-json")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_exact_document_is_refused(name: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse(REFUSED[name])
    assert "Internal" not in refused.value.detail
    assert len(refused.value.detail) < 700


@pytest.mark.claim("input:strict-json")
@pytest.mark.parametrize("name", DUPLICATES)
def test_usual_readers_take_the_last_of_two_members_without_a_word(name: str) -> None:
    """The control (attack F4): decided on the last ``to``, acted on the first by a server that reads the first."""
    body = DUPLICATES[name]
    assert json.loads(body) == msgspec.json.decode(body)


@pytest.mark.claim("input:strict-json")
def test_usual_readers_take_numbers_and_text_that_others_would_read_otherwise() -> None:
    """The control for the rest of the list."""
    assert str(json.loads(REFUSED["NaN"])) == "[nan]"
    assert json.loads(REFUSED["a lone high surrogate"]) == "\ud800"
    assert json.loads(REFUSED["UTF-16 with a mark"]) == {"a": 1}
    assert json.loads(b"1e400") == float("inf")
    assert json.loads(b"9007199254740993.0") == 9007199254740992
    assert msgspec.json.decode(b"1e-400") == 0


def test_a_document_over_the_bound_is_refused_before_it_is_read() -> None:
    for body in (b'"' + b"x" * 10_000_000 + b'"', b"[" * 10_000_000):
        with pytest.raises(TooLarge):
            parse(body)
    assert parse(b'"xxx"', JsonLimits(max_bytes=5)) == "xxx"
    with pytest.raises(TooLarge):
        parse(b'"xxxx"', JsonLimits(max_bytes=5))


def test_64_levels_are_read_and_a_lower_bound_is_kept() -> None:
    assert parse(b"[" * 64 + b"]" * 64)
    assert parse(b'[{"a":' * 32 + b"1" + b"}]" * 32)
    assert parse(b"1", JsonLimits(max_depth=0)) == 1
    with pytest.raises(Malformed):
        parse(b"[]", JsonLimits(max_depth=0))


def test_numbers_keep_their_exact_value() -> None:
    assert parse(b"9007199254740993") == 9007199254740993
    assert parse(b"-9223372036854775808") == -(2**63)
    assert parse(b"100.00000000000000001") == Decimal("100.00000000000000001")
    assert parse(b"0.1") == Decimal("0.1") != 0.1
    assert canonical(parse(b"[1.0,1e0,1e2,-0,-0.0,0e5]")) == b"[1,1,100,0,0,0]"


def test_what_is_allowed_is_still_read() -> None:
    assert parse(b' \t\r\n{"a" : [ true , null ] }\n') == {"a": [True, None]}
    assert parse(b'"\\ud83d\\ude00\\u0000\\/"') == "\U0001f600\x00/"
    assert parse(b'{"a":1,"A":2,"\\u0430":3}') == {"a": 1, "A": 2, "\u0430": 3}


@given(values)
def test_what_is_written_reads_back_as_itself(value: Json) -> None:
    assert same(parse(as_json(value)), value)
    assert same(parse(canonical(value)), value)
    assert same(json.loads(as_json(value), parse_float=Decimal), value)


JSON_ISH = st.text(alphabet='{}[]":,0123456789eE+-.truefalsn \\ud8Af\n', max_size=40).map(str.encode)


def edited(body: bytes, at: int, put: bytes) -> bytes:
    at %= len(body) + 1
    return body[:at] + put + body[at + 1 :]


EDITED = st.builds(edited, values.map(as_json), st.integers(0, 200), st.binary(max_size=3) | st.just(b'"a":1,'))


@pytest.mark.claim("input:strict-json")
@given(st.binary(max_size=40) | JSON_ISH | EDITED)
@example(b'{"a":0,"\\u0061":0}')
@example(b"-0")
def test_whatever_is_accepted_a_plain_reader_reads_as_the_same_value(body: bytes) -> None:
    """Our reader is a subset: a value that it gives is the one value that anyone else would get from these bytes."""
    try:
        value = parse(body)
    except BadInput:
        return
    pairs: list[list[tuple[str, Any]]] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.append(found)
        return dict(found)

    plain = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=keep)
    assert same(plain, value)
    assert all(len(dict(found)) == len(found) for found in pairs)
    assert same(parse(as_json(value)), value)
