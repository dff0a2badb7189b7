"""The values that go into and come out of policy: what is asked, what is known of a tool, what is answered.

No Cedar here. A reader who only calls this room needs this file and ``engine.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from remit.core.canonical import Json
from remit.core.errors import InvalidPolicy
from remit.core.labels import Integrity
from remit.core.tools import ArgumentReview, Effect, Tool, ToolReview

PrincipalKind: TypeAlias = Literal["Agent", "Person"]
# A value as Cedar reads JSON. Only ``encoding`` makes these out of what a model sent.
CedarJson: TypeAlias = bool | int | str | Sequence["CedarJson"] | Mapping[str, "CedarJson"]


class Principal(NamedTuple):
    """Who asks: an agent (``agt_``) or a person (``per_``)."""

    kind: PrincipalKind
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """What policy knows of one approved tool: its record, its pinned input schema, its reviewed arguments."""

    tool: Tool
    input_schema: Json
    arguments: Mapping[str, ArgumentReview]

    def __post_init__(self) -> None:
        """A tool that nobody reviewed has no effect, and a name that is not ``server/tool`` could name a group."""
        server, slash, name = self.tool.ref.partition("/")
        if self.tool.effect is None or not (server and slash and name) or ":" in server:
            raise InvalidPolicy(f"{self.tool.ref!r} is not a reviewed tool")

    @classmethod
    def of(cls, tool: Tool, review: ToolReview, input_schema: Json) -> "ToolFacts":
        """The facts of ``tool`` as ``review`` signed them."""
        return cls(tool=tool, input_schema=input_schema, arguments=review.arguments)

    @property
    def ref(self) -> str:
        """``server/tool``, which is the name of the Cedar action."""
        return self.tool.ref

    @property
    def server(self) -> str:
        """The server's id, which is the Cedar resource."""
        return self.tool.server

    @property
    def server_name(self) -> str:
        """The server's slug, which names the group ``server:…``."""
        return self.tool.ref.partition("/")[0]

    @property
    def effect(self) -> Effect:
        """The reviewed effect, which names the group ``effect:…``."""
        if self.tool.effect is None:
            raise InvalidPolicy(f"{self.tool.ref!r} is not a reviewed tool")
        return self.tool.effect


@dataclass(frozen=True, slots=True)
class PolicySource:
    """One ``.cedar`` file of an operator: its name for messages, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One error or lint, and where it stands: the line where the policy begins, 1 being the first."""

    file: str
    line: int
    id: str | None
    message: str

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 6, ``policy check``."""
        return {"file": self.file, "line": self.line, "id": self.id, "message": self.message}


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What ``policy check`` answers. Lints are advice; one error refuses the whole set."""

    policy_version: str
    errors: tuple[Finding, ...]
    lints: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the set may come into force."""
        return not self.errors

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 6, ``policy check``."""
        return {
            "policy_version": self.policy_version,
            "errors": [finding.document() for finding in self.errors],
            "lints": [finding.document() for finding in self.lints],
        }


@dataclass(frozen=True, slots=True)
class CedarRecord:
    """The arguments of one call to ``ref``, encoded. Made by ``encoding`` only, so that raw JSON can't be passed.

    ``key`` is a hash of what they were encoded from, if whoever asked had one: equal keys are equal values.
    """

    ref: str
    value: Mapping[str, CedarJson]
    key: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContext:
    """Everything a policy may read of one call. ``now_ms`` is milliseconds UTC; ``calls`` counts the root session's."""

    args: CedarRecord
    integrity: Integrity
    confidentiality: frozenset[str]
    intents: frozenset[str]
    calls: int
    chain: tuple[str, ...]
    now_ms: int
    approval_present: bool = False
    approval_by: str | None = None
    inputs: str | None = None  # canonical text of what the server asked for and was answered; None for a plain call


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """One evaluation. ``grants`` and ``policies`` are the ids that determined it; ``errors`` holds no argument."""

    allowed: bool
    grants: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
