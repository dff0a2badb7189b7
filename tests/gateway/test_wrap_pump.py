"""The pump between lines and the gateway: nothing is lost, nothing waits for another, and what fails is said."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import Unavailable, WrongState
from remit.core.times import MINUTE, to_text
from remit.gateway import wrap
from remit.gateway.wrap import AT_ONCE, SessionDoor, lines, pump
from remit.guards.json_in import JsonLimits
from remit.sdk import RemitClient

pytestmark = pytest.mark.anyio

LIMITS = JsonLimits(max_bytes=200)


def _request(number: int, method: str = "ping") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method}).encode()


async def _given(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@dataclass
class Wire:
    """What was written, and a way to wait until so many lines were."""

    written: list[bytes] = field(default_factory=list)
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def write(self, line: bytes) -> None:
        async with self.moved:
            self.written.append(line)
            self.moved.notify_all()

    async def until(self, count: int) -> None:
        async with self.moved:
            await self.moved.wait_for(lambda: len(self.written) >= count)

    def answers(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.written]


Said = AsyncGenerator[bytes, None]


async def _echo(line: bytes) -> Said:
    message = json.loads(line)
    if "id" in message:
        yield json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}).encode()


async def _pumped(post: Callable[[bytes], Said], *chunks: bytes) -> Wire:
    wire = Wire()
    await pump(_given(*chunks), wire.write, post, LIMITS)
    return wire


@given(
    st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\n", b" ")), max_size=8),
    st.lists(st.integers(0, 90), max_size=8),
)
def test_lines_are_the_same_however_their_bytes_arrive(wanted: list[bytes], cuts: list[int]) -> None:
    whole = b"\n".join(wanted)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    chunks = [whole[start:end] for start, end in itertools.pairwise(places)]

    async def read(bound: int) -> list[bytes | None]:
        return [line async for line in lines(_given(*chunks), bound)]

    assert asyncio.run(read(12)) == [line for line in wanted if line.strip()]
    assert asyncio.run(read(5)) == [None if len(line) > 5 else line for line in wanted if len(line) > 5 or line.strip()]


async def test_each_request_is_answered_on_a_line_and_a_notification_by_none() -> None:
    note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    wire = await _pumped(_echo, _request(1) + b"\r\n" + note + b"\n\n  \n" + _request(2))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in wire.written)
    assert sorted(str(answer["id"]) for answer in wire.answers()) == ["1", "2"]


async def test_an_answer_over_several_lines_is_written_on_one() -> None:
    async def spread(_: bytes) -> Said:
        yield b'{"jsonrpc":"2.0",\r\n "id":1,\n "result":{"text":"a\\nb"}}'

    [answer] = (await _pumped(spread, _request(1))).written
    assert answer.count(b"\n") == 1
    assert json.loads(answer)["result"] == {"text": "a\nb"}


async def test_what_remit_refuses_is_an_error_under_the_id_of_that_message() -> None:
    async def refuse(_: bytes) -> Said:
        for hint in ("Start it.",):
            raise Unavailable("it is not there", hint=hint)
        yield b""

    note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    wire = await _pumped(refuse, b"\n".join([_request(7), note, b"{not json", b'{"jsonrpc":"2.0","id":"x"}']))
    found = wire.answers()
    assert [answer["id"] for answer in found] == [7, None, None]
    assert "it is not there. Start it. [unavailable]" in str(found[0]["error"])


async def test_a_fault_of_ours_costs_one_answer_and_tells_nothing() -> None:
    async def half(line: bytes) -> Said:
        if json.loads(line)["id"] == 1:
            raise ValueError("s3cr3t")
        async for answer in _echo(line):
            yield answer

    wire = await _pumped(half, _request(1) + b"\n" + _request(2))
    assert sorted((answer["id"], "error" in answer) for answer in wire.answers()) == [(1, True), (2, False)]
    assert b"s3cr3t" not in b"".join(wire.written)


async def test_a_line_over_the_bound_is_refused_and_the_next_is_read() -> None:
    seen: list[bytes] = []

    async def post(line: bytes) -> Said:
        seen.append(line)
        async for answer in _echo(line):
            yield answer

    wire = await _pumped(post, b"x" * 150, b"x" * 150, b"x" * 150 + b"\n" + _request(3))
    assert [(answer["id"], "error" in answer) for answer in wire.answers()] == [(None, True), (3, False)]
    assert seen == [_request(3)]


async def test_a_slow_answer_holds_up_no_other_and_the_end_waits_for_it() -> None:
    slow, wire = asyncio.Event(), Wire()

    async def post(line: bytes) -> Said:
        if json.loads(line)["id"] == 1:
            await slow.wait()
        async for answer in _echo(line):
            yield answer

    running = asyncio.create_task(pump(_given(_request(1) + b"\n" + _request(2)), wire.write, post, LIMITS))
    await wire.until(1)
    assert [answer["id"] for answer in wire.answers()] == [2]
    assert not running.done()
    slow.set()
    await running
    assert [answer["id"] for answer in wire.answers()] == [2, 1]


async def test_no_more_than_so_many_messages_are_under_way() -> None:
    release, wire = asyncio.Semaphore(0), Wire()
    under_way, most = 0, 0
    full = asyncio.Event()

    async def post(line: bytes) -> Said:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == AT_ONCE:
            full.set()
        await release.acquire()
        under_way -= 1
        async for answer in _echo(line):
            yield answer

    every = b"\n".join(_request(number) for number in range(2 * AT_ONCE))
    running = asyncio.create_task(pump(_given(every), wire.write, post, LIMITS))
    await full.wait()
    for _ in range(2 * AT_ONCE):
        release.release()
    await running
    assert most == AT_ONCE
    assert len(wire.written) == 2 * AT_ONCE


def _cancel(number: int) -> bytes:
    params = {"requestId": number}
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).encode()


async def test_a_cancellation_passes_however_much_is_under_way_and_ends_what_still_waits() -> None:
    wire, posted, full, release = Wire(), list[bytes](), asyncio.Event(), asyncio.Event()

    async def post(line: bytes) -> Said:
        posted.append(line)
        if len(posted) == AT_ONCE:
            full.set()
        if b"cancelled" in line:
            release.set()
            return
        await release.wait()
        async for answer in _echo(line):
            yield answer

    every = [_request(number) for number in range(AT_ONCE + 2)]

    async def typed() -> AsyncIterator[bytes]:
        yield b"\n".join(every) + b"\n"
        await full.wait()
        yield b"\n".join([_cancel(AT_ONCE), _cancel(0)])

    await asyncio.wait_for(pump(typed(), wire.write, post, LIMITS), 10)
    assert _cancel(0) in posted
    assert every[AT_ONCE] not in posted, "it was given up before it was posted"
    assert every[AT_ONCE + 1] in posted
    assert len(wire.written) == AT_ONCE + 1


async def test_more_than_is_read_ahead_is_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrap, "READ_AHEAD", AT_ONCE)
    every = [_request(number) for number in range(3 * AT_ONCE)]
    wire = await _pumped(_echo, b"\n".join([*every, _cancel(1), b'{"method":"notifications/cancelled"}']))
    assert len(wire.written) == 3 * AT_ONCE


async def test_when_nobody_reads_any_more_it_ends() -> None:
    async def forever() -> AsyncIterator[bytes]:
        yield _request(1) + b"\n"
        await asyncio.Event().wait()

    async def gone(_: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await pump(forever(), gone, _echo, LIMITS)


async def _said(door: SessionDoor, message: bytes) -> list[bytes]:
    return [one async for one in door.post(message)]


@dataclass
class Host:
    """A server that renews tokens, and remembers which token each message came with."""

    now: int = 0
    renewed: int = 0
    ended: bool = False
    sent: list[str] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            if self.ended:
                problem = {"code": WrongState.code, "detail": "ended", "hint": "h"}
                return httpx.Response(409, json=problem, headers={"content-type": "application/problem+json"})
            self.renewed += 1
            expires = to_text(self.now + 5 * MINUTE)
            return httpx.Response(200, json={"token": f"t{self.renewed}", "token_expires_at": expires})
        self.sent.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": {}})

    def client(self, credential: str) -> RemitClient:
        return RemitClient("http://remit.test", credential, transport=httpx.MockTransport(self.answer))

    def door(self, *, renews: bool = True) -> SessionDoor:
        host = self.client("host") if renews else None
        return SessionDoor("ses_1", "files", self.client("t0"), host, 5 * MINUTE, lambda: self.now)


async def test_a_token_is_renewed_a_minute_before_it_ends_and_once_for_all_that_wait() -> None:
    host = Host()
    door = host.door()
    for now in (0, 4 * MINUTE - 1):
        host.now = now
        await _said(door, _request(1))
    assert host.renewed == 0
    host.now = 4 * MINUTE
    await asyncio.gather(*(_said(door, _request(number)) for number in range(5)))
    assert host.renewed == 1
    host.now = 500 * MINUTE  # the machine slept
    await _said(door, _request(1))
    assert host.sent == ["t0", "t0", *["t1"] * 5, "t2"]


async def test_without_a_host_the_token_stays_and_a_session_that_ended_is_said() -> None:
    host = Host(now=500 * MINUTE, ended=True)
    await _said(host.door(renews=False), _request(1))
    assert (host.sent, host.renewed) == (["t0"], 0)
    with pytest.raises(WrongState):
        await _said(host.door(), _request(1))


class Events(httpx.AsyncByteStream):
    """An event stream in parts, which remembers whether it was read to its end."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.read += 1
            yield part


def _door(stream: Events, accepted: list[str] | None = None) -> SessionDoor:
    def answer(request: httpx.Request) -> httpx.Response:
        if accepted is not None:
            accepted.append(request.headers["accept"])
        return httpx.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, stream=stream)

    client = RemitClient("http://remit.test", "t", transport=httpx.MockTransport(answer))
    return SessionDoor("ses_1", "files", client, None, 0, lambda: 0)


PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'


async def test_an_event_stream_is_handed_on_event_by_event_up_to_the_answer() -> None:
    answer = b'{"jsonrpc":"2.0","id":1,"result":{"text":"\xe2\x80\xa8"}}'
    asking = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    whole = b": hello\n\nid: 7\ndata: " + PROGRESS + b"\r\n\r\ndata: " + asking + b"\n\ndata: " + answer + b"\n\n"
    for size in (1, 7, len(whole)):
        accepted: list[str] = []
        stream = Events(*(whole[at : at + size] for at in range(0, len(whole), size)), b"data: {}\n\n")
        assert await _said(_door(stream, accepted), _request(1)) == [PROGRESS, asking, answer]
        assert stream.read < len(stream.parts)  # what comes after the answer is nobody's
        assert accepted == ["application/json, text/event-stream"]


async def test_an_answer_to_something_else_is_dropped_and_a_stream_without_the_answer_is_said_to_be_so() -> None:
    other = b'data: {"jsonrpc":"2.0","id":2,"result":{}}\n\ndata: no json\n\ndata: {"jsonrpc":"2.0","id":"1","result":{}}\n\n'
    wire = await _pumped(_door(Events(other, b"data: " + PROGRESS + b"\n\n")).post, _request(1))
    assert wire.written[0] == PROGRESS + b"\n"
    [_, failed] = wire.answers()
    assert failed["id"] == 1
    assert "before it is sent again" in str(failed["error"])


async def test_an_event_without_end_is_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrap, "_MOST", 1_000)
    for endless in (b"data: " + b"x" * 600, b"y" * 600):
        [answer] = (await _pumped(_door(Events(*[endless] * 9)).post, _request(1))).answers()
        assert "longer than any" in str(answer["error"])
    fed = Events(*[b"data: " + PROGRESS + b"\n\n"] * 50)  # a long stream of short events is not one long event
    [*heard, answer] = (await _pumped(_door(fed).post, _request(1))).answers()
    assert len(heard) == 50
    assert "ended before" in str(answer["error"])


async def test_a_call_that_broke_off_on_the_way_is_not_said_to_have_been_harmless() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone", request=request)

    def gateway(_: httpx.Request) -> httpx.Response:
        return httpx.Response(502, text="<html>")

    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for answer, known in ((broken, False), (gateway, False), (refused, True)):
        client = RemitClient("http://remit.test", "t", transport=httpx.MockTransport(answer))
        door = SessionDoor("ses_1", "files", client, None, 0, lambda: 0)
        [said] = (await _pumped(door.post, _request(1))).answers()
        assert ("nothing was allowed" in str(said["error"])) is known
        assert ("before it is sent again" in str(said["error"])) is not known
