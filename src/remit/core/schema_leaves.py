"""Come in here for which places of a JSON Schema hold values: the leaves that a review may name, by pointer.

A pointer is RFC 6901 with ``*`` for array items. Local references are followed and alternatives laid side by side, all
of it bounded: a schema comes from an upstream, which may not choose how long we think. Where a schema lists no members
but lets any in, any member may be named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from remit.core.canonical import Json

Node: TypeAlias = Mapping[str, Json]

MAX_EXPANDED: Final = 64
"""Schemas that are looked at for one place: references followed, alternatives laid beside each other."""
MAX_VISITED: Final = 4_000
MAX_DEPTH: Final = 12
MAX_POINTER: Final = 512
MAX_TOLD: Final = 8
"""Descriptions that are kept of one place."""
_LONGEST_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class SchemaLeaf:
    """One place that holds values: every subschema of it, and what the schema says of it or of the list it is in."""

    pointer: str
    nodes: tuple[Node, ...]
    required: bool = False
    told: tuple[str, ...] = ()


def leaves_at(schema: Json, pointer: str) -> list[Node]:
    """The subschemas at ``pointer`` that hold values and not further members; none if there is no such place."""
    nodes = _expanded(schema, schema)
    for depth, name in enumerate(pointer.split("/")[1:]):
        key = name.replace("~1", "/").replace("~0", "~")
        steps = [step for node in nodes for step in _step(node, key, outermost=depth == 0)]
        nodes = [found for step in steps for found in _expanded(step, schema)]
    return [node for node in nodes if not _structured(node)]


def schema_leaves(schema: Json, bound: int) -> tuple[tuple[SchemaLeaf, ...], bool]:
    """Up to ``bound`` leaves, outermost first, and whether that is all of them.

    A member whose name can't stand in a pointer (``*``, too long, not printable) is left out, and so is what is deeper
    than ``MAX_DEPTH``: both count as not all.
    """
    found: list[SchemaLeaf] = []
    level: list[SchemaLeaf] = [SchemaLeaf("", tuple(_expanded(schema, schema)), required=True)]
    visited, whole = 0, True
    for depth in range(MAX_DEPTH + 1):
        deeper: list[SchemaLeaf] = []
        for place in level:
            visited += 1
            if visited > MAX_VISITED or len(found) >= bound:
                return tuple(found), False
            plain = tuple(node for node in place.nodes if not _structured(node))
            if plain and place.pointer:
                found.append(replace(place, nodes=plain))
            structured = [node for node in place.nodes if _structured(node)]
            if structured and depth == MAX_DEPTH:
                return tuple(found), False
            inner, complete = _children(place, structured, schema)
            deeper.extend(inner)
            whole = whole and complete
        if not deeper:
            break
        level = deeper
    return tuple(found), whole


def part(name: str) -> str:
    """A member's name as one step of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def last_name(pointer: str) -> str:
    """The name of what a pointer points at; of an item, the name of its array."""
    steps = [step for step in pointer.split("/")[1:] if step != "*"]
    return steps[-1].replace("~1", "/").replace("~0", "~") if steps else ""


def types(node: Node) -> tuple[str, ...]:
    """The JSON types that a schema names."""
    kind = node.get("type")
    if isinstance(kind, str):
        return (kind,)
    return tuple(item for item in kind if isinstance(item, str)) if isinstance(kind, (list, tuple)) else ()


def _children(place: SchemaLeaf, nodes: Sequence[Node], root: Json) -> tuple[list[SchemaLeaf], bool]:
    """What stands under a place, and whether all of it can be named."""
    steps: dict[str, list[Node]] = {}
    told: dict[str, list[str]] = {"*": list(place.told)}
    required: set[str] = set()
    whole = True
    for node in nodes:
        properties = node.get("properties")
        listed = properties if isinstance(properties, Mapping) else {}
        for name, inner in listed.items():
            if name == "*" or not name.isprintable() or len(name) > _LONGEST_NAME:
                whole = False
                continue
            steps.setdefault(part(name), []).extend(_expanded(inner, root))
            told.setdefault(part(name), []).extend(_descriptions(inner))
        asked = node.get("required")
        required |= {part(name) for name in asked if isinstance(name, str)} if isinstance(asked, list) else set()
        items = [node.get("items")]
        prefix = node.get("prefixItems")
        items.extend(prefix[:MAX_EXPANDED] if isinstance(prefix, list) else ())
        for item in items:
            if isinstance(item, Mapping):
                steps.setdefault("*", []).extend(_expanded(item, root))
    out = []
    for step, found in steps.items():
        pointer = f"{place.pointer}/{step}"
        if len(pointer) > MAX_POINTER:
            whole = False
            continue
        needed = place.required and (step == "*" or step in required)
        said = (*told.get(step, ()), *(text for node in found[:MAX_EXPANDED] for text in _descriptions(node)))
        out.append(SchemaLeaf(pointer, tuple(found[:MAX_EXPANDED]), needed, tuple(dict.fromkeys(said))[:MAX_TOLD]))
    return out, whole


def _descriptions(node: Json) -> list[str]:
    text = node.get("description") if isinstance(node, Mapping) else None
    return [text] if isinstance(text, str) else []


def _structured(node: Node) -> bool:
    """Whether the values of a node are told apart by their members or items."""
    return bool(node.get("properties")) or isinstance(node.get("items"), Mapping) or bool(node.get("prefixItems"))


def _step(node: Node, key: str, *, outermost: bool) -> Iterator[Json]:
    """What a schema says of one member or item. The outermost object is closed: it has the members that it lists."""
    properties = node.get("properties")
    if isinstance(properties, Mapping) and key in properties:
        yield properties[key]
        return
    if key == "*":
        yield from (one for one in (node.get("items"), node.get("additionalProperties")) if isinstance(one, Mapping))
        prefix = node.get("prefixItems")
        yield from prefix if isinstance(prefix, list) else ()
        if _any_items(node):
            yield {}
    elif not outermost and _open(node):
        others = node.get("additionalProperties")
        yield others if isinstance(others, Mapping) else {}


def _any_items(node: Node) -> bool:
    """Whether a node can be an array and says nothing of its items."""
    may_be_array = not types(node) or "array" in types(node)
    told = ("items", "prefixItems", "properties", "additionalProperties", "enum", "const")
    return may_be_array and not any(word in node for word in told)


def _open(node: Node) -> bool:
    """Whether a node can be an object, lists no members and lets any in."""
    may_be_object = not types(node) or "object" in types(node)
    closed = any(word in node for word in ("properties", "enum", "const"))
    return may_be_object and not closed and node.get("additionalProperties") is not False


def _expanded(node: Json, root: Json) -> list[Node]:
    """The node with local references followed and alternatives laid side by side; bounded against cycles."""
    found: list[Node] = []
    pending, seen = [node], 0
    while pending and seen < MAX_EXPANDED:
        seen += 1
        current = pending.pop()
        if not isinstance(current, Mapping):
            continue
        reference = current.get("$ref")
        if isinstance(reference, str):
            pending.append(_resolved(root, reference))
        branches = [
            one
            for word in ("allOf", "anyOf", "oneOf")
            if isinstance(listed := current.get(word), list)
            for one in listed[:MAX_EXPANDED]
        ]
        pending.extend(branches)
        if (not branches and not isinstance(reference, str)) or _structured(current) or "type" in current:
            found.append(current)
    return found


def _resolved(root: Json, reference: str) -> Json:
    """What a local reference points at, or None."""
    node = root
    if not reference.startswith("#") or len(reference) > MAX_POINTER:
        return None
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
