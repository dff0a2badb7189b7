"""Come in here for servers that misbehave on purpose: raw ones, a few lines to bend out of shape, no MCP library.

Two families. ``HttpSimulator`` is a socket that answers each POST with whatever a test's function returns, and records
every request whole. ``child(mode)`` is this very file, run as a stdio server in one of the modes of ``MODES``; it uses
the standard library only, so that it starts fast and needs no environment.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "simulator", "version": "1"},
    "x-unknown": {"kept": [1, 2.50]},
}

# ------------------------------------------------------------------------------------------------------------- HTTP


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, object]:
        """The JSON-RPC message of its body, ``{}`` without one."""
        loaded = json.loads(self.body) if self.body else {}
        return loaded if isinstance(loaded, dict) else {}


Live = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Talks over the connection by itself; when it returns, the connection ends."""
Handler = Callable[[Request], bytes | Live | Awaitable[bytes | None] | None]
"""Bytes are written as they are; ``None`` cuts the connection."""


def http(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> bytes:
    """One HTTP response; underscores in header names stand for hyphens."""
    lines = [f"HTTP/1.1 {status} Simulated", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {content_type}"] if body else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def result(message: dict[str, object], value: object) -> bytes:
    """A JSON-RPC response to ``message``."""
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}).encode()


def unknown(message: dict[str, object]) -> bytes:
    """What a server says to a method that it does not know."""
    error = {"code": -32601, "message": "there is no such method"}
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()


def events(*messages: bytes) -> bytes:
    """An event stream that holds ``messages`` and ends."""
    body = b"".join(b"event: message\r\ndata: " + message + b"\r\n\r\n" for message in messages)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body


@dataclass(slots=True)
class HttpSimulator:
    """A socket on loopback. ``answer`` sees what is neither handshake nor DELETE; ``hello`` the handshake, ``aside`` those.

    To ``server/discover`` it says, unless told otherwise, what a server of the older revisions says.
    """

    answer: Handler
    hello: Handler = field(default=lambda request: http(200, result(request.message, HELLO), Mcp_Session_Id="s-1"))
    aside: Handler = field(default=lambda _: http(202))
    discover: Handler = field(default=lambda request: http(200, unknown(request.message)))
    tls: "ssl.SSLContext | None" = None
    """With which certificate it speaks TLS; None speaks in the clear."""
    hangs_up: bool = False
    """Whether every connection ends with its first answer, whatever that answer says."""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/mcp"

    def calls(self, method: str) -> list[Request]:
        """The requests that carried this JSON-RPC method."""
        return [request for request in self.requests if request.message.get("method") == method]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["HttpSimulator"]:
        """Listen until the block ends."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                reply = self._choose(request)(request)
                if callable(reply):
                    await reply(reader, writer)
                    break
                said = reply if isinstance(reply, bytes | None) else await reply
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
                if self.hangs_up or b"Connection: close" in said:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _choose(self, request: Request) -> Handler:
        method = request.message.get("method")
        if request.method == "DELETE" or method == "notifications/initialized":
            return self.aside
        if method == "server/discover":
            return self.discover
        return self.hello if method == "initialize" else self.answer


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


# ------------------------------------------------------------------------------------------------------------ stdio


def child(mode: str, *args: str) -> tuple[str, tuple[str, ...]]:
    """Command and arguments of a stdio server that behaves as ``mode`` says."""
    return sys.executable, ("-I", "-S", __file__, mode, *args)


def _say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _reply(message: dict[str, object], value: object) -> None:
    _say({"jsonrpc": "2.0", "id": message["id"], "result": value})


def _read() -> dict[str, object]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    loaded: dict[str, object] = json.loads(line)
    return loaded


def _echo(message: dict[str, object]) -> None:
    _reply(message, message.get("params"))


def _environment(message: dict[str, object]) -> None:
    _reply(message, {"env": dict(os.environ), "pid": os.getpid(), "group": os.getpgid(0)})


def _die(_: dict[str, object]) -> None:
    """Acts (a line in the file of the second argument), then dies without an answer."""
    with open(sys.argv[2], "a", encoding="utf-8") as acted:  # noqa: PTH123 - pathlib doubles the start of the child
        acted.write("acted\n")
    os._exit(3)


def _last_words(message: dict[str, object]) -> None:
    _reply(message, "last words")
    os._exit(0)


def _hang(message: dict[str, object]) -> None:
    """Never answers a call, but still answers everything else."""
    if message["method"] != "tools/call":
        _reply(message, {})


def _deaf(_: dict[str, object]) -> None:
    """Reads nothing any more, and obeys neither end of input nor SIGTERM."""
    import signal  # noqa: PLC0415 - only this mode of the child wants it

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def _oversize(message: dict[str, object]) -> None:
    _reply(message, "x" * int(sys.argv[2]))


def _garbage(message: dict[str, object]) -> None:
    sys.stdout.write('Starting up...\n\x00\x01[1,2]\n{"jsonrpc":"1.0"}\n' + "[" * 20_000 + "\n\n")
    _reply(message, "after garbage")


def _strangers(message: dict[str, object]) -> None:
    """Answers ids nobody asked, among them the next one and look-alikes of the right one; then the right one, twice."""
    number = message["id"]
    for odd in (999, f"{number}", float(f"{number}"), None, int(f"{number}") + 1, True):
        _say({"jsonrpc": "2.0", "id": odd, "result": "stranger"})
    _reply(message, "mine")
    _reply(message, "twice")


def _both(message: dict[str, object]) -> None:
    _say({"jsonrpc": "2.0", "id": message["id"], "result": 1, "error": {"code": 1, "message": "x"}})


def _asks(message: dict[str, object]) -> None:
    """Asks for sampling, sends a ping and list_changed, then tells what it was answered."""
    if message["method"] != "tools/call":
        _reply(message, {})
        return
    _say({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage", "params": {"messages": []}})
    _say({"jsonrpc": "2.0", "id": 7, "method": "ping"})
    _say({"jsonrpc": "2.0", "id": {"odd": 1}, "method": "ping"})
    _say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    _reply(message, [_read(), _read()])


def _page(message: dict[str, object]) -> None:
    """``endless``: always another cursor. ``loop``: the same ones again. Else that many pages."""
    params = message.get("params") or {}
    cursor = int(params.get("cursor", "0")) if isinstance(params, dict) else 0
    kind = sys.argv[2]
    more = kind in {"endless", "loop"} or cursor + 1 < int(kind)
    following = {"nextCursor": str((cursor + 1) % 3 if kind == "loop" else cursor + 1)} if more else {}
    _reply(message, {"tools": [{"name": f"t{cursor}", "x-unknown": {"b": 1.0}}], **following})


def _stderr(message: dict[str, object]) -> None:
    sys.stderr.write(f"key is {os.environ['API_KEY']}\n\x1b[31mred\u202eltr\n" + "y" * 100_000 + "\n")
    sys.stderr.flush()
    _reply(message, {})


def _old(message: dict[str, object]) -> None:
    _reply(message, {**HELLO, "protocolVersion": "2024-11-05"})


def _mute(_: dict[str, object]) -> None:
    pass


def _shy(message: dict[str, object]) -> None:
    """Never answers what it does not know, and nothing else is wrong with it."""
    if message["method"] == "initialize":
        _reply(message, HELLO)
    elif message["method"] != "server/discover":
        _reply(message, os.getpid())


def _frail(message: dict[str, object]) -> None:
    """Ends when it is asked what it does not know."""
    if message["method"] == "server/discover":
        os._exit(3)
    _shy(message)


def _stuck(message: dict[str, object]) -> None:
    """Answers nothing at all once it was asked what it does not know."""
    if message["method"] == "server/discover":
        while True:
            _read()
    _shy(message)


def _late(message: dict[str, object]) -> None:
    """Speaks both eras, and needs until the second request to start."""
    if message["method"] == "server/discover":
        late.append(message)
        return
    for waiting in late:
        _reply(waiting, {"supportedVersions": ["2026-07-28"], "capabilities": {}, "_meta": {}})
    late.clear()
    _shy(message)


late: list[dict[str, object]] = []

MODES: dict[str, Callable[[dict[str, object]], None]] = {
    "asks": _asks,
    "both": _both,
    "deaf": _deaf,
    "die": _die,
    "echo": _echo,
    "environment": _environment,
    "frail": _frail,
    "garbage": _garbage,
    "hang": _hang,
    "last-words": _last_words,
    "late": _late,
    "mute": _mute,
    "old": _old,
    "oversize": _oversize,
    "page": _page,
    "shy": _shy,
    "stderr": _stderr,
    "strangers": _strangers,
    "stuck": _stuck,
}


def main() -> None:
    """Serve until the input ends. Some misbehave before or in the handshake, the others after it."""
    mode = MODES[sys.argv[1]]
    early = sys.argv[1] in {"old", "mute", "shy", "frail", "stuck", "late"}
    while True:
        message = _read()
        if message["method"] == "initialize" and not early:
            _reply(message, HELLO)
        elif message["method"] == "server/discover" and not early:
            _say(json.loads(unknown(message)))
        elif "id" in message:
            mode(message)


if __name__ == "__main__":
    main()
