"""Decisions: Allow, Deny or Ask, each a value with its reasons, never a bool.

The codes are a closed list (``REASONS``): the number is the step of the life of a tool call that answered, the text is
what people and models are told, the hint what they can do next. A code is never renamed; new ones are added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias, assert_never

from remit.core.canonical import Json


class ReasonForm(NamedTuple):
    """The step that gives this reason, its standard words, and whether a person could have it otherwise next time."""

    step: int
    text: str
    hint: str
    askable: bool = False


REASONS: Final[dict[str, ReasonForm]] = {
    "credential.revoked": ReasonForm(
        1, "the credential behind this session is no longer good", "This is final; the owner can make another."
    ),
    "session.not_live": ReasonForm(
        2, "this session has ended or expired", "This is final; the host can start a new one."
    ),
    "session.suspended": ReasonForm(
        2, "too many refused calls, so this session rests", "Stop repeating refused calls, and wait."
    ),
    "agent.not_live": ReasonForm(2, "an agent on the chain is not active", "Ask the agent's owner."),
    "agent.review_due": ReasonForm(
        2,
        "an agent on the chain is past its review date",
        "Wait until its owner has reviewed it: `remit agent review`.",
    ),
    "owner.not_live": ReasonForm(2, "the owner of an agent on the chain is not active", "Ask an administrator."),
    "principal.not_live": ReasonForm(2, "the person this session acts for is not active", "Ask an administrator."),
    "tool.unknown": ReasonForm(2, "there is no such tool here", "Do not retry; use a tool from tools/list.", True),
    "tool.changed": ReasonForm(
        2, "its definition is not the reviewed one", "A reviewer must look at the new one.", True
    ),
    "server.quarantined": ReasonForm(
        2, "its server is not what was agreed to", "An administrator must look at it.", True
    ),
    "plan.tool": ReasonForm(2, "this tool is not in the sealed plan", "Keep to the plan; the host may seal another."),
    "arguments.shape": ReasonForm(
        3, "the arguments do not fit the reviewed schema", "This is final for these arguments; correct them."
    ),
    "arguments.encoding": ReasonForm(3, "an argument has no exact meaning for policy", "Send a plainer value."),
    "policy.denied": ReasonForm(4, "policy does not allow this call", "Do not retry; ask the agent's owner.", True),
    "policy.error": ReasonForm(4, "policy could not be evaluated, so the answer is no", "The operator must look."),
    "flow.value": ReasonForm(
        5, "a value in this call does not come from where it would have to", "A person can be asked about it; wait."
    ),
    "flow.call": ReasonForm(5, "this session has seen untrusted text", "A person can be asked about this call; wait."),
    "flow.refused": ReasonForm(5, "a person said no to a value in this call", "Do not use it again in this session."),
    "budget.exceeded": ReasonForm(6, "this would pass a limit", "Wait, ask for less, or ask the owner.", True),
    "budget.uncountable": ReasonForm(6, "an amount can't be counted", "Send a non-negative plain amount."),
    "rule.exceeded": ReasonForm(6, "this would pass a limit of a rule", "Wait, ask for less, or ask an administrator."),
    "rule.once": ReasonForm(
        6, "a rule allows this once, and it was done or tried", "Do not retry under another spelling; ask the owner."
    ),
    "rule.first": ReasonForm(
        6, "a rule wants another call done before this one", "Make that call, wait until it is done, then call again."
    ),
    "rule.uncountable": ReasonForm(
        6, "a rule can't tell what this call counts", "Send plain values; else an administrator must look at the rule."
    ),
    "approval.needed": ReasonForm(7, "a person must approve this call", "Wait for the answer, then call again."),
    "approval.crowded": ReasonForm(7, "too many questions of this session wait", "Wait until some are answered."),
    "approval.denied": ReasonForm(7, "a person said no", "This is final: do not ask again in this session."),
    "approval.void": ReasonForm(7, "what was approved is no longer what would happen", "Ask again with a new call."),
    "approval.too_large": ReasonForm(7, "this call is too large to be shown whole", "Make it smaller."),
    "call.spent": ReasonForm(
        8, "the yes to this call id was for one forward within 30 s, and is past", "Call again under a new call id."
    ),
    "observe.would_deny": ReasonForm(
        8, "allowed by observe mode alone, else it would have been refused", "Do not rely on it: observe mode ends."
    ),
    "observe.would_ask": ReasonForm(
        8, "allowed by observe mode alone, else a person would have been asked", "Do not rely on it: observe mode ends."
    ),
    "log.unavailable": ReasonForm(8, "the log can't be written, so nothing is allowed", "The operator must look."),
    "internal.error": ReasonForm(8, "something went wrong in Remit", "Report the event number."),
}


PLAN: Final = "plan"
"""The rule of a reason that stands on the ceilings of a sealed plan."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why. ``code`` is one of ``REASONS``; ``rule`` a policy or flow rule id; ``argument`` a JSON pointer."""

    code: str
    detail: str = ""
    rule: str | None = None
    argument: str | None = None
    value: str | None = None
    origin: Mapping[str, Json] | None = None

    def __post_init__(self) -> None:
        """A reason outside the closed list is a bug."""
        if self.code not in REASONS:
            raise ValueError(f"{self.code!r} is not a known reason")

    @property
    def step(self) -> int:
        """The step of the life of a tool call that said so."""
        return REASONS[self.code].step

    @property
    def text(self) -> str:
        """The standard words, and what is particular to this call."""
        words = REASONS[self.code].text
        return f"{words}: {self.detail}" if self.detail else words

    @property
    def hint(self) -> str:
        """What the reader can do next."""
        return REASONS[self.code].hint

    @property
    def askable(self) -> bool:
        """Whether a person could change what this rests on. A sealed plan only narrows: not even its host widens it."""
        return REASONS[self.code].askable and self.rule != PLAN

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 4."""
        out: dict[str, Json] = {"code": self.code, "step": self.step, "text": self.text, "hint": self.hint}
        if self.rule is not None:
            out["rule"] = self.rule
        if self.argument is not None:
            out["argument"] = self.argument
        if self.value is not None:
            out["value"] = self.value
        if self.origin is not None:
            out["origin"] = self.origin
        return out


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes, once: ``intent`` is the log index of the committed intent.

    ``reasons`` is what would have been refused, where only observe mode let it through; else it is empty.
    """

    intent: int
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """No, finally, for these reasons."""

    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        """A denial that does not say why can't be made."""
        if not self.reasons:
            raise ValueError("a Deny needs a reason")


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must decide: ``approval`` is the id of the pending question."""

    approval: str
    reasons: tuple[Reason, ...]

    def __post_init__(self) -> None:
        """A question that does not say why can't be asked."""
        if not self.reasons:
            raise ValueError("an Ask needs a reason")


Verdict: TypeAlias = Allow | Deny | Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one proposed call, as every door gives it (INTERFACES section 4).

    ``event`` is None only when the log itself can't be written. ``replayed`` says that this answer was given before for
    the same call id: an intent it carries must not be forwarded a second time, and an Allow says so of itself.
    ``request_access`` is set on a Deny that a person could have otherwise next time: where they look, by what command.
    """

    verdict: Verdict
    session: str
    call_id: str
    tool: str
    fingerprint: str | None
    arguments_hash: str
    policy_version: str
    authority_version: str
    event: int | None
    expires_at: str
    approval: Mapping[str, Json] | None = None
    idempotency_key: str | None = None
    replayed: bool = False
    request_access: Mapping[str, Json] | None = None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why; empty only for an Allow that observe mode had no part in."""
        return self.verdict.reasons

    @property
    def hidden(self) -> bool:
        """Whether the tool is not there for this chain, in which case the answer tells nothing of it."""
        return any(reason.code == "tool.unknown" for reason in self.reasons)

    def document(self) -> dict[str, Json]:
        """The JSON form of INTERFACES section 4."""
        number: int | None = None
        match self.verdict:
            case Allow(intent, _):
                word, number = "allow", intent
            case Deny():
                word = "deny"
            case Ask():
                word = "ask"
            case _ as unreachable:
                assert_never(unreachable)
        optional: dict[str, Json] = {"replayed": True} if self.replayed and word == "allow" else {}
        if self.request_access is not None:
            optional["request_access"] = self.request_access
        return {
            "decision": word,
            "session": self.session,
            "call_id": self.call_id,
            "tool": self.tool,
            "fingerprint": self.fingerprint,
            "arguments_hash": self.arguments_hash,
            "reasons": [reason.document() for reason in self.reasons],
            "policy_version": self.policy_version,
            "authority_version": self.authority_version,
            "intent": number,
            "event": self.event,
            "approval": self.approval,
            "idempotency_key": self.idempotency_key,
            "expires_at": self.expires_at,
            **optional,
        }

    def sentence(self) -> str:
        """What the agent is told when it is refused or must wait (INTERFACES section 5)."""
        first = self.reasons[0]
        refused = isinstance(self.verdict, Deny)
        words = f"Remit refused {self.tool}" if refused else f"Remit has not yet allowed {self.tool}"
        way = f" Access can be requested at {self.request_access['url']}." if self.request_access else ""
        return f"{words}: {first.text}. {first.hint}{way} [{first.code}, event {self.event}]"
