"""Advice on grants only narrows, and never takes away what was used."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.amounts import SCALE
from remit.core.grants import Grant, Limits, NamedTool, ToolsByEffect
from remit.core.times import DAY, HOUR
from remit.core.tools import Tool
from remit.policy.advice import Use, narrowed, peaks

EFFECTS: tuple[Any, ...] = ("read", "write", "spend")
TOOLS = tuple(
    Tool(
        org="main",
        id=f"tol_{at}",
        server=f"srv_{at % 2}",
        ref=f"s{at % 2}/t{at}",
        alias=f"s{at % 2}__t{at}",
        pinned="f",
        offered="f",
        review="r",
        effect=EFFECTS[at % 3],
        approved_at=1,
        created=0,
    )
    for at in range(6)
)
limits = st.lists(
    st.builds(
        Limits,
        st.sampled_from(["call", "session", "day"]),
        st.dictionaries(st.sampled_from(["calls", "eur"]), st.integers(1, 500).map(lambda n: n * SCALE), min_size=1),
    ),
    max_size=3,
).map(tuple)
selectors = st.lists(
    st.one_of(
        st.sampled_from(TOOLS).map(lambda tool: NamedTool(tool.ref, tool.effect or "read")),
        st.builds(ToolsByEffect, st.sampled_from(["srv_0", "srv_1"]), st.just(EFFECTS[:2]), st.booleans()),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
uses = st.lists(
    st.builds(
        Use,
        st.sampled_from([tool.ref for tool in TOOLS]),
        st.integers(0, 10 * DAY),
        st.sampled_from(["ses_1", "ses_2"]),
        st.fixed_dictionaries({"calls": st.just(SCALE)}, optional={"eur": st.integers(0, 900_000)}),
        st.booleans(),
    ),
    max_size=12,
)


def made(tools: Any, held: Any) -> Grant:
    """A grant."""
    return Grant(
        org="main",
        id="grt_1",
        agent="agt_1",
        person=None,
        tools=tools,
        when="true",
        limits=held,
        expires=99 * DAY,
        state="active",
        created=5,
    )


@pytest.mark.claim("grant:advice-only-narrows")
@given(selectors, limits, uses)
def test_a_narrowed_grant_reaches_a_subset_under_ceilings_that_are_no_higher(
    tools: Any, held: Any, used: list[Use]
) -> None:
    before = made(tools, held)
    after = narrowed(before, TOOLS, used)
    if after is None:
        assert not any(before.reaches(tool) and tool.ref == one.tool for tool in TOOLS for one in used)
        return
    assert all(before.reaches(tool) for tool in TOOLS if after.reaches(tool))
    assert (after.when, after.expires, after.agent) == (before.when, before.expires, before.agent)
    for old, new in zip(before.limits, after.limits, strict=False):
        assert (old.per, old.amounts.keys()) == (new.per, new.amounts.keys())
        assert all(new.amounts[name] <= most for name, most in old.amounts.items())
    assert len(after.limits) >= len(before.limits)


@pytest.mark.claim("grant:advice-only-narrows")
@given(selectors, limits, uses)
def test_what_was_used_within_its_ceilings_fits_the_narrowed_grant(tools: Any, held: Any, used: list[Use]) -> None:
    before = made(tools, held)
    after = narrowed(before, TOOLS, used)
    own = [one for one in used if any(before.reaches(tool) and tool.ref == one.tool for tool in TOOLS)]
    if after is None:
        return
    assert {one.tool for one in own} <= {tool.ref for tool in TOOLS if after.reaches(tool)}
    most = peaks(own)
    for old, new in zip(before.limits, after.limits, strict=False):
        for name, ceiling in old.amounts.items():
            taken = most.of(old.per).get(name, 0)
            assert taken > ceiling or taken <= new.amounts[name]


def test_a_day_is_any_24_hours() -> None:
    calls = [Use("s0/t0", at, "ses_1", {"eur": 10}) for at in (20 * HOUR, 30 * HOUR, 43 * HOUR, 44 * HOUR)]
    assert peaks(calls).day == {"eur": 30}
    assert peaks(calls).session == {"eur": 40}
    assert peaks(calls).call == {"eur": 10}
