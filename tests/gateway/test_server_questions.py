"""What may be asked and what is an answer, bytes aside: hostile questions, hostile answers, and the laws of both."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.calls import ProposedCall
from remit.core.canonical import Json, canonical
from remit.core.errors import BadInput, Malformed
from remit.core.inputs import Inputs
from remit.core.labels import TRUSTED, UNTRUSTED
from remit.core.tools import EFFECTS
from remit.gateway import answers, questions, wire
from remit.gateway.forms import NotRelayed
from remit.gateway.questions import Allowed
from remit.guards.inputs import input_faults
from remit.guards.json_in import parse
from remit.policy.flow import input_sinks
from tests.gateway.asking import ASK, FORM, SAMPLE, TO_ADA
from tests.gateway.frames import JSON

SAMPLES: tuple[dict[str, Any], ...] = (
    {"includeContext": "allServers"},
    {"tools": []},
    {"toolChoice": {}},
    {"maxTokens": 0},
    {"maxTokens": True},
    {"maxTokens": 10**9},
    {"messages": []},
    {"messages": [{"role": "system", "content": {"type": "text", "text": "x"}}]},
    {"messages": [{"role": "user", "content": {"type": "image", "data": "", "mimeType": "image/png"}}]},
    {"systemPrompt": 5},
)
ALL = Allowed(forms=True, urls=True, sampling=True)
ISSUER = "http://localhost:8765"


def read(requests: Any, state: Any = None) -> questions.Questions:
    """What passes of a result that asks this, as it would have come in."""
    result = parse(json.dumps({"resultType": "input_required", "inputRequests": requests}).encode())
    assert isinstance(result, Mapping)
    return questions.read(result if state is None else {**result, "requestState": state}, ALL, ISSUER)


@pytest.mark.claim("relay:questions-strict")
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("remit-approval", ASK),
        ("Remit/x", ASK),
        ("a\u200bb", ASK),
        ("n" * 200, ASK),
        ("", ASK),
        ("whom", {**ASK, "method": "elicitation/createMore"}),
        ("whom", {**ASK, "params": {**ASK["params"], "mode": "popup"}}),
        ("whom", {**ASK, "params": {**ASK["params"], "message": "m" * 5_000}}),
        ("whom", {**ASK, "params": {**ASK["params"], "message": 5}}),
        ("whom", {**ASK, "params": []}),
        ("whom", "no object"),
        *(
            ("whom", {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": url}})
            for url in (
                "http://pair.example.test/",
                "https://remit@pair.example.test/",
                "javascript:alert(1)",
                "https://",
                "https://pair.example.test/\u202e",
                "https://p\u0430ir.example.test/",
                "https://pair.example.test/" + "a" * 3_000,
                "http://localhost:8765/approvals/apr_1",
                "http://127.0.0.1:8765/approvals/apr_1",
                "https://[::1/",
                "file:///etc/passwd",
                5,
            )
        ),
        *(("whom", {**SAMPLE, "params": {**SAMPLE["params"], **more}}) for more in SAMPLES),
        *(
            ("whom", {**ASK, "params": {**ASK["params"], "requestedSchema": schema}})
            for schema in (
                None,
                {"type": "object"},
                {"type": "array", "properties": {}},
                {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}},
                {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "array"}}}},
                {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
                {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/"}}},
                {"type": "object", "properties": {"a": {"type": "string", "allOf": [{"minLength": 10**9}]}}},
                {"type": "object", "properties": {"a": {"type": ["string", "object"]}}},
                {"type": "object", "properties": {f"a{n}": {"type": "string"} for n in range(5_000)}},
                {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"] * 5_000}}},
                {"type": "object", "properties": {"a": {"type": "string", "enum": ["x\u200b"]}}},
                {"type": "object", "properties": {"a\u202e": {"type": "string"}}},
                {"type": "object", "properties": {"a": {"type": "string", "description": "d" * 70_000}}},
                {"type": "object", "properties": {"a": {"type": "integer", "minimum": "0"}}},
                {"type": "object", "properties": {"a": {"type": "string", "minLength": -1}}},
                {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
                {"type": "object", "properties": {"a": {"type": "string"}}, "$ref": "#/x"},
                json.loads('{"a":' * 60 + "1" + "}" * 60),
            )
        ),
    ],
)
def test_a_question_that_is_not_as_it_must_be_refuses_all(name: str, asked: Any) -> None:
    with pytest.raises(NotRelayed):
        read({"good": ASK, name: asked})
    assert read({"good": ASK}).asked == {"good": ASK}  # the control


def with_form(schema: Any) -> dict[str, Any]:
    return {**ASK, "params": {**ASK["params"], "requestedSchema": schema}}


def test_every_field_that_the_protocol_knows_passes_as_it_is() -> None:
    fields: dict[str, Any] = {
        "a": {"type": "string", "title": "A", "minLength": 1, "maxLength": 9, "format": "email", "default": "a@b.test"},
        "b": {"type": "number", "description": "B", "minimum": 0, "maximum": 100, "default": 5},
        "c": {"type": "integer"},
        "d": {"type": "boolean", "default": False},
        "e": {"type": "string", "enum": ["x", "y"], "enumNames": ["X", "Y"], "default": "x"},
        "f": {"type": "string", "oneOf": [{"const": "x", "title": "X"}]},
        "g": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"type": "string", "enum": ["x", "y"]},
            "default": ["x"],
        },
        "h": {"type": "array", "items": {"type": "string", "anyOf": [{"const": "x", "title": "X"}]}},
    }
    asked = with_form({"type": "object", "properties": fields, "required": ["a", "b"]})
    assert read({"q": asked}).asked == {"q": asked}
    content: dict[str, Any] = {
        "a": "a@b.test",
        "b": 4,
        "c": 1,
        "d": True,
        "e": "y",
        "f": "x",
        "g": ["x", "y"],
        "h": ["x"],
    }
    given_back: Any = {"q": {"action": "accept", "content": content}}
    assert answers.read({"q": asked}, given_back) == given_back
    assert faults(asked, content) == []
    assert faults(asked, {**content, "e": "z"}) == ["/inputs/q/e"]
    assert faults(asked, {**content, "g": ["z"]}) == ["/inputs/q/g/0"]
    assert faults(asked, {**content, "b": 101}) == ["/inputs/q/b"]


def faults(asked: Json, content: Json) -> list[str]:
    found = Inputs(
        after="", fingerprint="", asked={"q": asked}, answers={"q": {"action": "accept", "content": content}}
    )
    return [one.pointer for one in input_faults(found)]


FIELDS = st.dictionaries(
    st.sampled_from(
        ("type", "title", "enum", "oneOf", "anyOf", "items", "default", "minimum", "maxLength", "$ref", "x")
    ),
    st.sampled_from(("string", "number", "array", "boolean", ["a", "b"], {"enum": ["a"]}, [{"const": "a"}], 5)) | JSON,
    max_size=4,
)
FORMS = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(st.text(max_size=3), FIELDS)})
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(("form", "url", "x")),
        "message": st.text(),
        "requestedSchema": FORMS | JSON,
        "url": st.sampled_from(("https://a.test/", "http://[::1]/", "http://a.test")) | st.text(),
        "messages": st.just(SAMPLE["params"]["messages"]) | JSON,
        "maxTokens": st.integers(),
        "systemPrompt": st.text(),
        "temperature": JSON,
        "stopSequences": JSON,
    },
)
ASKED = st.fixed_dictionaries(
    {"method": st.sampled_from(("elicitation/create", "sampling/createMessage")), "params": PARAMS | JSON}
)


@given(
    st.dictionaries(st.text(max_size=5), ASKED | JSON | st.just(ASK) | st.just(SAMPLE), max_size=2), st.none() | JSON
)
def test_whatever_a_server_asks_is_refused_or_is_within_bounds_and_says_whose_it_is(requests: Any, state: Any) -> None:
    try:
        found = read(requests, state)
    except (NotRelayed, BadInput, UnicodeEncodeError):
        return
    assert len(canonical(found.asked)) <= questions.MAX_ASKED
    again = {"resultType": "input_required", "inputRequests": found.asked, "requestState": found.state}
    assert found.asked == {} or questions.read(again, ALL, ISSUER) == found
    for shown in questions.shown(found.asked, "office").values():
        assert isinstance(shown, Mapping)
        params = shown["params"]
        assert isinstance(params, Mapping)
        assert str(params.get("systemPrompt", params.get("message"))).startswith("Server office")


@pytest.mark.claim("relay:answers-are-arguments")
@pytest.mark.parametrize(
    "responses",
    [
        {"other": {"action": "accept"}},
        {**TO_ADA, "remit-approval": {"action": "accept"}},
        [],
        "x",
        {"whom": "accept"},
        {"whom": {"action": "maybe"}},
        {"whom": {"action": ["accept"]}},
        {"whom": {"action": "accept", "content": []}},
        {"whom": {"action": "accept", "content": {"to": {"deep": 1}}}},
        {"whom": {"action": "accept", "content": {"to": [1]}}},
        {"whom": {"action": "accept", "content": {"to": "x" * 20_000}}},
        {"whom": {"role": "assistant", "content": {"type": "text", "text": "ada"}, "model": "m"}},
    ],
)
def test_what_is_no_answer_or_answers_what_nobody_asked_is_refused(responses: Any) -> None:
    with pytest.raises(wire.Fault) as caught:
        answers.read({"whom": ASK}, responses)
    assert caught.value.code == -32602


def test_what_a_client_adds_to_an_answer_goes_no_further() -> None:
    more: dict[str, Any] = {"_meta": {"x": 1}, "x": 2}
    assert answers.read({"whom": ASK}, {"whom": {**TO_ADA["whom"], **more}}) == TO_ADA
    page: Any = {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://a.test/"}}
    opened: Any = {"whom": {"action": "accept", "content": {"to": "eve"}}}
    assert answers.read({"whom": page}, opened) == {"whom": {"action": "accept"}}
    wrote: dict[str, Any] = {"role": "assistant", "content": {"type": "text", "text": "t"}, "model": "m"}
    assert answers.read({"whom": SAMPLE}, {"whom": {**wrote, **more}}) == {"whom": wrote}


@given(JSON)
def test_whatever_a_client_answers_is_refused_or_flat_and_small(response: Any) -> None:
    for asked in (ASK, SAMPLE):
        try:
            found = answers.read({"q": asked}, {"q": response})
        except wire.Fault:
            continue
        assert found is not None
        assert len(canonical(found)) <= answers.MAX_ANSWERS


def filled(content: Any, schema: Any = FORM) -> Inputs:
    answer = {"action": "accept", "content": content}
    return Inputs(after="", fingerprint="", asked={"q": with_form(schema)}, answers={"q": answer})


@pytest.mark.claim("relay:answers-are-arguments")
def test_what_nothing_vouches_for_is_a_sink_of_every_effect_but_a_read() -> None:
    model: Any = {"role": "assistant", "content": {"type": "text", "text": "see https://a.test"}, "model": "m"}
    sampled = Inputs(after="", fingerprint="", asked={"q": SAMPLE}, answers={"q": model})
    for effect in EFFECTS:
        strict = effect not in ("read", "fetch")
        assert input_sinks(filled({"to": "eve"}), effect, UNTRUSTED) == (("/inputs/q/to",) if strict else ())
        assert input_sinks(filled({"n": 5}), effect, UNTRUSTED) == (("/inputs/q/n",) if strict else ())
        assert input_sinks(filled({"l": ["a"]}), effect, UNTRUSTED) == (("/inputs/q/l/0",) if strict else ())
        assert input_sinks(filled({"ok": True}), effect, UNTRUSTED) == ()
        assert input_sinks(filled({"Overwrite_all": True}), effect, UNTRUSTED) == (
            ("/inputs/q/Overwrite_all",) if strict else ()
        )
        assert bool(input_sinks(filled({"to": "https://a.test/"}), effect, UNTRUSTED)) is (effect != "read")
        assert bool(input_sinks(sampled, effect, UNTRUSTED)) is (effect != "read")
        assert input_sinks(filled({"to": "eve"}), effect, TRUSTED) == ()


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_no_call_with_answers_is_written_as_one_without(arguments: Any, content: Any) -> None:
    """Else a yes to one would be a yes to the other."""
    with_answers = ProposedCall("c", "office/x", arguments, filled(content))
    try:
        written = with_answers.written()
    except Malformed:  # what has no canonical form is decided nowhere
        return
    assert written.startswith(b"[")
    assert ProposedCall("c", "office/x", arguments).written().startswith(b"{")
