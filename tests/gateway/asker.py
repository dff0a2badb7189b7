"""An MCP server on the official SDK that asks before it acts; run as a program. What it did is lines in the file it is given.

``transfer`` asks its user to whom, by a form; ``summarise`` asks the client's model; ``pair`` asks for a page to be opened.
"""

import sys
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
)

FORM = {"type": "object", "properties": {"to": {"type": "string", "title": "Recipient"}}, "required": ["to"]}
server = MCPServer("asker")


def _did(what: str) -> str:
    with Path(sys.argv[1]).open("a", encoding="utf-8") as acted:
        acted.write(what + "\n")
    return what


@server.tool()
async def transfer(amount: int, ctx: Context) -> str | InputRequiredResult:
    """Send an amount to whom its user names."""
    answer = (ctx.input_responses or {}).get("whom")
    if answer is None:
        asked = ElicitRequest(params=ElicitRequestFormParams(message="To whom?", requested_schema=FORM))
        return InputRequiredResult(input_requests={"whom": asked}, request_state=f"amount {amount}")
    assert isinstance(answer, ElicitResult)
    if answer.action != "accept":
        return answer.action
    return _did(f"{amount} to {(answer.content or {})['to']} after {ctx.request_state}")


@server.tool()
async def summarise(text: str, ctx: Context) -> str | InputRequiredResult:
    """Have the client's model write it shorter."""
    answer = (ctx.input_responses or {}).get("shorter")
    if answer is None:
        message = SamplingMessage(role="user", content=TextContent(type="text", text=f"Shorter: {text}"))
        params = CreateMessageRequestParams(messages=[message], max_tokens=50)
        return InputRequiredResult(input_requests={"shorter": CreateMessageRequest(params=params)})
    assert isinstance(answer, CreateMessageResult)
    assert isinstance(answer.content, TextContent)
    return _did(answer.content.text)


@server.tool()
async def pair(ctx: Context) -> str | InputRequiredResult:
    """Have its user open a page."""
    answer = (ctx.input_responses or {}).get("page")
    if answer is None:
        params = ElicitRequestURLParams(message="Pair the device.", url="https://pair.example.test/x")
        return InputRequiredResult(input_requests={"page": ElicitRequest(params=params)})
    assert isinstance(answer, ElicitResult)
    return _did(f"paired: {answer.action}")


if __name__ == "__main__":
    server.run("stdio")
