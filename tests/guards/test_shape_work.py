"""No schema and no arguments decide how long we think: bombs are refused, recursion is answered at once."""

from collections.abc import Callable
from typing import Any, Final

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidDocument
from remit.guards.schema_work import levels
from remit.guards.shape import ArgumentShape

# Each test of this file would take minutes, or all memory, without the defence: its own bound is the assertion.
pytestmark = pytest.mark.timeout(10)

HERE: Final = {"$ref": "#/$defs/d0"}


def doubling(reference: Callable[[int], dict[str, Any]], generations: int) -> dict[str, Any]:
    """Definitions that each ask the next one twice."""
    defs: dict[str, Any] = {f"d{n}": {"anyOf": [reference(n + 1)] * 2} for n in range(generations)}
    return {**defs, f"d{generations}": {"type": "string"}}


def with_anchors(defs: dict[str, Any]) -> dict[str, Any]:
    return {name: {**one, "$anchor": name} for name, one in defs.items()}


SPELLINGS: Final[dict[str, Callable[[int], dict[str, Any]]]] = {
    "a pointer": lambda generations: {
        "properties": {"x": HERE},
        "$defs": doubling(lambda n: {"$ref": f"#/$defs/d{n}"}, generations),
    },
    "a pointer with an escape": lambda generations: {
        "properties": {"x": HERE},
        "$defs": doubling(lambda n: {"$ref": f"#/%24defs/d{n}"}, generations),
    },
    "an anchor": lambda generations: {
        "properties": {"x": {"$ref": "#d0"}},
        "$defs": with_anchors(doubling(lambda n: {"$ref": f"#d{n}"}, generations)),
    },
    "a place in a list": lambda generations: {
        "properties": {"x": {"$ref": "#/allOf/0/prefixItems/0"}},
        "allOf": [
            {
                "prefixItems": [
                    *({"anyOf": [{"$ref": f"#/allOf/0/prefixItems/{n + 1}"}] * 2} for n in range(generations)),
                    {"type": "string"},
                ]
            }
        ],
    },
    "a dynamic reference": lambda generations: {
        "properties": {"x": HERE},
        "$defs": doubling(lambda n: {"$dynamicRef": f"#/$defs/d{n}"}, generations),
    },
}


@pytest.mark.claim("input:pinned-shape")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_schema_that_multiplies_by_its_references_is_refused_however_they_are_spelt(spelling: str) -> None:
    with pytest.raises(InvalidDocument):
        ArgumentShape.compile(SPELLINGS[spelling](40))


@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if "dynamic" not in name])
def test_a_schema_that_multiplies_a_little_is_compiled(spelling: str) -> None:
    """The control: it is the size that is refused, not the form; the evaluator itself would take the large one too."""
    schema = SPELLINGS[spelling](4)
    shape = ArgumentShape.compile(schema)
    assert shape.check({"x": "text"}) == ()
    assert shape.check({"x": 1}) != ()
    assert jsonschema_rs.validator_for(SPELLINGS[spelling](8)).is_valid({"x": "text"})


@pytest.mark.parametrize("count", [150, 5_000])
def test_a_chain_of_references_does_not_run_us_out_of_stack(count: int) -> None:
    defs: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(count)}
    with pytest.raises(InvalidDocument):
        ArgumentShape.compile({"properties": {"x": HERE}, "$defs": {**defs, f"d{count}": {}}})
    short = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(20)} | {"d20": {"type": "string"}}
    assert ArgumentShape.compile({"properties": {"x": HERE}, "$defs": short}).check({"x": "a"}) == ()


def test_a_schema_that_is_wide_or_deep_beyond_reason_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"items": deep}
    wide: dict[str, Any] = {f"p{n}": {} for n in range(30_000)}
    for schema in ({"properties": wide}, {"properties": {"x": deep}}):
        with pytest.raises(InvalidDocument):
            ArgumentShape.compile(schema)


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"anyOf": [{"$ref": "#"}, {"type": "string"}]}]
)
def test_a_schema_that_is_nothing_but_itself_is_answered_or_refused(schema: dict[str, Any]) -> None:
    try:
        shape = ArgumentShape.compile(schema)
    except InvalidDocument:
        return
    assert isinstance(shape.check({"a": 1}), tuple)


# ------------------------------------------------------------------------------------------------------------ recursion


def branch(operator: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/F"}}, "op": {"const": operator}},
        "required": ["op"],
    }


def nested(value: Any, times: int, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(times):
        value = wrap(value)
    return {"f": value}


def under(operator: str) -> Callable[[Any], Any]:
    return lambda value: {"items": [value], "op": operator}


RECURSIVE: Final[dict[str, tuple[dict[str, Any], Callable[[Any], Any], Any, Any]]] = {
    "a filter of and and or": ({"anyOf": [branch("and"), branch("or")]}, under("and"), {"op": "or"}, {"op": "bad"}),
    "thirty kinds of blocks": (
        {"oneOf": [branch(f"b{n}") for n in range(30)]},
        under("b7"),
        {"op": "b9"},
        {"op": "bad"},
    ),
    "branches that are all alike": ({"anyOf": [branch("o")] * 5}, under("o"), {"op": "o"}, {"op": "bad"}),
    "a list": (
        {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/F"}, {"type": "null"}]}}},
        lambda value: {"next": value},
        {"next": None},
        {"next": 1},
    ),
    "a tree": (
        {"type": "object", "properties": {"name": {"type": "string"}, "below": {"items": {"$ref": "#/$defs/F"}}}},
        lambda value: {"name": "n", "below": [value]},
        {"name": "leaf"},
        {"name": 1},
    ),
}


@pytest.mark.parametrize("name", RECURSIVE)
@pytest.mark.parametrize("times", [0, 1, 5, 30])
def test_a_recursive_schema_is_answered_at_every_depth_yes_and_no(name: str, times: int) -> None:
    """An evaluator that is asked *why not* walks every branch anew at each level: 2^18 branches took 20 s."""
    definition, wrap, good, bad = RECURSIVE[name]
    shape = ArgumentShape.compile({"properties": {"f": {"$ref": "#/$defs/F"}}, "$defs": {"F": definition}})
    assert shape.check(nested(good, times, wrap)) == ()
    assert shape.check(nested(bad, times, wrap)) != ()


@pytest.mark.claim("input:pinned-shape")
@pytest.mark.parametrize("name", RECURSIVE)
@pytest.mark.parametrize("times", [0, 1, 5, 30])
def test_a_recursive_schema_is_closed_at_every_depth(name: str, times: int) -> None:
    definition, wrap, good, _ = RECURSIVE[name]
    schema = {"properties": {"f": {"$ref": "#/$defs/F"}}, "$defs": {"F": definition}}
    smuggled = nested({**good, "x": 1}, times, wrap)
    assert ArgumentShape.compile(schema).check(smuggled) != ()
    # The control: the schema as it was given lets it through, however deep.
    assert jsonschema_rs.validator_for(schema).is_valid(smuggled)


def test_a_recursive_schema_of_parts_is_answered_up_to_its_bound_and_refused_beyond() -> None:
    definition = {"allOf": [branch("o")] * 5}
    shape = ArgumentShape.compile({"properties": {"f": {"$ref": "#/$defs/F"}}, "$defs": {"F": definition}})
    assert shape.check(nested({"op": "o"}, 6, under("o"))) == ()
    assert shape.check(nested({"op": "bad"}, 6, under("o"))) != ()
    assert "levels" in shape.check(nested({"op": "o"}, 30, under("o")))[0].text


def test_a_fault_in_a_recursive_schema_is_named_where_it_stands_while_that_is_cheap() -> None:
    definition, wrap, _, bad = RECURSIVE["a tree"]
    shape = ArgumentShape.compile({"properties": {"f": {"$ref": "#/$defs/F"}}, "$defs": {"F": definition}})
    assert shape.check(nested(bad, 1, wrap))[0].pointer == "/f/below/0/name"


PATTERNS: Final = ("^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^([a-z]*)*$", "^(.*a){20}$")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_that_kills_backtracking_engines_is_answered(pattern: str) -> None:
    shape = ArgumentShape.compile({"properties": {"x": {"type": "string", "pattern": pattern}}})
    assert shape.check({"x": "a" * 100_000 + "!"}) != ()


@pytest.mark.parametrize("pattern", ["(?=a)b", "(a)\\1", "(a{1000}){1000}", "[", "(?<!x)y"])
def test_a_pattern_that_has_no_linear_form_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidDocument):
        ArgumentShape.compile({"properties": {"x": {"pattern": pattern}}})
    with pytest.raises(InvalidDocument):
        ArgumentShape.compile({"patternProperties": {pattern: {}}})


@given(st.integers(0, 40))
def test_levels_are_counted_as_the_reader_counts_them(count: int) -> None:
    value: Any = 1
    for turn in range(count):
        value = {"a": value} if turn % 2 else [value]
    assert levels(value) == count
    assert levels([]) == levels({}) == 0
