"""Approvals and the log over HTTP, and whether this Remit can serve."""

from collections.abc import Mapping
from typing import Final, get_args

from remit.audit import tree
from remit.audit.checkpoint import open_checkpoint
from remit.core.access import AccessState
from remit.core.approvals import ApprovalState
from remit.core.canonical import Json
from remit.core.errors import InvalidDocument, NotFound
from remit.core.ids import is_id
from remit.services import access, access_proposal, approve, audit, close, explain, reconcile, trace
from remit.web.job import MAX_PAGE, PAGED, Answer, Job, Lines, Octets, Route, Text, page, whole

_STATES: Final[tuple[ApprovalState, ...]] = get_args(ApprovalState)
_REQUEST_STATES: Final[tuple[AccessState, ...]] = get_args(AccessState)
EVENT_FILTERS: Final = ("kind", "session", "agent", *PAGED)
LAST_KIND: Final = 199
"""As the log may have them."""
_MOST: Final = 2**53


async def list_approvals(job: Job) -> Answer:
    """Questions to people that the caller may see."""
    caller, wanted = await job.person(), job.query.get("state")
    state = next((one for one in _STATES if one == wanted), None)
    if wanted is not None and state is None:
        raise InvalidDocument(f"state is one of {', '.join(_STATES)}", pointer="/state")
    limit, now = whole(job.query, "limit", MAX_PAGE, least=1, most=MAX_PAGE), job.deps.clock.now()
    seen, last = await approve.listing(job.deps, caller, state, limit, job.query.get("after"))
    return {"items": [approve.document(item, now) for item in seen], "next": last}


async def show_approval(job: Job) -> Answer:
    """One question, whole."""
    return approve.document(await approve.show(job.deps, await job.person(), job.path["id"]), job.deps.clock.now())


async def answer_approval(job: Job) -> Answer:
    """A person's yes or no."""
    caller = await job.person()
    answered = await approve.answer(job.deps, caller, job.path["id"], dict(job.body))
    return approve.document(answered, job.deps.clock.now())


async def where_to_answer(job: Job) -> Answer:
    """What stands behind the address of a question: how it is answered. Nothing of the question itself."""
    named = job.path["id"]
    if not is_id(named, "apr"):
        raise NotFound("there is no such question")
    return Text(
        f"Remit waits for a person's answer to {named}.\n\n"
        f"Who may answer reads it with `remit approval show {named}`,\n"
        f"and answers with `remit approval approve {named}` or `remit approval deny {named}`.\n"
    )


async def list_requests(job: Job) -> Answer:
    """Access requests that the caller may see."""
    caller, wanted = await job.person(), job.query.get("state")
    state = next((one for one in _REQUEST_STATES if one == wanted), None)
    if wanted is not None and state is None:
        raise InvalidDocument(f"state is one of {', '.join(_REQUEST_STATES)}", pointer="/state")
    limit = whole(job.query, "limit", MAX_PAGE, least=1, most=MAX_PAGE)
    seen, last = await access.listing(job.deps, caller, state, limit, job.query.get("after"))
    return {"items": seen, "next": last}


async def show_request(job: Job) -> Answer:
    """One access request, with what could be changed."""
    return await access_proposal.show(job.deps, await job.person(), job.path["id"])


async def close_request(job: Job) -> Answer:
    """Say that it is dealt with."""
    reason = str(job.body.get("reason") or "")
    return await access.close(job.deps, await job.person(), job.path["id"], reason)


async def where_to_ask(job: Job) -> Answer:
    """What stands behind the address of an access request: how it is looked at. Nothing of the request itself."""
    named = job.path["id"]
    if not is_id(named, "acr"):
        raise NotFound("there is no such access request")
    return Text(
        f"Remit refused something that a person could have otherwise next time, and keeps it as {named}.\n\n"
        f"The agent's owner, or an administrator, reads it with `remit access show {named}`:\n"
        f"what was refused, by which rule, how often, and a grant that they may change and apply.\n"
        f"Nothing is granted here, and asking again changes nothing.\n"
    )


async def list_events(job: Job) -> Answer:
    """Events, oldest first."""
    caller = await job.person()
    limit = whole(job.query, "limit", 100, least=1, most=200)
    after = whole(job.query, "after", -1, least=0, most=_MOST)
    kinds = [
        whole({"kind": text}, "kind", 0, least=1, most=LAST_KIND)
        for text in job.query.get("kind", "").split(",")
        if text
    ]
    found = await audit.find(
        job.deps,
        caller,
        after=after,
        kinds=kinds,
        session=job.query.get("session"),
        agent=job.query.get("agent"),
        limit=limit,
    )
    last = found[-1] if len(found) == limit else None
    return {"items": found, "next": str(last["i"]) if isinstance(last, dict) else None}


async def show_event(job: Job) -> Answer:
    """One event, with its private values for those who may read them."""
    index = whole(job.path, "i", 0, least=0, most=_MOST)
    return await audit.show(job.deps, await job.person(), index)


async def explain_event(job: Job) -> Answer:
    """Why a decision was what it was."""
    index = whole(job.path, "i", 0, least=0, most=_MOST)
    return await explain.explain_event(job.deps, await job.person(), index)


async def explain_call(job: Job) -> Answer:
    """What would be decided, and why."""
    arguments = job.body["arguments"]
    return await explain.explain_call(
        job.deps,
        await job.person(),
        job.path["id"],
        job.text("tool"),
        arguments if isinstance(arguments, Mapping) else {},
    )


async def trace_of(job: Job) -> Answer:
    """A session as it can be replayed."""
    return await trace.trace(job.deps, await job.person(), job.path["id"])


async def checkpoint(job: Job) -> Answer:
    """The newest signed tree head."""
    job.signed_in()
    return Text(await audit.sign_checkpoint(job.deps, job.doors.signer))


async def proof(job: Job) -> Answer:
    """A proof that one event stands in the log."""
    job.signed_in()
    return Text(await audit.proof(job.deps, job.doors.signer, whole(job.path, "i", 0, least=0, most=_MOST)))


async def tile(job: Job) -> Answer:
    """Hashes of the tree, or a bundle of its leaves (C2SP tlog-tiles). Leaves are for whoever may export them."""
    name = tree.parse_tile_path(f"tile/{job.path['name']}")
    if name.level == "entries":
        audit.check_exporter(await job.person())
    job.signed_in()
    note = await audit.sign_checkpoint(job.deps, job.doors.signer)
    size = open_checkpoint(note, [job.doors.signer.verifier]).size
    if tree.tile_width(name.level, name.index, size) < name.width:
        raise NotFound("there is no such tile")
    async with job.deps.store.view(job.deps.org) as view:
        if name.level != "entries":
            return Octets(tree.tile_bytes(await view.tree.hashes(name.tree_level, name.start, name.start + name.width)))
        entries = await view.log.read(name.start, name.start + name.width)
    return Octets(tree.entry_bundle([entry.leaf for entry in entries]))


async def export(job: Job) -> Answer:
    """The whole log as JSON lines."""
    caller, private = await job.person(), job.query.get("private", "false")
    audit.check_exporter(caller)
    if private not in ("true", "false"):
        raise InvalidDocument("private is true or false", pointer="/private")
    return Lines(audit.export(job.deps, caller, job.doors.signer, private=private == "true"))


async def list_unknown(job: Job) -> Answer:
    """Calls whose effect nobody knows."""
    found = await reconcile.unknown(job.deps, await job.person())
    items: list[Json] = [
        {"call": call.call_id, "session": call.session, "tool": call.tool, "intent": call.intent, "state": call.state}
        for call in found
    ]
    return page(job, items, "intent")  # a call id is unique in its session only


async def settle(job: Job) -> Answer:
    """A person found out what became of a call."""
    done = job.text("outcome") == "done"
    named = job.body.get("session")
    event = await close.settle(
        job.deps,
        await job.person(),
        job.text("call"),
        str(named) if named is not None else None,
        done=done,
        because=job.text("because"),
    )
    return {"event": event}


async def status(job: Job) -> Answer:
    """Health and counts; ``failing`` is how many servers this process could not reach of late."""
    await job.person()
    found = await audit.status(job.deps)
    authority = job.deps.authority.newest
    met = [job.doors.health(server) for server in (authority.servers if authority else ())]
    failing = sum(isinstance(one, Mapping) and one["state"] in ("failing", "resting") for one in met)
    counts = found["counts"]
    return {**found, "counts": {**(counts if isinstance(counts, Mapping) else {}), "failing": failing}}


async def alive(job: Job) -> Answer:
    """The process lives."""
    del job
    return {"ok": True}


async def ready(job: Job) -> Answer:
    """The log can be written and policy stands."""
    await job.doors.readiness.check()
    return {"ok": True}


ROUTES = (
    Route(
        "GET", "/v1/approvals", "person", list_approvals, "questions to people", gives="Page", query=("state", *PAGED)
    ),
    Route("GET", "/v1/approvals/{id}", "person", show_approval, "one question", gives="Approval"),
    Route("GET", "/approvals/{id}", "nobody", where_to_answer, "where a question is answered"),
    Route("POST", "/v1/approvals/{id}/answer", "person", answer_approval, "yes or no", "AnswerRequest", "Approval"),
    Route(
        "GET", "/v1/access-requests", "person", list_requests, "what was refused", gives="Page", query=("state", *PAGED)
    ),
    Route("GET", "/v1/access-requests/{id}", "person", show_request, "one access request", gives="AccessRequest"),
    Route("GET", "/access-requests/{id}", "nobody", where_to_ask, "where an access request is looked at"),
    Route(
        "POST",
        "/v1/access-requests/{id}/close",
        "person",
        close_request,
        "dealt with",
        "EndRequest",
        "AccessRequest",
    ),
    Route("GET", "/v1/audit/events", "person", list_events, "events", gives="Page", query=EVENT_FILTERS),
    Route("GET", "/v1/audit/events/{i}", "person", show_event, "one event", gives="Event"),
    Route("GET", "/v1/sessions/{id}/trace", "person", trace_of, "a session as it can be replayed", gives="Trace"),
    Route(
        "GET", "/v1/audit/events/{i}/explanation", "person", explain_event, "why it was so decided", gives="Explanation"
    ),
    Route(
        "POST",
        "/v1/sessions/{id}/explain",
        "person",
        explain_call,
        "what would be decided, and why",
        "ExplainRequest",
        "Explanation",
    ),
    Route("GET", "/v1/audit/checkpoint", "anyone signed in", checkpoint, "the newest signed tree head"),
    Route("GET", "/v1/audit/proof/{i}", "anyone signed in", proof, "an inclusion proof"),
    Route("GET", "/tile/{name:path}", "anyone signed in", tile, "a tile of the log, or a bundle of its leaves"),
    Route("GET", "/v1/audit/export", "person", export, "the whole log as JSON lines", query=("private",)),
    Route(
        "GET", "/v1/audit/unknown", "person", list_unknown, "calls with an unknown outcome", gives="Page", query=PAGED
    ),
    Route("POST", "/v1/audit/unknown/settle", "person", settle, "settle one of them", "SettleRequest"),
    Route("GET", "/v1/status", "person", status, "health and counts", gives="Status"),
    Route("GET", "/healthz", "nobody", alive, "whether the process lives"),
    Route("GET", "/readyz", "nobody", ready, "whether the log can be written and policy stands"),
)
