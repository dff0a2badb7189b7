"""A credential that Remit injects does not come back out of a result, in any spelling that programs usually make."""

import base64
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from remit.guards.json_in import as_json, parse
from remit.guards.secrets import REPLACEMENT, SHORTEST, KnownSecrets, redact_known

SECRET: Final = 'sk-Aé/b+"c\\d=%20'


def lowered(text: str) -> str:
    """Percent escapes in lower case, as some libraries write them; the rest is untouched."""
    parts = text.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def in_base64(encode: Callable[[bytes], bytes], lead: int) -> Callable[[str], bytes]:
    """As part of a longer text: where it starts in a group of three decides the digits."""
    return lambda secret: encode(b"usr"[:lead] + secret.encode() + b":tail")


SPELLINGS: Final[dict[str, Callable[[str], bytes]]] = {
    "as it is": str.encode,
    "in JSON": lambda secret: json.dumps(secret, ensure_ascii=False).encode(),
    "in ASCII JSON": lambda secret: json.dumps(secret).encode(),
    "in JSON with escaped slashes": lambda secret: json.dumps(secret).replace("/", "\\/").encode(),
    "as our own writer puts it": lambda secret: as_json({"env": [secret]}),
    "in a JSON document in a text block": lambda secret: as_json({"text": json.dumps({"KEY": secret})}),
    "in an indented document in a text block": lambda secret: as_json(
        {"text": json.dumps({"KEY": secret}, indent=2, ensure_ascii=False)}
    ),
    "in a URL": lambda secret: quote(secret, safe="").encode(),
    "in a path": lambda secret: quote(secret).encode(),
    "in a form": lambda secret: quote_plus(secret).encode(),
    "in a URL in lower case": lambda secret: lowered(quote(secret, safe="")).encode(),
    "in hex": lambda secret: secret.encode().hex().encode(),
    "in upper hex": lambda secret: secret.encode().hex().upper().encode(),
    **{f"in base64, {lead} bytes in": in_base64(base64.b64encode, lead) for lead in range(3)},
    **{f"in URL-safe base64, {lead} bytes in": in_base64(base64.urlsafe_b64encode, lead) for lead in range(3)},
}
BASE64: Final = [spelling for spelling in SPELLINGS if "base64" in spelling]
WRAPPED: Final = [spelling for spelling in SPELLINGS if "document" in spelling or "writer" in spelling]
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40).filter(
    lambda text: len(text.encode()) >= SHORTEST
)


def digits_of(data: bytes, lead: int, length: int) -> bytes:
    """The base64 digits of the whole that depend on the secret alone."""
    return data[-(-lead * 8 // 6) : (lead + length) * 8 // 6]


@pytest.mark.claim("credential:never-returned")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_credential_is_taken_out_in_every_usual_spelling(spelling: str) -> None:
    data = b'{"x":"' + SPELLINGS[spelling](SECRET) + b'"}'
    clean, count = KnownSecrets([SECRET.encode()]).redact(data)
    assert count == 1
    assert REPLACEMENT in clean
    # The control: a match on the value as it is finds only the value as it is.
    naive = data.replace(SECRET.encode(), REPLACEMENT)
    assert (naive != data) is (spelling == "as it is")


@pytest.mark.claim("credential:never-returned")
@given(secrets, st.sampled_from(sorted(SPELLINGS)), st.binary(max_size=12), st.binary(max_size=12))
def test_no_spelling_of_a_credential_is_left(secret: str, spelling: str, before: bytes, after: bytes) -> None:
    assume(secret.encode() not in REPLACEMENT)
    spelt = SPELLINGS[spelling](secret)
    clean, count = KnownSecrets([secret.encode()]).redact(before + spelt + after)
    assert count >= 1
    assert secret.encode() not in clean
    if spelling in BASE64:
        assert digits_of(spelt, BASE64.index(spelling) % 3, len(secret.encode())) not in clean
    elif spelling not in WRAPPED:
        assert spelt.strip(b'"') not in clean


@pytest.mark.claim("credential:never-returned")
@given(st.lists(secrets, min_size=2, max_size=4), st.data())
def test_of_several_credentials_none_is_left_also_where_they_touch(known: list[str], data: st.DataObject) -> None:
    assume(not any(secret.encode() in REPLACEMENT for secret in known))
    parts = data.draw(st.lists(st.sampled_from([*known, ":", "x"]), max_size=6))
    clean, _ = KnownSecrets(secret.encode() for secret in known).redact("".join(parts).encode())
    assert not any(secret.encode() in clean for secret in known)


@pytest.mark.claim("credential:never-returned")
def test_a_longer_credential_that_holds_a_shorter_one_goes_whole() -> None:
    known = KnownSecrets([b"token-token", b"Bearer token-token-and-more"])
    assert known.redact(b"<Bearer token-token-and-more>") == (b"<" + REPLACEMENT + b">", 1)


@pytest.mark.claim("credential:never-returned")
def test_bytes_that_are_no_text_are_found_too() -> None:
    secret = bytes(range(0xF0, 0x100))
    for spelt in (secret, secret.hex().encode(), base64.b64encode(secret), quote(secret).encode()):
        assert KnownSecrets([secret]).redact(spelt)[1] == 1


@given(st.binary(max_size=200))
def test_what_holds_no_credential_is_given_back_as_it_is(data: bytes) -> None:
    known = KnownSecrets([b"\x00never in there\x00"])
    assume(b"never in" not in data)
    assert known.redact(data) == (data, 0)
    assert KnownSecrets([]).redact(data) == (data, 0)


def test_a_redacted_result_is_still_the_json_that_it_was() -> None:
    result: dict[str, Any] = {"content": [{"type": "text", "text": f"key={SECRET}; ok"}], "isError": False}
    clean, count = redact_known(as_json(result), KnownSecrets([SECRET.encode()]))
    assert count == 1
    assert parse(clean) == {"content": [{"type": "text", "text": "key=[redacted by Remit]; ok"}], "isError": False}


def test_a_credential_that_would_match_by_chance_is_refused() -> None:
    for short in (b"", b"1234567"):
        with pytest.raises(ValueError, match="eight bytes"):
            KnownSecrets([short])


def test_a_set_of_credentials_shows_none_of_them() -> None:
    known = KnownSecrets([SECRET.encode()])
    assert "sk-A" not in repr(known) + str(known)
