"""What is unwise or refused about a policy that Cedar itself accepts, read from its tree.

A lint is advice; ``master_key`` is an error. The walk knows the node kinds of Cedar's JSON form; the keys of a record
literal are an author's words and are never taken for one.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

Est: TypeAlias = Mapping[str, Any]

# How each comparison reads with its left side as the subject.
_BELOW: Final = frozenset({"<", "<=", "lessThan", "lessThanOrEqual"})
_ABOVE: Final = frozenset({">", ">=", "greaterThan", "greaterThanOrEqual"})
_OPERANDS: Final = ("left", "right", "arg", "if", "then", "else", "in")


Path: TypeAlias = tuple[str, ...]


def lint_policy(policy: Est, listed: frozenset[Path]) -> tuple[str, ...]:
    """Advice on one operator policy. ``listed`` are the arguments that any tool has, as ``("context", "args", …)``."""
    found = list(_ceilings(policy))
    asked = {path for clause in policy["conditions"] for path in _asked(clause["body"])}
    # The validator takes these, so a misspelt name behind `has` makes a forbid that never holds.
    found += [f"no reviewed tool has {'.'.join(path)}, so this is never there" for path in sorted(asked - listed)]
    if policy["effect"] == "permit":
        found.append("a permit here allows nothing by itself: only grants allow, and policies can only forbid")
    return tuple(found)


def lint_expression(body: Est) -> tuple[str, ...]:
    """Advice on a grant's condition."""
    return tuple(_ceilings({"effect": "permit", "conditions": [{"kind": "when", "body": body}]}))


def master_key(policy: Est) -> bool:
    """Whether this is a permit on approval that is not scoped to tools or effects: one yes would open everything."""
    if policy["effect"] != "permit" or not any(names_approval(clause["body"]) for clause in policy["conditions"]):
        return False
    scope = policy["action"]
    entities = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    return not entities or any("/" not in one["id"] and not one["id"].startswith("effect:") for one in entities)


def names_approval(expression: Est) -> bool:
    """Whether an expression can depend on the approval: it names it, or uses the context as a whole."""
    operator, operand = _node(expression)
    if operator in {".", "has"} and operand["left"] == {"Var": "context"}:
        return bool(operand["attr"] == "approval")
    if operator == "Var":
        return bool(operand == "context")
    return any(names_approval(child) for child in children(expression))


def children(expression: Est) -> Iterator[Est]:
    """The expressions directly under one."""
    operator, operand = _node(expression)
    if operator in {"Value", "Var", "Slot"}:
        return
    if operator == "Record":
        yield from operand.values()
    elif isinstance(operand, list):
        yield from operand
    else:
        yield from (operand[name] for name in _OPERANDS if isinstance(operand.get(name), Mapping))


def _node(expression: Est) -> tuple[str, Any]:
    return next(iter(expression.items()))


def _ceilings(policy: Est) -> Iterator[str]:
    """Each argument that is held from above only: ``amount <= 100`` lets -5 through."""
    above: set[Path] = set()
    below: set[Path] = set()
    for clause in policy["conditions"]:
        # What a permit's `when` says is what is let through; a forbid's, and a permit's `unless`, what is not.
        lets = (policy["effect"] == "permit") == (clause["kind"] == "when")
        for path, is_below in _comparisons(clause["body"], lets=lets):
            (above if is_below else below).add(path)
    for path in sorted(above - below):
        name = ".".join(path)
        yield f"{name} is held from above only, so a negative value passes: say what it must be at least"


def _comparisons(expression: Est, *, lets: bool) -> Iterator[tuple[Path, bool]]:
    """Each argument compared, and whether what is let through lies below the other side."""
    operator, operand = _node(expression)
    if operator in _BELOW | _ABOVE:
        left, right = operand if isinstance(operand, list) else (operand["left"], operand["right"])
        below = (operator in _BELOW) == lets
        yield from ((path, is_below) for side, is_below in ((left, below), (right, not below)) if (path := _path(side)))
    for child in children(expression):
        yield from _comparisons(child, lets=lets != (operator == "!"))


def _asked(expression: Est) -> Iterator[Path]:
    """Each argument that ``has`` asks for."""
    operator, operand = _node(expression)
    if operator == "has" and (holder := _path(operand["left"])):
        yield (*holder, operand["attr"])
    for child in children(expression):
        yield from _asked(child)


def _path(expression: Est) -> Path:
    """``("context", "args", …)`` of a plain member access into the arguments, else empty."""
    names: list[str] = []
    operator, operand = _node(expression)
    while operator == ".":
        names.append(operand["attr"])
        operator, operand = _node(operand["left"])
    path = ("context", *reversed(names))
    return path if operator == "Var" and operand == "context" and path[1:2] == ("args",) else ()
