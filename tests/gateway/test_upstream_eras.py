"""Which era a server behind us is met in: the newer where it speaks both, and whatever an older one does when asked."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from remit.gateway.revisions import NEWEST
from remit.gateway.upstream import HttpTarget, Limits, NotSent, Result, StdioTarget, UpstreamKey, Upstreams
from remit.gateway.upstream_eras import MEMORY_SECONDS, Eras
from remit.gateway.upstream_http import HttpConnection, open_http
from remit.gateway.upstream_stdio import StdioConnection, open_stdio
from tests.simulators import HttpSimulator, Request, child, http, result

pytestmark = pytest.mark.anyio

LIMITS = Limits(open_seconds=1.0, discover_seconds=0.2, stop_seconds=0.3)
FOUND = {"supportedVersions": [NEWEST, "2025-11-25"], "capabilities": {}, "_meta": {}}


class Clock:
    """A monotonic clock that a test moves."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def ok(request: Request) -> bytes:
    return http(200, result(request.message, "done"))


def discovers(request: Request) -> bytes:
    return http(200, result(request.message, FOUND))


def always(answer: bytes | None) -> Callable[[Request], bytes | None]:
    return lambda _: answer


def asked(server: HttpSimulator) -> list[object]:
    return [one.message["method"] for one in server.requests if one.message.get("method")]


async def met(server: HttpSimulator, eras: Eras) -> HttpConnection:
    """A connection to the server, closed again."""
    connection = await open_http(HttpTarget(server.url), LIMITS, Clock(), None, eras)
    await connection.aclose()
    return connection


# --------------------------------------------------------------------------------------------------------- over HTTP


async def test_a_server_that_speaks_both_is_met_without_a_handshake() -> None:
    async with HttpSimulator(ok, discover=discovers).serving() as server:
        connection = await met(server, Eras(Clock()))
        assert connection.stateless
        assert json.loads(connection.server_info) == FOUND
        assert asked(server) == ["server/discover"]
        [first] = server.requests
        assert (first.headers["mcp-protocol-version"], first.headers["mcp-method"]) == (NEWEST, "server/discover")


@pytest.mark.parametrize(
    "answer",
    [
        *(http(status) for status in (400, 401, 404, 405, 406, 415, 422, 500, 501)),
        http(400, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: no session"}}'),
        http(400, b"no json"),
        http(200, b"no json"),
        http(200, b"<html>", "text/html"),
        http(202),
        None,
    ],
)
async def test_a_server_that_does_not_say_what_it_is_is_asked_for_a_handshake_and_asked_once(
    answer: bytes | None,
) -> None:
    eras = Eras(clock := Clock())
    async with HttpSimulator(ok, discover=always(answer)).serving() as server:
        assert not (await met(server, eras)).stateless
        assert asked(server) == ["server/discover", "initialize", "notifications/initialized"]
        assert "mcp-method" not in server.requests[1].headers
        assert not (await met(server, eras)).stateless
        assert asked(server).count("server/discover") == 1
        clock.at += MEMORY_SECONDS
        await met(server, eras)
        assert asked(server).count("server/discover") == 2


@pytest.mark.parametrize("versions", [["2025-11-25"], [], "2026-07-28", None, ["2027-01-01"]])
async def test_a_server_that_discovers_older_revisions_alone_is_asked_for_a_handshake(versions: Any) -> None:
    found = {**FOUND, "supportedVersions": versions}
    server = HttpSimulator(ok, discover=lambda request: http(200, result(request.message, found)))
    async with server.serving():
        assert not (await met(server, Eras(Clock()))).stateless


async def test_a_server_that_never_answers_the_question_costs_its_seconds_once() -> None:
    async def never(_: Request) -> None:
        await anyio.sleep_forever()

    eras = Eras(Clock())
    with anyio.fail_after(20):
        async with HttpSimulator(ok, discover=never).serving() as server:
            for _ in range(3):
                assert not (await met(server, eras)).stateless
            assert asked(server).count("server/discover") == 1


async def test_where_there_is_no_connection_or_a_redirect_nothing_else_is_tried() -> None:
    server = HttpSimulator(ok, discover=always(http(307, Location="http://127.0.0.1:9/")))
    async with server.serving():
        with pytest.raises(NotSent, match="redirect"):
            await met(server, Eras(Clock()))
        assert asked(server) == ["server/discover"]
    with pytest.raises(NotSent, match="refused the connection"):
        await met(server, Eras(Clock()))


@pytest.mark.claim("tool:pinned")
@pytest.mark.parametrize("silence", [None, http(500), http(200, b"no json")])
async def test_silence_makes_no_older_server_of_one_that_was_met_as_a_newer(silence: bytes | None) -> None:
    """Whoever stands between may keep the answer back. Then nothing is sent, in whatever era."""
    eras = Eras(Clock())
    async with HttpSimulator(ok, discover=discovers).serving() as server:
        assert (await met(server, eras)).stateless
        server.discover = always(silence)
        with pytest.raises(NotSent):
            await met(server, eras)
        assert "initialize" not in asked(server)
        # Control: a server that nobody has met falls back, and is then compared with what was agreed to.
        assert not (await met(server, Eras(Clock()))).stateless


async def test_connections_of_a_server_that_changed_its_era_are_not_used_on() -> None:
    clock = Clock()
    pool = Upstreams(clock, LIMITS)
    async with HttpSimulator(ok).serving() as server:
        target = HttpTarget(server.url)
        old = await pool.get(UpstreamKey("main", "srv", "srv", "a"), target)
        server.discover = discovers
        assert not (await pool.get(UpstreamKey("main", "srv", "srv", "b"), target)).stateless
        clock.at += MEMORY_SECONDS
        assert (await pool.get(UpstreamKey("main", "srv", "srv", "c"), target)).stateless
        again = await pool.get(UpstreamKey("main", "srv", "srv", "a"), target)
        assert again.stateless
        assert again is not old
        await pool.aclose()


# --------------------------------------------------------------------------------------------------------- over pipes


async def spoken(mode: str, eras: Eras) -> tuple[StdioConnection, object]:
    """A child in this mode, opened, called once and closed; and what it answered."""
    command, arguments = child(mode)
    with anyio.fail_after(20):
        connection = await open_stdio(StdioTarget(command, arguments), LIMITS, Clock(), None, eras)
        try:
            reply = await connection.call("tools/call", b"{}", 5)
        finally:
            await connection.aclose()
    assert isinstance(reply, Result)
    return connection, json.loads(reply.raw)


@pytest.mark.parametrize("mode", ["shy", "frail", "stuck", "echo"])
async def test_a_child_that_can_not_bear_the_question_is_met_by_handshake_and_asked_once(mode: str) -> None:
    eras = Eras(Clock())
    first, _ = await spoken(mode, eras)
    command, arguments = child(mode)
    assert eras.stateless(StdioTarget(command, arguments)) is False
    assert not first.stateless
    second, _ = await spoken(mode, eras)
    assert second.discovered is None
    assert not second.stateless


async def test_a_child_that_is_slow_to_start_is_met_in_the_era_that_it_speaks() -> None:
    connection, answer = await spoken("late", Eras(Clock()))
    assert connection.stateless
    assert isinstance(answer, int)


async def test_a_child_that_answers_nothing_is_started_no_more_than_twice() -> None:
    command, arguments = child("mute")
    with anyio.fail_after(20), pytest.raises(NotSent):
        await open_stdio(StdioTarget(command, arguments), LIMITS, Clock(), None, Eras(Clock()))
