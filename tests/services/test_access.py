"""What agents are refused is gathered for a person to look at; it grants nothing, tells the agent nothing, and is bounded."""

import json
from typing import Any

import pytest

from remit.core.access import LIFE, MAX_EVENTS, MAX_OPEN
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller, SessionCaller
from remit.core.decisions import Decision
from remit.core.errors import Forbidden, NotFound, WrongState
from remit.core.events import Kind
from remit.core.sessions import STORM_WINDOW
from remit.core.times import MINUTE
from remit.guards.documents import check_answer
from remit.services import access, access_proposal, grants, policies, reconcile
from tests.services.desk import Desk, allowed, codes
from tests.services.world import PAY, READ, tool

pytestmark = pytest.mark.anyio


async def requests(desk: Desk, caller: PersonCaller | None = None, state: Any = None) -> list[Any]:
    """The access requests that this person sees."""
    items, _ = await access.listing(desk.deps, caller or desk.world.admin, state, 200, None)
    for item in items:
        check_answer("AccessRequest", item)
    return items


async def shown(desk: Desk, decision: Decision) -> dict[str, Any]:
    """What stands behind the link of a denial."""
    assert decision.request_access is not None
    request = str(decision.request_access["command"]).split()[-1]
    assert decision.request_access["url"] == f"{desk.deps.issuer}/access-requests/{request}"
    found: dict[str, Any] = await access_proposal.show(desk.deps, desk.world.admin, request)
    check_answer("AccessRequest", found)
    return found


async def with_other_tool(desk: Desk) -> SessionCaller:
    """A session whose agent lacks a grant for the reviewed tool ``office/other``."""
    await desk.world.sync(PAY, READ, tool("other"))
    await desk.world.review("office/other")
    return await desk.session()


async def forbid(desk: Desk, count: int) -> None:
    """One policy for each of so many values, so that each refusal rests on another rule."""
    text = "\n".join(
        f'@id("no{number}") forbid(principal, action, resource) when {{ context.args has id && '
        f'context.args.id == "m{number}" }};'
        for number in range(count)
    )
    await policies.apply(desk.deps, desk.world.admin, (("forbids.cedar", text),))


@pytest.mark.claim("access:asking-grants-nothing")
async def test_a_refusal_is_gathered_once_and_counted_and_grants_nothing(desk: Desk) -> None:
    session = await with_other_tool(desk)
    first = await desk.open(session, "office/other", {"n": 1})
    for number in range(2, 5):
        again = await desk.open(session, "office/other", {"n": number})
        assert codes(again) == ["tool.unknown"], "however often it asks"
        assert again.request_access == first.request_access
    (found,) = await requests(desk)
    assert (found["count"], found["tool"], found["state"]) == (4, None, "open")
    proposal = await shown(desk, first)
    assert proposal["tools"] == ["office/other"]
    assert codes(await desk.open(session, "office/other", {"n": 9})) == ["tool.unknown"], "looking grants nothing"
    # The control: what it proposes works as it stands, once an administrator applies it.
    await grants.apply(desk.deps, desk.world.admin, json.loads(proposal["file"]))
    assert allowed(await desk.open(session, "office/other", {}))


@pytest.mark.claim("access:asking-grants-nothing")
async def test_a_proposal_for_what_spends_lets_nothing_through_until_a_person_writes_an_amount(desk: Desk) -> None:
    await grants.revoke(desk.deps, desk.world.admin, desk.grants["pay"])
    session = await desk.session()
    refused = await desk.pay(session, 50)
    proposal = await shown(desk, refused)
    document = json.loads(proposal["file"])
    assert [limit["eur"] for limit in document["limits"]] == ["0.00"]
    await grants.apply(desk.deps, desk.world.admin, document)
    assert codes(await desk.pay(session, 51)) == ["budget.exceeded"]
    document["limits"][0]["eur"] = "60.00"
    await grants.apply(desk.deps, desk.world.admin, document)
    assert allowed(await desk.pay(session, 52))


@pytest.mark.claim("tool:no-effect-ungranted")
async def test_the_link_of_a_denial_does_not_tell_whether_the_tool_exists(desk: Desk) -> None:
    """Attack: ask for a hidden tool and an invented one, and compare all that comes back."""
    session = await with_other_tool(desk)
    answers = [await desk.open(session, f"office/{name}", {}) for name in ("other", "none", "other2", "none2")]
    assert len({str(answer.request_access) for answer in answers}) == 1
    forms = [answer.document() | {"call_id": "", "tool": "", "event": 0} for answer in answers]
    assert forms.count(forms[0]) == len(forms)
    assert (await shown(desk, answers[0]))["tools"] == ["office/other"], "its owner sees which of them there are"


@pytest.mark.claim("tool:no-effect-ungranted")
async def test_nor_does_it_when_the_agent_has_filled_its_place(desk: Desk) -> None:
    """Attack: use up all requests first, so that one that is made and one that is not could differ."""
    await forbid(desk, MAX_OPEN + 5)
    session = await with_other_tool(desk)
    for number in range(MAX_OPEN + 5):
        if number % 10 == 0:
            desk.world.later(STORM_WINDOW)
            session = await desk.session()
        await desk.open(session, "office/read_mail", {"id": f"m{number}"})
    session = await desk.session()
    assert len(await requests(desk)) == MAX_OPEN - 1, "one place is kept"
    hidden, none = [await desk.open(session, f"office/{name}", {}) for name in ("other", "none")]
    assert hidden.request_access == none.request_access is not None
    assert len(await requests(desk)) == MAX_OPEN


@pytest.mark.claim("access:bounded")
async def test_a_flood_of_refusals_makes_a_bounded_number_of_requests_of_a_bounded_size(desk: Desk) -> None:
    await forbid(desk, 2 * MAX_OPEN)
    for number in range(2 * MAX_OPEN):
        if number % 10 == 0:
            desk.world.later(STORM_WINDOW)
            session = await desk.session()
        assert codes(await desk.open(session, "office/read_mail", {"id": f"m{number}"})) == ["policy.denied"]
    found = await requests(desk)
    assert len(found) == MAX_OPEN - 1
    desk.world.later(STORM_WINDOW)
    session = await desk.session()
    for number in range(MAX_EVENTS + 5):
        if number % 15 == 0:
            desk.world.later(STORM_WINDOW)
        await desk.open(session, f"office/none{number}", {})
    unknown = next(one for one in await requests(desk) if one["tool"] is None)
    assert (unknown["count"], len(unknown["events"])) == (MAX_EVENTS + 5, MAX_EVENTS)


@pytest.mark.claim("access:asking-grants-nothing")
async def test_nothing_that_an_agent_wrote_stands_in_a_request(desk: Desk) -> None:
    """Attack: hostile words where a tool's name, an argument's name and its value go."""
    session, words = await desk.session(), "approve-me-now"
    unknown = await desk.open(session, f"office/{words}", {words: words})
    forbidden = await desk.open(session, "office/pay_invoice", {"recipient": words, "amount": 101, "note": words})
    for refused in (unknown, forbidden):
        assert words not in json.dumps(await shown(desk, refused))
    assert words not in json.dumps(await requests(desk))


async def test_only_the_owner_and_who_may_see_everything_see_a_request_and_only_who_may_change_it_closes_it(
    desk: Desk,
) -> None:
    session = await desk.session()
    refused = await desk.open(session, "office/none", {})
    request = str((await shown(desk, refused))["request"])
    auditor, other = (
        await desk.world.person("eve@example.test", "auditor"),
        await desk.world.person("bob@example.test", "viewer"),
    )
    assert len(await requests(desk, auditor)) == 1
    assert await requests(desk, other) == []
    with pytest.raises(Forbidden):
        await access.close(desk.deps, auditor, request, "")
    with pytest.raises(NotFound):
        await access.close(desk.deps, other, request, "")
    closed = await access.close(desk.deps, desk.world.admin, request, "no need")
    assert (closed["state"], closed["closed_by"]) == ("closed", desk.world.admin.person.id)
    with pytest.raises(WrongState):
        await access.close(desk.deps, desk.world.admin, request, "")
    assert (await desk.world.kinds()).count(Kind.ACCESS_CLOSED) == 1


async def test_what_is_refused_again_after_closing_opens_another(desk: Desk) -> None:
    session = await desk.session()
    first = await desk.open(session, "office/none", {"n": 1})
    await access.close(desk.deps, desk.world.admin, str((await shown(desk, first))["request"]), "")
    desk.world.later()
    second = await desk.open(session, "office/none", {"n": 2})
    assert second.request_access != first.request_access
    assert [one["state"] for one in await requests(desk)] == ["closed", "open"]


async def test_a_request_expires_by_itself_and_the_log_says_so(desk: Desk) -> None:
    refused = await desk.open(await desk.session(), "office/none", {"n": 1})
    desk.world.later(LIFE)
    assert [one["state"] for one in await requests(desk, state="expired")] == ["expired"], "before anything swept"
    await reconcile.sweep(desk.deps, lambda _: True)
    assert (await desk.world.kinds()).count(Kind.ACCESS_CLOSED) == 1
    again = await desk.open(await desk.session(), "office/none", {"n": 2})
    assert again.request_access != refused.request_access


async def test_a_no_that_no_person_could_change_offers_no_request(desk: Desk) -> None:
    session = await desk.session()
    wrong: tuple[dict[str, Json], ...] = ({"id": 5}, {"id": "m1", "more": 1})
    for arguments in wrong:
        refused = await desk.open(session, "office/read_mail", arguments)
        assert (codes(refused), refused.request_access) == (["arguments.shape"], None)
    assert await requests(desk) == []


async def test_an_allow_that_was_not_used_in_time_is_spent_and_says_what_to_do(desk: Desk) -> None:
    session = await desk.session()
    first = await desk.open(session, call_id="x")
    desk.world.later(MINUTE)
    spent = await desk.open(session, call_id="x")
    assert (codes(spent), spent.event) == (["call.spent"], first.event)
    assert "new call id" in spent.sentence()
    assert allowed(await desk.open(session, call_id="y"))
