"""Keys that are for less than their agent: for some tools, and from some networks. Lists that narrow and never widen."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.credentials import HostCaller
from remit.core.errors import InvalidDocument, Unauthenticated, WrongState
from remit.core.times import DAY, HOUR, MINUTE
from remit.guards.documents import check_answer
from remit.services import agents, grants, keys, sessions
from remit.services.authenticate import authenticate
from remit.services.listing import look
from remit.services.whereabouts import on, peer_of, read_networks
from remit.tokens import apikeys
from tests.services.desk import Desk, allowed, as_session_caller, codes

pytestmark = pytest.mark.anyio

READ, PAY = "office/read_mail", "office/pay_invoice"


async def made(desk: Desk, purpose: str = "host", agent: str = "bookkeeper", **members: Any) -> dict[str, Any]:
    """A key with these members."""
    request = {"agent": agent, "for": purpose, "expires": "P20D", **members}
    answer: dict[str, Any] = await keys.create(desk.deps, desk.world.admin, request)
    check_answer("Key", answer)
    return answer


async def host(desk: Desk, key: dict[str, Any], peer: str | None = None) -> HostCaller:
    caller = await authenticate(desk.deps, f"Bearer {key['secret']}", peer)
    assert isinstance(caller, HostCaller)
    return caller


# --------------------------------------------------------------------------------------------------------------- tools


@pytest.mark.claim("key:narrows-and-never-widens")
async def test_a_key_for_one_tool_reaches_no_other_although_its_agent_does(desk: Desk) -> None:
    """A host key, and a session key. The key without a list, of the same agent, is the control."""
    await desk.world.without_demands()
    narrow = await desk.session(await host(desk, await made(desk, tools=[READ])))
    own = await made(desk, "session", tools=[READ])
    standing = as_session_caller(await authenticate(desk.deps, f"Bearer {own['secret']}"))
    wide = await desk.session()
    assert allowed(await desk.open(wide))
    assert allowed(await desk.pay(wide))
    for caller in (narrow, standing):
        assert allowed(await desk.open(caller))
        assert codes(await desk.pay(caller)) == ["tool.unknown"], "as if there were no such tool"
        sight = await look(desk.deps, caller)
        assert [known.tool.ref for known in sight.tools()] == [READ]
        assert sight.reached(PAY) is None
        assert sight.shown(PAY) is None
    assert {known.tool.ref for known in (await look(desk.deps, wide)).tools()} == {READ, PAY}


@pytest.mark.claim("key:narrows-and-never-widens")
async def test_a_list_gives_nothing_that_the_grants_do_not_also_not_later(desk: Desk) -> None:
    """What a key names is looked up when it is used: a grant that goes takes the tool with it."""
    key = await host(desk, await made(desk, tools=[READ, PAY]))
    session = await desk.session(key)
    assert allowed(await desk.open(session))
    await grants.revoke(desk.deps, desk.world.admin, desk.grants["read"])
    assert codes(await desk.open(session)) == ["tool.unknown"]
    for named in ("office/none", READ):
        with pytest.raises(InvalidDocument) as refused:
            await made(desk, tools=[PAY, named])
        assert refused.value.pointer == "/tools/1"


@pytest.mark.claim("key:narrows-and-never-widens")
async def test_what_comes_of_a_narrow_key_stays_narrow_under_every_other_key(desk: Desk) -> None:
    """A token that a wider key renews, a child that a wider key starts: the narrow one still stands behind them.

    The control is the wider key's own session, and a wider session whose token the narrow key renews: that too narrows.
    """
    await desk.world.without_demands()
    narrow = await host(desk, await made(desk, tools=[READ]))
    session, wide = await desk.session(narrow), await desk.session()
    token, _ = await sessions.renew(desk.deps, desk.host, session.session)
    renewed = as_session_caller(await authenticate(desk.deps, f"Bearer {token}"))
    child = await desk.session(parent=session.session)
    token, _ = await sessions.renew(desk.deps, narrow, wide.session)
    by_narrow = as_session_caller(await authenticate(desk.deps, f"Bearer {token}"))
    for caller in (session, renewed, child, by_narrow):
        assert codes(await desk.pay(caller)) == ["tool.unknown"]
        assert allowed(await desk.open(caller))
    assert allowed(await desk.pay(wide)), "and a narrow key's no is not given to a wider one from memory"


@pytest.mark.claim("key:narrows-and-never-widens")
async def test_two_lists_on_the_way_down_leave_what_both_name(desk: Desk) -> None:
    await desk.world.without_demands()
    reading = await desk.session(await host(desk, await made(desk, tools=[READ])))
    paying = await host(desk, await made(desk, tools=[PAY]))
    child = await desk.session(paying, parent=reading.session)
    for decision in (await desk.open(child), await desk.pay(child)):
        assert codes(decision) == ["tool.unknown"]
    assert allowed(await desk.pay(await desk.session(paying)))


@pytest.mark.claim("key:narrows-and-never-widens")
async def test_a_rotated_key_has_the_tools_and_the_networks_of_the_old_one(desk: Desk) -> None:
    old = await made(desk, tools=[READ], addresses=["10.0.0.0/8"])
    new = await keys.rotate(desk.deps, desk.world.admin, str(old["key"]))
    check_answer("Key", new)
    assert (new["tools"], new["addresses"]) == ([READ], ["10.0.0.0/8"])
    session = await desk.session(await host(desk, new, "10.1.2.3"))
    assert codes(await desk.pay(session)) == ["tool.unknown"]
    with pytest.raises(Unauthenticated):
        await host(desk, new, "192.0.2.1")
    listed = {one["key"]: one for one in await keys.list_all(desk.deps, desk.world.admin)}
    assert listed[new["key"]]["tools"] == [READ]
    assert listed[new["key"]]["last_used_at"] is not None
    assert "tools" not in listed[desk.host.key]


async def test_the_overlap_of_a_rotation_is_chosen_and_a_week_at_most(desk: Desk) -> None:
    """Both keys work until it ends, and then only the new one."""
    old = await made(desk)
    with pytest.raises(InvalidDocument):
        await keys.rotate(desk.deps, desk.world.admin, str(old["key"]), 8 * DAY)
    new = await keys.rotate(desk.deps, desk.world.admin, str(old["key"]), 10 * MINUTE)
    desk.world.later(10 * MINUTE - 1)
    for key in (old, new):
        await host(desk, key)
    desk.world.later(1)
    await host(desk, new)
    with pytest.raises(Unauthenticated):
        await host(desk, old)
    with pytest.raises(WrongState):
        await keys.rotate(desk.deps, desk.world.admin, str(old["key"]), HOUR)


# ------------------------------------------------------------------------------------------------------------ networks


@pytest.mark.claim("key:only-from-its-networks")
@pytest.mark.parametrize("peer", [None, "", "192.0.2.1", "11.0.0.1", "nonsense", "::1", "10.0.0.1, 192.0.2.1"])
async def test_a_good_key_from_elsewhere_is_refused_with_an_event_and_was_not_used(
    desk: Desk, peer: str | None
) -> None:
    """From its own network it is good: the control."""
    for purpose in ("host", "session"):
        key = await made(desk, purpose, addresses=["10.0.0.0/8"])
        epoch, size = await desk.world.epoch(), len(await desk.world.leaves())
        with pytest.raises(Unauthenticated) as refused:
            await authenticate(desk.deps, f"Bearer {key['secret']}", peer)
        (leaf,) = (await desk.world.leaves())[size:]
        assert (leaf["k"], leaf["codes"], leaf["about"], leaf["i"]) == (
            45,
            ["credential.elsewhere"],
            key["key"],
            refused.value.event,
        )
        assert "192.0" not in str(leaf)
        assert await desk.world.epoch() == epoch
        listed = {one["key"]: one for one in await keys.list_all(desk.deps, desk.world.admin)}
        assert listed[key["key"]]["last_used_at"] is None
        assert await authenticate(desk.deps, f"Bearer {key['secret']}", "10.255.0.1")


@pytest.mark.claim("key:only-from-its-networks")
async def test_a_wrong_secret_from_elsewhere_is_just_unknown(desk: Desk) -> None:
    """Who doesn't hold the key learns nothing of its networks, and fills no log."""
    mine, other = await made(desk, addresses=["10.0.0.0/8"]), await made(desk)
    head = str(mine["secret"]).split("_")
    tail = str(other["secret"]).split("_")
    body = f"remit_h_{head[2]}_{tail[3]}"
    forged = f"{body}_{apikeys._checksum(body)}"
    size = len(await desk.world.leaves())
    with pytest.raises(Unauthenticated, match="unknown"):
        await authenticate(desk.deps, f"Bearer {forged}", "192.0.2.1")
    assert len(await desk.world.leaves()) == size


@pytest.mark.parametrize("bad", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "10.0.0.0-10.0.0.9", "0x0a000001"])
async def test_what_is_no_network_is_refused_with_its_place(desk: Desk, bad: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        await made(desk, addresses=["192.0.2.7", bad])
    assert refused.value.pointer == "/addresses/1"


def test_a_network_is_kept_in_its_own_spelling_and_an_address_is_a_network_of_one() -> None:
    assert read_networks(["192.0.2.7", "2001:DB8:0::/32"], "") == ("192.0.2.7/32", "2001:db8::/32")
    assert on(("192.0.2.0/24",), "::ffff:192.0.2.9"), "an IPv4 address that is written as IPv6"
    assert on(("fe80::/10",), "fe80::1%eth0")
    assert not on(("192.0.2.0/24",), "192.0.3.0")
    assert not on((), "192.0.2.1")


# ------------------------------------------------------------------------------------------------------------- proxies

PROXY, OUTER, CLIENT, EVIL = "10.0.0.2", "10.0.0.1", "192.0.2.7", "203.0.113.9"


@pytest.mark.claim("key:only-from-its-networks")
@pytest.mark.parametrize(
    ("nearest", "forwarded", "trusted", "found"),
    [
        (CLIENT, [], [], CLIENT),
        (EVIL, [CLIENT], [], EVIL),
        (PROXY, [CLIENT], [], PROXY),
        (EVIL, [CLIENT], ["10.0.0.0/8"], EVIL),
        (PROXY, [CLIENT], ["10.0.0.0/8"], CLIENT),
        (PROXY, [f"{CLIENT}, {EVIL}"], ["10.0.0.0/8"], EVIL),
        (PROXY, [CLIENT, EVIL], ["10.0.0.0/8"], EVIL),
        (PROXY, [f"{CLIENT}, {OUTER}"], ["10.0.0.0/8"], CLIENT),
        (PROXY, [f"{EVIL},{CLIENT},{OUTER}"], ["10.0.0.0/8"], CLIENT),
        (PROXY, [], ["10.0.0.0/8"], PROXY),
        (PROXY, ["unknown"], ["10.0.0.0/8"], None),
        (PROXY, [f"{CLIENT}:443"], ["10.0.0.0/8"], None),
        (PROXY, [""], ["10.0.0.0/8"], None),
        (None, [CLIENT], ["10.0.0.0/8"], None),
    ],
)
def test_only_what_a_trusted_proxy_wrote_says_where_a_request_came_from(
    nearest: str | None, forwarded: list[str], trusted: list[str], found: str | None
) -> None:
    """Attack: a client sends the header itself. The trusted proxy's own entry, at the end, is the control."""
    assert peer_of(nearest, forwarded, trusted) == found


@pytest.mark.claim("key:only-from-its-networks")
@given(st.lists(st.sampled_from([CLIENT, EVIL, OUTER, "x", ""]), max_size=5))
def test_whatever_a_client_writes_before_it_the_proxy_s_entry_is_believed(claimed: list[str]) -> None:
    assert peer_of(PROXY, [*claimed, EVIL], ["10.0.0.0/8"]) == EVIL


async def test_a_key_of_a_suspended_agent_is_still_held_against_its_networks(desk: Desk) -> None:
    key = await made(desk, addresses=["10.0.0.0/8"])
    await agents.suspend(desk.deps, desk.world.admin, "bookkeeper")
    with pytest.raises(Unauthenticated, match="from here"):
        await host(desk, key, "192.0.2.1")
