"""Every route of the HTTP door: once as it should be, and once as each wrong caller, over real HTTP."""

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from remit.audit import tree
from remit.core.policies import PolicyRevision
from remit.guards.documents import check_answer
from remit.web.server import ROUTES
from tests.services.world import tool
from tests.web.house import House
from tests.web.routes import ROWS, Row, Story

pytestmark = pytest.mark.anyio
OPENAPI = Path(__file__).parent / "openapi-3.1.schema.json"


async def told(house: House) -> Story:
    """The house with what the rows name: a new tool, a waiting approval, an unknown call."""
    await house.with_ask_policy()
    await house.rpc("ping", who="standing")  # its first use makes its session
    asked = await house.call("office__pay_invoice", {"recipient": "DE1", "amount": 5})
    house.upstream.on_call = lambda _: None
    await house.call("office__read_mail", {"id": "x"}, {"remit/call_id": "lost"})
    house.upstream.tools.append(tool("late"))
    await house.servers.sync(house.world.admin, "office")
    house.credentials["damaged"] = house.credentials["ada"][:-1] + "!"
    story = Story(house, {"session": house.session})
    story.told["approval"] = asked["_meta"]["remit/decision"]["approval"]["approval"]
    unreached = await house.call("office__none")
    story.told["asked"] = unreached["_meta"]["remit/decision"]["request_access"]["url"].rpartition("/")[2]
    story.told["offered"] = await house.world.offered("office/late")
    return story


async def used(story: Story, row: Row) -> Any:
    """Use one route as it should be, hold the answer against its schema, keep what later rows need."""
    house = story.house
    if row.route.endswith("/approve") and row.who == "reviewer":
        house.upstream.tools[-1] = tool("late", description="Now with words.")
        await house.servers.sync(house.world.admin, "office")
        story.told["offered_again"] = await house.world.offered("office/late")
    who = {"": None, "any": "token", "both": "token", "asker": "host"}.get(row.who, row.who)
    body = row.body(story) if row.body else None
    answer = await house.ask(row.method, story.fill(row.path), who, body)
    assert answer.status_code == row.status, (row.method, row.path, answer.text)
    assert row.status == 204 or answer.headers["cache-control"] == "no-store"
    if row.kind is not None:
        check_answer(row.kind, answer.json())
    if row.keep is not None:
        found = answer.json()
        story.told[row.keep] = found
        story.told[f"{row.keep}_id"] = found.get("id") or found.get("key") or found.get("session")
    return answer


async def test_every_route_as_it_should_be_used(house: House) -> None:
    story = await told(house)
    for row in ROWS:
        await used(story, row)


async def test_every_wrong_caller_of_every_route_is_refused_and_changes_nothing(house: House) -> None:
    """Refused just before the good request, so that what is named is there. A misused credential leaves an event."""
    story = await told(house)
    for row in ROWS:
        if row.route.endswith("/approve") and row.who == "reviewer":
            story.told["offered_again"] = story.told["offered"]
        for who, status, code in row.wrong():
            size, epoch = await house.state()
            body = row.body(story) if row.body else None
            answer = await house.ask(row.method, story.fill(row.path), who, body)
            where = (row.method, row.path, who, answer.text)
            assert answer.status_code == status, where
            assert answer.headers["content-type"] == "application/problem+json", where
            check_answer("Problem", answer.json())
            assert (answer.json()["code"], answer.json()["status"]) == (code, status), where
            assert (status == 401) == ("www-authenticate" in answer.headers), where
            misused = [["credential.misused"]] if answer.json()["event"] is not None else []
            assert [leaf["codes"] for leaf in (await house.world.leaves())[size:]] == misused, where
            assert bool(misused) or who not in ("token", "host", "standing"), where
            assert (await house.state())[1] == epoch, where
        await used(story, row)


def test_the_table_of_these_tests_holds_every_route() -> None:
    there = {(route.method, route.path) for route in ROUTES} | {("GET", "/v1/openapi.json")}
    assert {(row.method, row.route) for row in ROWS} == there


# ------------------------------------------------------------------------------------------------------ OpenAPI

# Routes of INTERFACES section 4 that this version must have, with the members of each answer that the page names.
SESSION_STARTED = {"session", "token", "token_expires_at", "integrity", "expires_at"}
DECISION = {
    *("decision", "session", "call_id", "tool", "fingerprint", "arguments_hash", "reasons", "policy_version"),
    *("authority_version", "intent", "event", "approval", "idempotency_key", "expires_at"),
}
APPROVAL = {
    *("approval", "kind", "state", "agent", "chain", "session", "tool", "fingerprint", "arguments", "arguments_hash"),
    *("value", "authority_version", "asked_at", "expires_at", "answered_by", "void_because"),
}
SESSION = {"session", "agent", "chain", "state", "labels", "budgets", "calls", "values_seen"}
EVENT = {
    *("v", "k", "i", "t", "org", "actor", "agent", "chain", "session", "call", "tool", "fp", "policy", "authority"),
    *("decision", "codes", "intent", "outcome", "labels", "commit", "payload"),
}
PAGE = {"items", "next"}
REACH = {
    *("agent", "at", "authority_version", "tools", "flows", "at_most", "people", "agents", "credential_lifetime"),
    *("score", "score_formula"),
}
PROMISED: dict[tuple[str, str], set[str]] = {
    ("post", "/v1/sessions"): SESSION_STARTED,
    ("post", "/v1/sessions/{id}/token"): {"token", "token_expires_at"},
    ("post", "/v1/sessions/{id}/decide"): DECISION,
    ("post", "/v1/sessions/{id}/observe"): {"result", "labels", "event"},
    ("post", "/v1/sessions/{id}/end"): set(),
    ("get", "/v1/sessions/{id}"): SESSION,
    ("get", "/v1/agents/{id}/reach"): REACH,
    ("get", "/v1/approvals"): PAGE,
    ("get", "/v1/approvals/{id}"): APPROVAL,
    ("post", "/v1/approvals/{id}/answer"): APPROVAL,
    **{("get", f"/v1/{noun}"): PAGE for noun in ("agents", "servers", "grants", "keys", "people")},
    **{("post", f"/v1/{noun}"): set() for noun in ("agents", "servers", "grants", "keys", "people")},
    **{("get", f"/v1/{noun}/{{id}}"): set() for noun in ("agents", "servers", "grants", "keys", "people")},
    **{("patch", f"/v1/{noun}/{{id}}"): set() for noun in ("agents", "servers", "grants", "keys", "people")},
    ("post", "/v1/agents/{id}/kill"): {"killed", "event"},
    ("post", "/v1/sessions/{id}/kill"): {"killed", "event"},
    ("post", "/v1/servers/{id}/sync"): {"tools"},
    ("post", "/v1/servers/{id}/check"): {"ok", "took_ms"},
    ("get", "/v1/tools"): PAGE,
    ("get", "/v1/tools/{server}/{tool}/diff"): {"from", "to", "changes"},
    ("post", "/v1/tools/{server}/{tool}/review"): set(),
    ("get", "/v1/audit/events"): PAGE,
    ("get", "/v1/audit/events/{i}"): EVENT,
    ("get", "/v1/audit/checkpoint"): set(),
    ("get", "/v1/audit/proof/{i}"): set(),
    ("get", "/tile/{name}"): set(),
    ("get", "/healthz"): set(),
    ("get", "/approvals/{id}"): set(),
    ("get", "/access-requests/{id}"): set(),
    ("get", "/v1/access-requests"): PAGE,
    ("get", "/readyz"): set(),
}
QUERIES = {
    "/v1/approvals": {"state", "limit", "after"},
    "/v1/tools": {"state", "limit", "after"},
    "/v1/tools/{server}/{tool}/diff": {"from", "to"},
    "/v1/audit/events": {"after", "kind", "session", "agent", "limit"},
    **{f"/v1/{noun}": {"limit", "after"} for noun in ("agents", "servers", "people")},
}
# Section 4 names these too; each comes with the issue that builds what stands behind it.
LATER = (
    "/access/v1/evaluation",
    "/access/v1/evaluations",
    "/access/v1/search/subject",
    "/v1/guard/input",
    "/v1/runs",
    "/v1/runs/{id}",
    "/metrics",
)


async def test_the_openapi_document_is_valid_and_names_what_interfaces_fix(house: House) -> None:
    document = (await house.ask("GET", "/v1/openapi.json")).json()
    jsonschema_rs.validator_for(json.loads(OPENAPI.read_text("utf-8"))).validate(document)
    for (method, path), members in PROMISED.items():
        operation = document["paths"][path][method]
        wanted = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert {one["name"] for one in operation["parameters"] if one["in"] == "path"} == wanted, path
        content = operation["responses"]["2XX"].get("content")
        if members:
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert members <= set(document["components"]["schemas"][name]["properties"]), path
    for path, query in QUERIES.items():
        assert query <= {one["name"] for one in document["paths"][path]["get"]["parameters"]}, path
    assert not set(LATER) & set(document["paths"])


async def test_every_schema_of_the_openapi_document_compiles_alone(house: House) -> None:
    document = (await house.ask("GET", "/v1/openapi.json")).json()
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.validator_for(schema, offline=True)


# ---------------------------------------------------------------------------------------------- what routes say


async def test_an_event_s_values_are_for_auditors_and_for_the_agent_s_owner(house: House) -> None:
    await house.call("office__read_mail", {"id": "m-secret"})
    [intent] = [leaf["i"] for leaf in await house.world.leaves() if leaf["k"] == 62]
    for who in ("auditor", "ada", "administrator"):
        shown = (await house.ask("GET", f"/v1/audit/events/{intent}", who)).json()
        assert shown["payload"] == {"/arguments": {"id": "m-secret"}}
    for who in ("owner", "viewer", "approver"):
        assert (await house.ask("GET", f"/v1/audit/events/{intent}", who)).status_code == 404
    listed = (await house.ask("GET", "/v1/audit/events?kind=62", "auditor")).json()["items"]
    assert [one["i"] for one in listed] == [intent]
    assert "payload" not in listed[0]
    assert (await house.ask("GET", "/v1/audit/events", "owner")).json()["items"] == []
    for line in (await house.ask("GET", "/v1/audit/export", "auditor")).text.splitlines():
        assert "m-secret" not in line


async def test_a_diff_is_between_the_two_fingerprints_that_are_asked_for(house: House) -> None:
    first = await house.world.offered("office/read_mail")
    changed = tool("read_mail", {"type": "object", "properties": {"id": {"type": "string"}}}, description="Re\u202ead.")
    house.upstream.tools[1] = changed
    await house.servers.sync(house.world.admin, "office")
    second = await house.world.offered("office/read_mail")
    path = "/v1/tools/office/read_mail/diff"
    forth = (await house.ask("GET", f"{path}?from={first}&to={second}", "reviewer")).json()
    back = (await house.ask("GET", f"{path}?to={first}&from={second}", "reviewer")).json()
    assert (forth["from"], forth["to"]) == (first, second)
    [change] = forth["changes"]
    assert (change["path"], change["before"], change["after"]) == ("/description", "Read one mail.", "Re\u202ead.")
    assert "U+202E" in change["hidden"][0]
    assert [one["before"] for one in back["changes"]] == ["Re\u202ead."]
    assert (await house.ask("GET", f"{path}?from=sha256:{'1' * 64}", "reviewer")).status_code == 404


async def test_tiles_rebuild_the_head_that_was_signed(house: House) -> None:
    note = (await house.ask("GET", "/v1/audit/checkpoint", "token")).text
    size = int(note.splitlines()[1])
    hashes = (await house.ask("GET", f"/tile/0/000.p/{size}", "token")).content
    bundle = (await house.ask("GET", f"/tile/entries/000.p/{size}", "auditor")).content
    leaves = tree.bundle_entries(bundle, size)
    assert leaves == (await house.world.raw_leaves())[:size]
    assert tree.tile_hashes(hashes, size) == [tree.leaf_hash(leaf) for leaf in leaves]
    root = tree.Frontier().extend(tree.leaf_hash(leaf) for leaf in leaves)[0].root()
    assert note.splitlines()[2].encode() == base64.b64encode(root)
    for who in ("token", "viewer"):
        assert (await house.ask("GET", f"/tile/entries/000.p/{size}", who)).status_code == 403
    for name in ("0/001", "0/000", "0/000.p/250", "0/000.p/0", "0/0", "9/000", "entries/001", "x", "64/000"):
        answer = await house.ask("GET", f"/tile/{name}", "auditor")
        assert answer.status_code == 404, name


async def test_unknown_calls_of_two_sessions_under_one_call_id_are_each_listed_once(house: House) -> None:
    house.upstream.on_call = lambda _: None
    tokens = ["token", *[(await house.started())[1] for _ in range(3)]]
    for token in tokens:
        await house.call("office__read_mail", {}, {"remit/call_id": "same"}, who=token)
    found, after = [], ""
    for _ in range(10):
        page = (await house.ask("GET", f"/v1/audit/unknown?limit=1{after}", "auditor")).json()
        found += [one["session"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(found) == len(set(found)) == 4


async def test_readiness_says_503_with_a_reason_when_policy_does_not_stand(house: House) -> None:
    assert (await house.ask("GET", "/readyz")).json() == {"ok": True}
    assert (await house.ask("HEAD", "/readyz")).status_code == 200
    deps = house.world.deps
    async with deps.store.unit(deps.org) as unit:
        bad = PolicyRevision(
            org=deps.org,
            id="9",
            version="x",
            sources=(("bad.cedar", "permit(principal"),),
            applied_by=house.world.admin.person.id,
            applied_at=deps.clock.now(),
        )
        await unit.nouns.add(bad)
    answer = await house.ask("GET", "/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "bad.cedar" in answer.json()["detail"]
    assert (await house.ask("GET", "/healthz")).status_code == 200
