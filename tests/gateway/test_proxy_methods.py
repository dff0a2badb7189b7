"""The MCP door's closed table: what is served, what is refused, and in which form, over real HTTP."""

import json
from typing import Any

import pytest

from remit.guards.documents import check_answer
from tests.services.world import tool
from tests.web.house import House, params_of, raw_http, text_of

pytestmark = pytest.mark.anyio

# Every method of the handshake revisions that is not served, requests of either side; and what no revision has.
CLOSED = (
    "resources/subscribe",
    "resources/unsubscribe",
    "resources/templates",
    "prompts/call",
    "completion/complete/",
    "logging/setLevel",
    "sampling/createMessage",
    "elicitation/create",
    "roots/list",
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "tasks/cancel",
    "server/discover",
    "subscriptions/listen",
    "notifications/initialized",
    "tools/call/",
    "Tools/Call",
    "tools/call ",
    "tools/list\u0000",
    "",
    "remit/approve",
    "rpc.discover",
)


@pytest.mark.claim("gateway:closed-method-table")
@pytest.mark.parametrize("at", ["/mcp", "/mcp/office"])
async def test_a_method_outside_the_table_is_refused_and_reaches_nobody(house: House, at: str) -> None:
    before, reached = await house.state(), len(house.upstream.simulator.requests)
    params = {"name": "office__read_mail", "arguments": {}, "uri": "file:///etc/passwd", "cursor": ""}
    for method in CLOSED:
        answer = await house.rpc(method, params, at=at)
        assert answer["error"]["code"] == -32601, method
        assert "result" not in answer
    assert await house.state() == before
    assert len(house.upstream.simulator.requests) == reached


@pytest.mark.claim("gateway:closed-method-table")
async def test_a_notification_is_taken_and_nothing_is_done(house: House) -> None:
    before, reached = await house.state(), len(house.upstream.simulator.requests)
    for method in ("tools/call", "tools/list", "resources/read", "notifications/cancelled"):
        body = {"jsonrpc": "2.0", "method": method, "params": {"name": "office__read_mail", "arguments": {}}}
        answer = await house.ask("POST", "/mcp", "token", body)
        assert (answer.status_code, answer.content) == (202, b"")
    assert await house.state() == before
    assert len(house.upstream.simulator.requests) == reached


async def test_the_same_call_as_a_request_is_done(house: House) -> None:
    """The control of the tests above: with an id, a served method and a granted tool, the upstream is reached."""
    assert text_of(await house.call("office__read_mail")) == "ok"
    assert len(house.upstream.effects) == 1


CALL = {"name": "office__read_mail", "arguments": {}}
ENVELOPES: list[tuple[str, object, int]] = [
    ("a batch", [{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}], -32600),
    ("an empty batch", [], -32600),
    ("a response", {"jsonrpc": "2.0", "id": 1, "result": {}}, -32600),
    ("an error response", {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}}, -32600),
    ("another version", {"jsonrpc": "1.0", "id": 1, "method": "tools/call", "params": CALL}, -32600),
    ("no version", {"id": 1, "method": "tools/call", "params": CALL}, -32600),
    ("id null", {"jsonrpc": "2.0", "id": None, "method": "tools/call", "params": CALL}, -32600),
    ("id 1.5", {"jsonrpc": "2.0", "id": 1.5, "method": "tools/call", "params": CALL}, -32600),
    ("id true", {"jsonrpc": "2.0", "id": True, "method": "tools/call", "params": CALL}, -32600),
    ("id of an object", {"jsonrpc": "2.0", "id": {}, "method": "tools/call", "params": CALL}, -32600),
    ("id of a list", {"jsonrpc": "2.0", "id": [1], "method": "tools/call", "params": CALL}, -32600),
    ("id of 200 bytes", {"jsonrpc": "2.0", "id": "x" * 200, "method": "tools/call", "params": CALL}, -32600),
    ("id beyond 64 bits", {"jsonrpc": "2.0", "id": 10**30, "method": "tools/call", "params": CALL}, -32700),
    ("method of a number", {"jsonrpc": "2.0", "id": 1, "method": 5, "params": CALL}, -32600),
    ("params of a list", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ["office__read_mail"]}, -32600),
    ("params null", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": None}, -32600),
    (
        "arguments null",
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**CALL, "arguments": None}},
        -32600,
    ),
    (
        "arguments of a list",
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**CALL, "arguments": [1]}},
        -32600,
    ),
    ("a string", "tools/call", -32600),
    ("null", None, -32600),
]


@pytest.mark.claim("gateway:closed-method-table")
async def test_what_is_no_request_of_this_protocol_is_refused(house: House) -> None:
    before = await house.state()
    for name, body, code in ENVELOPES:
        answer = await house.ask("POST", "/mcp", "token", content=json.dumps(body))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), name
    assert await house.state() == before
    assert house.upstream.effects == []


async def test_the_id_comes_back_as_it_was_sent(house: House) -> None:
    for ident in (0, -1, 2**63 - 1, "", 'a\u20ac"\\', "1"):
        assert (await house.rpc("ping", ident=ident))["result"] == {}


async def test_a_call_that_names_no_tool_is_an_error_of_the_protocol(house: House) -> None:
    wrong: list[dict[str, Any]] = [{}, {"name": ""}, {"name": 5}, {"name": None}, {"arguments": {}}]
    for params in wrong:
        assert (await house.rpc("tools/call", params))["error"]["code"] == -32602
    assert house.upstream.effects == []


async def test_only_post_is_served(house: House) -> None:
    for method in ("GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"):
        answer = await house.ask(method, "/mcp", "token")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_path_below_a_server_is_no_door(house: House) -> None:
    """With ``/mcp/office/x`` as a door, a tool ``y`` there would be ``office/x/y``: another name for another tool."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_mail", "arguments": {}}}
    for path in ("/mcp/office/x", "/mcp/a/b", "/mcp//", "/mcp//office", "/mcp/office%2Fx"):
        answer = await house.ask("POST", path, "token", body)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
    assert house.upstream.effects == []


# ---------------------------------------------------------------------------------------------- answered here


async def test_initialize_answers_the_revision_that_was_asked_for_if_it_is_served(house: House) -> None:
    for asked in ("2025-06-18", "2025-11-25", "2024-11-05", "2026-07-28", "x", 5, None):
        result = (await house.rpc("initialize", {"protocolVersion": asked, "capabilities": {}}))["result"]
        assert result["protocolVersion"] == (asked if asked == "2025-06-18" else "2025-11-25")
        assert result["capabilities"] == {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
    assert house.upstream.foreign == []


async def test_another_protocol_revision_in_the_header_is_refused(house: House) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
    for wrong in ("2024-11-05", "1", "2025-11-25, 2025-11-25", ""):
        answer = await house.ask("POST", "/mcp", "token", body, headers={"mcp-protocol-version": wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32022)
        assert answer.json()["error"]["data"]["supported"] == ["2026-07-28", "2025-06-18", "2025-11-25"]
    assert house.upstream.effects == []
    for right in ({"mcp-protocol-version": "2025-11-25"}, {"mcp-protocol-version": "2025-06-18"}, {}):
        assert (await house.ask("POST", "/mcp", "token", body, headers=right)).status_code == 200


async def test_a_list_comes_in_pages_that_hold_each_tool_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.gateway.proxy.PAGE", 3)
    names = [f"t{number}" for number in range(6)]
    house.upstream.tools += [tool(name) for name in names]
    house.upstream.page = 3
    await house.govern(*names)
    listed: list[str] = []
    sizes: list[int] = []
    cursor = None
    while cursor is not None or not sizes:
        result = (await house.rpc("tools/list", {} if cursor is None else {"cursor": cursor}))["result"]
        listed += [one["name"] for one in result["tools"]]
        sizes.append(len(result["tools"]))
        cursor = result.get("nextCursor")
    assert sizes == [3, 3, 2]
    assert listed == sorted(f"office__{name}" for name in [*names, "read_mail", "pay_invoice"])


async def test_a_cursor_that_is_not_ours_is_refused_or_harmless(house: House) -> None:
    cursors: list[object] = ["!", "\u00e9", 5, True, {}, ["a"], "////", "gA=="]
    for cursor in cursors:
        answer = await house.rpc("tools/list", {"cursor": cursor})
        assert answer.get("error", {}).get("code") == -32602 or len(answer["result"]["tools"]) <= 2


async def test_the_door_of_one_server_shows_its_own_names_and_no_other_server(house: House) -> None:
    flat = {one["name"] for one in (await house.rpc("tools/list"))["result"]["tools"]}
    own = {one["name"] for one in (await house.rpc("tools/list", at="/mcp/office"))["result"]["tools"]}
    other = (await house.rpc("tools/list", at="/mcp/nobody"))["result"]["tools"]
    assert flat == {"office__pay_invoice", "office__read_mail"}
    assert own == {"pay_invoice", "read_mail"}
    assert other == []
    assert text_of(await house.call("read_mail", at="/mcp/office")) == "ok"
    assert json.loads(params_of(house.upstream.effects[0]))["name"] == "read_mail"


# ---------------------------------------------------------------------------------------------- deny and ask


def decision_of(result: dict[str, Any]) -> dict[str, Any]:
    """The decision inside a refused result, held against its schema."""
    assert set(result) == {"isError", "content", "_meta"}
    assert result["isError"] is True
    assert [block["type"] for block in result["content"]] == ["text"]
    found: dict[str, Any] = result["_meta"]["remit/decision"]
    check_answer("Decision", found)
    return found


HIDDEN = tool("secret_tool", {"type": "object"})


@pytest.mark.claim("tool:no-effect-ungranted")
async def test_hidden_ungranted_quarantined_and_absent_tools_answer_alike(house: House) -> None:
    house.upstream.tools += [HIDDEN, tool("unreviewed")]
    await house.servers.sync(house.world.admin, "office")
    await house.world.review("office/secret_tool")
    shapes = []
    names = ("office__secret_tool", "office__unreviewed", "office__nothing", "nowhere__x", "office/secret_tool", "x")
    for name in names:
        result = await house.call(name, {"a": 1})
        decision = decision_of(result)
        # Named as it was asked for: a resolved alias would tell that the tool is there.
        assert decision.pop("tool") == name
        assert text_of(result).startswith(f"Remit refused {name}: ")
        for varying in ("call_id", "event"):
            decision.pop(varying)
        shapes.append((text_of(result).split(":", 1)[1].split("[")[0], decision))
        assert "tool.unknown" in text_of(result)
    assert all(shape == shapes[0] for shape in shapes)
    assert house.upstream.effects == []
    listed = {one["name"] for one in (await house.rpc("tools/list"))["result"]["tools"]}
    assert listed == {"office__pay_invoice", "office__read_mail"}


@pytest.mark.claim("tool:no-effect-ungranted")
async def test_without_the_grant_check_the_same_call_has_its_effect(house: House) -> None:
    """The negative control: what the gateway would forward is acted on, so the refusal above is what stopped it."""
    house.upstream.tools += [HIDDEN]
    await house.govern("secret_tool")
    assert text_of(await house.call("office__secret_tool", {})) == "ok"
    assert len(house.upstream.effects) == 1


async def test_a_denial_has_the_form_that_interfaces_fix(house: House) -> None:
    result = await house.call("office__pay_invoice", {"recipient": "DE1", "amount": 300})
    decision = decision_of(result)
    [reason] = decision["reasons"]
    assert decision["decision"] == "deny"
    assert reason["code"] == "budget.exceeded"
    where = f"Access can be requested at {decision['request_access']['url']}."
    expected = f"Remit refused office/pay_invoice: {reason['text']}. {reason['hint']} {where} [{reason['code']}, event "
    assert text_of(result) == f"{expected}{decision['event']}]"
    leaf = (await house.world.leaves())[decision["event"]]
    assert (leaf["k"], leaf["codes"], leaf["call"]) == (60, ["budget.exceeded"], decision["call_id"])


async def test_an_ask_names_its_approval_and_the_same_call_passes_once_it_is_answered(house: House) -> None:
    await house.with_ask_policy()
    arguments = {"recipient": "DE1", "amount": 5}
    waiting = await house.call("office__pay_invoice", arguments)
    decision = decision_of(waiting)
    assert decision["decision"] == "ask"
    assert text_of(waiting).startswith("Remit has not yet allowed office/pay_invoice: ")
    approval = decision["approval"]["approval"]
    again = decision_of(await house.call("office__pay_invoice", arguments))
    assert again["approval"]["approval"] == approval
    assert house.upstream.effects == []
    path = f"/v1/approvals/{approval}/answer"
    assert (await house.ask("POST", path, "approver", {"answer": "approve"})).status_code == 200
    changed = decision_of(await house.call("office__pay_invoice", {**arguments, "recipient": "DE2"}))
    assert changed["decision"] == "ask"
    assert text_of(await house.call("office__pay_invoice", arguments)) == "ok"
    assert decision_of(await house.call("office__pay_invoice", arguments))["decision"] == "ask"
    assert len(house.upstream.effects) == 1


async def test_a_name_that_is_an_alias_of_one_tool_never_stands_for_another(house: House) -> None:
    """A long name has a hashed alias; a reference may be given in its place; neither reaches a third tool."""
    long = "x" * 80
    house.upstream.tools += [tool(long), tool("a__b"), tool("a/b"), tool("read_mail/x")]
    await house.govern(long, "a__b", "a/b")
    listed = {one["name"] for one in (await house.rpc("tools/list"))["result"]["tools"]}
    [alias] = [name for name in listed if name.startswith("office__xxx")]
    assert len(alias) == 64
    expected = {alias: long, f"office/{long}": long, "office__a__b": "a__b", "office/a/b": "a/b", "office/a__b": "a__b"}
    for name, wanted in expected.items():
        assert text_of(await house.call(name)) == "ok", name
        assert json.loads(params_of(house.upstream.effects[-1]))["name"] == wanted
    done = len(house.upstream.effects)
    for name in (f"office__{long}", "office/office__a__b", "a__b", "office__read_mail/x", "OFFICE__a__b"):
        assert (await house.call(name))["isError"] is True, name
    assert len(house.upstream.effects) == done


# ------------------------------------------------------------------------------------------------ credentials


@pytest.mark.claim("identity:two-credentials")
async def test_a_credential_that_does_not_call_tools_calls_none(house: House) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
    for who in ("host", "ada", "administrator"):
        answer = await house.ask("POST", "/mcp", who, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert answer.headers["content-type"] == "application/problem+json"
        check_answer("Problem", answer.json())
        leaf = (await house.world.leaves())[answer.json()["event"]]
        assert leaf["codes"] == ["credential.misused"]
    assert house.upstream.effects == []


async def test_no_credential_and_a_damaged_one_are_problems_with_a_challenge(house: House) -> None:
    token = house.credentials["token"]
    for wrong in (None, token[:-3] + "abc", token + "x", "remit_session_x", "a.b.c", "x"):
        answer = await house.ask("POST", "/mcp", wrong, {"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        wrong_one = 'error="invalid_token", ' if wrong else ""
        about = 'resource_metadata="http://localhost:8765/.well-known/oauth-protected-resource/mcp"'
        assert answer.headers["www-authenticate"] == f'Bearer realm="remit", {wrong_one}{about}'
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_call_in_a_dead_session_is_a_denial_with_an_event(house: House) -> None:
    await house.ask("POST", f"/v1/sessions/{house.session}/end", "host", {})
    decision = decision_of(await house.call("office__read_mail"))
    assert decision["reasons"][0]["code"] == "session.not_live"
    assert isinstance(decision["event"], int)
    for method in ("tools/list", "ping", "initialize"):
        body = {"jsonrpc": "2.0", "id": 1, "method": method}
        assert (await house.ask("POST", "/mcp", "token", body)).status_code == 401
    assert house.upstream.effects == []


async def test_a_session_key_lands_in_its_one_standing_session_which_is_untrusted(house: House) -> None:
    assert text_of(await house.call("office__read_mail", who="standing")) == "ok"
    first, second = [decision_of(await house.call("nope", who="standing"))["session"] for _ in range(2)]
    assert first == second != house.session
    shown = (await house.ask("GET", f"/v1/sessions/{first}", "auditor")).json()
    assert shown["labels"]["integrity"] == "untrusted"


async def test_two_authorization_headers_are_refused(house: House) -> None:
    """A proxy before us may have judged the other one."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    good = f"Authorization: Bearer {house.credentials['token']}\r\n".encode()
    head = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    for pair in (good + b"Authorization: Bearer x\r\n", b"Authorization: Bearer x\r\n" + good):
        status, _, answer = await raw_http(house.url, head + pair + b"\r\n" + body)
        assert (status, json.loads(answer)["code"]) == (400, "malformed")
    assert (await raw_http(house.url, head + good + b"\r\n" + body))[0] == 200


async def test_text_of_an_agent_never_becomes_a_header(house: House) -> None:
    evil = "x\r\nSet-Cookie: a=b\r\n\r\n<html>"
    bodies: list[dict[str, Any]] = [
        {"jsonrpc": "2.0", "id": evil, "method": evil},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": evil, "arguments": {evil: evil}}},
        {"jsonrpc": "2.0", "id": evil, "method": "ping", "params": {"_meta": {"remit/call_id": evil}}},
    ]
    for body in bodies:
        answer = await house.ask("POST", "/mcp", "token", body)
        assert set(answer.headers) <= {"content-type", "cache-control", "content-length", "date", "server"}
        assert answer.json()["jsonrpc"] == "2.0"
