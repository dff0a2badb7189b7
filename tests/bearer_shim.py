"""A proxy on loopback that adds an ``Authorization`` header and nothing else: for clients that can't send a token.

    python tests/bearer_shim.py URL < TOKEN

It prints where it listens on its first line. Bodies pass as they come, in both directions.
"""

import asyncio
import json
import sys
from typing import Final

import aiohttp
from aiohttp import web

# Of one connection, and not of the message (RFC 9110 section 7.6.1).
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})


def application(url: str, token: str) -> web.Application:
    """Everything under ``/`` goes to ``url``, with ``token`` as a bearer credential."""
    sessions: list[aiohttp.ClientSession] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        headers.append(("Authorization", f"Bearer {token}"))
        body = await request.read()
        async with sessions[0].request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def start(_: web.Application) -> None:
        sessions.append(aiohttp.ClientSession(auto_decompress=False, trust_env=False))

    async def stop(_: web.Application) -> None:
        await sessions[0].close()

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.on_startup.append(start)
    app.on_cleanup.append(stop)
    app.router.add_route("*", "/{tail:.*}", forward)
    return app


async def main(url: str, token: str) -> None:
    """Serve on a free port of 127.0.0.1 until ended."""
    runner = web.AppRunner(application(url, token))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"url": f"http://localhost:{port}/mcp"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.stdin.readline().strip()))
    except KeyboardInterrupt:
        sys.exit(0)
