"""Come in here for how files are read: YAML 1.2 in a safe subset, or JSON, in one or more documents.

Refused, with file, line and member: anchors, aliases, tags, directives, merge keys, duplicate keys, keys that are not
text, numbers that have more than one reading (``0x1f``, ``007``, ``1_000``, ``.inf``), files over a megabyte, nesting
over 64, documents whose ``kind`` does not belong there, and members that the kind does not have. Timestamps stay text,
and numbers keep their exact value.

The parser gives events; no object is ever built from a tag, and a file can't make more values than it has characters.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from remit.core.canonical import Json, number_text
from remit.core.errors import BadInput, InvalidDocument, Malformed, NotFound, RemitError, TooLarge
from remit.guards.documents import check_document, kinds
from remit.guards.json_in import parse
from remit.sdk.client import Document

MAX_BYTES: Final = 1_048_576
MAX_DEPTH: Final = 64
_ERROR_LENGTH: Final = 200
_MAX_DIGITS: Final = 64
_YAML_HINT: Final = "Correct the YAML; quote text that is not plain."

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
# What some YAML reader somewhere takes for a number or none: refused rather than guessed.
_DOUBTFUL = re.compile(
    r"[-+]?(\.[0-9_]+|[0-9][0-9_]*\.?[0-9_]*(e[-+]?[0-9]+)?|0[xob][0-9a-f_]+)|[-+]?\.(inf|nan)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class FileDocument:
    """One document of a file: what it says, and where each member stands."""

    path: str
    value: Document
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.value["kind"])

    def located(self, error: RemitError) -> RemitError:
        """The same error, which also names the file, the line and the member."""
        line = self._line(error.pointer or "")
        place = f"{self.path}, line {line}" + (f", {error.pointer}" if error.pointer else "")
        return type(error)(f"{place}: {error.detail}", hint=error.hint, pointer=error.pointer, event=error.event)

    def _line(self, pointer: str) -> int:
        """The line of a member, or of the nearest one around it."""
        while pointer not in self.lines and pointer:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer, 1)


def read_documents(path: Path, *wanted: str) -> tuple[FileDocument, ...]:
    """Every document of a file, each of one of the ``wanted`` kinds and checked against its schema.

    Raises ``InvalidDocument``, ``Malformed``, ``TooLarge`` naming file, line and member; ``NotFound`` without a file.
    """
    text = read_text(path)
    found = _json(str(path), text) if path.suffix == ".json" else tuple(_yaml(str(path), text))
    if not found:
        raise InvalidDocument(f"{path} holds no document", hint=f"Write one of kind {' or '.join(wanted)}.")
    for document in found:
        _check_kind(document, wanted)
        try:
            check_document(document.kind, document.value)
        except InvalidDocument as error:
            raise document.located(error) from error
    return found


def read_value(path: Path) -> Document:
    """One object without a kind, such as a plan. Raises as ``read_documents``."""
    text = read_text(path)
    found = _json(str(path), text) if path.suffix == ".json" else tuple(_yaml(str(path), text))
    if len(found) != 1:
        raise InvalidDocument(f"{path} holds {len(found)} documents where one is wanted")
    return found[0].value


def read_text(path: Path) -> str:
    """A bounded UTF-8 file. Raises ``NotFound``, ``TooLarge``, ``Malformed``, ``BadInput``."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", hint="Check the path.") from error
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}", hint="Check the path and its permissions.") from error
    if len(data) > MAX_BYTES:
        raise TooLarge(f"{path} is larger than {MAX_BYTES} bytes", hint="Split it into several files.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Malformed(f"{path}, line {line}: this is not UTF-8", hint="Save the file as UTF-8.") from error


def _check_kind(document: FileDocument, wanted: Sequence[str]) -> None:
    kind = document.value.get("kind")
    choice = " or ".join(wanted)
    if not isinstance(kind, str):
        missing = InvalidDocument("the member 'kind' is missing", hint=f"Begin with `kind: {wanted[0]}`.")
        raise document.located(missing)
    if kind not in wanted:
        known = "does not belong here" if kind in kinds() else "is not known"
        error = InvalidDocument(f"kind {kind!r} {known}; wanted is {choice}", pointer="/kind")
        raise document.located(error)


def _json(path: str, text: str) -> tuple[FileDocument, ...]:
    try:
        value = parse(text.encode())
    except RemitError as error:
        raise type(error)(f"{path}: {error.detail}", hint=error.hint) from error
    if not isinstance(value, dict):
        raise InvalidDocument(f"{path}, line 1: a document is an object with members")
    return (FileDocument(path, value, _json_lines(path, text)),)


def _json_lines(path: str, text: str) -> Mapping[str, int]:
    """Where each member of a JSON file stands, as YAML sees it; nothing where YAML reads JSON otherwise (tabs)."""
    try:
        found = tuple(_yaml(path, text))
    except RemitError:
        return {}
    return found[0].lines if len(found) == 1 else {}


def _yaml(path: str, text: str) -> Iterator[FileDocument]:
    builder = _Builder(path)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            finished = builder.take(event)
            if finished is not None:
                yield finished
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        words = str(error.problem or error.context or "this is not YAML")[:_ERROR_LENGTH]
        raise Malformed(f"{path}, line {line}: {words}", hint=_YAML_HINT) from error
    except YAMLError as error:
        words = " ".join(str(error).split())[:_ERROR_LENGTH]
        raise Malformed(f"{path}: {words}", hint=_YAML_HINT) from error


class _Level:
    """One open array or object while it is read."""

    def __init__(self, pointer: str, into: list[Any] | dict[str, Any]) -> None:
        self.pointer = pointer
        self.into = into
        self.key: str | None = None


class _Builder:
    """From parser events to plain values, without recursion: depth is counted, not run into."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._levels: list[_Level] = []
        self._lines: dict[str, int] = {}
        self._root: Json = None

    def take(self, event: Any) -> FileDocument | None:
        """One event; the document that it finished, if it did."""
        name = type(event).__name__
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        match name:
            case "DocumentStartEvent":
                if event.version is not None or event.tags:
                    raise self._error(line, "directives are not read; leave out the % lines")
                self._levels, self._lines, self._root = [], {}, None
            case "DocumentEndEvent":
                return self._finish(line)
            case "AliasEvent":
                raise self._error(line, "aliases are not read; write the value out")
            case "ScalarEvent":
                self._refuse_marks(event, line)
                self._scalar(event, line)
            case "SequenceStartEvent" | "MappingStartEvent":
                self._refuse_marks(event, line)
                self._open([] if name == "SequenceStartEvent" else {}, line)
            case "SequenceEndEvent" | "MappingEndEvent":
                self._levels.pop()
            case _:
                pass
        return None

    def _finish(self, line: int) -> FileDocument | None:
        if self._root is None:  # an empty document, as after a last `---`
            return None
        if not isinstance(self._root, dict):
            raise self._error(self._lines.get("", line), "a document is an object with members")
        return FileDocument(self._path, self._root, self._lines)

    def _refuse_marks(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            raise self._error(line, "anchors are not read; write the value out")
        if event.ctag is not None and str(event.ctag):
            raise self._error(line, "tags are not read; quote text that is to stay text")

    def _scalar(self, event: Any, line: int) -> None:
        level = self._levels[-1] if self._levels else None
        plain = event.style is None or event.style == ""
        text = self._joined(event.value, line)
        value = self._plain(text, line) if plain else text
        if level is None or isinstance(level.into, list) or level.key is not None:
            self._place(value, line)
            return
        if plain and text == "<<":
            raise self._error(line, "merge keys are not read; write the members out")
        if not isinstance(value, str):
            raise self._error(line, f"the key {text!r} is not text; quote it")
        if value in level.into:
            raise self._error(line, f"the key {value!r} stands here twice")
        level.key = value

    def _joined(self, text: str, line: int) -> str:
        """``text`` with JSON's pairs of surrogate escapes as the characters they stand for; a lone one is refused."""
        if _SURROGATE.search(text) is None:
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise self._error(line, "a lone surrogate is no character; write the character itself") from error

    def _plain(self, text: str, line: int) -> Json:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _DECIMAL.fullmatch(text):
            return self._number(text, line)
        if _DOUBTFUL.fullmatch(text):
            raise self._error(line, f"{text!r} has more than one reading; quote it, or write a plain decimal")
        return text

    def _number(self, text: str, line: int) -> Json:
        if len(text) > _MAX_DIGITS:
            raise self._error(line, "this number is too long")
        value = Decimal(text)
        try:
            number_text(value)
        except Malformed as error:
            raise self._error(line, error.detail) from error
        return int(text) if _INTEGER.fullmatch(text) else value

    def _open(self, into: list[Any] | dict[str, Any], line: int) -> None:
        if len(self._levels) >= MAX_DEPTH:
            raise self._error(line, f"this nests deeper than {MAX_DEPTH}")
        level = self._levels[-1] if self._levels else None
        if level is not None and isinstance(level.into, dict) and level.key is None:
            raise self._error(line, "a key is text, not a list or an object")
        pointer = self._place(into, line)
        self._levels.append(_Level(pointer, into))

    def _place(self, value: Any, line: int) -> str:
        """Put a value where it belongs; its pointer."""
        if not self._levels:
            self._root, pointer = value, ""
        else:
            level = self._levels[-1]
            if isinstance(level.into, list):
                pointer = f"{level.pointer}/{len(level.into)}"
                level.into.append(value)
            else:
                key = level.key or ""
                pointer = f"{level.pointer}/{key.replace('~', '~0').replace('/', '~1')}"
                level.into[key] = value
                level.key = None
        self._lines[pointer] = line
        return pointer

    def _error(self, line: int, what: str) -> Malformed:
        return Malformed(f"{self._path}, line {line}: {what}", hint="Correct the file; nothing was changed.")


def read_arguments(text: str) -> dict[str, Json]:
    """The arguments of a call as an option gives them: JSON, ``-`` for stdin, ``@FILE`` for a file."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = read_text(Path(text[1:]))
    try:
        value = parse(text.encode("utf-8", "surrogateescape"))
    except RemitError as error:
        raise type(error)(f"--arguments: {error.detail}", hint=error.hint) from error
    if not isinstance(value, dict):
        raise InvalidDocument("arguments are one JSON object", hint="""Such as --arguments '{"limit": 5}'.""")
    return value
