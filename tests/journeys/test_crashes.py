"""Real ``remit`` processes that are killed, starved of disk and robbed of their store, while an agent works."""

import asyncio
import json
import os
import random
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.journeys.stage import INTENT, OUTCOME, PASSTHROUGH, UNKNOWN, Home, Live, furnished, remit, up, verified
from tests.simulators import Request
from tests.web.house import answered, text_of

pytestmark = pytest.mark.anyio
PAY = {"recipient": "DE1", "amount": 200}
OK = b'{"content":[{"type":"text","text":"ok"}]}'


@pytest.fixture
async def home(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Home]:
    """A furnished home with its upstream."""
    async with furnished(tmp_path / "home") as made:
        yield made


class Gate:
    """An upstream call that is held at the very moment of its effect, until the test lets it go."""

    def __init__(self, home: Home) -> None:
        self.arrived, self.release = asyncio.Event(), asyncio.Event()
        home.upstream.on_call = self._hold

    async def _hold(self, request: Request) -> bytes | None:
        self.arrived.set()
        await self.release.wait()
        return answered(request, OK)


async def attempted(live: Live, name: str, arguments: object, call_id: str) -> dict[str, Any] | None:
    """One call, or None when the server died under it."""
    try:
        return await live.call(name, arguments, call_id)
    except httpx.HTTPError:
        return None


async def agreed(live: Live, arguments: object) -> None:
    """A person's yes to this payment, which the shipped policy asks for."""
    asked = await live.call("office__pay_invoice", arguments)
    approval = asked["_meta"]["remit/decision"]["approval"]["approval"]
    answer = await live.ask("POST", f"/v1/approvals/{approval}/answer", "approver", {"answer": "approve"})
    assert answer.status_code == 200, answer.text


def ids_of_effects(home: Home) -> Counter[str]:
    """The ids that the upstream acted on, from its own record."""
    return Counter(json.loads(one.body)["params"]["arguments"]["id"] for one in home.upstream.effects)


# ---------------------------------------------------------------------------------------------------- kill -9


@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.claim("upstream:unknown-not-retried")
async def test_a_call_that_was_cut_off_by_kill_9_is_unknown_spent_listed_and_never_sent_again(
    home: Home, tmp_path: Path
) -> None:
    gate = Gate(home)
    async with up(home) as live:
        await agreed(live, PAY)
        paying = asyncio.ensure_future(attempted(live, "office__pay_invoice", PAY, "cut-off"))
        with anyio.fail_after(30):
            await gate.arrived.wait()
        await live.kill()
        assert await paying is None
    gate.release.set()
    home.upstream.says(OK)
    async with up(home) as live:
        [waiting] = (await live.ask("GET", "/v1/audit/unknown", "auditor")).json()["items"]
        assert (waiting["call"], waiting["tool"], waiting["state"]) == ("cut-off", "office/pay_invoice", "unknown")
        assert "already taken up" in text_of(await live.call("office__pay_invoice", PAY, "cut-off"))
        assert "budget.exceeded" in text_of(await live.call("office__pay_invoice", PAY))
        code, said = await remit(home, "audit", "unknown", "--json")
        assert (code, "cut-off" in said) == (0, True)
    assert len(home.upstream.effects) == 1
    leaves = await verified(home, tmp_path / "proof")
    assert [leaf["k"] for leaf in leaves if leaf.get("call") == "cut-off"] == [INTENT, UNKNOWN]


@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.claim("log:no-lost-record")
async def test_killed_again_and_again_under_load_every_effect_has_its_intent_and_nothing_acknowledged_is_lost(
    home: Home, tmp_path: Path
) -> None:
    chance = random.Random(7)  # noqa: S311 - which moment is hit, not a secret
    acknowledged: set[str] = set()

    async def worker(live: Live, name: str) -> None:
        for number in range(10_000):
            ident = f"{name}-{number}"
            answer = await attempted(live, "office__read_mail", {"id": ident}, ident)
            if answer is None:
                return
            if text_of(answer) == "ok":
                acknowledged.add(ident)

    for number in range(4):
        before = len(home.upstream.effects)
        wanted = before + chance.randint(1, 25)
        async with up(home) as live:
            workers = [asyncio.ensure_future(worker(live, f"r{number}w{index}")) for index in range(6)]
            with anyio.fail_after(60):
                while len(home.upstream.effects) < wanted:
                    await asyncio.sleep(0)
                await live.kill()
                await asyncio.gather(*workers)
    async with up(home):
        pass
    leaves = await verified(home, tmp_path / "proof")
    events: dict[str, list[int]] = {}
    for leaf in leaves:
        if "call" in leaf and leaf["k"] in (INTENT, OUTCOME, UNKNOWN):
            events.setdefault(leaf["call"], []).append(leaf["k"])
    effects = ids_of_effects(home)
    assert effects
    assert set(effects.values()) == {1}
    assert set(effects) <= set(events)
    assert acknowledged
    assert all(events[ident] == [INTENT, OUTCOME] for ident in acknowledged)
    assert all(kinds in ([INTENT, OUTCOME], [INTENT, UNKNOWN]) for kinds in events.values())
    assert any(kinds == [INTENT, UNKNOWN] for kinds in events.values())


@pytest.mark.claim("log:no-effect-without-intent")
async def test_a_raw_pass_through_in_remit_s_place_has_effects_and_no_record(home: Home, tmp_path: Path) -> None:
    """The negative control: the same upstream behind ``bench/passthrough.py``, which records nothing before it acts."""
    targets = tmp_path / "targets.json"
    targets.write_text(json.dumps({"office": {"url": home.upstream.simulator.url}}), "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PASSTHROUGH), str(targets), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    gate = Gate(home)
    facts = json.loads(await process.stdout.readline())
    async with httpx.AsyncClient(base_url=facts["url"], trust_env=False, timeout=30) as client:
        live = Live(home, process, facts["url"], client)
        paying = asyncio.ensure_future(attempted(live, "office__pay_invoice", PAY, "unseen"))
        with anyio.fail_after(30):
            await gate.arrived.wait()
        await live.kill()
        assert await paying is None
    gate.release.set()
    assert len(home.upstream.effects) == 1
    leaves = await verified(home, tmp_path / "proof")
    assert not any(leaf["k"] == INTENT for leaf in leaves)


# ------------------------------------------------------------------------------------------------ disk and store


async def ready_again(live: Live, status: int) -> dict[str, Any]:
    """Ask until readiness has this status: a yes is good for a second."""
    with anyio.fail_after(10):
        while (answer := await live.http.get("/readyz")).status_code != status:
            await anyio.sleep(0.05)
    body: dict[str, Any] = answer.json()
    return body


def allow_files_of(live: Live, size: int) -> None:
    """What a full disk is to a process: no file of it may grow beyond ``size``."""
    _, hard = resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.claim("log:no-lost-record")
async def test_on_a_full_disk_nothing_is_allowed_and_nothing_happens_until_there_is_room(
    home: Home, tmp_path: Path
) -> None:
    async with up(home) as live:
        assert text_of(await live.call("office__read_mail", {"id": "before"}, "before")) == "ok"
        # All is signed now, so a probe that only signs would find nothing to write and see no trouble.
        assert (await live.http.get("/readyz")).status_code == 200
        allow_files_of(live, 4_096)
        for number in range(5):
            refused = await live.call("office__read_mail", {"id": f"full-{number}"}, f"full-{number}")
            assert "log.unavailable" in text_of(refused)
            assert refused["_meta"]["remit/decision"]["event"] is None
        body = {"call_id": "api", "tool": "office/read_mail", "arguments": {}}
        decided = await live.ask("POST", f"/v1/sessions/{home.session}/decide", "token", body)
        assert decided.json()["decision"] == "deny"
        assert (await ready_again(live, 503))["code"] == "store_unavailable"
        assert (await live.http.get("/healthz")).status_code == 200
        assert ids_of_effects(home) == {"before": 1}
        allow_files_of(live, resource.RLIM_INFINITY)
        assert text_of(await live.call("office__read_mail", {"id": "after"}, "after")) == "ok"
        await ready_again(live, 200)
    leaves = await verified(home, tmp_path / "proof")
    calls = [(leaf["call"], leaf["k"]) for leaf in leaves if "call" in leaf and leaf["k"] in (INTENT, OUTCOME)]
    assert calls == [("before", INTENT), ("before", OUTCOME), ("after", INTENT), ("after", OUTCOME)]


@pytest.mark.claim("log:no-lost-record")
async def test_a_disk_that_fills_while_a_call_is_out_withholds_the_result_and_lists_it_as_unknown(
    home: Home, tmp_path: Path
) -> None:
    gate = Gate(home)
    async with up(home, REMIT_CALL_TIMEOUT="2", REMIT_SWEEP="0.2") as live:
        reading = asyncio.ensure_future(live.call("office__read_mail", {"id": "out"}, "out"))
        with anyio.fail_after(30):
            await gate.arrived.wait()
        allow_files_of(live, 4_096)
        gate.release.set()
        assert "withheld" in text_of(await reading)
        allow_files_of(live, resource.RLIM_INFINITY)
        await live.kill()
    async with up(home) as live:
        [waiting] = (await live.ask("GET", "/v1/audit/unknown", "auditor")).json()["items"]
        assert waiting["call"] == "out"
    leaves = await verified(home, tmp_path / "proof")
    assert [leaf["k"] for leaf in leaves if leaf.get("call") == "out"] == [INTENT, UNKNOWN]


@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.parametrize("harm", ["overwritten", "replaced", "removed"])
async def test_a_store_that_was_taken_away_allows_nothing(home: Home, harm: str) -> None:
    """An intent in a file that is no longer the store is no record: whoever looks at the store does not find it."""
    async with up(home) as live:
        assert text_of(await live.call("office__read_mail", {"id": "before"}, "before")) == "ok"
        store = home.path / "remit.db"
        if harm == "overwritten":
            for path in home.path.glob("remit.db*"):
                with path.open("r+b") as file:
                    file.write(os.urandom(path.stat().st_size))
        elif harm == "replaced":
            other = home.path / "other.db"
            other.write_bytes(store.read_bytes())
            other.replace(store)
        else:
            for path in home.path.glob("remit.db*"):
                path.unlink()
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        params = {"name": "office__read_mail", "arguments": {"id": "after"}}
        answer = await live.ask("POST", "/mcp", "token", {**message, "params": params})
        refused = answer.status_code == 503 or "log.unavailable" in answer.text
        assert (refused, ids_of_effects(home)) == (True, {"before": 1}), answer.text
        await ready_again(live, 503)
        await live.kill()
