"""A bare MCP echo server: the least that can be served, as the yardstick for everything before it."""

import asyncio
import json
import sys

import msgspec
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

TOOL = {
    "name": "echo",
    "description": "Gives back what it was given.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


class _Params(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Request(msgspec.Struct):
    method: str
    id: msgspec.Raw = msgspec.Raw(b"")
    params: _Params | None = None


_requests = msgspec.json.Decoder(_Request)
_fixed = {
    "initialize": json.dumps(
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "echo", "version": "1"},
        }
    ).encode(),
    "tools/list": json.dumps({"tools": [TOOL]}).encode(),
    "ping": b"{}",
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """One HTTP request."""
    del scope
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    request = _requests.decode(body)
    status, answer = 202, b""
    if request.id:
        status, result = 200, _fixed.get(request.method)
        if result is None and request.params is not None:
            text = json.dumps(bytes(request.params.arguments).decode()).encode()
            result = b'{"content":[{"type":"text","text":' + text + b"}]}"
        answer = b'{"jsonrpc":"2.0","id":' + bytes(request.id) + b',"result":' + (result or b"{}") + b"}"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def main() -> None:
    """Serve on a free port of 127.0.0.1 and print the address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"mcp": f"http://127.0.0.1:{port}/mcp"}), flush=True)
    await serving


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
