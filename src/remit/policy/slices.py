"""Which operator policies can matter to one principal and one tool, told from their scopes alone, and what they read.

A policy is left out only when its scope can't match; in doubt it stays. Agents, people and servers have nothing above
them in the schema and a tool has just its two groups, so ``in`` an entity is the entity itself or, for the action, a
group. A condition may speak of others than those who take part (``Remit::Agent::"…" has owner``), and to the engine an
entity that is left out has nothing: a forbid over it would be silently false. So what is named comes along. A
differential test holds every slice against the whole set.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from remit.policy.lints import children
from remit.policy.schema import ACTION, groups
from remit.policy.terms import ToolFacts


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
