"""People: the first one founds the organization with every role; administrators add and suspend the others.

Nobody is ever removed: the log names people by id. A suspended person owns nothing that works and answers nothing.
"""

from collections.abc import Iterable
from dataclasses import replace

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import WrongState
from remit.core.events import EventDraft, Kind
from remit.core.people import ROLES, Person
from remit.core.ports import Unit
from remit.guards.documents import check_document
from remit.services.deps import Deps, require
from remit.services.documents import Document, committed, person_document, read_identifiers, read_person
from remit.services.registry import find, require_reader
from remit.services.stopping import kill_all, of_person


async def found(deps: Deps, email: str, name: str, id: str | None = None) -> Person:
    """The first person, with every role. ``id`` is given where the log's first event names them already.

    Raises ``WrongState`` when there are people already, ``InvalidDocument``.
    """
    document: Document = {"kind": "Person", "email": email, "name": name, "roles": list(ROLES)}
    async with deps.store.unit(deps.org) as unit:
        if await unit.nouns.all(Person):
            raise WrongState("there already are people here", hint="An administrator adds the others.")
        person = read_person(document, org=deps.org, id=id or deps.new_id("per"), created=deps.clock.now())
        await unit.nouns.add(person)
        await unit.log.append(_event(Kind.PERSON_ADDED, person.id, person, committed(document)))
    return person


async def add(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A new person, by an administrator. Raises ``Forbidden``, ``InvalidDocument``, ``NameTaken``."""
    require(caller, "administrator")
    person = read_person(document, org=deps.org, id=deps.new_id("per"), created=deps.clock.now())
    async with deps.store.unit(deps.org) as unit:
        await unit.nouns.add(person)
        await unit.log.append(_event(Kind.PERSON_ADDED, caller.person.id, person, committed(document)))
    return person_document(person)


async def suspend(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """Stop a person, by an administrator: their keys, answers and agents stop with them.

    Sessions for them and of their agents are killed, with all below; what waits for a person there is void. Raises
    ``WrongState`` for the last active administrator: nobody could undo it.
    """
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        person = await find(unit, Person, named)
        others = [other for other in await unit.nouns.all(Person) if other.id != person.id]
        if person.state != "active":
            raise WrongState(f"{person.id} is {person.state} already")
        require_another(others)
        await kill_all(unit, await of_person(unit, person.id), caller.person.id, "a person was suspended")
        return await _moved(unit, caller, replace(person, state="suspended"), Kind.PERSON_SUSPENDED)


def require_another(others: Iterable[Person]) -> None:
    """Pass if one of the others is an active administrator; else ``WrongState``: nobody could undo anything."""
    if not any(other.has("administrator") for other in others):
        raise WrongState("this is the last active administrator", hint="Add another administrator first.")


async def reinstate(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """Undo a suspension or a departure, by an administrator: what was stopped or given away stays so.

    Raises ``WrongState``.
    """
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        person = await find(unit, Person, named)
        if person.state == "active":
            raise WrongState(f"{person.id} is not suspended")
        return await _moved(unit, caller, replace(person, state="active"), Kind.PERSON_CHANGED)


async def identify(deps: Deps, caller: PersonCaller, named: str, document: Document) -> dict[str, Json]:
    """Say what further values are a person's own, by an administrator; it counts for sessions that begin after it.

    ``document`` is an ``IdentifiersRequest``. INVARIANT: never by the person, whose own agents might ask for it: a
    value that is the principal's own is asked about nowhere. Raises ``InvalidDocument``, ``NotFound``.
    """
    require(caller, "administrator")
    check_document("IdentifiersRequest", document)
    async with deps.store.unit(deps.org) as unit:
        person = replace(await find(unit, Person, named), identifiers=read_identifiers(document["identifiers"]))
        await unit.nouns.replace(person)
        await unit.log.append(_event(Kind.PERSON_CHANGED, caller.person.id, person, committed(document)))
        return person_document(person)


async def get(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """One person by e-mail or id. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        return person_document(await find(view, Person, named))


async def list_all(deps: Deps, caller: PersonCaller) -> tuple[dict[str, Json], ...]:
    """Everyone, oldest first."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        return tuple(person_document(person) for person in await view.nouns.all(Person))


async def _moved(unit: Unit, caller: PersonCaller, person: Person, kind: Kind) -> dict[str, Json]:
    await unit.nouns.replace(person)
    await unit.log.append(_event(kind, caller.person.id, person, {}))
    return person_document(person)


def _event(kind: Kind, actor: str, person: Person, private: dict[str, Json]) -> EventDraft:
    return EventDraft(kind=kind, actor=actor, subject=person.id, about=person.id, private=private)
