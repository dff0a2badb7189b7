"""DPoP (RFC 9449): a stolen token is worth nothing without its key, and a stolen proof nothing a second time."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from remit.core.oauth import ProofRefused
from remit.core.times import SECOND
from remit.services import possession
from remit.tokens import dpop
from tests.services.desk import second
from tests.services.world import ISSUER, World
from tests.web.dance import ACCESS_TOKEN, CODE, EXCHANGE, REFRESH, Dance, client, error_of
from tests.web.house import House

pytestmark = pytest.mark.anyio

TOKEN = f"{ISSUER}/oauth/token"
MCP = f"{ISSUER}/mcp"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def hashed(token: str) -> str:
    """``ath`` of a token."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Holder:
    """Who holds a key, and makes proofs; an attack changes what goes in."""

    world: World
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    nonce: str = ""

    @property
    def public(self) -> dict[str, Any]:
        """The key as its proofs carry it."""
        algorithm: Any = ECAlgorithm if isinstance(self.key, ec.EllipticCurvePrivateKey) else OKPAlgorithm
        found = algorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {name: value for name, value in found.items() if name in ("kty", "crv", "x", "y")}

    @property
    def thumbprint(self) -> str:
        """RFC 7638."""
        text = json.dumps(self.public, separators=(",", ":"), sort_keys=True)
        return hashed(text)

    def proof(self, method: str, url: str, token: str | None = None, **changed: Any) -> str:
        """A proof for one request; ``header`` and every claim can be other ones, and None leaves one out."""
        header = {"typ": "dpop+jwt", "jwk": self.public, **changed.pop("header", {})}
        claims: dict[str, Any] = {"jti": secrets.token_hex(8), "htm": method, "htu": url}
        claims |= {"iat": self.world.clock.at // SECOND}
        claims |= {"nonce": self.nonce} if self.nonce else {}
        claims |= {"ath": hashed(token)} if token is not None else {}
        claims |= changed
        kind = "ES256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "EdDSA"
        said = {name: value for name, value in claims.items() if value is not None}
        signed = changed.pop("alg", header.pop("alg", kind))
        return str(jwt.encode(said, changed.get("by", self.key), algorithm=signed, headers=header))


@pytest.fixture
async def dance(house: House) -> Dance:
    """A public client, and Ada signed in."""
    made = Dance(house, await client(house, auth="none", grants=[CODE, REFRESH]))
    await made.sign_in()
    return made


@pytest.fixture
def holder(house: House) -> Holder:
    """A client's key."""
    return Holder(house.world)


async def redeemed(dance: Dance, holder: Holder, code: str, **changed: Any) -> httpx.Response:
    """A code redeemed with a proof; the first answer only tells the nonce."""
    form = {"code": code, "code_verifier": dance.verifier, "redirect_uri": "http://127.0.0.1:7777/back"}
    return await bound(dance, holder, CODE, form, **changed)


async def bound(dance: Dance, holder: Holder, grant: str, form: dict[str, str], **changed: Any) -> httpx.Response:
    """A request at the token endpoint with a proof."""
    secret = {"client_secret": str(dance.client["secret"])} if "secret" in dance.client else {}
    members = {"grant_type": grant, "client_id": dance.id, **secret, **form}
    if not holder.nonce and "nonce" not in changed:
        told = await dance.post("/oauth/token", members, dpop=holder.proof("POST", TOKEN))
        assert (told.status_code, error_of(told)) == (400, "use_dpop_nonce"), told.text
        holder.nonce = told.headers["dpop-nonce"]
    proof = changed.pop("proof", None) or holder.proof("POST", TOKEN, **changed)
    return await dance.post("/oauth/token", members, dpop=proof)


async def tokens(dance: Dance, holder: Holder) -> dict[str, Any]:
    """A whole dance with a key."""
    answer = await redeemed(dance, holder, await dance.code())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["token_type"] == "DPoP"
    return found


async def used(house: House, token: str, proof: str | None, scheme: str = "DPoP", at: str = "/mcp") -> httpx.Response:
    """A use of a token at the gateway."""
    headers = {"authorization": f"{scheme} {token}"} | ({"dpop": proof} if proof is not None else {})
    return await house.ask("POST", at, None, CALL, headers=headers)


@pytest.mark.parametrize("curve", ["P-256", "Ed25519"])
async def test_a_bound_token_is_used_with_proofs_of_its_key_and_renewed_with_them(dance: Dance, curve: str) -> None:
    house = dance.house
    key: Any = ec.generate_private_key(ec.SECP256R1()) if curve == "P-256" else ed25519.Ed25519PrivateKey.generate()
    holder = Holder(house.world, key)
    given = await tokens(dance, holder)
    token = given["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["cnf"] == {"jkt": holder.thumbprint}
    for _ in range(2):
        answer = await used(house, token, holder.proof("POST", MCP, token))
        assert (answer.status_code, "tools" in answer.json()["result"]) == (200, True), answer.text
    again = await bound(dance, holder, REFRESH, {"refresh_token": given["refresh_token"]})
    assert (again.status_code, again.json()["token_type"]) == (200, "DPoP"), again.text
    assert again.headers["dpop-nonce"]
    told = await dance.house.ask("GET", "/.well-known/oauth-authorization-server")
    assert "ES256" in told.json()["dpop_signing_alg_values_supported"]


@pytest.mark.claim("dpop:a-token-needs-its-key")
async def test_a_stolen_token_is_worth_nothing_without_its_key(dance: Dance, holder: Holder) -> None:
    token = (await tokens(dance, holder))["access_token"]
    thief = Holder(dance.house.world, nonce=holder.nonce)
    for scheme, proof in (
        ("Bearer", None),
        ("Bearer", holder.proof("POST", MCP, token)),
        ("DPoP", None),
        ("DPoP", thief.proof("POST", MCP, token)),
        ("DPoP", thief.proof("POST", MCP, token, header={"jwk": holder.public})),
    ):
        answer = await used(dance.house, token, proof, scheme)
        assert answer.status_code == 401, (scheme, answer.text)
        assert answer.headers.get_list("www-authenticate")[0].startswith("DPoP "), answer.headers
        assert 'error="invalid_dpop_proof"' in answer.headers["www-authenticate"]
    assert (await used(dance.house, token, holder.proof("POST", MCP, token))).status_code == 200, "the control"


@pytest.mark.claim("dpop:a-token-needs-its-key")
async def test_control_without_the_comparison_the_thief_s_own_key_would_do(
    dance: Dance, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await tokens(dance, holder))["access_token"]
    thief = Holder(dance.house.world, nonce=holder.nonce)
    original = dpop.read_proof

    def anybody(text: str, now: int) -> dpop.Proof:
        found = original(text, now)
        object.__setattr__(found, "thumbprint", holder.thumbprint)
        return found

    monkeypatch.setattr(dpop, "read_proof", anybody)
    assert (await used(dance.house, token, thief.proof("POST", MCP, token))).status_code == 200


@pytest.mark.claim("dpop:a-proof-is-good-once")
@pytest.mark.parametrize("remembered", [True, False])
async def test_a_proof_is_good_once_at_whichever_process(
    dance: Dance, holder: Holder, monkeypatch: pytest.MonkeyPatch, *, remembered: bool
) -> None:
    """The control: with the memory off it is good again, here and at another process."""
    if not remembered:

        async def forgets(*_: object) -> bool:
            return True

        monkeypatch.setattr(possession, "_first", forgets)
    world = dance.house.world
    token = (await tokens(dance, holder))["access_token"]
    proof = holder.proof("POST", MCP, token)
    assert (await used(dance.house, token, proof)).status_code == 200
    assert ((await used(dance.house, token, proof)).status_code == 401) is remembered
    other = await second(world.path, world.deps, world.clock)
    shown = possession.Shown(proof=proof, method="POST", path="/mcp")
    try:
        if remembered:
            with pytest.raises(ProofRefused):
                await possession.proven(other, shown, token=token)
        else:
            assert await possession.proven(other, shown, token=token) == holder.thumbprint
    finally:
        await other.store.close()


@pytest.mark.claim("dpop:a-proof-is-for-one-request")
@pytest.mark.parametrize(
    "changed",
    [
        {"htu": f"{ISSUER}/mcp/office"},
        {"htu": "https://evil.test/mcp"},
        {"htu": "http://localhost:8765/"},
        {"htu": f"{ISSUER}@evil.test/mcp"},
        {"htu": "/mcp"},
        {"htu": None},
        {"htu": 5},
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": None},
        {"ath": None},
        {"ath": "x"},
        {"ath": hashed("another token")},
        {"ath": 7},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"jti": 5},
        {"iat": None},
        {"iat": 10},
        {"iat": True},
        {"iat": "now"},
        {"iat": float("nan")},
        {"iat": float("inf")},
        {"nonce": "made-up"},
        {"nonce": 3},
        {"header": {"typ": "JWT"}},
        {"header": {"typ": None}},
        {"header": {"kid": "k"}},
        {"header": {"jku": "https://evil.test/keys"}},
        {"header": {"crit": ["b64"], "b64": True}},
        {"header": {"jwk": None}},
        {"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}},
        {"header": {"jwk": "x"}},
    ],
)
async def test_a_proof_of_another_request_time_or_make_is_refused(
    dance: Dance, holder: Holder, changed: dict[str, Any]
) -> None:
    token = (await tokens(dance, holder))["access_token"]
    answer = await used(dance.house, token, holder.proof("POST", MCP, token, **changed))
    assert answer.status_code == 401, answer.text
    assert dance.house.upstream.effects == []


@pytest.mark.claim("dpop:a-proof-is-for-one-request")
async def test_the_private_half_in_a_proof_another_algorithm_and_none_at_all_are_refused(
    dance: Dance, holder: Holder
) -> None:
    token = (await tokens(dance, holder))["access_token"]
    whole = ECAlgorithm.to_jwk(holder.key, as_dict=True)
    claims = {"jti": "1", "htm": "POST", "htu": MCP, "iat": dance.house.world.clock.at // SECOND, "ath": hashed(token)}
    public = holder.public
    kept = {"typ": "dpop+jwt"}
    shared = json.dumps(public).encode()
    for proof in (
        holder.proof("POST", MCP, token, header={"jwk": whole}),
        str(jwt.encode(claims, "", algorithm="none", headers={**kept, "jwk": public})),
        str(jwt.encode(claims, b"x" + shared, algorithm="HS256", headers={**kept, "jwk": public})),
        "a.b.c",
        "",
        holder.proof("POST", MCP, token) + "A",
        holder.proof("POST", MCP, token, pad="x" * 5_000),
    ):
        assert (await used(dance.house, token, proof)).status_code == 401, proof[:80]


@pytest.mark.claim("dpop:a-proof-is-for-one-request")
async def test_a_minute_of_skew_and_not_more(dance: Dance, holder: Holder) -> None:
    token = (await tokens(dance, holder))["access_token"]
    now = dance.house.world.clock.at // SECOND
    for skew, status in ((59, 200), (-59, 200), (62, 401), (-62, 401)):
        answer = await used(dance.house, token, holder.proof("POST", MCP, token, iat=now + skew))
        assert answer.status_code == status, skew


@pytest.mark.claim("dpop:proofs-are-made-now")
async def test_the_token_endpoint_takes_proofs_with_a_nonce_of_the_last_minutes_only(
    dance: Dance, holder: Holder
) -> None:
    code = await dance.code()
    for nonce in ("made-up", base64.urlsafe_b64encode(b"1" * 40).decode(), "x" * 5_000):
        answer = await redeemed(dance, holder, code, nonce=nonce)
        assert (answer.status_code, error_of(answer)) in ((400, "use_dpop_nonce"), (400, "invalid_dpop_proof"))
        assert answer.headers["dpop-nonce"]
    holder.nonce = possession.fresh_nonce(dance.house.world.deps)
    dance.house.world.clock.at += possession.NONCE_LIFE + 1
    assert error_of(await redeemed(dance, holder, await dance.code())) == "use_dpop_nonce"


@pytest.mark.claim("dpop:a-token-needs-its-key")
async def test_what_was_asked_for_with_one_key_is_given_to_no_other(dance: Dance, holder: Holder) -> None:
    thief = Holder(dance.house.world)
    code = await dance.code(dpop_jkt=holder.thumbprint)
    assert error_of(await redeemed(dance, thief, code)) == "invalid_grant"
    code = await dance.code(dpop_jkt=holder.thumbprint)
    assert error_of(await dance.redeem(code)) == "invalid_grant"
    given = await tokens(dance, holder)
    assert error_of(await bound(dance, thief, REFRESH, {"refresh_token": given["refresh_token"]})) == "invalid_grant"
    assert error_of(await dance.token(REFRESH, refresh_token=given["refresh_token"])) == "invalid_grant"
    good = await bound(dance, holder, REFRESH, {"refresh_token": given["refresh_token"]})
    assert good.status_code == 200, "the control"


@pytest.mark.claim("dpop:a-token-needs-its-key")
async def test_a_pushed_request_names_the_key_of_its_proof_and_no_other(dance: Dance, holder: Holder) -> None:
    holder.nonce = possession.fresh_nonce(dance.house.world.deps)
    url = f"{ISSUER}/oauth/par"
    other = Holder(dance.house.world).thumbprint
    refused = await dance.post("/oauth/par", dance.query(dpop_jkt=other), dpop=holder.proof("POST", url))
    assert error_of(refused) == "invalid_dpop_proof"
    pushed = await dance.post("/oauth/par", dance.query(), dpop=holder.proof("POST", url))
    assert pushed.status_code == 201, pushed.text
    page = await dance.get("/oauth/authorize", {"client_id": dance.id, "request_uri": pushed.json()["request_uri"]})
    sent = await dance.answer(page.text)
    code = httpx.URL(sent.headers["location"]).params["code"]
    assert error_of(await redeemed(dance, Holder(dance.house.world), code)) == "invalid_grant"


async def test_a_client_that_must_prove_its_key_gets_no_token_without(house: House, holder: Holder) -> None:
    made = Dance(house, await client(house, name="strict", dpop=True))
    await made.sign_in()
    assert error_of(await made.redeem(await made.code())) == "invalid_dpop_proof"
    assert (await tokens(made, holder))["token_type"] == "DPoP"


@pytest.mark.claim("dpop:a-token-needs-its-key")
async def test_an_exchanged_token_is_bound_and_asked_for_by_who_holds_the_key(house: House, holder: Holder) -> None:
    made = Dance(house, await client(house, name="deskless", grants=[CODE, EXCHANGE]))
    await made.sign_in()
    token = (await tokens(made, holder))["access_token"]
    form = {"subject_token": token, "subject_token_type": ACCESS_TOKEN}
    stolen = await bound(made, Holder(house.world), EXCHANGE, form)
    assert error_of(stolen) == "invalid_grant"


async def test_an_unbound_token_is_no_dpop_token_and_two_proofs_are_none(dance: Dance, holder: Holder) -> None:
    token = (await dance.tokens())["access_token"]
    answer = await used(dance.house, token, holder.proof("POST", MCP, token))
    assert answer.status_code == 401
    bound_one = (await tokens(dance, holder))["access_token"]
    pair = [("authorization", f"DPoP {bound_one}"), ("content-type", "application/json")]
    pair += [("dpop", holder.proof("POST", MCP, bound_one)) for _ in range(2)]
    twice = await dance.house.http.request("POST", "/mcp", content=json.dumps(CALL), headers=pair)
    assert twice.status_code == 400


async def test_the_decision_api_takes_a_bound_token_with_its_proof(dance: Dance, holder: Holder) -> None:
    token = (await tokens(dance, holder))["access_token"]
    session = jwt.decode(token, options={"verify_signature": False})["txn"]
    path = f"/v1/sessions/{session}/decide"
    body = {"call_id": "c-1", "tool": "office/read_mail", "arguments": {"id": "m1"}}
    for proof, status in ((holder.proof("POST", MCP, token), 401), (holder.proof("POST", ISSUER + path, token), 401)):
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        answer = await dance.house.ask("POST", path, None, body, headers=headers)
        assert answer.status_code == status, answer.text
