"""Sessions and calls over HTTP: the decision API."""

from remit.core.agents import Agent
from remit.core.calls import Outcome, OutcomeKind, ProposedCall
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import NotFound
from remit.core.times import to_text
from remit.services import adoptions, approve, close, decide, sessions
from remit.services.budgets import budgets
from remit.services.recorded import first_flow
from remit.web.job import Answer, Job, Made, Nothing, Route


async def start(job: Job) -> Answer:
    """Start a session and hand out its first token."""
    return Made((await sessions.start(job.deps, await job.host(), job.body)).document())


async def renew(job: Job) -> Answer:
    """A fresh token."""
    token, expires = await sessions.renew(job.deps, await job.host(), job.path["id"])
    return {"token": token, "token_expires_at": to_text(expires)}


async def decide_call(job: Job) -> Answer:
    """Decide one call; 200 also for Deny and Ask."""
    caller = await job.session()
    if caller.session != job.path["id"]:
        raise NotFound(f"there is no session {job.path['id']}")
    arguments = job.body["arguments"]
    call = ProposedCall(job.text("call_id"), job.text("tool"), arguments if isinstance(arguments, dict) else {})
    return (await decide.open_call(job.deps, caller, call)).document()


async def observe(job: Job) -> Answer:
    """Report what became of an allowed call; the result as it may be shown."""
    caller = await job.session()
    if caller.session != job.path["id"]:
        raise NotFound(f"there is no session {job.path['id']}")
    kinds: dict[str, OutcomeKind] = {"done": "done", "failed": "failed", "unknown": "unknown"}
    outcome = Outcome(kinds[job.text("outcome")], result=job.body.get("result"), error=job.body.get("error"))
    delivery = await close.close_call(job.deps, caller, job.text("call_id"), outcome)
    return {"result": delivery.result, "labels": delivery.labels.document(), "event": delivery.event}


async def adopt(job: Job) -> Answer:
    """Ask a person to adopt a text that the session read."""
    caller = job.signed_in()
    asking = caller if isinstance(caller, PersonCaller) else await job.host()
    approval = await adoptions.ask(job.deps, asking, job.path["id"], job.body)
    return Made(approve.document(approval, job.deps.clock.now()))


async def end(job: Job) -> Answer:
    """End a session; its tokens die, and what was opened upstream for it is closed."""
    reason = job.body.get("reason")
    await sessions.end(job.deps, job.signed_in(), job.path["id"], str(reason or ""))
    await job.doors.stopped(job.path["id"])
    return Nothing()


async def kill(job: Job) -> Answer:
    """Stop a session at once."""
    killed = await sessions.kill(job.deps, await job.person(), job.path["id"], job.text("reason"))
    await job.doors.stopped(job.path["id"])
    return killed


async def show(job: Job) -> Answer:
    """A session for its agent's owner, or an auditor."""
    caller = await job.person()
    now = job.deps.clock.now()
    async with job.deps.store.view(job.deps.org) as view:
        session = await view.sessions.get(job.path["id"])
        agent = await view.nouns.get(Agent, session.agent) if session else None
        if (
            session is None
            or agent is None
            or not (caller.person.has("auditor", "administrator") or agent.answered_for_by(caller.person.id))
        ):
            raise NotFound(f"there is no session {job.path['id']}")
        authority = await job.deps.authority.current(view)
        flow = await view.sessions.flow(session.root) or first_flow(session)
        grants = [grant for member in session.chain for grant in authority.grants.get(member, ()) if grant.live(now)]
        units = {
            limit.name: limit.unit or limit.name for known in authority.tools.values() for limit in known.review.limits
        }
        counted = await budgets(view, session, grants, units, now)
    chain: Json = list(session.chain)
    resting: dict[str, Json] = {"suspended_until": to_text(flow.suspended_until)} if now < flow.suspended_until else {}
    return resting | {
        "session": session.id,
        "agent": agent.name,
        "chain": chain,
        "state": "expired" if session.state == "active" and now >= session.expires else session.state,
        "labels": flow.labels.document(),
        "budgets": counted,
        "calls": flow.calls,
        "denials": flow.denials,
        "values_seen": 0,
    }


ROUTES = (
    Route("POST", "/v1/sessions", "host", start, "start a session", "SessionRequest", "SessionStarted"),
    Route("POST", "/v1/sessions/{id}/token", "host", renew, "renew the session token", "TokenRequest", "Token"),
    Route("POST", "/v1/sessions/{id}/decide", "session", decide_call, "decide one call", "DecideRequest", "Decision"),
    Route(
        "POST", "/v1/sessions/{id}/observe", "session", observe, "report an outcome", "ObserveRequest", "Observation"
    ),
    Route(
        "POST",
        "/v1/sessions/{id}/adoptions",
        "host or person",
        adopt,
        "ask a person to adopt a text",
        "AdoptionRequest",
        "Approval",
    ),
    Route("POST", "/v1/sessions/{id}/end", "host or session", end, "end a session", "EndRequest"),
    Route("POST", "/v1/sessions/{id}/kill", "person", kill, "stop a session at once", "KillRequest", "Killed"),
    Route("GET", "/v1/sessions/{id}", "person", show, "one session", gives="Session"),
)
