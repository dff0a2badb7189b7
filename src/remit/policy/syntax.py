"""Where each Cedar statement of a text begins, and whether the text is small and flat enough to be parsed at all.

Two needs bring this scanner about. The engine's parser gives no positions, and a refused policy must name its line. And
it recurses: measured, 1,000 nested brackets overflow its stack and end the process, so depth is bounded before it is
asked. Nothing is decided on what is read here: ``operators.py`` compares the statements with a parse of the whole text.

The tokens are those of Cedar's lexer: a string may span lines and escapes with a backslash, a comment runs from ``//``
to a line feed or carriage return, and a semicolon outside both ends a statement. A string that nothing closes is one
token to the end: read on inside it, each of its quotes would be tried to the end again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from remit.core.errors import InvalidPolicy

MAX_NESTING: Final = 32  # brackets within brackets
MAX_OPERATORS: Final = 1_000  # operators and member accesses in one statement
MAX_STATEMENT: Final = 65_536  # characters

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n\r]*)
      | (?P<string>"(?:\\.|[^"\\])*(?:"|\\?\Z))
      | (?P<end>;)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<operator>&&|\|\||[.+\-*!]|\b(?:if|has|like|in|is)\b)
      | (?P<word>\w+)
      | (?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its semicolon. ``line`` is where its first token stands, counted from 1."""

    line: int
    text: str


class Unparsable(InvalidPolicy):
    """The policy text is too large or nested too deep to be parsed."""

    def __init__(self, detail: str, line: int) -> None:
        """``line`` is where the statement begins."""
        super().__init__(detail)
        self.line = line


def statements(text: str) -> Iterator[Statement]:
    """The statements of ``text`` in order; a rest without semicolon counts as one. Raises ``Unparsable``."""
    begin, cut, depth, operators = -1, 0, 0, 0
    line, counted = 1, 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "comment":
            continue
        if begin < 0:
            begin = token.start()
            line, counted = line + text.count("\n", counted, begin), begin
        # Never reset at a semicolon: in whole statements it is 0 there, and unbalanced ones may not pile up.
        depth = max(0, depth + (kind == "open") - (kind == "close"))
        operators += kind == "operator"
        if depth > MAX_NESTING or operators > MAX_OPERATORS or token.end() - begin > MAX_STATEMENT:
            raise Unparsable("a statement is too long or nested too deep", line)
        if kind == "end":
            yield Statement(line, text[cut : token.end()])
            begin, cut, operators = -1, token.end(), 0
    if begin >= 0:
        yield Statement(line, text[cut:])
