"""Everything Remit can refuse with, as one tree.

    RemitError
    ├── BadInput                  the caller sent something we will not read
    │   ├── Malformed             not JSON as we accept it (RFC 8259 and our bounds)
    │   ├── TooLarge              over a size or depth bound
    │   ├── UnsupportedMedia      another content type than application/json
    │   ├── InvalidDocument       well formed, but not the shape of its kind
    │   └── InvalidPolicy         Cedar text or a condition that we refuse
    ├── Unauthenticated           no credential, or one that is not good
    ├── Forbidden                 a good credential that may not do this
    ├── NotFound                  no such thing, or none that you may see
    ├── Conflict                  the state of things does not allow it
    │   ├── NameTaken             names are unique and never reused
    │   ├── StaleFingerprint      reviewed bytes are not the quarantined bytes
    │   ├── AlreadyAnswered       an approval is answered once
    │   ├── ScopeNotOffered       the answer's scope does not fit the approval's kind
    │   ├── CallIdReused          one call id, two different calls
    │   ├── CallClosed            nothing open under this call id
    │   └── WrongState            a lifecycle step that is not allowed from here
    ├── Unavailable               store, log or upstream can't serve now
    │   ├── StoreUnavailable
    │   ├── LogUnavailable
    │   └── UpstreamUnavailable
    └── InternalError             our fault

Naming rule: a class says what is wrong, not who is to blame. ``code`` is stable and machine readable (RFC 9457 ``type``
ends in it); the docstring's first line is the standard sentence (``title``); ``detail`` is about this occurrence;
``hint`` says what to do next. HTTP status and exit codes are not here: they live in ``problems.py``.
"""

from typing import ClassVar


class RemitError(Exception):
    """Remit could not do this."""

    code: ClassVar[str] = "remit_error"
    default_hint: ClassVar[str] = "Ask the operator to look at the log."

    def __init__(
        self,
        detail: str = "",
        *,
        hint: str | None = None,
        pointer: str | None = None,
        event: int | None = None,
    ) -> None:
        """``pointer`` is an RFC 6901 JSON pointer into the refused document; ``event`` a log index."""
        self.title = (type(self).__doc__ or "").strip().splitlines()[0]
        self.detail = detail or self.title
        self.hint = self.default_hint if hint is None else hint
        self.pointer = pointer
        self.event = event
        super().__init__(self.detail)


class BadInput(RemitError):
    """The input was refused."""

    code = "bad_input"
    default_hint = "Correct the input and send it again; nothing was changed."


class Malformed(BadInput):
    """The body is not JSON that Remit accepts."""

    code = "malformed"
    default_hint = "Send UTF-8 JSON without duplicate keys, NaN, lone surrogates or numbers outside the bounds."


class TooLarge(BadInput):
    """The input is over a size bound."""

    code = "too_large"
    default_hint = "Send less; the bounds are in docs/reference/limits.md."


class UnsupportedMedia(BadInput):
    """The content type is not application/json."""

    code = "unsupported_media"
    default_hint = "Set Content-Type: application/json."


class InvalidDocument(BadInput):
    """The document does not fit its kind."""

    code = "invalid_document"
    default_hint = "`remit schema KIND` prints the shape of each kind."


class InvalidPolicy(BadInput):
    """The policy was refused."""

    code = "invalid_policy"
    default_hint = "`remit policy check DIR` lists every error; the policies in force are unchanged."


class Unauthenticated(RemitError):
    """No valid credential was presented."""

    code = "unauthenticated"
    default_hint = "Send `Authorization: Bearer` with a live key or session token."


class Forbidden(RemitError):
    """This credential may not do this."""

    code = "forbidden"
    default_hint = "Ask an administrator for the role or the kind of key that this needs."


class NotFound(RemitError):
    """There is no such thing here."""

    code = "not_found"
    default_hint = "List what there is, and check the name or id byte for byte."


class Conflict(RemitError):
    """The present state does not allow this."""

    code = "conflict"
    default_hint = "Read the present state and try again from there."


class NameTaken(Conflict):
    """This name is taken, or was taken once: names are never reused."""

    code = "name_taken"
    default_hint = "Choose another name."


class StaleFingerprint(Conflict):
    """The reviewed fingerprint is not the one in quarantine."""

    code = "stale_fingerprint"
    default_hint = "Look at the definition as it is now (`remit tool diff`) and review that one."


class AlreadyAnswered(Conflict):
    """This approval has been answered."""

    code = "already_answered"
    default_hint = "`remit approval show` tells how; a new question needs a new call."


class ScopeNotOffered(Conflict):
    """This answer's scope does not fit what was asked."""

    code = "scope_not_offered"
    default_hint = "A call is approved once; a value for the session."


class CallIdReused(Conflict):
    """This call id already stands for another call in this session."""

    code = "call_id_reused"
    default_hint = "Use a new call id for each new call."


class CallClosed(Conflict):
    """No call is open under this call id."""

    code = "call_closed"
    default_hint = "An outcome is reported once, for a call that was allowed."


class WrongState(Conflict):
    """Its lifecycle does not allow this step."""

    code = "wrong_state"
    default_hint = "Look at its state first."


class Unavailable(RemitError):
    """Remit can't serve this now, so the answer is no."""

    code = "unavailable"
    default_hint = "Try again later; the operator sees the cause in `remit doctor`."


class StoreUnavailable(Unavailable):
    """The store can't be used."""

    code = "store_unavailable"


class LogUnavailable(Unavailable):
    """The log can't be written, so nothing is allowed."""

    code = "log_unavailable"


class UpstreamUnavailable(Unavailable):
    """The upstream server can't be reached."""

    code = "upstream_unavailable"
    default_hint = "The server's owner should look at it: `remit server sync NAME`."


class InternalError(RemitError):
    """Something went wrong in Remit itself; nothing was allowed."""

    code = "internal_error"
    default_hint = "Report it with the event number."
