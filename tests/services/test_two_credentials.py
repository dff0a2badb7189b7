"""Two credentials, never one: what calls tools starts nothing and answers nothing, what starts sessions calls nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from remit.core.canonical import Json
from remit.core.credentials import Caller, HostCaller, SessionCaller
from remit.core.decisions import Ask
from remit.core.errors import Forbidden, InvalidDocument, NotFound, RemitError, Unauthenticated, WrongState
from remit.services import agents, approve, audit, keys, people, sessions
from remit.services.authenticate import CHECKERS, as_host, as_person, as_session, authenticate
from remit.services.deps import Deps
from tests.services.desk import Desk, allowed, as_session_caller, codes, host_of, make_desk
from tests.services.world import World

pytestmark = pytest.mark.anyio
TASK: Json = [{"text": "pay 4,000 EUR to DE66500105175441279831", "source": "principal"}]


async def secrets_of(desk: Desk) -> dict[str, str]:
    """One credential of each kind, as its holder would send it."""
    request: dict[str, Json] = {"agent": "bookkeeper", "principal": desk.principal}
    out = {"person key": await keys.create_person_key(desk.deps, desk.world.admin.person)}
    for purpose in ("host", "session"):
        made = await keys.create(desk.deps, desk.world.admin, {"agent": "bookkeeper", "for": purpose, "expires": "P1D"})
        out[f"{purpose} key"] = str(made["secret"])
    out["session token"] = (await sessions.start(desk.deps, desk.host, request)).token
    return out


DOORS: dict[str, Callable[[Deps, Caller], Awaitable[Any]]] = {
    "person": as_person,
    "host": as_host,
    "session": as_session,
}
OPENS = {"person key": "person", "host key": "host", "session key": "session", "session token": "session"}


@pytest.mark.claim("identity:two-credentials")
@pytest.mark.parametrize("kind", OPENS)
async def test_each_credential_opens_one_door_and_knocking_at_another_is_an_event(desk: Desk, kind: str) -> None:
    """Attacks A1, A2, D4: the other doors start sessions, state tasks, renew, answer; or call tools."""
    caller = await authenticate(desk.deps, f"Bearer {(await secrets_of(desk))[kind]}")
    for name, door in DOORS.items():
        size = len(await desk.world.leaves())
        if name == OPENS[kind]:
            assert await door(desk.deps, caller) is caller, "the control: its own door opens"
            assert len(await desk.world.leaves()) == size
            continue
        with pytest.raises(Forbidden) as refused:
            await door(desk.deps, caller)
        leaf = (await desk.world.leaves())[refused.value.event or -1]
        assert (leaf["k"], leaf["codes"], leaf["about"]) == (45, ["credential.misused"], caller.key)


@pytest.mark.claim("identity:two-credentials")
async def test_a_session_s_holder_starts_nothing_even_past_the_door(desk: Desk) -> None:
    """With the door taken away (the service called as if the caller were a host), the key is still no host's.

    The control is the same request with the host key.
    """
    session = await desk.session()
    as_if = HostCaller(org=session.org, key=session.key, agent="agt_other")
    request: dict[str, Json] = {"agent": desk.host.agent, "principal": desk.principal, "task": TASK}
    with pytest.raises(Forbidden):
        await sessions.start(desk.deps, as_if, request)
    started = await sessions.start(desk.deps, desk.host, request)
    assert started.session.key == desk.host.key


@pytest.mark.claim("identity:two-credentials")
async def test_a_host_key_that_reaches_for_another_agent_is_refused_with_an_event(desk: Desk) -> None:
    await desk.world.agent("other")
    await desk.world.grant("office/read_mail", agent="other")
    await agents.activate(desk.deps, desk.world.admin, "other")
    other = await host_of(desk.world, "other")
    theirs = await desk.session(other)
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: desk.session(agent="other"),
        lambda: desk.session(agent=other.agent),
        lambda: desk.session(agent="no-such-agent"),
        lambda: sessions.renew(desk.deps, desk.host, theirs.session),
        lambda: sessions.renew(desk.deps, desk.host, "ses_none"),
        lambda: sessions.end(desk.deps, desk.host, theirs.session, ""),
        lambda: sessions.end(desk.deps, desk.host, "ses_none", ""),
    ]
    for attempt in attempts:
        with pytest.raises((Forbidden, NotFound)) as refused:
            await attempt()
        leaf = (await desk.world.leaves())[refused.value.event or -1]
        assert (leaf["k"], leaf["actor"], leaf["about"]) == (45, desk.host.agent, desk.host.key)
    assert allowed(await desk.open(theirs)), "and the other's session lives on"
    await sessions.renew(desk.deps, other, theirs.session)


@pytest.mark.claim("identity:two-credentials")
async def test_a_session_ends_itself_and_no_other(desk: Desk) -> None:
    mine, other = await desk.session(), await desk.session()
    with pytest.raises(NotFound) as refused:
        await sessions.end(desk.deps, mine, other.session, "")
    assert (await desk.world.leaves())[refused.value.event or -1]["session"] == mine.session
    assert allowed(await desk.open(other))
    await sessions.end(desk.deps, mine, mine.session, "")
    assert codes(await desk.open(mine)) == ["session.not_live"]


@pytest.mark.claim("identity:two-credentials")
async def test_a_person_of_another_session_s_token_sees_and_answers_nothing(desk: Desk) -> None:
    """A token names its session and agent itself; another session's name in a caller gets a no with an event."""
    await desk.with_ask_policy()
    session = await desk.session()
    asked = await desk.pay(session)
    assert isinstance(asked.verdict, Ask)
    other = str((await desk.world.agent("other"))["id"])
    posing = SessionCaller(org="main", key=session.key, agent=other, session=session.session)
    decision = await desk.open(posing)
    assert codes(decision) == ["session.not_live"]
    assert (await desk.world.leaves())[decision.event or -1]["actor"] == other
    stranger = await desk.world.person("x@example.test", "viewer")
    with pytest.raises(NotFound):
        await approve.show(desk.deps, stranger, asked.verdict.approval)
    assert await approve.listing(desk.deps, stranger, None, 10, None) == ((), None)


async def test_what_is_of_no_kind_or_damaged_is_nobody(desk: Desk) -> None:
    given = await secrets_of(desk)
    bad: list[str | None] = [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer hunter2", "Bearer ."]
    for kind, secret in given.items():
        damaged = secret[:-2] + ("aa" if not secret.endswith("aa") else "bb")
        bad += [f"Bearer {damaged}", f"Bearer {secret[:-1]}", f"Bearer  {secret}", f"Digest {secret}"]
        assert await authenticate(desk.deps, f"bEARER {secret}"), kind
    for header in bad:
        with pytest.raises(Unauthenticated):
            await authenticate(desk.deps, header)


async def test_a_checker_that_knows_a_credential_as_bad_is_the_last_one_asked(desk: Desk) -> None:
    """Three answers: a revoked key is refused as a key, and never read as a token."""
    secret = (await secrets_of(desk))["session key"]
    caller = await authenticate(desk.deps, f"Bearer {secret}")
    await keys.revoke(desk.deps, desk.world.admin, caller.key)
    answers: list[object] = []
    for checker in CHECKERS:
        try:
            answers.append(await checker(desk.deps, secret))
        except Unauthenticated:
            answers.append("refused")
    assert answers == ["refused", None]


@pytest.mark.claim("registry:not-live-refused")
@pytest.mark.parametrize("kind", OPENS)
async def test_a_credential_whose_holder_is_gone_or_time_is_up_is_refused_at_the_door(desk: Desk, kind: str) -> None:
    secret = (await secrets_of(desk))[kind]
    if kind == "person key":
        await desk.world.person("eve@example.test", "administrator")
        await people.suspend(desk.deps, desk.world.admin, desk.world.admin.person.id)
    else:
        desk.world.later(2 * 86_400_000)
    with pytest.raises(Unauthenticated):
        await authenticate(desk.deps, f"Bearer {secret}")


async def test_a_host_states_no_principal_that_is_not_there_and_none_for_an_autonomous_agent(world: World) -> None:
    desk = await make_desk(world, "autonomous")
    with pytest.raises(InvalidDocument):
        await desk.session(principal=world.admin.person.email)
    session = await desk.session()
    assert allowed(await desk.open(session))
    gone = await world.person("gone@example.test", "viewer")
    await people.suspend(world.deps, world.admin, gone.person.id)
    await world.agent("helper")
    await world.grant("office/read_mail", agent="helper")
    await agents.activate(world.deps, world.admin, "helper")
    helper = await host_of(world, "helper")
    for principal in (None, gone.person.email, "nobody@example.test"):
        request: dict[str, Json] = {"agent": "helper"}
        if principal is not None:
            request["principal"] = principal
        with pytest.raises(InvalidDocument):
            await sessions.start(world.deps, helper, request)
    size = len(await world.leaves())
    with pytest.raises(RemitError):
        await sessions.start(world.deps, helper, {"agent": "helper", "principal": 7})
    assert len(await world.leaves()) == size


@pytest.mark.claim("identity:two-credentials")
async def test_a_sub_agent_is_started_only_for_the_same_person_and_not_under_a_standing_session(desk: Desk) -> None:
    """Attacks D1 to D4 and decision 0007: naming a parent is spending its limits and joining its labels."""
    root = await desk.session()
    carl = await desk.world.person("carl@example.test", "viewer")
    with pytest.raises(Forbidden) as refused:
        await desk.session(parent=root.session, principal=carl.person.email)
    assert (await desk.world.leaves())[refused.value.event or -1]["k"] == 45
    secret = (await secrets_of(desk))["session key"]
    standing = as_session_caller(await authenticate(desk.deps, f"Bearer {secret}"))
    for parent in (standing.session, "ses_none"):
        with pytest.raises(InvalidDocument):
            await desk.session(parent=parent)
    deep = root
    for _ in range(sessions.MAX_DEPTH - 2):
        deep = await desk.session(parent=deep.session)
    with pytest.raises(Forbidden):
        await desk.session(parent=deep.session)
    await sessions.end(desk.deps, root, root.session, "")
    with pytest.raises(InvalidDocument):
        await desk.session(parent=root.session)


async def test_a_token_dies_with_the_host_key_that_it_was_issued_to(desk: Desk) -> None:
    """Whichever key started the session. The token of the other key, which lives, is the control."""
    first = await desk.session()
    other = await host_of(desk.world, "bookkeeper")
    token, _ = await sessions.renew(desk.deps, other, first.session)
    renewed = as_session_caller(await authenticate(desk.deps, f"Bearer {token}"))
    assert allowed(await desk.open(renewed))
    await keys.revoke(desk.deps, desk.world.admin, other.key)
    assert codes(await desk.open(renewed)) == ["credential.revoked"]
    assert allowed(await desk.open(first))


async def test_a_token_is_renewed_by_its_host_while_the_session_lives_and_not_after(desk: Desk) -> None:
    session = await desk.session(ttl="PT20M")
    desk.world.later(sessions.TOKEN_LIFE)
    token, expires = await sessions.renew(desk.deps, desk.host, session.session)
    assert expires == desk.world.clock.at + sessions.TOKEN_LIFE
    assert allowed(await desk.open(as_session_caller(await authenticate(desk.deps, f"Bearer {token}"))))
    desk.world.later(sessions.TOKEN_LIFE)
    with pytest.raises(Unauthenticated):
        await authenticate(desk.deps, f"Bearer {token}")
    _, last = await sessions.renew(desk.deps, desk.host, session.session)
    desk.world.later(6 * 60_000)
    _, last = await sessions.renew(desk.deps, desk.host, session.session)
    assert last < desk.world.clock.at + sessions.TOKEN_LIFE, "no token outlives its session"
    for stop in ("killed", "expired"):
        one = await desk.session(ttl="PT20M")
        if stop == "killed":
            await sessions.kill(desk.deps, desk.world.admin, one.session, "leak")
        else:
            desk.world.later(20 * 60_000)
        with pytest.raises(WrongState):
            await sessions.renew(desk.deps, desk.host, one.session)


@pytest.mark.claim("log:commitments-hide")
async def test_an_owner_reads_no_values_that_are_kept_for_another_person(desk: Desk) -> None:
    """What an agent does for somebody is theirs, also before the agent's owner. An auditor is the control."""
    owner = await desk.world.person("own@example.test", "owner")
    carl = await desk.world.person("carl@example.test", "viewer")
    await desk.world.agent("reader", owner="own@example.test", mode="delegated")
    await desk.world.grant("office/read_mail", agent="reader")
    await agents.activate(desk.deps, desk.world.admin, "reader")
    session = await desk.session(await host_of(desk.world, "reader"), principal=carl.person.email)
    decision = await desk.open(session, arguments={"id": "m-secret"})
    assert decision.event is not None
    for who, shown in ((owner, False), (desk.world.admin, True)):
        event = await audit.show(desk.deps, who, decision.event)
        assert ("m-secret" in str(event)) is shown
