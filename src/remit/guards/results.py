"""The shape that a result must have to be handed on: that of its own MCP method, read as strictly as it is narrow.

What is checked is what a client relies on to tell the parts apart. Members that are not named here are somebody's
extension, and stay.
"""

from collections.abc import Callable, Mapping
from typing import Final

from remit.core.canonical import Json
from remit.core.entitlements import CALL, COMPLETE, GET, LIST, READ, Method

_BLOCKS: Final = frozenset({"text", "image", "audio", "resource", "resource_link"})
# A server that gives its words another role (`system`) would have a client take them for somebody else's.
_ROLES: Final = frozenset({"user", "assistant"})
_MOST_COMPLETIONS: Final = 100

WORDS: Final[Mapping[Method, str]] = {
    CALL: "a tool result",
    READ: "the contents of a resource",
    LIST: "a list of resources",
    GET: "the messages of a prompt",
    COMPLETE: "a completion",
}
"""What a result of each method is called, in words."""


def well_formed(method: Method, result: Json) -> bool:
    """Whether a result has the shape that its method gives it."""
    return isinstance(result, Mapping) and _SHAPES[method](result)


def _tool_result(result: Mapping[str, Json]) -> bool:
    content = result.get("content")
    return isinstance(result.get("isError", False), bool) and isinstance(content, list) and all(map(_block, content))


def _contents(result: Mapping[str, Json]) -> bool:
    contents = result.get("contents")
    return isinstance(contents, list) and all(map(_content, contents))


def _content(one: Json) -> bool:
    if not isinstance(one, Mapping) or not isinstance(one.get("uri"), str):
        return False
    return isinstance(one.get("text"), str) != isinstance(one.get("blob"), str)


def _resources(result: Mapping[str, Json]) -> bool:
    listed = result.get("resources")
    return (
        isinstance(result.get("nextCursor"), str | None)
        and isinstance(listed, list)
        and all(isinstance(one, Mapping) and isinstance(one.get("uri"), str) for one in listed)
    )


def _messages(result: Mapping[str, Json]) -> bool:
    messages = result.get("messages")
    return isinstance(messages, list) and all(map(_message, messages))


def _message(one: Json) -> bool:
    if not isinstance(one, Mapping):
        return False
    role = one.get("role")
    return isinstance(role, str) and role in _ROLES and _block(one.get("content"))


def _completion(result: Mapping[str, Json]) -> bool:
    completion = result.get("completion")
    values = completion.get("values") if isinstance(completion, Mapping) else None
    return isinstance(values, list) and len(values) <= _MOST_COMPLETIONS and all(isinstance(one, str) for one in values)


def _block(block: Json) -> bool:
    return isinstance(block, Mapping) and isinstance(kind := block.get("type"), str) and kind in _BLOCKS


_SHAPES: Final[Mapping[Method, Callable[[Mapping[str, Json]], bool]]] = {
    CALL: _tool_result,
    READ: _contents,
    LIST: _resources,
    GET: _messages,
    COMPLETE: _completion,
}
