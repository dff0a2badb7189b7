"""The client against servers that misbehave: it never reads a yes that was not said."""

import json
from collections.abc import Callable
from decimal import Decimal

import httpx
import pytest

from remit.core.errors import (
    AlreadyAnswered,
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    RemitError,
    Unauthenticated,
    Unavailable,
)
from remit.sdk import RemitClient

pytestmark = pytest.mark.anyio

Answering = Callable[[httpx.Request], httpx.Response]


def _client(answer: Answering, credential: str = "remit_key") -> RemitClient:
    return RemitClient("http://remit.test", credential, transport=httpx.MockTransport(answer))


def _problem(code: str, status: int) -> httpx.Response:
    body = {"type": f"x/{code}", "title": "T", "status": status, "code": code, "detail": "d", "hint": "h", "event": 9}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("already_answered", 409, AlreadyAnswered),
        ("a_code_of_tomorrow", 409, Conflict),
        ("a_code_of_tomorrow", 403, Forbidden),
        ("a_code_of_tomorrow", 418, Unavailable),
        ("unauthenticated", 401, Unauthenticated),
    ],
)
async def test_a_problem_becomes_the_error_of_its_code(code: str, status: int, kind: type[RemitError]) -> None:
    async with _client(lambda _: _problem(code, status)) as client:
        with pytest.raises(kind) as caught:
            await client.answer("apr_1", "approve")
    assert (caught.value.detail, caught.value.hint, caught.value.event) == ("d", "h", 9)


@pytest.mark.claim("sdk:fails-closed")
@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>allow</html>"),
        httpx.Response(200, json=["allow"]),
        httpx.Response(200, json={"decision": "Allow"}),
        httpx.Response(200, json={"decision": True}),
        httpx.Response(200, json={}),
        httpx.Response(200, content=b'{"decision":"deny","decision":"allow"}'),
        httpx.Response(302, headers={"location": "http://elsewhere.test/"}, json={"decision": "allow"}),
        httpx.Response(502, text="Bad gateway"),
        httpx.Response(500, json={"decision": "allow"}),
        httpx.Response(204),
    ],
)
async def test_an_answer_that_is_no_decision_is_never_a_yes(response: httpx.Response) -> None:
    async with _client(lambda _: response) as client:
        with pytest.raises(RemitError):
            await client.decide("ses_1", "c1", "office/send_mail", {})


@pytest.mark.claim("sdk:fails-closed")
async def test_silence_is_unavailable() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with _client(silent) as client:
        with pytest.raises(Unavailable) as caught:
            await client.decide("ses_1", "c1", "office/send_mail", {})
        assert not await client.healthy()
    assert "remit up" in caught.value.hint


async def test_a_plain_decision_passes() -> None:
    """The control of the two above: the same call with an honest server is answered."""
    async with _client(lambda _: httpx.Response(200, json={"decision": "allow"})) as client:
        assert (await client.decide("ses_1", "c1", "office/send_mail", {}))["decision"] == "allow"


async def test_numbers_travel_exactly_both_ways() -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(200, content=b'{"decision":"deny","amount":0.30000000000000000004}')

    async with _client(answer) as client:
        found = await client.decide("s", "c", "a/b", {"amount": Decimal("100.00000000000000001")})
        assert found["amount"] == Decimal("0.30000000000000000004")
        with pytest.raises(Malformed):
            await client.decide("s", "c", "a/b", {"amount": 0.1})  # type: ignore[dict-item]
    assert b"100.00000000000000001" in seen[0]
    assert len(seen) == 1


async def test_a_name_can_not_lead_to_another_route() -> None:
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={})

    async with _client(answer) as client:
        await client.get("agents", "../keys")
        await client.tool("office/../../v1/keys?x=1#y")
        for name in ("", ".", ".."):
            with pytest.raises(NotFound):
                await client.get("agents", name)
    assert paths == [b"/v1/agents/..%2Fkeys", b"/v1/tools/office/..%2F..%2Fv1%2Fkeys%3Fx%3D1%23y"]


async def test_a_credential_can_not_add_a_header() -> None:
    for credential in ("a\r\nx: y", "a b", "ключ", "a\x00"):
        with pytest.raises(Unauthenticated):
            _client(lambda _: httpx.Response(200), credential)


async def test_every_page_of_a_list_is_read_once_and_a_list_without_end_is_refused() -> None:
    def pages(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params.get("after", 0))
        return httpx.Response(200, json={"items": [{"n": after}], "next": str(after + 1) if after < 2 else None})

    async with _client(pages) as client:
        assert [item["n"] for item in await client.listing("agents")] == [0, 1, 2]
    async with _client(lambda _: httpx.Response(200, json={"items": [], "next": "x"})) as client:
        with pytest.raises(Unavailable):
            await client.listing("agents")


async def test_an_export_comes_through_byte_for_byte_and_a_refused_one_raises() -> None:
    body = '{"a":"\u2028\x85"}\n{"note":"n","t":"checkpoint"}\n'.encode()
    async with _client(lambda _: httpx.Response(200, content=body)) as client:
        assert b"".join([part async for part in client.export()]) == body
    async with _client(lambda _: _problem("forbidden", 403)) as client:
        with pytest.raises(Forbidden):
            [part async for part in client.export()]


@pytest.mark.claim("log:tamper-evident")
@pytest.mark.parametrize("body", [b"", b'{"t":"leaf"}\n', b'{"note":"n","t":"checkpoint"}', b'{"note":"n","t":"check'])
async def test_an_export_without_its_signed_end_raises(body: bytes) -> None:
    async with _client(lambda _: httpx.Response(200, content=body)) as client:
        with pytest.raises(Unavailable, match="broke off"):
            [part async for part in client.export()]


async def test_the_credential_is_sent_as_a_bearer() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=json.dumps({"got": request.headers["authorization"]}))

    async with _client(answer) as client:
        assert (await client.status())["got"] == "Bearer remit_key"


async def test_a_message_goes_to_the_mcp_door_as_it_stands_and_comes_back_so() -> None:
    seen: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, request.content))
        return httpx.Response(200, content=b'{"n": 1.50}', headers={"content-type": "application/json"})

    async with _client(answer) as client:
        assert await client.mcp(b'{ "id":1 }') == b'{"n": 1.50}'
        assert await client.mcp(b"{", "office") == b'{"n": 1.50}'
    assert seen == [("/mcp", b'{ "id":1 }'), ("/mcp/office", b"{")]


@pytest.mark.claim("sdk:fails-closed")
async def test_an_mcp_answer_is_only_what_the_door_itself_says() -> None:
    rpc, sent = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "m"}}, b"{}"
    async with _client(lambda _: httpx.Response(202)) as client:
        assert await client.mcp(sent) is None
    async with _client(lambda _: httpx.Response(400, json=rpc)) as client:
        assert json.loads(await client.mcp(sent) or b"") == rpc
    strange = iter([httpx.Response(500, json=rpc), httpx.Response(200, text="<html>"), httpx.Response(302)])
    async with _client(lambda _: next(strange)) as client:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await client.mcp(sent)
    async with _client(lambda _: _problem("unauthenticated", 401)) as client:
        with pytest.raises(Unauthenticated):
            await client.mcp(sent)


async def test_a_renewed_credential_takes_the_place_of_the_old_one() -> None:
    async with _client(lambda request: httpx.Response(200, json={"got": request.headers["authorization"]})) as client:
        client.use("second")
        assert (await client.status())["got"] == "Bearer second"
        with pytest.raises(Unauthenticated):
            client.use("a b")
