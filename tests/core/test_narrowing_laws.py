"""What another version of a blueprint takes from an instance's grant: laws over random grants, templates and tools."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.blueprints import GrantTemplate, narrowed
from remit.core.grants import Grant, Limits, NamedTool, ToolsByEffect
from remit.core.tools import EFFECTS, Tool
from tests.core.test_lifecycles import GRANT, TOOL

REFS = {"office/x": "srv_1", "office/y": "srv_1", "git/x": "srv_2"}
effects = st.sampled_from(EFFECTS[:3])
named = st.builds(NamedTool, st.sampled_from(sorted(REFS)), effects)
by_effect = st.builds(
    ToolsByEffect,
    st.sampled_from(["srv_1", "srv_2"]),
    st.lists(effects, min_size=1, max_size=3, unique=True).map(tuple),
    st.booleans(),
)
selectors = st.lists(named | by_effect, min_size=1, max_size=4).map(tuple)
amounts = st.dictionaries(st.sampled_from(["eur", "calls"]), st.integers(0, 9), min_size=1)
limits = st.lists(st.builds(Limits, st.sampled_from(["call", "session", "day"]), amounts), max_size=3).map(tuple)
conditions = st.sampled_from([None, "a", "b"])
grants = st.builds(
    replace, st.just(GRANT), tools=selectors, when=conditions, limits=limits, created=st.integers(0, 100)
)
templates = st.builds(GrantTemplate, st.just("t"), selectors, conditions, limits)


@st.composite
def registries(draw: st.DrawFn) -> dict[str, Tool]:
    """Some of the tools, each as some review has it."""
    return {
        ref: replace(TOOL, ref=ref, server=server, effect=draw(effects), approved_at=draw(st.integers(0, 100)))
        for ref, server in REFS.items()
        if draw(st.booleans())
    }


def lowest(grant: Grant, per: str, name: str) -> int:
    return min((one.amounts.get(name, 99) for one in grant.limits if one.per == per), default=99)


@pytest.mark.claim("blueprint:never-widens-an-instance")
@given(grants, templates, templates, registries(), registries())
def test_what_is_left_reaches_only_what_both_reach_also_of_tools_that_come_later(
    grant: Grant, before: GrantTemplate, after: GrantTemplate, tools: dict[str, Tool], later: dict[str, Tool]
) -> None:
    less = narrowed(grant, before, after, tools)
    if less is None:
        return
    anytime = replace(grant, tools=after.tools, created=10**6)
    for tool in tools.values():
        if less.reaches(tool):
            assert grant.reaches(tool)
            assert anytime.reaches(tool)
        elif grant.reaches(tool):
            at_its_time = replace(grant, tools=after.tools)
            assert not at_its_time.reaches(tool), "and nothing is taken that both reach"
    for tool in later.values():
        as_it_comes = replace(tool, approved_at=1_000)
        if less.reaches(as_it_comes) and tool.ref not in tools:
            assert grant.reaches(as_it_comes)


@pytest.mark.claim("blueprint:never-widens-an-instance")
@given(grants, templates, templates, registries())
def test_what_is_left_has_every_condition_and_no_higher_ceiling_and_is_counted_as_before(
    grant: Grant, before: GrantTemplate, after: GrantTemplate, tools: dict[str, Tool]
) -> None:
    less = narrowed(grant, before, after, tools)
    if less is None:
        return
    assert (less.id, less.created, less.expires, less.agent) == (grant.id, grant.created, grant.expires, grant.agent)
    if grant.when is not None:
        assert less.when in (grant.when, f"({grant.when}) && ({after.when})")
    if before.when != after.when and after.when is not None:
        assert less.when is not None
        assert after.when in less.when
    for per in ("call", "session", "day"):
        for name in ("eur", "calls"):
            template = replace(grant, limits=after.limits)
            assert lowest(less, per, name) == min(lowest(grant, per, name), lowest(template, per, name))


@given(grants, templates, registries())
def test_a_template_that_is_gone_takes_its_grant_and_the_same_one_takes_nothing(
    grant: Grant, template: GrantTemplate, tools: dict[str, Tool]
) -> None:
    assert narrowed(grant, template, None, tools) is None
    made = replace(grant, tools=template.tools, when=template.when, limits=template.limits)
    again = narrowed(made, template, template, tools)
    assert again is not None
    assert set(template.tools) <= set(again.tools)
    assert again.when == made.when
