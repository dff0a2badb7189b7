"""Both HTTP doors against what is not a request: a clear problem, nothing changed, nothing forwarded."""

import asyncio
import json

import anyio
import pytest

from remit.core.credentials import Key
from remit.doors import own_origin
from remit.guards.documents import check_answer
from remit.services import keys
from tests.web.house import House, raw_http, read_answer

pytestmark = pytest.mark.anyio
ISSUER = "http://localhost:8765"

MALFORMED = {
    "nothing": b"",
    "cut short": b'{"reason":',
    "text behind": b'{"reason":"a"} x',
    "duplicate keys": b'{"reason":"a","reason":"b"}',
    "duplicate keys in other spelling": b'{"reason":"a","r\\u0065ason":"b"}',
    "NaN": b'{"reason":NaN}',
    "Infinity": b'{"reason":-Infinity}',
    "a lone surrogate": b'{"reason":"\\udc00"}',
    "surrogates as bytes": b'{"reason":"\xed\xa0\x80"}',
    "Latin-1": b'{"reason":"\xe9"}',
    "UTF-16": '{"reason":"a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"reason":"a"}',
    "10,000 deep": b'{"reason":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "65 deep": b'{"reason":' + b"[" * 65 + b"]" * 65 + b"}",
    "a number beyond 64 bits": b'{"reason":9223372036854775808}',
    "a number beyond a double": b'{"reason":1e999}',
    "a control character": b'{"reason":"\x07"}',
}
WRONG_SHAPE: dict[str, object] = {
    "a list": [],
    "a string": "reason",
    "null": None,
    "an unknown member": {"reason": "a", "force": True},
    "another type": {"reason": ["a"]},
    "a member missing": {},
}


async def untouched(house: House, before: tuple[int, int]) -> None:
    assert await house.state() == before
    assert house.upstream.effects == []
    shown = (await house.ask("GET", f"/v1/sessions/{house.session}", "auditor")).json()
    assert shown["state"] == "active"


@pytest.mark.claim("input:strict-json")
async def test_a_body_that_is_no_strict_json_is_a_problem_and_changes_nothing(house: House) -> None:
    before = await house.state()
    for name, body in MALFORMED.items():
        answer = await house.ask("POST", f"/v1/sessions/{house.session}/kill", "administrator", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), name
        check_answer("Problem", answer.json())
        mcp = await house.ask("POST", "/mcp", "token", content=body)
        assert (mcp.status_code, mcp.json()["error"]["code"]) == (400, -32700), name
    await untouched(house, before)


async def test_a_body_of_another_shape_is_a_problem_and_changes_nothing(house: House) -> None:
    before = await house.state()
    for name, body in WRONG_SHAPE.items():
        answer = await house.ask(
            "POST", f"/v1/sessions/{house.session}/kill", "administrator", content=json.dumps(body)
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_document"), name
    await untouched(house, before)
    good = await house.ask("POST", f"/v1/sessions/{house.session}/kill", "administrator", {"reason": "control"})
    assert good.status_code == 200


PATHS = (("/v1/sessions", "host"), ("/mcp", "token"))


async def test_another_content_type_is_415_at_both_doors(house: House) -> None:
    before = await house.state()
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", "", "json")
    for path, who in PATHS:
        for kind in kinds:
            answer = await house.ask("POST", path, who, content=b"{}", headers={"content-type": kind})
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media"), (path, kind)
            assert answer.headers["content-type"] == "application/problem+json"
    await untouched(house, before)
    charset = {"content-type": "Application/JSON; charset=utf-8"}
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    assert (await house.ask("POST", "/mcp", "token", content=ping, headers=charset)).status_code == 200


async def test_ten_megabytes_are_413_at_both_doors_with_and_without_a_length(house: House) -> None:
    before, body = await house.state(), b'{"x":"' + b"a" * 10_000_000 + b'"}'

    async def chunks() -> object:
        for at in range(0, len(body), 65_536):
            yield body[at : at + 65_536]

    for path, who in PATHS:
        for content in (body, chunks()):
            try:
                answer = await house.ask("POST", path, who, content=content)
            except OSError:  # the answer came, and the connection was closed, before all was sent
                continue
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    await untouched(house, before)


def head(path: str, credential: str, *lines: str) -> bytes:
    """The head of a request, with these lines."""
    fixed = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {credential}"]
    return "\r\n".join([*fixed, "Content-Type: application/json", *lines, "", ""]).encode()


async def test_a_length_over_the_bound_is_refused_before_a_byte_of_the_body_came(house: House) -> None:
    for path, who in PATHS:
        request = head(path, house.credentials[who], "Content-Length: 10000000", "Expect: 100-continue")
        with anyio.fail_after(10):
            status, _, body = await raw_http(house.url, request)
        assert (status, json.loads(body)["code"]) == (413, "too_large")


async def test_a_body_in_chunks_without_a_length_is_read_whole(house: House) -> None:
    request = head("/mcp", house.credentials["token"], "Transfer-Encoding: chunked")
    parts = (b'{"jsonrpc":"2.0",', b'"id":1,"method"', b':"ping"}')
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    status, _, answer = await raw_http(house.url, request + body)
    assert (status, json.loads(answer)) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    writer.write(head("/mcp", house.credentials["token"], f"Content-Length: {len(body)}", "Expect: 100-continue"))
    with anyio.fail_after(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await read_answer(reader))[0] == 200
    writer.close()


async def test_a_body_that_never_ends_holds_up_nobody_and_a_stranger_is_not_even_read(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head("/mcp", house.credentials["token"], "Content-Length: 1000") + b'{"jsonrpc":')
    await writer.drain()
    with anyio.fail_after(10):
        for _ in range(5):
            assert (await house.rpc("ping"))["result"] == {}
        status, _, _ = await raw_http(house.url, head("/mcp", "nobody", "Content-Length: 1000") + b'{"jsonrpc":')
    assert status == 401
    before = await house.state()
    writer.close()
    assert await reader.read() == b""
    await untouched(house, before)


async def test_a_credential_that_is_revoked_while_a_body_comes_in_is_good_for_nothing(house: House) -> None:
    """Whoever starts a request before the revocation and ends it afterwards would else have kept the key."""
    deps, world = house.world.deps, house.world
    calls = {
        "/v1/people": ("ada", b'{"kind":"Person","email":"eve@example.test","name":"Eve","roles":["administrator"]}'),
        "/mcp": ("token", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"office__read_mail"}}'),
    }
    host, _, port = house.url.removeprefix("http://").partition(":")
    waiting = []
    for path, (who, body) in calls.items():
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {house.credentials[who]}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:1])
        await writer.drain()
        waiting.append((reader, writer, body))
    # Answered after they were read: what came before them on the one event loop has been authenticated.
    assert (await house.ask("GET", "/healthz")).status_code == 200
    async with deps.store.view(deps.org) as view:
        mine = [key for key in await view.nouns.all(Key) if key.person == world.admin.person.id]
    for key in mine:
        await keys.revoke(deps, world.admin, key.id)
    world.later(6 * 60_000)
    for reader, writer, body in waiting:
        writer.write(body[1:])
        await writer.drain()
        status, _, _ = await read_answer(reader)
        writer.close()
        assert status == 401
    assert house.upstream.effects == []


async def test_an_unknown_method_is_405_with_those_that_there_are(house: House) -> None:
    before = await house.state()
    for method, path, allowed in (
        ("DELETE", "/v1/agents", {"GET", "HEAD", "POST"}),
        ("PUT", "/v1/sessions", {"POST"}),
        ("GET", "/v1/sessions", {"POST"}),
        ("POST", "/v1/audit/events", {"GET", "HEAD"}),
        ("PROPFIND", "/healthz", {"GET", "HEAD"}),
        ("TRACE", "/v1/agents", {"GET", "HEAD", "POST"}),
    ):
        answer = await house.ask(method, path, "administrator")
        assert answer.status_code == 405, (method, path)
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed
        assert answer.json()["status"] == 405
        check_answer("Problem", answer.json())
    for path in ("/", "/v1", "/v2/agents", "/v1/agents/", "/v1/agents/x/y", "/metrics", "/V1/agents"):
        answer = await house.ask("GET", path, "administrator")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    await untouched(house, before)


async def test_a_query_parameter_that_means_nothing_is_refused(house: House) -> None:
    """Dropped silently, a misspelt filter would widen the answer: ``?stat=pending`` would list all approvals."""
    for path in (
        "/v1/agents?x=1",
        "/v1/people?state=active",
        "/v1/approvals?stat=pending",
        "/v1/audit/events?kinds=62",
        "/v1/audit/events?kind=62&kind=63",
        "/v1/audit/events?limit=0",
        "/v1/audit/events?limit=00000000000000000000999999999999999999999",
        "/v1/audit/events?after=" + "9" * 5_000,
        "/v1/audit/events?after=-1",
        "/v1/audit/events?after=\u0663",
        "/v1/audit/events?kind=abc",
        "/v1/audit/export?private=yes",
        "/v1/audit/events/99999999999999999999999999",
        "/v1/audit/events/x",
        "/v1/agents?limit=201",
        "/v1/agents?after=nobody",
        "/v1/tools?state=fine",
        "/v1/approvals?state=open",
        "/readyz?verbose",
        "/healthz?x=1",
        f"/v1/sessions/{house.session}?all=1",
    ):
        answer = await house.ask("GET", path, "ada")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_document"), path
    body = {"reason": "x"}
    answer = await house.ask("POST", f"/v1/sessions/{house.session}/kill?dry_run=true", "administrator", body)
    assert answer.status_code == 422
    assert (await house.ask("GET", f"/v1/sessions/{house.session}", "ada")).json()["state"] == "active"


async def test_a_list_is_read_page_by_page_without_a_gap(house: House) -> None:
    for path in ("/v1/people", "/v1/keys", "/v1/tools", "/v1/grants", "/v1/audit/events"):
        whole = (await house.ask("GET", f"{path}?limit=200", "ada")).json()["items"]
        pages, after = [], ""
        while True:
            page = (await house.ask("GET", f"{path}?limit=2{after}", "ada")).json()
            pages += page["items"]
            if page["next"] is None or len(pages) > 500:
                break
            after = f"&after={page['next']}"
        assert pages == whole
        assert len(whole) >= 2


async def test_head_answers_as_get_without_a_body(house: House) -> None:
    for path in ("/healthz", "/v1/agents", "/v1/openapi.json"):
        got, asked = (await house.ask("GET", path, "ada")), (await house.ask("HEAD", path, "ada"))
        assert (asked.status_code, asked.content) == (200, b"")
        assert asked.headers["content-length"] == str(len(got.content))
    assert (await house.ask("HEAD", "/v1/agents")).status_code == 401


# ------------------------------------------------------------------------------------------------ web origins


async def test_a_page_of_another_site_is_refused_at_both_doors_also_after_dns_rebinding(house: House) -> None:
    before = await house.state()
    port = house.url.rpartition(":")[2]
    rebound = {"origin": f"http://evil.test:{port}", "host": f"evil.test:{port}"}
    strangers: tuple[dict[str, str], ...] = (
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "https://localhost:8765"},
        {"origin": "http://localhost:8765.evil.test"},
        {"origin": "http://localhost:8765@evil.test"},
        {"origin": "http://["},
        {"origin": ""},
        {"origin": "file://"},
        rebound,
    )
    for headers in strangers:
        web = await house.ask("POST", f"/v1/sessions/{house.session}/end", "host", {}, headers=headers)
        assert (web.status_code, web.json()["code"]) == (403, "forbidden"), headers
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        mcp = await house.ask("POST", "/mcp", "token", body, headers=headers)
        assert (mcp.status_code, mcp.json()["error"]["code"]) == (403, -32600), headers
    await untouched(house, before)
    ours: tuple[dict[str, str], ...] = ({"origin": ISSUER}, {"origin": house.url}, {})
    for headers in ours:
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert (await house.ask("POST", "/mcp", "token", body, headers=headers)).status_code == 200, headers


def test_an_origin_that_merely_equals_the_host_is_no_proof() -> None:
    """The negative control: the comparison that looks right admits a page whose name was bound to our address."""
    rebound = {"origin": "http://evil.test:8765", "host": "evil.test:8765"}
    assert rebound["origin"].partition("//")[2] == rebound["host"]
    assert not own_origin(rebound, ISSUER)
    for host in ("127.0.0.1:8765", "[::1]:8765", "localhost:9000", "192.168.1.5"):
        assert own_origin({"origin": f"http://{host}", "host": host}, ISSUER)
    assert not own_origin({"origin": "http://localhost:3000", "host": "localhost:9000"}, ISSUER)


async def test_a_header_that_decides_something_is_sent_once(house: House) -> None:
    credential = house.credentials["viewer"]
    for pair in (
        "Authorization: Bearer x\r\nAuthorization: Bearer " + credential,
        f"Authorization: Bearer {credential}\r\nOrigin: {ISSUER}\r\nOrigin: http://evil.test",
    ):
        request = f"GET /v1/agents HTTP/1.1\r\nHost: localhost\r\n{pair}\r\n\r\n".encode()
        status, _, body = await raw_http(house.url, request)
        assert (status, json.loads(body)["code"]) == (400, "malformed")


@pytest.mark.claim("identity:two-credentials")
async def test_an_agent_s_credential_starts_renews_names_and_answers_nothing(house: House) -> None:
    """Attack A2 over HTTP: what calls tools tries everything that is a host's or a person's."""
    await house.with_ask_policy()
    asked = await house.call("office__pay_invoice", {"recipient": "DE1", "amount": 5})
    approval = asked["_meta"]["remit/decision"]["approval"]["approval"]
    other, _ = await house.started()
    task = [{"text": "Pay everything", "source": "principal"}]
    start = {"agent": "bookkeeper", "principal": "ada@example.test", "task": task, "context": "attested"}
    tried: tuple[tuple[str, str, object, int], ...] = (
        ("POST", "/v1/sessions", start, 403),
        ("POST", "/v1/sessions", {**start, "parent": house.session}, 403),
        ("POST", f"/v1/sessions/{house.session}/token", {}, 403),
        ("POST", f"/v1/approvals/{approval}/answer", {"answer": "approve"}, 403),
        ("GET", f"/v1/approvals/{approval}", None, 403),
        ("GET", f"/v1/sessions/{other}", None, 403),
        ("POST", f"/v1/sessions/{other}/end", {}, 404),
        ("POST", f"/v1/sessions/{other}/decide", {"call_id": "c", "tool": "office/read_mail", "arguments": {}}, 404),
        ("POST", f"/v1/sessions/{other}/observe", {"call_id": "c", "outcome": "done"}, 404),
        ("POST", "/v1/keys", {"agent": "bookkeeper", "for": "host", "expires": "P1D"}, 403),
        ("GET", "/v1/audit/events", None, 403),
    )
    for who in ("token", "standing"):
        for method, path, body, status in tried:
            answer = await house.ask(method, path, who, body)
            assert answer.status_code == status, (who, method, path, answer.text)
    assert (await house.ask("GET", f"/v1/approvals/{approval}", "approver")).json()["state"] == "pending"
    assert (await house.ask("GET", f"/v1/sessions/{other}", "auditor")).json()["state"] == "active"
    assert (await house.ask("POST", "/v1/sessions", "host", start)).status_code == 201
