"""Clients of every revision at one door: what each must say, what it is answered, and what must agree."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.events import Kind
from remit.gateway import revisions
from tests.services.world import tool
from tests.web.house import House, answered, params_of, refused, text_of

pytestmark = pytest.mark.anyio

META = {revisions.VERSION: "2026-07-28", revisions.CAPABILITIES: {}, revisions.CLIENT: {"name": "t", "version": "1"}}
CALL = {"name": "office__read_mail", "arguments": {"id": "m1"}}


async def stateless(
    house: House, method: str, params: dict[str, Any] | None = None, status: int = 200, **headers: Any
) -> dict[str, Any]:
    """One request of revision 2026-07-28, whole; a header named here is sent so, or with None not at all."""
    given: dict[str, Any] = {"_meta": META, **(params or {})}
    sent: dict[str, str | None] = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if method in revisions.NAMED and revisions.NAMED[method] in given:
        sent["mcp-name"] = str(given[revisions.NAMED[method]])
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": given}
    only = {name: value for name, value in sent.items() if value is not None}
    answer = await house.ask("POST", "/mcp", "token", body, headers=only)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_stateless_client_discovers_lists_and_calls_without_a_handshake(house: House) -> None:
    found = (await stateless(house, "server/discover"))["result"]
    assert found["supportedVersions"] == ["2026-07-28", "2025-06-18", "2025-11-25"]
    assert found["resultType"] == "complete"
    listed = (await stateless(house, "tools/list"))["result"]
    assert {one["name"] for one in listed["tools"]} == {"office__pay_invoice", "office__read_mail"}
    for page in (found, listed):
        assert (page["resultType"], page["ttlMs"], page["cacheScope"]) == ("complete", 0, "private")
    called = (await stateless(house, "tools/call", CALL))["result"]
    assert (text_of(called), called["resultType"]) == ("ok", "complete")
    refused = (await stateless(house, "tools/call", {**CALL, "name": "office__nothing"}))["result"]
    assert (refused["isError"], refused["resultType"]) == (True, "complete")
    assert len(house.upstream.effects) == 1


async def test_the_envelope_ends_at_this_door(house: House) -> None:
    """What a client says of itself is for us. The server behind is told who we are, in its own revision's way."""
    await stateless(house, "tools/call", {**CALL, "_meta": {**META, "progressToken": 5, "other": "x"}})
    assert json.loads(params_of(house.upstream.effects[0])) == {
        "name": "read_mail",
        "arguments": {"id": "m1"},
    }


@pytest.mark.claim("gateway:headers-agree")
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"mcp_method": "tools/list"}, -32020),
        ({"mcp_method": None}, -32020),
        ({"mcp_name": "office__pay_invoice"}, -32020),
        ({"mcp_name": None}, -32020),
        ({"mcp_name": "=?base64?b2ZmaWNlX19yZWFkX21haWw?="}, -32020),
        ({"mcp_protocol_version": "2025-11-25"}, -32020),
        ({"mcp_protocol_version": None}, -32020),
        ({"mcp_name": "=?base64?IG9mZmljZV9fcmVhZF9tYWls?="}, -32020),
        ({"mcp_name": "=?base64?b2ZmaWNlX19yZWFkX21haWw=?="}, None),
    ],
)
async def test_a_header_that_says_another_thing_than_the_body_stops_the_request(
    house: House, headers: dict[str, str | None], code: int | None
) -> None:
    """With the version header taken away, the request would else pass as one of an older revision: a downgrade."""
    before = await house.state()
    answer = await stateless(house, "tools/call", CALL, 400 if code else 200, **headers)
    assert answer.get("error", {}).get("code") == code
    assert len(house.upstream.effects) == (0 if code else 1)
    assert code is None or await house.state() == before


@pytest.mark.claim("gateway:headers-agree")
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b" \t office__read_mail \t", 200),
        (b"office__read_ mail", 400),
        (b"\xa0office__read_mail", 400),
        (b"\x0coffice__read_mail", 400),
    ],
)
async def test_white_space_around_a_header_is_no_part_of_what_it_says(house: House, said: bytes, status: int) -> None:
    """Spaces and tabs, and nothing else (RFC 9110 section 5.5). On a real connection: HTTP clients take them off."""
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"_meta": META, **CALL}}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {house.credentials['token']}\r\nContent-Type: application/json\r\n"
        "MCP-Protocol-Version:2026-07-28\t\r\nMcp-Method:   tools/call   \r\nMcp-Name:"
    ).encode()
    url = httpx.URL(house.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head + said + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    assert int(answer.split(b" ", 2)[1]) == status, answer
    assert len(house.upstream.effects) == (status == 200)


@pytest.mark.claim("gateway:headers-agree")
async def test_a_version_header_without_the_envelope_is_no_request_of_that_revision(house: House) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
    answer = await house.ask("POST", "/mcp", "token", body, headers={"mcp-protocol-version": "2026-07-28"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    for meta, code in (
        ({**META, revisions.CAPABILITIES: []}, -32602),
        ({**META, revisions.VERSION: "2027-01-01"}, -32020),
        ({**META, revisions.VERSION: 5}, -32020),
    ):
        answer_ = await stateless(house, "tools/call", {**CALL, "_meta": meta}, 400)
        assert answer_["error"]["code"] == code
    future = {**META, revisions.VERSION: "2027-01-01"}
    answer_ = await stateless(house, "tools/list", {"_meta": future}, 400, mcp_protocol_version="2027-01-01")
    assert answer_["error"]["code"] == -32022
    assert answer_["error"]["data"] == {
        "supported": ["2026-07-28", "2025-06-18", "2025-11-25"],
        "requested": "2027-01-01",
    }
    assert house.upstream.effects == []


@pytest.mark.claim("gateway:closed-method-table")
@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "x"])
async def test_a_method_that_the_revision_does_not_have_is_not_found(house: House, method: str) -> None:
    assert (await stateless(house, method, status=404))["error"]["code"] == -32601
    answer = await house.rpc("server/discover" if method == "initialize" else method) if method != "ping" else None
    assert answer is None or answer["error"]["code"] == -32601


@pytest.mark.claim("gateway:headers-agree")
async def test_an_argument_that_a_header_repeats_must_be_what_the_header_says(house: House) -> None:
    marked = {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
    }
    house.upstream.tools.append(tool("route", {"type": "object", "properties": marked}))
    await house.govern("route")
    arguments = {"region": "eu \u20ac", "count": 3, "deep": {"dry": True}}
    good: dict[str, Any] = {
        "mcp_param_region": revisions.encoded("eu \u20ac"),
        "mcp_param_count": "3",
        "mcp_param_dry": "true",
    }
    call = {"name": "office__route", "arguments": arguments}
    wrongs: tuple[dict[str, Any], ...] = (
        {},
        {**good, "mcp_param_region": "us"},
        {**good, "mcp_param_region": "=?base64?!?="},
        {**good, "mcp_param_count": "4"},
        {**good, "mcp_param_count": None},
        {**good, "mcp_param_dry": "True"},
    )
    for wrong in wrongs:
        assert (await stateless(house, "tools/call", call, 400, **wrong))["error"]["code"] == -32020, wrong
    extra = {"name": "office__route", "arguments": {"count": 3}}
    assert (await stateless(house, "tools/call", extra, 400, **good))["error"]["code"] == -32020
    assert house.upstream.effects == []
    for right in (good, {**good, "mcp_param_count": "3.0"}):
        assert text_of((await stateless(house, "tools/call", call, **right))["result"]) == "ok"


async def test_a_result_that_asks_for_more_is_not_passed_on_and_stays_spent(house: House) -> None:
    house.upstream.says(b'{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}')
    for answer in (await stateless(house, "tools/call", CALL), {"result": await house.call("office__read_mail")}):
        assert answer["result"]["isError"] is True
        assert "asked for more input" in text_of(answer["result"])
        assert "inputRequests" not in answer["result"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{}", b'{"resultType":"complete"}'),
        (b' { "a" : 1.50 }', b' {"resultType":"complete", "a" : 1.50 }'),
        (b'{"resultType":"complete","x":[]}', b'{"resultType":"complete","x":[]}'),
        (b'{"a":{"resultType":"x"}}', b'{"resultType":"complete","a":{"resultType":"x"}}'),
    ],
)
def test_a_result_says_that_it_is_complete_and_keeps_every_other_byte(raw: bytes, said: bytes) -> None:
    assert revisions.with_result_type(raw) == said


@given(st.text())
def test_a_header_value_reads_back_as_it_was_and_is_plain_ascii(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    header = revisions.encoded(text)
    assert header.isascii()
    assert header.isprintable() or header == ""
    assert header == header.strip()
    assert revisions.decoded(header) == text


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "A b"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 5}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}},
        {"properties": {"a": {"items": {"type": "string", "x-mcp-header": "A"}}}},
        {"anyOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]},
        {"x-mcp-header": "A", "type": "string"},
        {},
        True,
    ],
)
def test_a_mark_that_is_not_as_it_must_be_marks_nothing(schema: Any) -> None:
    assert revisions.mirrors(schema) == ()


def test_a_word_in_a_default_is_no_mark() -> None:
    plain: Any = {"properties": {"a": {"type": "string", "x-mcp-header": "A", "default": {"x-mcp-header": "B"}}}}
    assert [one.header for one in revisions.mirrors(plain)] == ["mcp-param-a"]


def test_params_carry_the_envelope_and_keep_every_other_byte() -> None:
    raw = (
        b'{"name": "t" ,"arguments":{"n":1.50e1},"_meta":{"progressToken":1, "io.modelcontextprotocol/clientInfo":{}}}'
    )
    params, headers = revisions.enveloped("tools/call", raw, "9")
    assert headers == {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "t"}
    assert b'"arguments":{"n":1.50e1}' in params
    assert json.loads(params)["_meta"] == {
        revisions.VERSION: "2026-07-28",
        revisions.CAPABILITIES: {},
        revisions.CLIENT: {"name": "remit", "version": "9"},
        "progressToken": 1,
    }


# ------------------------------------------------------------------------------------ each client, each server

EVERY = (*revisions.HANDSHAKE, *revisions.STATELESS)


async def asked(house: House, client: str, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request as a client of this revision makes it; its result."""
    if client in revisions.STATELESS:
        found: dict[str, Any] = (await stateless(house, method, params))["result"]
        return found
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}
    answer = await house.ask("POST", "/mcp", "token", body, headers={"mcp-protocol-version": client})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    return result


@pytest.mark.parametrize("server", EVERY)
@pytest.mark.parametrize("client", EVERY)
async def test_a_client_of_one_revision_works_with_a_server_of_another(house: House, client: str, server: str) -> None:
    house.upstream.revision = server
    await house.resynced()
    before = len(house.upstream.simulator.requests)
    names = {one["name"] for one in (await asked(house, client, "tools/list"))["tools"]}
    assert "office__read_mail" in names
    raw = b'{"content":[{"type":"text","text":"ok"}],"structuredContent":{"n":1.50},"x-new":[]}'
    house.upstream.says(raw)
    got = await asked(house, client, "tools/call", CALL)
    assert got == {**json.loads(raw), **({"resultType": "complete"} if client in revisions.STATELESS else {})}
    denied = await asked(house, client, "tools/call", {"name": "office__none", "arguments": {}})
    assert denied["_meta"]["remit/decision"]["reasons"][0]["code"] == "tool.unknown"
    sent = house.upstream.simulator.requests[before:]
    [call] = [one for one in sent if one.message.get("method") == "tools/call"]
    params = json.loads(params_of(call))
    assert call.headers["mcp-protocol-version"] == server
    if server in revisions.STATELESS:
        assert (call.headers["mcp-method"], call.headers["mcp-name"]) == ("tools/call", "read_mail")
        assert params["_meta"][revisions.VERSION] == server
        assert params["_meta"][revisions.CAPABILITIES] == {}
        assert "mcp-session-id" not in call.headers
    else:
        assert "_meta" not in params
        assert call.headers["mcp-session-id"] == "s-1"
        assert "mcp-method" not in call.headers


HANDLES = {
    "2025-06-18": b'{"task":{"taskId":"zq-1","status":"working","ttl":1000}}',
    "2025-11-25": b'{"task":{"taskId":"zq-1","status":"working","ttl":1000}}',
    "2026-07-28": b'{"resultType":"task","taskId":"zq-1","status":"working"}',
}


@pytest.mark.parametrize("server", EVERY)
@pytest.mark.parametrize("client", EVERY)
async def test_tasks_are_not_followed_in_any_pair_and_a_call_that_became_one_is_unknown(
    house: House, client: str, server: str
) -> None:
    house.upstream.revision = server
    await house.resynced()
    hello = await asked(house, client, "initialize" if client in revisions.HANDSHAKE else "server/discover")
    assert "tasks" not in json.dumps(hello)
    wanting = {**CALL, "task": {"ttl": 60_000}}
    assert text_of(await asked(house, client, "tools/call", wanting)) == "ok"
    sent = json.loads(params_of(house.upstream.effects[-1]))
    assert "task" not in sent
    assert "tasks" not in json.dumps(sent)
    for handle in HANDLES.values():
        house.upstream.says(handle)
        size, _ = await house.state()
        answer = await asked(house, client, "tools/call", wanting)
        assert answer["isError"] is True
        assert "made a task" in text_of(answer)
        assert "zq-1" not in json.dumps(answer)
        assert (await house.kinds_since(size))[-1] == Kind.UNKNOWN


@pytest.mark.claim("tool:pinned")
async def test_a_server_that_is_made_to_look_like_an_older_one_is_quarantined(house: House) -> None:
    """Downgrade: whoever stands between takes the newer revision away. Seen as it was agreed to, it serves."""
    house.upstream.revision = "2026-07-28"
    await house.resynced()
    assert text_of(await house.call("office__read_mail")) == "ok"
    house.upstream.revision = "2025-11-25"
    _, token = await house.started()
    refused = await house.call("office__read_mail", who=token)
    assert refused["_meta"]["remit/decision"]["reasons"][0]["code"] == "server.quarantined"
    assert len(house.upstream.effects) == 1


async def test_arguments_are_repeated_towards_a_stateless_server_that_wants_them_so(house: House) -> None:
    house.upstream.revision = "2026-07-28"
    marked = {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer", "x-mcp-header": "N"}}
    house.upstream.tools.append(tool("route", {"type": "object", "properties": marked}))
    await house.resynced()
    await house.govern("route")
    assert text_of(await house.call("office__route", {"region": "\u20ac", "n": -3})) == "ok"
    headers = house.upstream.effects[0].headers
    assert (revisions.decoded(headers["mcp-param-region"]), headers["mcp-param-n"]) == ("\u20ac", "-3")


@pytest.mark.parametrize("says", [b'{"supportedVersions":["2027-01-01"]}', b'{"supportedVersions":5}', b"{}"])
async def test_a_server_of_no_revision_that_we_speak_is_not_called(house: House, says: bytes) -> None:
    house.upstream.simulator.hello = lambda request: refused(request, b'{"code":-32601,"message":"no"}', 404)
    house.upstream.simulator.answer = lambda request: answered(request, says)
    _, token = await house.started()
    assert "was not called" in text_of(await house.call("office__read_mail", who=token))
    assert house.upstream.effects == []


# ------------------------------------------------------------------------------------------------ asking a person

URLS = {**META, revisions.CAPABILITIES: {"elicitation": {"url": {}}}}
PAY_CALL = {"name": "office__pay_invoice", "arguments": {"recipient": "DE89370400440532013000", "amount": 80}}


@pytest.mark.claim("approval:never-by-an-agent")
async def test_a_client_is_told_where_a_person_answers_and_its_own_word_counts_for_nothing(house: House) -> None:
    await house.with_ask_policy()
    first = (await stateless(house, "tools/call", {**PAY_CALL, "_meta": URLS}))["result"]
    assert first["resultType"] == "input_required"
    [(name, wanted)] = first["inputRequests"].items()
    assert (name, wanted["method"], wanted["params"]["mode"]) == ("remit-approval", "elicitation/create", "url")
    approval = first["_meta"]["remit/decision"]["approval"]["approval"]
    page = await house.ask("GET", wanted["params"]["url"].partition("8765")[2])
    assert page.status_code == 200
    assert approval in page.text
    assert "DE89" not in page.text
    said = {"inputResponses": {name: {"action": "accept"}}, "requestState": first["requestState"], "_meta": URLS}
    early = (await stateless(house, "tools/call", {**PAY_CALL, **said}))["result"]
    assert (early["isError"], early["_meta"]["remit/decision"]["decision"]) == (True, "ask")
    assert house.upstream.effects == []
    await house.ask("POST", f"/v1/approvals/{approval}/answer", "approver", {"answer": "approve"})
    assert text_of((await stateless(house, "tools/call", {**PAY_CALL, **said}))["result"]) == "ok"
    assert "inputResponses" not in json.loads(params_of(house.upstream.effects[0]))


@pytest.mark.claim("approval:bound-to-the-call")
async def test_a_state_is_for_the_call_and_the_session_that_it_was_given_to(house: House) -> None:
    await house.with_ask_policy()
    first = (await stateless(house, "tools/call", {**PAY_CALL, "_meta": URLS}))["result"]
    state = first["requestState"]
    other: dict[str, Any] = {**PAY_CALL, "arguments": {**PAY_CALL["arguments"], "amount": 81}}  # type: ignore[dict-item]
    for call, sent in (
        (other, state),
        (PAY_CALL, state[:-8] + "AAAAAAA="),
        (PAY_CALL, 5),
        (PAY_CALL, "\u20ac"),
        (CALL, state),
    ):
        answer = await stateless(house, "tools/call", {**call, "requestState": sent, "_meta": URLS}, 400)
        assert answer["error"]["code"] == -32602
    assert house.upstream.effects == []


async def test_a_client_that_knows_no_addresses_is_answered_with_a_tool_error(house: House) -> None:
    await house.with_ask_policy()
    knows: list[Any] = [{}, {"elicitation": {}}, {"elicitation": {"form": {}}}, {"elicitation": True}]
    for capabilities in knows:
        meta = {**META, revisions.CAPABILITIES: capabilities}
        answer = (await stateless(house, "tools/call", {**PAY_CALL, "_meta": meta}))["result"]
        assert (answer["isError"], answer["_meta"]["remit/decision"]["decision"]) == (True, "ask")
