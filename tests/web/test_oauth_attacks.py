"""What somebody tries who has a code, a token, a form or a client of their own; each with the check switched off."""

import base64
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from remit.core.errors import InvalidDocument
from remit.services.oauth import authorize, by_code, client_auth, exchange
from remit.services.oauth.authorize import check_redirect
from remit.tokens import assertions
from remit.web import pages
from tests.services.world import ISSUER, START
from tests.web.dance import ACCESS_TOKEN, BACK, CODE, EXCHANGE, MCP, REFRESH, Dance, client, error_of, pkce
from tests.web.house import House
from tests.web.test_oauth import sub_agent

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture
async def dance(house: House) -> Dance:
    """A confidential client, and Ada signed in."""
    made = Dance(house, await client(house))
    await made.sign_in()
    return made


def yes(*_: Any, **__: Any) -> bool:
    """A check that is switched off."""
    return True


# ------------------------------------------------------------------------------------------------------------- codes


@pytest.mark.claim("oauth:code-once")
async def test_a_code_that_comes_twice_gives_nothing_and_ends_what_came_of_it(dance: Dance) -> None:
    code = await dance.code()
    given = (await dance.redeem(code)).json()
    assert error_of(await dance.redeem(code)) == "invalid_grant"
    result = await dance.house.call("office__read_mail", {"id": "m1"}, who=given["access_token"])
    assert result["isError"] is True
    assert dance.house.upstream.effects == []
    assert [leaf["k"] for leaf in await dance.house.world.leaves()].count(107) == 1


async def test_control_without_its_memory_a_code_that_comes_twice_gives_two_tokens(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await dance.code()
    monkeypatch.setattr("msgspec.structs.replace", lambda kept, **_: kept)
    assert [(await dance.redeem(code)).status_code for _ in range(2)] == [200, 200]


@pytest.mark.claim("oauth:pkce")
async def test_a_stolen_code_is_worth_nothing_without_its_verifier(dance: Dance) -> None:
    for verifier in ("", "short", pkce()[0]):
        assert error_of(await dance.redeem(await dance.code(), code_verifier=verifier)) == "invalid_grant"
    code = await dance.code()
    right = dance.verifier
    assert error_of(await dance.redeem(code, code_verifier=pkce()[0])) == "invalid_grant"
    assert error_of(await dance.redeem(code, code_verifier=right)) == "invalid_grant"  # it was burnt by the guess


async def test_control_without_the_check_of_the_verifier_a_stolen_code_is_redeemed(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_code, "_fits", yes)
    assert (await dance.redeem(await dance.code(), code_verifier=pkce()[0])).status_code == 200


@pytest.mark.claim("oauth:pkce")
async def test_pkce_can_t_be_left_out_or_made_plain(dance: Dance) -> None:
    verifier, _ = pkce()
    for members in (
        {"code_challenge": ""},
        {"code_challenge_method": ""},
        {"code_challenge_method": "plain", "code_challenge": verifier[:43]},
    ):
        assert error_of(await dance.get("/oauth/authorize", dance.query(**members))) == "invalid_request"


@pytest.mark.claim("oauth:code-bound")
async def test_a_code_is_for_its_own_client_and_redirect(dance: Dance) -> None:
    other = Dance(dance.house, await client(dance.house, name="other"))
    code = await dance.code()
    other.verifier = dance.verifier
    assert error_of(await other.redeem(code)) == "invalid_grant"
    assert error_of(await dance.redeem(code, redirect_uri=BACK + "2")) == "invalid_grant"
    late = await dance.code()
    dance.house.world.later(by_code.CODE_LIFE)
    assert error_of(await dance.redeem(late)) == "invalid_grant"


async def test_control_a_code_is_redeemed_by_another_client_when_they_pass_for_one(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Dance(dance.house, await client(dance.house, name="other"))
    code = await dance.code()
    other.verifier = dance.verifier
    mine = await client_auth.find(dance.house.world.deps, dance.id)

    async def anybody(*_: Any) -> Any:
        return mine

    monkeypatch.setattr("remit.services.oauth.token.authenticated", anybody)
    assert (await other.redeem(code)).status_code == 200


# --------------------------------------------------------------------------------------------------------- redirects


@pytest.mark.claim("oauth:redirect-exact")
async def test_nobody_is_sent_to_an_address_that_is_not_registered(dance: Dance) -> None:
    tricks = (
        "https://evil.example/back",
        BACK + "/",
        BACK + "?x=1",
        BACK + "%2f..",
        "http://127.0.0.1.evil.example:7777/back",
        "http://127.0.0.1@evil.example/back",
        "http://evil.example#@127.0.0.1/back",
        "http://user@127.0.0.1:1/back",
        "http://localhost:7777/back",
        "HTTP://127.0.0.1:7777/back",
        "http://127.0.0.1:7777/Back",
        "javascript:alert(1)//127.0.0.1/back",
    )
    for trick in tricks:
        answer = await dance.get("/oauth/authorize", dance.query(redirect_uri=trick))
        assert answer.status_code == 400, trick
        assert "location" not in answer.headers, trick
    allowed = await dance.get("/oauth/authorize", dance.query(redirect_uri="http://127.0.0.1:40123/back"))
    assert allowed.status_code == 200


async def test_control_with_a_lax_comparison_a_code_goes_to_an_address_of_the_attacker(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorize, "_same_but_port", yes)
    page = await dance.get("/oauth/authorize", dance.query(redirect_uri="https://evil.example/back"))
    assert (await dance.answer(page.text)).headers["location"].startswith("https://evil.example/back?code=")


def test_a_client_can_t_register_a_redirect_that_anybody_could_listen_on() -> None:
    for uri in (
        "http://example.test/",
        "javascript:alert(1)",
        "https://*.example.test/",
        "https://a.test/#x",
        "data:,x",
        "https://a b/",
    ):
        with pytest.raises(InvalidDocument):
            check_redirect(uri)
    for uri in ("https://app.example.test/back", "http://[::1]/back", "com.example.app:/back"):
        assert check_redirect(uri) == uri


@pytest.mark.claim("oauth:redirect-exact")
async def test_every_answer_says_who_answers_so_that_two_servers_are_not_mixed_up(dance: Dance) -> None:
    page = await dance.get("/oauth/authorize", dance.query())
    fault = await dance.get("/oauth/authorize", dance.query(response_type="token"))
    for sent in (await dance.answer(page.text, say="no"), fault):
        assert dict(parse_qsl(urlsplit(sent.headers["location"]).query))["iss"] == ISSUER


# ------------------------------------------------------------------------------------------------------------ refresh


@pytest.mark.claim("oauth:refresh-once")
async def test_a_refresh_token_that_comes_twice_ends_its_session(dance: Dance) -> None:
    given = await dance.tokens()
    again = (await dance.token(REFRESH, refresh_token=given["refresh_token"])).json()
    assert error_of(await dance.token(REFRESH, refresh_token=given["refresh_token"])) == "invalid_grant"
    assert error_of(await dance.token(REFRESH, refresh_token=again["refresh_token"])) == "invalid_grant"
    result = await dance.house.call("office__read_mail", {"id": "m1"}, who=again["access_token"])
    assert result["isError"] is True
    assert dance.house.upstream.effects == []


async def test_control_without_its_memory_a_stolen_refresh_token_works_beside_the_owner_s(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await dance.tokens()
    monkeypatch.setattr("msgspec.structs.replace", lambda kept, **_: kept)
    tries = [await dance.token(REFRESH, refresh_token=given["refresh_token"]) for _ in range(2)]
    assert [one.status_code for one in tries] == [200, 200]


async def test_a_refresh_token_is_its_client_s_own(dance: Dance) -> None:
    given = await dance.tokens()
    other = Dance(dance.house, await client(dance.house, name="other"))
    assert error_of(await other.token(REFRESH, refresh_token=given["refresh_token"])) == "invalid_grant"
    assert (await dance.token(REFRESH, refresh_token=given["refresh_token"])).status_code == 200


# ----------------------------------------------------------------------------------------------------------- exchange


@pytest.mark.claim("oauth:exchange-shrinks")
async def test_an_exchange_gives_no_tool_and_no_endpoint_that_the_subject_token_has_not(dance: Dance) -> None:
    helper = await sub_agent(dance.house)
    await dance.house.world.grant("office/pay_invoice", agent="helper", limits={"eur": "9.00", "per": "day"})
    narrow = await dance.tokens(drop=("office/pay_invoice",))
    subject = {"subject_token": narrow["access_token"], "subject_token_type": ACCESS_TOKEN}
    for scope in (
        "tool:office/pay_invoice",
        "effect:spend",
        "tool:office/read_mail tool:office/pay_invoice",
        "effect:admin",
    ):
        assert error_of(await helper.token(EXCHANGE, scope=scope, **subject)) == "invalid_scope", scope
    for resource in (ISSUER, f"{MCP}/office", "https://elsewhere.example/mcp"):
        assert error_of(await helper.token(EXCHANGE, resource=resource, **subject)) == "invalid_target", resource
    made = (await helper.token(EXCHANGE, **subject)).json()
    result = await dance.house.call("office__pay_invoice", {"recipient": "x", "amount": 1}, who=made["access_token"])
    assert result["_meta"]["remit/decision"]["reasons"][0]["code"] == "plan.tool"
    assert dance.house.upstream.effects == []


async def test_control_with_a_subject_token_of_everything_the_same_exchange_reaches_the_tool(dance: Dance) -> None:
    helper = await sub_agent(dance.house)
    await dance.house.world.grant("office/pay_invoice", agent="helper", limits={"eur": "9.00", "per": "day"})
    wide = await dance.tokens()
    subject = {"subject_token": wide["access_token"], "subject_token_type": ACCESS_TOKEN}
    made = await helper.token(EXCHANGE, scope="tool:office/pay_invoice", **subject)
    assert made.json()["scope"] == "tool:office/pay_invoice"


@pytest.mark.claim("oauth:exchange-lives")
async def test_an_exchange_needs_a_live_session_and_never_begins_one(dance: Dance) -> None:
    house = dance.house
    helper = await sub_agent(house)
    given = await dance.tokens()
    subject = {"subject_token": given["access_token"], "subject_token_type": ACCESS_TOKEN}
    claims = jwt.decode(given["access_token"], options={"verify_signature": False})
    for wrong in ("x.y.z", str(helper.client["secret"]), house.credentials["host"], given["refresh_token"]):
        answer = await helper.token(EXCHANGE, subject_token=wrong, subject_token_type=ACCESS_TOKEN)
        assert error_of(answer) == "invalid_grant"
    made = (await helper.token(EXCHANGE, **subject)).json()
    await house.ask("POST", f"/v1/sessions/{claims['txn']}/kill", "administrator", {"reason": "drill"})
    assert error_of(await helper.token(EXCHANGE, **subject)) == "invalid_grant"
    result = await house.call("office__read_mail", {"id": "m1"}, who=made["access_token"])
    assert result["isError"] is True
    assert house.upstream.effects == []


async def test_control_while_the_session_lives_the_same_exchange_is_answered(dance: Dance) -> None:
    helper = await sub_agent(dance.house)
    given = await dance.tokens()
    answer = await helper.token(EXCHANGE, subject_token=given["access_token"], subject_token_type=ACCESS_TOKEN)
    assert answer.status_code == 200


@pytest.mark.claim("oauth:exchange-shrinks")
async def test_an_actor_can_t_be_named_or_forged(dance: Dance) -> None:
    helper = await sub_agent(dance.house)
    given = await dance.tokens()
    head, body, signature = given["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["act"] = {"sub": claims["sub"]}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    subject = {"subject_token": f"{head}.{forged}.{signature}", "subject_token_type": ACCESS_TOKEN}
    assert error_of(await helper.token(EXCHANGE, **subject)) == "invalid_grant"
    named = {
        "subject_token": given["access_token"],
        "subject_token_type": ACCESS_TOKEN,
        "actor_token": given["access_token"],
    }
    assert error_of(await helper.token(EXCHANGE, **named)) == "invalid_request"
    assert exchange.ACCESS_TOKEN == ACCESS_TOKEN


# ------------------------------------------------------------------------------------------------------------- tokens


@pytest.mark.claim("oauth:audience")
async def test_a_token_for_one_endpoint_opens_no_other_door(dance: Dance) -> None:
    house = dance.house
    given = await dance.tokens(resource=f"{MCP}/office")
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    token = given["access_token"]
    assert (await house.ask("POST", "/mcp/office", token, ping)).status_code == 200
    assert (await house.ask("POST", "/mcp", token, ping)).status_code == 401
    txn = jwt.decode(token, options={"verify_signature": False})["txn"]
    call = {"call_id": "c1", "tool": "office/read_mail", "arguments": {"id": "m1"}}
    assert (await house.ask("POST", f"/v1/sessions/{txn}/decide", token, call)).status_code == 401


async def test_control_a_session_token_of_the_whole_issuer_opens_every_door(house: House) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert [(await house.ask("POST", at, "token", ping)).status_code for at in ("/mcp", "/mcp/office")] == [200, 200]


@pytest.mark.claim("identity:two-credentials")
async def test_a_token_of_a_client_starts_no_session_and_answers_for_no_person(dance: Dance) -> None:
    token = (await dance.tokens(resource=""))["access_token"]
    start = {"agent": "bookkeeper", "principal": "ada@example.test"}
    for path, body in (("/v1/sessions", start), ("/v1/clients", {}), ("/v1/people/ada@example.test/link", {})):
        assert (await dance.house.ask("POST", path, token, body)).status_code in (401, 403, 422)
    secret = str(dance.client["secret"])
    assert (await dance.house.ask("POST", "/v1/sessions", secret, start)).status_code == 401
    assert (await dance.house.ask("GET", "/v1/agents", secret)).status_code == 401


async def test_a_token_in_a_query_is_no_credential(dance: Dance) -> None:
    token = (await dance.tokens())["access_token"]
    answer = await dance.house.http.post(
        "/mcp", params={"access_token": token}, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
    )
    assert answer.status_code == 401


# ------------------------------------------------------------------------------------------------------ client proofs


@pytest.mark.claim("oauth:client-proof")
async def test_a_client_without_its_proof_gets_one_answer_that_does_not_say_what_was_wrong(dance: Dance) -> None:
    other = await client(dance.house, name="other")
    code = await dance.code()
    tries = (
        {"client_secret": ""},
        {"client_secret": "remit_c_" + "0" * 26 + "_" + "0" * 52 + "_000000"},
        {"client_secret": str(other["secret"])},
        {"client_id": "cli_" + "0" * 26},
        {"client_id": "https://evil.example/client"},
    )
    secret = {"client_secret": str(dance.client["secret"])}
    answers = [await dance.bare(code, {**secret, **one}) for one in tries]
    assert {one.status_code for one in answers} == {401}
    assert len({one.text for one in answers}) == 1
    assert (await dance.redeem(code)).status_code == 200


async def test_two_proofs_at_once_are_none(dance: Dance) -> None:
    basic = base64.b64encode(f"{dance.id}:{dance.client['secret']}".encode()).decode()
    form = {"grant_type": CODE, "code": "x", "client_secret": str(dance.client["secret"])}
    assert error_of(await dance.post("/oauth/token", form, authorization=f"Basic {basic}")) == "invalid_request"
    alone = {"grant_type": CODE, "code": "x"}
    assert error_of(await dance.post("/oauth/token", alone, authorization=f"Basic {basic}")) == "invalid_grant"
    twice = [("grant_type", CODE), ("code", "x"), ("code", "y")]
    assert error_of(await dance.post("/oauth/token", twice, authorization=f"Basic {basic}")) == "invalid_request"


def signed(key: ec.EllipticCurvePrivateKey, claims: Mapping[str, Any], headers: dict[str, Any] | None = None) -> str:
    """A client assertion."""
    now = START // 1_000
    body = {"aud": ISSUER, "jti": str(time.monotonic_ns()), "iat": now, "exp": now + 60, **claims}
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(body, key, algorithm="ES256", headers=headers)


async def keyed(house: House) -> tuple[Dance, ec.EllipticCurvePrivateKey]:
    """A client that proves itself with a key of its own, and acts for nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "k1", "use": "sig", "alg": "ES256"}
    await house.world.agent(name="sweeper", mode="autonomous")
    await house.world.grant("office/read_mail", agent="sweeper")
    await house.ask("PATCH", "/v1/agents/sweeper", "administrator", {"state": "active"})
    members = {"agent": "sweeper", "auth": "private_key_jwt", "keys": {"keys": [public]}}
    made = await client(house, name="keyed", grants=["client_credentials"], redirects=[], **members)
    return Dance(house, made), key


async def proven(one: Dance, assertion: str) -> Any:
    """The answer to a client credentials request with this assertion."""
    return await one.token("client_credentials", client_assertion=assertion, client_assertion_type=ASSERTION)


@pytest.mark.claim("oauth:assertions")
async def test_an_assertion_counts_once_from_its_client_to_this_server_and_in_its_time(house: House) -> None:
    one, key = await keyed(house)
    now = house.world.clock.at // 1_000
    mine = {"iss": one.id, "sub": one.id, "iat": now, "exp": now + 60}
    good = signed(key, mine)
    assert (await proven(one, good)).status_code == 200
    wrong = {
        "used already": good,
        "of another issuer": signed(key, {**mine, "iss": "x"}),
        "of another subject": signed(key, {**mine, "sub": "x"}),
        "for another server": signed(key, {**mine, "aud": "https://other.example"}),
        "for two servers": signed(key, {**mine, "aud": [ISSUER, "https://other.example"]}),
        "expired": signed(key, {**mine, "iat": now - 500, "exp": now - 61}),
        "from the future": signed(key, {**mine, "iat": now + 61, "exp": now + 90}),
        "without an end": signed(key, {**mine, "exp": None}),
        "good for too long": signed(key, {**mine, "exp": now + 90_000}),
        "without a mark of its own": signed(key, {**mine, "jti": None}),
        "signed by another key": signed(ec.generate_private_key(ec.SECP256R1()), mine),
        "with a key of its own": signed(key, mine, {"jwk": {"kty": "EC"}}),
        "with a place for its key": signed(key, mine, {"jku": "https://evil.example/keys"}),
        "under another key's name": signed(key, mine, {"kid": "../../k2"}),
        "with something critical": signed(key, mine, {"crit": ["exp"]}),
    }
    for what, assertion in wrong.items():
        answer = await proven(one, assertion)
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client"), what


@pytest.mark.claim("oauth:assertions")
async def test_an_assertion_signed_by_nothing_or_with_the_public_key_as_a_secret_is_refused(house: House) -> None:
    one, key = await keyed(house)
    now = house.world.clock.at // 1_000
    claims = {"iss": one.id, "sub": one.id, "aud": ISSUER, "jti": "j", "iat": now, "exp": now + 60}
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for forged in (jwt.encode(claims, "", algorithm="none"), hmac_signed(claims, public)):
        assert error_of(await proven(one, forged)) == "invalid_client"


def hmac_signed(claims: dict[str, Any], secret: bytes) -> str:
    """An HS256 token under any bytes; libraries refuse to make one under a public key."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.digest(secret, text, "sha256")
    return (text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


async def test_control_an_assertion_is_replayed_where_its_mark_is_not_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, key = await keyed(house)
    now = house.world.clock.at // 1_000
    again = signed(key, {"iss": one.id, "sub": one.id, "iat": now, "exp": now + 60})
    marks = iter(range(100))
    monkeypatch.setattr(client_auth, "mark_of", lambda _: str(next(marks)))
    assert [(await proven(one, again)).status_code for _ in range(2)] == [200, 200]


async def test_control_without_the_look_at_its_time_an_expired_assertion_counts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, key = await keyed(house)
    now = house.world.clock.at // 1_000
    late = signed(key, {"iss": one.id, "sub": one.id, "iat": now - 500, "exp": now - 61})
    monkeypatch.setattr(assertions, "SKEW", 10**9)
    assert (await proven(one, late)).status_code == 200


# --------------------------------------------------------------------------------------------------------------- pages


@pytest.mark.claim("oauth:consent-is-the-person-s")
async def test_a_form_of_another_site_consents_to_nothing(dance: Dance) -> None:
    page = await dance.get("/oauth/authorize", dance.query())
    form = dance.form_of(page.text)
    forged = [(name, "0" * 64 if name == "form_token" else value) for name, value in form]
    tries = (
        await dance.post("/oauth/authorize", forged),
        await dance.post("/oauth/authorize", [one for one in form if one[0] != "form_token"]),
        await dance.post("/oauth/authorize", form, origin="https://evil.example"),
        await dance.post("/oauth/authorize", form, **{"sec-fetch-site": "cross-site"}),
    )
    assert [one.status_code for one in tries] == [403] * 4
    assert 103 not in [leaf["k"] for leaf in await dance.house.world.leaves()]


async def test_control_without_the_check_of_the_form_another_site_consents(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "check_ours", lambda *_: None)
    page = await dance.get("/oauth/authorize", dance.query())
    answer = await dance.post("/oauth/authorize", dance.form_of(page.text), origin="https://evil.example")
    assert "code=" in answer.headers["location"]


@pytest.mark.claim("oauth:consent-is-the-person-s")
async def test_a_consent_names_no_tool_that_was_not_shown(dance: Dance) -> None:
    page = await dance.get("/oauth/authorize", dance.query(scope="effect:read"))
    assert "office/pay_invoice" not in page.text
    form = [*dance.form_of(page.text), ("tools[]", "office/pay_invoice")]
    assert (await dance.post("/oauth/authorize", form)).status_code == 400
    none = [one for one in dance.form_of(page.text) if one[0] != "tools[]"]
    assert (await dance.post("/oauth/authorize", none)).status_code == 400


@pytest.mark.claim("oauth:consent-is-the-person-s")
async def test_a_cookie_that_was_there_before_signing_in_is_never_the_one_that_is_signed_in(dance: Dance) -> None:
    fixed = Dance(dance.house, dance.client, {"remit_sign_in": "chosen-by-another"})
    await fixed.sign_in()
    assert fixed.cookies["remit_sign_in"] != "chosen-by-another"
    planted = Dance(dance.house, dance.client, {"remit_sign_in": "chosen-by-another"})
    assert "Sign in" in (await planted.get("/oauth/authorize", planted.query())).text


async def test_a_sign_in_link_works_once_and_leads_only_to_our_own_page(dance: Dance) -> None:
    made = await dance.house.ask("POST", "/v1/people/ada@example.test/link", "ada", {})
    secret = urlsplit(made.json()["link"]).fragment
    onward = await dance.post("/sign-in", {"secret": secret, "next": "https://evil.example/"})
    assert (onward.status_code, onward.headers["location"]) == (303, "/account")
    assert (await dance.post("/sign-in", {"secret": secret})).status_code == 401
    late = await dance.house.ask("POST", "/v1/people/ada@example.test/link", "ada", {})
    dance.house.world.later(900_001)
    assert (await dance.post("/sign-in", {"secret": urlsplit(late.json()["link"]).fragment})).status_code == 401
    assert (await dance.house.ask("POST", "/v1/people/ada@example.test/link", "viewer", {})).status_code == 403


async def test_a_cookie_is_no_credential_of_the_api(dance: Dance) -> None:
    assert (await dance.get("/v1/agents")).status_code == 401
    assert (await dance.house.ask("GET", "/v1/agents", dance.cookies["remit_sign_in"])).status_code == 401
