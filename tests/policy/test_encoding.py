"""The encoding of arguments, exactly as INTERFACES section 7 has it, and what can't be encoded."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.canonical import Json, canonical
from remit.core.errors import Malformed
from remit.guards.json_in import parse
from remit.policy.cedar import Bench, load_schema
from remit.policy.encoding import (
    MAX_DEPTH,
    Bytes,
    CedarType,
    RecordOf,
    Unencodable,
    argument_types,
    attribute_name,
    encode_arguments,
)
from remit.policy.schema import tool_schema
from remit.policy.terms import CedarJson
from tests.policy.made import ask, engine, facts

TEXT: Json = {"type": "string"}


def one(schema: Json, value: Json, *, money: bool = False) -> CedarJson:
    """How ``value`` of an argument with this schema reaches policy."""
    return encode_arguments(facts(properties={"x": schema}, money=["/x"] if money else []), {"x": value}).value["x"]


def kind(schema: Json) -> CedarType:
    return argument_types(facts(properties={"x": schema})).members["x"].type


def dec(text: str) -> dict[str, Any]:
    return {"__extn": {"fn": "decimal", "arg": text}}


@pytest.mark.parametrize(
    ("schema", "value", "encoded"),
    [
        (TEXT, "a", "a"),
        (TEXT, "", ""),
        (TEXT, "é\u0301\u202e", "é\u0301\u202e"),
        ({"type": "boolean"}, True, True),
        ({"type": "boolean"}, False, False),
        ({"type": "integer"}, 5, 5),
        ({"type": "integer"}, 2**63 - 1, 2**63 - 1),
        ({"type": "integer"}, -(2**63), -(2**63)),
        ({"type": "integer"}, Decimal("5.0"), 5),
        ({"type": "number"}, 5, dec("5.0")),
        ({"type": "number"}, Decimal("1.2345"), dec("1.2345")),
        ({"type": ["string", "null"]}, "a", "a"),
        ({"anyOf": [TEXT, {"type": "null"}]}, "a", "a"),
        ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, 4, 4),
        ({"allOf": [TEXT]}, "a", "a"),
        ({"type": "string", "enum": ["a", "b"]}, "a", "a"),
        ({"type": "array", "items": TEXT}, ["a", "b"], ["a", "b"]),
        ({"type": "array", "items": TEXT}, [], []),
        ({"type": "array", "items": {"type": "integer"}}, [1, 1], [1, 1]),
        ({"type": "array", "items": {"type": "number"}}, [1, Decimal("0.5")], [dec("1.0"), dec("0.5")]),
        ({"type": "object", "properties": {"a": TEXT}}, {"a": "x"}, {"a": "x"}),
        ({"type": "object", "properties": {"a": TEXT}}, {}, {}),
        ({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": TEXT}}}}, {"a": {"b": "x"}}, {"a": {"b": "x"}}),
    ],
)  # fmt: skip
def test_what_cedar_has_a_type_for_is_that_type(schema: Json, value: Json, encoded: CedarJson) -> None:
    assert one(schema, value) == encoded


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": ["string", "integer"]}, "a"),
        ({"type": ["string", "integer"]}, 5),
        ({"anyOf": [TEXT, {"type": "integer"}]}, 5),
        ({"type": "object"}, {"b": 1, "a": Decimal("1.50")}),
        ({"type": "object", "properties": {}}, {}),
        ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": True}, {"a": "x", "b": 1}),
        ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT}, {"a": "x", "b": "y"}),
        ({"type": "object", "properties": {"a": TEXT}, "patternProperties": {"^b": TEXT}}, {"a": "x"}),
        ({"type": "array"}, [1, "a", None]),
        ({"type": "array", "items": {"type": ["string", "integer"]}}, [1, "a"]),
        ({"type": "array", "items": {"type": ["string", "null"]}}, ["a", None]),
        ({"type": "array", "items": {"type": "object", "properties": {"a": TEXT}}}, [{"a": "x"}]),
        ({"type": "array", "items": {"type": "array", "items": TEXT}}, [["a"]]),
        ({"type": "array", "prefixItems": [TEXT], "items": TEXT}, ["a"]),
        ({"type": "array", "items": True}, [1]),
        ({"enum": ["a", 1]}, "a"),
        ({"const": 5}, 5),
        ({}, {"__entity": {"type": "Remit::Agent", "id": "x"}}),
        (True, [1]),
        ({"$ref": "#/$defs/nowhere"}, "a"),
        ({"$ref": "#"}, {"x": "a"}),
    ],
)
def test_what_cedar_has_no_type_for_is_a_string_of_its_canonical_bytes(schema: Json, value: Json) -> None:
    assert kind(schema) == Bytes()
    assert one(schema, value) == canonical(value).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [("100.00", "100.0"), (100, "100.0"), (Decimal("0.10"), "0.1"), ("-5", "-5.0")],
)
@pytest.mark.parametrize("schema", [TEXT, {"type": "integer"}, {"type": "number"}, {"type": ["string", "number"]}, {}])
def test_money_is_a_decimal_whatever_its_schema(schema: Json, value: Json, text: str) -> None:
    assert one(schema, value, money=True) == dec(text)


@pytest.mark.parametrize("value", ["1,000.00", "1e2", "EUR 5", "", "0.00001", True, [], {}, "\u0665"])
def test_money_that_is_no_plain_amount_is_refused(value: Json) -> None:
    with pytest.raises(Unencodable):
        one({}, value, money=True)


def test_money_in_an_array_and_in_a_record_is_found_by_its_pointer() -> None:
    schema: Json = {"type": "object", "properties": {"a/b": TEXT, "list": {"type": "array", "items": TEXT}}}
    tool = facts(properties={"x": schema}, money=["/x/a~1b", "/x/list/*"])
    value = encode_arguments(tool, {"x": {"a/b": "5", "list": ["1.5", 2]}}).value
    assert value == {"x": {"a/b": dec("5.0"), "list": [dec("1.5"), dec("2.0")]}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": ["string", "null"]},
        {"anyOf": [TEXT, {"type": "null"}]},
        {"enum": ["a", None]},
        {"const": None},
        {},
        True,
        {"anyOf": [{"type": ["integer", "null"]}, TEXT]},
    ],
)
def test_a_null_that_the_schema_allows_is_absent(schema: Json) -> None:
    assert encode_arguments(facts(properties={"x": schema}), {"x": None}).value == {}
    required = facts(schema={"type": "object", "properties": {"x": schema}, "required": ["x"]})
    assert encode_arguments(required, {"x": None}).value == {}
    with pytest.raises(Unencodable):
        encode_arguments(required, {})


@pytest.mark.parametrize(
    "schema", [TEXT, {"type": "object"}, {"type": ["string", "integer"]}, {"const": 5}, {"enum": ["a"]}]
)
def test_any_other_null_is_refused(schema: Json) -> None:
    with pytest.raises(Unencodable):
        one(schema, None)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (TEXT, 5),
        (TEXT, True),
        (TEXT, ["a"]),
        ({"type": "boolean"}, 1),
        ({"type": "boolean"}, "true"),
        ({"type": "integer"}, True),
        ({"type": "integer"}, "5"),
        ({"type": "integer"}, 2**63),
        ({"type": "integer"}, -(2**63) - 1),
        ({"type": "integer"}, Decimal("5.5")),
        ({"type": "integer"}, Decimal("1e30")),
        ({"type": "integer"}, Decimal("1e999999")),
        ({"type": "integer"}, Decimal("NaN")),
        ({"type": "number"}, ""),
        ({"type": "number"}, Decimal("0.00001")),
        ({"type": "array", "items": TEXT}, "ab"),
        ({"type": "array", "items": TEXT}, ["a", None]),
        ({"type": "array", "items": TEXT}, {"0": "a"}),
        ({"type": "object", "properties": {"a": TEXT}}, []),
        ({"type": "object", "properties": {"a": TEXT}}, {"b": "x"}),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, {}),
        (TEXT, "\ud800"),
        ({}, "\ud800"),
        ({}, {"\ud800": 1}),
        ({}, 2**63),
    ],
)
def test_what_does_not_fit_its_type_is_refused_at_its_pointer_and_not_quoted(schema: Json, value: Json) -> None:
    with pytest.raises(Unencodable) as refused:
        one(schema, value)
    assert refused.value.pointer.startswith("/x")


def test_an_argument_that_no_schema_lists_is_refused_because_policy_could_not_see_it() -> None:
    for tool in (
        facts(),
        facts(schema={"type": "object"}),
        facts(schema=True),
        facts(schema={"type": "object", "additionalProperties": True}),
    ):
        with pytest.raises(Unencodable) as refused:
            encode_arguments(tool, {"new": 1})
        assert refused.value.pointer == "/new"
        assert encode_arguments(tool, {}).value == {}


def test_a_number_string_in_a_number_field_is_no_reason_to_guess() -> None:
    assert one({"type": "number"}, "5") == dec("5.0")  # one reading; the pinned schema refuses it before, in step 3


@pytest.mark.parametrize("key", ["__entity", "__extn", "__expr", "\\__entity", "\\", "\\\\x"])
def test_reserved_keys_are_written_with_a_backslash(key: str) -> None:
    tool = facts(properties={key: TEXT})
    assert encode_arguments(tool, {key: "v"}).value == {"\\" + key: "v"}
    assert ask(engine(tools=[tool]), {key: "v"}).allowed


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_two_keys_have_one_name(first: str, second: str) -> None:
    assert (attribute_name(first) == attribute_name(second)) is (first == second)
    assert attribute_name(first) not in {"__entity", "__extn", "__expr"}


def test_a_local_reference_is_followed_and_a_circle_is_not() -> None:
    defs: Json = {"name": TEXT, "tree": {"type": "object", "properties": {"of": {"$ref": "#/$defs/tree"}, "n": TEXT}}}
    schema: Json = {
        "type": "object",
        "$defs": defs,
        "properties": {"a": {"$ref": "#/$defs/name"}, "t": {"$ref": "#/$defs/tree"}},
    }
    types = argument_types(facts(schema=schema)).members
    assert types["a"].type == "String"
    tree = types["t"].type
    assert isinstance(tree, RecordOf)
    assert tree.members["of"].type == Bytes()


def test_references_and_nesting_can_not_exhaust_the_reader() -> None:
    many = 3_000
    chain: dict[str, Json] = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, TEXT]} for i in range(many)}
    doubled: dict[str, Json] = {
        f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2 + [{"type": "null"}]} for i in range(many)
    }
    wide: dict[str, Json] = {
        f"d{i}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{i + 1}"} for k in "abcdefgh"}}
        for i in range(40)
    }
    for defs in (chain, doubled, wide):
        defs[f"d{many}"] = TEXT
        types = argument_types(
            facts(schema={"type": "object", "$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0"}}})
        )
        assert set(types.members) == {"x"}
    deep: Json = TEXT
    for _ in range(60):
        deep = {"type": "object", "properties": {"x": deep}}
    depth, at = 0, kind(deep)
    while isinstance(at, RecordOf):
        depth, at = depth + 1, at.members["x"].type
    assert (depth, at) == (MAX_DEPTH, Bytes())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20),
    st.text(max_size=6),
    st.sampled_from(["__entity", "Remit::Agent", "\ud800", "100.00", "decimal"]),
)
KEYS = st.sampled_from(
    ["a", "b", "", "__entity", "__extn", "__expr", "\\a", "a/b", "~", "type", "id", "fn", "arg", "\u202e", '"']
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)
NAMES = st.sampled_from(["string", "boolean", "integer", "number", "object", "array", "null", "nonsense"])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    listed = st.dictionaries(KEYS, inner, max_size=3)
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": listed},
        optional={"required": st.lists(KEYS, max_size=2), "additionalProperties": st.booleans()},
    )
    arrays = st.fixed_dictionaries({"type": st.just("array")}, optional={"items": inner})
    unions = st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)})
    return objects | arrays | unions


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.fixed_dictionaries({"type": NAMES | st.lists(NAMES, max_size=2)})
    | st.sampled_from(
        [{}, True, False, None, 5, {"enum": ["a", None]}, {"const": 1}, {"$ref": "#"}, {"$ref": "#/properties/a"}]
    ),
    _schemas,
    max_leaves=8,
)


@settings(max_examples=400)
@given(
    st.dictionaries(KEYS, SCHEMAS, max_size=4),
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.sampled_from(["/a", "/b/a", "/a/*", ""]),
)
def test_encoding_raises_nothing_but_unencodable_and_what_it_gives_loads(
    properties: dict[str, Any], arguments: dict[str, Any], money: str
) -> None:
    tool = facts(properties=properties, money=[money])
    types = argument_types(tool)
    schema = load_schema(tool_schema(tool, types))
    try:
        record = encode_arguments(tool, arguments)
    except Unencodable:
        return
    assert_escaped(record.value)
    assert record.ref == tool.ref
    json.dumps(record.value).encode()
    answer = ask(engine(tools=[tool]), arguments)
    assert (answer.allowed, answer.errors) == (True, ())
    assert isinstance(Bench.of({}, [], schema), Bench)


def assert_escaped(value: CedarJson) -> None:
    """Nothing in a record that Cedar's JSON reads as an entity; an extension value is a decimal of ours."""
    if isinstance(value, dict):
        if set(value) == {"__extn"}:
            assert value["__extn"]["fn"] == "decimal"
            return
        assert not {"__entity", "__extn", "__expr"} & set(value)
        for item in value.values():
            assert_escaped(item)
    elif isinstance(value, list):
        for item in value:
            assert_escaped(item)


@given(VALUES)
def test_free_form_values_keep_their_exact_canonical_bytes_all_the_way_in(value: Any) -> None:
    try:
        body = canonical([value])
    except Malformed:
        return
    assert one({"type": "array"}, parse(body)) == body.decode()
