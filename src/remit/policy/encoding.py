"""How a tool's arguments become Cedar values: the type of each from the pinned input schema, then each call's values.

The encoding is INTERFACES section 7's, exactly:

- string, boolean, integer: ``String``, ``Bool``, ``Long``; a schema ``number``, and whatever the review calls money:
  ``decimal`` (more than four fraction digits, or out of range, refuses);
- an object with listed properties: a record, whose required members are required; an array of one scalar type: a set;
- everything else (unions, free-form objects, mixed arrays, enums without a type): a String of its canonical bytes;
- an absent argument is absent; so is a ``null`` that the schema allows; any other ``null`` refuses.

What holds whatever a model sends: the keys of records come from the schema alone, and a key that Cedar's JSON would
read as an entity or an extension call is written with a backslash before it. An argument that the schema does not list
is refused, because policy could not see it. The types are not trusted to have been checked before: a value that doesn't
fit its type refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from remit.core.canonical import I64_MAX, I64_MIN, Json, canonical
from remit.core.errors import Malformed
from remit.core.tools import ArgumentReview
from remit.policy.decimals import decimal_text
from remit.policy.terms import CedarJson, CedarRecord, ToolFacts

Scalar: TypeAlias = Literal["String", "Bool", "Long", "decimal"]

MAX_DEPTH: Final = 16  # records within records
MAX_READS: Final = 4_096  # subschemas read of one tool; all that follows is canonical bytes
MAX_HOPS: Final = 16  # ``$ref`` and one-branch unions followed for one member

_SCALARS: Final[Mapping[str, Scalar]] = {
    "string": "String",
    "boolean": "Bool",
    "integer": "Long",
    "number": "decimal",
}
_RESERVED: Final = frozenset({"__entity", "__extn", "__expr"})


@dataclass(frozen=True, slots=True)
class Bytes:
    """What Cedar has no type for: a String that holds the canonical bytes."""


@dataclass(frozen=True, slots=True)
class SetOf:
    """An array of one scalar type. Order and repetition are not seen by policy."""

    items: Scalar


@dataclass(frozen=True, slots=True)
class RecordOf:
    """An object whose members are listed, by the name they have in JSON."""

    members: Mapping[str, "Member"]


CedarType: TypeAlias = Scalar | Bytes | SetOf | RecordOf


@dataclass(frozen=True, slots=True)
class Member:
    """One listed property. ``required`` is what the schema says; one that may be null is optional to policy."""

    type: CedarType
    required: bool
    nullable: bool


class Unencodable(ValueError):
    """An argument has no exact meaning for policy: the reason ``arguments.encoding``, not an error of its own."""

    def __init__(self, pointer: str, why: str) -> None:
        """``pointer`` is the argument's RFC 6901 pointer; ``why`` repeats nothing of its value."""
        super().__init__(f"{pointer or '/'}: {why}")
        self.pointer = pointer
        self.why = why


def attribute_name(key: str) -> str:
    """The Cedar attribute of a schema key: itself, but with a backslash before reserved words and backslashes."""
    return "\\" + key if key in _RESERVED or key.startswith("\\") else key


def argument_types(facts: ToolFacts) -> RecordOf:
    """The Cedar type of a tool's arguments. A schema that lists nothing gives an empty record."""
    root = facts.input_schema
    return _Reader(root, facts.arguments).top(root)


def encode_arguments(facts: ToolFacts, arguments: Mapping[str, Json]) -> CedarRecord:
    """``arguments`` of one call to the tool of ``facts``. Raises ``Unencodable``."""
    return encode_with(facts.ref, argument_types(facts), arguments)


def encode_with(ref: str, types: RecordOf, arguments: Mapping[str, Json]) -> CedarRecord:
    """The same, with the types read before. Raises ``Unencodable``."""
    return CedarRecord(ref, _record(types, arguments, ""))


class _Reader:
    """Reads one input schema. Any doubt about a member makes it ``Bytes``, which says less but hides nothing."""

    def __init__(self, root: Json, review: Mapping[str, ArgumentReview]) -> None:
        self._root = root
        self._money = frozenset(pointer for pointer, argument in review.items() if argument.type == "money")
        self._left = MAX_READS

    def top(self, schema: Json) -> RecordOf:
        resolved, _, seen = self._resolve(schema, frozenset())
        listed = _listed(resolved) if resolved is not None else None
        if resolved is None or listed is None:
            return RecordOf({})
        return self._record(resolved, listed, "", seen, 0)

    def _record(
        self, schema: Mapping[str, Json], listed: Mapping[str, Json], pointer: str, seen: frozenset[str], depth: int
    ) -> RecordOf:
        required = _strings(schema.get("required"))
        members = {}
        for key, member in listed.items():
            kind, nullable = self._member(member, f"{pointer}/{_escaped(key)}", seen, depth)
            members[key] = Member(kind, key in required, nullable)
        return RecordOf(members)

    def _member(self, schema: Json, pointer: str, seen: frozenset[str], depth: int) -> tuple[CedarType, bool]:
        resolved, nullable, seen = self._resolve(schema, seen)
        if pointer in self._money:
            return "decimal", nullable
        if resolved is None or depth >= MAX_DEPTH:
            return Bytes(), nullable
        match _types(resolved):
            case ["object"] if (listed := _listed(resolved)) and _closed(resolved):
                return self._record(resolved, listed, pointer, seen, depth + 1), nullable
            case ["array"]:
                return self._array(resolved, f"{pointer}/*", seen), nullable
            case [name] if name in _SCALARS:
                return _SCALARS[name], nullable
            case _:
                return Bytes(), nullable

    def _array(self, schema: Mapping[str, Json], pointer: str, seen: frozenset[str]) -> CedarType:
        items, nullable, _ = self._resolve(schema.get("items"), seen)
        if nullable or items is None or "prefixItems" in schema:
            return Bytes()
        if pointer in self._money:
            return SetOf("decimal")
        match _types(items):
            case [name] if name in _SCALARS:
                return SetOf(_SCALARS[name])
            case _:
                return Bytes()

    def _resolve(
        self, schema: Json, seen: frozenset[str], unions: int = 0
    ) -> tuple[Mapping[str, Json] | None, bool, frozenset[str]]:
        """The schema behind local references and one-branch unions, whether null passes, and what was followed.

        ``unions`` counts the unions it stands in: references between them could nest as deep as there are any.
        """
        nullable = False
        if unions > MAX_HOPS:
            return None, True, seen
        for _ in range(MAX_HOPS):
            # Unions of references to unions double at each step, so every hop is paid for.
            self._left -= 1
            if self._left < 0 or not isinstance(schema, Mapping):
                break
            reference = schema.get("$ref")
            if isinstance(reference, str):
                if reference in seen:
                    break
                seen |= {reference}
                schema = _pointed(self._root, reference)
            elif "type" in schema:
                return schema, nullable or "null" in _strings(schema["type"]), seen
            elif (branches := _branches(schema)) is not None:
                solid = [branch for branch in branches if not _only_null(branch)]
                nullable = nullable or len(solid) < len(branches)
                if len(solid) != 1:
                    return None, nullable or self._any_nullable(solid, seen, unions), seen
                schema = solid[0]
            else:
                values = schema.get("enum", [schema["const"]] if "const" in schema else None)
                return schema, nullable or not isinstance(values, Sequence) or None in values, seen
        return None, True, seen

    def _any_nullable(self, branches: Sequence[Json], seen: frozenset[str], unions: int) -> bool:
        return any(self._resolve(one, seen, unions + 1)[1] for one in branches)


def _types(schema: Mapping[str, Json]) -> list[str]:
    """The type names of a schema, null left out, each once."""
    return sorted(_strings(schema.get("type")) - {"null"})


def _strings(value: Json) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset({value})
    items = value if isinstance(value, Sequence) else ()
    return frozenset(item for item in items if isinstance(item, str))


def _listed(schema: Mapping[str, Json]) -> Mapping[str, Json] | None:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else None


def _closed(schema: Mapping[str, Json]) -> bool:
    """Whether members beyond the listed ones are not invited: if they are, the object is a free-form one."""
    return schema.get("additionalProperties", False) is False and "patternProperties" not in schema


def _branches(schema: Mapping[str, Json]) -> Sequence[Json] | None:
    """The branches of a union, or the one schema of an ``allOf`` of one (how generators annotate a reference)."""
    for word in ("anyOf", "oneOf"):
        found = schema.get(word)
        if isinstance(found, Sequence) and not isinstance(found, str) and found:
            return found
    found = schema.get("allOf")
    if isinstance(found, Sequence) and not isinstance(found, str) and len(found) == 1:
        return found
    return None


def _only_null(schema: Json) -> bool:
    return isinstance(schema, Mapping) and _strings(schema.get("type")) == {"null"}


def _pointed(root: Json, reference: str) -> Json:
    """What a ``#/…`` reference points to within ``root``; a schema that says nothing for any other reference."""
    if not reference.startswith("#/"):
        return True
    found = root
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            return True
        found = found[key]
    return found


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _record(kind: RecordOf, value: Json, pointer: str) -> Mapping[str, CedarJson]:
    if not isinstance(value, Mapping):
        raise Unencodable(pointer, "is not an object")
    for key in value:
        if key not in kind.members:
            raise Unencodable(f"{pointer}/{_escaped(key)}", "is not listed in the reviewed schema")
    out: dict[str, CedarJson] = {}
    for key, member in kind.members.items():
        at = f"{pointer}/{_escaped(key)}"
        if key not in value:
            if member.required:
                raise Unencodable(at, "is required and missing")
        elif value[key] is not None:
            out[attribute_name(key)] = _value(member.type, value[key], at)
        elif not member.nullable:
            raise Unencodable(at, "is null, which the schema does not allow")
    return out


def _value(kind: CedarType, value: Json, pointer: str) -> CedarJson:
    match kind:
        case RecordOf():
            return _record(kind, value, pointer)
        case SetOf(items):
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise Unencodable(pointer, "is not an array")
            return [_scalar(items, item, f"{pointer}/{position}") for position, item in enumerate(value)]
        case Bytes():
            return _text(_canonical(value, pointer), pointer)
        case _:
            return _scalar(kind, value, pointer)


def _scalar(kind: Scalar, value: Json, pointer: str) -> CedarJson:
    if kind == "String" and isinstance(value, str):
        return _text(value, pointer)
    if kind == "Bool" and isinstance(value, bool):
        return value
    if kind == "Long" and not isinstance(value, bool):
        return _long(value, pointer)
    if kind == "decimal":
        text = decimal_text(value)
        if text is None:
            raise Unencodable(pointer, "is not a decimal of at most four fraction digits within Cedar's range")
        return {"__extn": {"fn": "decimal", "arg": text}}
    raise Unencodable(pointer, f"is not a {kind}")


def _long(value: Json, pointer: str) -> int:
    # JSON Schema counts 1.0 among the integers.
    if isinstance(value, Decimal) and value.is_finite() and value.copy_abs() <= I64_MAX + 1 and value == int(value):
        value = int(value)
    if not isinstance(value, int) or not I64_MIN <= value <= I64_MAX:
        raise Unencodable(pointer, "is not an integer within 64 bits")
    return value


def _canonical(value: Json, pointer: str) -> str:
    try:
        return canonical(value).decode()
    except Malformed as error:
        raise Unencodable(pointer, str(error)) from error


def _text(value: str, pointer: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unencodable(pointer, "holds a lone surrogate") from error
    return value
