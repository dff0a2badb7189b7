"""A stdio MCP server of one tool that says how it gets on, standard library only; run as a program.

``work`` takes as many steps as it is told and speaks of each, under its call's token if it was given one and to the log;
with ``wait`` it then waits until it is told that nobody waits any more, which it writes into the file of its argument.
Calls are worked on at the same time.
"""

import json
import sys
import threading

_speaking = threading.Lock()
_waiting: dict[object, threading.Event] = {}
SCHEMA = {
    "type": "object",
    "properties": {"steps": {"type": "integer"}, "wait": {"type": "boolean"}},
}


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if message["method"] == "notifications/cancelled":
            _cancelled(message["params"])
        elif message["method"] == "tools/call":
            _waiting[message["id"]] = threading.Event()
            threading.Thread(target=_work, args=(message,), daemon=True).start()
        elif "id" in message:
            _say({"jsonrpc": "2.0", "id": message["id"], "result": _answer(message["method"])})


def _answer(method: str) -> object:
    if method == "initialize":
        info = {"name": "talker", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}}, "serverInfo": info}
    return {"tools": [{"name": "work", "inputSchema": SCHEMA}]} if method == "tools/list" else {}


def _work(message: dict[str, object]) -> None:
    params = message["params"]
    assert isinstance(params, dict)
    token = params.get("_meta", {}).get("progressToken")
    for step in range(1, params["arguments"].get("steps", 0) + 1):
        said = {"progressToken": 999_999 if token is None else token, "progress": step}
        _say({"jsonrpc": "2.0", "method": "notifications/progress", "params": said})
        _say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "alert", "data": step}})
    if params["arguments"].get("wait"):
        _waiting[message["id"]].wait()
    content = [{"type": "text", "text": "worked"}]
    _say({"jsonrpc": "2.0", "id": message["id"], "result": {"content": content}})


def _cancelled(params: dict[str, object]) -> None:
    with open(sys.argv[1], "a", encoding="utf-8") as heard:  # noqa: PTH123 - pathlib doubles the start of the child
        heard.write(f"{params['requestId']}\n")
    _waiting[params["requestId"]].set()


def _say(message: object) -> None:
    with _speaking:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
