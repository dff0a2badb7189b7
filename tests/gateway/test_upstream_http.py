"""A server behind HTTP: where our credential goes, what each status says of a call, and what a stream may hold."""

import json
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidDocument
from remit.gateway.upstream import (
    ErrorReply,
    HttpConnection,
    HttpTarget,
    Limits,
    NotSent,
    OutcomeUnknown,
    Reply,
    Result,
    open_http,
)
from remit.gateway.upstream_http import EventStream
from tests.simulators import HELLO, HttpSimulator, Request, events, http, result

pytestmark = pytest.mark.anyio
CALL = b'{"name":"x","arguments":{}}'
SECRET = "Bearer hunter2-hunter2"


def clock() -> float:
    return 0.0


def ok(request: Request) -> bytes:
    return http(200, result(request.message, "done"))


def always(said: bytes | None) -> Callable[[Request], bytes | None]:
    return lambda _: said


@asynccontextmanager
async def opened(url: str, limits: Limits | None = None) -> AsyncIterator[HttpConnection]:
    with anyio.fail_after(30):
        target = HttpTarget(url, (("Authorization", SECRET),))
        connection = await open_http(target, limits or Limits(), clock)
        try:
            yield connection
        finally:
            await connection.aclose()


async def called(answer: Callable[[Request], bytes | None], limits: Limits | None = None, timeout: float = 10) -> Reply:
    """One call of a server that answers it so."""
    async with HttpSimulator(answer).serving() as server, opened(server.url, limits) as connection:
        return await connection.call("tools/call", CALL, timeout)


def said(reply: Reply) -> object:
    assert isinstance(reply, Result), reply
    return json.loads(reply.raw)


# ----------------------------------------------------------------------------------------------------- the protocol


async def test_the_session_the_revision_and_the_credential_travel_with_each_request() -> None:
    async with HttpSimulator(ok).serving() as server, opened(server.url) as connection:
        assert said(await connection.call("tools/call", CALL, 10)) == "done"
        assert json.loads(connection.server_info) == HELLO
        _, first, second, third = server.requests
        assert [request.message["method"] for request in server.requests] == [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "tools/call",
        ]
        assert "mcp-session-id" not in first.headers
        assert "mcp-protocol-version" not in first.headers
        for request in (second, third):
            assert request.headers["mcp-session-id"] == "s-1"
            assert request.headers["mcp-protocol-version"] == "2025-11-25"
        for request in server.requests:
            assert request.headers["authorization"] == SECRET
            assert request.headers["accept"] == "application/json, text/event-stream"
            assert request.headers["content-type"] == "application/json"
            assert request.headers["accept-encoding"] == "identity"
        assert third.body == b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":' + CALL + b"}"
    assert server.requests[-1].method == "DELETE"


async def test_a_result_is_cut_out_of_the_answer_byte_for_byte() -> None:
    raw = b'{ "n" : 1.50e1 , "unknown":{"\\u00e9":[]}, "isError":false }'

    def answer(request: Request) -> bytes:
        number = str(request.message["id"]).encode()
        return http(200, b'{"x":1, "result" : ' + raw + b' ,"id":' + number + b',"jsonrpc":"2.0"}')

    reply = await called(answer)
    assert isinstance(reply, Result)
    assert reply.raw == raw


async def test_tcp_connections_are_used_again() -> None:
    async with HttpSimulator(ok).serving() as server, opened(server.url) as connection:
        for _ in range(5):
            await connection.call("tools/call", CALL, 10)
        assert server.connections == 1


async def test_cookies_are_not_kept() -> None:
    def cookie(request: Request) -> bytes:
        return http(200, result(request.message, 1), Set_Cookie="a=b; Path=/")

    async with HttpSimulator(cookie).serving() as server, opened(server.url) as connection:
        await connection.call("tools/call", CALL, 10)
        await connection.call("tools/call", CALL, 10)
        assert all("cookie" not in request.headers for request in server.requests)


async def test_a_proxy_of_our_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpSimulator(ok).serving() as server, HttpSimulator(ok).serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with opened(server.url) as connection:
            assert said(await connection.call("tools/call", CALL, 10)) == "done"
        assert proxy.requests == []
        # The control: a client that trusts the environment goes there.
        async with aiohttp.ClientSession(trust_env=True) as trusting, trusting.post(server.url, data=b'{"id":1}'):
            pass
        assert len(proxy.requests) == 1


# ------------------------------------------------------------------------------------------------------- redirects


@pytest.mark.claim("upstream:no-redirects")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_our_credential_stays_here(status: int) -> None:
    async with HttpSimulator(ok).serving() as evil:
        redirect = http(status, Location=evil.url)
        with pytest.raises(NotSent if status in {307, 308} else OutcomeUnknown):
            await called(always(redirect))
        assert evil.requests == []


@pytest.mark.claim("upstream:no-redirects")
async def test_a_redirected_handshake_is_not_followed() -> None:
    async with HttpSimulator(ok).serving() as evil:
        async with HttpSimulator(ok, hello=always(http(307, Location=evil.url))).serving() as server:
            with pytest.raises(NotSent, match="redirects are never followed"):
                await open_http(HttpTarget(server.url), Limits(), clock)
        assert evil.requests == []


@pytest.mark.claim("upstream:no-redirects")
@pytest.mark.parametrize("status", [302, 307])
async def test_no_redirect_of_a_notification_or_of_the_closing_delete_is_followed(status: int) -> None:
    async with HttpSimulator(ok).serving() as evil:
        away = always(http(status, Location=evil.url))
        async with HttpSimulator(ok, aside=away).serving() as server, opened(server.url) as connection:
            assert said(await connection.call("tools/call", CALL, 10)) == "done"
        assert server.requests[-1].method == "DELETE"
        assert evil.requests == []


async def test_control_a_client_that_follows_a_redirect_hands_our_header_over() -> None:
    async with HttpSimulator(ok).serving() as evil:
        redirecting = HttpSimulator(always(http(307, Location=evil.url)))
        async with redirecting.serving() as server, aiohttp.ClientSession() as following:
            body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}'
            async with following.post(server.url, data=body, headers={"X-Api-Key": "hunter2"}):
                pass
        assert evil.requests[0].headers["x-api-key"] == "hunter2"


# ----------------------------------------------------------------------------------------- what says what of a call


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 413, 415, 429])
async def test_a_refusal_at_the_door_was_not_acted_on(status: int) -> None:
    with pytest.raises(NotSent):
        await called(always(http(status, b"<p>hunter2</p>", "text/html")))


@pytest.mark.parametrize("status", [201, 202, 204, 300, 304, 400, 402, 408, 409, 410, 422, 499, 500, 502, 503, 504])
async def test_any_other_status_leaves_the_outcome_unknown(status: int) -> None:
    with pytest.raises(OutcomeUnknown):
        await called(always(http(status, b"" if status in {204, 304} else b"<p/>", "text/html")))


async def test_a_json_rpc_error_under_a_bad_status_is_an_answer() -> None:
    def error(status: int, ident: object) -> Callable[[Request], bytes]:
        body = {"jsonrpc": "2.0", "id": ident, "error": {"code": -32602, "message": "no"}}
        return lambda _: http(status, json.dumps(body).encode())

    # The question what it is was request 1, the handshake 2.
    answers: list[tuple[int, object]] = [(400, 3), (422, 3), (500, 3), (400, None)]
    others: list[tuple[int, object]] = [(500, None), (400, 77), (400, "server-error")]
    for status, ident in answers:
        reply = await called(error(status, ident))
        assert isinstance(reply, ErrorReply)
        assert json.loads(reply.raw) == {"code": -32602, "message": "no"}
    for status, ident in others:
        with pytest.raises(OutcomeUnknown):
            await called(error(status, ident))


async def test_nobody_listens_and_nothing_was_sent() -> None:
    async with HttpSimulator(ok).serving() as server:
        url = server.url
        connection = await open_http(HttpTarget(url), Limits(), clock)
        assert said(await connection.call("tools/call", CALL, 10)) == "done"
    with pytest.raises(NotSent):
        await open_http(HttpTarget(url), Limits(), clock)
    await connection.aclose()
    with pytest.raises(NotSent):
        await connection.call("tools/call", CALL, 10)


async def test_a_session_that_the_server_forgot_ends_the_connection_and_the_call_was_not_sent() -> None:
    async with HttpSimulator(always(http(404))).serving() as server, opened(server.url) as connection:
        with pytest.raises(NotSent, match="session"):
            await connection.call("tools/call", CALL, 10)
        assert not connection.alive


@pytest.mark.claim("upstream:unknown-not-retried")
async def test_a_connection_cut_after_the_request_leaves_it_unknown_and_sent_once() -> None:
    async with HttpSimulator(always(None)).serving() as server, opened(server.url) as connection:
        with pytest.raises(OutcomeUnknown):
            await connection.call("tools/call", CALL, 10)
        assert len(server.calls("tools/call")) == 1
        # The control: the same connection does send again when told to.
        with pytest.raises(OutcomeUnknown):
            await connection.call("tools/call", CALL, 10)
        assert len(server.calls("tools/call")) == 2


async def test_a_call_that_hangs_is_unknown_and_the_server_is_told_that_nobody_waits() -> None:
    cancelled = anyio.Event()

    async def hang(request: Request) -> bytes | None:
        if request.message["method"] == "notifications/cancelled":
            cancelled.set()
            return http(202)
        await anyio.sleep_forever()
        return None

    with anyio.fail_after(30):
        async with HttpSimulator(hang).serving() as server, opened(server.url) as connection:
            with pytest.raises(OutcomeUnknown):
                await connection.call("tools/call", CALL, 0.1)
            await cancelled.wait()
            assert server.calls("notifications/cancelled")[0].message["params"] == {
                "requestId": 3,
                "reason": "timed out",
            }
            assert connection.alive
            # Its handler waits for ever, so the sockets are cut before the server is asked to end.
            await connection.aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"",
        b"[]",
        b'[{"jsonrpc":"2.0","id":3,"result":1}]',
        b'{"jsonrpc":"2.0","id":"3","result":1}',
        b'{"jsonrpc":"2.0","id":4,"result":1}',
        b'{"jsonrpc":"2.0","id":3.0,"result":1}',
        b'{"jsonrpc":"2.0","id":3}',
        b'{"jsonrpc":"2.0","id":3,"result":1,"error":{}}',
        b'{"jsonrpc":"2.0","id":3,"result":1,"method":"ping"}',
        b'{"jsonrpc":"1.0","id":3,"result":1}',
        b'{"id":3,"result":1}',
        b'{"jsonrpc":"2.0","id":3,"result":1} {}',
        b'{"jsonrpc":"2.0","id":3,"id":9,"result":1}',
        b'{"jsonrpc":"2.0","id":3,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_a_body_that_is_no_answer_to_this_call_leaves_it_unknown(body: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        await called(always(http(200, body)))


async def test_an_answer_over_the_bound_is_unknown() -> None:
    limits = Limits(reply_bytes=50_000)
    assert isinstance(await called(lambda r: http(200, result(r.message, "x" * 49_000)), limits), Result)
    for wrap in (lambda body: http(200, body), events):
        with pytest.raises(OutcomeUnknown, match="longer than 50000 bytes"):
            await called(lambda r, wrap=wrap: wrap(result(r.message, "x" * 60_000)), limits)  # type: ignore[misc]


async def test_a_compressed_answer_and_another_content_type_are_unknown() -> None:
    with pytest.raises(OutcomeUnknown, match="compressed"):
        await called(lambda r: http(200, result(r.message, 1), Content_Encoding="gzip"))
    with pytest.raises(OutcomeUnknown, match="neither JSON"):
        await called(lambda r: http(200, result(r.message, 1), "text/plain"))


@pytest.mark.parametrize(
    "hello", [{}, {**HELLO, "protocolVersion": "2025-03-26"}, {**HELLO, "protocolVersion": None}, []]
)
async def test_a_server_of_another_revision_is_sent_no_call(hello: object) -> None:
    server = HttpSimulator(ok, hello=lambda request: http(200, result(request.message, hello)))
    async with server.serving():
        with pytest.raises(NotSent):
            await open_http(HttpTarget(server.url), Limits(), clock)
        assert [request.message["method"] for request in server.requests] == ["server/discover", "initialize"]


# ---------------------------------------------------------------------------------------------------- event streams


async def test_an_answer_is_found_among_notifications_requests_and_answers_to_others() -> None:
    asked = b'{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{}}'

    def stream(request: Request) -> bytes:
        if "method" not in request.message:
            return http(202)
        return events(
            b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
            b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}',
            b"garbage",
            b'{"jsonrpc":"2.0","id":99,"result":"stranger"}',
            b'{"jsonrpc":"2.0","id":"3","result":"stranger"}',
            asked,
            result(request.message, "mine"),
            result(request.message, "twice"),
        )

    told: list[str] = []
    async with HttpSimulator(stream).serving() as server, opened(server.url) as connection:
        connection.on_list_changed = lambda: told.append("changed")
        assert said(await connection.call("tools/call", CALL, 10)) == "mine"
        counters = connection.counters
        refusals = [request.message for request in server.requests if "error" in request.message]
    assert told == ["changed"]
    assert (counters.notifications, counters.garbage, counters.unmatched, counters.server_requests) == (2, 1, 2, 1)
    assert [(refusal["id"], refusal["error"]["code"]) for refusal in refusals] == [("s", -32601)]  # type: ignore[index]


async def test_a_server_can_make_us_send_only_so_many_refusals_in_one_call() -> None:
    asked = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'

    def stream(request: Request) -> bytes:
        return events(*[asked] * 50, result(request.message, 1)) if "method" in request.message else http(202)

    limits = Limits(server_requests=3)
    async with HttpSimulator(stream).serving() as server, opened(server.url, limits) as connection:
        await connection.call("tools/call", CALL, 10)
        assert connection.counters.server_requests == 50
        assert sum(request.message.get("result") == {} for request in server.requests) == 3


async def test_a_stream_that_ends_without_the_answer_is_unknown() -> None:
    with pytest.raises(OutcomeUnknown, match="without an answer"):
        await called(always(events(b'{"jsonrpc":"2.0","method":"notifications/progress"}')))


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda data: not set(data) & set(b"\r\n"))), st.data())
def test_events_do_not_depend_on_where_the_stream_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
    stream = b"".join(
        b": note" + data.draw(ends) + b"event: message" + (end := data.draw(ends)) + b"data: " + payload + end + end
        for payload in payloads
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    whole, cut = EventStream(), EventStream()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert list(whole.feed(stream + b"\n")) == payloads
    assert [event for piece in [*pieces, b"\n"] for event in cut.feed(piece)] == payloads


def test_data_of_several_lines_is_joined_and_other_events_are_skipped() -> None:
    stream = EventStream()
    assert list(stream.feed(b"\xef\xbb\xbfdata: a\ndata:b\n\nevent: ping\ndata: c\n\ndata\n\nid: 1\ndata: d\n\n")) == [
        b"a\nb",
        b"d",
    ]


# ------------------------------------------------------------------------------------------------------ credentials


async def test_no_failure_carries_the_credential_or_what_the_server_said() -> None:
    echo = http(500, b"hunter2-hunter2 pay DE66", "text/html")
    refused = HttpTarget("http://127.0.0.1:1/mcp", (("Authorization", SECRET),))
    failures: list[BaseException] = []
    for answer in (echo, None, http(401, b"DE66", "text/html"), http(200, b"DE66"), http(307, Location="http://DE66")):
        try:
            await called(always(answer))
        except (NotSent, OutcomeUnknown) as error:
            failures.append(error)
    try:
        await open_http(refused, Limits(), clock)
    except NotSent as error:
        failures.append(error)
    assert len(failures) == 6
    for failure in failures:
        shown = "".join(traceback.TracebackException.from_exception(failure, capture_locals=False).format())
        assert "hunter2" not in shown + str(vars(failure))
        assert "DE66" not in str(failure) + str(vars(failure))
        assert failure.__context__ is None or not isinstance(failure.__context__, aiohttp.ClientError)


def test_a_target_does_not_show_its_headers() -> None:
    assert "hunter2" not in repr(HttpTarget("http://h.test/mcp", (("Authorization", SECRET),)))


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://h.test/", ()),
        ("h.test/mcp", ()),
        ("http:///mcp", ()),
        ("http://u:p@h.test/mcp", ()),
        ("http://u@h.test/mcp", ()),
        ("http://h.test/mcp#x", ()),
        ("http://h.test:99999/mcp", ()),
        ("http://h.test/", (("X", "a\r\nHost: evil.test"),)),
        ("http://h.test/", (("X Y", "a"),)),
        ("http://h.test/", (("Host", "evil.test"),)),
        ("http://h.test/", (("mcp-session-id", "stolen"),)),
        ("http://h.test/", (("Content-Length", "1"),)),
        ("http://h.test/", (("X", "a"), ("x", "b"))),
    ],
)
def test_a_target_that_we_would_not_send_to_is_refused(url: str, headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(InvalidDocument) as caught:
        HttpTarget(url, headers)
    assert "evil" not in str(caught.value)
