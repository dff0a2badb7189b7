"""The Cedar schema, made from the reviewed tools: what any policy may name, and what each request is checked against.

It is built as data in Cedar's JSON form, never as text, so that no tool's name or argument can write schema. Each tool
is an action in two groups, ``effect:…`` and ``server:…``. An effect or server that has no tool yet is given a
placeholder action, which no call can name, so that a policy over the group is checked before the first tool exists.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from remit.core.canonical import Json
from remit.core.tools import EFFECTS
from remit.policy.encoding import Bytes, CedarType, RecordOf, SetOf, attribute_name
from remit.policy.terms import ToolFacts

NAMESPACE: Final = "Remit"
AGENT: Final = "Remit::Agent"
PERSON: Final = "Remit::Person"
SERVER: Final = "Remit::Server"
ACTION: Final = "Remit::Action"
# Not a tool reference (it has no slash before the colon), so the engine can't be asked about it.
PLACEHOLDER: Final = "remit:nothing"

_STRING: Final[Mapping[str, Json]] = {"type": "String"}
_STRINGS: Final[Mapping[str, Json]] = {"type": "Set", "element": _STRING}


def effect_group(effect: str) -> str:
    """The action group of every tool with this effect."""
    return f"effect:{effect}"


def server_group(name: str) -> str:
    """The action group of every tool of the server with this name."""
    return f"server:{name}"


def groups(facts: ToolFacts) -> tuple[str, str]:
    """The two groups of one tool. All that an action has above it: there is no group of groups."""
    return effect_group(facts.effect), server_group(facts.server_name)


def whole_schema(tools: Sequence[tuple[ToolFacts, RecordOf]], servers: Iterable[str] = ()) -> Mapping[str, Json]:
    """The schema of every tool, and of ``servers`` (names) that may have none. Operators' policies are held to it."""
    every = {effect_group(effect) for effect in EFFECTS} | {server_group(name) for name in servers}
    peopled = {group for facts, _ in tools for group in groups(facts)}
    actions: dict[str, Json] = {group: {} for group in sorted(every | peopled)}
    if every - peopled:
        actions[PLACEHOLDER] = _action(sorted(every - peopled), RecordOf({}))
    for facts, types in sorted(tools, key=lambda pair: pair[0].ref):
        actions[facts.ref] = _action(groups(facts), types)
    return _document(actions)


def tool_schema(facts: ToolFacts, types: RecordOf) -> Mapping[str, Json]:
    """The part of the whole schema that one tool's requests and grants need: small, so quick to parse and to check."""
    actions: dict[str, Json] = {effect_group(effect): {} for effect in EFFECTS}
    actions[server_group(facts.server_name)] = {}
    actions[facts.ref] = _action(groups(facts), types)
    return _document(actions)


def _document(actions: Mapping[str, Json]) -> Mapping[str, Json]:
    entities: Mapping[str, Json] = {
        "Agent": {"shape": _closed({"name": _STRING, "owner": _STRING, "mode": _STRING})},
        "Person": {"shape": _closed({"roles": _STRINGS})},
        "Server": {"shape": _closed({"name": _STRING})},
    }
    return {NAMESPACE: {"commonTypes": _COMMON, "entityTypes": entities, "actions": actions}}


def _action(member_of: Iterable[str], types: RecordOf) -> Mapping[str, Json]:
    return {
        "memberOf": [{"id": group} for group in member_of],
        "appliesTo": {"principalTypes": ["Agent", "Person"], "resourceTypes": ["Server"], "context": _context(types)},
    }


def _context(types: RecordOf) -> Json:
    return _closed({"args": _type(types), **_ALWAYS})


def _closed(attributes: Mapping[str, Json]) -> Mapping[str, Json]:
    return {"type": "Record", "attributes": attributes}


def _type(kind: CedarType) -> Mapping[str, Json]:
    match kind:
        case RecordOf(members):
            return _closed(
                {
                    attribute_name(key): {**_type(member.type), "required": member.required and not member.nullable}
                    for key, member in members.items()
                }
            )
        case SetOf(items):
            return {"type": "Set", "element": _type(items)}
        case Bytes() | "String":
            return _STRING
        case "Bool":
            return {"type": "Boolean"}
        case "Long":
            return {"type": "Long"}
        case "decimal":
            return {"type": "Extension", "name": "decimal"}


# What the context of every call has beside its arguments. By name, since there is a context for each of many tools.
_COMMON: Final[Mapping[str, Json]] = {
    "Session": _closed(
        {
            "integrity": _STRING,
            "confidentiality": _STRINGS,
            "intents": _STRINGS,
            "calls": {"type": "Long"},
        }
    ),
    "Approval": _closed({"present": {"type": "Boolean"}, "by": {"type": "String", "required": False}}),
}
_ALWAYS: Final[Mapping[str, Json]] = {
    # Each argument's origin will be an optional member here; a policy can't name one before that.
    "provenance": _closed({}),
    "session": {"type": "Session"},
    "chain": _STRINGS,
    "approval": {"type": "Approval"},
    "now": {"type": "Extension", "name": "datetime"},
    "inputs": {"type": "String", "required": False},
}
