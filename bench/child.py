"""A bare stdio MCP server for the soak: two tools, standard library only, so that a new one starts at once."""

import json
import sys

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    {"name": "note", "description": "Notes a text.", "inputSchema": TEXT},
    {"name": "wipe", "description": "Wipes all notes.", "inputSchema": TEXT},
]
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "pad", "version": "1"},
}


def main() -> None:
    """Answer each line until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        known = {"initialize": HELLO, "tools/list": {"tools": TOOLS}, "ping": {}}
        result = known.get(request["method"])
        if result is None:
            text = request["params"]["arguments"]["text"]
            result = {"content": [{"type": "text", "text": text}]}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
