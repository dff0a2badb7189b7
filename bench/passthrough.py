"""A raw MCP pass-through made of our own parts: no identity, no pins, no decision, no log.

Two uses. It is the yardstick for what governing costs (``make bench``), and it stands in Remit's place in
``make demo CONTROL=open``, where every attack must succeed. It is no part of the product, which has no such switch.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from remit.gateway.upstream import (
    ErrorReply,
    HttpTarget,
    NotSent,
    Reply,
    StdioTarget,
    Target,
    UpstreamKey,
    Upstreams,
    list_tools,
)
from remit.gateway.wire import renamed


class _Params(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Request(msgspec.Struct):
    method: str
    id: msgspec.Raw = msgspec.Raw(b"")
    params: _Params | None = None


class _Named(msgspec.Struct):
    name: str


_requests = msgspec.json.Decoder(_Request)
_INITIALIZED = json.dumps(
    {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "passthrough", "version": "0"},
    }
).encode()


class Passthrough:
    """Forwards ``server__tool`` to its server, whoever asks."""

    def __init__(self, targets: dict[str, Target]) -> None:
        """``targets`` by server name."""
        self._targets = targets
        self._pool = Upstreams(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        status, answer = await self._answer(scope["method"], body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, verb: str, body: bytes) -> tuple[int, bytes]:
        if verb != "POST":
            return 405, b""
        request = _requests.decode(body)
        identifier = bytes(request.id)
        if not identifier:
            return 202, b""
        head = b'{"jsonrpc":"2.0","id":' + identifier
        match request.method:
            case "initialize":
                return 200, head + b',"result":' + _INITIALIZED + b"}"
            case "ping":
                return 200, head + b',"result":{}}'
            case "tools/list":
                return 200, head + b',"result":{"tools":[' + b",".join(await self._tools()) + b"]}}"
            case "tools/call" if request.params is not None:
                return 200, head + await self._call(request.params) + b"}"
            case _:
                return 200, head + b',"error":{"code":-32601,"message":"not served"}}'

    async def _tools(self) -> list[bytes]:
        listed: list[bytes] = []
        for server, target in self._targets.items():
            connection = await self._pool.get(_key(server), target)
            for tool in await list_tools(connection):
                name = msgspec.json.decode(tool, type=_Named).name
                listed.append(renamed(tool, f"{server}__{name}"))
        return listed

    async def _call(self, params: _Params) -> bytes:
        server, _, tool = params.name.partition("__")
        raw = b'{"name":' + json.dumps(tool).encode() + b',"arguments":' + bytes(params.arguments) + b"}"
        try:
            reply = await self._forward(server, raw)
        except NotSent:  # the connection was stale and nothing was sent
            reply = await self._forward(server, raw)
        if isinstance(reply, ErrorReply):
            return b',"error":' + reply.raw
        return b',"result":' + reply.raw

    async def _forward(self, server: str, raw: bytes) -> Reply:
        connection = await self._pool.get(_key(server), self._targets[server])
        return await connection.call("tools/call", raw, 60.0)


def _key(server: str) -> UpstreamKey:
    return UpstreamKey("main", server, server, None)


def target(document: dict[str, Any]) -> Target:
    """A target from ``{"url"}`` or ``{"command","args","env"}``."""
    if "url" in document:
        return HttpTarget(document["url"])
    return StdioTarget(document["command"], tuple(document["args"]), tuple(document.get("env", {}).items()))


def main() -> None:
    """Serve the targets of a JSON file on a free port of 127.0.0.1 and print the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", type=Path, help="JSON: server name to target")
    arguments = parser.parse_args()
    named = json.loads(arguments.targets.read_text())
    app = Passthrough({name: target(document) for name, document in named.items()})
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"url": f"http://127.0.0.1:{port}", "mcp": f"http://127.0.0.1:{port}/mcp"}), flush=True)
        await serving

    try:
        uvloop.run(serve())
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
