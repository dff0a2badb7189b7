"""Granted against used, from a real log."""

import json
from typing import Any

import pytest

from remit.core.errors import Forbidden
from remit.core.times import DAY
from remit.services import audit, grants
from remit.services.advise import advise
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio


async def asked(desk: Desk, **options: Any) -> dict[str, Any]:
    """The advice, by grant."""
    return await advise(desk.deps, desk.world.admin, "bookkeeper", **{"window": 2 * DAY, **options})


def verdicts(desk: Desk, found: dict[str, Any]) -> dict[str, str]:
    """By the desk's own names of its grants."""
    names = {grant: name for name, grant in desk.grants.items()}
    return {names[one["grant"]]: one["verdict"] for one in found["grants"]}


@pytest.mark.claim("grant:advice-only-narrows")
async def test_what_was_used_is_kept_what_was_not_is_named_and_the_file_applies(desk: Desk) -> None:
    await desk.world.without_demands()
    desk.world.later(3 * DAY)
    session = await desk.session()
    await desk.close(session, await desk.pay(session, 20))
    await desk.close(session, await desk.pay(session, 10))
    found = await asked(desk)
    assert verdicts(desk, found) == {"read": "unused", "pay": "narrower"}
    assert (found["calls"], found["unreadable"]) == (2, 0)
    paying = next(one for one in found["grants"] if one["grant"] == desk.grants["pay"])
    proposed = json.loads(paying["file"])
    assert [{**one} for one in proposed["limits"]] == [
        {"per": "call", "eur": "30"},
        {"per": "day", "eur": "45"},
        {"per": "day", "calls": 3},
    ]
    assert '-      "eur": "250"' in paying["diff"]
    applied = await grants.apply(desk.deps, desk.world.admin, proposed)
    await grants.revoke(desk.deps, desk.world.admin, desk.grants["pay"])
    assert [one["verdict"] for one in (await asked(desk))["grants"] if one["grant"] == applied["id"]] == ["young"]


async def test_a_grant_that_is_younger_than_the_window_is_left_alone_unless_it_is_asked_for(desk: Desk) -> None:
    session = await desk.session()
    await desk.close(session, await desk.open(session))
    assert verdicts(desk, await asked(desk)) == {"read": "young", "pay": "young"}
    assert verdicts(desk, await asked(desk, young=True)) == {"read": "narrower", "pay": "unused"}


async def test_amounts_that_were_erased_lower_no_ceiling_and_are_counted(desk: Desk) -> None:
    await desk.world.without_demands()
    desk.world.later(3 * DAY)
    session = await desk.session()
    await desk.close(session, await desk.pay(session, 20))
    await audit.erase(desk.deps, desk.world.admin, "ada@example.test")
    found = await asked(desk)
    paying = next(one for one in found["grants"] if one["grant"] == desk.grants["pay"])
    assert found["unreadable"] == 1
    assert json.loads(paying["file"])["limits"][:2] == [
        {"per": "call", "eur": "100"},
        {"per": "day", "eur": "250"},
    ]
    assert any("erased" in line for line in found["cannot_know"])


async def test_advice_is_for_the_owner_an_auditor_and_an_administrator(desk: Desk) -> None:
    for roles in (("viewer",), ("reviewer", "approver"), ("owner",)):
        with pytest.raises(Forbidden):
            await advise(desk.deps, await desk.world.person(f"{roles[0]}@example.test", *roles), "bookkeeper")
    await advise(desk.deps, await desk.world.person("ann@example.test", "auditor"), "bookkeeper")
