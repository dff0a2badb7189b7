"""The registry over HTTP: people, agents, servers, tools, grants, keys, policies."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidDocument, NotFound
from remit.core.times import duration
from remit.services import (
    advise,
    agents,
    blueprints,
    grants,
    imports,
    keys,
    observing,
    people,
    policies,
    reach,
    review,
    rules,
    servers,
    suggestions,
)
from remit.services.deps import Deps
from remit.services.servers import Place
from remit.web.job import PAGED, Answer, Job, Made, Route, page, yes

Step = Callable[[Deps, PersonCaller, str], Awaitable[dict[str, Json]]]

# What a PATCH of the member ``state`` does, by noun.
STEPS: Final[Mapping[str, Mapping[str, Step]]] = {
    "agents": {"active": agents.activate, "suspended": agents.suspend, "retired": agents.retire},
    "people": {"active": people.reinstate, "suspended": people.suspend},
    "servers": {"retired": servers.retire},
    "grants": {"revoked": grants.revoke},
    "keys": {"revoked": keys.revoke},
    "rules": {"revoked": rules.revoke},
}


async def list_agents(job: Job) -> Answer:
    """Every agent, or those that a person should look at."""
    back = job.query.get("unused")
    found = await agents.list_all(
        job.deps,
        await job.person(),
        orphans=yes(job.query, "orphans"),
        stale=yes(job.query, "stale"),
        unused=duration(back, "/unused") if back is not None else None,
    )
    return page(job, found, "id")


async def create_agent(job: Job) -> Answer:
    """A draft, or an active instance of a blueprint."""
    make = blueprints.create_instance if "blueprint" in job.body else agents.create
    return Made(await make(job.deps, await job.person(), job.body))


async def show_agent(job: Job) -> Answer:
    """One agent."""
    return await agents.get(job.deps, await job.person(), job.path["id"])


async def kill_agent(job: Job) -> Answer:
    """Suspend an agent and stop all it has running."""
    return await agents.kill(job.deps, await job.person(), job.path["id"], job.text("reason"))


async def review_agent(job: Job) -> Answer:
    """A person looked at it, and lets it go on."""
    return await agents.review(job.deps, await job.person(), job.path["id"], job.body)


async def reach_of(job: Job) -> Answer:
    """What an agent could do."""
    return await reach.reach(job.deps, await job.person(), job.path["id"], without=job.query.get("without"))


async def advice_on(job: Job) -> Answer:
    """What its grants could be narrowed to."""
    since = job.query.get("since")
    window = advise.WINDOW if since is None else duration(since, "/since")
    return await advise.advise(
        job.deps, await job.person(), job.path["id"], window=window, young=job.query.get("young") == "true"
    )


async def list_people(job: Job) -> Answer:
    """Every person."""
    return page(job, await people.list_all(job.deps, await job.person()), "id")


async def add_person(job: Job) -> Answer:
    """A new person."""
    return Made(await people.add(job.deps, await job.person(), job.body))


async def show_person(job: Job) -> Answer:
    """One person."""
    return await people.get(job.deps, await job.person(), job.path["id"])


async def identify_person(job: Job) -> Answer:
    """What else is a person's own."""
    return await people.identify(job.deps, await job.person(), job.path["id"], job.body)


async def list_servers(job: Job) -> Answer:
    """Every server, each with how it answered this process."""
    found = await servers.list_all(job.deps, await job.person())
    return page(job, [_with_health(job, server) for server in found], "id")


async def add_server(job: Job) -> Answer:
    """A new server."""
    return Made(await servers.add(job.deps, await job.person(), job.body))


async def show_server(job: Job) -> Answer:
    """One server, with how it answered this process."""
    return _with_health(job, await servers.get(job.deps, await job.person(), job.path["id"]))


def _with_health(job: Job, server: dict[str, Json]) -> dict[str, Json]:
    health = job.doors.health(str(server["id"]))
    return server if health is None else {**server, "health": health}


async def sync_server(job: Job) -> Answer:
    """Read the server's own tool list."""
    return await job.doors.sync(await job.person(), job.path["id"])


async def import_tools(job: Job) -> Answer:
    """Take in a tool list from a file, before the server is connected."""
    listed = job.body["tools"]
    return await imports.import_tools(
        job.deps, await job.person(), job.path["id"], listed if isinstance(listed, list) else []
    )


async def check_server(job: Job) -> Answer:
    """Whether the server can be reached now."""
    return await job.doors.check(await job.person(), job.path["id"])


async def change_server(job: Job) -> Answer:
    """The record of a server, as another file has it."""
    return await servers.change(job.deps, await job.person(), job.path["id"], job.body)


async def observe_server(job: Job) -> Answer:
    """Observe mode on for a time, or off."""
    lasting = job.body.get("for")
    until = duration(str(lasting), "/for") if lasting is not None else None
    return await observing.switch(job.deps, await job.person(), job.path["id"], until)


async def observed_at_server(job: Job) -> Answer:
    """What observe mode let through there."""
    return await observing.observed(job.deps, await job.person(), job.path["id"])


async def approve_server(job: Job) -> Answer:
    """Agree to a server as it was last seen."""
    return await servers.approve(job.deps, await job.person(), job.path["id"], job.text("fingerprint"))


async def store_secret(job: Job) -> Answer:
    """Keep a credential that is injected upstream. It is never given back."""
    places: dict[str, Place] = {"header": "header", "env": "env", "tls": "tls"}
    place = places[job.text("place")]
    caller = await job.person()
    return await servers.store_secret(job.deps, caller, job.path["id"], place, job.text("name"), job.text("value"))


async def list_grants(job: Job) -> Answer:
    """Every grant, or an agent's."""
    return page(job, await grants.list_all(job.deps, await job.person(), job.query.get("agent")), "id")


async def apply_grant(job: Job) -> Answer:
    """A new grant."""
    return Made(await grants.apply(job.deps, await job.person(), job.body))


async def show_grant(job: Job) -> Answer:
    """One grant."""
    return await grants.get(job.deps, await job.person(), job.path["id"])


async def list_keys(job: Job) -> Answer:
    """Every key, or an agent's; never a secret."""
    return page(job, await keys.list_all(job.deps, await job.person(), job.query.get("agent")), "key")


async def create_key(job: Job) -> Answer:
    """A new key; its secret appears this once."""
    return Made(await keys.create(job.deps, await job.person(), job.body))


async def show_key(job: Job) -> Answer:
    """One key; never its secret."""
    for item in await keys.list_all(job.deps, await job.person()):
        if item["key"] == job.path["id"]:
            return item
    raise NotFound(f"there is no key {job.path['id']}")


async def rotate_key(job: Job) -> Answer:
    """A new key in place of this one."""
    asked = job.body.get("overlap")
    overlap = duration(str(asked), "/overlap") if asked is not None else keys.OVERLAP
    return Made(await keys.rotate(job.deps, await job.person(), job.path["id"], overlap))


async def move(job: Job, noun: str) -> Answer:
    """One step of a lifecycle."""
    step = STEPS[noun].get(job.text("state"))
    if step is None:
        raise InvalidDocument(f"state is one of {', '.join(STEPS[noun])}", pointer="/state")
    return await step(job.deps, await job.person(), job.path["id"])


async def list_rules(job: Job) -> Answer:
    """Every rule."""
    return page(job, await rules.list_all(job.deps, await job.person()), "id")


async def apply_rule(job: Job) -> Answer:
    """A new rule, or another version of one."""
    return Made(await rules.apply(job.deps, await job.person(), job.body))


async def show_rule(job: Job) -> Answer:
    """One rule."""
    return await rules.get(job.deps, await job.person(), job.path["id"])


async def draft_rules(job: Job) -> Answer:
    """Rules proposed from a policy document; nothing is changed."""
    return await rules.propose(job.deps, await job.person(), job.text("text"))


def mover(noun: str) -> Callable[[Job], Awaitable[Answer]]:
    """The PATCH handler of one noun."""

    async def handle(job: Job) -> Answer:
        return await move(job, noun)

    return handle


async def list_tools(job: Job) -> Answer:
    """Every tool, or those in one state."""
    wanted = job.query.get("state")
    if wanted not in (None, "approved", "quarantined", "gone"):
        raise InvalidDocument("state is approved, quarantined or gone", pointer="/state")
    found = await review.tools(job.deps, await job.person())
    return page(job, [tool for tool in found if wanted in (None, tool["state"])], "tool")


async def show_tool(job: Job) -> Answer:
    """One tool, with its definition."""
    return await review.show(job.deps, await job.person(), _ref(job))


async def diff_tool(job: Job) -> Answer:
    """What changed between two definitions, hidden characters named."""
    return await review.diff(job.deps, await job.person(), _ref(job), job.query.get("from"), job.query.get("to"))


async def review_of(job: Job) -> Answer:
    """The review in force."""
    return await review.review_of(job.deps, await job.person(), _ref(job))


async def suggest_review(job: Job) -> Answer:
    """A suggested review of the definition that is offered now."""
    given = job.body.get("results", [])
    return await suggestions.suggestion(
        job.deps, await job.person(), _ref(job), given if isinstance(given, list) else []
    )


async def apply_review(job: Job) -> Answer:
    """Sign a review of the quarantined definition."""
    caller = await job.person()
    if f"{job.body.get('server')}/{job.body.get('tool')}" != _ref(job):
        raise InvalidDocument("the review is of another tool than the path names", pointer="/tool")
    return Made(await review.apply_review(job.deps, caller, job.body))


async def approve_tool(job: Job) -> Answer:
    """Carry the review over to the definition that is offered now."""
    return await review.approve(job.deps, await job.person(), _ref(job), job.text("fingerprint"))


async def show_policies(job: Job) -> Answer:
    """The policies in force."""
    return await policies.show(job.deps, await job.person())


async def check_policies(job: Job) -> Answer:
    """Errors and lints of a set; nothing is changed."""
    return await policies.check(job.deps, await job.person(), _sources(job))


async def apply_policies(job: Job) -> Answer:
    """Put a set in force."""
    return await policies.apply(job.deps, await job.person(), _sources(job))


async def roll_back_policies(job: Job) -> Answer:
    """Put an earlier set in force again."""
    return await policies.rollback(job.deps, await job.person(), job.text("version"))


def _ref(job: Job) -> str:
    return f"{job.path['server']}/{job.path['tool']}"


def _sources(job: Job) -> tuple[tuple[str, str], ...]:
    listed = job.body["sources"]
    pairs = [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
    return tuple((str(item["file"]), str(item["text"])) for item in pairs)


ROUTES = (
    Route(
        "GET",
        "/v1/agents",
        "person",
        list_agents,
        "all agents, or those to look at",
        gives="Page",
        query=("orphans", "stale", "unused", *PAGED),
    ),
    Route("POST", "/v1/agents", "person", create_agent, "a draft of an agent", "Agent", "Agent"),
    Route("GET", "/v1/agents/{id}", "person", show_agent, "one agent", gives="Agent"),
    Route(
        "PATCH", "/v1/agents/{id}", "person", mover("agents"), "activate, suspend or retire", "StateRequest", "Agent"
    ),
    Route("POST", "/v1/agents/{id}/kill", "person", kill_agent, "stop an agent at once", "KillRequest", "Killed"),
    Route("POST", "/v1/agents/{id}/review", "person", review_agent, "let it go on", "RecertifyRequest", "Agent"),
    Route("GET", "/v1/agents/{id}/reach", "person", reach_of, "what it could do", gives="Reach", query=("without",)),
    Route(
        "GET",
        "/v1/agents/{id}/advice",
        "person",
        advice_on,
        "granted against used",
        gives="Advice",
        query=("since", "young"),
    ),
    Route("GET", "/v1/people", "person", list_people, "all people", gives="Page", query=PAGED),
    Route("POST", "/v1/people", "person", add_person, "a new person", "Person", "Person"),
    Route("GET", "/v1/people/{id}", "person", show_person, "one person", gives="Person"),
    Route("PATCH", "/v1/people/{id}", "person", mover("people"), "suspend or reinstate", "StateRequest", "Person"),
    Route(
        "POST",
        "/v1/people/{id}/identifiers",
        "person",
        identify_person,
        "what else is their own",
        "IdentifiersRequest",
        "Person",
    ),
    Route("GET", "/v1/servers", "person", list_servers, "all servers", gives="Page", query=PAGED),
    Route("POST", "/v1/servers", "person", add_server, "a new server", "Server", "Server"),
    Route("GET", "/v1/servers/{id}", "person", show_server, "one server", gives="Server"),
    Route("PATCH", "/v1/servers/{id}", "person", mover("servers"), "retire", "StateRequest", "Server"),
    Route("POST", "/v1/servers/{id}/sync", "person", sync_server, "read its tool list", "TokenRequest", "SyncAnswer"),
    Route(
        "POST", "/v1/servers/{id}/import", "person", import_tools, "take in a tool list", "ImportRequest", "SyncAnswer"
    ),
    Route("POST", "/v1/servers/{id}/check", "person", check_server, "can it be reached", "TokenRequest", "ServerCheck"),
    Route(
        "POST",
        "/v1/servers/{id}/approve",
        "person",
        approve_server,
        "agree to it as seen",
        "FingerprintRequest",
        "Server",
    ),
    Route("POST", "/v1/servers/{id}/change", "person", change_server, "its record anew", "Server", "Server"),
    Route("POST", "/v1/servers/{id}/observe", "person", observe_server, "observe mode", "ObserveMode", "Server"),
    Route("GET", "/v1/servers/{id}/observed", "person", observed_at_server, "what it let through", gives="Observed"),
    Route("POST", "/v1/servers/{id}/secrets", "person", store_secret, "keep a credential", "SecretRequest", "Server"),
    Route("GET", "/v1/rules", "person", list_rules, "all rules", gives="Page", query=PAGED),
    Route("POST", "/v1/rules", "person", apply_rule, "a rule, new or another version", "Rule", "Rule"),
    Route("GET", "/v1/rules/{id}", "person", show_rule, "one rule", gives="Rule"),
    Route("PATCH", "/v1/rules/{id}", "person", mover("rules"), "revoke", "StateRequest", "Rule"),
    Route("POST", "/v1/rule-drafts", "person", draft_rules, "propose rules", "RuleDraftRequest", "RuleDraft"),
    Route("GET", "/v1/grants", "person", list_grants, "all grants", gives="Page", query=("agent", *PAGED)),
    Route("POST", "/v1/grants", "person", apply_grant, "a new grant", "Grant", "Grant"),
    Route("GET", "/v1/grants/{id}", "person", show_grant, "one grant", gives="Grant"),
    Route("PATCH", "/v1/grants/{id}", "person", mover("grants"), "revoke", "StateRequest", "Grant"),
    Route("GET", "/v1/keys", "person", list_keys, "all keys", gives="Page", query=("agent", *PAGED)),
    Route("POST", "/v1/keys", "person", create_key, "a new key", "KeyRequest", "Key"),
    Route("GET", "/v1/keys/{id}", "person", show_key, "one key", gives="Key"),
    Route("PATCH", "/v1/keys/{id}", "person", mover("keys"), "revoke", "StateRequest", "Key"),
    Route("POST", "/v1/keys/{id}/rotate", "person", rotate_key, "a new key in its place", "RotateRequest", "Key"),
    Route("GET", "/v1/tools", "person", list_tools, "all tools", gives="Page", query=("state", *PAGED)),
    Route(
        "GET",
        "/v1/tools/{server}/{tool:path}/diff",
        "person",
        diff_tool,
        "what changed",
        gives="ToolDiff",
        query=("from", "to"),
    ),
    Route("GET", "/v1/tools/{server}/{tool:path}/review", "person", review_of, "its review", gives="ToolReview"),
    Route(
        "POST",
        "/v1/tools/{server}/{tool:path}/review",
        "person",
        apply_review,
        "sign a review",
        "ToolReview",
        "ToolReview",
    ),
    Route(
        "POST",
        "/v1/tools/{server}/{tool:path}/suggest",
        "person",
        suggest_review,
        "a suggested review",
        "SuggestRequest",
        "ToolReview",
    ),
    Route(
        "POST",
        "/v1/tools/{server}/{tool:path}/approve",
        "person",
        approve_tool,
        "carry over",
        "FingerprintRequest",
        "ToolReview",
    ),
    Route("GET", "/v1/tools/{server}/{tool:path}", "person", show_tool, "one tool", gives="Tool"),
    Route("GET", "/v1/policies", "person", show_policies, "the policies in force"),
    Route("POST", "/v1/policies/check", "person", check_policies, "check a set", "PolicyRequest", "PolicyReport"),
    Route("POST", "/v1/policies/apply", "person", apply_policies, "put a set in force", "PolicyRequest"),
    Route("POST", "/v1/policies/rollback", "person", roll_back_policies, "an earlier set again", "RollbackRequest"),
)
