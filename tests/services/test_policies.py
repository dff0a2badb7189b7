"""Operators' policies: a bad set changes nothing but the log."""

import pytest

from remit.core.errors import Forbidden, InvalidPolicy, NotFound
from remit.core.events import Kind
from remit.guards.documents import check_answer
from remit.services import policies, servers
from tests.services.world import PAY, World, tool

pytestmark = pytest.mark.anyio

ASK = (("ask.cedar", policies.shipped()),)
GOOD = (("own.cedar", '@id("no-admin") forbid(principal, action in Remit::Action::"effect:admin", resource);'),)
BAD = (("own.cedar", '@id("a") forbid(principal, action, resource);\n@id("a") forbid(principal, action, resource);'),)


async def test_a_set_is_applied_shown_and_rolled_back(world: World) -> None:
    await policies.found(world.deps, world.admin.person, ASK)
    await policies.apply(world.deps, world.admin, GOOD)
    shown = await policies.show(world.deps, world.admin)
    check_answer("PolicyReport", shown)
    assert shown["revision"] == "2"
    assert shown["sources"] == [{"file": "own.cedar", "text": GOOD[0][1]}]
    await policies.rollback(world.deps, world.admin, "1")
    shown = await policies.show(world.deps, world.admin)
    assert (shown["revision"], shown["sources"]) == ("3", [{"file": "ask.cedar", "text": ASK[0][1]}])
    assert (await world.kinds())[-3:] == [Kind.POLICY_APPLIED, Kind.POLICY_APPLIED, Kind.POLICY_ROLLED_BACK]
    with pytest.raises(NotFound):
        await policies.rollback(world.deps, world.admin, "9")


async def test_a_bad_set_is_refused_whole_and_the_old_one_stays(world: World) -> None:
    await policies.found(world.deps, world.admin.person, ASK)
    before = await policies.show(world.deps, world.admin)
    epoch = await world.epoch()
    with pytest.raises(InvalidPolicy) as refused:
        await policies.apply(world.deps, world.admin, (*GOOD, ("bad.cedar", BAD[0][1])))
    assert await policies.show(world.deps, world.admin) == before
    assert await world.epoch() == epoch
    last = (await world.leaves())[-1]
    assert (last["k"], last["i"]) == (Kind.POLICY_REFUSED, refused.value.event)


async def test_a_check_names_every_error_and_changes_nothing(world: World) -> None:
    epoch = await world.epoch()
    report = await policies.check(world.deps, world.admin, BAD)
    check_answer("PolicyReport", report)
    assert report["errors"]
    assert await world.epoch() == epoch


async def test_a_review_that_the_policies_in_force_do_not_fit_is_refused(world: World) -> None:
    await world.server(PAY)
    await world.review_pay()
    text = (
        '@id("cap") forbid(principal, action == Remit::Action::"office/pay_invoice", resource) '
        'when { context.args.amount.greaterThan(decimal("10.0")) };'
    )
    await policies.apply(world.deps, world.admin, (("cap.cedar", text),))
    # The new definition has no amount, so the forbid would read nothing; it can't be left out silently.
    await world.sync(tool("pay_invoice", {"type": "object", "properties": {"recipient": {"type": "string"}}}))
    with pytest.raises(InvalidPolicy):
        await world.review("office/pay_invoice", effect="write")
    assert await world.state("office/pay_invoice") == "quarantined"
    await policies.apply(world.deps, world.admin, GOOD)
    await world.review("office/pay_invoice", effect="write")


async def test_a_server_that_a_policy_names_is_not_retired_from_under_it(world: World) -> None:
    await world.server()
    named = (("s.cedar", '@id("s") forbid(principal, action in Remit::Action::"server:office", resource);'),)
    await policies.apply(world.deps, world.admin, named)
    with pytest.raises(InvalidPolicy):
        await servers.retire(world.deps, world.admin, "office")
    await policies.apply(world.deps, world.admin, GOOD)
    assert (await servers.retire(world.deps, world.admin, "office"))["state"] == "retired"


async def test_only_administrators_put_policies_in_force(world: World) -> None:
    other = await world.person("rev@example.test", "reviewer", "owner", "approver", "auditor", "viewer")
    with pytest.raises(Forbidden):
        await policies.apply(world.deps, other, GOOD)
    with pytest.raises(Forbidden):
        await policies.rollback(world.deps, other, "1")
    assert (await policies.check(world.deps, other, GOOD))["errors"] == []
