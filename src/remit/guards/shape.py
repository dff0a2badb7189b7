"""Step 3 of a tool call: do the arguments fit the pinned input schema, and nothing more?

The schema is compiled once, when a tool is reviewed or loaded: offline, without fetching anything, with a regular
expression engine that runs in linear time. Objects that list their properties are closed, unless the schema itself
opens them: an argument that nobody reviewed does not pass. The pinned bytes stay; only the compiled copy is closed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote

import jsonschema_rs
from jsonschema_rs import Validator

from remit.core.canonical import Json
from remit.core.errors import InvalidDocument
from remit.guards.hidden_text import reveal

_MAX_NODES: Final = 20_000
_MAX_DEPTH: Final = 64
# References followed, a schema may still be small on the page and huge in the evaluator (2^20 nodes took 15 s).
_MAX_WEIGHT: Final = 50_000
_MAX_CHAIN: Final = 100
# A yes or no comes at once, but to say why, the evaluator walks every branch of a recursive schema anew at each level.
_MAX_BRANCHES: Final = 20_000
_SHOWN: Final = 80
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_COMPOSING: Final = ("allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "not", *_REFERENCES)
_OPENING: Final = ("additionalProperties", "unevaluatedProperties")
_LISTING: Final = ("properties", "patternProperties")
# Keywords whose value is one schema, a list of schemas, or a map of schemas.
_ONE: Final = ("items", "additionalItems", "additionalProperties", "unevaluatedProperties", "unevaluatedItems")
_TESTS: Final = ("if", "not", "contains", "propertyNames")
_BRANCHES: Final = ("then", "else")
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPPED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
# Drafts that don't know ``unevaluatedProperties``: their closed copy is read by the first one that does and that still
# has lists of ``items``. What is lost by that is kept by the schema as it was given, which is asked too.
_EARLY_DRAFT: Final = re.compile(r"https?://json-schema\.org/draft-0[3-7]/schema#?")
_CLOSING_DRAFT: Final = "https://json-schema.org/draft/2019-09/schema"

# How far a part of a schema may be closed: it stands alone; it is one of several parts that describe one object, of
# which the outermost is closed; or it is a test, where closing would turn an answer round.
_Place: TypeAlias = Literal["alone", "part", "test"]


@dataclass(frozen=True, slots=True)
class ShapeFault:
    """What does not fit, and where: a JSON pointer into the arguments and a plain sentence."""

    pointer: str
    text: str


class ArgumentShape:
    """A compiled input schema: as it was given, and closed. Arguments must fit both, so closing can only narrow."""

    def __init__(self, given: Validator, closed: Validator, branching: int) -> None:
        """Use ``compile``. ``branching`` is the number of references of a recursive schema, else 0."""
        self._validators = (closed, given)
        self._branching = branching

    @classmethod
    def compile(cls, schema: Json) -> "ArgumentShape":
        """Compile an ``inputSchema``. Raises ``InvalidDocument`` for one that is unusable, too large, or not local."""
        if not isinstance(schema, Mapping):
            raise InvalidDocument("inputSchema is not an object", pointer="/inputSchema")
        kind = schema.get("type", "object")
        if kind != "object":
            raise InvalidDocument("inputSchema describes no object", pointer="/inputSchema/type")
        closed = _Closing(early=_is_early(schema)).schema(schema, 0, "alone")
        references = _References(schema)
        if references.weight(schema) > _MAX_WEIGHT:
            raise InvalidDocument("inputSchema multiplies itself by its references", pointer="/inputSchema")
        return cls(_validator(schema), _validator(closed), references.count if references.recursive else 0)

    def check(self, arguments: Json) -> tuple[ShapeFault, ...]:
        """What does not fit, nothing when all does. A schema that can't be evaluated is a fault."""
        if not isinstance(arguments, Mapping):
            return (ShapeFault("", "the arguments are not an object"),)
        try:
            for validator in self._validators:
                if not validator.is_valid(arguments):
                    return self._faults(validator, arguments)
        except ValueError as error:
            return (ShapeFault("", f"the schema could not be evaluated: {_plain(str(error))}"),)
        return ()

    def _faults(self, validator: Validator, arguments: Mapping[str, Json]) -> tuple[ShapeFault, ...]:
        if self._branching > 1 and self._branching ** _depth(arguments) > _MAX_BRANCHES:
            return (ShapeFault("", "the arguments do not fit the schema, and nest too deep to say where"),)
        return tuple(_fault(error) for error in islice(validator.iter_errors(arguments), 5))


def _validator(schema: Any) -> Validator:
    try:
        return jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=_PATTERNS, ignore_unknown_formats=True, validate_formats=False
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise InvalidDocument(f"inputSchema can't be compiled: {_plain(str(error))}") from error


class _Closing:
    """Copies a schema, closing its objects; counts, so that a schema bomb is refused and not copied."""

    def __init__(self, *, early: bool) -> None:
        """``early`` says that the schema is of a draft that can't be closed as it is."""
        self._early = early
        self._nodes = 0

    def schema(self, value: Json, depth: int, place: _Place) -> Any:
        """The closed copy of one schema."""
        if not isinstance(value, Mapping):
            return value
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise InvalidDocument("inputSchema is too large or too deep", pointer="/inputSchema")
        _refuse_foreign(value, depth)
        copy = {name: self._member(name, member, depth + 1, place) for name, member in value.items()}
        if self._early:
            self._modernise(copy, depth)
        if place == "alone" and not any(name in value for name in _OPENING):
            self._close(value, copy, depth)
        return copy

    def _close(self, value: Mapping[str, Json], copy: dict[str, Any], depth: int) -> None:
        if any(name in value for name in _COMPOSING):
            if depth == 0 or _describes_object(value):
                copy["unevaluatedProperties"] = False
        elif depth == 0 or any(name in value for name in _LISTING):
            copy["additionalProperties"] = False

    def _member(self, name: str, member: Json, depth: int, place: _Place) -> Any:
        """The copy of one keyword's value. Inside a test nothing is closed; parts of one object never alone."""
        alone: _Place = "test" if place == "test" else "alone"
        part: _Place = "test" if place == "test" else "part"
        if name in _TESTS:
            return self.schema(member, depth, "test")
        if name in _BRANCHES:
            return self.schema(member, depth, part)
        if name in _ONE or name in _LISTED:
            inner = part if name in _LISTED and name != "prefixItems" else alone
            if isinstance(member, Sequence) and not isinstance(member, str):
                return [self.schema(item, depth, inner) for item in member]
            return self.schema(member, depth, inner)
        if name in _MAPPED and isinstance(member, Mapping):
            inner = alone if name in _LISTING else part
            return {key: self.schema(item, depth, inner) for key, item in member.items()}
        return member

    def _modernise(self, copy: dict[str, Any], depth: int) -> None:
        if depth == 0:
            copy["$schema"] = _CLOSING_DRAFT
        for name in ("exclusiveMinimum", "exclusiveMaximum"):
            if isinstance(copy.get(name), bool):
                del copy[name]  # draft 4 wrote a bool here


def _refuse_foreign(value: Mapping[str, Json], depth: int) -> None:
    for name in _REFERENCES:
        target = value.get(name)
        if target is not None and not (isinstance(target, str) and target.startswith("#")):
            raise InvalidDocument(f"inputSchema refers outside itself by {name}", pointer="/inputSchema")
    if depth and "$id" in value:
        raise InvalidDocument("inputSchema changes its base by $id", pointer="/inputSchema")


class _References:
    """Follows local references: what a schema weighs once they are followed, and whether one leads back into itself."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._chain: list[str] = []
        self._anchors: dict[str, list[Json]] = {}
        self.count = 0
        self.recursive = False
        self._find_anchors(root)

    def weight(self, node: Json) -> int:
        """How many nodes ``node`` stands for; a reference into itself counts once."""
        if isinstance(node, Mapping):
            targets = [target for name in _REFERENCES if isinstance(target := node.get(name), str)]
            total = 1 + sum(map(self.weight, node.values())) + sum(map(self._follow, targets))
        elif isinstance(node, Sequence) and not isinstance(node, str):
            total = 1 + sum(map(self.weight, node))
        else:
            total = 1
        return min(total, _MAX_WEIGHT + 1)

    def _follow(self, target: str) -> int:
        if not target.startswith("#"):
            return 1  # a value that looks like a reference: where it would be one, it was refused before
        self.count += 1
        if target in self._chain:
            self.recursive = True
            return 1
        if target not in self._known:
            if len(self._chain) >= _MAX_CHAIN:
                raise InvalidDocument("inputSchema is too large or too deep", pointer="/inputSchema")
            self._chain.append(target)
            self._known[target] = sum(map(self.weight, self._pointed(target)))
            self._chain.pop()
        return self._known[target]

    def _pointed(self, target: str) -> Sequence[Json]:
        """What a reference points at. Raises ``InvalidDocument`` for nothing, so that no spelling goes unweighed."""
        fragment = unquote(target.removeprefix("#"))
        if fragment in self._anchors:
            return self._anchors[fragment]
        node: Json = self._root
        for part in fragment.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, Sequence) and not isinstance(node, str) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise InvalidDocument("inputSchema refers to a place that is not in it", pointer="/inputSchema")
        if fragment and not fragment.startswith("/"):
            raise InvalidDocument("inputSchema refers to an anchor that is not in it", pointer="/inputSchema")
        return (node,)

    def _find_anchors(self, node: Json) -> None:
        if isinstance(node, Mapping):
            for name in ("$anchor", "$dynamicAnchor"):
                anchor = node.get(name)
                if isinstance(anchor, str):
                    self._anchors.setdefault(anchor, []).append(node)
            for member in node.values():
                self._find_anchors(member)
        elif isinstance(node, Sequence) and not isinstance(node, str):
            for member in node:
                self._find_anchors(member)


def _is_early(schema: Mapping[str, Json]) -> bool:
    named = schema.get("$schema")
    return isinstance(named, str) and _EARLY_DRAFT.fullmatch(named) is not None


def _describes_object(value: Mapping[str, Json]) -> bool:
    """Whether a composed schema is about an object of which it, or a part of it, lists the members."""
    return value.get("type") == "object" or _lists_members(value)


def _lists_members(value: Json) -> bool:
    if not isinstance(value, Mapping):
        return False
    if any(name in value for name in (*_LISTING, *_REFERENCES, "allOf")):
        return True
    parts: list[Json] = [value.get(name) for name in _BRANCHES]
    for name in ("anyOf", "oneOf"):
        listed = value.get(name)
        parts.extend(listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ())
    mapped = value.get("dependentSchemas")
    parts.extend(mapped.values() if isinstance(mapped, Mapping) else ())
    return any(map(_lists_members, parts))


def _depth(value: Json) -> int:
    """How deep arrays and objects nest."""
    depth = 0
    level: list[Json] = [value]
    while level := [
        member
        for node in level
        if isinstance(node, (Mapping, list))
        for member in (node.values() if isinstance(node, Mapping) else node)
    ]:
        depth += 1
    return depth


def _fault(error: Any) -> ShapeFault:
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.instance_path)
    return ShapeFault(pointer, _plain(str(error.message)))


def _plain(text: str) -> str:
    """At most 80 characters, none of them hidden: the values in a message are the caller's own text."""
    line = reveal(text, layout=False)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
