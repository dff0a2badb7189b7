"""What is a person's own beside the address: said by an administrator, and then as good as words of the task."""

from typing import Any

import pytest

from remit.core.decisions import Allow
from remit.core.errors import Forbidden, InvalidDocument, NotFound
from remit.services import people
from tests.services.desk import Desk

MINE = "DE89370400440532013000"
OTHER = "GB33BUKB20201555555555"


async def rules(desk: Desk, recipient: str) -> set[Any]:
    """By which rules a payment to this account is asked about, in a session that nobody vouched for."""
    session = await desk.session(
        task=[{"text": "Pay 80 EUR to my savings account.", "source": "principal"}], context="unattested"
    )
    decision = await desk.open(session, "office/pay_invoice", {"recipient": recipient, "amount": 80})
    return set() if isinstance(decision.verdict, Allow) else {reason.rule for reason in decision.verdict.reasons}


async def say(desk: Desk, *values: str, kind: str = "iban", by: Any = None) -> dict[str, Any]:
    """Say what is Ada's own."""
    own = [{"type": kind, "value": value} for value in values]
    return await people.identify(desk.deps, by or desk.world.admin, "ada@example.test", {"identifiers": own})


@pytest.mark.claim("flow:own-identifiers")
async def test_a_payment_to_the_principal_s_own_account_is_not_asked_about_and_to_another_it_is(desk: Desk) -> None:
    assert "C1" in await rules(desk, MINE)
    said = await say(desk, "DE89 3704 0044 0532 0130 00")
    assert said["identifiers"] == [{"type": "iban", "value": MINE}]
    assert await rules(desk, MINE) == set()
    assert "C1" in await rules(desk, OTHER)
    await say(desk)
    assert "C1" in await rules(desk, MINE)


@pytest.mark.claim("flow:own-identifiers")
async def test_only_an_administrator_says_what_is_a_person_s_own(desk: Desk) -> None:
    other = await desk.world.person("owner@example.test", "owner", "approver", "reviewer", "auditor")
    with pytest.raises(Forbidden):
        await say(desk, MINE, by=other)
    assert "C1" in await rules(desk, MINE)


@pytest.mark.claim("flow:own-identifiers")
async def test_an_identifier_is_of_its_type_alone(desk: Desk) -> None:
    await say(desk, MINE, kind="office:account")
    assert "C1" in await rules(desk, MINE)


async def test_what_has_no_single_reading_is_nobody_s(desk: Desk) -> None:
    for wrong in ("not an account", "DE89\u200b370400440532013000", ""):
        with pytest.raises(InvalidDocument):
            await say(desk, wrong)
    with pytest.raises(NotFound):
        await people.identify(desk.deps, desk.world.admin, "nobody@example.test", {"identifiers": []})
