"""Come in here for how the client reads what a Remit server answers: JSON with exact numbers, and errors by their code.

It fails closed: an answer that is not JSON, or a refusal that does not say why, is ``Unavailable`` and never a yes.
"""

import json
import ssl
from decimal import Decimal
from typing import Any, Final

import httpx

from remit.core.errors import (
    BadInput,
    Conflict,
    Forbidden,
    InternalError,
    Malformed,
    NotFound,
    RemitError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)

HINT: Final = "See that it runs (`remit up`) and that the address is right; nothing was allowed."
"""What to do when nothing, or nothing readable, came back."""

NOT_KNOWN: Final = "What became of the message is not known here: look in Remit's log before it is sent again."
"""What to do when a message may have been acted on."""
_ELSEWHERE: Final = range(300, 400)
# Before any byte of the request was sent.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Where a problem carries a code that this version does not know, its status still tells which branch of the tree.
_BY_STATUS: Final[dict[int, type[RemitError]]] = {
    400: BadInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMedia,
    422: BadInput,
    500: InternalError,
}


def read_json(text: str | bytes) -> Any:
    """JSON with exact numbers. Raises ``Malformed`` for a duplicate key, NaN, or what is not JSON."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"this is not JSON: {error}") from error


def parse(response: httpx.Response) -> object:
    """The JSON value of an answer. Raises ``Unavailable`` for what is not JSON."""
    try:
        return read_json(response.content)
    except Malformed as error:
        raise Unavailable("the answer is not JSON", hint=HINT) from error


def refusal(response: httpx.Response, hint: str = HINT) -> RemitError:
    """The error behind a refusing response; what does not read as a problem is ``Unavailable``, with ``hint``."""
    try:
        problem = read_json(response.content)
    except Malformed:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return _unexplained(response.status_code, hint)
    kind = _classes().get(problem["code"]) or _BY_STATUS.get(response.status_code, Unavailable)
    event, pointer = problem.get("event"), problem.get("pointer")
    return kind(
        str(problem.get("detail", "")),
        hint=str(problem["hint"]) if problem.get("hint") else None,
        pointer=pointer if isinstance(pointer, str) else None,
        event=event if isinstance(event, int) and not isinstance(event, bool) else None,
    )


def _unexplained(status: int, hint: str) -> RemitError:
    """The error behind a refusal that is no problem document: of a proxy, or of what is no Remit."""
    if status in _ELSEWHERE:
        where = "Redirects are not followed: give the address that it leads to."
        return Unavailable(f"the server answered {status}, a redirect", hint=where)
    kind = {401: Unauthenticated, 403: Forbidden}.get(status)
    if kind is not None:
        before = "Remit says why; so this is something before it, which does not take this credential."
        return kind(f"the server answered {status} without saying why", hint=before)
    return Unavailable(f"the server answered {status} without saying why", hint=hint)


def unreachable(error: httpx.HTTPError) -> Unavailable:
    """The error to raise when nothing came back at all."""
    distrusted = _distrusted(error)
    if distrusted is not None:
        return distrusted
    return Unavailable(f"Remit did not answer: {error or type(error).__name__}", hint=HINT)


def broken_off(error: httpx.HTTPError) -> Unavailable:
    """What is said where a message may have been acted on before the connection failed."""
    if isinstance(error, _NOT_SENT):
        return unreachable(error)
    return Unavailable(f"Remit did not answer: {error or type(error).__name__}", hint=NOT_KNOWN)


def _distrusted(error: BaseException) -> Unavailable | None:
    """What is said of a certificate that was not accepted, if that is behind this error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(f"no TLS connection could be made: {cause.reason or cause}", hint="Is this an https port?")
    return Unavailable(
        f"the certificate of the server is not accepted: {cause.verify_message.rstrip('.')}",
        hint="Nothing was sent. Check the address; name an authority of your own in SSL_CERT_FILE.",
    )


def _classes() -> dict[str, type[RemitError]]:
    """Every error class of the core's tree by its code; a subclass made elsewhere is its parent to a caller."""
    found: dict[str, type[RemitError]] = {}
    waiting: list[type[RemitError]] = [RemitError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__ == RemitError.__module__:
            found[kind.code] = kind
            waiting.extend(kind.__subclasses__())
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("an object names a member twice")
    return out
