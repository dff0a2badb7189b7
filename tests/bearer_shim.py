"""A proxy on loopback that adds an ``Authorization`` header and nothing else: for clients that can't send a token.

    python tests/bearer_shim.py URL < TOKEN

It prints where it listens on its first line. Bytes pass as they come, in both directions and as soon as they come, so
that what is judged through it is not its own reading of HTTP. It carries one request a connection, and says so.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

_HEAD_LIMIT: Final = 65_536
_CHUNK: Final = 65_536


class Shim:
    """Every request goes to the path of ``url``, with ``token`` as a bearer credential."""

    def __init__(self, url: str, token: str) -> None:
        """Nothing is connected yet."""
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path
        self._added = f"Authorization: Bearer {token}\r\nConnection: close\r\n".encode()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            behind, ahead = await asyncio.open_connection(self._host, self._port)
            try:
                ahead.write(self.head(head))
                await self._both_ways(reader, writer, behind, ahead)
            finally:
                ahead.close()
        writer.close()

    def head(self, head: bytes) -> bytes:
        """A request's head with the credential in it, for the path behind; every other header as it came."""
        line, _, rest = head.partition(b"\r\n")
        method, version = line.split(b" ", 1)[0], line.rsplit(b" ", 1)[-1]
        kept = [one for one in rest.split(b"\r\n") if not one.lower().startswith(b"connection:")]
        return b" ".join((method, self._path.encode(), version)) + b"\r\n" + self._added + b"\r\n".join(kept)

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behind: asyncio.StreamReader,
        ahead: asyncio.StreamWriter,
    ) -> None:
        """Until the answer is whole, or either side is gone."""
        directions = {asyncio.create_task(pump(reader, ahead)), asyncio.create_task(pump(behind, writer))}
        done, left = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        await asyncio.gather(*done, *left, return_exceptions=True)


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Every byte, until there are no more."""
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()


async def main(url: str, token: str) -> None:
    """Serve on a free port of 127.0.0.1 until ended."""
    server = await asyncio.start_server(Shim(url, token).connection, "127.0.0.1", 0, limit=_HEAD_LIMIT)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://localhost:{port}/mcp"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.stdin.readline().strip()))
    except KeyboardInterrupt:
        sys.exit(0)
