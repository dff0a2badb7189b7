"""Come in here for how definitions are taken in from a file, so that a review can happen before a server is connected.

Rules
- What is imported is quarantined like anything new, and marked: nobody has heard it from the server yet.
- A server's own word outranks a file. Once it has listed a tool itself, an import of another definition is refused;
  what it lists later, where it differs from what was imported, is a change like any other and quarantines the tool.
- Nothing is contacted, agreed to or removed: an import never says that a tool is gone.
- The tools of a server that has no upstream (``caller: true``) are known from files only, so there a later file is the
  change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidDocument, TooLarge, WrongState
from remit.core.events import Kind
from remit.core.ids import tool_ref
from remit.core.servers import Server
from remit.core.tools import Tool
from remit.guards.json_in import as_json
from remit.services.deps import Deps, require
from remit.services.registry import find
from remit.services.sync import MAX_LIST, MAX_TOOLS, Offer, Refused, Sync, add, keep, read_all


async def import_tools(deps: Deps, caller: PersonCaller, named: str, definitions: Sequence[Json]) -> dict[str, Json]:
    """Take in the Tool objects of a ``tools/list`` result, by an administrator. Answers as a sync does.

    Raises ``InvalidDocument`` for an empty list, ``TooLarge`` beyond the bounds of a sync, ``WrongState`` for a retired
    server.
    """
    require(caller, "administrator")
    raw = [as_json(definition) for definition in definitions]
    if not raw:
        raise InvalidDocument("there is no tool in it", hint="Give the result of tools/list, or its array of tools.")
    if len(raw) > MAX_TOOLS or sum(map(len, raw)) > MAX_LIST:
        raise TooLarge(f"a server may have {MAX_TOOLS} tools in {MAX_LIST} bytes")
    offers, refused = read_all(raw)
    async with deps.store.unit(deps.org) as unit:
        server = await find(unit, Server, named)
        if server.state != "active":
            raise WrongState(f"server {server.name} is retired")
        work = Sync(deps, unit, server, caller.person.id)
        known = {tool.ref: tool for tool in await unit.nouns.all(Tool) if tool.server == server.id}
        refused.extend(await _take(work, known, offers))
    return {
        "tools": [line for _, line in sorted(work.found.items())],
        "refused": [one.document() for one in refused],
    }


async def _take(work: Sync, known: Mapping[str, Tool], offers: Mapping[str, Offer]) -> list[Refused]:
    """Each offer beside what is known under its name; what the server itself has said otherwise is refused."""
    refused: list[Refused] = []
    for name, offer in offers.items():
        ref = tool_ref(work.server.name, name)
        before = known.get(ref)
        if before is None:
            await add(work, ref, offer, "imported", imported=True)
            work.note(ref, offer.fingerprint, "new")
        elif before.offered == offer.fingerprint:
            work.note(ref, offer.fingerprint, "same")
        elif not before.imported:
            refused.append(Refused(name, "its server itself lists another definition, or none: sync it"))
        else:
            await _changed(work, before, offer)
    return refused


async def _changed(work: Sync, tool: Tool, offer: Offer) -> None:
    """Another definition than the one imported last; live again only if it is exactly the pinned one."""
    await keep(work, tool.ref, offer)
    changed = replace(tool, offered=offer.fingerprint)
    await work.unit.nouns.replace(changed)
    if changed.state == "approved":
        await work.event(Kind.TOOL_SEEN, changed, offer.fingerprint, "imported", "as_reviewed")
    else:
        await work.event(Kind.TOOL_QUARANTINED, changed, offer.fingerprint, "imported")
    work.note(tool.ref, offer.fingerprint, "changed")
