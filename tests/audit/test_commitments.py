"""Commitments: they open to one value only, say nothing without their salt, and what is sealed opens where it belongs."""

import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.audit.commitments import commit, commit_bytes, opens, seal, sealing_context, unseal
from remit.core.canonical import Json, canonical
from remit.core.errors import InternalError, Malformed, StoreUnavailable

SALT = bytes(range(32))
KEY = bytes(range(32, 64))
NONCE = bytes(12)
AAD = sealing_context("main", "per_1", 7, "/arguments")
VALUE: Json = {"to": "DE89370400440532013000", "amount": Decimal("12.50")}

values = st.recursive(
    st.none() | st.booleans() | st.integers(min_value=-(2**63), max_value=2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
salts = st.binary(min_size=32, max_size=32)


def test_the_bytes_are_those_that_the_interface_names() -> None:
    expected = hashlib.sha256(b"remit/v1" + b"\x00" + SALT + b'{"amount":12.5,"to":"DE89370400440532013000"}').digest()
    assert commit(SALT, VALUE) == expected == commit_bytes(SALT, canonical(VALUE))


@given(salt=salts, value=values)
def test_a_commitment_opens_with_its_salt_and_value(salt: bytes, value: Json) -> None:
    assert opens(commit(salt, value), salt, value)


@given(salt=salts, value=values, other=values)
def test_a_commitment_opens_to_no_other_value(salt: bytes, value: Json, other: Json) -> None:
    assert opens(commit(salt, value), salt, other) is (canonical(value) == canonical(other))


@pytest.mark.claim("log:commitments-hide")
def test_who_can_guess_every_value_but_not_the_salt_finds_none() -> None:
    guesses = [f"person{number}@example.test" for number in range(500)]
    commitment = commit(hashlib.sha256(b"a salt nobody knows").digest(), guesses[321])
    salts_to_try = (b"", bytes(32), SALT, hashlib.sha256(b"remit/v1").digest())
    assert not any(opens(commitment, salt, guess) for guess in guesses for salt in salts_to_try)
    assert commitment not in {hashlib.sha256(canonical(guess)).digest() for guess in guesses}
    # The control: an unsalted hash gives the value away to the same guesser.
    unsalted = hashlib.sha256(canonical(guesses[321])).digest()
    assert [guess for guess in guesses if hashlib.sha256(canonical(guess)).digest() == unsalted] == [guesses[321]]


@pytest.mark.claim("log:commitments-hide")
def test_equal_values_under_their_own_salts_do_not_look_equal() -> None:
    assert commit(SALT, VALUE) != commit(bytes(32), VALUE)
    # The control: with one salt for all, they would.
    assert commit(SALT, VALUE) == commit_bytes(SALT, canonical(VALUE))


def test_a_salt_of_another_length_is_refused_or_opens_nothing() -> None:
    for salt in (b"", SALT[:31], SALT + b"\0"):
        with pytest.raises(InternalError):
            commit(salt, VALUE)
        assert not opens(commit(SALT, VALUE), salt, VALUE)
    assert not opens(b"short", SALT, VALUE)


def test_a_value_can_not_slide_between_salt_and_value() -> None:
    moved = commit_bytes(SALT, b'"ab"')
    assert moved != commit_bytes(SALT[1:] + b'"', b'ab"')


def test_a_value_without_canonical_form_is_refused() -> None:
    with pytest.raises(Malformed):
        commit(SALT, "\ud800")


@given(salt=salts, value=st.binary(max_size=200), key=salts, nonce=st.binary(min_size=12, max_size=12))
def test_what_was_sealed_opens_to_salt_and_value(salt: bytes, value: bytes, key: bytes, nonce: bytes) -> None:
    assert unseal(key, seal(key, salt, value, AAD, nonce), AAD) == (salt, value)


def test_what_was_sealed_shows_neither_salt_nor_value() -> None:
    sealed = seal(KEY, SALT, canonical(VALUE), AAD, NONCE)
    assert SALT not in sealed
    assert b"DE89" not in sealed
    assert sealed[:13] == b"\x01" + NONCE


def test_every_changed_byte_of_a_sealed_value_is_found() -> None:
    sealed = seal(KEY, SALT, b'"value"', AAD, NONCE)
    for at in range(len(sealed)):
        broken = bytearray(sealed)
        broken[at] ^= 1
        with pytest.raises(StoreUnavailable):
            unseal(KEY, bytes(broken), AAD)
    for cut in range(len(sealed)):
        with pytest.raises(StoreUnavailable):
            unseal(KEY, sealed[:cut], AAD)


@pytest.mark.parametrize(
    "elsewhere",
    [
        sealing_context("other", "per_1", 7, "/arguments"),
        sealing_context("main", "per_2", 7, "/arguments"),
        sealing_context("main", "per_1", 8, "/arguments"),
        sealing_context("main", "per_1", 7, "/result"),
    ],
)
def test_a_sealed_value_that_was_moved_does_not_open(elsewhere: bytes) -> None:
    sealed = seal(KEY, SALT, b'"value"', AAD, NONCE)
    with pytest.raises(StoreUnavailable):
        unseal(KEY, sealed, elsewhere)
    assert unseal(KEY, sealed, AAD) == (SALT, b'"value"')


@pytest.mark.claim("log:commitments-hide")
def test_without_its_key_a_sealed_value_is_gone() -> None:
    sealed = seal(KEY, SALT, b'"value"', AAD, NONCE)
    with pytest.raises(StoreUnavailable):
        unseal(bytes(32), sealed, AAD)


def test_contexts_that_differ_are_different_bytes() -> None:
    assert sealing_context("a", "b", 1, "/c") != sealing_context("a", "b", 1, '/c","')
    assert sealing_context("a", 'b",1,"', 1, "/c") != sealing_context("a", "b", 1, '1,"/c')


def test_keys_and_nonces_of_other_lengths_are_refused() -> None:
    for key, nonce in ((KEY[:16], NONCE), (KEY, NONCE[:8]), (b"", NONCE)):
        with pytest.raises(InternalError):
            seal(key, SALT, b"1", AAD, nonce)
    with pytest.raises(InternalError):
        unseal(KEY[:16], seal(KEY, SALT, b"1", AAD, NONCE), AAD)
