"""The official SDK's everything-server on a free port of loopback; it says where on its first line, once it listens.

Run by path, with a checkout of ``examples/servers/everything-server`` on ``PYTHONPATH``: it is published nowhere.
"""

import importlib
import json
import socket
import sys

import uvicorn

_startup = uvicorn.Server.startup


async def _announced(self: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
    """Start listening, then say where."""
    await _startup(self, sockets)
    port = self.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://localhost:{port}/mcp"}), flush=True)


if __name__ == "__main__":
    uvicorn.Server.startup = _announced  # type: ignore[method-assign]  # its only way to tell
    sys.exit(importlib.import_module("mcp_everything_server.server").main.callback(0, "ERROR"))
