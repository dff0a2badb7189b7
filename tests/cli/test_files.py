"""What the readers of files accept, and what they refuse by file, line and member."""

import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from remit.cli.files import MAX_BYTES, read_documents, read_text, read_value
from remit.cli.output import json_text
from remit.core.errors import BadInput, InvalidDocument, Malformed, NotFound, TooLarge

AGENT = "kind: Agent\nname: bookkeeper\nexpires: 2027-06-30T00:00:00.000Z\n"


def _file(folder: Path, text: str, name: str = "file.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_may_hold_several_documents(tmp_path: Path) -> None:
    path = _file(tmp_path, AGENT + "---\nkind: Agent\nname: second\n---\n")
    assert [document.value["name"] for document in read_documents(path, "Agent")] == ["bookkeeper", "second"]


def test_a_time_stays_text_and_numbers_stay_exact(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "at: 2027-06-30T00:00:00.000Z\nmoney: 0.10000000000000000001\nday: 2027-01-01\nno: no\nn: 7\n"
    )
    value = read_value(path)
    assert value == {
        "at": "2027-06-30T00:00:00.000Z",
        "money": Decimal("0.10000000000000000001"),
        "day": "2027-01-01",
        "no": "no",
        "n": 7,
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: 1\nb: *x\n", 2, "aliases"),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2, "tags"),
        ("a: ! text\n", 1, "tags"),
        ("%YAML 1.1\n---\na: yes\n", 2, "directives"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys"),
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ('a: 1\n"\\u0061": 3\n', 2, "twice"),
        ("a: 1\n2: b\n", 2, "not text"),
        ("a: 1\ntrue: b\n", 2, "not text"),
        ("? [a]\n: b\n", 1, "a key is text"),
        ("a: 0x1f\n", 1, "more than one reading"),
        ("a: 007\n", 1, "more than one reading"),
        ("a: 1_000\n", 1, "more than one reading"),
        ("a: .inf\n", 1, "more than one reading"),
        ("a: 1e400\n", 1, "double"),
        ("a: 9223372036854775808\n", 1, "64 bits"),
        ('a: "\\ud800"\n', 1, "surrogate"),
        ("a: 1\nb:\n\tc: 1\n", 3, "token"),
        ("- a\n", 1, "object"),
    ],
)
def test_what_is_outside_the_safe_subset_is_refused_by_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(Malformed) as caught:
        read_value(path)
    assert f"{path}, line {line}:" in caught.value.detail
    assert words in caught.value.detail


@pytest.mark.claim("cli:files-are-inert")
def test_a_yaml_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    levels = "\n".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 30))
    path = _file(tmp_path, f"l0: &l0 [lol, lol, lol]\n{levels}\n")
    started = time.monotonic()
    with pytest.raises(Malformed, match="anchors are not read"):
        read_value(path)
    assert time.monotonic() - started < 5  # the bomb itself would take longer than any machine lives
    # The control: the same construction, four levels small, grows in a reader that follows aliases.
    small = "\n".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 5))
    assert len(str(YAML(typ="safe", pure=True).load(f"l0: &l0 [lol]\n{small}"))) > 9**4


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    for text in ("a: " + "[" * 10_000, "a: " + "{a: " * 10_000, "- " * 10_000):
        with pytest.raises(Malformed, match=r"nests deeper|object"):
            read_value(_file(tmp_path, text))


def test_json_is_held_to_the_same_rules(tmp_path: Path) -> None:
    assert read_documents(_file(tmp_path, '{"kind":"Agent",\n\t"name":"a"}', "a.json"), "Agent")[0].kind == "Agent"
    for text in ('{"a":1,"a":2}', "[1]", '{"a":NaN}', '{"a":"\\ud800"}', "{", ""):
        with pytest.raises(BadInput, match=r"a\.json"):
            read_value(_file(tmp_path, text, "a.json"))


def test_a_member_that_the_kind_has_not_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = _file(tmp_path, AGENT + "---\nkind: Agent\nname: x\npurpose: y\nroot: true\n")
    with pytest.raises(InvalidDocument) as caught:
        read_documents(path, "Agent")
    assert f"{path}, line 8, /root: " in caught.value.detail


def test_a_wrong_member_of_a_json_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, '{\n  "kind": "Agent",\n  "name": "Not A Slug"\n}', "a.json")
    with pytest.raises(InvalidDocument, match=r"line 3, /name"):
        read_documents(path, "Agent")


def test_a_member_that_only_remit_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"line 4, /state: .*set by Remit"):
        read_documents(_file(tmp_path, AGENT + "state: active\n"), "Agent")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\n", "'kind' is missing"),
        ("kind: Agnet\n", "line 1, /kind: kind 'Agnet' is not known"),
        ("kind: Grant\n", "does not belong here"),
        ("kind: [Agent]\n", "'kind' is missing"),
        ("", "holds no document"),
        ("---\n", "holds no document"),
    ],
)
def test_a_document_of_another_kind_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_documents(_file(tmp_path, text), "Agent")
    assert words in caught.value.detail


def test_files_that_are_none_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_text(tmp_path / "absent")
    with pytest.raises(BadInput):
        read_text(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(Malformed, match="line 2: this is not UTF-8"):
        read_text(tmp_path / "latin")
    (tmp_path / "huge").write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(TooLarge):
        read_text(tmp_path / "huge")


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(TooLarge):
        read_text(Path("/dev/zero"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=4)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc/~é", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(st.text("abc/~", max_size=4), VALUES, max_size=4))
def test_what_is_written_as_json_reads_back_the_same_as_yaml_and_as_json(
    tmp_path: Path, value: dict[str, object]
) -> None:
    text = json_text(value)
    assert text.isascii()
    assert read_value(_file(tmp_path, text, "a.json")) == value
    assert read_value(_file(tmp_path, text, "a.yaml")) == value
