"""The pinned schema: what it does not list does not pass, however the schema is put together, and no schema is a bomb."""

from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidDocument
from remit.guards.shape import ArgumentShape

POINT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
DRAFTS = (
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
)


def compiled(schema: Any) -> ArgumentShape:
    """The shape of a schema as tests write them down."""
    return ArgumentShape.compile(schema)


# Schemas that all list one member ``a`` (of ``o``, where there is one) and so do not list ``x``.
CLOSED: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "plain": (POINT, {"a": 1}, {"a": 1, "x": 1}),
    "nothing listed": ({"type": "object"}, {}, {"x": 1}),
    "no type": ({"properties": {"a": {}}}, {"a": 1}, {"x": 1}),
    "nested": ({"properties": {"o": POINT}}, {"o": {"a": 1}}, {"o": {"a": 1, "x": 1}}),
    "in an array": ({"properties": {"o": {"items": POINT}}}, {"o": [{"a": 1}]}, {"o": [{"a": 1, "x": 1}]}),
    "in a tuple": ({"properties": {"o": {"prefixItems": [POINT]}}}, {"o": [{"a": 1}]}, {"o": [{"x": 1}]}),
    "allOf": ({"type": "object", "allOf": [POINT]}, {"a": 1}, {"a": 1, "x": 1}),
    "anyOf with null": (
        {"properties": {"o": {"anyOf": [POINT, {"type": "null"}]}}},
        {"o": {"a": 1}},
        {"o": {"a": 1, "x": 1}},
    ),
    "oneOf": ({"properties": {"o": {"oneOf": [POINT, {"type": "null"}]}}}, {"o": None}, {"o": {"x": 1}}),
    "a reference": (
        {"properties": {"o": {"$ref": "#/$defs/P"}}, "$defs": {"P": POINT}},
        {"o": {"a": 1}},
        {"o": {"a": 1, "x": 1}},
    ),
    "if and then": (
        {"properties": {"k": {}}, "if": {"properties": {"k": {"const": 1}}}, "then": {"properties": {"a": {}}}},
        {"k": 1, "a": 1},
        {"k": 1, "x": 1},
    ),
    "a reference or null": (
        {"properties": {"o": {"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]}}, "$defs": {"P": POINT}},
        {"o": {"a": 1}},
        {"o": {"a": 1, "x": 1}},
    ),
    "a reference to a union": (
        {"properties": {"o": {"$ref": "#/$defs/U"}}, "$defs": {"U": {"oneOf": [POINT, {"type": "null"}]}}},
        {"o": None},
        {"o": {"a": 1, "x": 1}},
    ),
    "a reference at the root": ({"$ref": "#/$defs/P", "$defs": {"P": POINT}}, {"a": 1}, {"a": 1, "x": 1}),
    "a reference beside members": (
        {"properties": {"o": {"$ref": "#/$defs/P", "properties": {"b": {}}}}, "$defs": {"P": POINT}},
        {"o": {"a": 1, "b": 1}},
        {"o": {"a": 1, "x": 1}},
    ),
    "an anchor": (
        {"properties": {"o": {"$ref": "#p"}}, "$defs": {"P": {"$anchor": "p", **POINT}}},
        {"o": {"a": 1}},
        {"o": {"a": 1, "x": 1}},
    ),
    "a pointer that is escaped": (
        {"properties": {"o": {"$ref": "#/%24defs/P~1Q"}}, "$defs": {"P/Q": POINT}},
        {"o": {"a": 1}},
        {"o": {"a": 1, "x": 1}},
    ),
    "nested in a branch": (
        {"properties": {"o": {"anyOf": [{"properties": {"p": POINT}}, {"type": "null"}]}}},
        {"o": {"p": {"a": 1}}},
        {"o": {"p": {"a": 1, "x": 1}}},
    ),
    "a dependent schema": (
        {"properties": {"k": {}}, "dependentSchemas": {"k": {"properties": {"a": {}}}}},
        {"k": 1, "a": 1},
        {"k": 1, "x": 1},
    ),
    "not": ({"properties": {"a": {}}, "not": {"required": ["b"]}}, {"a": 1}, {"x": 1}),
    "several types": ({"properties": {"o": {**POINT, "type": ["object", "null"]}}}, {"o": None}, {"o": {"x": 1}}),
    "values of a map": ({"additionalProperties": POINT}, {"k": {"a": 1}}, {"k": {"a": 1, "x": 1}}),
    "a pattern": ({"patternProperties": {"^a": {"type": "integer"}}}, {"ab": 1}, {"x": 1}),
}


@pytest.mark.claim("input:pinned-shape")
@pytest.mark.parametrize("name", CLOSED)
def test_a_member_that_the_schema_does_not_list_does_not_pass(name: str) -> None:
    schema, good, bad = CLOSED[name]
    shape = compiled(schema)
    assert shape.check(good) == ()
    assert shape.check(bad) != ()
    # The control: the schema as the server wrote it lets the unreviewed member through.
    assert jsonschema_rs.validator_for(schema).is_valid(bad)


@pytest.mark.claim("input:pinned-shape")
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("name", ["plain", "nested", "in an array", "allOf", "anyOf with null", "oneOf"])
def test_every_draft_is_closed(draft: str, name: str) -> None:
    schema, good, bad = CLOSED[name]
    shape = compiled({"$schema": draft, **schema})
    assert shape.check(good) == ()
    assert shape.check(bad) != ()


@pytest.mark.claim("input:pinned-shape")
@pytest.mark.parametrize("draft", DRAFTS[:4])
def test_every_draft_that_has_lists_of_items_is_closed_in_them(draft: str) -> None:
    shape = compiled({"$schema": draft, "type": "object", "properties": {"o": {"items": [POINT]}}})
    assert shape.check({"o": [{"a": 1}]}) == ()
    assert shape.check({"o": [{"a": 1, "x": 1}]}) != ()


@pytest.mark.claim("input:pinned-shape")
def test_the_bounds_of_an_early_draft_still_hold_in_its_own_words() -> None:
    """Draft 4 wrote ``exclusiveMinimum: true``, draft 7 ``dependencies``: the schema as it was given is asked too."""
    four = {"$schema": DRAFTS[0], "properties": {"a": {"minimum": 0, "exclusiveMinimum": True}}}
    assert compiled(four).check({"a": 1}) == ()
    assert compiled(four).check({"a": 0}) != ()
    seven = {"$schema": DRAFTS[2], "properties": {"a": {}, "b": {}}, "dependencies": {"a": ["b"]}}
    assert compiled(seven).check({"a": 1, "b": 1}) == ()
    assert compiled(seven).check({"a": 1}) != ()


# Where closing an inner schema would turn a no into a yes: it fails, so what asked for its failure holds.
TURNED: dict[str, tuple[dict[str, Any], Any]] = {
    "under not": (
        {"properties": {"o": {"type": "object"}}, "not": {"properties": {"o": {**POINT, "required": ["a"]}}}},
        {"o": {"a": 1, "x": 1}},
    ),
    "under if": (
        {
            "properties": {"o": {"type": "object"}},
            "if": {"properties": {"o": {**POINT, "required": ["a"]}}},
            "then": False,
        },
        {"o": {"a": 1, "x": 1}},
    ),
    "in one of two branches": (
        {
            "properties": {"o": {"type": "object"}},
            "oneOf": [{"properties": {"o": POINT}}, {"properties": {"o": {"properties": {"a": {}, "x": {}}}}}],
        },
        {"o": {"a": 1, "x": 1}},
    ),
    "in a count": (
        {"properties": {"o": {"contains": {**POINT, "required": ["a"]}, "minContains": 0, "maxContains": 1}}},
        {"o": [{"a": 1}, {"a": 1, "x": 1}]},
    ),
}


@pytest.mark.claim("input:pinned-shape")
@pytest.mark.parametrize("name", TURNED)
def test_closing_never_lets_through_what_the_pinned_schema_refuses(name: str) -> None:
    schema, bad = TURNED[name]
    assert not jsonschema_rs.validator_for(schema).is_valid(bad)
    assert compiled(schema).check(bad) != ()


plain_schemas = st.sampled_from([True, {}, {"type": "integer"}, {"const": 1}, {"type": "null"}, {"type": "object"}])
schemas: st.SearchStrategy[Any] = st.recursive(
    plain_schemas,
    lambda inner: st.one_of(
        st.builds(lambda a, b: {"type": "object", "properties": {"a": a, "b": b}}, inner, inner),
        st.builds(lambda one, required: {"properties": {"a": one}, "required": required}, inner, st.just(["a"])),
        st.builds(lambda key, one, two: {key: [one, two]}, st.sampled_from(["allOf", "anyOf", "oneOf"]), inner, inner),
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda one, two, three: {"if": one, "then": two, "else": three}, inner, inner, inner),
        st.builds(lambda one: {"items": one}, inner),
        st.builds(lambda one: {"contains": one, "maxContains": 1}, inner),
        st.builds(lambda one, two: {"anyOf": [one, {"$ref": "#/$defs/d"}], "properties": {"a": two}}, inner, inner),
        st.just({"$ref": "#/$defs/d"}),
    ),
    max_leaves=8,
)
instances: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, 1, 2, "t"]),
    lambda inner: st.dictionaries(st.sampled_from("abx"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.claim("input:pinned-shape")
@given(
    schemas,
    schemas,
    st.dictionaries(st.sampled_from("abx"), instances, max_size=3),
    st.sampled_from(DRAFTS[1:]),
)
def test_closing_only_narrows(member: Any, definition: Any, arguments: dict[str, Any], draft: str) -> None:
    schema = {"$schema": draft, "type": "object", "properties": {"a": member}, "$defs": {"d": definition}}
    shape = compiled(schema)
    if shape.check(arguments) == ():
        assert jsonschema_rs.validator_for(schema).is_valid(arguments)
        assert set(arguments) <= {"a"}


@pytest.mark.claim("input:pinned-shape")
@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4), st.text(max_size=8))
def test_a_listed_object_takes_exactly_its_members(listed: dict[str, int], other: str) -> None:
    shape = compiled({"type": "object", "properties": {name: {"type": "integer"} for name in listed}})
    assert shape.check(listed) == ()
    assert (shape.check({**listed, other: 1}) == ()) is (other in listed)
    assert all(shape.check({name: "text"}) != () for name in listed)


def test_a_schema_that_opens_itself_stays_open() -> None:
    """The reviewer signed that: ``additionalProperties: true`` stands in the pinned bytes."""
    for opening in ({"additionalProperties": True}, {"additionalProperties": {"type": "integer"}}):
        assert compiled({**POINT, **opening}).check({"a": 1, "x": 1}) == ()
    assert compiled({**POINT, "additionalProperties": {"type": "integer"}}).check({"x": "1"}) != ()


REFUSED: tuple[Any, ...] = (
    None,
    True,
    [],
    "x",
    {"type": "string"},
    {"properties": {"x": {"$ref": "http://evil.test/x"}}},
    {"properties": {"x": {"$ref": "other.json"}}},
    {"properties": {"x": {"$dynamicRef": "http://evil.test/#x"}}},
    {"properties": {"x": {"$dynamicRef": "#x"}}, "$defs": {"x": {"$dynamicAnchor": "x"}}},
    {"properties": {"x": {"$recursiveRef": "#"}}},
    {"properties": {"x": {"$ref": "file:///etc/passwd"}}},
    {"properties": {"x": {"$ref": "//evil.test/x"}}},
    {"properties": {"x": {"$ref": ""}}},
    {"properties": {"x": {"allOf": [{"items": {"not": {"$ref": "http://evil.test/x"}}}]}}},
    {"$defs": {"unused": {"$ref": "http://evil.test/x"}}},
    {"dependencies": {"a": {"$ref": "http://evil.test/x"}}},
    {"$schema": "https://evil.test/meta"},
    {"$ref": "#nowhere"},
    {"properties": {"x": {"$ref": "#/properties/x/items/9"}}},
    {"remit:closed": {"0": {}}},
    {"type": ["object", "null"]},
    {"properties": {"x": {"enum": []}}, "required": "x"},
    {"properties": {"x": {"$ref": 5}}},
    {"properties": {"x": {"$ref": "#/nowhere"}}},
    {"properties": {"x": {"type": "nope"}}},
    {"properties": {"x": {"pattern": "("}}},
    {"properties": {"x": {"$id": "http://evil.test/", "type": "string"}}},
    {"properties": 5},
)


@pytest.mark.parametrize("schema", REFUSED, ids=str)
def test_a_schema_that_is_unusable_or_speaks_of_elsewhere_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidDocument):
        compiled(schema)


def test_an_object_that_lists_nothing_below_the_root_is_free_as_its_reviewer_read() -> None:
    for schema in (
        {"type": "object"},
        {"$ref": "#/$defs/free"},
        {"anyOf": [{"type": "object"}, {"type": "string"}]},
        True,
    ):
        shape = compiled({"properties": {"o": schema}, "$defs": {"free": {"type": "object"}}})
        assert shape.check({"o": {"any": 1}}) == ()
        assert shape.check({"any": 1}) != ()


def test_what_only_looks_like_a_reference_is_a_value() -> None:
    schema = {"properties": {"$ref": {"type": "string"}, "x": {"const": {"$ref": "http://evil.test/"}}}}
    shape = compiled(schema)
    assert shape.check({"$ref": "text", "x": {"$ref": "http://evil.test/"}}) == ()
    assert shape.check({"x": {}}) != ()


def test_what_is_required_must_be_there_and_false_admits_nothing() -> None:
    shape = compiled({"properties": {"a": {}, "b": False}, "required": ["a"]})
    assert shape.check({"a": None}) == ()
    assert [bool(shape.check(bad)) for bad in ({}, {"a": 1, "b": None})] == [True, True]


def test_exact_numbers_are_compared_exactly() -> None:
    shape = compiled({"properties": {"n": {"maximum": 100}, "c": {"multipleOf": 0.01}, "i": {"type": "integer"}}})
    assert shape.check({"n": Decimal(100), "c": Decimal("19.99"), "i": Decimal("1.0")}) == ()
    for bad in ({"n": Decimal("100.00000000000000001")}, {"c": Decimal("19.999")}, {"i": Decimal("1.5")}):
        assert shape.check(bad) != ()


def test_a_fault_names_where_and_hides_nothing() -> None:
    shape = compiled({"properties": {"a/b": {"items": {"type": "integer"}}}})
    fault = shape.check({"a/b": [1, "evil\u202e\x1b[31m" + "x" * 500]})[0]
    assert fault.pointer == "/a~1b/1"
    assert len(fault.text) <= 80
    assert not {"\u202e", "\x1b"} & set(fault.text)
    assert shape.check([]) != ()
    assert shape.check("x") != ()
