"""Come in here for a Remit that is really served: both HTTP doors over one ``World`` on a free port, with an upstream.

``Upstream`` is an MCP server of raw bytes on ``tests.simulators.HttpSimulator``: what it lists, and what it answers,
are bytes of the test's own choosing, and everything that reached it is kept.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from remit.audit.checkpoint import signer_from_seed
from remit.gateway.proxy import Gateway
from remit.gateway.revisions import STATELESS
from remit.gateway.servers import Servers
from remit.gateway.worker_door import WorkerDoor
from remit.gateway.workers import Workers
from remit.guards.json_in import JsonLimits
from remit.services import agents, keys, policies, servers, token_keys
from remit.storage.token_keys import TokenKeyFiles
from remit.web.server import create_app
from remit.wiring import both_doors
from tests.services.world import PAY, READ, TASK, World
from tests.simulators import HELLO, Handler, HttpSimulator, Live, Request, http, result, unknown

Answering = Handler

PERSON = "ada@example.test"
REVISION = "2025-11-25"


@dataclass(slots=True)
class Upstream:
    """A server of raw bytes. ``on_call`` answers ``tools/call``; the default hands the arguments back as text."""

    tools: list[bytes] = field(default_factory=lambda: [PAY, READ])
    on_call: Answering = field(default=lambda request: answered(request, b'{"content":[{"type":"text","text":"ok"}]}'))
    page: int = 1_000
    revision: str = REVISION
    simulator: HttpSimulator = field(init=False)

    def __post_init__(self) -> None:
        """The socket, not yet listening."""
        answer, hello = self.honest()
        self.simulator = HttpSimulator(answer, hello=hello, discover=self._discovered)

    def honest(self) -> tuple[Answering, Answering]:
        """How it answers requests and the handshake, unless a test has it answer otherwise."""
        return self._answer, self._hello

    def _discovered(self, request: Request) -> bytes | Live | Awaitable[bytes | None] | None:
        return self.simulator.answer(request)

    def _hello(self, request: Request) -> bytes:
        if self.revision in STATELESS:
            return refused(request, b'{"code":-32601,"message":"there is no handshake here"}', 404)
        hello = {**HELLO, "protocolVersion": self.revision}
        return http(200, result(request.message, hello), Mcp_Session_Id="s-1")

    @property
    def effects(self) -> list[Request]:
        """Every call that arrived: what a real server would have acted on."""
        return self.simulator.calls("tools/call")

    @property
    def foreign(self) -> list[Request]:
        """Everything that arrived beside the handshake, the list and calls."""
        usual = {"initialize", "notifications/initialized", "tools/list", "tools/call", "notifications/cancelled"}
        usual.add("server/discover")
        return [one for one in self.simulator.requests if one.body and one.message.get("method") not in usual]

    def says(self, result: bytes) -> None:
        """From here on every call has exactly these result bytes."""
        self.on_call = lambda request: answered(request, result)

    def refuses(self, error: bytes) -> None:
        """From here on every call has exactly these error bytes."""
        self.on_call = lambda request: refused(request, error)

    def _answer(self, request: Request) -> bytes | Live | Awaitable[bytes | None] | None:
        match request.message.get("method"):
            case "tools/list":
                params = request.message.get("params")
                start = int(params.get("cursor", 0)) if isinstance(params, dict) else 0
                shown = b",".join(self.tools[start : start + self.page])
                following = start + self.page
                more = b',"nextCursor":"%d"' % following if following < len(self.tools) else b""
                return answered(request, b'{"tools":[' + shown + b"]" + more + b"}")
            case "tools/call":
                return self.on_call(request)
            case "server/discover" if self.revision in STATELESS:
                info = {"io.modelcontextprotocol/serverInfo": HELLO["serverInfo"]}
                found = {"supportedVersions": [self.revision], "capabilities": {"tools": {}}, "_meta": info}
                return http(200, result(request.message, found))
            case "server/discover":
                return http(200, unknown(request.message))
            case _:
                return http(202) if "id" not in request.message else answered(request, b"{}")


def answered(request: Request, result: bytes, **headers: str) -> bytes:
    """A response whose ``result`` is exactly these bytes."""
    ident = json.dumps(request.message["id"]).encode()
    return http(200, b'{"jsonrpc":"2.0","id":' + ident + b',"result":' + result + b"}", **headers)


def refused(request: Request, error: bytes, status: int = 200) -> bytes:
    """A response whose ``error`` is exactly these bytes."""
    ident = json.dumps(request.message["id"]).encode()
    return http(status, b'{"jsonrpc":"2.0","id":' + ident + b',"error":' + error + b"}")


def params_of(request: Request) -> bytes:
    """The bytes of the params that Remit sent."""
    return request.body.partition(b',"params":')[2][:-1]


def text_of(result: Mapping[str, Any]) -> str:
    """The first text of a tool result."""
    return str(result["content"][0]["text"])


@dataclass
class House:
    """A served Remit: its world, its address, and the credentials of everyone who may knock."""

    world: World
    servers: Servers
    app: ASGIApp
    http: httpx.AsyncClient
    credentials: dict[str, str] = field(default_factory=dict)
    upstream: Upstream = field(default_factory=Upstream)
    session: str = ""
    leave: Callable[[], None] = field(default=lambda: None)

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.http.base_url).rstrip("/")

    async def ask(
        self, method: str, path: str, who: str | None = None, body: object = None, **options: Any
    ) -> httpx.Response:
        """One request by ``who``: a name in ``credentials``, a credential itself, or nobody."""
        headers = dict(options.pop("headers", {}))
        if who is not None:
            headers.setdefault("authorization", f"Bearer {self.credentials.get(who, who)}")
        if body is not None:
            options["content"] = json.dumps(body)
        if "content" in options:
            headers.setdefault("content-type", "application/json")
        return await self.http.request(method, path, headers=headers, **options)

    async def rpc(
        self, method: str, params: object = None, who: str = "token", at: str = "/mcp", ident: object = 1
    ) -> dict[str, Any]:
        """One JSON-RPC request over MCP; the whole response."""
        message: dict[str, object] = {"jsonrpc": "2.0", "id": ident, "method": method}
        if params is not None:
            message["params"] = params
        answer = await self.ask("POST", at, who, message)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        found: dict[str, Any] = answer.json()
        assert found["id"] == ident
        return found

    async def call(
        self, name: str, arguments: object = None, meta: object = None, who: str = "token", at: str = "/mcp"
    ) -> dict[str, Any]:
        """One ``tools/call``; its result."""
        params: dict[str, object] = {"name": name, "arguments": arguments if arguments is not None else {}}
        if meta is not None:
            params["_meta"] = meta
        found: dict[str, Any] = (await self.rpc("tools/call", params, who, at))["result"]
        return found

    async def raw_call(self, arguments: bytes, name: str = "office__read_mail") -> httpx.Response:
        """One ``tools/call`` with these argument bytes."""
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":%s}}'
        return await self.ask("POST", "/mcp", "token", content=body % (name.encode(), arguments))

    async def state(self) -> tuple[int, int]:
        """Log size and registry epoch: what a refused request may not move."""
        async with self.world.deps.store.view(self.world.deps.org) as view:
            return await view.log.size(), await view.nouns.epoch()

    async def started(self, who: str = "host", **members: object) -> tuple[str, str]:
        """Another session of the bookkeeper: its id and its token."""
        request = {"agent": "bookkeeper", "principal": PERSON, "context": "attested", "task": TASK, **members}
        answer = await self.ask("POST", "/v1/sessions", who, request)
        assert answer.status_code == 201, answer.text
        return answer.json()["session"], answer.json()["token"]

    async def kinds_since(self, size: int) -> list[int]:
        """The kinds of the events from log index ``size`` on."""
        return [leaf["k"] for leaf in (await self.world.leaves())[size:]]

    async def with_ask_policy(self) -> None:
        """From here on a person must approve what spends, destroys or administers."""
        await policies.apply(self.world.deps, self.world.admin, (("ask.cedar", policies.shipped()),))

    async def resynced(self) -> None:
        """The upstream, whatever it is by now, is looked at anew and agreed to; open connections are closed."""
        await self.servers.close_session(self.session)
        answer: Any = await self.servers.sync(self.world.admin, "office")
        await servers.approve(self.world.deps, self.world.admin, "office", answer["server"]["fingerprint"])

    async def govern(self, *tools: str) -> None:
        """Sync the upstream as it is, review these tools as harmless reads, grant them to the bookkeeper."""
        await self.servers.sync(self.world.admin, "office")
        for tool in tools:
            await self.world.review(f"office/{tool}")
        await self.world.grant(*(f"office/{tool}" for tool in tools))


def key_files(world: World) -> TokenKeyFiles:
    """The key files of a world, in which its one key for tokens stands."""
    folder = world.path / "keys"
    folder.mkdir(exist_ok=True)
    first = folder / "token.pem"
    if not first.exists():
        first.touch(mode=0o600)
        first.write_bytes(world.deps.tokens._keys[0].key.pem())
    return TokenKeyFiles(folder)


@asynccontextmanager
async def open_house(
    world: World,
    upstream: Upstream,
    timeout: float = 10.0,
    listen: float = 300.0,
    workers: Workers | None = None,
    *,
    plan_tool: bool = False,
) -> AsyncIterator[House]:
    """Serve ``world`` with one agent that may read mail and pay, a session of it, and people of every role."""
    async with (
        upstream.simulator.serving(),
        open_doors(world, upstream, timeout, listen, workers, plan_tool=plan_tool) as house,
    ):
        await furnish(house)
        yield house


@asynccontextmanager
async def open_doors(
    world: World,
    upstream: Upstream,
    timeout: float = 10.0,
    listen: float = 300.0,
    workers: Workers | None = None,
    *,
    plan_tool: bool = False,
) -> AsyncIterator[House]:
    """Serve ``world`` as it is: one process, or one of several workers."""
    deps = world.deps
    behind = Servers(deps, time.monotonic, 1_000.0, timeout, workers)
    limits = JsonLimits()
    gateway = Gateway(deps, behind, limits, timeout, listen, workers, plan_tool=plan_tool)
    door = WorkerDoor(behind, gateway.give_up, deps.instance)
    signer = signer_from_seed("localhost:8765/main", secrets.token_bytes(32))
    api = create_app(
        deps,
        sync=behind.sync,
        check=behind.check,
        limits=limits,
        signer=signer,
        stopped=behind.stop_session,
        health=behind.health,
        rotate=partial(token_keys.rotate, deps, key_files(world)),
    )
    app = both_doors(gateway, api)
    async with (
        served(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client,
    ):
        house = House(world, behind, app, client, upstream=upstream, leave=gateway.leave)
        try:
            async with door.listening(workers) if workers is not None else nullcontext():
                yield house
        finally:
            await behind.aclose()


async def furnish(house: House) -> None:
    """One agent with a grant to read and a grant to pay, a session of it, and people of every role."""
    world, deps = house.world, house.world.deps
    document = {"kind": "Server", "name": "office", "url": house.upstream.simulator.url}
    await servers.add(deps, world.admin, document)
    await house.servers.sync(world.admin, "office")
    await world.review("office/read_mail")
    await world.review_pay()
    await world.agent()
    await world.grant("office/read_mail", limits={"calls": 1000, "per": "day"})
    await world.grant("office/pay_invoice", limits={"eur": "250.00", "per": "day"})
    await agents.activate(deps, world.admin, "bookkeeper")
    for role in ("administrator", "reviewer", "approver", "auditor", "owner", "viewer"):
        person = (await world.person(f"{role}@example.test", role)).person
        house.credentials[role] = await keys.create_person_key(deps, person)
    house.credentials["ada"] = await keys.create_person_key(deps, world.admin.person)
    for purpose in ("host", "session"):
        request = {"agent": "bookkeeper", "for": purpose, "expires": "P1D"}
        house.credentials["standing" if purpose == "session" else purpose] = str(
            (await keys.create(deps, world.admin, request))["secret"]
        )
    house.session, house.credentials["token"] = await house.started()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The application on a free port, as ``remit up`` serves it."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off", proxy_headers=False, ws="none"
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Not ``serve``: it takes the signals of whoever runs the tests, and ends a tenth of a second late.
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.force_exit = True
        await server.shutdown()


async def raw_http(url: str, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Bytes onto a socket, and the one answer: status, headers, body."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        return await read_answer(reader)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One HTTP answer with a content length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    status = int(head[0].split(" ")[1])
    return status, headers, await reader.readexactly(int(headers.get("content-length", "0")))
