"""Which arguments are worth a try against policies: those that stand in their conditions, and what lies beside them.

Not a proof. Conditions compare arguments with literals, so a call that a set of policies lets through nearly always has
arguments at a literal or one step from it; where none of these passes, nothing is said.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from remit.core.canonical import Json
from remit.policy.examples import with_value
from remit.policy.lints import children

MOST: Final = 400
"""Sets of arguments that are proposed for one tool."""
_A_STEP: Final = Decimal("0.0001")
_MOST_VALUES: Final = 24


def proposals(
    base: Mapping[str, Json], bodies: Sequence[Mapping[str, Any]], known: Mapping[str, Sequence[str]]
) -> Iterator[Mapping[str, Json]]:
    """``base``, then ``base`` with values from the conditions in the arguments that they speak of.

    ``known`` has the JSON types that each argument may take, by pointer.
    """
    yield base
    texts, numbers = _literals(bodies)
    places = [pointer for pointer in dict.fromkeys(_spoken(bodies)) if pointer in known]
    choices = [list(_fitting(known[pointer], texts, numbers)) for pointer in places]
    for chosen in itertools.islice(itertools.product(*choices), MOST if places else 0):
        found: Json = base
        for pointer, new in zip(places, chosen, strict=True):
            found = with_value(found, pointer, new)
        if isinstance(found, Mapping):
            yield found


def _fitting(types: Sequence[str], texts: Sequence[str], numbers: Sequence[Decimal]) -> Iterator[Json]:
    if "boolean" in types:
        yield from (True, False)
    if "integer" in types or "number" in types:
        yield from (
            int(one) if one == one.to_integral_value() else one
            for one in numbers
            if "number" in types or one == one.to_integral_value()
        )
    if "string" in types or not types:
        yield from (*texts, *(format(one, "f") for one in numbers))


def _spoken(bodies: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The arguments that conditions look at, as pointers."""
    pending = list(bodies)
    while pending:
        one = pending.pop()
        names: list[str] = []
        operator, operand = next(iter(one.items()))
        while operator in {".", "has"}:
            names.append(operand["attr"])
            operator, operand = next(iter(operand["left"].items()))
        names.reverse()
        if (operator, operand) == ("Var", "context") and names[:1] == ["args"] and names[1:]:
            yield "/" + "/".join(name.replace("~", "~0").replace("/", "~1") for name in names[1:])
        else:
            pending.extend(children(one))


def _literals(bodies: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[Decimal]]:
    texts: dict[str, None] = {}
    numbers: dict[Decimal, None] = {}
    pending = list(bodies)
    while pending:
        one = pending.pop()
        match one:
            case {"Value": bool()}:
                pass
            case {"Value": int(number)}:
                numbers.update(dict.fromkeys(Decimal(one) for one in (number, number + 1, number - 1)))
            case {"Value": str(text)}:
                texts[text] = None
                exact = _decimal(text)
                if exact is not None:
                    numbers.update(dict.fromkeys((exact, exact + _A_STEP, exact - _A_STEP)))
            case {"like": {"pattern": list(pattern)}}:
                texts["".join(part["Literal"] if isinstance(part, Mapping) else "x" for part in pattern)] = None
                pending.extend(children(one))
            case _:
                pending.extend(children(one))
    return list(texts)[:_MOST_VALUES], list(numbers)[:_MOST_VALUES]


def _decimal(text: str) -> Decimal | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
