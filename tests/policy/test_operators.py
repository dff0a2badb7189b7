"""Operators' policies: read whole, refused whole with file, line, id and reason, and given one version."""

from collections.abc import Sequence

import pytest

from remit.core.tools import EFFECTS
from remit.policy.operators import MAX_SOURCE, ask_policies, check
from remit.policy.terms import Finding, PolicyReport, PolicySource, ToolFacts
from tests.policy.made import ask, engine, facts, raw_allows

GOOD = '@id("good") forbid(principal, action, resource) when { context.session.calls > 5 };'


def examined(*texts: str, tools: Sequence[ToolFacts] | None = None) -> PolicyReport:
    sources = [PolicySource(f"{number}.cedar", text) for number, text in enumerate(texts)]
    return check(sources, [facts()] if tools is None else tools, ["office"])


BAD = [
    ("forbid(principal, action, resource);", 1, None, "every policy needs an @id"),
    ("@id forbid(principal, action, resource);", 1, None, "every policy needs an @id"),
    ('@id("") forbid(principal, action, resource);', 1, "", "every policy needs an @id"),
    ('@ID("x") forbid(principal, action, resource);', 1, None, "every policy needs an @id"),
    ('@id("a b") forbid(principal, action, resource);', 1, "a b", "every policy needs an @id"),
    ('@id("ä") forbid(principal, action, resource);', 1, "ä", "every policy needs an @id"),
    (f'@id("{"a" * 65}") forbid(principal, action, resource);', 1, "a" * 65, "every policy needs an @id"),
    ('@id("a\\n") forbid(principal, action, resource);', 1, "a\n", "every policy needs an @id"),
    ('@id("grt_x") forbid(principal, action, resource);', 1, "grt_x", "may not begin with grt_"),
    ('@id("a") @id("b") forbid(principal, action, resource);', 1, None, "duplicate annotation"),
    ('\n\n  @id("a")\nforbid(principal, action, resource)\nwhen { context.args.count < "x" };', 3, "a", "optional attribute"),
    ('@id("a") forbid(principal, action, resource) when { context.nothing };', 1, "a", "nothing"),
    ('@id("a") forbid(principal == Remit::Robot::"x", action, resource);', 1, "a", "Robot"),
    ('@id("a") forbid(principal, action == Remit::Action::"office/none", resource);', 1, "a", "office/none"),
    ('@id("a") forbid(principal, action, resource) when { context.session.calls };', 1, "a", "Bool"),
    ('@id("a") permit(principal == ?principal, action, resource);', 1, None, "template"),
    ('@id("a") permit(principal, action, resource in ?resource);', 1, None, "template"),
    ('@id("a") permit(principal, action, resource) when { context.approval.present };', 1, "a", "one yes would open"),
    ('@id("a") forbid(principal, action, resource)', 1, None, ""),
    ("nonsense;", 1, None, "not Cedar"),
    (";", 1, None, ""),
    ("// only a remark\n;", 2, None, ""),
    ('@id("a") forbid(principal, action, resource); x', 1, None, "not Cedar"),
    ('@id("a") forbid(principal, action, resource) when { "unclosed };', 1, None, "not Cedar"),
    ('@id("a") forbid(principal, action, resource) when { ' + "(" * 40 + "true" + ")" * 40 + " };", 1, None, "nested too deep"),
    ('@id("a") forbid(principal, action, resource) when { ' + " || ".join(["true"] * 1_100) + " };", 1, None, "too long"),
    ('@id("a") forbid(principal, action, resource) when { ' + " || ".join(["true"] * 70) + " };", 1, None, "nested too deep"),
    ("/" * 2 + "x" * MAX_SOURCE, 1, None, "characters"),
]  # fmt: skip


@pytest.mark.claim("policy:bad-set-refused")
@pytest.mark.parametrize(("text", "line", "name", "message"), BAD)
def test_a_bad_policy_refuses_the_whole_set_and_says_where(
    text: str, line: int, name: str | None, message: str
) -> None:
    assert examined(GOOD).ok
    report = examined(GOOD, text)
    assert not report.ok
    assert {error.file for error in report.errors} == {"1.cedar"}
    found = [error for error in report.errors if message in error.message and error.line == line]
    assert found, report.errors
    assert found[0].id == name
    with pytest.raises(Exception, match=r"own\.cedar"):
        engine(f"{GOOD}\n{text}")


@pytest.mark.claim("policy:bad-set-refused")
def test_every_error_of_a_set_is_told_and_not_only_the_first() -> None:
    report = examined(
        f"{GOOD}\n\nforbid(principal, action, resource);",
        "nonsense;\nmore nonsense;",
        '@id("good") permit(principal, action, resource);',
    )
    assert [(error.file, error.line) for error in report.errors] == [
        ("1.cedar", 1),
        ("1.cedar", 2),
        ("0.cedar", 1),
        ("0.cedar", 3),
        ("2.cedar", 1),
    ]
    first = report.errors[0]
    assert first.document() == {"file": "1.cedar", "line": 1, "id": None, "message": first.message}


@pytest.mark.claim("policy:bad-set-refused")
def test_one_id_in_two_files_and_two_files_of_one_name_are_refused() -> None:
    assert len(examined(GOOD, GOOD).errors) == 2
    twice = [PolicySource("a.cedar", GOOD), PolicySource("a.cedar", GOOD.replace("good", "other"))]
    assert [error.message for error in check(twice, [facts()]).errors] == ["two files have this name"]


def test_a_good_set_of_any_layout_is_taken_with_its_lines() -> None:
    text = '// a remark; with a semicolon\n\n@id("a") @note("; \\" ;") forbid(principal,\n action, resource) // ;\n when { "a;b" == "c" };permit(principal, action, resource);\r@id("c")\npermit\n(principal, action, resource);'
    report = examined(text)
    assert [(error.line, error.message[:20]) for error in report.errors] == [(5, "every policy needs a")]
    lines = [(lint.line, lint.id) for lint in examined(text.replace(";permit(", ';@id("b") permit(')).lints]
    assert lines == [(5, "b"), (5, "c")]  # a carriage return ends a remark, and is no line


def test_an_empty_set_and_remarks_alone_are_good() -> None:
    for texts in ((), ("",), ("// nothing yet\n",), (" \n\t",)):
        assert examined(*texts).ok


def test_the_shipped_set_is_good_without_any_tool_and_without_advice() -> None:
    report = check([ask_policies()], [])
    assert (report.errors, report.lints) == ((), ())


def test_a_group_of_every_effect_and_of_every_known_server_can_be_named_before_it_has_a_tool() -> None:
    for group in (*(f"effect:{effect}" for effect in EFFECTS), "server:office", "server:bare"):
        text = f'@id("x") forbid(principal, action in Remit::Action::"{group}", resource);'
        assert check([PolicySource("a", text)], [], ["office", "bare"]).ok
    assert not check([PolicySource("a", text)], [], ["office"]).ok


def test_a_permit_is_advised_against_because_it_gives_nothing() -> None:
    permit = '@id("p") permit(principal, action, resource);'
    assert raw_allows(permit)
    (lint,) = examined(permit).lints
    assert lint == Finding("0.cedar", 1, "p", lint.message)
    assert "only grants allow" in lint.message
    assert examined(GOOD.replace("> 5", "== 5")).lints == ()


def test_a_lint_is_advice_and_refuses_nothing() -> None:
    report = examined('@id("p") permit(principal, action, resource);')
    assert report.ok
    assert report.lints


# The version: a hash of what operators wrote and of the schema, no more and no less.


def test_the_version_is_the_same_for_the_same_set_and_tools() -> None:
    two = [facts(), facts("office/b")]
    assert examined(GOOD, tools=two).policy_version == examined(GOOD, tools=two[::-1]).policy_version
    assert examined(GOOD).policy_version == examined(GOOD, tools=[facts(id="tol_9", pinned="sha256:2")]).policy_version
    assert check([], []).policy_version == check([], []).policy_version
    assert engine(GOOD).policy_version == check([PolicySource("own.cedar", GOOD)], [facts()], ["office"]).policy_version


def test_the_version_changes_with_every_text_name_and_schema() -> None:
    listed = {"text": {"type": "string"}}
    versions = [
        examined(GOOD).policy_version,
        examined(GOOD + " ").policy_version,
        examined(GOOD + "// remark").policy_version,
        examined().policy_version,
        examined("", GOOD).policy_version,
        examined(GOOD, "").policy_version,
        check([PolicySource("other.cedar", GOOD)], [facts()], ["office"]).policy_version,
        examined(GOOD, tools=[]).policy_version,
        examined(GOOD, tools=[facts(effect="write")]).policy_version,
        examined(GOOD, tools=[facts("office/other")]).policy_version,
        examined(GOOD, tools=[facts(properties=listed)]).policy_version,
        examined(GOOD, tools=[facts(properties=listed, money=["/text"])]).policy_version,
        examined(
            GOOD, tools=[facts(schema={"type": "object", "properties": listed, "required": ["text"]})]
        ).policy_version,
        check([PolicySource("0.cedar", GOOD)], [facts()], ["office", "another"]).policy_version,
    ]
    assert len(set(versions)) == len(versions)
    assert all(version.startswith("sha256:") for version in versions)


def test_the_version_does_not_hang_on_grants() -> None:
    assert engine(GOOD, grants=[]).policy_version == engine(GOOD).policy_version


def test_a_refused_set_has_a_version_too_and_it_is_not_that_of_the_good_part() -> None:
    assert examined(GOOD, "nonsense;").policy_version != examined(GOOD).policy_version


# That what is judged is what is evaluated.

MEANINGS = [
    ('context.args has text && context.args.text like "a\\**"', {"text": "a*b"}, {"text": "ab"}),
    ("context.args has count && context.args.count < -9223372036854775807", {"count": -(2**63)}, {"count": -5}),
    ("context.args has count && -context.args.count > 5", {"count": -6}, {"count": 6}),
    ('context.args has text && context.args.text == "\\u{e9}\\"\\\\"', {"text": 'é"\\'}, {"text": "e"}),
    ("context.args has on && (if context.args.on then true else false)", {"on": True}, {"on": False}),
    ('context.args has text && ["a", "b"].contains(context.args.text)', {"text": "a"}, {"text": "c"}),
    ('context.args has amount && context.args.amount.lessThan(decimal("-0.5"))', {"amount": -1}, {"amount": 0}),
    ('context.now < datetime("2100-01-01") && context.args has count', {"count": 1}, {}),
    ('{"a": {"b": 1}}.a.b == 1 && context.args has text', {"text": "x"}, {}),
    (
        'principal is Remit::Agent && principal has mode && principal.mode == "autonomous" && context.args has on',
        {"on": True},
        {},
    ),
    ("context.args has count && context.args.count - 1 * 2 + 3 == 5", {"count": 4}, {"count": 5}),
]


@pytest.mark.parametrize(("condition", "hit", "missed"), MEANINGS)
def test_an_operators_policy_means_after_parsing_what_its_text_means(
    condition: str, hit: dict[str, object], missed: dict[str, object]
) -> None:
    ours = engine(f'@id("x") forbid(principal, action, resource) when {{ {condition} }};')
    assert ask(ours, hit).policies == ("x",)  # type: ignore[arg-type]  # JSON of the table
    assert ask(ours, missed).allowed  # type: ignore[arg-type]  # JSON of the table
