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

import jsonschema_rs
from jsonschema_rs import Validator

from remit.core.canonical import Json
from remit.core.errors import InvalidDocument
from remit.guards.hidden_text import reveal
from remit.guards.schema_work import ANCHORS, MAX_WEIGHT, References, levels

_MAX_NODES: Final = 20_000
_MAX_DEPTH: Final = 64
# A yes or no is remembered per definition and value and comes at once, save under ``unevaluatedProperties``, whose
# branches are asked twice, at every level of a recursive schema.
_MAX_LEVELS: Final = 16
# To say why not, every branch of a recursive schema is walked anew at each level.
_MAX_BRANCHES: Final = 20_000
_SHOWN: Final = 80
_COMPOSING: Final = ("allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "not", "$ref")
_OPENING: Final = ("additionalProperties", "unevaluatedProperties")
_LISTING: Final = ("properties", "patternProperties")
# Keywords whose value is one schema, a list of schemas, or a map of schemas.
_ONE: Final = ("items", "additionalItems", "additionalProperties", "unevaluatedProperties", "unevaluatedItems")
_TESTS: Final = ("if", "not", "contains", "propertyNames")
_BRANCHES: Final = ("then", "else")
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPPED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
# Where the closed copy keeps its twins: no keyword, and no member name that a schema would have.
_TWINS: Final = "remit:closed"
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

    def __init__(self, given: Validator, closed: Validator, *, deepest: int, branching: int) -> None:
        """Use ``compile``. ``branching`` is the number of references of a recursive schema, else 1."""
        self._validators = (given, closed)
        self._deepest = deepest
        self._branching = branching

    @classmethod
    def compile(cls, schema: Json) -> "ArgumentShape":
        """Compile an ``inputSchema``. Raises ``InvalidDocument`` for one that is unusable, too large, or not local."""
        if not isinstance(schema, Mapping):
            raise InvalidDocument("inputSchema is not an object", pointer="/inputSchema")
        kind = schema.get("type", "object")
        if kind != "object":
            raise InvalidDocument("inputSchema describes no object", pointer="/inputSchema/type")
        if _TWINS in schema:
            raise InvalidDocument(f"inputSchema has a member {_TWINS}", pointer="/inputSchema")
        try:
            references = _weighed(schema)
            closing = _Closing(schema, references)
            closed = closing.whole()
            _weighed(closed)
        except RecursionError as error:
            raise InvalidDocument("inputSchema is too large or too deep", pointer="/inputSchema") from error
        return cls(
            _validator(schema),
            _validator(closed),
            deepest=_MAX_LEVELS if references.recursive and closing.composed else _MAX_DEPTH,
            branching=references.count if references.recursive else 1,
        )

    def check(self, arguments: Json) -> tuple[ShapeFault, ...]:
        """What does not fit, nothing when all does. A schema that can't be evaluated is a fault."""
        if not isinstance(arguments, Mapping):
            return (ShapeFault("", "the arguments are not an object"),)
        if self._deepest < _MAX_DEPTH and levels(arguments) > self._deepest:
            return (ShapeFault("", f"the arguments nest deeper than the {self._deepest} levels this schema may have"),)
        try:
            for validator in self._validators:
                if not validator.is_valid(arguments):
                    return self._faults(validator, arguments)
        except ValueError as error:
            return (ShapeFault("", f"the schema could not be evaluated: {_plain(str(error))}"),)
        return ()

    def _faults(self, validator: Validator, arguments: Mapping[str, Json]) -> tuple[ShapeFault, ...]:
        if self._branching > 1 and self._branching ** levels(arguments) > _MAX_BRANCHES:
            return (ShapeFault("", "the arguments do not fit the schema, and nest too deep to say where"),)
        return tuple(_fault(error) for error in islice(validator.iter_errors(arguments), 5))


def _weighed(schema: Mapping[str, Json]) -> References:
    references = References(schema)
    if references.weight(schema) > MAX_WEIGHT:
        raise InvalidDocument("inputSchema multiplies itself by its references", pointer="/inputSchema")
    return references


def _validator(schema: Any) -> Validator:
    try:
        return jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=_PATTERNS, ignore_unknown_formats=True, validate_formats=False
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise InvalidDocument(f"inputSchema can't be compiled: {_plain(str(error))}") from error


class _Closing:
    """Copies a schema, closing its objects; counts, so that a schema bomb is refused and not copied.

    Where it can, an object is closed at the place that lists its members: each branch of a union by itself, and a
    shared definition in a closed twin that stands beside it. ``composed`` says that somewhere it could not.
    """

    def __init__(self, root: Mapping[str, Json], references: References) -> None:
        """Nothing is copied yet."""
        self.composed = False
        self._root = root
        self._references = references
        self._early = _is_early(root)
        self._nodes = 0
        self._twins: dict[str, str] = {}
        self._wanted: list[str] = []

    def whole(self) -> dict[str, Json]:
        """The closed copy of the whole schema, with the twins that it refers to."""
        copy: dict[str, Json] = self._schema(self._root, 0, "alone")
        twins: dict[str, Json] = {}
        for target in self._wanted:  # grows while it is read
            twin = self._schema(self._references.pointed(target)[0], 1, "alone")
            if isinstance(twin, dict):
                twin = {key: member for key, member in twin.items() if key not in ANCHORS}
            twins[self._twins[target]] = twin
        return copy | {_TWINS: twins} if twins else copy

    def _schema(self, value: Json, depth: int, place: _Place) -> Any:
        """The closed copy of one schema."""
        if not isinstance(value, Mapping):
            return value
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise InvalidDocument("inputSchema is too large or too deep", pointer="/inputSchema")
        _refuse_foreign(value, depth)
        sole = _sole_composition(value) if place == "alone" and depth else None
        copy = {name: self._member(name, member, depth + 1, place, sole) for name, member in value.items()}
        if self._early:
            self._modernise(copy, depth)
        if place == "alone" and sole is None and not any(name in value for name in _OPENING):
            self._close(value, copy, depth)
        return copy

    def _close(self, value: Mapping[str, Json], copy: dict[str, Any], depth: int) -> None:
        if any(name in value for name in _COMPOSING):
            if depth == 0 or _describes_object(value):
                copy["unevaluatedProperties"] = False
                self.composed = self.composed or depth > 0
        elif depth == 0 or any(name in value for name in _LISTING):
            copy["additionalProperties"] = False

    def _member(self, name: str, member: Json, depth: int, place: _Place, sole: str | None) -> Any:
        """The copy of one keyword's value. Inside a test nothing is closed; parts of one object never alone."""
        alone: _Place = "test" if place == "test" else "alone"
        part: _Place = "test" if place == "test" else "part"
        if name == "$ref" and sole == "$ref" and isinstance(member, str):
            return self._twin(member)
        if name in _TESTS:
            return self._schema(member, depth, "test")
        if name in _BRANCHES:
            return self._schema(member, depth, part)
        if name in _ONE or name in _LISTED:
            inner = part if name in _LISTED and name not in ("prefixItems", sole) else alone
            if isinstance(member, Sequence) and not isinstance(member, str):
                return [self._schema(item, depth, inner) for item in member]
            return self._schema(member, depth, inner)
        if name in _MAPPED and isinstance(member, Mapping):
            inner = alone if name in _LISTING else part
            return {key: self._schema(item, depth, inner) for key, item in member.items()}
        return member

    def _twin(self, target: str) -> str:
        if target not in self._twins:
            self._twins[target] = str(len(self._twins))
            self._wanted.append(target)
        return f"#/{_TWINS}/{self._twins[target]}"

    def _modernise(self, copy: dict[str, Any], depth: int) -> None:
        if depth == 0:
            copy["$schema"] = _CLOSING_DRAFT
        for name in ("exclusiveMinimum", "exclusiveMaximum"):
            if isinstance(copy.get(name), bool):
                del copy[name]  # draft 4 wrote a bool here


def _sole_composition(value: Mapping[str, Json]) -> str | None:
    """The one keyword that composes ``value``, if what it composes is all that lists members: then it closes there."""
    found = [name for name in (*_COMPOSING, *_LISTING, *_OPENING) if name in value]
    return found[0] if len(found) == 1 and found[0] in ("$ref", "anyOf", "oneOf") else None


def _refuse_foreign(value: Mapping[str, Json], depth: int) -> None:
    target = value.get("$ref")
    if target is not None and not (isinstance(target, str) and target.startswith("#")):
        raise InvalidDocument("inputSchema refers outside itself by $ref", pointer="/inputSchema")
    for name in ("$dynamicRef", "$recursiveRef"):
        if name in value:  # what it means depends on who asks, and the evaluator remembers no answer to it
            raise InvalidDocument(f"inputSchema refers by {name}", pointer="/inputSchema")
    if depth and "$id" in value:
        raise InvalidDocument("inputSchema changes its base by $id", pointer="/inputSchema")


def _is_early(schema: Mapping[str, Json]) -> bool:
    named = schema.get("$schema")
    return isinstance(named, str) and _EARLY_DRAFT.fullmatch(named) is not None


def _describes_object(value: Mapping[str, Json]) -> bool:
    """Whether a composed schema is about an object of which it, or a part of it, lists the members."""
    return value.get("type") == "object" or _lists_members(value)


def _lists_members(value: Json) -> bool:
    if not isinstance(value, Mapping):
        return False
    if any(name in value for name in (*_LISTING, "$ref", "allOf")):
        return True
    parts: list[Json] = [value.get(name) for name in _BRANCHES]
    for name in ("anyOf", "oneOf"):
        listed = value.get(name)
        parts.extend(listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ())
    mapped = value.get("dependentSchemas")
    parts.extend(mapped.values() if isinstance(mapped, Mapping) else ())
    return any(map(_lists_members, parts))


def _fault(error: Any) -> ShapeFault:
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.instance_path)
    return ShapeFault(pointer, _plain(str(error.message)))


def _plain(text: str) -> str:
    """At most 80 characters, none of them hidden: the values in a message are the caller's own text."""
    line = reveal(text, layout=False)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
