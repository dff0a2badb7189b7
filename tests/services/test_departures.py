"""A person leaves: what is found, what dies, who takes over, and who must agree."""

from dataclasses import replace
from typing import Any

import pytest

from remit.core.clients import EXCHANGE
from remit.core.credentials import HostCaller, PersonCaller
from remit.core.decisions import Ask
from remit.core.errors import AlreadyAnswered, Forbidden, InvalidDocument, NotFound, Unauthenticated, WrongState
from remit.core.events import Kind
from remit.core.oauth import OAuthRefusal
from remit.core.times import DAY
from remit.guards.documents import check_answer
from remit.services import agents, approve, clients, departures, keys, people
from remit.services.authenticate import authenticate
from remit.services.oauth.client_auth import authenticated
from remit.services.oauth.presented import TOKEN_PATH, Presented
from tests.services.desk import Desk, allowed, host_of
from tests.services.world import World

pytestmark = pytest.mark.anyio

EMAIL, HEIR = "grace@example.test", "heir@example.test"


async def leaves(desk: Desk, by: PersonCaller | None = None, **request: Any) -> dict[str, Any]:
    """Grace departs."""
    answer: dict[str, Any] = await departures.depart(desk.deps, by or desk.world.admin, EMAIL, request)
    check_answer("Departed", answer)
    return answer


async def everything(world: World) -> tuple[int, int]:
    """The registry's epoch, and how many events there are."""
    return await world.epoch(), len(await world.leaves())


async def knows_client(desk: Desk, client: dict[str, Any]) -> bool:
    """Whether the secret of a client still proves it."""
    form = {"client_id": str(client["id"]), "client_secret": str(client["secret"])}
    try:
        await authenticated(desk.deps, Presented(form=form, path=TOKEN_PATH))
    except OAuthRefusal:
        return False
    return True


class Grace:
    """A person with an active agent that has a sub-agent at work, a draft, a key of her own, and an agent to look after."""

    def __init__(self, desk: Desk) -> None:
        """Nothing yet."""
        self.desk = desk

    async def arrive(self) -> "Grace":
        """Make it all."""
        desk, world = self.desk, self.desk.world
        self.caller = await world.person(EMAIL, "owner", "approver")
        self.heir = await world.person(HEIR, "owner")
        self.secret = await keys.create_person_key(desk.deps, self.caller.person)
        for name in ("payer", "helper"):
            await world.agent(name, owner=EMAIL)
            await world.grant("office/read_mail", agent=name)
            await world.grant("office/pay_invoice", agent=name)
            await agents.activate(desk.deps, world.admin, name)
        await world.agent("idea", owner=EMAIL, expires=None)
        request: Any = {"agent": "payer", "for": "host", "expires": "P1D"}
        made = await keys.create(desk.deps, self.caller, request)
        self.agent_secret = str(made["secret"])
        host = await authenticate(desk.deps, f"Bearer {self.agent_secret}")
        assert isinstance(host, HostCaller)
        self.host, self.helper = host, await host_of(world, "helper")
        request = {
            "kind": "Client",
            "name": "desk",
            "agent": "payer",
            "auth": "client_secret",
            "grants": [EXCHANGE],
        }
        self.client = await clients.add(desk.deps, world.admin, request)
        self.session = await desk.session(self.host, ttl="P1D")
        self.child = await desk.session(self.helper, parent=self.session.session, ttl="P1D")
        self.for_her = await desk.session(principal=EMAIL, ttl="P1D")
        self.other = await desk.session(ttl="P1D")
        return self


@pytest.mark.claim("departure:nothing-lives-on")
async def test_everything_that_hangs_on_a_person_ends_when_they_leave_and_nothing_else(desk: Desk) -> None:
    """Before it all of it works, and after it the session of somebody else's agent for somebody else: the controls."""
    await desk.with_ask_policy()
    grace = await Grace(desk).arrive()
    asked = await desk.pay(grace.child)
    assert isinstance(asked.verdict, Ask)
    assert await knows_client(desk, grace.client)
    for session in (grace.session, grace.child, grace.for_her, grace.other):
        assert allowed(await desk.open(session))
    in_flight = await desk.open(grace.child)
    answer = await leaves(desk, reason="end of contract")
    assert answer["state"] == "departed"
    assert {(one["agent"], one["was"], one["state"]) for one in answer["agents"]} == {
        ("payer", "active", "suspended"),
        ("helper", "active", "suspended"),
        ("idea", "draft", "draft"),
    }
    assert answer["stopped"] == {
        "sessions": 3,
        "tokens": 3,
        "approvals": 1,
        "calls": 4,
        "keys": 3,
        "clients": 1,
        "agents": 2,
        "deputies": 0,
    }
    for session in (grace.session, grace.child, grace.for_her):
        assert not allowed(await desk.open(session))
    assert allowed(await desk.open(grace.other))
    assert (await desk.close(grace.child, in_flight)).withheld
    for secret in (grace.secret, grace.agent_secret):
        with pytest.raises(Unauthenticated):
            await authenticate(desk.deps, f"Bearer {secret}")
    with pytest.raises(AlreadyAnswered):
        await approve.answer(desk.deps, desk.world.admin, asked.verdict.approval, {"answer": "approve"})
    with pytest.raises(WrongState):
        await desk.session(grace.host)
    with pytest.raises(InvalidDocument):
        await desk.session(principal=EMAIL)
    assert not await knows_client(desk, grace.client)
    (told,) = [leaf for leaf in await desk.world.leaves() if leaf["k"] == Kind.PERSON_DEPARTED]
    assert (told["i"], told["about"], told["codes"]) == (answer["event"], grace.caller.person.id, [])
    assert b"contract" not in b"".join(await desk.world.raw_leaves())


@pytest.mark.claim("departure:nothing-lives-on")
async def test_who_takes_over_finds_every_agent_suspended_and_without_a_key(desk: Desk) -> None:
    grace = await Grace(desk).arrive()
    answer = await leaves(desk, to=HEIR)
    assert answer["to"] == HEIR
    for name in ("payer", "helper", "idea"):
        document = await agents.get(desk.deps, desk.world.admin, name)
        assert (document["owner"], document["state"] == "active") == (HEIR, False)
    assert not allowed(await desk.open(grace.session))
    await agents.activate(desk.deps, grace.heir, "payer")
    assert not allowed(await desk.open(grace.session)), "what ran before does not come back"
    with pytest.raises(Unauthenticated):
        await authenticate(desk.deps, f"Bearer {grace.agent_secret}")
    made = await keys.create(desk.deps, grace.heir, {"agent": "payer", "for": "host", "expires": "P1D"})
    host = await authenticate(desk.deps, f"Bearer {made['secret']}")
    assert isinstance(host, HostCaller)
    assert allowed(await desk.open(await desk.session(host)))


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(desk: Desk) -> None:
    grace = await Grace(desk).arrive()
    before = await everything(desk.world)
    would = await leaves(desk, to=HEIR, dry_run=True)
    assert await everything(desk.world) == before
    assert allowed(await desk.open(grace.child))
    assert (would["dry_run"], would["event"]) == (True, None)
    did = await leaves(desk, to=HEIR)
    assert {**would, "dry_run": False, "event": did["event"], "stopped": did["stopped"]} == did
    assert {**would["stopped"], "calls": 0} == {**did["stopped"], "calls": 0}


async def test_agents_that_nobody_took_over_are_orphans_until_the_same_command_hands_them_on(desk: Desk) -> None:
    await Grace(desk).arrive()
    await leaves(desk)
    listed = await agents.list_all(desk.deps, desk.world.admin, orphans=True)
    assert {one["name"] for one in listed} == {"payer", "helper", "idea"}
    with pytest.raises(WrongState, match="has left already"):
        await leaves(desk)
    again = await leaves(desk, to=HEIR)
    assert [one["was"] for one in again["agents"]].count("suspended") == 2
    assert again["stopped"]["agents"] == 0
    assert await agents.list_all(desk.deps, desk.world.admin, orphans=True) == ()


async def test_a_deputy_who_leaves_is_deputy_no_more_and_one_who_takes_over_is_only_owner(desk: Desk) -> None:
    grace = await Grace(desk).arrive()
    await desk.world.agent("watched", deputy=EMAIL)
    await desk.world.agent("shared", owner=EMAIL, deputy=HEIR)
    answer = await leaves(desk, to=HEIR)
    assert answer["stopped"]["deputies"] == 1
    assert "deputy" not in await agents.get(desk.deps, desk.world.admin, "watched")
    shared = await agents.get(desk.deps, desk.world.admin, "shared")
    assert (shared["owner"], "deputy" in shared) == (HEIR, False)
    back = await people.reinstate(desk.deps, desk.world.admin, grace.caller.person.id)
    assert back["state"] == "active"
    with pytest.raises(Forbidden):
        await agents.retire(desk.deps, await desk.world.signed_in(grace.caller.person.id), "watched")


async def test_a_departure_is_for_administrators_and_never_the_last_one_s(desk: Desk) -> None:
    grace = await Grace(desk).arrive()
    for role in ("reviewer", "approver", "auditor", "owner", "viewer"):
        other = await desk.world.person(f"{role}@example.test", role)
        with pytest.raises(Forbidden):
            await leaves(desk, other)
    with pytest.raises(Forbidden):
        await leaves(desk, grace.caller)
    with pytest.raises(WrongState, match="last active administrator"):
        await departures.depart(desk.deps, desk.world.admin, desk.world.admin.person.email, {})
    with pytest.raises(NotFound):
        await departures.depart(desk.deps, desk.world.admin, "nobody@example.test", {})
    await people.suspend(desk.deps, desk.world.admin, HEIR)
    before = await everything(desk.world)
    for to in (HEIR, EMAIL, "nobody@example.test"):
        with pytest.raises(InvalidDocument) as refused:
            await leaves(desk, to=to)
        assert refused.value.pointer == "/to"
    assert await everything(desk.world) == before


@pytest.mark.claim("departure:two-administrators")
async def test_where_two_administrators_are_asked_for_one_alone_lets_nobody_depart(desk: Desk) -> None:
    """With the setting off the first word is enough: the control stands at the end."""
    grace = await Grace(desk).arrive()
    first = desk.world.admin
    second = await desk.world.person("root@example.test", "administrator")
    await desk.world.person("linus@example.test", "viewer")
    strict = replace(desk.deps, two_administrators=True)

    async def say(by: PersonCaller, **request: Any) -> str:
        answer = await departures.depart(strict, by, EMAIL, request)
        check_answer("Departed", answer)
        return str(answer["state"])

    assert await say(first) == "asked"
    with pytest.raises(WrongState, match="another administrator"):
        await say(first)
    assert allowed(await desk.open(grace.session))
    assert await say(second, to=HEIR) == "asked", "that is another departure: somebody else would take over"
    desk.world.later(DAY)
    assert await say(second) == "asked", "the first word is a day old"
    assert await say(first) == "departed"
    kinds = await desk.world.kinds()
    assert (kinds.count(Kind.DEPARTURE_ASKED), kinds.count(Kind.PERSON_DEPARTED)) == (3, 1)
    assert (await departures.depart(desk.deps, first, "linus@example.test", {}))["state"] == "departed"


@pytest.mark.claim("departure:two-administrators")
async def test_neither_who_departs_nor_who_was_stopped_counts_as_the_second_administrator(desk: Desk) -> None:
    strict = replace(desk.deps, two_administrators=True)
    second = await desk.world.person("root@example.test", "administrator")
    third = await desk.world.person(EMAIL, "administrator")
    assert (await departures.depart(strict, third, EMAIL, {}))["state"] == "asked"
    assert (await departures.depart(strict, second, EMAIL, {}))["state"] == "asked", "her own word does not count"
    await people.suspend(desk.deps, desk.world.admin, second.person.id)
    # The second one was stopped: her word is void, and with no other left one is enough.
    assert (await departures.depart(strict, desk.world.admin, EMAIL, {}))["state"] == "departed"


async def test_a_word_is_used_once(desk: Desk) -> None:
    await Grace(desk).arrive()
    second = await desk.world.person("root@example.test", "administrator")
    strict = replace(desk.deps, two_administrators=True)
    assert (await departures.depart(strict, second, EMAIL, {}))["state"] == "asked"
    assert (await departures.depart(strict, desk.world.admin, EMAIL, {}))["state"] == "departed"
    await people.reinstate(desk.deps, desk.world.admin, EMAIL)
    assert (await departures.depart(strict, desk.world.admin, EMAIL, {}))["state"] == "asked"
