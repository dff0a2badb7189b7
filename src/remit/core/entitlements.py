"""What an agent can do at a server beside calling its tools: resources, prompts, completion; each is a tool reference.

An entitlement is named ``server/NAME`` like a tool, and NAME says by which MCP method it is used: ``resources/read``
and ``resources/list`` (one each for all resources of a server), ``prompts/get:PROMPT`` (one for each prompt), and
``completion/complete``. INVARIANT: a method of the door reaches entitlements of its own kind and no others; no tool may
have a name that begins as these do, whatever follows.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from remit.core.canonical import Json
from remit.core.ids import flat_alias

Method: TypeAlias = Literal["tools/call", "resources/read", "resources/list", "prompts/get", "completion/complete"]
EntitlementKind: TypeAlias = Literal["tool", "resources", "prompt", "completion"]

CALL: Final = "tools/call"
READ: Final = "resources/read"
LIST: Final = "resources/list"
GET: Final = "prompts/get"
COMPLETE: Final = "completion/complete"

RESERVED: Final = ("resources/", "prompts/", "completion/")
"""How no tool's name may begin."""
PROMPT: Final = "prompts/get:"

_SINGLE: Final[Mapping[str, Method]] = {READ: READ, LIST: LIST, COMPLETE: COMPLETE}
_KINDS: Final[Mapping[Method, EntitlementKind]] = {
    CALL: "tool",
    READ: "resources",
    LIST: "resources",
    GET: "prompt",
    COMPLETE: "completion",
}
_STRING: Final[Mapping[str, Json]] = {"type": "string"}

# A path that climbs is another place than it looks to be, and conditions compare text: `file:///open/*` would reach
# `file:///open/../closed`. Written with percent signs or backslashes too, since servers read those as well.
_CLIMBS: Final = r"(^|[/\\:]|%2[fF]|%5[cC])(\.|%2[eE]){1,2}([/\\?#]|%2[fF]|%5[cC]|$)"
_URI: Final[Mapping[str, Json]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4096,
    "not": {"pattern": _CLIMBS},
}
SCHEMAS: Final[Mapping[str, Mapping[str, Json]]] = {
    READ: {"type": "object", "properties": {"uri": _URI}, "required": ["uri"], "additionalProperties": False},
    LIST: {"type": "object", "properties": {"cursor": _STRING}, "additionalProperties": False},
    COMPLETE: {
        "type": "object",
        "properties": {
            "ref": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["ref/prompt", "ref/resource"]},
                    "name": _STRING,
                    "title": _STRING,
                    "uri": _STRING,
                },
                "required": ["type"],
                "additionalProperties": False,
            },
            "argument": {
                "type": "object",
                "properties": {"name": _STRING, "value": _STRING},
                "required": ["name", "value"],
                "additionalProperties": False,
            },
            "context": {
                "type": "object",
                "properties": {"arguments": {"type": "object", "additionalProperties": _STRING}},
                "additionalProperties": False,
            },
        },
        "required": ["ref", "argument"],
        "additionalProperties": False,
    },
}
"""The input schemas that are Remit's own; a prompt's follows from what it lists."""


def method_of(ref: str) -> Method:
    """By which MCP method the thing of this reference is used."""
    name = ref.partition("/")[2]
    return GET if name.startswith(PROMPT) else _SINGLE.get(name, CALL)


def kind_of(ref: str) -> EntitlementKind:
    """What a person calls it."""
    return _KINDS[method_of(ref)]


def is_reserved(name: str) -> bool:
    """Whether no tool may be called so."""
    return name.startswith(RESERVED)


def own_name(name: str) -> str:
    """What its server calls it: a prompt by its own name."""
    return name.removeprefix(PROMPT)


def alias_of(server: str, name: str) -> str:
    """Its name in MCP's flat lists. Tools and prompts have one each, so that the same alias may stand in both."""
    return flat_alias(server, own_name(name))


def nowhere(method: str, name: str) -> str:
    """A reference that nothing has: what is asked for by ``method`` under a name that is of no use there."""
    return f"{method} of {name}"


def input_schema(ref: str, definition: Json) -> Json:
    """The input schema of a definition; of a prompt, which has none, what its arguments come to."""
    if not isinstance(definition, Mapping):
        return None
    if method_of(ref) != GET:
        return definition.get("inputSchema")
    listed = definition.get("arguments")
    arguments = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return {
        "type": "object",
        "properties": {str(one.get("name")): dict(_STRING) for one in arguments},
        "required": [str(one.get("name")) for one in arguments if one.get("required") is True],
        "additionalProperties": False,
    }
