"""Tools and their reviews: a definition is pinned by fingerprint, and a person signs what it may do.

A tool's name, schema and description are an entitlement. ``Tool`` holds two fingerprints: ``pinned`` is the reviewed
one, ``offered`` the one its server last listed. A tool is live only while they are equal; anything else is quarantine,
and a second definition never overwrites a pin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

Effect: TypeAlias = Literal["read", "fetch", "write", "destroy", "spend", "admin"]
ArgumentRole: TypeAlias = Literal["who", "what", "how_much", "reference", "free_text", "free"]
Writer: TypeAlias = Literal["system", "members", "anyone"]
OutputForm: TypeAlias = Literal["structured", "json_text", "opaque"]
ToolState: TypeAlias = Literal["approved", "quarantined", "gone"]

EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)
# Effects that need a countable limit before anyone may be granted the tool.
COUNTED_EFFECTS: Final[frozenset[Effect]] = frozenset({"spend", "destroy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One definition of a tool, exactly as its server sent it: ``body`` is the received JSON text."""

    org: str
    id: str  # ``definition_id`` of the two members below
    tool: str  # the reference, server/tool
    fingerprint: str
    body: str
    first_seen: int


def definition_id(ref: str, fingerprint: str) -> str:
    """Under what a definition is kept: one tool may have had many."""
    return f"{ref}@{fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool of one server. ``server`` is the server's id, ``ref`` ``server/tool``, ``alias`` its flat MCP name."""

    org: str
    id: str
    server: str
    ref: str
    alias: str
    pinned: str | None
    offered: str | None
    review: str | None
    effect: Effect | None
    approved_at: int | None
    created: int
    imported: bool = False  # known from a file: the server itself has not listed this definition

    @property
    def state(self) -> ToolState:
        """Approved only while what is offered is what was reviewed."""
        if self.offered is None:
            return "gone"
        return "approved" if self.offered == self.pinned and self.review else "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentReview:
    """What one argument is for (its JSON pointer is the key it is kept under) and what kind of value it takes."""

    role: ArgumentRole
    type: str | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReview:
    """Who can write one output field, who keeps its record, and how secret it is."""

    writer: Writer
    type: str | None = None
    naming: bool = False
    custodian: bool = False
    confidentiality: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsReview:
    """Where the records of a result stand, what names each, which arguments page, and who may add a row."""

    at: str
    id: str
    page: tuple[str, ...] = ()
    listing: Writer = "anyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputReview:
    """Where results can be read from, and each field's labels. Opaque output is all untrusted."""

    form: OutputForm = "opaque"
    fields: Mapping[str, FieldReview] = field(default_factory=dict)
    records: RecordsReview | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReview:
    """A countable: what a grant may limit under ``name``. ``of`` is an argument's pointer, or ``call`` for calls."""

    name: str
    of: str
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCall:
    """Another tool and how its arguments follow from this call: the inverse, or how to reconcile."""

    tool: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    done_if: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReview:
    """The record a person signs for one fingerprint of one tool (an entitlement review)."""

    org: str
    id: str
    tool: str  # the reference, server/tool
    fingerprint: str
    effect: Effect
    arguments: Mapping[str, ArgumentReview]
    output: OutputReview
    mints: Mapping[str, str]
    discloses: tuple[Mapping[str, str], ...]
    limits: tuple[LimitReview, ...]
    reversible: bool
    inverse: OtherCall | None
    intent: tuple[str, ...]
    idempotency: str | None  # the pointer of the argument that carries the key
    reconcile: OtherCall | None
    reviewed_by: str
    reviewed_at: int
    suggested: bool = False
