"""What a person would not see is found and written out, and nothing else is touched."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.guards.hidden_text import hidden, hides, reveal

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, in ranges: what a renderer shows as nothing.
IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
TRICKS = {
    "right-to-left override": "invoice\u202efdp.exe",
    "isolates": "\u2066amount\u2069",
    "zero width space": "pay\u200bpal",
    "tag letters": "safe" + "".join(chr(0xE0000 + ord(letter)) for letter in "pay me"),
    "variation selectors that carry bytes": "a\ufe01\U000e0101",
    "soft hyphen": "de\u00adlete",
    "byte order mark": "\ufeffx",
    "no-break space": "DE\u00a089",
    "thin space": "1\u2009000",
    "ideographic space": "a\u3000b",
    "Hangul filler": "a\u3164b",
    "braille blank": "a\u2800b",
    "line separator": "a\u2028b",
    "escape sequence": "\x1b[2K\x1b[1A",
    "C1 control": "a\x9b2Jb",
    "carriage return": "100\r200",
    "backspace": "100\b\b\b9",
    "nul": "a\x00b",
    "private use": "a\ue000b",
    "unassigned": "a\U000e0fffb",
    "lone surrogate": "a\ud800b",
}
texts = st.text(alphabet=st.characters(), max_size=30)


@pytest.mark.parametrize("trick", TRICKS)
def test_every_known_trick_is_found_and_written_out(trick: str) -> None:
    text = TRICKS[trick]
    found = hidden(text)
    assert found
    shown = reveal(text)
    assert all(one.codepoint in shown for one in found)
    assert not any(hides(char) for char in shown)
    assert all(text[one.offset] == chr(int(one.codepoint.replace("U+", "0x"), 0)) for one in found)


def test_whatever_unicode_says_a_renderer_may_ignore_is_hidden() -> None:
    shown = [f"{code:04X}" for first, last in IGNORABLE for code in range(first, last + 1) if not hides(chr(code))]
    assert shown == []


def test_of_all_blanks_only_the_space_is_plain() -> None:
    blanks = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in {"Zs", "Zl", "Zp"}]
    assert [blank for blank in blanks if not hides(blank)] == [" "]


@pytest.mark.parametrize(
    "text", ["plain", "Grüße, 請求書 № 7", "emoji \U0001f600", "e\u0301 combining", "नमस्ते", "עברית"]
)
def test_the_writing_of_the_world_is_not_hidden(text: str) -> None:
    assert hidden(text) == ()
    assert reveal(text) == text


def test_line_feeds_and_tabs_are_layout_where_lines_are_shown_and_hidden_where_one_line_is() -> None:
    assert reveal("a\n\tb") == "a\n\tb"
    assert reveal("a\n\tb", layout=False) == "a⟨U+000A⟩⟨U+0009⟩b"
    assert [one.offset for one in hidden("a\n\tb", layout=False)] == [1, 2]
    assert hidden("a\n\tb") == ()


@given(texts, st.booleans())
def test_what_is_shown_hides_nothing_and_can_be_read_back(text: str, layout: bool) -> None:
    shown = reveal(text, layout=layout)
    assert not any(hides(char) for char in shown if not (layout and char in "\n\t"))
    back = re.sub("⟨U\\+([0-9A-F]{4,6})⟩", lambda found: chr(int(found[1], 16)), shown)
    if "⟨" not in text:
        assert back == text


@given(texts, st.booleans())
def test_what_is_found_is_what_is_written_out(text: str, layout: bool) -> None:
    found = hidden(text, layout=layout)
    assert (reveal(text, layout=layout) == text) is (found == ())
    assert len(reveal(text, layout=layout)) == len(text) + sum(len(one.codepoint) + 1 for one in found)
