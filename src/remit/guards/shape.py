"""Step 3 of a tool call: do the arguments fit the pinned input schema, and nothing more?

The schema is compiled once, when a tool is reviewed or loaded: offline, without fetching anything, with a regular
expression engine that runs in linear time. Objects that list their properties are closed, unless the schema itself
opens them: an argument that nobody reviewed does not pass. The pinned bytes stay; only the compiled copy is closed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from remit.core.canonical import Json
from remit.core.errors import InvalidDocument
from remit.guards.hidden_text import reveal

_MAX_NODES: Final = 20_000
_MAX_DEPTH: Final = 64
# References followed, a schema may still be small on the page and huge in the evaluator (2^20 nodes took 15 s).
_MAX_WEIGHT: Final = 50_000
_SHOWN: Final = 80
_COMPOSING: Final = ("allOf", "anyOf", "oneOf", "if", "then", "else", "$ref", "dependentSchemas", "not", "$dynamicRef")
_OPENING: Final = ("additionalProperties", "unevaluatedProperties", "patternProperties")
# Keywords whose value is one schema, a list of schemas, or a map of schemas.
_ONE: Final = ("items", "additionalProperties", "unevaluatedProperties", "contains", "propertyNames", "not")
_ONE_MORE: Final = ("if", "then", "else", "unevaluatedItems", "additionalItems")
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPPED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)


@dataclass(frozen=True, slots=True)
class ShapeFault:
    """What does not fit, and where: a JSON pointer into the arguments and a plain sentence."""

    pointer: str
    text: str


class ArgumentShape:
    """A compiled input schema."""

    def __init__(self, validator: Any) -> None:
        """Use ``compile``."""
        self._validator = validator

    @classmethod
    def compile(cls, schema: Json) -> "ArgumentShape":
        """Compile an ``inputSchema``. Raises ``InvalidDocument`` for one that is unusable, too large, or not local."""
        if not isinstance(schema, Mapping):
            raise InvalidDocument("inputSchema is not an object", pointer="/inputSchema")
        kind = schema.get("type", "object")
        if kind != "object":
            raise InvalidDocument("inputSchema describes no object", pointer="/inputSchema/type")
        closed = _Closing().schema(schema, 0, closable=True)
        if _weight(schema, schema, {}) > _MAX_WEIGHT:
            raise InvalidDocument("inputSchema multiplies itself by its references", pointer="/inputSchema")
        try:
            validator = jsonschema_rs.validator_for(
                closed, offline=True, pattern_options=_PATTERNS, ignore_unknown_formats=True, validate_formats=False
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise InvalidDocument(f"inputSchema can't be compiled: {_plain(str(error))}") from error
        return cls(validator)

    def check(self, arguments: Json) -> tuple[ShapeFault, ...]:
        """What does not fit, nothing when all does. A schema that can't be evaluated is a fault."""
        if not isinstance(arguments, Mapping):
            return (ShapeFault("", "the arguments are not an object"),)
        try:
            if self._validator.is_valid(arguments):
                return ()
            return tuple(_fault(error) for error in islice(self._validator.iter_errors(arguments), 5))
        except ValueError as error:
            return (ShapeFault("", f"the schema could not be evaluated: {_plain(str(error))}"),)


class _Closing:
    """Copies a schema, closing its objects; counts, so that a schema bomb is refused and not copied."""

    def __init__(self) -> None:
        self._nodes = 0

    def schema(self, value: Json, depth: int, *, closable: bool) -> Any:
        """``closable`` is false inside a composition, where the outermost object closes for all branches."""
        if not isinstance(value, Mapping):
            return value
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise InvalidDocument("inputSchema is too large or too deep", pointer="/inputSchema")
        for name in ("$ref", "$dynamicRef", "$recursiveRef"):
            target = value.get(name)
            if target is not None and not (isinstance(target, str) and target.startswith("#")):
                raise InvalidDocument(f"inputSchema refers outside itself by {name}", pointer="/inputSchema")
        if depth and "$id" in value:
            raise InvalidDocument("inputSchema changes its base by $id", pointer="/inputSchema")
        return self._closed(value, depth, closable=closable)

    def _closed(self, value: Mapping[str, Json], depth: int, *, closable: bool) -> dict[str, Json]:
        composed = any(name in value for name in _COMPOSING)
        inner = closable and not composed
        copy: dict[str, Json] = {}
        for name, member in value.items():
            if name in _ONE or name in _ONE_MORE:
                branch = name in ("not", "if", "then", "else")
                copy[name] = self.schema(member, depth + 1, closable=not branch)
            elif name in _LISTED and isinstance(member, Sequence) and not isinstance(member, str):
                branch = name != "prefixItems"
                copy[name] = [self.schema(item, depth + 1, closable=not branch) for item in member]
            elif name in _MAPPED and isinstance(member, Mapping):
                shared = name in ("$defs", "definitions", "dependentSchemas")
                copy[name] = {key: self.schema(item, depth + 1, closable=not shared) for key, item in member.items()}
            else:
                copy[name] = member
        if not any(name in value for name in _OPENING):
            if inner and ("properties" in value or depth == 0):
                copy["additionalProperties"] = False
            elif closable and composed and (depth == 0 or _describes_object(value)):
                copy["unevaluatedProperties"] = False
        return copy


def _weight(node: Json, root: Json, known: dict[str, int]) -> int:
    """How many nodes ``node`` stands for with local references followed; a reference into itself counts once."""
    if isinstance(node, Mapping):
        target = node.get("$ref")
        total = 1 + sum(_weight(member, root, known) for member in node.values())
        if isinstance(target, str):
            if target not in known:
                known[target] = 1
                known[target] = min(_weight(_pointed(root, target), root, known), _MAX_WEIGHT + 1)
            total += known[target]
        return total
    if isinstance(node, Sequence) and not isinstance(node, str):
        return 1 + sum(_weight(member, root, known) for member in node)
    return 1


def _pointed(root: Json, reference: str) -> Json:
    """What a local reference points at; None for an anchor or nothing, which the compiler will judge."""
    node = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _describes_object(value: Mapping[str, Json]) -> bool:
    kind = value.get("type")
    return "properties" in value or "$ref" in value or "allOf" in value or kind == "object"


def _fault(error: Any) -> ShapeFault:
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.instance_path)
    return ShapeFault(pointer, _plain(str(error.message)))


def _plain(text: str) -> str:
    """At most 80 characters, none of them hidden: the values in a message are the caller's own text."""
    line = reveal(text, layout=False)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
