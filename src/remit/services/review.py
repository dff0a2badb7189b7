"""Come in here for what a reviewer does: look at tools, see what changed, sign a review for one fingerprint.

Rules
- A review is for the bytes that are offered now; any other fingerprint is stale, so nobody signs what they did not see.
- A signature gives nothing by itself: it lets grants reach the tool. It never widens a grant made before it: a tool
  counts as approved from the moment of this definition and this effect on, always later than every grant there is.
- What could not be decided on later is refused now: a schema that does not compile, an alias that another reviewed tool
  has, a spend or destroy tool that counts nothing while a grant reaches it, a countable that a grant limits and that
  would be counted no longer.

``sync`` is told in ``sync.py``; it stands here too because both are one subject to those who call them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.entitlements import input_schema, kind_of, method_of
from remit.core.errors import Conflict, InvalidDocument, NotFound, StaleFingerprint, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.grants import Grant
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.servers import Server
from remit.core.times import to_text
from remit.core.tools import COUNTED_EFFECTS, Definition, Tool, ToolReview, ToolState, definition_id
from remit.guards.hidden_text import hidden
from remit.guards.json_in import parse
from remit.guards.shape import ArgumentShape
from remit.services.authority import Authority
from remit.services.cosign import check_signer, signed_by_another
from remit.services.deps import Deps, require
from remit.services.documents import CALLS, Document, committed, directory
from remit.services.grants import check_limits
from remit.services.registry import find, prove, require_reader
from remit.services.review_document import check_fit, read_review, review_document
from remit.services.rules import check_signed
from remit.services.sync import sync

__all__ = ["apply_review", "approve", "diff", "export_reviews", "review_of", "show", "sync", "tools"]

_ABSENT: Final = object()


async def tools(deps: Deps, caller: PersonCaller, state: ToolState | None = None) -> tuple[dict[str, Json], ...]:
    """Every tool, or those in one state, by id."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        found = await view.nouns.all(Tool)
        reviews = {review.id: review for review in await view.nouns.all(ToolReview)}
        return tuple(
            _tool_document(tool, reviews.get(tool.review or ""))
            for tool in found
            if state is None or tool.state == state
        )


async def show(deps: Deps, caller: PersonCaller, ref: str) -> dict[str, Json]:
    """One tool with its definition as it is offered (of a gone tool: as pinned), and what is hidden in it."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        tool = await find(view, Tool, ref)
        definition = await _definition(view, tool, tool.offered or tool.pinned)
        signed = await view.nouns.get(ToolReview, tool.review) if tool.review else None
    return _tool_document(tool, signed) | {"definition": definition, "hidden": list(_hidden(definition))}


async def diff(
    deps: Deps, caller: PersonCaller, ref: str, older: str | None = None, newer: str | None = None
) -> dict[str, Json]:
    """How two definitions of a tool differ; by default the pinned one and the one offered now.

    Raises ``NotFound`` for a fingerprint that this tool never had.
    """
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        tool = await find(view, Tool, ref)
        first, last = older or tool.pinned, newer or tool.offered
        before = await _definition(view, tool, first) if first else _ABSENT
        after = await _definition(view, tool, last) if last else _ABSENT
    return {"from": first, "to": last, "changes": list(_changes("", before, after))}


async def apply_review(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """Sign a review: the tool is pinned at its fingerprint. By a reviewer. The review, with whose grants reach it now.

    Raises ``InvalidDocument``, ``NotFound``, ``WrongState``, ``StaleFingerprint``, ``Conflict``, ``InvalidPolicy``.
    """
    require(caller, "reviewer")
    async with deps.store.unit(deps.org) as unit:
        review = read_review(
            document,
            org=deps.org,
            id=deps.new_id("rev"),
            reviewed_by=caller.person.id,
            reviewed_at=deps.clock.now(),
        )
        check_signer(document, caller)
        tool = await find(unit, Tool, review.tool)
        if document.get("four_eyes") is True and not await signed_by_another(unit, review):
            return await _sign_first(unit, caller, tool, review)
        return await _sign(deps, unit, caller, tool, review)


async def approve(deps: Deps, caller: PersonCaller, ref: str, fingerprint: str) -> dict[str, Json]:
    """Sign the review in force again, for the definition that is offered now. By a reviewer.

    Raises as ``apply_review``, and ``WrongState`` for a tool that was never reviewed: somebody must say what it does.
    """
    require(caller, "reviewer")
    async with deps.store.unit(deps.org) as unit:
        tool = await find(unit, Tool, ref)
        before = await unit.nouns.get(ToolReview, tool.review) if tool.review else None
        if before is None:
            raise WrongState(f"{ref} was never reviewed", hint="Write a review: `remit tool review apply FILE`.")
        review = replace(
            before,
            id=deps.new_id("rev"),
            fingerprint=fingerprint,
            reviewed_by=caller.person.id,
            reviewed_at=deps.clock.now(),
        )
        return await _sign(deps, unit, caller, tool, review)


async def review_of(deps: Deps, caller: PersonCaller, ref: str) -> dict[str, Json]:
    """The review in force of one tool. Raises ``NotFound``, also for a tool that was never reviewed."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        tool = await find(view, Tool, ref)
        review = await view.nouns.get(ToolReview, tool.review) if tool.review else None
        if review is None:
            raise NotFound(f"{ref} was never reviewed")
        return _exported(review, (await directory(view)).people) | {"id": review.id}


async def export_reviews(deps: Deps, caller: PersonCaller) -> tuple[dict[str, Json], ...]:
    """The review in force of every tool that has one, as files that apply again."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        reviews = [await view.nouns.get(ToolReview, tool.review or "") for tool in await view.nouns.all(Tool)]
        people = (await directory(view)).people
        return tuple(_exported(review, people) for review in reviews if review is not None)


async def _sign_first(unit: Unit, caller: PersonCaller, tool: Tool, review: ToolReview) -> dict[str, Json]:
    """Keep the first of two signatures. Nothing is pinned by it."""
    await _check_offered(unit, tool, review)
    await unit.nouns.add(review)
    answer = review_document(review, caller.person.email)
    await unit.log.append(_signed(Kind.TOOL_REVIEWED, caller, review, answer, "first_of_two"))
    return answer | {"id": review.id, "waiting": True}


async def _check_offered(unit: Unit, tool: Tool, review: ToolReview) -> None:
    """Pass if the review is of what the server lists now, and speaks of it."""
    server = await unit.nouns.get(Server, tool.server)
    if server is None or server.state != "active":
        raise WrongState(f"the server of {tool.ref} is retired")
    if tool.offered is None:
        raise WrongState(f"{tool.ref} is no longer listed by its server", hint="Sync the server and look again.")
    if review.fingerprint != tool.offered:
        raise StaleFingerprint(f"{tool.ref} is offered as {tool.offered}")
    definition = await _definition(unit, tool, tool.offered)
    check_fit(review, definition)
    ArgumentShape.compile(input_schema(tool.ref, definition))


def _signed(
    kind: Kind, caller: PersonCaller, review: ToolReview, answer: Mapping[str, Json], *codes: str
) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=caller.person.id,
        about=review.id,
        tool=review.tool,
        fingerprint=review.fingerprint,
        codes=(*codes, *(["suggested"] if review.suggested else [])),
        private=committed(answer),
    )


async def _sign(deps: Deps, unit: Unit, caller: PersonCaller, tool: Tool, review: ToolReview) -> dict[str, Json]:
    await _check_offered(unit, tool, review)
    await _check_alias(unit, tool)
    signed = replace(
        tool,
        pinned=review.fingerprint,
        review=review.id,
        effect=review.effect,
        approved_at=await _approved_at(unit, tool, review),
    )
    before = await unit.nouns.get(ToolReview, tool.review) if tool.review else None
    await unit.nouns.add(review)
    await unit.nouns.replace(signed)
    authority = await prove(unit)
    if signed.ref not in authority.tools:
        raise InvalidDocument(f"the definition of {signed.ref} can't be used: its input schema does not compile")
    reaching = _reaching(authority, signed, deps.clock.now())
    _check_counted(reaching, review)
    _check_still_limited(reaching, before, review)
    _check_one_unit(reaching, authority)
    if before is not None:
        await check_signed(unit, signed, before, review)
    answer = review_document(review, caller.person.email)
    await unit.log.append(_signed(Kind.TOOL_APPROVED, caller, review, answer))
    return answer | {"id": review.id, "reach": list(_reach(authority, signed, deps.clock.now()))}


async def _approved_at(unit: Unit, tool: Tool, review: ToolReview) -> int:
    """Since when the tool counts as approved.

    INVARIANT: a new definition or a new effect is later than every grant there is, also within one millisecond and
    across clocks, so that a grant by effect made before this signature does not come to reach the tool by it.
    """
    if tool.approved_at is not None and (tool.pinned, tool.effect) == (review.fingerprint, review.effect):
        return tool.approved_at
    newest = max((grant.created for grant in await unit.nouns.all(Grant)), default=0)
    return max(review.reviewed_at, newest + 1)


async def _check_alias(unit: Unit, tool: Tool) -> None:
    for other in await unit.nouns.all(Tool):
        same = other.id != tool.id and other.alias == tool.alias and method_of(other.ref) == method_of(tool.ref)
        if same and other.review is not None:
            raise Conflict(
                f"{tool.ref} would be called {tool.alias} in the flat list, and so is {other.ref}",
                hint="The server must rename one of them.",
            )


def _reaching(authority: Authority, tool: Tool, now: int) -> list[Grant]:
    """Every live grant, of whomever, that covers the tool as it is signed now."""
    every = [grant for grants in authority.grants.values() for grant in grants]
    return sorted((grant for grant in every if _counts(grant, tool, now)), key=lambda grant: grant.id)


def _check_counted(reaching: Sequence[Grant], review: ToolReview) -> None:
    """What can't be counted can't be granted, so it can't be signed while a grant reaches it either."""
    if reaching and review.effect in COUNTED_EFFECTS and not review.limits:
        raise Conflict(
            f"{review.tool} would {review.effect} without a limit, and {reaching[0].id} would grant it",
            hint="Name a limit in the review (of: call counts calls), or revoke the grant first.",
        )


def _check_still_limited(reaching: Sequence[Grant], before: ToolReview | None, review: ToolReview) -> None:
    """A ceiling holds only over what is counted, so a signature may not take away what an earlier grant limits."""
    counted = {limit.name: limit for limit in review.limits}
    lost = {limit.name for limit in before.limits if counted.get(limit.name) != limit} if before else set()
    for grant in reaching:
        limited = {name for limits in grant.limits for name in limits.amounts if name != CALLS}
        if lost & limited:
            raise Conflict(
                f"{grant.id} limits {min(lost & limited)}, which this review would no longer count so",
                hint="Keep the limit, what it counts and its unit, or revoke the grant first.",
            )


def _check_one_unit(reaching: Sequence[Grant], authority: Authority) -> None:
    """What a grant limits must mean one thing over all that it reaches, tools that came later too."""
    for grant in reaching:
        try:
            check_limits(grant, {ref: one for ref, one in authority.tools.items() if grant.reaches(one.tool)})
        except InvalidDocument as error:
            raise Conflict(
                f"{grant.id} would reach this tool, and its limits would no longer hold: {error.detail}",
                hint="Count it under the name and unit that the grant limits, or revoke the grant first.",
            ) from error


def _counts(grant: Grant, tool: Tool, now: int) -> bool:
    return grant.live(now) and grant.reaches(tool)


def _reach(authority: Authority, tool: Tool, now: int) -> Iterator[str]:
    """The names of the agents whose live grants reach the tool as it is signed now."""
    left_out = {one.grant for one in authority.engine.left_out_of(tool.ref)} if authority.engine else set()
    for named, agent in sorted(authority.agents.items(), key=lambda pair: pair[1].name):
        grants = [grant for grant in authority.grants.get(named, ()) if _counts(grant, tool, now)]
        if any(grant.id not in left_out for grant in grants):
            yield agent.name


async def _definition(unit: Unit, tool: Tool, fingerprint: str | None) -> Json:
    found = await unit.nouns.get(Definition, definition_id(tool.ref, fingerprint or ""))
    if found is None:
        raise NotFound(f"{tool.ref} never had a definition {fingerprint}")
    return parse(found.body.encode())


def _tool_document(tool: Tool, review: ToolReview | None) -> dict[str, Json]:
    return {
        "tool": tool.ref,
        "id": tool.id,
        "server": tool.ref.partition("/")[0],
        "alias": tool.alias,
        "kind": kind_of(tool.ref),
        "state": tool.state,
        "pinned": tool.pinned,
        "offered": tool.offered,
        "review": tool.review,
        "effect": tool.effect,
        "approved_at": to_text(tool.approved_at) if tool.approved_at is not None else None,
        "imported": tool.imported,
        "suggested": review.suggested if review is not None else None,
    }


def _exported(review: ToolReview, people: Mapping[str, Person]) -> dict[str, Json]:
    reviewer = people.get(review.reviewed_by)
    return review_document(review, reviewer.email if reviewer else review.reviewed_by)


def _changes(path: str, before: object, after: object) -> Iterator[dict[str, Json]]:
    """Every place where two definitions differ, down to the smallest; null stands for nothing there."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            step = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _changes(step, before.get(name, _ABSENT), after.get(name, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        for position in range(max(len(before), len(after))):
            yield from _changes(f"{path}/{position}", _at(before, position), _at(after, position))
    elif before is not after and (type(before) is not type(after) or before != after):
        yield {"path": path, "before": _shown(before), "after": _shown(after), "hidden": list(_hidden(_shown(after)))}


def _at(items: Sequence[Json], position: int) -> object:
    return items[position] if position < len(items) else _ABSENT


def _shown(value: object) -> Json:
    return None if value is _ABSENT else value  # type: ignore[return-value]  # parsed JSON, or the one sentinel


def _hidden(value: Json) -> Iterator[str]:
    """What a reader would not see in the text of ``value``, keys included."""
    pending: list[Json] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield from (f"{one.codepoint} {one.name} at {one.offset}" for one in hidden(node))
        elif isinstance(node, Mapping):
            pending.extend(node.keys())
            pending.extend(node.values())
        elif isinstance(node, Sequence):
            pending.extend(node)
