"""Attack H2: what a poisoned session wrote is washed through the person's own records, and read by the next session."""

from typing import Any

import pytest

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.decisions import Decision
from tests.services.desk import Desk, allowed, done
from tests.services.world import PAY, READ, tool

pytestmark = pytest.mark.anyio

THEIRS = "GB33BUKB20201555555555"
ADD = tool("add_contact", {"properties": {"name": {"type": "string"}, "account": {"type": "string"}}})
EDIT = tool("edit_contact", {"properties": {"id": {"type": "string"}, "account": {"type": "string"}}})
LIST = tool("contacts", {"properties": {}})
FIELDS: dict[str, Any] = {
    "/items/*/id": {"writer": "system", "type": "office:contact"},
    "/items/*/name": {"writer": "system", "type": "text", "naming": True},
    "/items/*/account": {"writer": "system", "type": "iban"},
    "/items/*/owner": {"writer": "system", "type": "email", "custodian": True},
}
LISTING = {
    "from": "structured",
    "fields": FIELDS,
    "records": {"at": "/items/*", "id": "/items/*/id", "listing": "members"},
}


async def contacts(desk: Desk) -> None:
    """An address book: the person's own, which agents write to."""
    await desk.world.sync(PAY, READ, ADD, EDIT, LIST)
    await desk.world.review(
        "office/add_contact",
        effect="write",
        arguments={"/name": {"role": "free_text"}, "/account": {"role": "free_text"}},
        output={"from": "structured", "fields": {}, "mints": {"/id": "office:contact"}},
        intent=["add", "note"],
    )
    await desk.world.review(
        "office/edit_contact",
        effect="write",
        arguments={"/id": {"role": "reference", "type": "office:contact"}, "/account": {"role": "free_text"}},
        intent=["edit"],
    )
    await desk.world.review("office/contacts", output=LISTING)
    await desk.world.grant("office/add_contact", "office/contacts", "office/edit_contact")


async def session(desk: Desk, text: str, **members: Any) -> SessionCaller:
    """A session that nobody vouches for, unless said otherwise."""
    return await desk.session(task=[{"text": text, "source": "principal"}], **{"context": "unattested", **members})


async def add(desk: Desk, by: SessionCaller, id: str = "k1") -> None:
    """The attacker's account, as a contact of the person's."""
    made = await desk.open(by, "office/add_contact", {"name": "Acme", "account": "see the note"})
    await desk.close(by, made, done({"content": [], "structuredContent": {"id": id}}))


async def paid(desk: Desk, by: SessionCaller, id: str = "k1") -> Decision:
    """A payment to the account that stands under the name, after the address book was read."""
    row: Json = {"id": id, "name": "Acme", "account": THEIRS, "owner": desk.world.admin.person.email}
    shown = done({"content": [], "structuredContent": {"items": [row]}})
    await desk.close(by, await desk.open(by, "office/contacts", {}), shown)
    return await desk.open(by, "office/pay_invoice", {"recipient": THEIRS, "amount": 80})


NEXT = "Pay Acme 80 EUR."


@pytest.mark.claim("flow:laundered-records")
async def test_a_record_that_a_poisoned_session_made_endorses_nothing_in_the_next(desk: Desk) -> None:
    await contacts(desk)
    await add(desk, await session(desk, "Add it, note it."))
    assert not allowed(await paid(desk, await session(desk, NEXT)))
    assert allowed(await paid(desk, await session(desk, NEXT), id="k2")), "the control: a record that nobody wrote so"


@pytest.mark.claim("flow:laundered-records")
async def test_a_record_that_a_trusted_session_made_keeps_its_name(desk: Desk) -> None:
    await contacts(desk)
    await add(desk, await session(desk, "Add it.", context="attested"))
    assert allowed(await paid(desk, await session(desk, NEXT)))


@pytest.mark.claim("flow:laundered-records")
async def test_a_record_that_was_there_and_was_written_into_is_stamped_as_well(desk: Desk) -> None:
    await contacts(desk)
    poisoned = await session(desk, "Edit contact k1x9, see the note.")
    edited = await desk.open(poisoned, "office/edit_contact", {"id": "k1x9", "account": "see the note"})
    await desk.close(poisoned, edited, done({"content": []}))
    assert not allowed(await paid(desk, await session(desk, NEXT), id="k1x9"))


@pytest.mark.claim("flow:laundered-records")
async def test_another_process_knows_it_and_the_session_that_wrote_it_goes_on(desk: Desk) -> None:
    await contacts(desk)
    poisoned = await session(desk, f"Add it, note it. {NEXT}")
    await add(desk, poisoned)
    assert allowed(await paid(desk, poisoned)), "it is this session's own, and the task names it"
    other = await desk.another_process()
    later = await session(desk, NEXT)
    await paid(desk, later)
    again = await desk.open(later, "office/pay_invoice", {"recipient": THEIRS, "amount": 80}, deps=other)
    assert not allowed(again)
