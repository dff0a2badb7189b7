"""Events: the log's leaves. What may change here is written beside it, because every past leaf must stay readable.

A leaf is the canonical bytes of one object (INTERFACES section 8), at most 65,535 bytes. Members may be added, never
renamed or given another meaning; a kind's number is never reused. Golden bytes: ``tests/vectors/events.json``. No free
text, no e-mail address and no argument stands in a leaf: people are ids, everything else is a salted commitment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from remit.core.canonical import Json, Written, canonical
from remit.core.errors import LogUnavailable
from remit.core.labels import Labels

MAX_LEAF: Final = 65_535
VERSION: Final = 1


class Kind(IntEnum):
    """What happened, by number.

    1-9 log and store, 10-19 agents and people, 20-29 servers, tools, reviews, 30-39 grants and policies,
    40-49 credentials, 50-59 sessions, 60-69 calls, 70-79 approvals, 80-89 guards, 90-99 runs,
    100-119 clients, consents and sign-ins, 120-129 departures and blueprints.
    """

    GENESIS = 1
    CHECKPOINT_KEY = 2
    ERASED = 3
    AGENT_CREATED = 10
    AGENT_ACTIVATED = 11
    AGENT_SUSPENDED = 12
    AGENT_RETIRED = 13
    AGENT_CHANGED = 14
    AGENT_KILLED = 15
    PERSON_ADDED = 16
    PERSON_CHANGED = 17
    PERSON_SUSPENDED = 18
    AGENT_REVIEWED = 19
    SERVER_ADDED = 20
    SERVER_CHANGED = 21
    SERVER_RETIRED = 22
    TOOL_SEEN = 23
    TOOL_QUARANTINED = 24
    TOOL_GONE = 25
    TOOL_APPROVED = 26
    SERVER_QUARANTINED = 27
    SERVER_APPROVED = 28
    TOOL_REVIEWED = 29
    GRANT_APPLIED = 30
    GRANT_REVOKED = 31
    POLICY_APPLIED = 32
    POLICY_REFUSED = 33
    POLICY_ROLLED_BACK = 34
    SERVER_OBSERVED = 35
    ACCESS_REQUESTED = 36
    ACCESS_CLOSED = 37
    RULE_APPLIED = 38
    RULE_REVOKED = 39
    KEY_CREATED = 40
    KEY_REVOKED = 41
    KEY_ROTATED = 42
    TOKEN_ISSUED = 43
    SECRET_STORED = 44
    CREDENTIAL_REFUSED = 45
    SESSION_STARTED = 50
    SESSION_ENDED = 51
    SESSION_KILLED = 52
    SESSION_EXPIRED = 53
    SESSION_SUSPENDED = 54
    SESSION_NARROWED = 55
    DENIED = 60
    ASKED = 61
    INTENT = 62
    OUTCOME = 63
    UNKNOWN = 64
    SETTLED = 65
    REDACTED = 66
    INTERRUPTED = 67
    APPROVED = 70
    APPROVAL_DENIED = 71
    APPROVAL_VOID = 72
    APPROVAL_USED = 73
    APPROVAL_EXPIRED = 74
    APPROVAL_RETURNED = 75
    ADOPTION_ASKED = 76
    CLIENT_ADDED = 100
    CLIENT_CHANGED = 101
    CLIENT_RETIRED = 102
    CONSENTED = 103
    CONSENT_REFUSED = 104
    TOKEN_EXCHANGED = 105
    TOKEN_REVOKED = 106
    REPLAYED = 107
    SIGNED_IN = 108
    SIGNED_OUT = 109
    TOKEN_KEY_ROTATED = 110
    PASSKEY_ADDED = 116
    PASSKEY_REMOVED = 117
    PASSKEY_REFUSED = 118
    DEPARTURE_ASKED = 120
    PERSON_DEPARTED = 121
    BLUEPRINT_APPLIED = 122
    BLUEPRINT_RETIRED = 123


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event before the log gives it an index, a time and salts. ``private`` is committed to, never written plain.

    ``subject`` is the person under whose key the private values are kept: whom the work was for, else the owner.
    """

    kind: Kind
    actor: str
    subject: str
    agent: str | None = None
    chain: tuple[str, ...] = ()
    session: str | None = None
    call: str | None = None
    tool: str | None = None
    fingerprint: str | None = None
    policy: str | None = None
    authority: str | None = None
    decision: str | None = None
    codes: tuple[str, ...] = ()
    intent: int | None = None
    outcome: str | None = None
    labels: Labels | None = None
    about: str | None = None  # the id of the thing changed: an agent, a grant, an approval
    origin: str | None = None
    key: str | None = None
    private: Mapping[str, Json | Written] = field(default_factory=dict)


def leaf(draft: EventDraft, *, org: str, index: int, now: int, commitments: Mapping[str, str]) -> bytes:
    """The leaf bytes of ``draft`` at ``index``. ``commitments`` maps each private pointer to base64.

    Raises ``LogUnavailable`` when it is larger than a C2SP entry can be: an event that can't be written denies.
    """
    optional: dict[str, Json] = {
        "agent": draft.agent,
        "chain": list(draft.chain) or None,
        "session": draft.session,
        "call": draft.call,
        "tool": draft.tool,
        "fp": draft.fingerprint,
        "policy": draft.policy,
        "authority": draft.authority,
        "decision": draft.decision,
        "intent": draft.intent,
        "outcome": draft.outcome,
        "labels": draft.labels.document() if draft.labels else None,
        "about": draft.about,
        "origin": draft.origin,
        "key": draft.key,
        "commit": dict(commitments) or None,
    }
    body: dict[str, Json] = {name: value for name, value in optional.items() if value is not None}
    body |= {"v": VERSION, "k": int(draft.kind), "i": index, "t": now, "org": org, "actor": draft.actor}
    body["codes"] = list(draft.codes)
    data = canonical(body)
    if len(data) > MAX_LEAF:
        raise LogUnavailable(f"an event of {len(data)} bytes does not fit the log")
    return data
