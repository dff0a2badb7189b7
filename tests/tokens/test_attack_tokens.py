"""Named attack tokens, made once with a key that is for tests only: each is refused, or left to another checker."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.jwk import ECKey

from remit.core.errors import Unauthenticated
from remit.tokens.jwt import SessionTokens
from remit.tokens.keys import SigningKey

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "tokens.json").read_text("utf-8"))
KEY = SigningKey(ec.derive_private_key(int(VECTORS["private_scalar"], 16), ec.SECP256R1()))
ATTACKS: dict[str, dict[str, str]] = {attack["name"]: attack for attack in VECTORS["attacks"]}
NOW: int = VECTORS["now"]
NO_CLOCK: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}


def tokens() -> SessionTokens:
    """A checker that has seen nothing yet."""
    return SessionTokens(KEY, VECTORS["issuer"])


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_the_good_token_of_the_vectors_is_good_and_its_key_is_the_one_named() -> None:
    found = tokens().check(VECTORS["good"], NOW)
    assert found is not None
    assert found.session == VECTORS["claims"]["txn"]
    assert (KEY.kid, KEY.public_pem().decode()) == (VECTORS["kid"], VECTORS["public_pem"])
    read = pyjwt.decode(VECTORS["good"], VECTORS["public_pem"], ["ES256"], options=NO_CLOCK)
    assert read == VECTORS["claims"]


@pytest.mark.claim("identity:forged-token-refused")
@pytest.mark.parametrize("warm", [False, True], ids=["to a checker that is new", "to one that knows the good token"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_token_is_never_taken_for_one_of_ours(name: str, warm: bool) -> None:
    checker = tokens()
    if warm:
        checker.check(VECTORS["good"], NOW)
    attack = ATTACKS[name]
    if attack["answer"] == "foreign":
        assert checker.check(attack["token"], NOW) is None
    else:
        with pytest.raises(Unauthenticated):
            checker.check(attack["token"], NOW)


# What the attacks would do to a checker that lacks the one defence in question.


@pytest.mark.claim("identity:forged-token-refused")
def test_a_checker_that_lets_the_header_choose_takes_the_public_key_for_a_secret() -> None:
    head, body, mac = ATTACKS["HS256 keyed with the public key"]["token"].split(".")
    assert json.loads(decoded(head))["alg"] == "HS256"
    expected = hmac.new(KEY.public_pem(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    assert decoded(mac) == expected


@pytest.mark.claim("identity:forged-token-refused")
def test_a_checker_that_takes_the_key_out_of_the_header_takes_the_attacker_s() -> None:
    token = ATTACKS["another key in jwk"]["token"]
    embedded = json.loads(decoded(token.split(".")[0]))["jwk"]
    # joserfc refuses a header that it does not know, so that one is switched off too.
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    found = jws.deserialize_compact(token, ECKey.import_key(embedded), registry=registry)
    assert json.loads(found.payload) == VECTORS["claims"]


@pytest.mark.claim("identity:forged-token-refused")
@pytest.mark.parametrize(
    "name",
    [
        "the twin of the signature",
        "a header in another order",
        "a header with blanks",
        "another kid, our key",
        "an ID token of ours",
        "a life of a day",
        "two audiences",
        "another audience",
        "expired just now",
        "no session",
    ],
)
def test_a_checker_of_signatures_alone_takes_what_we_did_not_sign_as_a_session_token(name: str) -> None:
    """They hold under our own public key; what refuses them is the one header, the one text and the claims."""
    assert pyjwt.decode(ATTACKS[name]["token"], VECTORS["public_pem"], ["ES256"], options=NO_CLOCK)


@pytest.mark.claim("identity:forged-token-refused")
def test_a_checker_without_signatures_takes_another_session() -> None:
    token = ATTACKS["another session, our signature"]["token"]
    unsigned: Any = {**NO_CLOCK, "verify_signature": False}
    read = pyjwt.decode(token, options=unsigned)
    assert read["txn"] != VECTORS["claims"]["txn"]


@pytest.mark.claim("identity:forged-token-refused")
def test_signatures_are_written_in_their_low_form_only_so_one_token_has_one_text() -> None:
    checker, claims = tokens(), tokens().check(VECTORS["good"], NOW)
    assert claims is not None
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for _ in range(20):
        s = int.from_bytes(decoded(checker.issue(claims).rpartition(".")[2])[32:], "big")
        assert 0 < s <= order // 2
