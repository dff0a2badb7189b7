"""Stored credentials: sealed, they open where they belong, unchanged and under their own key, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import StoreUnavailable
from remit.tokens.keys import NONCE_BYTES, SecretBox

BOX = SecretBox(bytes(range(32)))
PLACE = b"main/srv_1/header:Authorization"
PLAIN = b"Bearer hunter2-hunter2"


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_what_was_sealed_opens_at_its_place(plain: bytes, place: bytes) -> None:
    assert BOX.open(BOX.seal(plain, place), place) == plain


@pytest.mark.claim("credential:never-returned")
def test_what_is_kept_shows_nothing_and_never_looks_the_same_twice() -> None:
    one, two = BOX.seal(PLAIN, PLACE), BOX.seal(PLAIN, PLACE)
    assert b"hunter2" not in one
    assert one != two
    assert one[:NONCE_BYTES] != two[:NONCE_BYTES]
    assert "hunter2" not in repr(BOX)


@pytest.mark.claim("credential:never-returned")
@given(st.binary(max_size=60))
def test_a_sealed_credential_that_was_moved_does_not_open(elsewhere: bytes) -> None:
    """Who can write the store puts another server's credential where their own server is called with it."""
    sealed = BOX.seal(PLAIN, PLACE)
    if elsewhere != PLACE:
        with pytest.raises(StoreUnavailable):
            BOX.open(sealed, elsewhere)
    # The control: without a place, the moved one would open.
    assert BOX.open(BOX.seal(PLAIN, b""), b"") == PLAIN


def test_every_changed_byte_and_every_cut_is_found() -> None:
    sealed = BOX.seal(PLAIN, PLACE)
    for at in range(len(sealed)):
        edited = bytearray(sealed)
        edited[at] ^= 1
        with pytest.raises(StoreUnavailable):
            BOX.open(bytes(edited), PLACE)
        with pytest.raises(StoreUnavailable):
            BOX.open(sealed[:at], PLACE)
    with pytest.raises(StoreUnavailable):
        BOX.open(sealed + b"\x00", PLACE)


def test_another_home_s_key_opens_nothing_and_the_refusal_shows_nothing() -> None:
    with pytest.raises(StoreUnavailable) as refused:
        SecretBox(bytes(32)).open(BOX.seal(PLAIN, PLACE), PLACE)
    assert "hunter2" not in refused.value.detail + str(refused.value.__cause__)


@pytest.mark.parametrize("size", [0, 15, 16, 24, 31, 33])
def test_a_master_key_of_an_odd_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError):
        SecretBox(bytes(size))
