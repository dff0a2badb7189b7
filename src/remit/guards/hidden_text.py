"""What a person would not see: characters that hide, reorder or fake text are found, and made visible."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Cc control, Cf format (zero-width, bidi, tags, soft hyphen), Co private use, Cs surrogate, Cn unassigned,
# Zl and Zp line and paragraph separators.
_HIDING: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_VARIATION: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0), range(0x180B, 0x1810))
# Letters by category that a reader sees as nothing: Hangul fillers, combining grapheme joiner, braille blank.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u034f\u2800\u17b4\u17b5")
_LAYOUT: Final = frozenset("\n\t")


@dataclass(frozen=True, slots=True)
class Hidden:
    """One hidden character: its offset in code points, its code point, its Unicode name."""

    offset: int
    codepoint: str
    name: str


def hides(char: str) -> bool:
    """Whether a reader would not see this character for what it is. Line feed and tab count too."""
    code = ord(char)
    if char in _BLANK or any(code in span for span in _VARIATION):
        return True
    category = unicodedata.category(char)
    return category in _HIDING or (category == "Zs" and char != " ")


def hidden(text: str, *, layout: bool = True) -> tuple[Hidden, ...]:
    """Every hidden character of ``text``; with ``layout`` line feeds and tabs are ordinary."""
    return tuple(
        Hidden(offset, _codepoint(char), unicodedata.name(char, "unnamed"))
        for offset, char in enumerate(text)
        if hides(char) and not (layout and char in _LAYOUT)
    )


def reveal(text: str, *, layout: bool = True) -> str:
    """``text`` with every hidden character written out as ``⟨U+202E⟩``; nothing else is changed."""
    return "".join(_shown(text, layout=layout))


def _shown(text: str, *, layout: bool) -> Iterator[str]:
    for char in text:
        if (char.isascii() and char.isprintable()) or (layout and char in _LAYOUT) or not hides(char):
            yield char
        else:
            yield f"⟨{_codepoint(char)}⟩"


def _codepoint(char: str) -> str:
    return f"U+{ord(char):04X}"
