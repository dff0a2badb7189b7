"""What goes wrong on the way to a server is the refusal of a call, with an event; never a request that just breaks."""

import sys
from pathlib import Path
from typing import Any

import pytest

from remit.core.canonical import Json
from remit.gateway import servers as upstreams
from remit.services import servers
from tests.gateway import child
from tests.gateway.streaming import until
from tests.gateway.test_two_workers import lives
from tests.services.world import World
from tests.web.house import House, Upstream, open_house, text_of

pytestmark = pytest.mark.anyio

CALL: Any = {"name": "office__read_mail", "arguments": {"id": "1"}}


@pytest.mark.claim("log:no-effect-without-intent")
async def test_the_unexpected_on_the_way_to_a_server_ends_a_call_with_an_event(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> Json:
        raise OSError(36, "of no kind that anybody thought of")

    monkeypatch.setattr(upstreams, "_identity", broken)
    size, _ = await house.state()
    said = text_of(await house.call(CALL["name"], CALL["arguments"]))
    assert "was not called: something went wrong in Remit" in said
    assert await house.kinds_since(size) == [62, 63]
    assert house.upstream.effects == []


async def test_a_program_with_a_long_argument_is_a_server_as_any_other(house: House, tmp_path: Path) -> None:
    code = Path(child.__file__).read_text() + "\n# " + "x" * 5_000
    stdio: Json = {"command": sys.executable, "args": ["-I", "-S", "-c", code, str(tmp_path / "acted")], "env": {}}
    document: Any = {"kind": "Server", "name": "long", "stdio": stdio}
    await servers.add(house.world.deps, house.world.admin, document)
    answer = await house.ask("POST", "/v1/servers/long/sync", "administrator", {})
    assert answer.status_code == 200, answer.text


@pytest.mark.claim("upstream:nothing-for-an-ended-session")
@pytest.mark.parametrize("remembered", [True, False])
async def test_no_child_is_started_for_a_session_that_has_ended(
    house: House, tmp_path: Path, *, remembered: bool
) -> None:
    """A call of who saw the session alive a moment ago. The control: with its end forgotten a child is started."""
    stdio: Json = {"command": sys.executable, "args": ["-I", "-S", child.__file__, str(tmp_path / "acted")], "env": {}}
    await servers.add(house.world.deps, house.world.admin, {"kind": "Server", "name": "desk", "stdio": stdio})
    await house.servers.sync(house.world.admin, "desk")
    await house.world.review("desk/whoami")
    await house.world.grant("desk/whoami")
    session, token = await house.started()
    pid = int(text_of(await house.call("desk__whoami", who=token)))
    await house.ask("POST", f"/v1/sessions/{session}/end", "host", {})
    await until(lambda: not lives(pid))
    if not remembered:
        house.servers._ended.clear()
    assert "session.not_live" in text_of(await house.call("desk__whoami", who=token))
    assert (session in house.servers.sessions()) is not remembered
    await house.servers.end_session(session)


async def test_a_call_that_was_never_sent_is_not_said_to_have_been(world: World) -> None:
    async with open_house(world, Upstream()) as house:
        assert text_of(await house.call("office__read_mail", {"id": "0"})) == "ok"
        document: dict[str, Json] = {"kind": "Server", "name": "office", "url": "http://127.0.0.1:9/mcp"}
        await servers.change(world.deps, world.admin, "office", document)
        sent = len(house.upstream.effects)
        assert "was not called" in text_of(
            await house.call("office__read_mail", {"id": "1"}, {"remit/call_id": "mine"})
        )
        again = text_of(await house.call("office__read_mail", {"id": "1"}, {"remit/call_id": "mine"}))
    assert "already taken up" in again
    assert "forwarded" not in again
    assert len(house.upstream.effects) == sent


@pytest.mark.claim("gateway:headers-agree")
@pytest.mark.parametrize(
    "version", [{}, {"mcp-protocol-version": "2025-06-18"}, {"mcp-protocol-version": "2025-11-25"}]
)
@pytest.mark.parametrize("said", [{"mcp-method": "tools/list"}, {"mcp-name": "office__harmless"}])
async def test_headers_that_name_another_call_are_refused_under_every_revision(
    house: House, version: dict[str, str], said: dict[str, str]
) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
    refused = await house.ask("POST", "/mcp", "token", body, headers={**version, **said})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020), refused.text
    right = {"mcp-method": "tools/call", "mcp-name": CALL["name"]}
    assert (await house.ask("POST", "/mcp", "token", body, headers={**version, **right})).status_code == 200
    assert len(house.upstream.effects) == 1


async def test_a_call_id_used_again_in_an_ended_session_is_answered_in_json_rpc(house: House) -> None:
    params = {**CALL, "_meta": {"remit/call_id": "x1"}}
    await house.call(CALL["name"], CALL["arguments"], {"remit/call_id": "x1"})
    await house.ask("POST", f"/v1/sessions/{house.session}/end", "host", {})
    house.world.later(2_000)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**params, "arguments": {"id": "2"}}}
    answer = await house.ask("POST", "/mcp", "token", body)
    assert (answer.status_code, answer.json()["jsonrpc"], answer.json()["error"]["code"]) == (200, "2.0", -32602)
