"""Come in here for what an operator is told to do about a server that was not reached or answers amiss."""

from collections.abc import Mapping
from typing import Final

from remit.core.errors import RemitError
from remit.core.servers import Server
from remit.gateway.upstream_wire import Cause, NotSent, OutcomeUnknown

_ADVICE: Final[Mapping[Cause, str]] = {
    "name": "Check the host name in its url, and that this machine can resolve it.",
    "refused": "Nothing listens there: start the server, or correct host and port in its url (`remit server change`).",
    "unreachable": "Check host and port in its url, and what stands between this machine and that one.",
    "credential": "Its credential is missing or not accepted: `remit server secret {name} header:Authorization`.",
    "path": "Nothing is served at that path: correct its url, whose path often ends in /mcp (`remit server change`).",
    "not_mcp": "What answers there does not speak MCP over streamable HTTP: check host, port and path of its url.",
    "hung": "It takes the request and does not answer: look at the server itself, and at its own log.",
    "program": "Its program can't be started: check that its path is there and that Remit's user may run it.",
    "ended": "Its program ended. Run it by hand with the arguments and the environment of its record, and no others.",
}


def advice(server: Server, error: RemitError) -> str:
    """The next step; what the failure itself says, where that is plainer."""
    if isinstance(error, NotSent | OutcomeUnknown) and error.hint == error.default_hint and error.cause in _ADVICE:
        return _ADVICE[error.cause].format(name=server.name)
    return error.hint
