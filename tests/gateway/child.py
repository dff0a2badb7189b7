"""A stdio MCP server of four tools, standard library only; run as a program. What it does is lines in the file it is given.

``whoami`` says which process this is, ``die`` acts and ends without an answer, ``hang`` acts and never answers,
``exit`` answers and ends.
"""

import json
import os
import sys

NAMES = ("whoami", "die", "hang", "exit")


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            answer = _answer(message)
            if answer is not None:
                sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer}) + "\n")
                sys.stdout.flush()
            if message["method"] == "tools/call" and message["params"]["name"] == "exit":
                os._exit(0)


def _answer(message: dict[str, object]) -> object:
    if message["method"] == "initialize":
        info = {"name": "child", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    if message["method"] == "tools/list":
        schema = {"type": "object", "properties": {"id": {"type": "string"}}}
        return {"tools": [{"name": name, "inputSchema": schema} for name in NAMES]}
    if message["method"] != "tools/call":
        return {}
    params = message["params"]
    name = params["name"] if isinstance(params, dict) else ""
    with open(sys.argv[1], "a", encoding="utf-8") as acted:  # noqa: PTH123 - pathlib doubles the start of the child
        acted.write(f"{name} {os.getpid()}\n")
    if name == "die":
        os._exit(3)
    return None if name == "hang" else {"content": [{"type": "text", "text": str(os.getpid())}]}


if __name__ == "__main__":
    main()
