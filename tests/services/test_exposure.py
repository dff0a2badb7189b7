"""Secrets against somebody who has the agent: what a session was shown goes to no reader, and no operator, unasked."""

from dataclasses import replace
from typing import Any

import pytest

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.services import servers
from tests.services.desk import Desk, allowed, codes, done
from tests.services.world import PAY, READ, tool

pytestmark = pytest.mark.anyio

SEND = tool("send", {"properties": {"to": {"type": "string"}, "body": {"type": "string"}}})
ASK = tool("ask", {"properties": {"query": {"type": "string"}}})
CARD: dict[str, Any] = {"/card": {"writer": "system", "type": "text", "confidentiality": ["card"]}}
TO = "ada@example.test"
TASK: list[Json] = [{"text": f"Send {TO} what is due, and pay.", "source": "principal"}]


async def shown(desk: Desk, fields: dict[str, Any] = CARD, **members: Any) -> SessionCaller:
    """A session to which the office showed a field, and in which it can send to readers."""
    await desk.world.sync(PAY, READ, SEND)
    await desk.world.review("office/read_mail", output={"from": "structured", "fields": fields})
    await desk.world.review(
        "office/send",
        effect="write",
        arguments={"/to": {"role": "who", "type": "email"}, "/body": {"role": "free_text"}},
        discloses=[{"operator": "office"}, {"readers_of": "/to"}],
        intent=["send"],
        **members,
    )
    await desk.world.grant("office/send", "office/read_mail")
    session = await desk.session(task=TASK)
    name = next(iter(fields)).removeprefix("/")
    await desk.close(session, await desk.open(session), done({"content": [], "structuredContent": {name: "4111"}}))
    return session


async def searching(desk: Desk, effect: str = "read", **members: Any) -> None:
    """Another server, which answers what it is asked."""
    await servers.add(
        desk.deps, desk.world.admin, {"kind": "Server", "name": "web", "url": "http://127.0.0.1:9/mcp", **members}
    )
    await desk.world.sync(ASK, name="web")
    await desk.world.review("web/ask", effect=effect, arguments={"/query": {"role": "free_text"}})
    await desk.world.grant("web/ask")


async def send(desk: Desk, session: SessionCaller, body: str = "hello") -> Any:
    """Words to somebody whom the task names."""
    return await desk.open(session, "office/send", {"to": TO, "body": body})


@pytest.mark.claim("flow:secrets-ask")
async def test_after_a_secret_a_tool_with_readers_asks_once_though_the_reader_is_endorsed(desk: Desk) -> None:
    session = await shown(desk)
    asked = await send(desk, session)
    assert codes(asked) == ["approval.needed", "flow.call"]
    assert (asked.reasons[1].rule, asked.reasons[1].value) == ("D1", "office/send: card")
    await desk.answer(asked)
    assert allowed(await send(desk, session))
    assert allowed(await send(desk, session, "again"))


@pytest.mark.claim("flow:secrets-ask")
async def test_with_the_secret_unlabelled_it_is_sent_in_silence(desk: Desk) -> None:
    """The negative control: the same field, of which the review says nothing."""
    session = await shown(desk, {"/card": {"writer": "system", "type": "text"}})
    assert allowed(await send(desk, session, "4111"))


async def test_private_data_that_is_no_secret_goes_to_an_endorsed_reader(desk: Desk) -> None:
    session = await shown(desk, {"/iban": {"writer": "system", "type": "iban", "confidentiality": ["finance"]}})
    assert allowed(await send(desk, session))


@pytest.mark.claim("flow:secrets-ask")
async def test_a_no_to_a_disclosure_is_a_veto_and_a_yes_to_one_secret_is_none_to_the_next(desk: Desk) -> None:
    both = {**CARD, "/password": {"writer": "system", "type": "text", "confidentiality": ["credential"]}}
    session = await shown(desk, both)
    await desk.answer(await send(desk, session))
    assert allowed(await send(desk, session))
    seen = done({"content": [], "structuredContent": {"password": "x"}})
    await desk.close(session, await desk.open(session), seen)
    asked = await send(desk, session)
    assert asked.reasons[1].value == "office/send: card, credential"
    await desk.answer(asked, "deny")
    assert codes(await send(desk, session)) == ["flow.refused"]


@pytest.mark.claim("flow:operators-are-cleared")
async def test_a_read_at_another_operator_asks_after_a_secret_and_one_at_its_own_does_not(desk: Desk) -> None:
    await searching(desk)
    session = await shown(desk)
    assert allowed(await desk.open(session))
    asked = await desk.open(session, "web/ask", {"query": "4111"})
    assert [(one.rule, one.value) for one in asked.reasons[1:]] == [("H3", "web/ask: card")]
    await desk.answer(asked)
    assert allowed(await desk.open(session, "web/ask", {"query": "4111"}))


@pytest.mark.claim("flow:operators-are-cleared")
@pytest.mark.parametrize(
    ("label", "clearance", "passes"),
    [
        ("card", ["card"], True),
        ("card", ["finance"], False),
        ("finance", [], True),
        ("finance", ["personal"], False),
        ("finance", ["personal", "finance"], True),
    ],
)
async def test_a_server_is_shown_what_it_is_cleared_for(
    desk: Desk, label: str, clearance: list[str], passes: bool
) -> None:
    await searching(desk, clearance=clearance)
    session = await shown(desk, {"/it": {"writer": "system", "type": "text", "confidentiality": [label]}})
    assert allowed(await desk.open(session, "web/ask", {"query": "it"})) is passes


@pytest.mark.claim("flow:secrets-ask")
async def test_a_query_that_leaves_the_house_asks_after_a_secret_whatever_the_server_is_cleared_for(desk: Desk) -> None:
    await searching(desk, effect="fetch", clearance=["card"])
    session = await shown(desk)
    assert (await desk.open(session, "web/ask", {"query": "4111"})).reasons[1].rule == "D1"


@pytest.mark.claim("flow:operators-are-cleared")
async def test_a_label_of_which_nobody_wrote_down_who_showed_it_was_shown_by_others(desk: Desk) -> None:
    session = await shown(desk)
    async with desk.deps.store.unit("main") as unit:
        flow = await unit.sessions.flow(session.session)
        assert flow is not None
        await unit.sessions.put_flow(replace(flow, shown_by=frozenset()))
    assert (await desk.open(session)).reasons[1].rule == "H3"


@pytest.mark.claim("flow:secrets-ask")
async def test_another_process_and_a_child_session_ask_as_well(desk: Desk) -> None:
    session = await shown(desk)
    other = await desk.another_process()
    asked = await desk.open(session, "office/send", {"to": TO, "body": "x"}, deps=other)
    assert asked.reasons[1].rule == "D1"
    child = await desk.session(task=TASK, parent=session.session)
    assert (await send(desk, child)).reasons[1].rule == "D1"


@pytest.mark.claim("flow:strayed-reads-ask")
async def test_after_a_read_that_the_task_does_not_name_words_of_its_own_ask_once(desk: Desk) -> None:
    session = await shown(desk, {"/id": {"writer": "system", "type": "office:mail"}})
    reading = {"/id": {"role": "reference", "type": "office:mail"}}
    await desk.world.review(
        "office/read_mail",
        arguments=reading,
        output={"from": "structured", "fields": {"/body": {"writer": "anyone", "type": "text"}}},
    )
    await desk.world.grant("office/read_mail", "office/send")
    body = done({"content": [], "structuredContent": {"body": "the merger is on"}})
    assert allowed(await send(desk, session, "the merger is on")), "the control: before anything was read"
    await desk.close(session, await desk.open(session, arguments={"id": "m9"}), body)
    asked = await send(desk, session, "the merger is on")
    assert [one.rule for one in asked.reasons[1:]] == ["D2"]
    assert allowed(await send(desk, session, "what is due"))
    await desk.answer(asked)
    assert allowed(await send(desk, session, "the merger is on"))
