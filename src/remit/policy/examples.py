"""Arguments and results made up from schemas and reviews: what a rehearsal sends, when nobody has called yet.

An example is only a proposal: whoever makes one checks it against the pinned schema, and takes ``None`` or a misfit for
"not known". Values of one type are all spelled as its grammar wants, so that a task can name them.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from remit.core.canonical import Json, canonical
from remit.core.schema_leaves import leaves_at
from remit.core.tools import OutputReview
from remit.core.values import DATE, EMAIL, HOST, IBAN, MONEY, PHONE, TIME, URL

Which: TypeAlias = Literal[0, 1, 2]
OWN: Final = 0
"""A value that a task names."""
STRANGE: Final = 1
"""One that only a stranger gave."""
OTHER: Final = 2
"""One that stands in a result and that nobody speaks of. INVARIANT: not the stranger's, which would vouch for it."""
_DEEPEST: Final = 12
_SPELLED: Final[Mapping[str, tuple[str, str, str]]] = {
    EMAIL: ("own@example.test", "stranger@attacker.test", "other@example.org"),
    IBAN: ("DE89370400440532013000", "GB33BUKB20201555555555", "FR7630006000011234567890189"),
    URL: ("https://example.test/own", "https://attacker.test/stranger", "https://example.org/other"),
    HOST: ("example.test", "attacker.test", "example.org"),
    DATE: ("2031-05-06", "2031-07-08", "2031-09-10"),
    TIME: ("09:30", "17:45", "12:15"),
    MONEY: ("2", "3", "41"),
    PHONE: ("+4930123456", "+4930654321", "+4930777888"),
}
_FORMATS: Final[Mapping[str, str]] = {
    "email": EMAIL,
    "uri": URL,
    "url": URL,
    "hostname": HOST,
    "date": DATE,
    "time": TIME,
}
_STAMP: Final = ("2031-05-06T09:30:00Z", "2031-07-08T17:45:00Z", "2031-09-10T12:15:00Z")
_WORD: Final = ("ownvalue", "strangervalue", "othervalue")
_NUMBER: Final = (2, 3, 41)


def value(kind: str, nodes: Sequence[Mapping[str, Json]], *, which: Which) -> Json:
    """A value of a type that the first of these schemas may take, each ``which`` another as far as the schema lets."""
    node = nodes[0] if nodes else {}
    listed = node.get("enum")
    if "const" in node:
        constant: Json = node["const"]
        return constant
    if isinstance(listed, list) and listed:
        chosen: Json = listed[min(which, len(listed) - 1)]
        return chosen
    types = _types(node)
    if "boolean" in types:
        return which == STRANGE
    if "integer" in types or "number" in types:
        return _number(node, which=which)
    if types and "string" not in types:
        return None
    return _text(kind, node, which=which)


def _types(node: Mapping[str, Json]) -> list[str]:
    named = node.get("type")
    return [named] if isinstance(named, str) else [str(one) for one in named] if isinstance(named, list) else []


def _number(node: Mapping[str, Json], *, which: Which) -> Json:
    found = Decimal(_NUMBER[which])
    least, above = node.get("minimum"), node.get("exclusiveMinimum")
    if isinstance(least, (int, Decimal)) and found < least:
        found = Decimal(least) + int(which)
    if isinstance(above, (int, Decimal)) and not isinstance(above, bool) and found <= above:
        found = Decimal(above) + 1 + int(which)
    most = node.get("maximum")
    if isinstance(most, (int, Decimal)) and found > most:
        found = Decimal(most) - int(which)
    return int(found) if found == found.to_integral_value() else found


def _text(kind: str, node: Mapping[str, Json], *, which: Which) -> str:
    if node.get("format") == "date-time":
        return _STAMP[which]
    grammar = kind if kind in _SPELLED else _FORMATS.get(str(node.get("format")), "")
    text = _SPELLED[grammar][which] if grammar else _WORD[which]
    least, most = node.get("minLength"), node.get("maxLength")
    if isinstance(least, int) and len(text) < least <= 4_096:  # noqa: PLR2004 - a longer text teaches nothing
        text = text.ljust(least, "x")
    return text[:most] if isinstance(most, int) else text


def example(schema: Json, kinds: Mapping[str, str], wanted: frozenset[str] = frozenset()) -> Mapping[str, Json]:
    """Arguments that a schema asks for, and those that ``wanted`` names by pointer. ``kinds`` has types by pointer."""
    found = _built(schema, schema, "", kinds, wanted, _DEEPEST)
    return found if isinstance(found, Mapping) else {}


def _built(schema: Json, root: Json, at: str, kinds: Mapping[str, str], wanted: frozenset[str], depth: int) -> Json:
    node = _resolved(schema, root)
    if depth == 0 or node is None:
        return None
    if "const" in node or "enum" in node:
        return value("", [node], which=OWN)
    types = _types(node)
    properties = node.get("properties")
    if "object" in types or isinstance(properties, Mapping):
        members = properties if isinstance(properties, Mapping) else {}
        required = node.get("required")
        names = set(required) if isinstance(required, list) else set()
        return {
            name: _built(member, root, f"{at}/{_step(name)}", kinds, wanted, depth - 1)
            for name, member in members.items()
            if name in names or any(_within(one, f"{at}/{_step(name)}") for one in wanted)
        }
    if "array" in types:
        return [_built(node.get("items", {}), root, f"{at}/*", kinds, wanted, depth - 1)]
    return value(kinds.get(at, ""), [node], which=OWN)


def _within(pointer: str, place: str) -> bool:
    return pointer == place or pointer.startswith(f"{place}/")


def _resolved(schema: Json, root: Json) -> Mapping[str, Json] | None:
    """A schema with its references and alternatives followed, as far as the first of each goes."""
    for _ in range(_DEEPEST):
        if schema is True:
            return {}
        if not isinstance(schema, Mapping):
            return None
        named = schema.get("$ref")
        if isinstance(named, str):
            schema = _target(named, root)
            continue
        first = next(
            (one[0] for name in ("anyOf", "oneOf", "allOf") if isinstance(one := schema.get(name), list) and one), None
        )
        if first is None or _types(schema):
            return schema
        schema = first
    return None


def _target(named: str, root: Json) -> Json:
    found: Json = root
    for step in named.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _step(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def with_value(document: Json, pointer: str, new: Json) -> Json:
    """``document`` with ``new`` at a general pointer; objects and one-item lists are made on the way."""
    head, _, rest = pointer.removeprefix("/").partition("/")
    if not pointer:
        return new
    below = f"/{rest}" if rest else ""
    if head == "*" or (isinstance(document, (list, tuple)) and head.isdigit()):
        items = list(document) if isinstance(document, (list, tuple)) and document else [None]
        place = min(int(head), len(items) - 1) if head.isdigit() else 0
        return [*items[:place], with_value(items[place], below, new), *items[place + 1 :]]
    key = head.replace("~1", "/").replace("~0", "~")
    members = dict(document) if isinstance(document, Mapping) else {}
    members[key] = with_value(members.get(key), below, new)
    return members


def kind_at(schema: Json, pointer: str) -> Sequence[Mapping[str, Json]]:
    """The schemas at a general pointer."""
    return leaves_at(schema, pointer)


def result_of(review: OutputReview, values: Mapping[str, Json]) -> Mapping[str, Json]:
    """A CallToolResult in the form that a review reads, with these values at its fields."""
    if review.form == "opaque":
        text = " ".join(str(one) for one in values.values())
        return {"content": [{"type": "text", "text": text}]}
    document: Json = None
    for pointer in (*review.fields, *(one for one in values if one not in review.fields)):
        if pointer in values:
            document = with_value(document, pointer, values[pointer])
    if review.form == "json_text":
        return {"content": [{"type": "text", "text": canonical(document or {}).decode()}]}
    return {"content": [], "structuredContent": document if isinstance(document, Mapping) else {}}


def scalars(document: Json, at: str = "") -> Iterator[tuple[str, Json]]:
    """Every scalar with the pointer it stands at."""
    if isinstance(document, Mapping):
        for name, member in document.items():
            yield from scalars(member, f"{at}/{_step(name)}")
    elif isinstance(document, (list, tuple)):
        for place, item in enumerate(document):
            yield from scalars(item, f"{at}/{place}")
    else:
        yield at, document
