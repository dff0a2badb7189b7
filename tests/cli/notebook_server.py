"""A stdio MCP server of notes, whose titles are whatever was written; run as a program."""

import json
import sys
from typing import Any

TEXT = {"type": "string"}
TOOLS = [
    {
        "name": "add_note",
        "inputSchema": {"type": "object", "properties": {"title": TEXT, "text": TEXT}, "required": ["title"]},
    },
    {"name": "notes", "inputSchema": {"type": "object", "properties": {}}},
]


def main() -> None:
    """Keep notes until the input ends."""
    notes: list[dict[str, str]] = []
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result: object = {}
        if message["method"] == "initialize":
            info = {"name": "notebook", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        elif message["method"] == "tools/list":
            result = {"tools": TOOLS}
        elif message["method"] == "tools/call":
            result = _called(notes, message["params"])
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
        sys.stdout.flush()


def _called(notes: list[dict[str, str]], params: dict[str, Any]) -> object:
    if params["name"] == "add_note":
        given = params.get("arguments", {})
        notes.append({"id": f"n{len(notes)}", "title": given.get("title", ""), "text": given.get("text", "")})
        shown: object = {"id": notes[-1]["id"]}
    else:
        shown = {"items": notes}
    return {"content": [{"type": "text", "text": json.dumps(shown)}], "structuredContent": shown}


if __name__ == "__main__":
    main()
