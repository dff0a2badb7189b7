"""What reaches the terminal: nothing that acts on it, and nothing but the answer on stdout."""

import io
import json
import sys
from decimal import Decimal
from typing import TextIO, cast

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from remit.cli.diagnostics import Diagnostics
from remit.cli.output import Column, Output, json_text, visible, words
from remit.core.errors import NotFound

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eevil\u2066\u200b\x9b31m\r\x7f\u3164\U000e0041\u2028"


@pytest.mark.claim("cli:text-cannot-act")
@given(st.text())
def test_no_text_can_act_on_the_terminal(text: str) -> None:
    shown = visible(text)
    assert all(char.isprintable() for char in shown)
    assert "\n" not in shown
    assert not HOSTILE.isprintable()  # the control: there is something to make visible


def test_what_a_reader_can_see_is_left_alone() -> None:
    assert visible("Zahlung für 3 €: 支払い") == "Zahlung für 3 €: 支払い"
    assert visible("a\nb\tc", lines=True) == "a\nb\tc"
    assert "⟨U+202E⟩" in visible(HOSTILE)


@pytest.mark.claim("cli:text-cannot-act")
@pytest.mark.parametrize("form", ["json", "text"])
def test_hostile_text_is_shown_and_not_executed_in_every_form(capsys: pytest.CaptureFixture[str], form: str) -> None:
    out = Output(json=form == "json")
    item = {"name": HOSTILE, HOSTILE: {"deep": [HOSTILE]}}
    out.document(item)
    out.table([item], [Column("name"), Column("rest", lambda each: each[HOSTILE])], "none")
    out.line(item, HOSTILE)
    out.note(HOSTILE)
    out.problem(NotFound(HOSTILE, hint=HOSTILE))
    written = capsys.readouterr()
    for text in (written.out, written.err):
        assert "evil" in text
        assert all(char.isprintable() or char == "\n" for char in text)
    if form == "text":
        assert "⟨U+001B⟩" in written.out


def test_rich_markup_in_data_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table([{"name": "[bold red]:smile:[/] [link=http://x]y"}], [Column("name")], "")
    assert "[bold red]:smile:[/] [link=http://x]y" in capsys.readouterr().out


def test_json_keeps_numbers_exact() -> None:
    text = json_text(
        {"a": Decimal("100.00000000000000001"), "b": 2**63 - 1, "c": Decimal("1.50"), "d": True, "e": None}
    )
    assert json.loads(text, parse_float=Decimal) == {
        "a": Decimal("100.00000000000000001"),
        "b": 2**63 - 1,
        "c": Decimal("1.5"),
        "d": True,
        "e": None,
    }
    assert json_text({}) == "{}"
    assert json_text({"a": []}, None) == '{"a": []}'


def test_a_note_is_left_out_when_quiet_and_a_problem_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.note("by the way")
    out.problem(NotFound("gone"))
    written = capsys.readouterr()
    assert written.out == ""
    assert "by the way" not in written.err
    assert "gone" in written.err


def test_a_problem_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    Output().problem(NotFound("no such agent", hint="List them.", event=7))
    assert capsys.readouterr().err == "remit: no such agent [not_found, event 7]\n  next: List them.\n"


def test_cells_are_words() -> None:
    assert words(["a", "b"]) == "a, b"
    assert words(True) == "yes"
    assert words(None) == ""
    assert words({"a": Decimal("1.0")}) == '{"a": 1}'


def test_a_diagnosis_that_can_t_be_printed_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed or full stderr must not turn a refusal into a crash. A plain printer, the control, raises."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with pytest.raises(ValueError, match="closed"):
        structlog.PrintLogger(closed).msg("lost")
    structlog.PrintLogger(cast("TextIO", Diagnostics())).msg("lost")
