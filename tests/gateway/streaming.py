"""Come in here for calls that stream: a server that says things before it answers, and a client that reads them as they come."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from remit.gateway import revisions
from tests.simulators import Request
from tests.web.house import House

BOTH = "application/json, text/event-stream"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
OK: dict[str, Any] = {"content": [{"type": "text", "text": "ok"}]}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def until(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds; a test that waits in vain fails."""
    with anyio.fail_after(20):
        while not condition():
            await asyncio.sleep(0.005)


# ------------------------------------------------------------------------------------------------------- the server


@dataclass(slots=True)
class Said:
    """One call as its server has it: what it may still say, and whether anybody is there."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def token(self) -> Any:
        """The progress token that came with the call."""
        params: Any = self.request.message["params"]
        return params.get("_meta", {}).get("progressToken")

    async def raw(self, *messages: bytes) -> None:
        """These messages, each an event."""
        self.writer.write(b"".join(b"data: " + message + b"\n\n" for message in messages))
        await self.writer.drain()

    async def progress(self, progress: object, **members: object) -> None:
        """Progress under the token that came with the call."""
        await self.raw(notified("notifications/progress", progressToken=self.token, progress=progress, **members))

    async def answer(self, result: object = OK) -> None:
        """The answer."""
        await self.raw(json.dumps({"jsonrpc": "2.0", "id": self.request.message["id"], "result": result}).encode())

    async def left(self) -> None:
        """Return once the other side has closed the connection."""
        while await self.reader.read(4_096):
            pass


def notified(method: str, **params: object) -> bytes:
    """A notification."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def logged(level: str, data: object, **members: object) -> bytes:
    """A log message."""
    return notified("notifications/message", level=level, data=data, **members)


Talk = Callable[[Said], Awaitable[None]]


def streams(house: House, talk: Talk) -> None:
    """From here on the office answers every call as an event stream, with ``talk`` for its words."""

    def on_call(request: Request) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD)
            await talk(Said(request, reader, writer))

        return live

    house.upstream.on_call = on_call


def told(house: House) -> list[Any]:
    """The ids of the calls that the office was told nobody waits for any more."""
    messages: list[Any] = [one.message for one in house.upstream.simulator.calls("notifications/cancelled")]
    return [message["params"]["requestId"] for message in messages]


# ------------------------------------------------------------------------------------------------------- the client


def headers_of(house: House, revision: str, method: str, params: dict[str, Any], who: str = "token") -> dict[str, str]:
    """What a client of this revision sends beside a request."""
    sent = {"authorization": f"Bearer {house.credentials.get(who, who)}", "accept": BOTH}
    sent |= {"content-type": "application/json", "mcp-protocol-version": revision}
    if revision in revisions.STATELESS:
        sent["mcp-method"] = method
        if revisions.NAMED.get(method) in params:
            sent["mcp-name"] = str(params[revisions.NAMED[method]])
    return sent


def params_for(revision: str, params: dict[str, Any], **meta: Any) -> dict[str, Any]:
    """Params with ``_meta``, and what a stateless client says of itself in it."""
    own = {revisions.VERSION: revision, revisions.CAPABILITIES: {}} if revision in revisions.STATELESS else {}
    return {**params, "_meta": {**own, **meta}}


@dataclass(slots=True)
class Heard:
    """What a client was sent in answer to one request."""

    status: int
    headers: httpx.Headers
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def streamed(self) -> bool:
        """Whether it came as an event stream."""
        return self.headers["content-type"] == "text/event-stream"

    @property
    def frames(self) -> list[dict[str, Any]]:
        """What came before the answer."""
        return [message for message in self.messages if "id" not in message]

    @property
    def result(self) -> dict[str, Any]:
        """The result, which came last."""
        found: dict[str, Any] = self.messages[-1]["result"]
        return found


@asynccontextmanager
async def opened(
    house: House,
    method: str = "tools/call",
    params: dict[str, Any] | None = None,
    *,
    revision: str = "2026-07-28",
    who: str = "token",
    ident: object = 7,
    accept: str = BOTH,
) -> AsyncIterator[tuple[Heard, AsyncIterator[dict[str, Any]]]]:
    """One request, and its messages one by one as they come."""
    given = params if params is not None else {}
    headers = {**headers_of(house, revision, method, given, who), "accept": accept}
    body = json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": given})
    async with house.http.stream("POST", "/mcp", headers=headers, content=body) as response:
        heard = Heard(response.status_code, response.headers)

        async def each() -> AsyncIterator[dict[str, Any]]:
            if not heard.streamed:
                heard.messages.append(json.loads(await response.aread()))
                yield heard.messages[-1]
                return
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    heard.messages.append(json.loads(line.removeprefix("data: ")))
                    yield heard.messages[-1]

        yield heard, each()


async def whole(house: House, params: dict[str, Any], **options: Any) -> Heard:
    """One call to its end."""
    async with opened(house, "tools/call", params, **options) as (heard, messages):
        async for _ in messages:
            pass
    return heard


def read_mail(revision: str = "2026-07-28", **meta: Any) -> dict[str, Any]:
    """A call of the tool that everybody may call."""
    return params_for(revision, {"name": "office__read_mail", "arguments": {"id": "m1"}}, **meta)


async def outcomes(house: House, size: int = 0) -> list[dict[str, Any]]:
    """The ends of calls in the log from index ``size`` on."""
    return [leaf for leaf in (await house.world.leaves())[size:] if leaf["k"] in (63, 64)]


async def kept_frames(house: House, index: int) -> Any:
    """What the log keeps of the frames of one outcome, as an auditor reads it."""
    answer = await house.ask("GET", f"/v1/audit/events/{index}", "auditor")
    payload = answer.json().get("payload")
    return payload.get("/frames") if isinstance(payload, dict) else payload
