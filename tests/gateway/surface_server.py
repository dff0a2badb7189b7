"""The official SDK's server with resources, prompts and completion, on a free port; what it did it writes to a file.

Run as a program: the port is on its first line, each effect a line of the file that is its argument.
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp import types
from mcp.server import Server

Context = Any


async def templates(context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
    """One template."""
    del context, params
    one = types.ResourceTemplate(name="notes", uri_template="note:///{id}")
    return types.ListResourceTemplatesResult(resource_templates=[one])


async def resources(context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    """Two resources."""
    del context, params
    listed = [types.Resource(name=name, uri=f"note:///{name}") for name in ("a", "b")]
    return types.ListResourcesResult(resources=listed)


async def read(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """Whatever was asked for."""
    del context
    did("read", params.uri)
    one = types.TextResourceContents(uri=params.uri, text=f"about {params.uri}")
    return types.ReadResourceResult(contents=[one])


async def prompts(context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """Two prompts."""
    del context, params
    who = types.PromptArgument(name="who", required=True)
    return types.ListPromptsResult(prompts=[types.Prompt(name="greet", arguments=[who]), types.Prompt(name="plans")])


async def get(context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Two messages."""
    del context
    did("get", params.name)
    said = types.TextContent(type="text", text=f"Hello {(params.arguments or {}).get('who')}")
    return types.GetPromptResult(
        messages=[types.PromptMessage(role=role, content=said) for role in ("user", "assistant")]
    )


async def complete(context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Two values."""
    del context
    did("complete", params.ref.type)
    return types.CompleteResult(completion=types.Completion(values=["Ada", "Alan"]))


def did(what: str, which: str) -> None:
    """Write an effect down."""
    with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([what, str(which)]) + "\n")


if __name__ == "__main__":
    server: Server[Any] = Server(
        "library",
        on_list_resource_templates=templates,
        on_list_resources=resources,
        on_read_resource=read,
        on_list_prompts=prompts,
        on_get_prompt=get,
        on_completion=complete,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)  # noqa: T201 - its only way to tell
    config = uvicorn.Config(server.streamable_http_app(), log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listening])
