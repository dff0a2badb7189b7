"""The authorization server over HTTP, as a client and a browser use it."""

import jwt
import pytest
from jwt import PyJWK

from tests.services.world import ISSUER
from tests.web.dance import ACCESS_TOKEN, BACK, CODE, EXCHANGE, MCP, REFRESH, Dance, client, error_of
from tests.web.house import PERSON, House


@pytest.fixture
async def dance(house: House) -> Dance:
    """A confidential client, and Ada signed in."""
    made = Dance(house, await client(house))
    await made.sign_in()
    return made


async def test_a_consent_becomes_a_token_that_calls_the_tools_that_the_person_left(dance: Dance) -> None:
    house = dance.house
    given = await dance.tokens(drop=("office/pay_invoice",))
    assert given["token_type"] == "Bearer"
    assert given["expires_in"] == 300
    assert given["scope"] == "tool:office/read_mail"
    listed = (await house.rpc("tools/list", who=given["access_token"]))["result"]["tools"]
    assert [one["name"] for one in listed] == ["office__read_mail"]
    await house.call("office__read_mail", {"id": "m1"}, who=given["access_token"])
    refused = await house.call("office__pay_invoice", {"recipient": "x", "amount": 1}, who=given["access_token"])
    assert refused["_meta"]["remit/decision"]["reasons"][0]["code"] == "plan.tool"
    assert len(house.upstream.effects) == 1


async def test_a_token_is_an_at_jwt_that_an_independent_library_verifies(dance: Dance) -> None:
    given = await dance.tokens()
    keys = (await dance.get("/oauth/jwks")).json()["keys"]
    header = jwt.get_unverified_header(given["access_token"])
    [key] = [one for one in keys if one["kid"] == header["kid"]]
    assert "d" not in key
    assert header["typ"] == "at+jwt"
    claims = jwt.decode(
        given["access_token"],
        PyJWK(key),
        algorithms=["ES256"],
        audience=MCP,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["iss"] == ISSUER
    assert claims["sub"].startswith("per_")
    assert claims["act"]["sub"].startswith("agt_")
    assert claims["txn"].startswith("ses_")
    assert claims["client_id"] == dance.id
    assert claims["exp"] - claims["iat"] == 300


async def test_the_metadata_names_endpoints_that_are_there(dance: Dance) -> None:
    said = (await dance.get("/.well-known/oauth-authorization-server")).json()
    assert said == (await dance.get("/.well-known/openid-configuration")).json()
    assert said["issuer"] == ISSUER
    for name, url in said.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            path = url.removeprefix(ISSUER)
            verb = "GET" if name in ("jwks_uri", "authorization_endpoint") else "POST"
            assert (await dance.house.http.request(verb, path)).status_code not in (404, 405), name
    refused = await dance.house.ask("POST", "/mcp/office", None, {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    challenge = refused.headers["www-authenticate"]
    where = challenge.partition('resource_metadata="')[2].rstrip('"')
    resource = (await dance.get(where.removeprefix(ISSUER))).json()
    assert resource["resource"] == f"{ISSUER}/mcp/office"
    assert resource["authorization_servers"] == [ISSUER]


async def test_a_refresh_token_gives_a_fresh_token_of_the_same_session_once(dance: Dance) -> None:
    given = await dance.tokens()
    again = (await dance.token(REFRESH, refresh_token=given["refresh_token"])).json()
    assert again["refresh_token"] != given["refresh_token"]
    one, two = (jwt.decode(each["access_token"], options={"verify_signature": False}) for each in (given, again))
    assert one["txn"] == two["txn"]
    await dance.house.call("office__read_mail", {"id": "m1"}, who=again["access_token"])
    assert len(dance.house.upstream.effects) == 1


async def test_a_pushed_request_is_answered_once_and_only_for_who_pushed_it(dance: Dance) -> None:
    secret = {"client_secret": str(dance.client["secret"])}
    pushed = await dance.post("/oauth/par", {**dance.query(), **secret})
    assert pushed.status_code == 201, pushed.text
    by_reference = {"client_id": dance.id, "request_uri": pushed.json()["request_uri"]}
    page = await dance.get("/oauth/authorize", by_reference)
    sent = await dance.answer(page.text)
    assert "code=" in sent.headers["location"]
    assert (await dance.answer(page.text)).status_code == 400
    other = await client(dance.house, name="other")
    stolen = await dance.get("/oauth/authorize", {**by_reference, "client_id": other["client_id"]})
    assert stolen.status_code == 400


async def test_a_sub_agent_s_token_names_the_chain_and_works_in_the_same_root_session(dance: Dance) -> None:
    house = dance.house
    helper = await sub_agent(house)
    given = await dance.tokens()
    answer = await helper.token(EXCHANGE, subject_token=given["access_token"], subject_token_type=ACCESS_TOKEN)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["issued_token_type"] == ACCESS_TOKEN
    assert "refresh_token" not in made
    above = jwt.decode(given["access_token"], options={"verify_signature": False})
    below = jwt.decode(made["access_token"], options={"verify_signature": False})
    assert below["sub"] == above["sub"]
    assert below["act"]["act"] == above["act"]
    assert below["exp"] <= above["exp"]
    await house.call("office__read_mail", {"id": "m1"}, who=made["access_token"])
    [intent] = [leaf for leaf in await house.world.leaves() if leaf["k"] == 62]
    assert intent["chain"] == [above["sub"], above["act"]["sub"], below["act"]["sub"]]
    async with house.world.deps.store.view("main") as view:
        session = await view.sessions.get(below["txn"])
        assert session is not None
        assert session.root == above["txn"]
    refused = await house.call("office__pay_invoice", {"recipient": "x", "amount": 1}, who=made["access_token"])
    assert refused["_meta"]["remit/decision"]["reasons"][0]["code"] == "tool.unknown"


async def test_client_credentials_are_of_one_standing_session_that_never_becomes_clean(house: House) -> None:
    service = Dance(house, await autonomous(house))
    one, two = [(await service.token("client_credentials")).json() for _ in range(2)]
    sessions = {jwt.decode(each["access_token"], options={"verify_signature": False})["txn"] for each in (one, two)}
    assert len(sessions) == 1
    async with house.world.deps.store.view("main") as view:
        flow = await view.sessions.flow(sessions.pop())
        assert flow is not None
        assert flow.labels.integrity == "untrusted"
    assert "refresh_token" not in one


async def test_introspection_tells_a_living_token_and_revocation_ends_it(dance: Dance) -> None:
    given = await dance.tokens()
    secret = {"client_id": dance.id, "client_secret": str(dance.client["secret"])}
    told = (await dance.post("/oauth/introspect", {**secret, "token": given["access_token"]})).json()
    assert told["active"] is True
    assert told["client_id"] == dance.id
    assert told["act"]["sub"].startswith("agt_")
    refresh = (await dance.post("/oauth/introspect", {**secret, "token": given["refresh_token"]})).json()
    assert refresh["active"] is True
    assert (await dance.post("/oauth/introspect", {**secret, "token": "x.y.z"})).json() == {"active": False}
    assert (await dance.post("/oauth/revoke", {**secret, "token": given["refresh_token"]})).status_code == 200
    for token in (given["access_token"], given["refresh_token"]):
        assert (await dance.post("/oauth/introspect", {**secret, "token": token})).json() == {"active": False}
    assert error_of(await dance.token(REFRESH, refresh_token=given["refresh_token"])) == "invalid_grant"
    result = await dance.house.call("office__read_mail", {"id": "m1"}, who=given["access_token"])
    assert result["isError"] is True
    assert (await dance.post("/oauth/revoke", {**secret, "token": "unknown"})).status_code == 200


async def test_the_consent_page_says_who_asks_for_whom_and_what_each_tool_does(dance: Dance) -> None:
    words = '[{"type":"remit_task","task":"Pay the <b>rent</b>"}]'
    page = await dance.get("/oauth/authorize", dance.query(authorization_details=words))
    for text in (
        "bookkeeper",
        "Pays approved supplier invoices",
        PERSON,
        "127.0.0.1:7777",
        "office/pay_invoice",
        "spends",
    ):
        assert text in page.text, text
    assert "any program here could be asking" in page.text
    assert "Pay the &lt;b&gt;rent&lt;/b&gt;" in page.text
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    no = await dance.answer(page.text, say="no")
    assert no.headers["location"].startswith(BACK)
    assert error_of(no) == "access_denied"


async def test_a_request_without_scope_or_resource_works_as_older_clients_send_it(dance: Dance) -> None:
    given = await dance.tokens(resource="", scope="")
    await dance.house.call("office__read_mail", {"id": "m1"}, who=given["access_token"])
    assert len(dance.house.upstream.effects) == 1


async def test_a_retired_client_takes_its_sessions_with_it(dance: Dance) -> None:
    given = await dance.tokens()
    gone = await dance.house.ask("PATCH", f"/v1/clients/{dance.client['id']}", "administrator", {"state": "retired"})
    assert gone.json()["state"] == "retired"
    result = await dance.house.call("office__read_mail", {"id": "m1"}, who=given["access_token"])
    assert result["isError"] is True
    assert error_of(await dance.token(REFRESH, refresh_token=given["refresh_token"])) == "invalid_client"


async def test_a_renewed_secret_works_beside_the_old_one_for_an_hour(dance: Dance) -> None:
    renewed = await dance.house.ask("POST", f"/v1/clients/{dance.client['id']}/secret", "administrator", {})
    assert renewed.status_code == 200, renewed.text
    codes = [await dance.code(), await dance.code()]
    old, new = str(dance.client["secret"]), str(renewed.json()["secret"])
    verifier = dance.verifier
    assert (await dance.token(CODE, code="x", client_secret=old)).json()["error"] == "invalid_grant"
    dance.client["secret"] = new
    assert (await dance.redeem(codes[1], code_verifier=verifier)).status_code == 200
    dance.house.world.later(3_600_001)
    dance.client["secret"] = old
    assert error_of(await dance.token(CODE, code="x")) == "invalid_client"


async def sub_agent(house: House) -> Dance:
    """A second agent of the same owner that may read mail, with a client that exchanges tokens."""
    world = house.world
    await world.agent(name="helper")
    await world.grant("office/read_mail", agent="helper")
    await house.ask("PATCH", "/v1/agents/helper", "administrator", {"state": "active"})
    made = await client(house, name="helper-client", agent="helper", grants=[EXCHANGE], redirects=[])
    return Dance(house, made)


async def autonomous(house: House) -> dict[str, object]:
    """A client of an agent that acts for nobody."""
    await house.world.agent(name="sweeper", mode="autonomous")
    await house.world.grant("office/read_mail", agent="sweeper")
    await house.ask("PATCH", "/v1/agents/sweeper", "administrator", {"state": "active"})
    return await client(house, name="sweeper-client", agent="sweeper", grants=["client_credentials"], redirects=[])
