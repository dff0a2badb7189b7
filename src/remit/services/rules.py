"""Rules signed off: written by administrators, checked against what is reviewed at this moment, in force at once.

A rule is applied again under its name to change it: another version, under the same id, that goes on with the same
counts. INVARIANT: so what it is counted by (its form, its holder, whether it has a window) never changes under a name;
else a version that reads stricter would begin again at nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, cast

from remit.core import amounts
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import Conflict, InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.rules import Approvals, Ceiling, First, Holder, Once, Reached, Rule
from remit.core.times import DAY, MINUTE, duration, seconds_to_text, to_text
from remit.core.tools import Effect, LimitReview, Tool, ToolReview
from remit.guards.documents import check_document
from remit.policy.rule_draft import Offered, draft, written
from remit.policy.rules import CALLS
from remit.services.authority import ReviewedTool, load
from remit.services.deps import Deps, require
from remit.services.documents import Directory, Document, committed, directory, items, texts
from remit.services.registry import prove, require_reader

LONGEST: Final = 31 * DAY


async def apply(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A new rule, or another version of one, by an administrator.

    Raises ``Forbidden``, ``InvalidDocument``, ``WrongState`` for a revoked rule and one counted otherwise.
    """
    require(caller, "administrator")
    check_document("Rule", document)
    async with deps.store.unit(deps.org) as unit:
        known = await directory(unit)
        before = await unit.nouns.named(Rule, str(document["name"]))
        rule = replace(
            read_rule(document, known),
            org=deps.org,
            id=before.id if before else deps.new_id("rul"),
            version=before.version + 1 if before else 1,
            applied_by=caller.person.id,
            applied_at=deps.clock.now(),
        )
        _check_versions(before, rule)
        authority = await prove(unit)
        _check_counted(rule, authority.tools)
        _check_approvers(rule, authority.people.values())
        await (unit.nouns.replace(rule) if before else unit.nouns.add(rule))
        await unit.log.append(_event(Kind.RULE_APPLIED, caller, rule, committed(document)))
        return rule_document(rule, known)


async def revoke(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """End a rule at once, by an administrator. Raises ``NotFound``, ``WrongState``."""
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        rule = await _get(unit, named)
        if rule.state != "active":
            raise WrongState(f"rule {rule.name} is revoked already")
        revoked = replace(rule, state="revoked")
        await unit.nouns.replace(revoked)
        await unit.log.append(_event(Kind.RULE_REVOKED, caller, revoked, {}))
        return rule_document(revoked, await directory(unit))


async def get(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """One rule, by name or id. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        return rule_document(await _get(view, named), await directory(view))


async def list_all(deps: Deps, caller: PersonCaller) -> tuple[dict[str, Json], ...]:
    """Every rule, oldest first."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        known = await directory(view)
        return tuple(rule_document(rule, known) for rule in await view.nouns.all(Rule))


async def propose(deps: Deps, caller: PersonCaller, text: str) -> dict[str, Json]:
    """Rules from a policy document: a file to correct and apply, and each sentence with its rule or why it has none."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        # Not through the cache of decisions: a view may be older than what the next decision sees.
        authority = await load(view, await view.nouns.epoch())
    tools = [_offered(ref, one) for ref, one in sorted(authority.tools.items())]
    answers = [_fit(answer) for answer in draft(text, tools)]
    return {"file": written(answers), "sentences": answers}


def _offered(ref: str, known: ReviewedTool) -> Offered:
    """A tool as sentences may speak of it. One that reads is meant only where it is named: its verbs are everywhere."""
    review = known.review
    words = {*re.findall(r"[a-z]+", ref.partition("/")[2].lower()), *(word.lower() for word in review.intent)}
    counted = {limit.name: None if limit.of == "call" else limit.unit for limit in review.limits}
    return Offered(ref, frozenset(() if review.effect == "read" else words), counted, tuple(review.arguments))


def _fit(answer: dict[str, Json]) -> dict[str, Json]:
    """An answer whose rule could be applied as it stands; else why not."""
    if "rule" in answer:
        try:
            check_document("Rule", answer["rule"])
        except InvalidDocument as error:
            return {name: value for name, value in answer.items() if name != "rule"} | {"why": error.detail}
    return answer


def read_rule(document: Document, known: Directory) -> Rule:
    """A rule as its file has it; the members that only Remit sets are empty. Raises ``InvalidDocument``."""
    once, first, window = document.get("once"), document.get("first"), document.get("window")
    return Rule(
        org="",
        id="",
        name=str(document["name"]),
        says=str(document["says"]),
        tools=tuple(_reached(item, known, f"/tools/{at}") for at, item in enumerate(items(document["tools"]))),
        per=cast("Holder", document["per"]),
        agents=tuple(
            known.agent(name, f"/agents/{at}").id for at, name in enumerate(texts(document.get("agents", ())))
        ),
        window=_window(str(window)) if window is not None else None,
        ceiling=_ceiling(document.get("limit")),
        once=_once(once) if isinstance(once, Mapping) else None,
        first=_first(first) if isinstance(first, Mapping) else None,
        approvals=_approvals(document.get("approvals")),
        state="active",
        version=0,
        applied_by="",
        applied_at=0,
    )


def rule_document(rule: Rule, known: Directory) -> dict[str, Json]:
    """The rule as people read it."""
    out: dict[str, Json] = {
        "kind": "Rule",
        "apiVersion": "remit/v1",
        "id": rule.id,
        "name": rule.name,
        "says": rule.says,
        "tools": [_reached_document(line, known) for line in rule.tools],
        "per": rule.per,
    }
    if rule.agents:
        out["agents"] = [known.agents[agent].name for agent in rule.agents]
    if rule.window is not None:
        out["window"] = seconds_to_text(rule.window)
    if rule.ceiling is not None:
        out["limit"] = _ceiling_document(rule.ceiling)
    if rule.once is not None:
        out["once"] = {"by": list(rule.once.by)}
    if rule.first is not None:
        same: dict[str, Json] = {"same": dict(rule.first.same)} if rule.first.same else {}
        out["first"] = {"tools": list(rule.first.tools), **same}
    if rule.approvals is not None:
        above = rule.approvals.above
        over = {"above": _ceiling_document(above)} if above else {}
        out["approvals"] = {"persons": rule.approvals.persons, **over}
    person = known.people.get(rule.applied_by)
    return out | {
        "version": rule.version,
        "state": rule.state,
        "applied_by": person.email if person else rule.applied_by,
        "applied_at": to_text(rule.applied_at),
    }


def _ceiling_document(ceiling: Ceiling) -> dict[str, Json]:
    return {ceiling.name: _amount(ceiling.name, ceiling.most), **({"unit": ceiling.unit} if ceiling.unit else {})}


def _amount(name: str, amount: int) -> Json:
    return amount // amounts.ONE if name == CALLS else amounts.to_text(amount)


def _reached(item: Json, known: Directory, pointer: str) -> Reached:
    if isinstance(item, Mapping):
        server = item.get("server")
        effects = tuple(cast("Effect", effect) for effect in texts(item["effects"]))
        return Reached(
            server=known.server(str(server), f"{pointer}/server").id if server is not None else None, effects=effects
        )
    return Reached(ref=str(item))


def _reached_document(line: Reached, known: Directory) -> Json:
    if line.ref is not None:
        return line.ref
    of: dict[str, Json] = {"server": known.servers[line.server].name} if line.server is not None else {}
    return of | {"effects": list(line.effects)}


def _window(text: str) -> int:
    found = duration(text, "/window")
    if not MINUTE <= found <= LONGEST:
        raise InvalidDocument("a window is from a minute to 31 days", pointer="/window")
    return found


def _approvals(value: Json) -> Approvals | None:
    if not isinstance(value, Mapping):
        return None
    return Approvals(int(str(value["persons"])), _ceiling(value.get("above"), "/approvals/above"))


def _ceiling(value: Json, at: str = "/limit") -> Ceiling | None:
    if not isinstance(value, Mapping):
        return None
    names = [name for name in value if name != "unit"]
    if len(names) != 1:
        raise InvalidDocument("a rule limits one countable; write a rule for each", pointer=at)
    (name,) = names
    most, unit = amounts.ceiling(value[name], f"{at}/{name}"), value.get("unit")
    if name == CALLS and most % amounts.ONE:
        raise InvalidDocument("calls are counted whole", pointer=f"{at}/calls")
    return Ceiling(name, most, str(unit) if unit is not None else None)


def _once(value: Mapping[str, Json]) -> Once:
    by = tuple(texts(value["by"]))
    if len(by) > 1 and any("*" in pointer.split("/") for pointer in by):
        raise InvalidDocument("a key of several parts can't go through a list", pointer="/once/by")
    return Once(by)


def _first(value: Mapping[str, Json]) -> First:
    same = value.get("same", {})
    pairs = {here: str(there) for here, there in same.items()} if isinstance(same, Mapping) else {}
    return First(tuple(texts(value["tools"])), pairs)


def _check_versions(before: Rule | None, rule: Rule) -> None:
    if (rule.per == "team") and not rule.agents:
        raise InvalidDocument("a team is the agents that the rule names", pointer="/agents")
    if rule.first is not None and {line.ref for line in rule.tools} & set(rule.first.tools):
        raise InvalidDocument("a tool can't come before itself", pointer="/first/tools")
    if before is None:
        return
    if before.state != "active":
        raise WrongState(f"rule {rule.name} is revoked, and a name is not used again")
    if _counted_by(before) != _counted_by(rule):
        raise WrongState(
            f"rule {rule.name} would be counted otherwise than before, so from nothing again",
            hint="Apply it under a new name beside this one, then revoke this one.",
        )


def _check_approvers(rule: Rule, people: Iterable[Person]) -> None:
    if rule.approvals is None:
        return
    if rule.window is not None or rule.per != "organisation":
        raise InvalidDocument("what persons say is not counted: `per: organisation`, without a window", pointer="/per")
    there = sum(one.has("approver") for one in people)
    if there < rule.approvals.persons:
        raise InvalidDocument(
            f"{rule.approvals.persons} persons must say yes, and {there} may: no call would ever pass",
            hint="Give more people the role approver first. An agent's owner does not count while another can answer.",
            pointer="/approvals/persons",
        )


def _counted_by(rule: Rule) -> tuple[object, ...]:
    """What a rule's counts are kept under."""
    name = rule.ceiling.name if rule.ceiling else None
    by = rule.once.by if rule.once else None
    return name, by, rule.first is not None, rule.approvals is not None, rule.per, rule.window is None


def _check_counted(rule: Rule, tools: Mapping[str, ReviewedTool]) -> None:
    """A named tool must be reviewed, and count what is limited in the rule's unit; what comes later is refused then.

    A name that nothing has is a mistake that would bound nothing in silence.
    """
    for at, line in enumerate(rule.tools):
        if line.ref is not None and line.ref not in tools:
            raise InvalidDocument(f"{line.ref} is no reviewed tool", pointer=f"/tools/{at}")
    for at, ref in enumerate(rule.first.tools if rule.first else ()):
        if ref not in tools:
            raise InvalidDocument(f"{ref} is no reviewed tool", pointer=f"/first/tools/{at}")
    if rule.counted is None or rule.counted.name == CALLS:
        return
    for ref, one in sorted(tools.items()):
        if rule.reaches(ref, one.server.id, one.review.effect):
            _check_unit(rule.counted, ref, {limit.name: limit for limit in one.review.limits})


def _check_unit(ceiling: Ceiling, ref: str, counted: Mapping[str, LimitReview]) -> None:
    limit = counted.get(ceiling.name)
    if limit is None:
        raise InvalidDocument(
            f"the review of {ref} counts no {ceiling.name!r}, so this rule would refuse its every call",
            hint="Review it with that limit, or name the tools that have it.",
            pointer="/limit",
        )
    if (None if limit.of == "call" else limit.unit) != ceiling.unit:
        raise InvalidDocument(f"{ref} counts {ceiling.name!r} in {limit.unit or 'calls'}", pointer="/limit/unit")


async def check_signed(unit: Unit, tool: Tool, before: ToolReview, review: ToolReview) -> None:
    """A review may not take a tool out of a rule that reaches it, nor change what the rule counts. Raises ``Conflict``.

    Whoever signs reviews would else undo what an administrator signed, without a word of it.
    """
    counted = {limit.name: limit for limit in review.limits}
    for rule in await unit.nouns.all(Rule):
        if rule.state != "active" or not rule.reaches(tool.ref, tool.server, before.effect):
            continue
        kept = rule.reaches(tool.ref, tool.server, review.effect)
        if kept and (rule.counted is None or rule.counted.name == CALLS):
            continue
        held = [limit for limit in before.limits if rule.counted is not None and limit.name == rule.counted.name]
        if not kept or any(counted.get(limit.name) != limit for limit in held):
            raise Conflict(
                f"rule {rule.name} holds for {tool.ref} as it was reviewed, and would no longer",
                hint="Keep the effect and the limit, name the tool in the rule, or have the rule revoked first.",
            )


async def _get(unit: Unit, named: str) -> Rule:
    rule = await unit.nouns.named(Rule, named) or await unit.nouns.get(Rule, named)
    if rule is None:
        raise NotFound(f"there is no rule {named!r}")
    return rule


def _event(kind: Kind, caller: PersonCaller, rule: Rule, private: Mapping[str, Json]) -> EventDraft:
    return EventDraft(kind=kind, actor=caller.person.id, subject=caller.person.id, about=rule.id, private=private)
