"""A session for the pure rules of flow: reviews of a small office, what it was shown, and what a call then lacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from remit.core.sessions import Segment
from remit.core.tools import ArgumentReview, Effect, FieldReview, OutputReview, RecordsReview, ToolReview
from remit.core.values import EMAIL, Atom
from remit.guards.json_in import parse
from remit.policy.demands import Miss, container_of, endorsed_by, misses, strayed_to, targets
from remit.policy.lessons import lesson
from remit.policy.memory import Memory, Profile
from remit.policy.task import Task

ME = "me@corp.test"
OURS = "DE89370400440532013000"
THEIRS = "GB33BUKB20201555555555"
OTHER = "FR7630006000011234567890189"


def review(name: str, effect: Effect, arguments: Mapping[str, str], **members: Any) -> ToolReview:
    """A review; an argument is written ``role`` or ``role:type``."""
    told = {}
    for pointer, text in arguments.items():
        role, _, kind = text.partition(":")
        told[pointer] = ArgumentReview(role=role, type=kind or None)  # type: ignore[arg-type]
    given: dict[str, Any] = {
        "output": OutputReview(),
        "mints": {},
        "discloses": (),
        "limits": (),
        "reversible": False,
        "inverse": None,
        "intent": (),
        "idempotency": None,
        "reconcile": None,
        **members,
    }
    fixed = {"org": "main", "id": f"rev_{name}", "fingerprint": "sha256:0", "reviewed_by": "per_1", "reviewed_at": 0}
    return ToolReview(tool=f"office/{name}", effect=effect, arguments=told, **fixed, **given)  # type: ignore[arg-type]


def listed(fields: Mapping[str, str], listing: str, page: tuple[str, ...] = ()) -> OutputReview:
    """Records under ``/items/*``; a field is written ``writer:type`` with ``!`` to name and ``@`` to keep."""
    told = {}
    for name, text in fields.items():
        writer, _, kind = text.rstrip("!@").partition(":")
        told[f"/items/*/{name}"] = FieldReview(
            writer=writer,  # type: ignore[arg-type]
            type=kind or None,
            naming="!" in text,
            custodian="@" in text,
        )
    records = RecordsReview(at="/items/*", id="/items/*/id", page=page, listing=listing)  # type: ignore[arg-type]
    return OutputReview(form="structured", fields=told, records=records)


INVOICE = {
    "id": "system:invoice",
    "title": "anyone:text!",
    "payee": "system:iban",
    "total": "system:money",
    "due": "system:date",
    "owner": "system:email@",
}
INVOICES = review(
    "invoices", "read", {"/query": "free_text", "/limit": "free"}, output=listed(INVOICE, "anyone", ("/limit",))
)
OF_OWNER = review("invoices_of", "read", {"/owner": "who:email"}, output=listed(INVOICE, "anyone"))
PEOPLE = review(
    "people",
    "read",
    {},
    output=listed({"id": "system:person", "name": "system:text!", "mail": "system:email"}, "system"),
)
PAYEES = review(
    "payees",
    "read",
    {},
    output=listed({"id": "system:payee", "name": "system:text!", "account": "system:iban"}, "system"),
)
PAY = review(
    "pay",
    "spend",
    {"/to": "who:iban", "/amount": "how_much:money", "/on": "what:date", "/note": "free_text"},
    intent=("pay",),
)
SEND = review(
    "send",
    "write",
    {"/to": "who:email", "/subject": "free_text", "/body": "free_text"},
    intent=("send",),
    discloses=({"readers_of": "/to"},),
)
LABEL = review("label", "write", {"/person": "what:person", "/note": "free_text"}, intent=("label",))
EDIT = review("edit", "write", {"/invoice": "reference:invoice", "/body": "free_text"}, intent=("edit",))
DELETE = review("delete", "destroy", {"/invoice": "reference:invoice"}, intent=("delete",))
CREATE = review(
    "create",
    "write",
    {"/title": "free_text"},
    intent=("create",),
    mints={"/id": "invoice"},
    output=OutputReview(
        form="structured",
        fields={
            "/id": FieldReview(writer="system", type="invoice"),
            "/echo": FieldReview(writer="anyone", type="text"),
        },
    ),
)
GET = review("get", "fetch", {"/url": "what:url"})


CHANNELS = review("channels", "read", {}, output=listed({"id": "system:channel"}, "system"))
POSTS = review(
    "posts",
    "read",
    {"/channel": "reference:channel", "/limit": "free", "/offset": "free"},
    output=listed(
        {"by": "system:user", "channel": "system:channel", "text": "members:text"}, "members", ("/limit", "/offset")
    ),
)
POST = review("post", "write", {"/channel": "who:channel", "/text": "free_text"}, intent=("post",))
TELL = review("tell", "write", {"/user": "who:user", "/text": "free_text"}, intent=("tell",))


def invoice(id: str, title: str = "", payee: str = THEIRS, total: Any = 10, **more: Any) -> dict[str, Any]:
    """One invoice, of a stranger unless said otherwise."""
    return {
        "id": id,
        "title": title,
        "payee": payee,
        "total": total,
        "owner": "eve@evil.test",
        "due": "2031-01-01",
        **more,
    }


def items(*rows: Mapping[str, Any]) -> dict[str, Any]:
    """A result that lists these."""
    return {"items": [dict(row) for row in rows]}


@dataclass
class Flowing:
    """One tainted session."""

    task: str
    off: frozenset[str] = frozenset()
    profile: Profile = "balanced"
    memory: Memory = field(init=False)
    _calls: int = 0

    def __post_init__(self) -> None:
        segments = [Segment(self.task, "principal")]
        self.memory = Memory(Task(segments, [Atom(EMAIL, ME)]), self.profile, self.off)

    def done(self, told: ToolReview, arguments: Mapping[str, Any], document: Mapping[str, Any]) -> "Flowing":
        """A call that was made, and what it answered."""
        self._calls += 1
        found = lesson(
            f"c{self._calls}",
            told,
            arguments,
            {"content": [], "structuredContent": document},
            task=self.memory.task,
            endorsed=endorsed_by(self.memory, told, arguments),
            targets=targets(told, arguments),
            strayed=strayed_to(self.memory, told, arguments),
            container=container_of(told, arguments),
            parse=parse,
        )
        self.memory.learn(found)
        return self

    def lacks(self, told: ToolReview, arguments: Mapping[str, Any], fetches: int = 0) -> tuple[Miss, ...]:
        """What a call would be asked about, after so many fetches."""
        return misses(self.memory, told, arguments, tainted=True, fetches=fetches)

    def rules(self, told: ToolReview, arguments: Mapping[str, Any]) -> set[str]:
        """By which rules."""
        return {one.rule for one in self.lacks(told, arguments)}
