"""Step 7 of a tool call, as it begins: the question about one very call, bound to all that the answer stands on."""

from collections.abc import Sequence
from dataclasses import replace

from remit.core.approvals import Approval
from remit.core.canonical import canonical, digest
from remit.core.events import EventDraft, Kind
from remit.guards.json_in import parse
from remit.policy.demands import Miss
from remit.services import approve, endorsed, recorded
from remit.services.authority import ReviewedTool
from remit.services.deps import Deps
from remit.services.recorded import Facts


def question(deps: Deps, facts: Facts, known: ReviewedTool, short: Sequence[Miss], persons: int = 0) -> Approval:
    """The question whether this very call may be made, bound to all that it stands on; not yet put.

    ``persons`` is how many must say yes, where a rule wants more than one.
    """
    session = facts.session
    return Approval(
        org=session.org,
        id=deps.new_id("apr"),
        kind="call",
        state="pending",
        agent=session.agent,
        chain=session.chain,
        session=session.id,
        root=session.root,
        credential=session.key,
        tool=known.tool.ref,
        fingerprint=known.review.fingerprint,
        server=known.server.id,
        server_fingerprint=known.server.pinned,
        arguments=facts.arguments,
        arguments_hash=digest(facts.arguments),
        references=recorded.shown_references(facts, known),
        policy_version=facts.authority.policy_version,
        authority_version=facts.authority.version(session.chain),
        asked_at=facts.now,
        expires_at=min(facts.now + approve.LIFE, session.expires),
        asked_event=-1,
        shown_values=canonical(endorsed.shown(short, known.review)),
        persons=max(persons, 1),
    )


def draft(facts: Facts, asked: Approval, code: str) -> EventDraft:
    """The event that puts it: what it asks about stands there, sealed."""
    plain = recorded.draft(facts, Kind.ASKED, (code,), about=asked.id)
    values = parse(asked.shown_values)
    return replace(plain, private={**plain.private, approve.VALUES: values}) if values else plain
