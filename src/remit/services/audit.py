"""The log, read and proved: events for auditors and owners, signed tree heads, inclusion proofs, an export.

The tree is brought up to date when a head is signed: new leaves are hashed, complete subtrees stored, and the head over
all of them signed, in units of work like any other, so that two processes never sign two histories.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from remit.audit import tree
from remit.audit.checkpoint import Signer, open_checkpoint, write_proof
from remit.audit.checkpoint import sign_checkpoint as sign_head
from remit.core.agents import Agent
from remit.core.canonical import Json, b64, canonical
from remit.core.credentials import PersonCaller
from remit.core.errors import BadInput, Forbidden, InvalidDocument, LogUnavailable, NotFound
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.ports import LogEntry, Private, Unit
from remit.core.tools import Tool
from remit.guards.json_in import JsonLimits, parse
from remit.services.deps import Deps, require

# Leaves hashed in one unit of work: a long one would hold up every decision.
STEP: Final = 4_096
MAX_PAGE: Final = 1_000
_LOST: Final = "Keep what is there as evidence, and restore remit.db from your copy of the home."
_MOST_ERASURES: Final = 1 << 31
# What we committed to ourselves was checked on its way in; a result may be larger than a request.
_OWN: Final = JsonLimits(max_bytes=1 << 30, max_depth=128)


async def sign_checkpoint(deps: Deps, signer: Signer) -> str:
    """The newest signed tree head, after hashing and signing what was added since the last one.

    Raises ``LogUnavailable`` for a log that lost events: a head over what is left would pass for the whole.
    """
    while True:
        async with deps.store.unit(deps.org) as unit:
            note = await unit.tree.checkpoint()
            covered = _size(note, signer)
            size = await unit.log.size()
            if size < max(covered, 1):
                raise LogUnavailable(f"the log has {size} events, its signed head covers {covered}", hint=_LOST)
            if note is not None and covered == size:
                return note
            until = min(size, covered + STEP)
            note = sign_head(signer.name, until, await _extend(unit, covered, until), signer)
            await unit.tree.add_checkpoint(until, note)
        if until == size:
            return note


async def proof(deps: Deps, signer: Signer, index: int) -> str:
    """``tlog-proof@v1`` for one event: the head, the path, the index. Raises ``NotFound``."""
    note = await sign_checkpoint(deps, signer)
    size = _size(note, signer)
    async with deps.store.view(deps.org) as view:
        read = await _reading(view, lambda read_hash: tree.inclusion_proof(index, size, read_hash))
        return write_proof(index, tree.inclusion_proof(index, size, read), note)


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
    """One event, for auditors and the owner of the agent it is about; with the private values that are theirs to read.

    An auditor reads every value. An owner reads those that are kept for themselves: what an agent does for another
    person is that person's.
    """
    async with deps.store.view(deps.org) as view:
        found = await view.log.read(index, index + 1)
        if not found:
            raise NotFound(f"there is no event {index}")
        event = parse(found[0].leaf)
        if not isinstance(event, dict):
            raise NotFound(f"there is no event {index}")
        wide = caller.person.has("auditor", "administrator")
        if not wide and event.get("agent") not in await _owned(view, caller):
            raise NotFound(f"there is no event {index}")
        sealed = await view.log.private(index)
        payload = _payload(deps, [item for item in sealed if wide or item.subject == caller.person.id])
    return {**event, "payload": payload} if payload else event


def check_exporter(caller: PersonCaller) -> None:
    """Pass for whoever may export the log. Asked before the first line is sent, while a refusal can still be one."""
    require(caller, "auditor", "administrator")


async def export(deps: Deps, caller: PersonCaller, signer: Signer, *, private: bool) -> AsyncIterator[bytes]:
    """The whole log as JSON lines that ``audit/verify.py`` checks alone; with values and salts when ``private``."""
    require(caller, "auditor", "administrator")
    note = await sign_checkpoint(deps, signer)
    size = _size(note, signer)
    head: Json = {"t": "log", "v": 1, "origin": signer.name, "verifier_key": signer.verifier_key_text}
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
        now, active = deps.clock.now(), [one for one in authority.servers.values() if one.state == "active"]
        counts: dict[str, Json] = {
            "people": len(await view.nouns.all(Person)),
            "agents": len(authority.agents),
            "servers": len(authority.servers),
            "observing": sum(server.observing(now) for server in active),
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
        # The value is sealed under the key that is to go: while it can be read, the erasure is not finished.
        event = await unit.log.append(
            EventDraft(
                kind=Kind.ERASED,
                actor=caller.person.id,
                subject=person.id,
                about=person.id,
                private={"/erased": False},
            )
        )
    # After the event is on disk: a key destroyed without a record could not be told from one that was lost.
    deps.sealer.forget(deps.org, person.id)
    return event


async def finish_erasures(deps: Deps) -> int:
    """Destroy the keys of erasures that were recorded and then cut short, by a crash; how many there were."""
    finished = 0
    async with deps.store.view(deps.org) as view:
        erased = await view.log.find(after=-1, limit=_MOST_ERASURES, kinds=[Kind.ERASED], session=None, agent=None)
        probes = [item for entry in erased for item in await view.log.private(entry.index)]
    for probe in probes:
        if deps.sealer.reveal(probe, deps.org) is not None:
            finished += deps.sealer.forget(deps.org, probe.subject)
    return finished


def as_line(value: Json) -> bytes:
    """One line of an export: canonical JSON, the only spelling that the verifier takes."""
    return canonical(value) + b"\n"


async def _extend(unit: Unit, covered: int, until: int) -> bytes:
    """Hash leaves ``covered`` to ``until``, keep every subtree that they complete; the new root."""
    read = await _reading(unit, lambda read_hash: tree.read_frontier(covered, read_hash))
    entries = await unit.log.read(covered, until)
    frontier, stored = tree.read_frontier(covered, read).extend(tree.leaf_hash(entry.leaf) for entry in entries)
    by_level: dict[int, list[tree.Stored]] = {}
    for one in stored:
        by_level.setdefault(one.level, []).append(one)
    for level, ones in by_level.items():
        await unit.tree.add_hashes(level, ones[0].index, [one.hash for one in ones])
    return frontier.root()


async def _reading(unit: Unit, use: Callable[[tree.ReadHash], object]) -> tree.ReadHash:
    """The stored hashes that ``use`` will ask for. Which they are depends on sizes only, so a dry run tells."""
    wanted: dict[tuple[int, int], bytes] = {}

    def note(level: int, index: int) -> bytes:
        wanted[level, index] = b""
        return bytes(tree.HASH_SIZE)

    use(note)
    for level, index in wanted:
        found = await unit.tree.hashes(level, index, index + 1)
        if not found:
            raise LogUnavailable("a hash of the log's tree is missing", hint=_LOST)
        wanted[level, index] = found[0]
    return lambda level, index: wanted[level, index]


def _size(note: str | None, signer: Signer) -> int:
    """How many leaves a head of our own covers; a head that is not ours, or was changed, is never built upon."""
    if note is None:
        return 0
    try:
        return open_checkpoint(note, [signer.verifier]).size
    except BadInput as error:
        raise LogUnavailable("the stored head of the log is not one that this home signed", hint=_LOST) from error


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


def _payload(deps: Deps, sealed: Sequence[Private]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for item in sealed:
        opened = deps.sealer.reveal(item, deps.org)
        out[item.pointer] = parse(opened[1], _OWN) if opened else "[erased]"
    return out


async def _owned(view: Unit, caller: PersonCaller) -> set[str]:
    if caller.person.state != "active":
        raise Forbidden
    return {agent.id for agent in await view.nouns.all(Agent) if agent.answered_for_by(caller.person.id)}


def _index(event: Json) -> int:
    number = event.get("i") if isinstance(event, Mapping) else None
    return number if isinstance(number, int) else -1
