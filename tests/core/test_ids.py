"""Ids and names: sortable, never ambiguous, and no two tools under one flat name (attack F6)."""

import hashlib
import string
import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from remit.core.errors import InvalidDocument
from remit.core.ids import (
    ALPHABET,
    RANDOM_BYTES,
    base32,
    check_slug,
    flat_alias,
    is_call_id,
    is_id,
    new_id,
    split_ref,
    tool_ref,
)
from remit.guards.documents import schema

moments = st.integers(0, 2**48 - 1)
entropies = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
slugs = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
tools = st.text(alphabet=string.ascii_letters + string.digits + "_-./ \u00e9", min_size=1, max_size=80)


def bits_of(made: str) -> int:
    found = 0
    for char in made.partition("_")[2]:
        found = found * 32 + ALPHABET.index(char)
    return found


@given(moments, entropies)
def test_an_id_holds_the_bits_of_a_uuid_7(now: int, entropy: bytes) -> None:
    made = new_id("ses", now, entropy)
    read = uuid.UUID(int=bits_of(made))
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert read.int >> 80 == now
    random = int.from_bytes(entropy, "big")
    assert read.int & (2**62 - 1) == random & (2**62 - 1)
    assert (read.int >> 64) & 0xFFF == (random >> 64) & 0xFFF


@given(moments, moments, entropies, entropies)
def test_ids_sort_by_the_time_they_were_made_at(one: int, two: int, a: bytes, b: bytes) -> None:
    assume(one != two)
    assert (new_id("agt", one, a) < new_id("agt", two, b)) is (one < two)


@given(moments, entropies)
def test_an_id_is_of_its_own_kind_only_and_fits_the_schemas(now: int, entropy: bytes) -> None:
    made = new_id("key", now, entropy)
    assert is_id(made)
    assert is_id(made, "key")
    assert not is_id(made, "ses")
    assert len(made) == 30


@pytest.mark.parametrize(
    "odd", ["", "key_", "key_" + "0" * 25, "key_" + "0" * 27, "KEY_" + "0" * 26, "xyz_" + "0" * 26]
)
def test_what_looks_nearly_like_an_id_is_none(odd: str) -> None:
    assert not is_id(odd)


def test_letters_that_are_mistaken_for_digits_and_numbers_over_128_bits_are_in_no_id() -> None:
    assert not set("ilou") & set(ALPHABET)
    assert is_id("key_7" + "z" * 25)
    for odd in ("key_8" + "0" * 25, "key_0" + "i" * 25, "key_0" + "O" * 25, "key_" + "0" * 26 + "\n"):
        assert not is_id(odd)


@pytest.mark.parametrize(("now", "entropy"), [(-1, bytes(10)), (2**48, bytes(10)), (0, bytes(9)), (0, bytes(11))])
def test_an_id_is_made_of_a_48_bit_time_and_ten_bytes_only(now: int, entropy: bytes) -> None:
    with pytest.raises(ValueError, match="id needs"):
        new_id("ses", now, entropy)


@given(st.integers(0, 2**130 - 1))
def test_base32_is_fixed_in_length_and_exact(bits: int) -> None:
    text = base32(bits, 26)
    assert (len(text), bits_of("x_" + text)) == (26, bits)


@pytest.mark.parametrize(
    "name",
    ["", "A", "1a", "a_b", "a" * 33, "a.b", "\u00e9", "a\n", "a b", "-a", "\u0430", "a/b", "a\x00", "a\u200b"],
    ids=ascii,
)
def test_a_name_is_a_plain_slug(name: str) -> None:
    with pytest.raises(InvalidDocument):
        check_slug(name, "server")


@given(slugs)
def test_a_slug_is_taken_as_it_is(name: str) -> None:
    assert check_slug(name, "server") == name


def test_a_call_id_is_short_and_plain() -> None:
    assert is_call_id("A-b_c.1")
    assert is_call_id("a" * 64)
    assert not any(map(is_call_id, ["", "a" * 65, "a b", "a\n", "\u00e9", "a/b", "\u0661"]))


def test_the_schemas_have_the_same_patterns() -> None:
    defs = schema("Decision")["$defs"]
    assert defs["call_id"]["pattern"] == "^[A-Za-z0-9_.-]{1,64}$"
    assert defs["id"]["pattern"] == "^(org|per|agt|srv|tol|rev|grt|key|ses|apr|run)_[0-7][0-9a-hjkmnp-tv-z]{25}$"


# -------------------------------------------------------------------------------------------------- references, aliases


@given(slugs, st.text(min_size=1, max_size=20))
def test_a_reference_splits_at_its_first_slash_into_what_it_was_made_of(server: str, tool: str) -> None:
    assert split_ref(tool_ref(server, tool)) == (server, tool)


@pytest.mark.parametrize("odd", ["git", "/x", "git/", "A/x", "", "a_b/c", " git/x", "git\n/x"])
def test_what_is_no_reference_is_refused(odd: str) -> None:
    with pytest.raises(InvalidDocument):
        split_ref(odd)


@given(slugs, tools)
def test_a_flat_name_fits_mcp_and_gives_its_server_back(server: str, tool: str) -> None:
    alias = flat_alias(server, tool)
    assert 1 <= len(alias) <= 64
    assert set(alias) <= set(string.ascii_letters + string.digits + "_-")
    head, sign, rest = alias.partition("__")
    assert (head, sign) == (server, "__")
    plain = len(f"{server}__{tool}") <= 64 and set(tool) <= set(string.ascii_letters + string.digits + "_-")
    assert (rest == tool) is plain
    if not plain:
        assert alias[-9:] == "_" + hashlib.sha256(f"{server}/{tool}".encode()).hexdigest()[:8]


@given(slugs, tools, slugs, tools)
def test_two_tools_have_two_flat_names(s1: str, t1: str, s2: str, t2: str) -> None:
    assume((s1, t1) != (s2, t2))
    assert flat_alias(s1, t1) != flat_alias(s2, t2)


def test_a_server_whose_name_could_hold_the_separator_would_take_another_s_tool() -> None:
    """Attack F6 with its control: ``a__b`` + ``c`` against ``a`` + ``b__c``."""
    assert flat_alias("a__b", "c") == flat_alias("a", "b__c")
    with pytest.raises(InvalidDocument):
        check_slug("a__b", "server")
    with pytest.raises(InvalidDocument):
        split_ref("a__b/c")


def test_a_tool_may_be_named_to_look_like_the_hashed_name_of_another_so_review_must_still_compare() -> None:
    """The one collision that naming can't rule out: both tools are of one server, and a review refuses the second."""
    odd = flat_alias("git", "a b")
    assert flat_alias("git", odd.removeprefix("git__")) == odd
