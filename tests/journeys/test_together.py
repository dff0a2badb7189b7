"""Two servers and the command line on one home at once: one log, one budget, one answer to a question."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.journeys.stage import INTENT, OUTCOME, Home, Live, furnished, remit, up, verified
from tests.services.world import UNDEMANDING
from tests.web.house import text_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def home(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Home]:
    """A furnished home with its upstream."""
    async with furnished(tmp_path / "home") as made:
        yield made


async def without_asking(live: Live) -> None:
    """Neither a policy nor flow asks a person any more: what one call shows must not decide the next."""
    policy = {"file": "none.cedar", "text": '@id("none")\nforbid(principal, action, resource) when { false };'}
    answer = await live.ask("POST", "/v1/policies/apply", "administrator", {"sources": [policy]})
    assert answer.status_code == 200, answer.text
    review = (await live.ask("GET", "/v1/tools/office/pay_invoice/review", "administrator")).json()
    document = {name: value for name, value in review.items() if name not in ("id", "reviewed")} | {
        "arguments": UNDEMANDING
    }
    signed = await live.ask("POST", "/v1/tools/office/pay_invoice/review", "reviewer", document)
    assert signed.status_code in (200, 201), signed.text


@pytest.mark.claim("budget:exact-under-concurrency")
@pytest.mark.claim("log:no-lost-record")
async def test_two_servers_and_the_command_line_never_pass_a_limit_together(home: Home, tmp_path: Path) -> None:
    async with up(home) as one, up(home) as two:
        await without_asking(one)
        pay = {"recipient": "DE1", "amount": 20}
        calls = [
            live.call("office__pay_invoice", pay, f"c{n}-{live.url[-5:]}") for n in range(10) for live in (one, two)
        ]
        arguments = json.dumps(pay)
        token = {"REMIT_SESSION_TOKEN": home.credentials["token"]}
        decide = ("decide", "--session", home.session, "--tool", "office/pay_invoice", "--arguments", arguments)
        commands = [remit(home, *decide, "--call-id", f"cli-{n}", "--json", **token) for n in range(2)]
        with anyio.fail_after(60):
            results, decided = await asyncio.gather(asyncio.gather(*calls), asyncio.gather(*commands))
        paid = sum(text_of(result) == "ok" for result in results)
        allowed = sum(code == 0 for code, _ in decided)
        assert paid + allowed == 12
        assert len(home.upstream.effects) == paid
        refused = [text_of(result) for result in results if text_of(result) != "ok"]
        assert all("budget.exceeded" in text for text in refused)
    leaves = await verified(home, tmp_path / "proof")
    assert [leaf["i"] for leaf in leaves] == list(range(len(leaves)))
    assert sum(leaf["k"] == INTENT for leaf in leaves) == 12
    assert sum(leaf["k"] == OUTCOME for leaf in leaves) == paid


@pytest.mark.claim("approval:single-use")
async def test_a_question_is_answered_once_and_its_yes_is_used_once_whoever_is_first(
    home: Home, tmp_path: Path
) -> None:
    pay = {"recipient": "DE1", "amount": 20}
    key = home.path / "keys" / "approver@example.test.key"
    key.touch(0o600)
    key.write_text(home.credentials["approver"], "utf-8")
    async with up(home) as one, up(home) as two:
        asked = await one.call("office__pay_invoice", pay)
        approval = asked["_meta"]["remit/decision"]["approval"]["approval"]
        path = f"/v1/approvals/{approval}/answer"
        command = remit(home, "approval", "approve", approval, "--as", "approver@example.test")
        answers, (code, said) = await asyncio.gather(
            asyncio.gather(*(live.ask("POST", path, "approver", {"answer": "approve"}) for live in (one, two))), command
        )
        statuses = [answer.status_code for answer in answers]
        assert sorted([*statuses, {0: 200, 5: 409}[code]]) == [200, 409, 409], said
        results = await asyncio.gather(
            *(live.call("office__pay_invoice", pay) for live in (one, two) for _ in range(4))
        )
        assert sum(text_of(result) == "ok" for result in results) == 1
        assert len(home.upstream.effects) == 1
    leaves = await verified(home, tmp_path / "proof")
    assert sum(leaf["k"] == INTENT for leaf in leaves) == 1


async def test_what_one_server_takes_away_the_other_refuses_on_the_next_call(home: Home) -> None:
    async with up(home) as one, up(home) as two:
        assert text_of(await two.call("office__read_mail", {"id": "1"})) == "ok"
        answer = await one.ask("POST", f"/v1/sessions/{home.session}/kill", "administrator", {"reason": "drill"})
        assert answer.status_code == 200
        assert "session.not_live" in text_of(await two.call("office__read_mail", {"id": "2"}))
        assert len(home.upstream.effects) == 1


async def test_a_server_that_ends_leaves_the_note_of_the_one_that_lives(home: Home) -> None:
    note = home.path / "run" / "server.json"
    async with up(home) as one:
        first = json.loads(note.read_text("utf-8"))["pid"]
        async with up(home) as two:
            assert json.loads(note.read_text("utf-8"))["pid"] == two.process.pid
            one.process.terminate()
            await one.process.wait()
            assert json.loads(note.read_text("utf-8"))["pid"] == two.process.pid
            code, said = await remit(home, "status", "--json")
            assert (code, json.loads(said)["health"]["ok"]) == (0, True)
        assert first == one.process.pid
    assert not note.exists()


async def test_a_server_that_is_asked_to_end_lets_a_call_end_first(home: Home, tmp_path: Path) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()
    usual = home.upstream.on_call

    async def held(request: object) -> bytes | None:
        arrived.set()
        await release.wait()
        answer = usual(request)  # type: ignore[arg-type]
        assert isinstance(answer, bytes)
        return answer

    home.upstream.on_call = held
    async with up(home) as live:
        calling = asyncio.ensure_future(live.call("office__read_mail", {"id": "1"}, "last"))
        with anyio.fail_after(30):
            await arrived.wait()
            live.process.terminate()
            release.set()
            assert text_of(await calling) == "ok"
            await live.process.wait()
    leaves = await verified(home, tmp_path / "proof")
    assert [leaf["k"] for leaf in leaves if leaf.get("call") == "last"] == [INTENT, OUTCOME]
