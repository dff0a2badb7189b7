"""Whatever comes in at the MCP door, or back from a server, Remit answers as it should, and the log tells all of it.

A few hundred examples; ``REMIT_FUZZ=20`` takes twenty times as many.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.gateway.frames import Frame, frames
from tests.gateway.hostile import CALL, CREDENTIAL, Plan, Wire, plans, wires
from tests.gateway.watched import Watched, checked_in, exchanged, watched_house

QUIET = 0.15
"""Seconds of silence after which a client that was cut off hangs up."""
MORE = int(os.environ.get("REMIT_FUZZ", "1"))
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def bounded(examples: int) -> settings:
    """So many examples, or as many times more as were asked for."""
    # The same examples each time, unless more are asked for: what fails a change should be the change.
    return settings(
        max_examples=examples * MORE, deadline=None, suppress_health_check=SLOW, derandomize=MORE == 1, database=None
    )


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One house for all examples; at its end the control call goes through, and the log verifies."""
    with watched_house(Path(tmp_path_factory.mktemp("house"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The same, for a server that does as it likes; nobody waits long for it."""
    with watched_house(Path(tmp_path_factory.mktemp("hostile")), timeout=2.0) as opened:
        opened.house.upstream.simulator.hangs_up = True
        yield opened


ASKED = (
    ("/mcp", "token", CALL),
    ("/mcp", "token", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'),
    ("/v1/servers/office/sync", "ada", b"{}"),
    ("/mcp", "token", CALL),
)
"""What is asked while a server is hostile: calls that connect, list and forward, and a look by an administrator."""


@bounded(250)
@given(frame=frames())
def test_a_bent_frame_gets_a_sound_answer_and_one_intent_for_each_forward(watched: Watched, frame: Frame) -> None:
    watched.begin()
    watched.ask(frame.path, frame.body, frame.lines)
    watched.check()
    assert watched.witness.arrived == watched.witness.intents


@bounded(150)
@given(wire=wires())
def test_a_bent_request_gets_sound_answers_or_none(watched: Watched, wire: Wire) -> None:
    watched.begin()
    token = watched.house.credentials["token"].encode()
    parts = [part.replace(CREDENTIAL, token) for part in wire.parts]
    # What was cut off waits for more that never comes, so that its end is silence.
    checked_in(exchanged(watched.url, parts, QUIET, hang_up=wire.hangs_up), heads=b"HEAD " in b"".join(parts))
    watched.check()
    assert watched.witness.arrived == watched.witness.intents


@bounded(120)
@given(plan=plans())
def test_a_hostile_server_is_answered_for_and_every_call_to_it_has_an_end(hostile: Watched, plan: Plan) -> None:
    hostile.begin()
    hostile.serves(plan.answer)
    for path, who, body in ASKED:
        hostile.ask(path.replace("SESSION", hostile.house.session), body, who=who)
    hostile.check()
    hostile.recovers()


# The control: what the witness and the reader are there for, they see


def test_a_call_without_an_intent_does_not_pass_the_witness(tmp_path: Path) -> None:
    with watched_house(tmp_path) as watched:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "any"}}
        httpx.post(watched.house.upstream.simulator.url, json=body, trust_env=False)
        with pytest.raises(AssertionError, match="arrived 1 times with 0 intents"):
            watched.check()
        watched.witness.faults.clear()
        watched.witness.arrived.clear()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nBad\x00Name: x\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n{"error":{"code":-32603}}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP",
    ],
)
def test_an_unsound_answer_does_not_pass_the_reader(answer: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        checked_in(answer)
