"""What an agent could do: each claim has calls that the real decision allowed, and asking leaves nothing behind."""

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from remit.core.calls import Outcome
from remit.core.canonical import Json
from remit.core.errors import Forbidden, NotFound
from remit.core.reach_diff import added
from remit.services import agents, policies, rules
from remit.services.reach import reach
from tests.services.desk import Desk, allowed
from tests.services.test_exposure import CARD, SEND
from tests.services.world import PAY, READ, UNDEMANDING, tool

pytestmark = pytest.mark.anyio

INVOICES: dict[str, Any] = {
    "/items/*/id": {"writer": "system", "type": "office:invoice"},
    "/items/*/title": {"writer": "anyone", "type": "text", "naming": True},
    "/items/*/account": {"writer": "system", "type": "iban"},
}


async def asked(desk: Desk, without: str | None = None) -> dict[str, Any]:
    """The reach of the desk's agent."""
    return await reach(desk.deps, desk.world.admin, "bookkeeper", without=without)


def of(found: Mapping[str, Any], ref: str) -> dict[str, Any]:
    """One tool of an answer."""
    return next(one for one in found["tools"] if one["tool"] == ref)


def flow(found: Mapping[str, Any], path: str, argument: str) -> dict[str, Any]:
    """One flow of an answer."""
    return next(one for one in found["flows"] if (one["from"]["path"], one["to"]["argument"]) == (path, argument))


async def reading(desk: Desk, listing: str = "anyone", **members: Any) -> None:
    """From here on mail is a list of invoices that anyone may add to."""
    output = {
        "from": "structured",
        "fields": INVOICES,
        "records": {"at": "/items/*", "id": "/items/*/id", "listing": listing},
        **members,
    }
    await desk.world.review("office/read_mail", output=output)


async def replayed(desk: Desk, one: Mapping[str, Any]) -> list[str]:
    """The decisions on a witness, made again in a session of its own, with a person answering."""
    task = [{"text": one["task"], "source": "principal"}] if one["task"] else []
    session = await desk.session(task=task)
    made = []
    for call in one["witness"]:
        decision = await desk.open(session, call["tool"], call["arguments"])
        made.append(decision.document()["decision"])
        if made[-1] == "ask":
            await desk.answer(decision)
        elif allowed(decision) and "result" in call:
            await desk.close(session, decision, Outcome("done", result=call["result"]))
    return [str(word) for word in made]


@pytest.mark.claim("reach:witnessed")
async def test_every_reachable_tool_and_flow_has_a_witness_that_passes_when_it_is_made_again(desk: Desk) -> None:
    await reading(desk)
    found = await asked(desk)
    claims = [one for one in (*found["tools"], *found["flows"]) if one["verdict"] == "reachable"]
    assert len(claims) > 3
    for one in claims:
        made = await replayed(desk, one)
        assert made == [call["decision"] for call in one["witness"]]
        assert made[-1] == "allow"
        assert ("ask" in made) is one["needs_ask"]


@pytest.mark.claim("reach:leaves-nothing")
async def test_asking_leaves_no_event_no_session_no_count_and_no_question(desk: Desk) -> None:
    await reading(desk)
    before = await desk.world.raw_leaves()
    epoch = await desk.world.epoch()
    await asked(desk)
    assert await desk.world.raw_leaves() == before
    assert await desk.world.epoch() == epoch
    async with desk.deps.store.view("main") as view:
        assert await view.sessions.live(None, None) == ()
        assert await view.approvals.list(None, 10, None) == ()
        assert await view.calls.unfinished() == ()


async def test_a_tool_that_no_grant_reaches_is_unreachable_and_one_that_policy_shuts_too(desk: Desk) -> None:
    await desk.world.sync(PAY, READ, SEND)
    await desk.world.review("office/send", effect="write")
    found = await asked(desk)
    assert (of(found, "office/send")["verdict"], of(found, "office/pay_invoice")["verdict"]) == (
        "unreachable",
        "reachable",
    )
    shut = '@id("none") forbid(principal, action == Remit::Action::"office/pay_invoice", resource);'
    await policies.apply(desk.deps, desk.world.admin, (("none.cedar", shut),))
    closed = of(await asked(desk), "office/pay_invoice")
    assert closed["verdict"] == "unreachable"
    assert "none" in closed["why"]


async def test_arguments_that_a_condition_wants_are_found_and_a_hole_in_it_too(desk: Desk) -> None:
    await desk.world.grant(
        "office/pay_invoice",
        when='context.args.recipient == "GB1" && context.args.amount.greaterThan(decimal("77.00"))',
        agent="bookkeeper",
    )
    found = await asked(desk, without=desk.grants["pay"])
    witness = of(found, "office/pay_invoice")["witness"]
    assert [str(witness[0]["arguments"][name]) for name in ("recipient", "amount")] == ["GB1", "78"] or str(
        witness[0]["arguments"]["amount"]
    ) == "77.0001"


@pytest.mark.claim("reach:proved")
async def test_a_condition_that_nothing_meets_is_proved_so_and_may_where_nothing_proves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.world.grant(
        "office/pay_invoice", when='context.args.recipient == "a" && context.args.recipient == "b"', agent="bookkeeper"
    )
    closed = of(await asked(desk, without=desk.grants["pay"]), "office/pay_invoice")
    assert (closed["verdict"], closed["why"]) == ("unreachable", "no arguments satisfy its conditions: proved")
    monkeypatch.setitem(sys.modules, "z3", None)
    assert of(await asked(desk, without=desk.grants["pay"]), "office/pay_invoice")["verdict"] == "may"


async def test_an_example_that_only_a_solver_finds_is_rehearsed(desk: Desk) -> None:
    when = 'context.args.recipient like "A*B*C" && !(context.args.recipient like "AxBxC") && context.args.amount.greaterThan(decimal("12.00"))'
    await desk.world.grant("office/pay_invoice", when=when, agent="bookkeeper")
    found = of(await asked(desk, without=desk.grants["pay"]), "office/pay_invoice")
    assert found["verdict"] == "reachable"
    assert str(found["witness"][0]["arguments"]["recipient"]).startswith("A")


async def test_what_policy_puts_to_a_person_says_so(desk: Desk) -> None:
    assert of(await asked(desk), "office/pay_invoice")["needs_ask"] is False
    await desk.with_ask_policy()
    paying = of(await asked(desk), "office/pay_invoice")
    assert (paying["verdict"], paying["needs_ask"]) == ("reachable", True)


async def test_a_call_that_two_persons_must_allow_is_reachable_with_both(desk: Desk) -> None:
    for at in range(2):
        await desk.world.person(f"approver{at}@example.test", "approver")
    rule: dict[str, Json] = {
        "kind": "Rule",
        "name": "two-persons",
        "says": "Two persons say yes.",
        "tools": ["office/pay_invoice"],
        "per": "organisation",
        "approvals": {"persons": 2},
    }
    await rules.apply(desk.deps, desk.world.admin, rule)
    paying = of(await asked(desk), "office/pay_invoice")
    assert (paying["verdict"], paying["needs_ask"]) == ("reachable", True)
    assert [call["decision"] for call in paying["witness"]] == ["ask", "ask", "allow"]


@pytest.mark.claim("reach:flows")
async def test_a_stranger_s_text_steers_a_payment_only_with_a_person_and_with_the_labels_off_without(
    desk: Desk,
) -> None:
    await reading(desk)
    title = flow(await asked(desk), "/items/*/title", "/recipient")
    assert (title["verdict"], title["needs_ask"], title["from"]["label"]) == ("reachable", True, "untrusted")
    await desk.world.review_pay(arguments={**UNDEMANDING, "/recipient": {"role": "what", "type": "office:note"}})
    await reading(desk)
    await desk.world.review_pay(arguments=UNDEMANDING)
    assert not any(one["to"]["argument"] == "/recipient" for one in (await asked(desk))["flows"])


@pytest.mark.claim("reach:flows")
async def test_what_stands_beside_a_stranger_s_text_does_not_vouch_for_it_in_a_rehearsal(desk: Desk) -> None:
    """A rehearsal that filled a true field with the stranger's own value would call every text of strangers silent."""
    await reading(desk)
    direct = [one for one in (await asked(desk))["flows"] if one["from"]["label"] == "untrusted"]
    assert {(one["to"]["argument"], one["needs_ask"]) for one in direct} == {("/recipient", True), ("/amount", True)}


@pytest.mark.claim("reach:flows")
async def test_an_account_in_a_record_that_a_stranger_named_as_the_task_does_is_found_to_pass_in_silence(
    desk: Desk,
) -> None:
    """FLOW_RULES B3's own limit: a plant where no genuine record exists. The reach of an agent shows it."""
    await reading(desk)
    planted = flow(await asked(desk), "/items/*/account", "/recipient")
    assert (planted["verdict"], planted["needs_ask"], planted["from"]["label"]) == ("reachable", False, "chosen")


@pytest.mark.claim("reach:flows")
async def test_a_secret_that_can_leave_is_listed_and_says_whether_a_person_is_asked(desk: Desk) -> None:
    await desk.world.sync(PAY, READ, SEND)
    reads = {"office/read_mail": {"from": "structured", "fields": CARD}}
    await desk.world.review("office/read_mail", output=reads["office/read_mail"])
    arguments = {"/to": {"role": "who", "type": "email"}, "/body": {"role": "free_text"}}
    await desk.world.review(
        "office/send", effect="write", arguments=arguments, discloses=[{"readers_of": "/to"}], intent=["send"]
    )
    await desk.world.grant("office/send", "office/read_mail")
    leaving = [one for one in (await asked(desk))["flows"] if one["from"]["label"] == "card"]
    assert [(one["to"]["tool"], one["needs_ask"]) for one in leaving] == [("office/send", True)]
    fields = {"/card": {**CARD["/card"], "confidentiality": ["finance"]}}
    await desk.world.review("office/read_mail", output={"from": "structured", "fields": fields})
    await desk.world.grant("office/read_mail")
    leaving = [one for one in (await asked(desk))["flows"] if one["from"]["label"] == "finance"]
    assert [(one["to"]["tool"], one["needs_ask"]) for one in leaving] == [("office/send", False)]


@pytest.mark.claim("reach:flows")
async def test_an_object_of_the_agent_s_own_making_that_defeats_once_for_each_is_found(desk: Desk) -> None:
    create = tool("create_invoice", {"properties": {"title": {"type": "string"}}})
    settle = tool("settle", {"properties": {"invoice": {"type": "string"}}, "required": ["invoice"]})
    await desk.world.sync(PAY, READ, create, settle)
    await desk.world.review(
        "office/create_invoice",
        effect="write",
        output={
            "from": "structured",
            "fields": {"/id": {"writer": "system", "type": "office:invoice"}},
            "mints": {"/id": "office:invoice"},
        },
        arguments={"/title": {"role": "free_text"}},
        intent=["pay"],
    )
    await desk.world.review(
        "office/settle",
        effect="spend",
        arguments={"/invoice": {"role": "reference", "type": "office:invoice"}},
        limits=[{"name": "bills", "of": "call"}],
        intent=["pay"],
    )
    await desk.world.grant("office/create_invoice")
    await desk.world.grant("office/settle", limits=[{"bills": 10, "per": "day"}])
    minted = [one for one in (await asked(desk))["flows"] if one["from"]["label"] == "minted"]
    assert [(one["from"]["tool"], one["to"]["tool"], one["verdict"]) for one in minted] == [
        ("office/create_invoice", "office/settle", "reachable")
    ]
    assert len(minted[0]["witness"]) >= 4


async def test_what_it_can_take_at_most_is_what_its_grants_leave(desk: Desk) -> None:
    most = (await asked(desk))["at_most"]
    assert most["eur"] == {"session": "250", "day": "250", "unit": "EUR"}
    assert most["calls"] == {"session": None, "day": None, "unit": "calls"}
    await desk.world.grant("office/pay_invoice", limits=[{"eur": "10.00", "per": "call"}, {"calls": 3, "per": "day"}])
    assert (await asked(desk))["at_most"]["eur"]["day"] == "280"
    await desk.world.grant("office/pay_invoice")
    assert (await asked(desk))["at_most"]["eur"] == {"session": None, "day": None, "unit": "EUR"}


async def test_what_is_too_much_to_rehearse_is_counted_and_taken_for_the_worst(desk: Desk) -> None:
    await reading(desk)
    whole = await asked(desk)
    cut: dict[str, Any] = await reach(desk.deps, desk.world.admin, "bookkeeper", most=4)
    assert whole["unsettled"] == 0
    assert cut["unsettled"] > 0
    assert cut["score"] >= whole["score"]
    steered = {one["to"]["argument"] for one in cut["flows"] if one["verdict"] == "may" and not one["needs_ask"]}
    assert steered == {"/recipient", "/amount"}, "each argument stands there once, as the worst"
    none: dict[str, Any] = await reach(desk.deps, desk.world.admin, "bookkeeper", most=0)
    assert {one["verdict"] for one in none["tools"]} == {"may"}


@pytest.mark.claim("reach:shrinks")
async def test_taking_a_grant_or_a_tool_away_never_raises_the_score_and_adds_nothing(desk: Desk) -> None:
    await reading(desk)
    await desk.world.grant("office/pay_invoice", limits=[{"eur": "10.00", "per": "day"}])
    whole = await asked(desk)
    for without in (*desk.grants.values(), "office/pay_invoice", "office/read_mail"):
        less = await asked(desk, without)
        assert added(whole, less) == ()
        assert less["score"] <= whole["score"]
        assert less["without"] == without
    assert added(await asked(desk, desk.grants["read"]), whole) != ()


async def test_without_names_a_grant_or_a_tool_and_the_reach_is_not_for_everyone(desk: Desk) -> None:
    for nothing in ("grt_00000000000000000000000000", "office/nothing"):
        with pytest.raises(NotFound):
            await asked(desk, nothing)
    viewer = await desk.world.person("eve@example.test", "viewer", "reviewer", "approver")
    with pytest.raises(Forbidden):
        await reach(desk.deps, viewer, "bookkeeper")
    auditor = await desk.world.person("ann@example.test", "auditor")
    assert (await reach(desk.deps, auditor, "bookkeeper"))["people"] == [
        "ada@example.test",
        "ann@example.test",
        "eve@example.test",
    ]


async def test_an_agent_that_is_not_live_reaches_nothing(desk: Desk) -> None:
    await agents.suspend(desk.deps, desk.world.admin, "bookkeeper")
    found = await asked(desk)
    assert {one["verdict"] for one in found["tools"]} == {"unreachable"}
    assert (found["score"], found["flows"], found["state"]) == (0, [], "suspended")
