"""An MCP server of the official SDK with one slow tool; run as a program: ``slow_server.py FILE [http]``.

``work`` tells its progress and logs it, and with ``wait`` then waits until it is cancelled, which it writes to FILE. Over
HTTP it says on stderr where it listens.
"""

import asyncio
import socket
import sys
import warnings
from pathlib import Path

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("slow")


@server.tool()
async def work(ctx: Context, steps: int, wait: bool = False) -> str:  # noqa: FBT002 - the SDK reads the signature
    """Takes so many steps."""
    try:
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps, f"step {step}")
            await ctx.info(f"logged {step}")
        if wait:
            await anyio.sleep_forever()
    except asyncio.CancelledError:
        _note("cancelled")
        raise
    return "worked"


def _note(text: str) -> None:
    with Path(sys.argv[1]).open("a", encoding="utf-8") as told:
        told.write(f"{text}\n")


async def main() -> None:
    """Serve until the input ends, or the process is told to."""
    warnings.simplefilter("ignore")
    if "http" not in sys.argv:
        await server.run_stdio_async()
        return
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)  # noqa: T201 - said once
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
