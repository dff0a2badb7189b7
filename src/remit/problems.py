"""Errors to status codes: the one table from what Remit refuses to HTTP problems (RFC 9457) and exit codes.

The most specific class that is listed counts, so a new error is a ``RemitError`` of its parent's status until it has a
line of its own. A debug text never leaves the house: a problem has the class's title, its detail and hint, no trace.
"""

from http import HTTPStatus
from typing import Final, NamedTuple

from remit.core import errors
from remit.core.canonical import Json
from remit.core.errors import RemitError
from remit.core.oauth import ProofRefused
from remit.guards.json_in import as_json
from remit.tokens.dpop import ALGORITHMS

TYPE: Final = "https://remit.invalid/errors/"
PROBLEM: Final = "application/problem+json"

OK: Final = 0
NO: Final = 1
USAGE: Final = 2


class Form(NamedTuple):
    """How an error shows: its HTTP status and the exit code of a command."""

    status: int
    exit: int


TABLE: Final[dict[type[RemitError], Form]] = {
    RemitError: Form(500, 70),
    errors.BadInput: Form(400, USAGE),
    errors.Malformed: Form(400, USAGE),
    errors.TooLarge: Form(413, USAGE),
    errors.UnsupportedMedia: Form(415, USAGE),
    errors.InvalidDocument: Form(422, USAGE),
    errors.InvalidPolicy: Form(422, USAGE),
    errors.Unauthenticated: Form(401, 4),
    errors.Forbidden: Form(403, 4),
    errors.NotFound: Form(404, 3),
    errors.Conflict: Form(409, 5),
    errors.NameTaken: Form(409, 5),
    errors.StaleFingerprint: Form(409, 5),
    errors.AlreadyAnswered: Form(409, 5),
    errors.ScopeNotOffered: Form(409, 5),
    errors.CallIdReused: Form(409, 5),
    errors.CallClosed: Form(409, 5),
    errors.WrongState: Form(409, 5),
    errors.Unavailable: Form(503, 6),
    errors.StoreUnavailable: Form(503, 6),
    errors.LogUnavailable: Form(503, 6),
    errors.UpstreamUnavailable: Form(503, 6),
    errors.InternalError: Form(500, 70),
}


def form(error: RemitError) -> Form:
    """The status and exit code of the nearest class that is listed."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def exit_code(error: RemitError) -> int:
    """What a command exits with (INTERFACES section 6)."""
    return form(error).exit


def document(error: RemitError) -> dict[str, Json]:
    """The problem document (RFC 9457 section 3.1)."""
    body: dict[str, Json] = {
        "type": TYPE + error.code,
        "title": error.title,
        "status": form(error).status,
        "code": error.code,
        "detail": error.detail,
        "hint": error.hint,
        "event": error.event,
    }
    if error.pointer is not None:
        body["pointer"] = error.pointer
    return body


def problem(error: RemitError) -> tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]:
    """Status, body and further headers of an HTTP answer."""
    status = form(error).status
    challenge = ((b"www-authenticate", b'Bearer realm="remit"'),) if status == HTTPStatus.UNAUTHORIZED else ()
    return status, as_json(document(error)), proof_challenge(error) or challenge


def proof_challenge(error: RemitError) -> tuple[tuple[bytes, bytes], ...]:
    """What a client is told of a DPoP proof that was refused (RFC 9449 sections 7.1 and 9); nothing of other errors."""
    if not isinstance(error, ProofRefused):
        return ()
    told = f'DPoP realm="remit", error="{error.error}", algs="{" ".join(ALGORITHMS)}"'
    nonce = ((b"dpop-nonce", error.nonce.encode("ascii")),) if error.nonce else ()
    return (b"www-authenticate", told.encode("ascii")), *nonce
