"""The log, read and proved: events for auditors and owners, signed tree heads, inclusion proofs, an export.

The tree is brought up to date when a head is signed: new leaves are hashed, complete subtrees stored, and the head over
all of them signed, in units of work like any other, so that two processes never sign two histories.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from remit.audit import tree
from remit.audit.checkpoint import Signer, format_proof, read_size
from remit.core.agents import Agent
from remit.core.canonical import Json, b64
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InvalidDocument, NotFound
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.ports import LogEntry, Unit
from remit.core.servers import Server
from remit.core.tools import Tool
from remit.guards.json_in import as_json, parse
from remit.services.deps import Deps, require

# Leaves hashed in one unit of work: a long one would hold up every decision.
STEP: Final = 4_096
MAX_PAGE: Final = 1_000


async def sign_checkpoint(deps: Deps, signer: Signer) -> str:
    """The newest signed tree head, after hashing and signing what was added since the last one."""
    while True:
        async with deps.store.unit(deps.org) as unit:
            note = await unit.tree.checkpoint()
            covered = read_size(note) if note else 0
            size = await unit.log.size()
            if note is not None and covered == size:
                return note
            until = min(size, covered + STEP)
            root = await _extend(unit, covered, until)
            note = signer.sign(until, root)
            await unit.tree.add_checkpoint(until, note)
            if until == size:
                return note


async def proof(deps: Deps, signer: Signer, index: int) -> str:
    """``tlog-proof@v1`` for one event: the head, the path, the index. Raises ``NotFound``."""
    note = await sign_checkpoint(deps, signer)
    size = read_size(note)
    if not 0 <= index < size:
        raise NotFound(f"there is no event {index}")
    async with deps.store.view(deps.org) as view:
        path = [
            (await view.tree.hashes(level, position, position + 1))[0]
            for level, position in tree.inclusion_path(index, size)
        ]
    return format_proof(index, tree.fold_path(index, size, path), note)


async def find(
    deps: Deps,
    caller: PersonCaller,
    *,
    after: int,
    kinds: Sequence[int],
    session: str | None,
    agent: str | None,
    limit: int,
) -> list[Json]:
    """Events above ``after``, oldest first: all for auditors and administrators, their agents' for owners."""
    wide = caller.person.has("auditor", "administrator")
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidDocument(f"limit is 1 to {MAX_PAGE}", pointer="/limit")
    async with deps.store.view(deps.org) as view:
        named = await view.nouns.named(Agent, agent) if agent else None
        wanted = named.id if named else agent
        if wide:
            found = await view.log.find(after=after, limit=limit, kinds=kinds, session=session, agent=wanted)
            return [parse(entry.leaf) for entry in found]
        own = await _owned(view, caller)
        out: list[Json] = []
        for mine in sorted(own if wanted is None else own & {wanted}):
            found = await view.log.find(after=after, limit=limit, kinds=kinds, session=session, agent=mine)
            out.extend(parse(entry.leaf) for entry in found)
    return sorted(out, key=_index)[:limit]


async def show(deps: Deps, caller: PersonCaller, index: int) -> Json:
    """One event; with its private values for auditors and for the owner of the agent it is about."""
    async with deps.store.view(deps.org) as view:
        found = await view.log.read(index, index + 1)
        if not found:
            raise NotFound(f"there is no event {index}")
        event = parse(found[0].leaf)
        if not isinstance(event, dict):
            raise NotFound(f"there is no event {index}")
        if not caller.person.has("auditor", "administrator") and event.get("agent") not in await _owned(view, caller):
            raise NotFound(f"there is no event {index}")
        payload = _payload(deps, await view.log.private(index))
    return {**event, "payload": payload} if payload else event


async def export(deps: Deps, caller: PersonCaller, signer: Signer, *, private: bool) -> AsyncIterator[bytes]:
    """The whole log as JSON lines that ``audit/verify.py`` checks alone; with values and salts when ``private``."""
    require(caller, "auditor", "administrator")
    note = await sign_checkpoint(deps, signer)
    size = read_size(note)
    head: Json = {"t": "log", "v": 1, "origin": signer.origin, "verifier_key": signer.verifier_key}
    yield as_line(head)
    for start in range(0, size, STEP):
        async with deps.store.view(deps.org) as view:
            entries = await view.log.read(start, min(size, start + STEP))
            lines = [await _export_line(deps, view, entry, private=private) for entry in entries]
        for line in lines:
            yield line
    yield as_line({"t": "checkpoint", "note": note})


async def status(deps: Deps) -> dict[str, Json]:
    """Whether Remit can serve, and how much it holds."""
    async with deps.store.view(deps.org) as view:
        authority = await deps.authority.current(view)
        counts: dict[str, Json] = {
            "people": len(await view.nouns.all(Person)),
            "agents": len(authority.agents),
            "servers": len(await view.nouns.all(Server)),
            "tools": len(await view.nouns.all(Tool)),
            "quarantined": sum(tool.state == "quarantined" for tool in await view.nouns.all(Tool)),
            "sessions": len(await view.sessions.live(None, None)),
            "approvals": len(await view.approvals.list("pending", 10_000, None)),
            "unknown": sum(call.state == "unknown" for call in await view.calls.unfinished()),
            "events": await view.log.size(),
        }
    fault = authority.fault or None
    return {"health": {"ok": fault is None, "reason": fault}, "counts": counts}


async def erase(deps: Deps, caller: PersonCaller, subject: str) -> int:
    """Destroy the key under which a person's values are sealed. The leaves stay valid; the values are gone for good."""
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        person = await unit.nouns.get(Person, subject) or await unit.nouns.named(Person, subject)
        if person is None:
            raise NotFound(f"there is no person {subject}")
        event = await unit.log.append(
            EventDraft(kind=Kind.ERASED, actor=caller.person.id, subject=caller.person.id, about=person.id)
        )
    # After the event is on disk: a key destroyed without a record could not be told from one that was lost.
    if not deps.sealer.forget(deps.org, person.id):
        raise NotFound("there is nothing sealed for this person")
    return event


def as_line(value: Json) -> bytes:
    """One line of an export: compact JSON, its members in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def _extend(unit: Unit, covered: int, until: int) -> bytes:
    """Hash leaves ``covered`` to ``until``, keep every subtree that they complete; the new root."""
    frontier = tree.Frontier(covered, tuple([
        (await unit.tree.hashes(level, position, position + 1))[0] for level, position in tree.peaks(covered)
    ]))
    fresh: dict[int, tuple[int, list[bytes]]] = {}
    for entry in await unit.log.read(covered, until):
        frontier, completed = frontier.extended(tree.leaf_hash(entry.leaf))
        for level, position, value in completed:
            fresh.setdefault(level, (position, []))[1].append(value)
    for level, (start, hashes) in fresh.items():
        await unit.tree.add_hashes(level, start, hashes)
    return frontier.root()


async def _export_line(deps: Deps, view: Unit, entry: LogEntry, *, private: bool) -> bytes:
    line: dict[str, Json] = {"t": "leaf", "i": entry.index, "leaf": b64(entry.leaf)}
    if private:
        opened = {item.pointer: deps.sealer.reveal(item, deps.org) for item in await view.log.private(entry.index)}
        shown: dict[str, Json] = {
            pointer: {"salt": b64(pair[0]), "value": b64(pair[1])} for pointer, pair in opened.items() if pair
        }
        if shown:
            line["payload"] = shown
    return as_line(line)


def _payload(deps: Deps, sealed: Sequence[object]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for item in sealed:
        opened = deps.sealer.reveal(item, deps.org)  # type: ignore[arg-type]
        out[item.pointer] = parse(opened[1]) if opened else "[erased]"  # type: ignore[attr-defined]
    return out


async def _owned(view: Unit, caller: PersonCaller) -> set[str]:
    if caller.person.state != "active":
        raise Forbidden
    return {agent.id for agent in await view.nouns.all(Agent) if agent.owner == caller.person.id}


def _index(event: Json) -> int:
    number = event.get("i") if isinstance(event, Mapping) else None
    return number if isinstance(number, int) else -1
