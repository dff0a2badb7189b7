"""Come in here to hold a parsed document against its JSON Schema, or to print that schema.

The schemas are the files of ``remit/schemas`` (draft 2020-12). They refer to each other by file name and to nothing
else; nothing is ever fetched. Each is compiled once, twice over: as an *answer*, with every member, and as *input*,
without the members that only Remit sets (``readOnly``): a file that names such a member is refused, because a
``state: active`` that is silently not heeded would be believed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import jsonschema_rs
from jsonschema_rs import ValidationError, ValidationErrorKind, Validator

from remit.core.canonical import Json
from remit.core.errors import InvalidDocument
from remit.guards.hidden_text import reveal

_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class _Compiled:
    """One schema as text would have it, and the two ways it is used."""

    source: dict[str, Any]
    answer: Validator
    input: Validator


def kinds() -> tuple[str, ...]:
    """The name of every schema there is."""
    return tuple(sorted(name for name in _sources() if name != "Values"))


def schema(kind: str) -> dict[str, Any]:
    """The whole schema of ``kind``, standing alone. Raises ``InvalidDocument`` for a kind that there is not."""
    return _compiled(kind).source


def check_document(kind: str, value: Json) -> None:
    """Pass if ``value`` may be handed in as a ``kind``; else ``InvalidDocument`` at the first fault."""
    _check(kind, _compiled(kind).input, value)


def check_answer(kind: str, value: Json) -> None:
    """Pass if ``value`` is what Remit may answer as a ``kind``; else ``InvalidDocument``."""
    _check(kind, _compiled(kind).answer, value)


def _check(kind: str, validator: Validator, value: Json) -> None:
    try:
        fault = next(iter(validator.iter_errors(_plain(value))), None)
    except UnicodeEncodeError:  # a lone surrogate is no text; JSON from outside never gets this far with one
        raise InvalidDocument(f"{kind} document: text with half of a surrogate pair") from None
    if fault is not None:
        words, pointer = _words(kind, fault)
        place = pointer if len(pointer) <= 2 * _SHOWN else pointer[: 2 * _SHOWN] + "…"
        # Names and values in these words are the sender's own text.
        raise InvalidDocument(reveal(f"{kind} {place or 'document'}: {words}", layout=False), pointer=pointer)


def _plain(value: Json) -> Any:
    """The same value in the containers that the validator reads."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidDocument("a member's name is text")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


@cache
def _sources() -> Mapping[str, dict[str, Any]]:
    folder = resources.files("remit") / "schemas"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".json")]
    return {entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8")) for entry in found}


@cache
def _compiled(kind: str) -> _Compiled:
    if kind == "Values" or kind not in _sources():
        raise InvalidDocument(f"there is no kind {kind!r}; there are {', '.join(kinds())}")
    whole = _standing_alone(kind)
    members = whole.get("properties", {})
    settable = {name: member for name, member in members.items() if not member.get("readOnly")}
    narrowed = whole | {"properties": settable} if members else whole
    return _Compiled(whole, _validator(whole), _validator(narrowed))


def _standing_alone(kind: str) -> dict[str, Any]:
    """The schema of ``kind`` with everything that it refers to, directly or not, under its own ``$defs``."""
    defs: dict[str, Any] = {}
    whole: dict[str, Any] = _localized(_sources()[kind], defs)
    return whole | {"$defs": dict(sorted(defs.items()))} if defs else whole


def _localized(node: Any, defs: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_localized(item, defs) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _localized(item, defs) for key, item in node.items() if key != "$ref"}
    if "$ref" in node:
        file, _, fragment = node["$ref"].partition(".json")
        name = fragment.rpartition("/")[2] or file
        if name not in defs:
            defs[name] = None  # holds the place, should a schema refer to itself
            target = _sources()[file]
            found = target["$defs"][name] if fragment else target
            defs[name] = _localized(
                {key: value for key, value in found.items() if key[:4] not in ("$sch", "$id")}, defs
            )
        out["$ref"] = f"#/$defs/{name}"
    return out


def _validator(source: dict[str, Any]) -> Validator:
    return jsonschema_rs.validator_for(source, offline=True)


def _words(kind: str, fault: ValidationError) -> tuple[str, str]:
    """What is wrong in plain words, and where, as a JSON pointer."""
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in fault.instance_path)
    match fault.kind:
        case ValidationErrorKind.AdditionalProperties(unexpected=names):
            name = names[0]
            read_only = not pointer and _compiled(kind).source["properties"].get(name, {}).get("readOnly")
            words = "is set by Remit; leave it out" if read_only else "is no member here"
            return words, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        case ValidationErrorKind.Required(property=name):
            return f"the member {name!r} is missing", pointer
        case ValidationErrorKind.Type():
            return fault.message[-_SHOWN:] if len(fault.message) > _SHOWN else fault.message, pointer
        case ValidationErrorKind.Enum(options=options):
            return f"{_shown(fault)} is not one of {', '.join(map(str, options))}", pointer
        case ValidationErrorKind.OneOfNotValid() | ValidationErrorKind.OneOfMultipleValid():
            return _one_of(kind, fault), pointer
        case _:
            return _described(kind, fault), pointer


def _one_of(kind: str, fault: ValidationError) -> str:
    branches = _compiled(kind).source.get("oneOf", []) if not fault.instance_path else []
    names = [name for branch in branches for name in branch.get("required", [])]
    return f"exactly one of {', '.join(names)} is needed" if names else _described(kind, fault)


def _described(kind: str, fault: ValidationError) -> str:
    """The fault in the words of the schema that was missed, which say what would fit."""
    wanted = _description(kind, fault.absolute_keyword_location)
    return f"{_shown(fault)} does not fit: {wanted}" if wanted else fault.message[: 4 * _SHOWN]


def _shown(fault: ValidationError) -> str:
    text = json.dumps(fault.instance, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _description(kind: str, location: str | None) -> str | None:
    """What the schema around a failed keyword says of itself; the nearest one that says something."""
    node: Any = _compiled(kind).source
    found: str | None = None
    for part in (location or "").partition("#")[2].split("/")[1:-1]:
        key = part.replace("~1", "/").replace("~0", "~")
        node = node.get(key) if isinstance(node, dict) else node[int(key)]
        if isinstance(node, dict) and isinstance(node.get("description"), str):
            found = node["description"]
    return found
