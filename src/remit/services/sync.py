"""Come in here for what happens when a server lists its tools: what is new, changed, renamed, gone, or refused.

Rules
- A pin is never written here: an administrator's first sync agrees to the *server* as it is met; tools wait for review.
- What is offered is kept beside the pin, so a second definition never overwrites the reviewed one.
- A sync by the gateway (no caller) never agrees to anything: it quarantines, or finds all as it was agreed before. It
  adds no tool either: a server that lists other names each time would fill the registry, whose rows stay for ever.
- A definition that can't be read exactly is not taken in, and its tool counts as gone. Two different definitions under
  one name are both refused: which of them would be called can't be known.
- A sync that finds nothing new writes nothing, so it moves no epoch and adds no event.
- What a server offers beside tools (``surfaces.py``) is taken in the same way, under names that no tool may have: a
  tool that claims one is refused, and never mistaken for it.

``imports.py`` takes in definitions before a server is connected. What the server then lists itself replaces them, and
where it differs that is a change like any other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from remit.core import entitlements
from remit.core.canonical import Json, fingerprint
from remit.core.credentials import PersonCaller
from remit.core.errors import BadInput, TooLarge, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ids import tool_ref
from remit.core.ports import Unit
from remit.core.servers import Server
from remit.core.tools import Definition, Tool, definition_id
from remit.guards.json_in import parse
from remit.services.deps import Deps, require
from remit.services.registry import find
from remit.services.surfaces import NO_SURFACES, Surfaces, read

MAX_DEFINITION: Final = 64 * 1024
MAX_TOOLS: Final = 5_000
MAX_LIST: Final = 8 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


@dataclass(frozen=True, slots=True)
class Offer:
    """One definition as it was received and read. ``nameless`` is what stays when only the name changes."""

    name: str
    fingerprint: str
    body: str
    nameless: str


@dataclass(frozen=True, slots=True)
class Refused:
    """One definition that was not taken in, and why."""

    name: str | None
    why: str

    def document(self) -> dict[str, Json]:
        """As the answer has it."""
        return {"tool": self.name, "why": self.why}


@dataclass(slots=True)
class Sync:
    """One sync under way: the unit it writes in, for whom, and what it has found so far."""

    deps: Deps
    unit: Unit
    server: Server
    actor: str
    found: dict[str, Json] = field(default_factory=dict)

    async def event(self, kind: Kind, tool: Tool | None, seen: str | None, *codes: str) -> None:
        """Write an event of this sync: about a tool, or about the server."""
        await self.unit.log.append(
            EventDraft(
                kind=kind,
                actor=self.actor,
                subject=self.actor,
                about=tool.id if tool else self.server.id,
                tool=tool.ref if tool else None,
                fingerprint=seen,
                codes=codes,
            )
        )

    def note(self, ref: str, seen: str | None, state: str) -> None:
        """Say in the answer how a tool stands."""
        self.found[ref] = {"tool": ref, "fingerprint": seen, "state": state}


async def sync(
    deps: Deps,
    caller: PersonCaller | None,
    named: str,
    identity: Json,
    definitions: Sequence[bytes],
    beside: Surfaces = NO_SURFACES,
) -> dict[str, Json]:
    """Take in what a server lists. ``definitions`` are the raw Tool objects of all pages, ``identity`` what else it is.

    ``beside`` is what it offers beside tools.
    By an administrator, or by the gateway (``caller`` None). Raises ``WrongState`` for a retired server, ``TooLarge``
    for a list beyond ``MAX_TOOLS`` or ``MAX_LIST``, ``Malformed`` for an identity that has no canonical form.
    """
    if caller is not None:
        require(caller, "administrator")
    if len(definitions) > MAX_TOOLS or sum(map(len, definitions)) > MAX_LIST:
        raise TooLarge(f"a server may list {MAX_TOOLS} tools in {MAX_LIST} bytes")
    seen = fingerprint(identity)
    offers, refused = read_all(definitions)
    _add_surfaces(offers, refused, beside)
    async with deps.store.unit(deps.org) as unit:
        server = await find(unit, Server, named)
        if server.state != "active":
            raise WrongState(f"server {server.name} is retired")
        work = Sync(deps, unit, server, caller.person.id if caller else server.id)
        server = await _identity(work, seen, agrees=caller is not None)
        await _tools(work, offers, adds=caller is not None)
    return {
        "tools": [line for _, line in sorted(work.found.items())],
        "refused": [one.document() for one in refused],
        "server": {"fingerprint": seen, "quarantined": server.quarantined},
    }


async def _identity(work: Sync, seen: str, *, agrees: bool) -> Server:
    """Note what the server is now; the first administrator to look agrees to it, later changes quarantine it."""
    server = work.server
    first = server.pinned is None and agrees
    if server.seen == seen and not first:
        return server
    met = replace(server, seen=seen, pinned=seen if first else server.pinned)
    await work.unit.nouns.replace(met)
    if first:
        await work.event(Kind.SERVER_APPROVED, None, seen, "first_use")
    elif met.quarantined:
        await work.event(Kind.SERVER_QUARANTINED, None, seen)
    else:
        await work.event(Kind.SERVER_CHANGED, None, seen, "as_agreed_again")
    return met


async def _tools(work: Sync, offers: Mapping[str, Offer], *, adds: bool) -> None:
    known = {tool.ref: tool for tool in await work.unit.nouns.all(Tool) if tool.server == work.server.id}
    listed = {tool_ref(work.server.name, name): offer for name, offer in offers.items()}
    gone = [tool for ref, tool in known.items() if ref not in listed and tool.offered is not None]
    left = {await _nameless(work.unit, tool) for tool in gone}
    for tool in gone:
        await work.unit.nouns.replace(replace(tool, offered=None, imported=False))
        await work.event(Kind.TOOL_GONE, tool, tool.offered)
        work.note(tool.ref, tool.offered, "gone")
    for ref, offer in listed.items():
        before = known.get(ref)
        if before is None:
            if adds:
                await _new(work, ref, offer, renamed=offer.nameless in left)
        elif before.offered != offer.fingerprint:
            await _changed(work, before, offer)
        else:
            await _confirmed(work, before)
            work.note(ref, offer.fingerprint, "same")


async def _confirmed(work: Sync, tool: Tool) -> None:
    """The server lists what was known from a file only."""
    if tool.imported:
        await work.unit.nouns.replace(replace(tool, imported=False))
        await work.event(Kind.TOOL_SEEN, tool, tool.offered, "as_imported")


async def _new(work: Sync, ref: str, offer: Offer, *, renamed: bool) -> None:
    await add(work, ref, offer, *(["renamed"] if renamed else []))
    work.note(ref, offer.fingerprint, "renamed?" if renamed else "new")


async def add(work: Sync, ref: str, offer: Offer, *codes: str, imported: bool = False) -> None:
    """A tool never seen under this name, and so in quarantine, whatever it looks like."""
    now = work.deps.clock.now()
    tool = Tool(
        org=work.deps.org,
        id=work.deps.new_id("tol"),
        server=work.server.id,
        ref=ref,
        alias=entitlements.alias_of(work.server.name, offer.name),
        pinned=None,
        offered=offer.fingerprint,
        review=None,
        effect=None,
        approved_at=None,
        created=now,
        imported=imported,
    )
    await keep(work, ref, offer)
    await work.unit.nouns.add(tool)
    await work.event(Kind.TOOL_SEEN, tool, offer.fingerprint, *codes)


async def _changed(work: Sync, tool: Tool, offer: Offer) -> None:
    """Another definition than the last one offered; live again only if it is exactly the pinned one."""
    await keep(work, tool.ref, offer)
    changed = replace(tool, offered=offer.fingerprint, imported=False)
    await work.unit.nouns.replace(changed)
    if changed.state == "approved":
        await work.event(Kind.TOOL_SEEN, changed, offer.fingerprint, "as_reviewed")
    else:
        await work.event(Kind.TOOL_QUARANTINED, changed, offer.fingerprint)
    work.note(tool.ref, offer.fingerprint, "changed")


async def keep(work: Sync, ref: str, offer: Offer) -> None:
    """Keep a definition, unless it is known."""
    kept = definition_id(ref, offer.fingerprint)
    if await work.unit.nouns.get(Definition, kept) is None:
        definition = Definition(
            org=work.deps.org,
            id=kept,
            tool=ref,
            fingerprint=offer.fingerprint,
            body=offer.body,
            first_seen=work.deps.clock.now(),
        )
        await work.unit.nouns.add(definition)


async def _nameless(unit: Unit, tool: Tool) -> str:
    """The fingerprint, apart from its name, of what a tool last offered."""
    definition = await unit.nouns.get(Definition, definition_id(tool.ref, tool.offered or ""))
    return _without_name(parse(definition.body.encode())) if definition else ""


def read_all(definitions: Sequence[bytes]) -> tuple[dict[str, Offer], list[Refused]]:
    """What can be taken in, by name, and what can't."""
    offers: dict[str, Offer] = {}
    refused: list[Refused] = []
    twins: set[str] = set()
    for raw in definitions:
        read = _read(raw)
        if isinstance(read, Refused):
            refused.append(read)
        elif offers.setdefault(read.name, read).fingerprint != read.fingerprint:
            twins.add(read.name)
    # A name that is also on a refused definition is as doubtful as one with two readable definitions.
    twins |= {one.name for one in refused if one.name in offers and one.name is not None}
    for name in sorted(twins):
        del offers[name]
        refused.append(Refused(name, "the list has two different definitions of this name"))
    return offers, refused


def _add_surfaces(offers: dict[str, Offer], refused: list[Refused], beside: Surfaces) -> None:
    """Put what is offered beside tools to the rest. INVARIANT: no tool was read under such a name."""
    found = read(beside)
    for name, body in found.bodies.items():
        document = parse(body.encode())
        offers[name] = Offer(name, fingerprint(document), body, _without_name(document))
    refused += [Refused(name, why) for name, why in found.refused]


def _read(raw: bytes) -> Offer | Refused:
    if len(raw) > MAX_DEFINITION:
        return Refused(None, f"the definition is larger than {MAX_DEFINITION} bytes")
    try:
        document = parse(raw)
        name = document.get("name") if isinstance(document, Mapping) else None
        if not isinstance(document, Mapping) or not isinstance(name, str) or _NAME.fullmatch(name) is None:
            return Refused(None, "it has no name of 1 to 128 letters, digits and . _ - /")
        if entitlements.is_reserved(name):
            return Refused(name, "its name begins as only what a server offers beside tools does")
        if any(_foreign(document.get(schema)) for schema in ("inputSchema", "outputSchema")):
            return Refused(name, "its schema refers to something outside itself")
        return Offer(name, fingerprint(document), raw.decode(), _without_name(document))
    except BadInput as error:
        return Refused(None, error.detail)


def _without_name(document: Json) -> str:
    members = document if isinstance(document, Mapping) else {}
    return fingerprint({key: value for key, value in members.items() if key != "name"})


def _foreign(schema: Json) -> bool:
    """Whether a schema refers to anything outside itself: what stands there could change after the review."""
    return any(not reference.startswith("#") for reference in _references(schema))


def _references(schema: Json) -> Iterator[str]:
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            yield from (value for word in _REFERENCES if isinstance(value := node.get(word), str))
            pending.extend(node.values())
        elif isinstance(node, Sequence) and not isinstance(node, str):
            pending.extend(node)
