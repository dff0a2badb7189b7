"""Come in here for a served house that is watched from outside: raw sockets in, and what must hold whatever came in.

The house runs in a thread of its own, so that a test, and hypothesis in it, is plain code with blocking sockets.
"""

import asyncio
import json
import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from remit.audit.checkpoint import Signer, signer_from_seed
from remit.audit.verify import verify
from remit.core.credentials import PersonCaller
from remit.core.events import EventDraft, Kind
from remit.services import audit, people
from remit.services.sealing import Sealer
from remit.storage.sqlite import create_store
from remit.storage.subject_keys import SubjectKeys
from tests.services.world import PAY, READ, HandClock, SystemEntropy, World, make_deps, tool
from tests.simulators import Request
from tests.web.house import Answering, House, Upstream, answered, open_house

T = TypeVar("T")

ORIGIN = "localhost:8765/main"
MARK = "zq-argument-text"
"""Stands in every text that a fuzzed argument or tool name holds, so that it can be looked for where it must not be."""
PATIENCE = 15.0
"""Seconds within which whatever is to come has come."""
STEP = 5_000
"""Milliseconds between two examples: a session that is refused sixty times a minute is suspended."""
SESSION_EXAMPLES = 40
"""Examples after which another session is started: a token lives five minutes."""
ANY = tool("any", {"type": "object"}, description="Takes anything.")
MARKED = tool(
    "marked",
    {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}, "n": {"type": "integer"}}},
    description="Repeats an argument in a header.",
)
OK = b'{"content":[{"type":"text","text":"ok"}]}'


# HTTP, read strictly

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*")
_PARSERS_NO = "text/plain; charset=utf-8"
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")
_BARE = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


def answers_in(data: bytes, *, heads: bool = False) -> list[HttpAnswer]:
    """All answers in what a connection gave, but interim ones. Fails for a byte that HTTP does not allow there."""
    found: list[HttpAnswer] = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"an answer's head is cut off: {head[:200]!r}"
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        assert status is not None, first[:200]
        fields = [_HEADER.fullmatch(line) for line in lines]
        assert all(fields), lines
        headers = {one[1].decode().lower(): one[2].decode("latin-1") for one in fields if one is not None}
        code = int(status[1])
        if code < 200:
            continue
        # The HTTP parser says its own no in words, whatever was asked before.
        bare = code in _BARE or (heads and headers.get("content-type") != _PARSERS_NO)
        length = 0 if bare else int(headers.get("content-length", "-1"))
        if length < 0:
            assert headers.get("connection") == "close", headers
            assert "transfer-encoding" not in headers, headers
            length = len(data)
        assert len(data) >= length, f"a body of {length} bytes ends after {len(data)}"
        found.append(HttpAnswer(code, headers, data[:length]))
        data = data[length:]
    return found


def check_answer(answer: HttpAnswer) -> None:
    """No answer says that something went wrong inside, and each with a body is JSON, or the HTTP parser's own no."""
    assert answer.status != 500, answer
    if not answer.body:
        return
    if answer.headers.get("content-type") == _PARSERS_NO:
        assert (answer.status, answer.body) == (400, b"Invalid HTTP request received."), answer
        return
    assert answer.headers["content-type"].partition(";")[0] in {"application/json", "application/problem+json"}
    document = answer.document
    assert document.get("error", {}).get("code") != -32603, answer
    if answer.headers["content-type"] == "application/problem+json":
        assert document["status"] == answer.status, answer


def checked_in(data: bytes, *, heads: bool = False) -> list[HttpAnswer]:
    """All answers in what a connection gave, each checked."""
    found = answers_in(data, heads=heads)
    for answer in found:
        check_answer(answer)
    return found


def exchanged(url: str, parts: Sequence[bytes], quiet: float | None = None, *, hang_up: bool = False) -> bytes:
    """Write ``parts``, each in a packet of its own; all that came back until the other side ended the connection.

    With ``quiet``, so many seconds without a byte end it too. Raises ``TimeoutError`` for a side that never ends it.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts:
                connection.sendall(part)
            if hang_up:
                return b""
        except ConnectionError:
            pass  # refused before all was sent; the answer may be there all the same
        return _read_all(connection, quiet)


def _read_all(connection: socket.socket, quiet: float | None) -> bytes:
    received = bytearray()
    connection.settimeout(quiet or PATIENCE)
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionError:
        pass  # reset after its answer, because it did not read all that was sent
    except TimeoutError:
        if quiet is None:
            raise
    return bytes(received)


# What must hold of the log


@dataclass(slots=True)
class Witness:
    """Reads the log as it grows, and sees each call arrive upstream."""

    world: World
    read: int = 0
    intents: dict[str, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    arrived: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def look(self) -> None:
        """Take in what the log has gained."""
        async with self.world.deps.store.view(self.world.deps.org) as view:
            entries = await view.log.read(self.read, await view.log.size())
        for entry in entries:
            if entry.index < self.read:
                continue  # another look has read it meanwhile
            self.read = entry.index + 1
            self._take(json.loads(entry.leaf))
            if MARK.encode() in entry.leaf:
                self.faults.append(f"event {entry.index} holds text of an argument")

    def _take(self, event: dict[str, Any]) -> None:
        if event["k"] == Kind.INTENT:
            self.intents[event["tool"]] = self.intents.get(event["tool"], 0) + 1
            self.open.add(event["i"])
        elif event["k"] in {Kind.OUTCOME, Kind.UNKNOWN}:
            if event["intent"] not in self.open:
                self.faults.append(f"event {event['i']} ends intent {event['intent']}, which is not open")
            self.open.discard(event["intent"])

    def seeing(self, answering: Callable[[Request], bytes]) -> Answering:
        """The same answers, each call seen first."""

        async def seen(request: Request) -> bytes:
            await self.saw(request)
            return answering(request)

        return seen

    async def saw(self, request: Request) -> None:
        """A call has arrived upstream: by now its intent must be in the log, and no other call's."""
        params = request.message.get("params")
        name = f"office/{params.get('name')}" if isinstance(params, dict) else "no params"
        self.arrived[name] = self.arrived.get(name, 0) + 1
        await self.look()
        if self.arrived[name] > self.intents.get(name, 0):
            self.faults.append(f"{name} arrived {self.arrived[name]} times with {self.intents.get(name, 0)} intents")

    async def settled(self) -> None:
        """Wait until no intent is open. Raises ``TimeoutError``."""
        async with asyncio.timeout(PATIENCE):
            await self.look()
            while self.open:
                await asyncio.sleep(0)
                await self.look()


# The house


@dataclass(slots=True)
class Watched:
    """A house in a thread of its own, and its witness."""

    house: House
    witness: Witness
    signer: Signer
    portal: BlockingPortal
    examples: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.house.url

    def do(self, work: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Run something on the house's own event loop; its result."""
        return self.portal.start_task_soon(work, *arguments).result(PATIENCE * 2)

    def begin(self) -> None:
        """Before each example: a second later, and now and then another session."""
        self.house.world.later(STEP)
        self.examples += 1
        if self.examples % SESSION_EXAMPLES == 0:
            self.do(self.renewed)

    async def renewed(self) -> None:
        """Another session for what follows."""
        await self.house.servers.close_session(self.house.session)
        self.house.session, self.house.credentials["token"] = await self.house.started()

    def request(self, path: str, body: bytes, lines: Sequence[bytes] = (), who: str = "token") -> bytes:
        """The bytes of a POST, after which the connection ends."""
        head = [f"POST {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close"]
        head += [b"Authorization: Bearer " + self.house.credentials[who].encode()]
        head += [b"Content-Type: application/json", b"Content-Length: %d" % len(body), *lines, b"", b""]
        return b"\r\n".join(head) + body

    def ask(self, path: str, body: bytes, lines: Sequence[bytes] = (), who: str = "token") -> HttpAnswer:
        """One whole request on a connection of its own, and its one answer, which is checked."""
        data = exchanged(self.url, [self.request(path, body, lines, who)])
        found = checked_in(data)
        assert len(found) == 1, data[:500]
        return found[0]

    def check(self) -> None:
        """After each example: it lives, every intent has an end, and nobody saw anything that must not be."""
        data = exchanged(self.url, [b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
        assert [answer.status for answer in answers_in(data)] == [200], data
        self.do(self.witness.settled)
        assert not self.witness.faults, self.witness.faults
        assert not self.house.upstream.foreign, self.house.upstream.foreign
        self.house.upstream.simulator.requests.clear()

    def forwards(self) -> None:
        """The control: a good call still goes through, so what was refused was not refused by chance."""
        before = self.witness.arrived.get("office/any", 0)
        params = {"name": "office__any", "arguments": {}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        answer = self.ask("/mcp", body.encode())
        assert "isError" not in answer.document["result"], answer
        assert self.witness.arrived["office/any"] == before + 1

    def serves(self, answering: Callable[[Request], bytes]) -> None:
        """From here on the upstream answers everything so, over new connections."""
        simulator = self.house.upstream.simulator
        seen = self.witness.seeing(answering)
        simulator.hello = answering
        simulator.answer = lambda request: (
            seen(request) if request.message.get("method") == "tools/call" else answering(request)
        )
        self.do(self.house.servers.close_session, self.house.session)

    def recovers(self) -> None:
        """The upstream is itself again, and is agreed to again."""
        upstream = self.house.upstream
        upstream.simulator.answer, upstream.simulator.hello = upstream.honest()
        self.do(self.house.resynced)

    def verified(self) -> None:
        """The log, exported, holds."""
        answer = verify(self.do(self._exported), self.signer.verifier_key_text)
        assert (answer["ok"], answer["problems"]) == (True, [])
        assert answer["size"] == self.witness.read

    async def _exported(self) -> list[bytes]:
        world = self.house.world
        return [line async for line in audit.export(world.deps, world.admin, self.signer, private=False)]


@contextmanager
def watched_house(path: Path, timeout: float = 10.0) -> Iterator[Watched]:
    """A served house, watched: two tools that an agent may call as it likes."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(_opened(path, timeout)) as opened,
    ):
        house, signer = opened
        witness = Witness(house.world)
        house.upstream.on_call = witness.seeing(lambda request: answered(request, OK))
        watched = Watched(house, witness, signer, portal)
        yield watched
        watched.begin()
        watched.check()
        watched.forwards()
        watched.check()
        watched.verified()


@asynccontextmanager
async def _opened(path: Path, timeout: float) -> AsyncIterator[tuple[House, Signer]]:
    async with (
        _founded(path) as (world, signer),
        open_house(world, Upstream([PAY, READ, ANY, MARKED]), timeout) as house,
    ):
        await house.govern("any", "marked")
        yield house, signer


@asynccontextmanager
async def _founded(path: Path) -> AsyncIterator[tuple[World, Signer]]:
    """A world whose log begins as a home's does, so that a verifier takes it."""
    clock, signer = HandClock(), signer_from_seed(ORIGIN, secrets.token_bytes(32))
    sealer = Sealer(SubjectKeys(path / "subjects", SystemEntropy()), SystemEntropy())
    store = await create_store(path / "remit.db", clock, sealer)
    deps = make_deps(store, clock, sealer)
    founder = deps.new_id("per")
    genesis = EventDraft(kind=Kind.GENESIS, actor=founder, subject=founder, origin=ORIGIN, key=signer.verifier_key_text)
    async with store.unit(deps.org) as unit:
        await unit.log.append(genesis)
    first = await people.found(deps, "ada@example.test", "Ada", founder)
    yield World(deps, clock, PersonCaller(org=deps.org, key="key_0", person=first), path), signer
    await store.close()
