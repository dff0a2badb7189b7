"""API keys: three answers, found by scanners, and a damaged one is never read as another."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.credentials import KeyPurpose
from remit.core.errors import Unauthenticated
from remit.core.ids import ALPHABET, new_id
from remit.tokens import apikeys

KEY_ID = new_id("key", 1_795_000_000_000, bytes(range(10)))
SECRET = bytes(range(32))
PURPOSES: tuple[KeyPurpose, ...] = ("host", "session", "person")
purposes = st.sampled_from(PURPOSES)
secrets = st.binary(min_size=32, max_size=32)


@given(purposes, secrets, st.integers(0, 2**48 - 1))
def test_a_key_is_read_as_it_was_made(purpose: KeyPurpose, secret: bytes, now: int) -> None:
    key_id = new_id("key", now, secret[:10])
    made = apikeys.make(purpose, key_id, secret)
    found = apikeys.read(made.text)
    assert found is not None
    assert (found.purpose, found.key_id, found.digest) == (purpose, key_id, made.digest)
    assert apikeys.matches(found, made.digest)
    assert re.fullmatch(apikeys.SCANNER_PATTERN, made.text)


@pytest.mark.claim("identity:key-three-answers")
@pytest.mark.parametrize(
    "stranger",
    ["", "Bearer x", "eyJhbGciOiJFUzI1NiJ9.e30.x", "sk-live-1", "REMIT_h_1", "remit-h-1", "\u200bremit_h_1", "Remit_x"],
)
def test_the_first_answer_what_is_none_of_ours_is_left_to_others(stranger: str) -> None:
    assert apikeys.read(stranger) is None


@pytest.mark.claim("identity:key-three-answers")
def test_the_second_answer_a_whole_key_is_read() -> None:
    assert apikeys.read(apikeys.make("host", KEY_ID, SECRET).text) is not None


WHOLE = apikeys.make("host", KEY_ID, SECRET).text
DAMAGED = {
    "the prefix alone": "remit_",
    "the prefix of something": "remit_x",
    "cut short": WHOLE[:-1],
    "one more": WHOLE + "0",
    "a line feed behind": WHOLE + "\n",
    "in capitals": "remit_" + WHOLE[6:].upper(),
    "of a fourth kind": WHOLE.replace("_h_", "_x_"),
    "an o for a zero": WHOLE.replace("0", "o", 1),
    "a surrogate behind": WHOLE + "\ud800",
    "digits of another script": WHOLE[:-6] + "\u0661" * 6,
    "twice": WHOLE * 2,
    "one more part": WHOLE[:40] + "_" + WHOLE[41:],
}


@pytest.mark.claim("identity:key-three-answers")
@pytest.mark.parametrize("name", DAMAGED)
def test_the_third_answer_a_damaged_key_is_refused_as_damaged(name: str) -> None:
    with pytest.raises(Unauthenticated, match="damaged"):
        apikeys.read(DAMAGED[name])


@pytest.mark.claim("identity:key-three-answers")
def test_every_change_of_one_character_is_found_everywhere_in_a_key() -> None:
    """All of them: and as the checksum is linear, what is found in one key is found in every key."""
    text = apikeys.make("session", KEY_ID, SECRET).text
    taken = []
    for at in range(len("remit_"), len(text)):
        for char in string.printable:
            changed = text[:at] + char + text[at + 1 :]
            if changed != text:
                try:
                    taken.append((changed, apikeys.read(changed)))
                except Unauthenticated:
                    continue
    assert taken == []


@pytest.mark.claim("identity:key-three-answers")
@given(secrets, st.data())
def test_two_characters_that_changed_places_are_found(secret: bytes, data: st.DataObject) -> None:
    text = apikeys.make("person", KEY_ID, secret).text
    at = data.draw(st.integers(len("remit_"), len(text) - 2))
    swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if swapped != text:
        with pytest.raises(Unauthenticated):
            apikeys.read(swapped)


@pytest.mark.claim("identity:key-three-answers")
@given(purposes, purposes)
def test_the_letter_of_another_purpose_is_no_key_of_that_purpose(was: KeyPurpose, wanted: KeyPurpose) -> None:
    """An agent turns its session key into a person key: as it stands it is damaged; mended, it is nobody's."""
    kept = apikeys.make(was, KEY_ID, SECRET)
    swapped = kept.text[:6] + wanted[0] + kept.text[7:]
    if was != wanted:
        with pytest.raises(Unauthenticated):
            apikeys.read(swapped)
    mended = apikeys.read(apikeys.make(wanted, KEY_ID, SECRET).text)
    assert mended is not None
    assert mended.key_id == KEY_ID
    # The control: the checksum can be mended by anyone, so it is the digest over the whole text that refuses.
    assert apikeys.matches(mended, kept.digest) is (was == wanted)


@pytest.mark.claim("identity:key-three-answers")
@given(secrets, secrets)
def test_only_the_kept_secret_matches(one: bytes, other: bytes) -> None:
    presented = apikeys.read(apikeys.make("host", KEY_ID, one).text)
    assert presented is not None
    assert apikeys.matches(presented, apikeys.make("host", KEY_ID, other).digest) is (one == other)


@given(st.text(max_size=120) | st.text(alphabet=ALPHABET + "_hsp", max_size=100).map(lambda rest: "remit_" + rest))
def test_whatever_is_presented_gets_one_of_the_three_answers(text: str) -> None:
    try:
        found = apikeys.read(text)
    except Unauthenticated:
        assert text.startswith("remit_")
    else:
        assert (found is None) is not text.startswith("remit_")


def test_what_is_kept_and_shown_of_a_key_is_not_the_key() -> None:
    made = apikeys.make("host", KEY_ID, SECRET)
    found = apikeys.read(made.text)
    secret = made.text.split("_")[3]
    assert secret not in repr(made)
    assert secret not in repr(found)
    assert secret not in made.digest
    with pytest.raises(Unauthenticated) as refused:
        apikeys.read(made.text + "x")
    assert secret not in refused.value.detail


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_fewer_or_more_than_256_bits_is_not_made(size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        apikeys.make("host", KEY_ID, bytes(size))


def test_the_how_to_tells_scanners_the_pattern_that_keys_have() -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "issue-and-rotate-keys.md"
    assert f"\n{apikeys.SCANNER_PATTERN}\n" in page.read_text(encoding="utf-8")
