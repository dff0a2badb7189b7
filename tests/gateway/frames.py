"""Come in here for JSON-RPC frames that were right once: valid requests of every revision, bent somewhere.

A frame is kept as its members in order, values as they are spelt, so that a member can stand twice and a number or a
string can be one that no JSON library would write.
"""

import json
from dataclasses import dataclass, field

from hypothesis import strategies as st

from remit.gateway.revisions import CAPABILITIES, HANDSHAKE, NEWEST, VERSION
from tests.gateway.watched import MARK


@dataclass(slots=True)
class Members:
    """An object: names as they are spelt between the quotes, and values."""

    pairs: list[tuple[str, "Node"]] = field(default_factory=list)


Node = Members | list["Node"] | str
"""A value: an object, an array, or a scalar as it is spelt."""


def node(value: object) -> Node:
    """A plain value as a node."""
    if isinstance(value, dict):
        return Members([(json.dumps(name)[1:-1], node(inner)) for name, inner in value.items()])
    if isinstance(value, list):
        return [node(inner) for inner in value]
    return json.dumps(value)


def spelt(value: Node) -> str:
    """The text of a node."""
    if isinstance(value, Members):
        return "{" + ",".join(f'"{name}":{spelt(inner)}' for name, inner in value.pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spelt, value)) + "]"
    return value


# What may stand somewhere

NUMBERS = (
    *("0", "-0", "-1", "1.0", "1e0", "-1e-400", "0.1", "1e308", "5e-324", "100.00000000000000001"),
    *("9007199254740993", "9223372036854775807", "-9223372036854775808", "0." + "1" * 400, "1e-300", "1E2"),
)
STRINGS = (
    *('""', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u202e\\u2066"', '"\\uffff"', '"\u00e9\u0301"', '"\U000e0041"'),
    *('"\\/\\b\\f"', '"' + "x" * 129 + '"', '"' + "y" * 70_000 + '"', '"office__any"', '"any"', '"office/any"'),
    *(
        '"../any"',
        '"2026-07-28"',
        '"tools/call"',
        '"=?base64?YW55?="',
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "[{}]",
        '{"":{}}',
    ),
)
DEEP = tuple("[" * depth + "]" * depth for depth in (50, 61, 62, 63, 64))
BROKEN = (
    *("1E400", "9223372036854775808", "-9223372036854775809", "1" * 400, "9" * 5_000, "1e99999999999999999999", "NaN"),
    *(
        "Infinity",
        "-Infinity",
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "-",
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\x41"',
        '"\n"',
        "",
        "}",
    ),
    *("undefined", "'a'", "/**/1", "[1,]", '{"a"}', "[" * 200 + "]" * 200, "[" * 5_000, '{"a":' * 70 + "1" + "}" * 70),
)
GOOD_SCALARS = st.sampled_from((*NUMBERS, *STRINGS, *DEEP))
SCALARS = st.one_of(*[GOOD_SCALARS] * 5, st.sampled_from(BROKEN))
NAMES = st.sampled_from(
    (
        *(
            "jsonrpc",
            "id",
            "method",
            "params",
            "name",
            "arguments",
            "_meta",
            "cursor",
            "uri",
            "result",
            "error",
            "a",
            "n",
        ),
        *("\\u0069d", "par\\u0061ms", "argument\\u0073", "", "__proto__", "remit/call_id", "remit/session", VERSION),
        *(CAPABILITIES, "progressToken", "traceparent", "\\ud800", "\u202e", "x" * 300),
    )
)
METHODS = (
    *("tools/call", "tools/list", "initialize", "ping", "server/discover", "resources/read", "prompts/get"),
    *("notifications/initialized", "notifications/cancelled", "tasks/get", "completion/complete", "", "TOOLS/CALL"),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MARKED_TEXTS = TEXTS.map(lambda text: MARK + text)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | MARKED_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MARKED_TEXTS, inner, max_size=4),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(st.sampled_from(["a", "n", MARK]) | MARKED_TEXTS, JSON, max_size=4)
TOOL_NAMES = st.sampled_from(
    (
        *("office__any", "office__any", "office__any", "office__marked", "office__read_mail", "office__pay_invoice"),
        *(
            "office/any",
            "any",
            "nope",
            MARK,
            "office__" + MARK,
            "other__any",
            "x" * 70_000,
            "",
            "\u202eany",
            "office__",
        ),
    )
)
CURSORS = st.sampled_from(["", "b2ZmaWNlL2FueQ==", "!", "\u00e9", "/w==", "A"])
META_VALUES = JSON | st.sampled_from(
    ["x" * 2_000, {}, [], 1.5, 2**63, "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "a.b", "." * 65]
)
META = st.dictionaries(
    st.sampled_from(
        (
            *("progressToken", "traceparent", "tracestate", "remit/call_id", "remit/session", "remit/decision"),
            *(VERSION, CAPABILITIES, "io.modelcontextprotocol/clientInfo", "x"),
        )
    ),
    META_VALUES,
    max_size=4,
)


# Frames


@dataclass(frozen=True, slots=True)
class Frame:
    """A request to the MCP door: where to, which headers beside the usual ones, and its body."""

    path: str
    lines: tuple[bytes, ...]
    body: bytes


@st.composite
def params(draw: st.DrawFn, method: str) -> dict[str, object]:
    """Good params of a method, more or less."""
    found: dict[str, object] = {}
    if method == "tools/call":
        found = {"name": draw(TOOL_NAMES), "arguments": draw(ARGUMENTS)}
    elif method == "initialize":
        revision = draw(st.sampled_from([*HANDSHAKE, NEWEST, "2024-11-05", ""]))
        found = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    elif method == "tools/list" and draw(st.booleans()):
        cursors: st.SearchStrategy[object] = CURSORS | JSON
        found = {"cursor": draw(cursors)}
    if draw(st.integers(0, 3)) == 0:
        metas: st.SearchStrategy[object] = META | JSON
        found["_meta"] = draw(metas)
    return found


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """A request of some revision, with up to three bends, in its body or between its headers and its body."""
    revision = draw(st.sampled_from([None, *HANDSHAKE, NEWEST, NEWEST]))
    method = draw(st.sampled_from(METHODS[:1] * 12 + METHODS))
    message: dict[str, object] = {"jsonrpc": "2.0", "id": draw(st.integers(0, 9) | TEXTS), "method": method}
    inner = draw(params(method))
    lines = [] if revision is None else [b"MCP-Protocol-Version: " + revision.encode()]
    if revision == NEWEST:
        meta = inner.get("_meta")
        own = {VERSION: NEWEST, CAPABILITIES: {}}
        inner["_meta"] = {**meta, **own} if isinstance(meta, dict) else own
        lines += _repeating(method, inner)
    if draw(st.booleans()) or inner:
        message["params"] = inner
    root = node(message)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        root = draw(bent(root))
    path = draw(st.sampled_from(PATHS))
    return Frame(path, tuple(draw(disagreeing(lines))), spelt(root).encode("utf-8", "surrogatepass"))


PATHS = (
    *("/mcp",) * 24,
    *(
        "/mcp/office",
        "/mcp/office",
        "/mcp/",
        "/mcp/nobody",
        "/mcp/a/b",
        "/mcp/%00%ff",
        "/mcp/" + "o" * 3_000,
        "/mcp?x=1",
    ),
)


def _repeating(method: str, inner: dict[str, object]) -> list[bytes]:
    """The headers that repeat what a stateless request does."""
    lines = [b"Mcp-Method: " + method.encode()]
    named, arguments = inner.get("name"), inner.get("arguments")
    if isinstance(named, str) and named.isascii():
        lines.append(b"Mcp-Name: " + named.encode()[:8_000])
    if isinstance(arguments, dict) and isinstance(text := arguments.get("a"), str) and text.isprintable():
        lines.append(b"Mcp-Param-A: " + text.encode("ascii", "replace"))
    return lines


@st.composite
def disagreeing(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:
    """These headers, sometimes with one dropped, doubled, changed or added."""
    change = draw(st.integers(0, 11))
    if change == 0 and lines:
        return lines[1:]
    if change == 1 and lines:
        return [*lines, draw(st.sampled_from(lines))]
    if change in {2, 3}:
        return [*lines, draw(st.sampled_from(ODD_LINES))]
    return lines


ODD_LINES = (
    *(b"MCP-Protocol-Version: 2025-06-18", b"MCP-Protocol-Version: 2026-07-28", b"MCP-Protocol-Version: \xe9"),
    *(b"MCP-Protocol-Version:", b"Mcp-Method: ping", b"Mcp-Name: =?base64?YW55?=", b"Mcp-Name: =?base64?!?="),
    *(b"Mcp-Name: \xff\xfe", b"Mcp-Param-A: 1", b"Mcp-Param-A: =?base64?/w==?=", b"Mcp-Param-: x", b"Origin: http://["),
    *(b"Origin: null", b"Content-Type: text/plain", b"Content-Encoding: gzip", b"Mcp-Session-Id: a", b"Accept: */*"),
    *(b"Last-Event-ID: 1", b"Upgrade: websocket", b"Mcp-Protocol-Version: 2026-07-28 ", b"X: " + b"x" * 9_000),
)


# Bends


@st.composite
def bent(draw: st.DrawFn, root: Node) -> Node:
    """The same frame with one thing wrong at a place of its own choosing."""
    places = [place for place in _places(root) if place]
    place = draw(st.sampled_from([(), *places]))
    return _at(root, place, draw(st.integers(0, 6)), draw(SCALARS), draw(NAMES), draw(st.sampled_from([1, 3, 61, 70])))


def _places(root: Node, here: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    found = [here]
    inner: list[Node] = [value for _, value in root.pairs] if isinstance(root, Members) else []
    inner = root if isinstance(root, list) else inner
    for number, value in enumerate(inner):
        found += _places(value, (*here, number))
    return found


def _at(root: Node, place: tuple[int, ...], what: int, scalar: str, name: str, depth: int) -> Node:
    """``root`` with what is at ``place`` bent."""
    if not place or isinstance(root, str):
        return _nested(root, depth) if what == 0 else scalar
    first, *rest = place
    if isinstance(root, list):
        return [
            _at(value, tuple(rest), what, scalar, name, depth) if number == first else value
            for number, value in enumerate(root)
        ]
    pairs = list(root.pairs)
    if rest:
        pairs[first] = (pairs[first][0], _at(pairs[first][1], tuple(rest), what, scalar, name, depth))
    else:
        pairs[first : first + 1] = _replaced(pairs[first], what, scalar, name, depth)
    return Members(pairs)


def _replaced(pair: tuple[str, Node], what: int, scalar: str, name: str, depth: int) -> list[tuple[str, Node]]:
    """What stands where a member stood: dropped, doubled, retyped, renamed, nested, or with a neighbour."""
    match what:
        case 0:
            return [(pair[0], _nested(pair[1], depth))]
        case 1:
            return []
        case 2:
            return [pair, (pair[0], scalar)]
        case 3:
            return [pair, pair]
        case 4:
            return [(name, pair[1])]
        case 5:
            return [pair, (name, scalar)]
        case _:
            return [(pair[0], scalar)]


def _nested(value: Node, depth: int) -> Node:
    for _ in range(depth):
        value = [value]
    return value
