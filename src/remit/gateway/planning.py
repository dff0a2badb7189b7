"""``remit__plan``: the one tool of ours, with which a plain MCP client narrows its own session before it begins.

It is listed only where the setting ``plan_tool`` says so, on the flat list alone, and no server can be named ``remit``.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from remit.core.credentials import SessionCaller
from remit.core.errors import RemitError
from remit.gateway import wire
from remit.guards.json_in import as_json
from remit.services.deps import Deps
from remit.services.listing import Sight
from remit.services.narrowing import narrow

NAME: Final = "remit__plan"
DEFINITION: Final = as_json(
    {
        "name": NAME,
        "title": "Narrow this session",
        "description": (
            "Before you begin, name the tools of this list that the task needs. From then on this session reaches no "
            "others, also if what you read asks for them. It can be narrowed again and never widened."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "tools": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "description": "Names of tools, as they are listed.",
                },
                "limits": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Ceilings by name, as decimal amounts.",
                },
            },
            "required": ["tools"],
            "additionalProperties": False,
        },
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    }
)


async def plan(deps: Deps, sight: Sight, request: wire.Request, caller: SessionCaller) -> bytes:
    """The response to a call of the tool."""
    arguments = request.params.get("arguments", {})
    named = arguments.get("tools") if isinstance(arguments, Mapping) else None
    limits = arguments.get("limits", {}) if isinstance(arguments, Mapping) else None
    if not isinstance(named, Sequence) or isinstance(named, str) or not isinstance(limits, Mapping):
        return request.answer(wire.tool_error("Remit: a plan is {tools: [names], limits: {name: amount}}."))
    refs = [sight.authority.aliases.get(str(name), str(name)) for name in named]
    try:
        sealed = await narrow(deps, caller, refs, limits)
    except RemitError as error:
        return request.answer(wire.tool_error(f"Remit: nothing was changed: {error.detail}. {error.hint}"))
    text = f"This session now reaches {', '.join(sealed.tools)} and nothing else. It can't be widened."
    return request.answer(as_json({"content": [{"type": "text", "text": text}]}))
