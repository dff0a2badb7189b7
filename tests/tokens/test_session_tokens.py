"""Session tokens: as issued they are read, by us and by strangers; they end on time; nothing else is taken for one."""

import base64
import contextlib
import json
from dataclasses import replace
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import Unauthenticated
from remit.core.times import MINUTE, SECOND
from remit.tokens.jwt import LEEWAY, LONGEST_LIFE, SessionClaims, SessionTokens
from remit.tokens.keys import SigningKey

NOW = 1_795_000_000_000
ISSUER = "http://localhost:8765"
KEY = SigningKey.create()
TOKENS = SessionTokens(KEY, ISSUER)
CLAIMS = SessionClaims(
    issuer=ISSUER,
    audience=ISSUER,
    subject="per_1",
    actor="agt_1",
    session="ses_1",
    org="main",
    client_id="key_1",
    jti="j1",
    issued_at=NOW,
    expires_at=NOW + 5 * MINUTE,
)
NO_CLOCK: Any = {"verify_exp": False, "verify_iat": False}
names = st.text(min_size=1, max_size=20)


def payload_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


def test_a_stranger_with_the_public_key_can_verify_a_token_and_reads_what_the_interface_says() -> None:
    token = TOKENS.issue(CLAIMS)
    read = pyjwt.decode(token, KEY.public_pem(), ["ES256"], audience=ISSUER, issuer=ISSUER, options=NO_CLOCK)
    # INTERFACES section 1, member by member; `act` only when a person is behind the agent.
    assert read == {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": "per_1",
        "act": {"sub": "agt_1"},
        "txn": "ses_1",
        "org": "main",
        "client_id": "key_1",
        "jti": "j1",
        "iat": NOW // 1000,
        "exp": NOW // 1000 + 300,
    }
    assert pyjwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(token, SigningKey.create().public_pem(), ["ES256"], audience=ISSUER, options=NO_CLOCK)


def test_the_token_of_an_autonomous_agent_names_the_agent_and_nobody_behind_it() -> None:
    claims = replace(CLAIMS, subject="agt_1", actor=None)
    token = TOKENS.issue(claims)
    assert "act" not in payload_of(token)
    assert TOKENS.check(token, NOW) == claims


@given(names, st.none() | names, names, names, st.integers(0, 10**12), st.integers(1, LONGEST_LIFE // SECOND))
def test_every_token_of_ours_is_read_as_it_was_issued(
    subject: str, actor: str | None, session: str, jti: str, issued: int, life: int
) -> None:
    claims = replace(
        CLAIMS,
        subject=subject,
        actor=actor,
        session=session,
        jti=jti,
        issued_at=issued * SECOND,
        expires_at=(issued + life) * SECOND,
    )
    assert SessionTokens(KEY, ISSUER).check(TOKENS.issue(claims), issued * SECOND) == claims


@given(st.integers(0, 10**15), st.integers(1, LONGEST_LIFE))
def test_a_token_never_outlives_what_it_was_issued_for_nor_five_minutes(issued: int, life: int) -> None:
    token = TOKENS.issue(replace(CLAIMS, issued_at=issued, expires_at=issued + life))
    read = payload_of(token)
    assert read["exp"] * SECOND <= issued + life
    assert (read["exp"] - read["iat"]) * SECOND <= LONGEST_LIFE
    with pytest.raises(Unauthenticated, match="expired"):
        TOKENS.check(token, issued + life)


@pytest.mark.parametrize("expires", [NOW - 1, NOW, NOW + LONGEST_LIFE + 1])
def test_no_token_is_issued_for_longer_than_five_minutes_or_for_no_time(expires: int) -> None:
    with pytest.raises(ValueError, match="five minutes"):
        TOKENS.issue(replace(CLAIMS, expires_at=expires))


@pytest.mark.claim("identity:forged-token-refused")
@pytest.mark.parametrize("remembered", [False, True], ids=["met for the first time", "verified before"])
def test_a_token_ends_at_its_very_millisecond_also_when_it_was_verified_before(remembered: bool) -> None:
    tokens = SessionTokens(KEY, ISSUER)
    token = tokens.issue(CLAIMS)
    if remembered:
        assert tokens.check(token, NOW) == CLAIMS
    assert tokens.check(token, CLAIMS.expires_at - 1) == CLAIMS
    for late in (CLAIMS.expires_at, CLAIMS.expires_at + 1, CLAIMS.expires_at + 10**12):
        with pytest.raises(Unauthenticated, match="expired"):
            tokens.check(token, late)


@pytest.mark.claim("identity:forged-token-refused")
def test_a_clock_that_was_set_back_makes_no_token_good_for_longer() -> None:
    tokens = SessionTokens(KEY, ISSUER)
    token = tokens.issue(CLAIMS)
    assert tokens.check(token, CLAIMS.issued_at - LEEWAY) == CLAIMS
    with pytest.raises(Unauthenticated, match="future"):
        tokens.check(token, CLAIMS.issued_at - LEEWAY - 1)


@pytest.mark.claim("identity:forged-token-refused")
def test_a_token_that_was_refused_is_refused_again_and_never_remembered_as_good() -> None:
    tokens = SessionTokens(KEY, ISSUER)
    token = tokens.issue(CLAIMS)
    head, body, signature = token.split(".")
    changed = f"{head}.{body}.{signature[::-1]}"
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            tokens.check(changed, NOW)
        assert tokens.check(token, NOW) == CLAIMS


def test_more_tokens_than_are_remembered_are_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.tokens.jwt._CACHE", 4)
    tokens = SessionTokens(KEY, ISSUER)
    issued = [tokens.issue(replace(CLAIMS, jti=f"j{number}")) for number in range(10)]
    for _ in range(2):
        for number, token in enumerate(issued):
            found = tokens.check(token, NOW)
            assert found is not None
            assert found.jti == f"j{number}"
    assert len(tokens._verified) <= 4


@pytest.mark.claim("identity:forged-token-refused")
def test_another_house_with_the_same_key_takes_no_token_of_this_one() -> None:
    with pytest.raises(Unauthenticated, match="issuer"):
        SessionTokens(KEY, "http://localhost:9999").check(TOKENS.issue(CLAIMS), NOW)


@pytest.mark.claim("identity:forged-token-refused")
def test_a_token_of_another_house_is_left_to_another_checker() -> None:
    foreign = pyjwt.encode({"sub": "x"}, "a secret of another house, long enough", algorithm="HS256")
    assert TOKENS.check(foreign, NOW) is None
    # One that says it is a session token of Remit is nobody else's to judge.
    with pytest.raises(Unauthenticated, match="header"):
        TOKENS.check(SessionTokens(SigningKey.create(), ISSUER).issue(CLAIMS), NOW)


@pytest.mark.claim("identity:forged-token-refused")
@given(st.data())
def test_no_change_of_one_character_leaves_a_good_token(data: st.DataObject) -> None:
    token = TOKENS.issue(CLAIMS)
    at = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.characters() | st.sampled_from("AQgw-_.=+/"))
    changed = token[:at] + char + token[at + 1 :]
    if changed != token:
        with contextlib.suppress(Unauthenticated):
            assert TOKENS.check(changed, NOW) is None


@pytest.mark.claim("identity:forged-token-refused")
@given(st.integers(0, 600), st.text(max_size=3))
def test_no_token_cut_short_or_with_more_behind_is_good(keep: int, more: str) -> None:
    token = TOKENS.issue(CLAIMS)
    changed = token[:keep] + more
    if changed != token:
        with contextlib.suppress(Unauthenticated):
            assert TOKENS.check(changed, NOW) is None


@given(
    st.text(max_size=200)
    | st.text(alphabet="aA0-_.=", max_size=60)
    | st.binary(max_size=60).map(lambda b: b.decode("latin-1"))
)
def test_whatever_is_presented_gets_one_of_the_three_answers(text: str) -> None:
    """Not ours (None), or ours and bad: any other exception would be our fault to the caller, and a way to make noise."""
    try:
        assert TOKENS.check(text, NOW) is None
    except Unauthenticated:
        assert text.count(".") >= 1


def test_a_session_key_is_an_es256_key_and_reads_back_as_itself() -> None:
    again = SigningKey.from_pem(KEY.pem())
    assert again.kid == KEY.kid
    assert again.public_pem() == KEY.public_pem()
    assert TOKENS.check(SessionTokens(again, ISSUER).issue(CLAIMS), NOW) == CLAIMS
    with pytest.raises(ValueError, match="P-256"):
        SigningKey(ec.generate_private_key(ec.SECP384R1()))
    for other in (b"", b"no key", KEY.public_pem()):
        with pytest.raises(ValueError):
            SigningKey.from_pem(other)


def test_neither_key_nor_issuer_shows_a_private_key() -> None:
    private = KEY.pem().splitlines()[1].decode()
    assert private not in repr(KEY) + repr(TOKENS) + str(vars(TOKENS))
