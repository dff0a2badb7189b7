"""The scanner before Cedar's parser: statements and lines, and no text that would take the process down."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidPolicy
from remit.policy.cedar import parse
from remit.policy.syntax import MAX_NESTING, MAX_OPERATORS, MAX_STATEMENT, Unparsable, statements

# The deepest that passes the scanner, in a thread with half the stack that Linux gives the main one.
WORST = f"""
import threading
from remit.policy.operators import check
from remit.policy.terms import PolicySource
shapes = [
    "if true then " * {MAX_OPERATORS - 9} + "true" + " else false" * {MAX_OPERATORS - 9},
    "if true then true else " * {MAX_OPERATORS - 9} + "false",
    ("(" + "if true then " * 31) * 30 + "true" + (" else false" * 31 + ")") * 30,
    "(" * 30 + "true" + ")" * 30,
    "[" * 30 + "]" * 30 + ".isEmpty()",
    "{{a: " * 30 + "1" + "}}" * 30 + " == 1",
    "[true].contains(" * 29 + "true" + ")" * 29,
    " || ".join(["true"] * {MAX_OPERATORS - 9}),
    " + ".join(["1"] * {MAX_OPERATORS - 9}) + " == 1",
    "context" + ".a" * {MAX_OPERATORS - 9},
    "!" * {MAX_OPERATORS - 9} + "true",
    "A::" * 16_000 + '"x" == principal',
    '"' + "*" * 60_000 + '" like "' + "*" * 100 + '"',
]
def run():
    for shape in shapes:
        text = '@id("a") forbid(principal, action, resource) when {{ ' + shape + ' }};'
        check([PolicySource("a", text)], [])
        print("survived", flush=True)
threading.stack_size(4 * 1024 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def child(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_bare_cedar_ends_the_process_on_deep_nesting() -> None:
    """The negative control: what is scanned for is real, and no Python exception could be caught."""
    deep = "'permit(principal,action,resource) when {' + '(' * 5000 + 'true' + ')' * 5000 + '};'"
    assert child(f"import cedarpy; cedarpy.policies_to_json_str({deep})").returncode < 0
    ours = f"from remit.policy.operators import check\nfrom remit.policy.terms import PolicySource\nprint(check([PolicySource('a', {deep})], []).ok)"
    assert child(ours).stdout == "False\n"


def test_the_deepest_texts_that_the_scanner_passes_do_not_end_the_process() -> None:
    done = child(WORST)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("survived") == 13


@pytest.mark.parametrize(
    "text",
    [
        "(" * (MAX_NESTING + 1),
        ")" * 5 + "[{(" * 11,
        "a;" + "(" * 20 + ";" + "(" * 20,
        "x" * (MAX_STATEMENT + 1),
        '"' + "x" * MAX_STATEMENT + '"',
        "a " * (MAX_STATEMENT // 2 + 1),
        "." * (MAX_OPERATORS + 1),
        "if " * (MAX_OPERATORS + 1),
    ],
)
def test_what_is_too_long_or_too_deep_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(Unparsable):
        list(statements(text))


def test_nesting_in_strings_and_remarks_is_no_nesting() -> None:
    text = f'permit(principal, action, resource) when {{ "{"(" * 200}" == "" }}; // {"(" * 200}\n'
    assert [one.line for one in statements(text)] == [1]
    assert len(parse(text)) == 1


def test_many_small_statements_are_fine() -> None:
    text = "permit(principal, action, resource);\n" * 2_000
    found = list(statements(text))
    assert [one.line for one in found] == list(range(1, 2_001))
    assert len(parse(text)) == 2_000


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 400_000, '"' + '\\"' * 400_000 + "\\", '"\\' * 300_000, '""' * 300_000 + '"']
)
def test_a_text_of_quotes_that_nothing_closes_is_read_once(text: str) -> None:
    """Read again from each of its quotes, 120 KB took 48 s."""
    with pytest.raises(Unparsable):
        list(statements(text))


PIECES = st.sampled_from(
    ['"', "\\", "//", "\n", "\r", ";", "(", ")", "{", "}", "permit", "a", " ", '"a;b"', '"\\";"', "// ;\n", "/*", "'"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_the_statements_are_the_whole_text_in_order(text: str) -> None:
    found = list(statements(text))
    joined = "".join(one.text for one in found)
    assert text.startswith(joined)
    rest = text[len(joined) :]
    assert not rest.strip() or "//" in rest
    assert [one.line for one in found] == sorted(one.line for one in found)


CLAUSES = st.sampled_from(
    ["", ' when { "a;b" == "}" }', " unless { false // ;\n }", ' when { "\\"; //" == "" }', " when { true } // ; }\r"]
)


@given(st.lists(st.tuples(st.sampled_from(["", "\n", "// x;\n", "//;\r"]), CLAUSES), max_size=6))
def test_the_scanner_and_cedar_agree_on_where_policies_end(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{before}permit(principal, action, resource){clause};" for before, clause in parts)
    found = list(statements(text))
    assert len(found) == len(parts)
    assert tuple(policy for one in found for policy in parse(one.text)) == parse(text)


@given(st.text(max_size=80))
def test_no_text_makes_the_reader_raise_anything_but_a_refusal(text: str) -> None:
    try:
        list(statements(text))
        parse(text)
    except InvalidPolicy:
        return
