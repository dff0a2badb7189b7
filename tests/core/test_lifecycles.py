"""What lives until when: every noun with a state or an expiry says no outside of it, at the very millisecond."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.agents import NEXT_STATES, Agent, AgentState
from remit.core.approvals import Approval, ApprovalState
from remit.core.credentials import Key
from remit.core.grants import Grant, NamedTool, ToolsByEffect
from remit.core.people import ROLES, Person, Role
from remit.core.servers import HttpTransport, Server
from remit.core.sessions import Session, SessionState
from remit.core.tools import EFFECTS, Effect, Tool

EXPIRY: Final = 100
AGENT = Agent(
    org="main",
    id="agt_1",
    name="bookkeeper",
    owner="per_1",
    purpose="Pays invoices",
    mode="delegated",
    state="active",
    expires=EXPIRY,
    review_by=None,
    created=0,
)
KEY = Key(
    org="main",
    id="key_1",
    purpose="host",
    agent="agt_1",
    person=None,
    digest="sha256:0",
    expires=EXPIRY,
    state="active",
    created=0,
)
SESSION = Session(
    org="main",
    id="ses_1",
    root="ses_1",
    parent=None,
    agent="agt_1",
    principal="per_1",
    chain=("per_1", "agt_1"),
    key="key_1",
    task=(),
    plan=None,
    context="unattested",
    state="active",
    created=0,
    expires=EXPIRY,
)
GRANT = Grant(
    org="main",
    id="grt_1",
    agent="agt_1",
    person=None,
    tools=(),
    when=None,
    limits=(),
    expires=EXPIRY,
    state="active",
    created=50,
)
TOOL = Tool(
    org="main",
    id="tol_1",
    server="srv_1",
    ref="office/x",
    alias="office__x",
    pinned="sha256:1",
    offered="sha256:1",
    review="rev_1",
    effect="read",
    approved_at=50,
    created=0,
)
APPROVAL = Approval(
    org="main",
    id="apr_1",
    kind="call",
    state="pending",
    agent="agt_1",
    chain=("per_1", "agt_1"),
    session="ses_1",
    root="ses_1",
    credential="key_1",
    tool="office/x",
    fingerprint="sha256:1",
    server="srv_1",
    server_fingerprint=None,
    arguments=b"{}",
    arguments_hash="sha256:2",
    references=(),
    policy_version="sha256:3",
    authority_version="sha256:4",
    asked_at=0,
    expires_at=EXPIRY,
    asked_event=1,
)
SERVER = Server(org="main", id="srv_1", name="office", transport=HttpTransport("http://127.0.0.1:9/"), created=0)
PERSON = Person(
    org="main", id="per_1", email="ada@example.test", name="Ada", roles=("owner",), state="active", created=0
)
moments = st.integers(0, 2 * EXPIRY)
hashes = st.sampled_from([None, "sha256:1", "sha256:2"])


@pytest.mark.claim("registry:not-live-refused")
@pytest.mark.parametrize(
    "live", [AGENT.live, KEY.live, SESSION.live, GRANT.live], ids=["agent", "key", "session", "grant"]
)
@given(now=moments)
def test_what_expires_lives_up_to_its_last_millisecond_and_not_into_the_next(
    live: Callable[[int], bool], now: int
) -> None:
    assert live(now) is (now < EXPIRY)


@pytest.mark.claim("registry:not-live-refused")
@given(st.sampled_from(get_args(AgentState)), st.sampled_from(get_args(SessionState)), moments)
def test_only_what_is_active_lives(agent: AgentState, session: SessionState, now: int) -> None:
    assert replace(AGENT, state=agent).live(now) is (agent == "active" and now < EXPIRY)
    assert replace(SESSION, state=session).live(now) is (session == "active" and now < EXPIRY)
    assert not replace(KEY, state="revoked").live(now)
    assert not replace(GRANT, state="revoked").live(now)


@pytest.mark.claim("registry:activation-needs-owner-purpose-expiry-grant")
@pytest.mark.parametrize(
    "lacking", [{"owner": None}, {"owner": ""}, {"purpose": None}, {"purpose": ""}, {"expires": None}]
)
def test_an_agent_that_lacks_something_is_not_live_whatever_its_state_says(lacking: dict[str, Any]) -> None:
    agent = replace(AGENT, **lacking)
    assert agent.missing() == tuple(lacking)
    assert not agent.live(0)
    assert AGENT.missing() == ()


def test_the_lifecycle_of_an_agent_goes_one_way_and_ends() -> None:
    assert set(NEXT_STATES) == set(get_args(AgentState))
    assert NEXT_STATES["retired"] == ()
    assert all("draft" not in following for following in NEXT_STATES.values())
    assert all("retired" in following for state, following in NEXT_STATES.items() if state != "retired")
    assert "suspended" not in NEXT_STATES["draft"]


def test_a_key_without_an_expiry_lives_until_it_is_revoked() -> None:
    person = replace(KEY, purpose="person", agent=None, person="per_1", expires=None)
    assert person.live(10**15)
    assert not replace(person, state="revoked").live(0)


@given(st.sampled_from(get_args(ApprovalState)), moments)
def test_an_approval_past_its_time_is_expired_unless_it_had_ended_otherwise(state: ApprovalState, now: int) -> None:
    found = replace(APPROVAL, state=state).state_at(now)
    late = now >= EXPIRY and state in ("pending", "approved")
    assert found == ("expired" if late else state)


@given(st.sets(st.sampled_from(ROLES)), st.sets(st.sampled_from(ROLES)))
def test_a_person_has_the_roles_they_hold_while_active(held: set[Role], asked: set[Role]) -> None:
    person = replace(PERSON, roles=tuple(held))
    assert person.has(*asked) is bool(held & asked)
    assert not replace(person, state="suspended").has(*asked)


@pytest.mark.claim("tool:quarantined-until-reviewed")
@given(hashes, hashes, st.sampled_from([None, "rev_1"]))
def test_a_tool_is_approved_only_while_what_is_offered_is_what_was_reviewed(
    pinned: str | None, offered: str | None, review: str | None
) -> None:
    state = replace(TOOL, pinned=pinned, offered=offered, review=review).state
    if offered is None:
        assert state == "gone"
    else:
        assert (state == "approved") is (offered == pinned and review is not None)


@given(hashes, hashes)
def test_a_server_is_quarantined_while_what_was_seen_is_not_what_was_agreed(
    pinned: str | None, seen: str | None
) -> None:
    assert replace(SERVER, pinned=pinned, seen=seen).quarantined is (seen is not None and seen != pinned)


# --------------------------------------------------------------------------------------------------------------- grants

effects = st.sampled_from(EFFECTS)
selectors = st.builds(NamedTool, st.sampled_from(["office/x", "office/y", "git/x"]), effects) | st.builds(
    ToolsByEffect,
    st.sampled_from(["srv_1", "srv_2"]),
    st.lists(effects, min_size=1, max_size=3, unique=True).map(tuple),
    st.booleans(),
)
reviewed = st.builds(
    replace,
    st.just(TOOL),
    ref=st.sampled_from(["office/x", "office/y", "git/x"]),
    server=st.sampled_from(["srv_1", "srv_2"]),
    effect=st.none() | effects,
    approved_at=st.none() | moments,
)


@pytest.mark.claim("grant:never-widens")
@given(effects, effects, moments, st.booleans())
def test_a_grant_reaches_no_other_effect_and_no_later_tool(
    was: Effect, now: Effect, approved: int, future: bool
) -> None:
    tool = replace(TOOL, effect=now, approved_at=approved)
    assert replace(GRANT, tools=(NamedTool("office/x", was),)).reaches(tool) is (was == now)
    by_effect = replace(GRANT, tools=(ToolsByEffect("srv_1", (was,), future),))
    # The control is ``future: true``, which asks for exactly what the rule forbids.
    assert by_effect.reaches(tool) is (was == now and (future or approved <= GRANT.created))
    assert not by_effect.reaches(replace(tool, server="srv_2"))
    assert not replace(GRANT, tools=(NamedTool("office/y", was),)).reaches(tool)


@pytest.mark.claim("grant:never-widens")
@given(st.lists(selectors, max_size=4), st.data(), reviewed)
def test_a_part_of_a_grant_reaches_nothing_that_the_whole_does_not(
    whole: list[NamedTool | ToolsByEffect], data: st.DataObject, tool: Tool
) -> None:
    part = [one for one in whole if data.draw(st.booleans())]
    if replace(GRANT, tools=tuple(part)).reaches(tool):
        assert replace(GRANT, tools=tuple(whole)).reaches(tool)
    assert not replace(GRANT, tools=()).reaches(tool)


@pytest.mark.claim("grant:never-widens")
@given(selectors, reviewed, moments)
def test_a_later_approval_never_brings_a_tool_under_a_grant_that_did_not_reach_it(
    selector: NamedTool | ToolsByEffect, tool: Tool, later: int
) -> None:
    grant = replace(GRANT, tools=(selector,))
    again = replace(tool, approved_at=max(later, tool.approved_at or 0))
    if grant.reaches(again) and tool.approved_at is not None:
        assert grant.reaches(tool)


@pytest.mark.claim("grant:never-widens")
@given(selectors, reviewed)
def test_a_tool_that_nobody_reviewed_has_no_effect_and_is_reached_by_no_grant(
    selector: NamedTool | ToolsByEffect, tool: Tool
) -> None:
    assert not replace(GRANT, tools=(selector,)).reaches(replace(tool, effect=None, approved_at=None))
