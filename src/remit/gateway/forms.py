"""Come in here for the forms that a server may have a client's user fill in: flat, of plain fields, and bounded.

A form is rebuilt from the members that the protocol names (MCP 2026-07-28, client/elicitation, requested schema) and
nothing else of it goes on. What would make it another form than the one that is shown (a reference, a combination of
schemas, a nested object) refuses it. Titles and descriptions are texts for a person, so what they hide is written out;
names and choices come back as they are, so one that hides anything refuses the form.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeAlias

from remit.core.canonical import Json
from remit.guards.hidden_text import hidden, reveal

MAX_FIELDS: Final = 32
MAX_NAME: Final = 128
MAX_TEXT: Final = 1_000
MAX_CHOICES: Final = 100
MAX_CHOICE: Final = 256
_OTHER_FORM: Final = frozenset({"$ref", "$dynamicRef", "allOf", "not", "if", "patternProperties", "dependentSchemas"})
_NESTED: Final = _OTHER_FORM | {"properties"}
_FORMATS: Final = frozenset({"email", "uri", "date", "date-time"})


class NotRelayed(Exception):
    """What a server asks is not passed on; ``why`` is in our words alone."""

    def __init__(self, why: str) -> None:
        """``why`` completes the sentence *it is not passed on:*."""
        super().__init__(why)
        self.why = why


def form(schema: Json) -> dict[str, Json]:
    """The form, rebuilt. Raises ``NotRelayed``."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object" or not _OTHER_FORM.isdisjoint(schema):
        raise NotRelayed("its form is not a flat one")
    properties, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(properties, Mapping) or len(properties) > MAX_FIELDS:
        raise NotRelayed(f"its form has no fields, or more than {MAX_FIELDS}")
    if not isinstance(required, list) or not all(isinstance(one, str) and one in properties for one in required):
        raise NotRelayed("its form requires fields that it has not")
    fields: dict[str, Json] = {plain(name, "a field's name", MAX_NAME): _field(one) for name, one in properties.items()}
    return {"type": "object", "properties": fields, "required": list(dict.fromkeys(required))}


def plain(value: Json, what: str, bound: int) -> str:
    """A text that comes back as it is. Raises ``NotRelayed`` for one that is too long or hides anything."""
    if not isinstance(value, str) or not 0 < len(value) <= bound:
        raise NotRelayed(f"{what} is not a text of at most {bound} characters")
    if hidden(value, layout=False):
        raise NotRelayed(f"{what} holds hidden characters")
    return value


def words(value: Json, what: str, bound: int = MAX_TEXT) -> str:
    """A text for a person, with what it hides written out. Raises ``NotRelayed`` for one that is too long."""
    if not isinstance(value, str) or len(value) > bound:
        raise NotRelayed(f"{what} is not a text of at most {bound} characters")
    return reveal(value)


def _field(schema: Json) -> dict[str, Json]:
    if not isinstance(schema, Mapping) or not _NESTED.isdisjoint(schema):
        raise NotRelayed("a field of its form is not a plain one")
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise NotRelayed("a field of its form has no plain type")
    out: dict[str, Json] = {"type": kind}
    for name in ("title", "description"):
        if name in schema:
            out[name] = words(schema[name], f"a field's {name}")
    return out | _FIELDS[kind](schema)


def _text(schema: Mapping[str, Json]) -> dict[str, Json]:
    out = _bounds(schema, "minLength", "maxLength")
    if isinstance(found := schema.get("format"), str) and found in _FORMATS:
        out["format"] = found
    out |= _choices(schema, "oneOf")
    if "anyOf" in schema:
        raise NotRelayed("a field of its form is not a plain one")
    if "default" in schema:
        out["default"] = schema["default"] if schema["default"] == "" else _choice(schema["default"])
    return out


def _number(schema: Mapping[str, Json]) -> dict[str, Json]:
    wanted = (name for name in ("minimum", "maximum", "default") if name in schema)
    return {name: _a_number(schema[name]) for name in wanted}


def _yes_or_no(schema: Mapping[str, Json]) -> dict[str, Json]:
    default = schema.get("default")
    return {"default": default} if isinstance(default, bool) else {}


def _list(schema: Mapping[str, Json]) -> dict[str, Json]:
    items = schema.get("items")
    if not isinstance(items, Mapping) or not _NESTED.isdisjoint(items) or items.get("type", "string") != "string":
        raise NotRelayed("a list in its form is not one of choices")
    choices = _choices(items, "anyOf")
    if not choices:
        raise NotRelayed("a list in its form is not one of choices")
    out: dict[str, Json] = {**_bounds(schema, "minItems", "maxItems"), "items": {"type": "string", **choices}}
    if isinstance(default := schema.get("default"), list) and len(default) <= MAX_CHOICES:
        out["default"] = [_choice(one) for one in default]
    return out


def _choices(schema: Mapping[str, Json], titled: str) -> dict[str, Json]:
    """A list of choices, with or without titles (``enumNames`` is how older servers write them)."""
    out: dict[str, Json] = {}
    if "enum" in schema:
        out["enum"] = [_choice(one) for one in _few(schema["enum"])]
    if "enumNames" in schema:
        out["enumNames"] = [words(one, "a choice's title", MAX_CHOICE) for one in _few(schema["enumNames"])]
    if titled in schema:
        out[titled] = [_titled(one) for one in _few(schema[titled])]
    return out


def _titled(choice: Json) -> dict[str, Json]:
    if not isinstance(choice, Mapping) or "const" not in choice:
        raise NotRelayed("a choice in its form has no value")
    title = words(choice.get("title", ""), "a choice's title", MAX_CHOICE)
    return {"const": _choice(choice["const"]), "title": title}


def _few(choices: Json) -> list[Json]:
    if not isinstance(choices, list) or not 0 < len(choices) <= MAX_CHOICES:
        raise NotRelayed(f"a field of its form has no choices, or more than {MAX_CHOICES}")
    return choices


def _choice(value: Json) -> str:
    return plain(value, "a choice or default in its form", MAX_CHOICE)


def _bounds(schema: Mapping[str, Json], *names: str) -> dict[str, Json]:
    return {name: _whole(schema[name]) for name in names if name in schema}


def _whole(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise NotRelayed("a bound in its form is not a whole number")
    return value


def _a_number(value: Json) -> int | Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise NotRelayed("a bound or default in its form is not a number")
    return value


_Rebuilt: TypeAlias = Callable[[Mapping[str, Json]], dict[str, Json]]
_FIELDS: Final[Mapping[str, _Rebuilt]] = {
    "string": _text,
    "number": _number,
    "integer": _number,
    "boolean": _yes_or_no,
    "array": _list,
}
