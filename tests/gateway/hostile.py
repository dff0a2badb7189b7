"""Come in here for bytes that no HTTP library would send: requests bent below HTTP, and answers of a hostile server."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from remit.gateway.revisions import NEWEST
from tests.gateway.frames import JSON, Members, bent, node, spelt
from tests.gateway.watched import ANY, MARKED
from tests.services.world import PAY, READ
from tests.simulators import HELLO, Request, events

CREDENTIAL = b"CREDENTIAL"
"""Stands where a good token belongs, which nobody knows while the examples are made."""
CALL = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "office__any", "arguments": {"a": 1}}}
).encode()

# ---------------------------------------------------------------------------------------------------- requests

FIRST_LINES = (
    *(b"POST /mcp HTTP/1.1",) * 6,
    *(
        b"POST /mcp/office HTTP/1.1",
        b"POST /mcp HTTP/1.0",
        b"POST /mcp HTTP/2.0",
        b"POST /mcp HTTP/1.1 x",
        b"POST /mcp",
    ),
    *(
        b"GET /mcp HTTP/1.1",
        b"HEAD /mcp HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT localhost:1 HTTP/1.1",
        b"post /mcp HTTP/1.1",
    ),
    *(
        b"TRACE /healthz HTTP/1.1",
        b"FOO /mcp HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET /healthz?x=\x7f HTTP/1.1",
        b" POST /mcp HTTP/1.1",
    ),
    *(
        b"GET http://localhost/healthz HTTP/1.1",
        b"GET //mcp HTTP/1.1",
        b"GET /v1/../mcp HTTP/1.1",
        b"GET /%ff%00%2f HTTP/1.1",
    ),
    *(
        b"GET /v1/audit/events?after=%ff HTTP/1.1",
        b"GET /v1/agents/%e2%80%ae HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET  / HTTP/1.1",
    ),
    *(
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
        b"GET /v1/approvals?state=%F0%9F HTTP/1.1",
        b"PATCH /v1/agents/bookkeeper HTTP/1.1",
    ),
    *(
        b"DELETE /mcp HTTP/1.1",
        b"POST /v1/sessions HTTP/1.1",
        b"POST /v1/sessions/a%0d%0ab/decide HTTP/1.1",
        b"\x16\x03\x01\x02\x00",
    ),
)
ODD_LINES = (
    *(b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: +5", b"Content-Length: 1e3"),
    *(b"Content-Length: 99999999999999999999999", b"Content-Length: 5, 5", b"Content-Length : 5", b"Content-Length:"),
    *(
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
    ),
    *(
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding : chunked",
        b"TE: trailers",
    ),
    *(
        b"Expect: 100-continue",
        b"Expect: 200-ok",
        b"Expect: 100-continue, x",
        b"Upgrade: h2c",
        b"Connection: upgrade",
        b"Connection: keep-alive",
    ),
    *(
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"Sec-WebSocket-Version: 13",
        b"Host: a\x00b",
        b"Host:",
    ),
    *(
        b"Host: [",
        b"X\x00: a",
        b"X: a\x00b",
        b"X: a\rb",
        b"X: \xff\xfe\x80",
        b": empty",
        b"No colon",
        b" folded: line",
        b"X y: z",
        b"X\x7f: a",
    ),
    *(
        b"Authorization: Bearer x",
        b"Authorization: Bearer \xff",
        b"Authorization: Basic Og==",
        b"Content-Type: application/json; charset=\xff",
    ),
    *(
        b"Origin: http://localhost\xff",
        b"Cookie: " + b"c" * 70_000,
        *(b"X-%d: y" % number for number in range(3)),
        b"Accept-Encoding: gzip",
    ),
    *(
        b"Range: bytes=0-",
        b"Content-Encoding: deflate",
        b"Max-Forwards: 0",
        b"Proxy-Connection: x",
        b"If-None-Match: *",
        b"X-Forwarded-For: ::",
    ),
)
CHUNKS = (
    *(
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(CALL), CALL),
        b"%x\r\n%s\r\n" % (len(CALL), CALL),
        b"%x\r\n%s" % (len(CALL) + 9, CALL),
    ),
    *(
        b"%x;a=b\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(CALL), CALL),
        b"-1\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"g\r\n",
    ),
    *(
        b"5\n%s\n0\n\n" % CALL[:5],
        b"0\r\n\r\n" + CALL,
        b"0x5\r\n%s\r\n0\r\n\r\n" % CALL[:5],
        b"5\r\n%s\r\n0\r\n\r\n" % CALL,
    ),
    b"".join(b"1\r\n%c\r\n" % byte for byte in CALL) + b"0\r\n\r\n",
)


@dataclass(frozen=True, slots=True)
class Wire:
    """What goes onto one socket: packets, and whether the client goes away without listening."""

    parts: tuple[bytes, ...]
    hangs_up: bool


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, with some of its lines bent."""
    lines = [b"Host: localhost", b"Authorization: Bearer " + CREDENTIAL, b"Content-Type: application/json"]
    body = draw(st.sampled_from((CALL, CALL, CALL, b"", b"{", CALL * 2, b"x" * 1_100_000, *CHUNKS)))
    if body in CHUNKS:
        lines.append(b"Transfer-Encoding: chunked")
    else:
        lines.append(b"Content-Length: %d" % max(len(body) + draw(st.sampled_from((0, 0, 0, 0, 1, -1, 1_000))), 0))
    for _ in range(draw(st.sampled_from((0, 1, 1, 2)))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(ODD_LINES)))
    if draw(st.integers(0, 9)) == 0:
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    if draw(st.integers(0, 19)) == 0:
        lines += [b"X-%d: y" % number for number in range(2_000)]
    end = draw(st.sampled_from((b"\r\n",) * 9 + (b"\n",)))
    head: bytes = end.join([draw(st.sampled_from(FIRST_LINES)), *lines, b"", b""])
    return head + body


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    """One to three requests behind each other, cut off or not, in a few packets."""
    whole = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    if draw(st.integers(0, 4)) == 0:
        whole = whole[: draw(st.integers(0, min(len(whole), 2_000)))]
    cuts = sorted(draw(st.lists(st.integers(1, max(min(len(whole), 1_500), 1)), max_size=4, unique=True)))
    parts = tuple(whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    return Wire(parts, draw(st.integers(0, 7)) == 0)


# ----------------------------------------------------------------------------------------------------- answers

Raw = Callable[[bytes, bytes], bytes]
"""A whole HTTP answer, from the id of the request and the honest result."""

GOOD: Mapping[str, object] = {
    "initialize": HELLO,
    "server/discover": {"supportedVersions": [NEWEST], "capabilities": {"tools": {}}, "_meta": {}},
    "tools/list": {"tools": [json.loads(one) for one in (PAY, READ, ANY, MARKED)]},
    "tools/call": {
        "content": [{"type": "text", "text": "ok"}],
        "structuredContent": {"a": [1.0, None]},
        "_meta": {"a": 1},
    },
}
CONTENTS = (
    *(b"application/json",) * 4,
    *(
        b"text/event-stream",
        b"text/html",
        b"application/json; charset=utf-16",
        b"",
        b"application/problem+json",
        b"\xff/\xfe",
        b'a;b;c="',
    ),
)
STATUSES = (
    *(200,) * 30,
    *(
        100,
        101,
        102,
        103,
        199,
        201,
        202,
        204,
        205,
        206,
        299,
        301,
        302,
        303,
        304,
        307,
        308,
        399,
        400,
        401,
        403,
        404,
        405,
    ),
    *(406, 409, 413, 415, 418, 429, 499, 500, 501, 502, 503, 504, 599, 600, 999),
)
EXTRA = (
    *(b"",) * 5,
    *(
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ),
    *(
        b"Content-Encoding: gzip\r\n",
        b"Mcp-Session-Id: \xff\r\n",
        b"Mcp-Session-Id: " + b"s" * 2_000 + b"\r\n",
        b"X\x00: y\r\n",
    ),
    *(
        b"Set-Cookie: a=b\r\n",
        b"Location: http://127.0.0.1:1/\r\n",
        b"X: " + b"y" * 20_000 + b"\r\n",
        b" folded\r\n",
        b"Mcp-Session-Id: s\r\n",
    ),
)
STRAYS = (
    *(
        b"",
        b"\r\n",
        b"data:\n\n",
        b":comment\n\n",
        b"event: message\n",
        b"retry: 0\n\n",
        b"id: \x00\n\n",
        b"data: [\n\n",
        b"\xef\xbb\xbf",
    ),
    *(
        b'data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}\n\n',
        b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n',
    ),
    *(
        b'data: {"jsonrpc":"2.0","id":99999,"result":{}}\n\n',
        b'data: {"jsonrpc":"2.0","id":{"a":1},"method":"ping"}\n\n',
        b"data: \xff\n\n",
    ),
    *(
        b'data: {"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}\n\n',
        b"data: " + b"[" * 5_000 + b"\n\n",
        b"\x00" * 100,
    ),
)
IDS = (None,) * 9 + (b"null", b"0", b"-1", b"999", b'"1"', b"1.0", b"{}", b"true", b"1e0", b"")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server answers to which method; to every other it answers honestly."""

    answers: Mapping[str, "Reply"]

    def answer(self, request: Request) -> bytes:
        """The bytes for one request."""
        method = str(request.message.get("method"))
        ident = json.dumps(request.message.get("id")).encode()
        reply = self.answers.get(method)
        if reply is None:
            body = b'{"jsonrpc":"2.0","id":' + ident + b',"result":' + json.dumps(GOOD.get(method, {})).encode() + b"}"
            return _http(200, b"application/json", b"Content-Length: %d\r\n" % len(body), body)
        return reply.said(ident)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a hostile server: a JSON-RPC message with ``result`` or ``error``, in a bent envelope."""

    status: int
    content: bytes
    extra: bytes
    ident: bytes | None
    member: bytes
    payload: bytes
    strays: tuple[bytes, ...]
    cut: int | None
    before: bytes

    def said(self, ident: bytes) -> bytes:
        """Its bytes, for a request of this id."""
        own = ident if self.ident is None else self.ident
        body = b'{"jsonrpc":"2.0","id":' + own + self.member + self.payload + b"}"
        if self.content == b"text/event-stream":
            stream = events(body).partition(b"\r\n\r\n")[2]
            body = b"".join(self.strays) + stream + b"".join(reversed(self.strays))
        length = (
            b""
            if b"Content-Length" in self.extra or b"Transfer" in self.extra
            else b"Content-Length: %d\r\n" % len(body)
        )
        whole = self.before + _http(self.status, self.content, self.extra + length, body)
        return whole if self.cut is None else whole[: self.cut]


def _http(status: int, content: bytes, lines: bytes, body: bytes) -> bytes:
    kind = b"Content-Type: " + content + b"\r\n" if content else b""
    return b"HTTP/1.1 %d Simulated\r\n" % status + kind + lines + b"\r\n" + body


MEMBERS = (b',"result":',) * 8 + (
    b',"error":',
    b',"error":',
    b',"result":{},"error":',
    b',"method":"ping","result":',
    b',"x":',
)
ERRORS = (
    b"{}",
    b'{"code":-32601,"message":"m"}',
    b'{"code":-32602,"message":"\\ud800"}',
    b'{"code":1e400}',
    b'{"code":"x"}',
    b"[]",
    b'"x"',
)
BEFORE = (b"",) * 9 + (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    b"HTTP/1.1 102 P\r\n\r\n" * 50,
    b"\r\n\r\n",
    b"junk",
)
LISTS = (
    b'{"tools":[' + b",".join(b'{"name":"t%d"}' % number for number in range(5_001)) + b"]}",
    b'{"tools":[' + ANY + b"," + ANY + b"," + READ + b"]}",
    b'{"tools":[' + ANY + b'],"nextCursor":"again"}',
    b'{"tools":[{"name":"any","inputSchema":{"$ref":"http://127.0.0.1:1/"}}]}',
    b'{"tools":[{"name":"any","inputSchema":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}]}",
    b'{"tools":[{"name":"any","name":"marked"},{"name":"\\ud800"},{"name":' + b"9" * 400 + b"},[],null,1e400]}",
    b'{"tools":[{"name":"any","description":"' + b"d" * 70_000 + b'"}]}',
    b'{"tools":[{"name":"any","inputSchema":{"properties":{"a":{"x-mcp-header":"\\r\\n"}}}}]}',
)


@st.composite
def payloads(draw: st.DrawFn, method: str) -> bytes:
    """A result of a method, bent up to three times, or something else altogether."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return json.dumps(draw(JSON)).encode()
    if kind == 1 and method == "tools/list":
        listed: bytes = draw(st.sampled_from(LISTS))
        return listed
    if kind == 2:
        error: bytes = draw(st.sampled_from(ERRORS))
        return error
    root = node(GOOD[method])
    for _ in range(draw(st.sampled_from((0, 1, 1, 2, 3)))):
        root = draw(bent(root))
    assert isinstance(root, (Members, list, str))
    return spelt(root).encode("utf-8", "surrogatepass")


@st.composite
def replies(draw: st.DrawFn, method: str) -> Reply:
    """One hostile answer to a method."""
    return Reply(
        draw(st.sampled_from(STATUSES)),
        draw(st.sampled_from(CONTENTS)),
        draw(st.sampled_from(EXTRA)),
        draw(st.sampled_from(IDS)),
        draw(st.sampled_from(MEMBERS)),
        draw(payloads(method)),
        tuple(draw(st.lists(st.sampled_from(STRAYS), max_size=3))),
        draw(st.sampled_from((None,) * 9 + (0, 10, 60, 120))),
        draw(st.sampled_from(BEFORE)),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A server that is hostile to one or two methods; mostly to calls."""
    methods = draw(
        st.sampled_from(
            (
                *(("tools/call",),) * 5,
                *(("tools/list",), ("tools/list", "tools/call"), ("initialize",), ("initialize", "server/discover")),
            )
        )
    )
    return Plan({method: draw(replies(method)) for method in methods})
