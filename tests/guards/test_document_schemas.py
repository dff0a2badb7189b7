"""Documents against their schemas: nothing unknown, nothing that only Remit sets, and words that say what would fit."""

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from remit.core.errors import InvalidDocument
from remit.guards.documents import check_answer, check_document, kinds, schema
from remit.guards.hidden_text import hidden

SOURCES: dict[str, dict[str, Any]] = {
    entry.name.removesuffix(".json"): json.loads(entry.read_text("utf-8"))
    for entry in (resources.files("remit") / "schemas").iterdir()
    if entry.name.endswith(".json")
}
AGENT = {
    "kind": "Agent",
    "name": "bookkeeper",
    "owner": "ada@example.test",
    "purpose": "Pays approved supplier invoices",
    "mode": "delegated",
    "expires": "2027-06-30T00:00:00.000Z",
}
every_kind = pytest.mark.parametrize("kind", kinds())


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for name, member in node.items():
            yield from nodes(member, f"{path}/{name}")
    elif isinstance(node, list):
        for position, member in enumerate(node):
            yield from nodes(member, f"{path}/{position}")


def test_there_is_a_schema_of_every_kind_and_the_plain_values_are_no_kind() -> None:
    assert set(kinds()) == set(SOURCES) - {"Values"}
    for none in ("Values", "Nothing", "", "../Agent", "agent"):
        with pytest.raises(InvalidDocument):
            schema(none)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_schema_file_is_valid_2020_12_and_named_for_itself(name: str) -> None:
    source = SOURCES[name]
    assert source["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert source["$id"].endswith(f"/{name}.json")
    assert source["title"] == name
    jsonschema_rs.Draft202012Validator({"$ref": "https://json-schema.org/draft/2020-12/schema"}).validate(source)


@every_kind
def test_every_schema_stands_alone_and_refers_to_nothing_outside(kind: str) -> None:
    whole = schema(kind)
    jsonschema_rs.validator_for(whole, offline=True)
    for path, node in nodes(whole):
        if isinstance(node.get("$ref"), str):
            assert node["$ref"].startswith("#/$defs/"), path
            assert node["$ref"].rpartition("/")[2] in whole["$defs"], path


@every_kind
def test_every_object_of_a_schema_says_what_else_may_stand_in_it(kind: str) -> None:
    """A listed object that is left open would take, and keep silent about, a misspelt member."""
    open_ones = [
        path
        for path, node in nodes(schema(kind))
        if isinstance(node.get("properties"), dict)
        and node.get("type") == "object"
        and "additionalProperties" not in node
        and "unevaluatedProperties" not in node
    ]
    assert open_ones == []


@every_kind
def test_an_unknown_member_is_refused_where_it_stands(kind: str) -> None:
    for check in (check_document, check_answer):
        with pytest.raises(InvalidDocument):
            check(kind, {"unheard/of~": 1})


@every_kind
def test_a_member_that_only_remit_sets_is_refused_from_others(kind: str) -> None:
    members = schema(kind).get("properties", {})
    for name in [name for name, member in members.items() if member.get("readOnly")]:
        with pytest.raises(InvalidDocument):
            check_document(kind, {**AGENT, "kind": kind, name: None})


def test_a_state_that_is_handed_in_is_told_and_not_silently_left_aside() -> None:
    check_document("Agent", AGENT)
    with pytest.raises(InvalidDocument, match="set by Remit; leave it out") as refused:
        check_document("Agent", {**AGENT, "state": "active"})
    assert refused.value.pointer == "/state"
    # The control: the whole schema, which answers are held against, takes it.
    check_answer("Agent", {**AGENT, "state": "active"})


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"purpos": "x"}, "/purpos", "is no member here"),
        ({"a/b~c": 1}, "/a~1b~0c", "is no member here"),
        ({"mode": "root"}, "/mode", "is not one of delegated, autonomous"),
        ({"name": "Not A Slug"}, "/name", "does not fit"),
        ({"name": 5}, "/name", "string"),
        ({"expires": "tomorrow"}, "/expires", "RFC 3339"),
        ({"purpose": "two\nlines"}, "/purpose", "does not fit"),
        ({"purpose": "hid\u202eden"}, "/purpose", "does not fit"),
        ({"kind": "Grant"}, "/kind", "kind of document"),
    ],
)
def test_a_fault_says_where_and_what_would_fit(change: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises(InvalidDocument, match=words) as refused:
        check_document("Agent", {**AGENT, **change})
    assert refused.value.pointer == pointer


def test_a_missing_member_is_named() -> None:
    with pytest.raises(InvalidDocument, match="'name' is missing"):
        check_document("Agent", {name: value for name, value in AGENT.items() if name != "name"})


@given(
    st.text(st.characters(), min_size=1, max_size=400).filter(
        lambda text: text not in AGENT and text not in ("delegated", "autonomous")
    ),
    st.sampled_from(["a value", "a value of another type", "a member"]),
)
@example("\u202e\x1b[31m\n" * 100, "a member")
@example("\ud800", "a value")
@example("\ud800", "a member")
def test_what_is_said_of_a_bad_document_is_short_and_hides_nothing(text: str, where: str) -> None:
    """The words go to terminals, logs and problem documents, and hold what the sender wrote."""
    changes: dict[str, dict[str, Any]] = {
        "a value": {"mode": text},
        "a value of another type": {"purpose": [text]},
        "a member": {text: 1},
    }
    change = changes[where]
    assume("apiVersion" not in change)
    with pytest.raises(InvalidDocument) as refused:
        check_document("Agent", {**AGENT, **change})
    assert hidden(refused.value.detail, layout=False) == ()
    assert len(refused.value.detail) < 2_500


@pytest.mark.parametrize("value", [None, True, 1, "text", [], [AGENT]])
def test_what_is_no_object_is_no_document(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        check_document("Agent", value)


def test_a_member_whose_name_is_no_text_is_refused() -> None:
    odd: Any = {**AGENT, 1: 2}
    with pytest.raises(InvalidDocument):
        check_document("Agent", odd)


def test_tuples_and_other_mappings_are_read_as_the_arrays_and_objects_that_they_are() -> None:
    check_answer("Labels", {"integrity": "trusted", "confidentiality": ("finance", "hr")})
    with pytest.raises(InvalidDocument):
        check_answer("Labels", {"integrity": "trusted", "confidentiality": ("hr", "hr")})
