"""Which operator policies can matter to one principal and one tool, told from their scopes alone.

A policy is left out only when its scope can't match; in doubt it stays. Agents, people and servers have nothing above
them in the schema and a tool has just its two groups, so ``in`` an entity is the entity itself or, for the action, a
group. A differential test holds every slice against the whole set.
"""

from collections.abc import Mapping
from typing import Any

from remit.policy.schema import ACTION, groups
from remit.policy.terms import ToolFacts


def may_apply(policy: Mapping[str, Any], principal: tuple[str, str], facts: ToolFacts) -> bool:
    """Whether the scope of ``policy`` can match ``principal`` (type, id) calling the tool of ``facts``."""
    return _principal_may(policy["principal"], principal) and _action_may(policy["action"], facts)


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
