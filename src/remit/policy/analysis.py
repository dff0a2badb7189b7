"""Whether any call at all could pass a set of policies: conditions as formulas, solved by z3 where it is installed.

The formulas allow more than Cedar does, never less: an expression that is not translated is free to be true or false
(the same one always alike), an argument that may be absent is taken as present, numbers have no bounds. So *no* is a
proof that nothing passes, and an example is only a proposal. Cedar refuses what errs, and so does Remit, which only
makes the true set smaller.

An extra (``pip install remit[reach]``); without it nothing is proved.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from remit.core.canonical import Json
from remit.policy.cedar import Est

_MILLISECONDS: Final = 2_000
_MOST_NODES: Final = 5_000
_ORDERS: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_DECIMALS: Final = {
    "lessThan": "lt",
    "lessThanOrEqual": "le",
    "greaterThan": "gt",
    "greaterThanOrEqual": "ge",
}


@dataclass(frozen=True, slots=True)
class Stand:
    """What one member of a chain stands before: permits of which one must hold, and forbids of which none may.

    Each is a policy in Cedar's JSON form, whose scope fits. ``permits`` is None for who needs none.
    """

    permits: Sequence[Est] | None
    forbids: Sequence[Est]


@dataclass(frozen=True, slots=True)
class Example:
    """Arguments that satisfy the formulas, by pointer."""

    arguments: Mapping[str, Json]


def could_pass(stands: Iterable[Stand]) -> Example | bool | None:
    """An example of what may pass, False if nothing can, None if it can't be told (or z3 is not there)."""
    try:
        import z3  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, and slow to load
    except ImportError:
        return None
    terms = _Terms(z3)
    solver = z3.Solver()
    solver.set("timeout", _MILLISECONDS)
    try:
        for stand in stands:
            if stand.permits is not None:
                solver.add(z3.Or([terms.holds(policy) for policy in stand.permits]))
            for policy in stand.forbids:
                solver.add(z3.Not(terms.holds(policy)))
    except _TooMuch:
        return None
    solver.add(*terms.known)
    found = solver.check()
    if found == z3.unsat:
        return False
    return Example(terms.arguments(solver.model())) if found == z3.sat else None


class _TooMuch(Exception):
    """More than is translated."""


@dataclass
class _Terms:
    """Cedar expressions as terms of z3, each variable made once."""

    z3: Any
    known: list[Any] = field(default_factory=list)
    _variables: dict[tuple[str, str], Any] = field(default_factory=dict)
    _nodes: int = 0

    def holds(self, policy: Est) -> Any:
        """Whether all its clauses do."""
        clauses = [(clause["kind"] == "when", self.truth(clause["body"])) for clause in policy["conditions"]]
        return self.z3.And([body if when else self.z3.Not(body) for when, body in clauses])

    def truth(self, one: Est) -> Any:  # noqa: C901 - one line for each operator
        """A boolean expression."""
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _TooMuch
        match one:
            case {"Value": bool(value)}:
                return self.z3.BoolVal(value)
            case {"&&": {"left": left, "right": right}}:
                return self.z3.And(self.truth(left), self.truth(right))
            case {"||": {"left": left, "right": right}}:
                return self.z3.Or(self.truth(left), self.truth(right))
            case {"!": {"arg": inner}}:
                return self.z3.Not(self.truth(inner))
            case {"if-then-else": {"if": test, "then": yes, "else": no}}:
                return self.z3.If(self.truth(test), self.truth(yes), self.truth(no))
            case {"==": {"left": left, "right": right}}:
                return self._equal(one, left, right)
            case {"!=": {"left": left, "right": right}}:
                return self.z3.Not(self._equal({"==": {"left": left, "right": right}}, left, right))
            case {"like": {"left": left, "pattern": list(pattern)}}:
                return self._like(one, left, pattern)
            case {"contains": {"left": {"Set": list(members)}, "right": right}}:
                return self.z3.Or([self._equal({"==": [one, item]}, right, item) for item in members])
        return self._ordered(one)

    def _ordered(self, one: Est) -> Any:
        operator, operand = next(iter(one.items()))
        if operator in _ORDERS and isinstance(operand, Mapping):
            left, right = self._number(operand["left"]), self._number(operand["right"])
            return self._compared(one, _ORDERS[operator], left, right)
        if operator in _DECIMALS and isinstance(operand, list):
            left, right = (self._decimal(side) for side in operand)
            return self._compared(one, _DECIMALS[operator], left, right)
        path = _path(one)
        return self._variable(path, "Bool") if path is not None else self._free(one)

    def _compared(self, one: Est, order: str, left: Any, right: Any) -> Any:
        if left is None or right is None:
            return self._free(one)
        return {"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}[order]

    def _equal(self, one: Est, left: Est, right: Est) -> Any:
        for value, other in ((left, right), (right, left)):
            path = _path(other)
            match value:
                case {"Value": bool(literal)} if path is not None:
                    return self._variable(path, "Bool") == self.z3.BoolVal(literal)
                case {"Value": int(literal)} if path is not None:
                    return self._variable(path, "Int") == literal
                case {"Value": str(literal)} if path is not None:
                    return self._variable(path, "String") == self.z3.StringVal(literal)
                case {"decimal": [{"Value": str(literal)}]} if path is not None:
                    return self._variable(path, "Real") == self.z3.RealVal(literal)
        return self._free(one)

    def _like(self, one: Est, left: Est, pattern: Sequence[Any]) -> Any:
        path = _path(left)
        if path is None:
            return self._free(one)
        anything = self.z3.Star(self.z3.AllChar(self.z3.ReSort(self.z3.StringSort())))
        parts = [self.z3.Re(part["Literal"]) if isinstance(part, Mapping) else anything for part in pattern]
        if not parts:
            return self._variable(path, "String") == self.z3.StringVal("")
        return self.z3.InRe(self._variable(path, "String"), parts[0] if len(parts) == 1 else self.z3.Concat(*parts))

    def _number(self, one: Est) -> Any:
        match one:
            case {"Value": bool()}:
                return None
            case {"Value": int(literal)}:
                return self.z3.IntVal(literal)
        path = _path(one)
        return self._variable(path, "Int") if path is not None and path[-1] != "now" else None

    def _decimal(self, one: Est) -> Any:
        match one:
            case {"decimal": [{"Value": str(literal)}]}:
                return self.z3.RealVal(literal)
        path = _path(one)
        return self._variable(path, "Real") if path is not None else None

    def _free(self, one: object) -> Any:
        """What is not translated: true or false as it likes, but always the same."""
        return self._variable(("expression", json.dumps(one, sort_keys=True, default=str)), "Bool")

    def _variable(self, path: tuple[str, ...], sort: str) -> Any:
        key = ("/".join(path), sort)
        if key not in self._variables:
            made = self._variables[key] = getattr(self.z3, sort)(f"{sort}:{key[0]}")
            if path == ("session", "integrity") and sort == "String":
                self.known.append(self.z3.Or(made == "trusted", made == "untrusted"))
        return self._variables[key]

    def arguments(self, model: Any) -> dict[str, Json]:
        """The arguments of a model, by pointer."""
        found: dict[str, Json] = {}
        for (name, sort), variable in self._variables.items():
            path = name.split("/")
            value = model.eval(variable)
            if path[0] == "args" and len(path) == 2 and value.num_args() == 0:  # noqa: PLR2004 - a member of the arguments
                literal = _literal(self.z3, sort, value)
                if literal is not None:
                    found["/" + path[1].replace("~", "~0")] = literal
        return found


def _literal(z3: Any, sort: str, value: Any) -> Json:
    if sort == "String" and z3.is_string_value(value):
        return str(value.as_string())
    if sort == "Int" and z3.is_int_value(value):
        return int(value.as_long())
    if sort == "Real" and z3.is_rational_value(value):
        exact = Decimal(value.numerator_as_long()) / Decimal(value.denominator_as_long())
        return int(exact) if exact == exact.to_integral_value() else round(exact, 4)
    if sort == "Bool" and (z3.is_true(value) or z3.is_false(value)):
        return bool(z3.is_true(value))
    return None


def _path(one: Est) -> tuple[str, ...] | None:
    """The way from the context down to a member, if an expression is just that."""
    names: list[str] = []
    operator, operand = next(iter(one.items()))
    while operator == ".":
        names.append(operand["attr"])
        operator, operand = next(iter(operand["left"].items()))
    plain = (operator, operand) == ("Var", "context") and names and not any("/" in name for name in names)
    return tuple(reversed(names)) if plain else None
