"""Every route once: who may, what is sent, what comes back, and a person who lacks the role.

The order is a story on one house: what a later row names, an earlier row made.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.web.house import PERSON, House

Body = Callable[["Story"], Any]
EVER = "2031-06-30T00:00:00.000Z"
HASH = "sha256:" + "0" * 64


@dataclass
class Story:
    """The house, and what earlier rows were answered, by the name that they gave it."""

    house: House
    told: dict[str, Any] = field(default_factory=dict)

    def fill(self, path: str) -> str:
        """A path with its ``{name}`` parts taken from what was told."""
        return path.format(**self.told)


@dataclass(frozen=True)
class Row:
    """One route as it should be used."""

    method: str
    path: str
    route: str
    who: str
    status: int = 200
    body: Body | None = None
    kind: str | None = None
    keep: str | None = None
    lacks: tuple[str, int] | None = None

    def wrong(self) -> list[tuple[str | None, int, str]]:
        """Callers that must be refused: who, with which status, with which code."""
        if self.who == "":
            return []
        damaged: list[tuple[str | None, int, str]] = [
            (None, 401, "unauthenticated"),
            ("damaged", 401, "unauthenticated"),
        ]
        misused: tuple[str, ...] = ("token", "host") if self.who not in ("token", "host", "any", "both") else ()
        if self.who == "asker":
            misused = ("token", "standing")
        if self.who == "token":
            misused = ("host", "ada")
        if self.who == "host":
            misused = ("token", "standing", "ada")
        refused = [*damaged, *((name, 403, "forbidden") for name in misused)]
        if self.lacks is not None:
            name, status = self.lacks
            refused.append((name, status, {403: "forbidden", 404: "not_found"}[status]))
        return refused


def _(body: Any) -> Body:
    return lambda _: body


def start(_: Story) -> Any:
    """What a host says."""
    return {"agent": "bookkeeper", "principal": PERSON, "task": [{"text": "Read", "source": "principal"}]}


def decide(story: Story) -> Any:
    """One call."""
    return {"call_id": story.told.get("call", "c-1"), "tool": "office/read_mail", "arguments": {"id": "m1"}}


def review_of(story: Story) -> Any:
    """A review of the quarantined tool."""
    return {
        "kind": "ToolReview",
        "server": "office",
        "tool": "late",
        "fingerprint": story.told["offered"],
        "effect": "read",
    }


def imported(story: Story) -> Any:
    """The definition that the server lists, from a file, beside one that nobody knows."""
    del story
    return {"tools": [{"name": "from_file", "inputSchema": {"type": "object"}}]}


POLICY = {"sources": [{"file": "a.cedar", "text": '@id("none")\nforbid(principal, action, resource) when { false };'}]}
VIEWER = ("viewer", 403)

ROWS: tuple[Row, ...] = (
    Row("GET", "/healthz", "/healthz", ""),
    Row("GET", "/approvals/{approval}", "/approvals/{id}", ""),
    Row("GET", "/readyz", "/readyz", ""),
    Row("GET", "/v1/openapi.json", "/v1/openapi.json", ""),
    # sessions and calls
    Row("POST", "/v1/sessions", "/v1/sessions", "host", 201, start, "SessionStarted", "made"),
    Row("POST", "/v1/sessions/{session}/token", "/v1/sessions/{id}/token", "host", 200, _({}), "Token"),
    Row(
        "POST", "/v1/sessions/{session}/decide", "/v1/sessions/{id}/decide", "token", 200, decide, "Decision", "decided"
    ),
    Row(
        "POST",
        "/v1/sessions/{session}/observe",
        "/v1/sessions/{id}/observe",
        "token",
        200,
        _({"call_id": "c-1", "outcome": "done", "result": {"content": [{"type": "text", "text": "x"}]}}),
        "Observation",
    ),
    Row(
        "POST",
        "/v1/sessions/{session}/adoptions",
        "/v1/sessions/{id}/adoptions",
        "asker",
        201,
        _(
            {
                "call_id": "c-1",
                "path": "/content/0/text",
                "tools": ["office/read_mail"],
                "types": ["email"],
                "limits": {"calls": 1},
            }
        ),
        "Approval",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/sessions/{session}", "/v1/sessions/{id}", "auditor", kind="Session", lacks=("viewer", 404)),
    Row("GET", "/v1/sessions/{session}/trace", "/v1/sessions/{id}/trace", "auditor", kind="Trace", lacks=VIEWER),
    Row(
        "POST",
        "/v1/sessions/{session}/explain",
        "/v1/sessions/{id}/explain",
        "auditor",
        200,
        _({"tool": "office/read_mail", "arguments": {"id": "m1"}}),
        "Explanation",
        lacks=("viewer", 404),
    ),
    # the registry
    Row("GET", "/v1/people", "/v1/people", "viewer", kind="Page"),
    Row(
        "POST",
        "/v1/people",
        "/v1/people",
        "administrator",
        201,
        _({"kind": "Person", "email": "new@example.test", "name": "New", "roles": ["viewer"]}),
        "Person",
        "person",
        VIEWER,
    ),
    Row("GET", "/v1/people/{person_id}", "/v1/people/{id}", "viewer", kind="Person"),
    Row(
        "PATCH",
        "/v1/people/{person_id}",
        "/v1/people/{id}",
        "administrator",
        200,
        _({"state": "suspended"}),
        "Person",
        lacks=VIEWER,
    ),
    Row(
        "POST",
        "/v1/people/{person_id}/depart",
        "/v1/people/{id}/depart",
        "administrator",
        200,
        _({"reason": "end of contract", "to": PERSON}),
        "Departed",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/servers", "/v1/servers", "viewer", kind="Page"),
    Row(
        "POST",
        "/v1/servers",
        "/v1/servers",
        "administrator",
        201,
        _({"kind": "Server", "name": "spare", "url": "http://127.0.0.1:9/mcp"}),
        "Server",
        "server",
        VIEWER,
    ),
    Row("GET", "/v1/servers/office", "/v1/servers/{id}", "viewer", kind="Server", keep="office"),
    Row(
        "POST",
        "/v1/servers/office/import",
        "/v1/servers/{id}/import",
        "administrator",
        200,
        imported,
        "SyncAnswer",
        lacks=("reviewer", 403),
    ),
    Row(
        "POST",
        "/v1/servers/office/sync",
        "/v1/servers/{id}/sync",
        "administrator",
        200,
        _({}),
        "SyncAnswer",
        lacks=("reviewer", 403),
    ),
    Row(
        "POST",
        "/v1/servers/office/check",
        "/v1/servers/{id}/check",
        "administrator",
        200,
        _({}),
        "ServerCheck",
        lacks=("reviewer", 403),
    ),
    Row(
        "POST",
        "/v1/servers/office/approve",
        "/v1/servers/{id}/approve",
        "administrator",
        200,
        lambda story: {"fingerprint": story.told["office"]["seen"]},
        "Server",
        lacks=("reviewer", 403),
    ),
    Row(
        "POST",
        "/v1/servers/spare/secrets",
        "/v1/servers/{id}/secrets",
        "administrator",
        200,
        _({"place": "header", "name": "X-Key", "value": "hunter2-hunter2"}),
        "Server",
        lacks=("owner", 403),
    ),
    Row(
        "POST",
        "/v1/servers/spare/change",
        "/v1/servers/{id}/change",
        "administrator",
        200,
        _({"kind": "Server", "name": "spare", "url": "http://127.0.0.1:9/mcp", "timeout": "PT5S"}),
        "Server",
        lacks=("reviewer", 403),
    ),
    Row(
        "POST",
        "/v1/servers/spare/observe",
        "/v1/servers/{id}/observe",
        "administrator",
        200,
        _({"for": "P7D"}),
        "Server",
        lacks=("reviewer", 403),
    ),
    Row(
        "GET",
        "/v1/servers/spare/observed",
        "/v1/servers/{id}/observed",
        "auditor",
        kind="Observed",
        lacks=("reviewer", 403),
    ),
    Row(
        "PATCH",
        "/v1/servers/spare",
        "/v1/servers/{id}",
        "administrator",
        200,
        _({"state": "retired"}),
        "Server",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/tools", "/v1/tools", "viewer", kind="Page"),
    Row("GET", "/v1/tools/office/late", "/v1/tools/{server}/{tool:path}", "viewer", kind="Tool", keep="late"),
    Row(
        "POST",
        "/v1/tools/office/late/review",
        "/v1/tools/{server}/{tool:path}/review",
        "reviewer",
        201,
        review_of,
        "ToolReview",
        lacks=("administrator", 403),
    ),
    Row(
        "POST",
        "/v1/tools/office/late/suggest",
        "/v1/tools/{server}/{tool:path}/suggest",
        "viewer",
        200,
        _({"results": [{"content": [{"type": "text", "text": '{"id": 1}'}]}]}),
        "ToolReview",
    ),
    Row("GET", "/v1/tools/office/late/review", "/v1/tools/{server}/{tool:path}/review", "viewer", kind="ToolReview"),
    Row("GET", "/v1/tools/office/late/diff", "/v1/tools/{server}/{tool:path}/diff", "viewer", kind="ToolDiff"),
    Row(
        "POST",
        "/v1/tools/office/late/approve",
        "/v1/tools/{server}/{tool:path}/approve",
        "reviewer",
        200,
        lambda story: {"fingerprint": story.told["offered_again"]},
        "ToolReview",
        lacks=("administrator", 403),
    ),
    Row(
        "POST",
        "/v1/agents",
        "/v1/agents",
        "owner",
        201,
        _({"kind": "Agent", "name": "clerk", "owner": "owner@example.test", "purpose": "Files", "expires": EVER}),
        "Agent",
        "agent",
        VIEWER,
    ),
    Row("GET", "/v1/agents", "/v1/agents", "viewer", kind="Page"),
    Row(
        "POST",
        "/v1/blueprints",
        "/v1/blueprints",
        "administrator",
        201,
        _(
            {
                "kind": "Blueprint",
                "name": "clerks",
                "owner": PERSON,
                "purpose": "Reads mail",
                "life": "P7D",
                "grants": [{"name": "reading", "tools": ["office/read_mail"]}],
            }
        ),
        "Blueprint",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/blueprints", "/v1/blueprints", "viewer", kind="Page"),
    Row("GET", "/v1/blueprints/clerks", "/v1/blueprints/{id}", "viewer", kind="Blueprint"),
    Row(
        "POST",
        "/v1/agents",
        "/v1/agents",
        "administrator",
        201,
        _({"kind": "Agent", "name": "clerk-1", "blueprint": "clerks"}),
        "Agent",
        lacks=VIEWER,
    ),
    Row(
        "POST",
        "/v1/blueprints/clerks/retire",
        "/v1/blueprints/{id}/retire",
        "administrator",
        200,
        _({"reason": "over"}),
        "Blueprint",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/agents/clerk", "/v1/agents/{id}", "viewer", kind="Agent"),
    Row("GET", "/v1/agents/clerk/advice", "/v1/agents/{id}/advice", "owner", kind="Advice", lacks=VIEWER),
    Row("GET", "/v1/agents/clerk/reach", "/v1/agents/{id}/reach", "owner", kind="Reach", lacks=VIEWER),
    Row(
        "POST",
        "/v1/grants",
        "/v1/grants",
        "administrator",
        201,
        _({"kind": "Grant", "agent": "clerk", "tools": ["office/read_mail"], "expires": EVER[:3] + "0" + EVER[4:]}),
        "Grant",
        "grant",
        ("owner", 403),
    ),
    Row("GET", "/v1/grants", "/v1/grants", "viewer", kind="Page"),
    Row(
        "POST",
        "/v1/rules",
        "/v1/rules",
        "administrator",
        201,
        _(
            {
                "kind": "Rule",
                "name": "few-reads",
                "says": "At most nine mails are read in one session.",
                "tools": ["office/read_mail"],
                "per": "session",
                "limit": {"calls": 9},
            }
        ),
        "Rule",
        "rule",
        ("owner", 403),
    ),
    Row(
        "POST",
        "/v1/rule-drafts",
        "/v1/rule-drafts",
        "viewer",
        200,
        _({"text": "Agents read at most 20 mails a day."}),
        "RuleDraft",
    ),
    Row("GET", "/v1/rules", "/v1/rules", "viewer", kind="Page"),
    Row("GET", "/v1/rules/few-reads", "/v1/rules/{id}", "viewer", kind="Rule"),
    Row(
        "PATCH",
        "/v1/rules/few-reads",
        "/v1/rules/{id}",
        "administrator",
        200,
        _({"state": "revoked"}),
        "Rule",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/grants/{grant_id}", "/v1/grants/{id}", "viewer", kind="Grant"),
    Row("PATCH", "/v1/agents/clerk", "/v1/agents/{id}", "owner", 200, _({"state": "active"}), "Agent", lacks=VIEWER),
    Row(
        "POST",
        "/v1/agents/clerk/review",
        "/v1/agents/{id}/review",
        "owner",
        200,
        _({"until": "P90D", "note": "still needed"}),
        "Agent",
        lacks=VIEWER,
    ),
    Row(
        "POST",
        "/v1/keys",
        "/v1/keys",
        "owner",
        201,
        _({"agent": "clerk", "for": "host", "expires": "P1D"}),
        "Key",
        "key",
        VIEWER,
    ),
    Row("GET", "/v1/keys", "/v1/keys", "owner", kind="Page"),
    Row("GET", "/v1/keys/{key_id}", "/v1/keys/{id}", "owner", kind="Key", lacks=("viewer", 404)),
    Row("POST", "/v1/keys/{key_id}/rotate", "/v1/keys/{id}/rotate", "owner", 201, _({}), "Key", lacks=("viewer", 404)),
    Row(
        "PATCH",
        "/v1/keys/{key_id}",
        "/v1/keys/{id}",
        "owner",
        200,
        _({"state": "revoked"}),
        "Key",
        lacks=("viewer", 404),
    ),
    Row(
        "PATCH",
        "/v1/grants/{grant_id}",
        "/v1/grants/{id}",
        "administrator",
        200,
        _({"state": "revoked"}),
        "Grant",
        lacks=VIEWER,
    ),
    Row(
        "POST",
        "/v1/agents/clerk/kill",
        "/v1/agents/{id}/kill",
        "owner",
        200,
        _({"reason": "drill"}),
        "Killed",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/policies", "/v1/policies", "viewer", kind="PolicyReport"),
    Row("POST", "/v1/policies/check", "/v1/policies/check", "reviewer", 200, _(POLICY), "PolicyReport", lacks=VIEWER),
    Row(
        "POST",
        "/v1/policies/apply",
        "/v1/policies/apply",
        "administrator",
        200,
        _(POLICY),
        "PolicyReport",
        lacks=("reviewer", 403),
    ),
    Row(
        "POST",
        "/v1/policies/rollback",
        "/v1/policies/rollback",
        "administrator",
        200,
        _({"version": "1"}),
        "PolicyReport",
        lacks=("reviewer", 403),
    ),
    # approvals and the log
    Row("GET", "/v1/approvals", "/v1/approvals", "approver", kind="Page"),
    Row("GET", "/v1/approvals/{approval}", "/v1/approvals/{id}", "approver", kind="Approval", lacks=("viewer", 404)),
    Row(
        "POST",
        "/v1/approvals/{approval}/answer",
        "/v1/approvals/{id}/answer",
        "approver",
        200,
        _({"answer": "approve"}),
        "Approval",
        lacks=("administrator", 403),
    ),
    Row("GET", "/access-requests/{asked}", "/access-requests/{id}", ""),
    Row("GET", "/v1/access-requests", "/v1/access-requests", "auditor", kind="Page"),
    Row(
        "GET",
        "/v1/access-requests/{asked}",
        "/v1/access-requests/{id}",
        "auditor",
        kind="AccessRequest",
        lacks=("owner", 404),
    ),
    Row(
        "POST",
        "/v1/access-requests/{asked}/close",
        "/v1/access-requests/{id}/close",
        "administrator",
        200,
        _({"reason": "granted"}),
        "AccessRequest",
        lacks=("auditor", 403),
    ),
    Row("GET", "/v1/audit/events", "/v1/audit/events", "auditor", kind="Page"),
    Row("GET", "/v1/audit/events/1", "/v1/audit/events/{i}", "auditor", kind="Event", lacks=("viewer", 404)),
    Row(
        "GET",
        "/v1/audit/events/{decided[event]}/explanation",
        "/v1/audit/events/{i}/explanation",
        "auditor",
        kind="Explanation",
        lacks=VIEWER,
    ),
    Row("GET", "/v1/audit/checkpoint", "/v1/audit/checkpoint", "any"),
    Row("GET", "/v1/audit/proof/1", "/v1/audit/proof/{i}", "any"),
    Row("GET", "/tile/0/000.p/1", "/tile/{name:path}", "any"),
    Row("GET", "/v1/audit/export", "/v1/audit/export", "auditor", lacks=VIEWER),
    Row("GET", "/v1/audit/unknown", "/v1/audit/unknown", "auditor", kind="Page", lacks=VIEWER),
    Row(
        "POST",
        "/v1/audit/unknown/settle",
        "/v1/audit/unknown/settle",
        "auditor",
        200,
        _({"call": "lost", "outcome": "failed", "because": "looked"}),
        lacks=VIEWER,
    ),
    Row("GET", "/v1/clients", "/v1/clients", "viewer", kind="Page"),
    Row(
        "POST",
        "/v1/clients",
        "/v1/clients",
        "administrator",
        201,
        _(
            {
                "kind": "Client",
                "name": "desk",
                "agent": "bookkeeper",
                "auth": "client_secret",
                "grants": ["authorization_code"],
                "redirects": ["http://127.0.0.1/back"],
            }
        ),
        "Client",
        keep="client",
        lacks=("auditor", 403),
    ),
    Row("GET", "/v1/clients/desk", "/v1/clients/{id}", "viewer", kind="Client"),
    Row("POST", "/v1/token-keys", "/v1/token-keys", "administrator", 201, _({}), "TokenKey", lacks=VIEWER),
    Row(
        "POST",
        "/v1/clients/desk/secret",
        "/v1/clients/{id}/secret",
        "administrator",
        body=_({}),
        kind="Client",
        lacks=("auditor", 403),
    ),
    Row(
        "PATCH",
        "/v1/clients/desk",
        "/v1/clients/{id}",
        "administrator",
        body=_({"state": "retired"}),
        kind="Client",
        lacks=("auditor", 403),
    ),
    Row(
        "POST",
        "/v1/people/viewer@example.test/identifiers",
        "/v1/people/{id}/identifiers",
        "administrator",
        body=_({"identifiers": [{"type": "iban", "value": "DE89 3704 0044 0532 0130 00"}]}),
        kind="Person",
        lacks=("auditor", 403),
    ),
    Row(
        "POST",
        "/v1/people/viewer@example.test/link",
        "/v1/people/{id}/link",
        "administrator",
        201,
        _({}),
        "SignInLink",
        lacks=("auditor", 403),
    ),
    Row("GET", "/v1/status", "/v1/status", "viewer", kind="Status"),
    Row(
        "POST",
        "/v1/sessions/{made_id}/kill",
        "/v1/sessions/{id}/kill",
        "administrator",
        200,
        _({"reason": "drill"}),
        "Killed",
        lacks=("viewer", 404),
    ),
    Row("POST", "/v1/sessions/{session}/end", "/v1/sessions/{id}/end", "both", 204, _({"reason": "done"})),
)
