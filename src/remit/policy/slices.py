"""Which operator policies can matter to one principal and one tool, told from their scopes alone, and what they read.

What they read of the context decides how long an answer is good: two questions that agree in every place that some
condition can look at have one answer. None is kept where the time of day or the context as a whole is looked at.

A policy is left out only when its scope can't match; in doubt it stays. Agents, people and servers have nothing above
them in the schema and a tool has just its two groups, so ``in`` an entity is the entity itself or, for the action, a
group. A condition may speak of others than those who take part (``Remit::Agent::"…" has owner``), and to the engine an
entity that is left out has nothing: a forbid over it would be silently false. So what is named comes along. A
differential test holds every slice against the whole set.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from remit.policy.lints import children
from remit.policy.schema import ACTION, groups
from remit.policy.terms import PolicyContext, ToolFacts

Place: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[Hashable, ...]

# Stands for whatever a scope leaves open. No text and no pair is equal to it.
_ANY: Final = None

_SEEN: Final[Mapping[Place, Callable[[PolicyContext], Hashable]]] = {
    ("args",): lambda context: context.args.key or _digest(context.args.value),
    ("session", "integrity"): lambda context: context.integrity,
    ("session", "confidentiality"): lambda context: context.confidentiality,
    ("session", "intents"): lambda context: context.intents,
    ("session", "calls"): lambda context: context.calls,
    ("chain",): lambda context: context.chain,
    ("approval",): lambda context: (context.approval_present, context.approval_by),
    ("provenance",): lambda _: (),
    ("inputs",): lambda context: context.inputs,
}


class ScopeIndex:
    """Policies by what their scopes name, so that a question finds its own among a hundred thousand."""

    def __init__(self, policies: Sequence[Mapping[str, Any]]) -> None:
        """In the order in which the policies are given, which is kept."""
        self._policies = policies
        self._places: dict[tuple[Hashable, Hashable], list[int]] = {}
        for place, policy in enumerate(policies):
            for action in _action_keys(policy["action"]):
                self._places.setdefault((_principal_key(policy["principal"]), action), []).append(place)

    def of(self, principal: tuple[str, str], facts: ToolFacts) -> list[int]:
        """The places of all policies whose scope can match ``principal`` (type, id) calling the tool of ``facts``."""
        who = (principal, principal[0], _ANY)
        what = (facts.ref, *groups(facts), _ANY)
        found = {place for one in who for other in what for place in self._places.get((one, other), ())}
        return [place for place in sorted(found) if may_apply(self._policies[place], principal, facts)]


def may_apply(policy: Mapping[str, Any], principal: tuple[str, str], facts: ToolFacts) -> bool:
    """Whether the scope of ``policy`` can match ``principal`` (type, id) calling the tool of ``facts``."""
    return _principal_may(policy["principal"], principal) and _action_may(policy["action"], facts)


def named(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The entities (type, id) that the conditions of ``policy`` name."""
    pending = [clause["body"] for clause in policy["conditions"]]
    while pending:
        expression = pending.pop()
        match expression:
            case {"Value": {"__entity": {"type": kind, "id": name}}}:
                yield kind, name
            case _:
                pending.extend(children(expression))


def places_read(bodies: Iterable[Mapping[str, Any]]) -> tuple[Place, ...] | None:
    """Every place of the context that these conditions can look at; None for the time, or for all of it."""
    found: set[Place] = set()
    for body in bodies:
        for path in _paths(body):
            place = path[:2] if path[:1] == ("session",) else path[:1]
            if place not in _SEEN:
                return None
            found.add(place)
    return tuple(sorted(found))


def seen(places: Iterable[Place], context: PolicyContext) -> Key:
    """What stands in these places: equal for two contexts that conditions which read no others can't tell apart."""
    return tuple(_SEEN[place](context) for place in places)


def _paths(expression: Mapping[str, Any]) -> Iterator[Place]:
    """Each way from the context down that an expression goes, as far as it is plain member access."""
    pending = [expression]
    while pending:
        one = pending.pop()
        path = _path(one)
        if path is None:
            pending.extend(children(one))
        else:
            yield path


def _path(expression: Mapping[str, Any]) -> Place | None:
    names: list[str] = []
    operator, operand = next(iter(expression.items()))
    while operator in {".", "has"}:
        names.append(operand["attr"])
        operator, operand = next(iter(operand["left"].items()))
    return tuple(reversed(names)) if (operator, operand) == ("Var", "context") else None


def _digest(value: object) -> bytes:
    # Hashed, so that what a model sent is not what is kept. Cedar's JSON has no floats and no spellings.
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def _principal_key(scope: Mapping[str, Any]) -> Hashable:
    match scope:
        case {"op": "==" | "in", "entity": {"type": kind, "id": name}}:
            return (kind, name)
        case {"op": "is", "entity_type": kind}:
            return str(kind)
        case _:
            return _ANY


def _action_keys(scope: Mapping[str, Any]) -> Iterable[Hashable]:
    match scope:
        case {"op": "==" | "in", "entity": {"id": name}}:
            return [str(name)]
        case {"op": "in", "entities": entities}:
            return {str(entity["id"]) for entity in entities}
        case _:
            return [_ANY]


def _principal_may(scope: Mapping[str, Any], principal: tuple[str, str]) -> bool:
    match scope:
        case {"op": "==" | "in", "entity": {"type": kind, "id": name}}:
            return (kind, name) == principal
        case {"op": "is", "entity_type": kind}:
            return bool(kind == principal[0])
        case _:
            return True


def _action_may(scope: Mapping[str, Any], facts: ToolFacts) -> bool:
    match scope:
        case {"op": "==", "entity": {"type": kind, "id": name}}:
            return (kind, name) == (ACTION, facts.ref)
        case {"op": "in", "entity": entity}:
            return _above(entity, facts)
        case {"op": "in", "entities": entities}:
            return any(_above(entity, facts) for entity in entities)
        case _:
            return True


def _above(entity: Mapping[str, Any], facts: ToolFacts) -> bool:
    return entity["type"] == ACTION and entity["id"] in (facts.ref, *groups(facts))
