"""Come in here for what every upstream connection shares: who it is for, what it answers, how it fails, its envelopes.

Rules
- Bytes in, bytes out. ``params`` are spliced into a request verbatim, ``result`` and ``error`` are cut out of a reply
  verbatim; only the JSON-RPC 2.0 envelope is read. Nothing that we don't know is dropped.
- ``NotSent`` means that nothing can have been acted on; ``OutcomeUnknown`` is everything else that is not an answer.
  ``Stale``, of the first, says that another connection may do better; a server that refused would refuse again.
  Budgets are released by the first and never by the second, so whoever is in doubt raises the second.
- A failure names no header, no environment value and no text of the server: both end up in front of an agent.

- A server is asked first what it is: one that answers as a server of the stateless revisions gets the envelope with
  each request, and is remembered as such in what is pinned of it. Any other is asked for a handshake
  (``upstream_eras.py``).

Refused here: the strict, duplicate-refusing parse of a result (the caller's, who also decides what it means); which
tool may be called; any protocol revision that ``revisions.py`` does not name.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

import msgspec
import yarl

from remit.core.errors import InvalidDocument, UpstreamUnavailable
from remit.gateway.revisions import NEWEST, enveloped

METHOD_NOT_FOUND: Final = -32601
VERSION: Final = importlib.metadata.version("remit")
LIST_CHANGED: Final = frozenset(f"notifications/{what}/list_changed" for what in ("tools", "prompts", "resources"))
"""What a server says when something that is pinned may have changed."""
MAX_ID_BYTES: Final = 256
"""The longest id of a server's own request that we echo."""

Now: TypeAlias = Callable[[], float]
"""A monotonic clock in seconds."""

_CLIENTS_METHODS: Final = frozenset({"elicitation/create", "sampling/createMessage", "roots/list"})
_ASKS_A_CLIENT: Final = (
    b"Remit passes on no question to the client over a handshake connection; "
    b"answer input_required under protocol revision %s instead" % NEWEST.encode()
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OUR_HEADERS: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie"),
        *("host", "last-event-id", "mcp-protocol-version", "mcp-session-id", "te", "trailer", "transfer-encoding"),
        "upgrade",
    }
)
_ENV_NAME = re.compile(r"[^=\x00]+")


Cause: TypeAlias = Literal[
    "",
    "name",
    "refused",
    "unreachable",
    "tls",
    "insecure",
    "credential",
    "path",
    "not_mcp",
    "hung",
    "program",
    "ended",
    "busy",
    "resting",
]
"""Why a server was not reached or did not answer, for whoever looks after it (``upstream_advice.py``)."""


class NotSent(UpstreamUnavailable):
    """The upstream server was not reached, so nothing was done."""

    code = "upstream_not_sent"
    default_hint = "Nothing was acted on; the call may be made again once the server answers."

    def __init__(
        self, detail: str = "", *, hint: str | None = None, cause: Cause = "", last_words: tuple[str, ...] = ()
    ) -> None:
        """``last_words`` are a child's, made harmless, for the operator alone."""
        super().__init__(detail, hint=hint)
        self.cause: Cause = cause
        self.last_words = last_words

    def again(self) -> "NotSent":
        """The same for another caller: one exception raised twice would gather the traces of both."""
        return type(self)(self.detail, hint=self.hint, cause=self.cause, last_words=self.last_words)


class Unreached(NotSent):
    """No connection to the server came about: what counts towards leaving it alone for a while."""


class Stale(NotSent):
    """The connection to the upstream server had ended before the call could be sent."""

    code = "upstream_stale"


class TurnedAway(NotSent):
    """The upstream server answered with an HTTP status that says that it did not take the request up."""


class OutcomeUnknown(UpstreamUnavailable):
    """The call was sent, and whether it was done is not known."""

    code = "upstream_outcome_unknown"
    default_hint = "Don't repeat it blindly: look at the server's own records, then settle it (`remit audit unknown`)."

    def __init__(self, detail: str = "", *, hint: str | None = None, cause: Cause = "") -> None:
        """``cause`` is what an operator is told of it."""
        super().__init__(detail, hint=hint)
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True)
class TlsTarget:
    """Whom we believe and who we are: paths of PEM files, and the key of ``cert``, which is shown nowhere."""

    ca: str | None = None
    cert: str | None = None
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An MCP server over streamable HTTP; ``headers`` carry its credential and are shown nowhere."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: TlsTarget | None = None

    def __post_init__(self) -> None:
        """Raise ``InvalidDocument`` for a URL or a header that we will not send."""
        try:
            parts = yarl.URL(self.url)
        except ValueError:
            parts = yarl.URL()
        if parts.scheme not in {"http", "https"} or not parts.host or parts.fragment:
            raise InvalidDocument("an upstream URL is http:// or https:// with a host and no fragment", pointer="/url")
        if parts.raw_user is not None or parts.raw_password is not None:
            raise InvalidDocument("an upstream URL holds no user or password; use --secret header:NAME", pointer="/url")
        names = [name.lower() for name, _ in self.headers]
        for name, (_, value) in zip(names, self.headers, strict=True):
            if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
                raise InvalidDocument("a header has a name or a value that HTTP does not allow", pointer="/headers")
            if name in _OUR_HEADERS:
                raise InvalidDocument(f"the header {name} is the protocol's own", pointer="/headers")
        if len(set(names)) != len(names):
            raise InvalidDocument("a header is given twice", pointer="/headers")


@dataclass(frozen=True, slots=True)
class StdioTarget:
    """An MCP server that we start: ``env`` is the child's whole environment, and its values are shown nowhere."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str | None = None

    def __post_init__(self) -> None:
        """Raise ``InvalidDocument`` for what no operating system would start."""
        if not self.command or "\x00" in "".join((self.command, *self.args, self.cwd or "")):
            raise InvalidDocument("a stdio server needs a command, and no part of it may hold NUL", pointer="/command")
        names = [name for name, _ in self.env]
        if any(_ENV_NAME.fullmatch(name) is None or "\x00" in value for name, value in self.env):
            raise InvalidDocument("an environment name or value can't be passed on", pointer="/env")
        if len(set(names)) != len(names):
            raise InvalidDocument("an environment name is given twice", pointer="/env")


Target: TypeAlias = HttpTarget | StdioTarget


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """Who shares a connection: nobody but the same org, server, credential owner and agent session.

    ``session`` is ``None`` only where the server's record says ``shared: true`` (INTERFACES section 5).
    """

    org: str
    server: str
    owner: str
    session: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a connection: bytes, seconds and counts."""

    reply_bytes: int = 10 * 1024 * 1024
    """The longest line (stdio) or response body (HTTP)."""
    open_seconds: float = 30.0
    """From nothing to initialized."""
    discover_seconds: float = 5.0
    """How long a server that may be of an older era has to say what it is."""
    connect_seconds: float = 10.0
    """TCP and TLS."""
    ping_seconds: float = 5.0
    """How long a child that let a call time out has to answer a ping."""
    stop_seconds: float = 2.0
    """How long a child has after each of: end of input, SIGTERM, SIGKILL."""
    idle_seconds: float = 600.0
    """How long an unused connection is kept."""
    connections: int = 256
    """Open connections in one pool."""
    server_connections: int = 128
    """Of these, to one server: its sessions can't take the places of all others."""
    server_requests: int = 32
    """How many requests of the server's own are answered within one call; more are only counted."""


@dataclass(frozen=True, slots=True)
class Result:
    """The server's answer: the bytes of ``result`` as they came."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The server's refusal: the bytes of ``error`` as they came. Third-party text, whatever it says."""

    raw: bytes


Reply: TypeAlias = Result | ErrorReply


@dataclass(slots=True)
class Counters:
    """What arrived and went no further, for ``doctor`` and for tests."""

    unmatched: int = 0
    """Responses to an id that we did not ask, or had given up."""
    garbage: int = 0
    """Lines or events that are no JSON-RPC message."""
    notifications: int = 0
    server_requests: int = 0
    """Requests by the server (sampling, roots, elicitation, ping): answered here, never forwarded."""


class Usage:
    """How busy a connection is, so that the pool closes only idle ones."""

    __slots__ = ("_now", "in_flight", "last_used")

    def __init__(self, now: Now) -> None:
        """Unused since now."""
        self._now = now
        self.in_flight = 0
        self.last_used = now()

    def touch(self) -> None:
        """Somebody was handed this connection."""
        self.last_used = self._now()

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call is under way."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self.touch()


ListChanged: TypeAlias = Callable[[], None]
"""Called when the server says that its tools changed: a hint to sync, never a reason to trust. It must not block."""


class Hearer(Protocol):
    """Who wants to be told what a server says of one call before it answers. It must not block."""

    @property
    def token(self) -> int | None:
        """The progress token that the call was sent with."""

    def hear(self, data: bytes) -> None:
        """One notification of progress or of a log, as it came. Third-party text."""

    def missed(self, count: int) -> None:
        """So many more were dropped on the way here."""


HEARD: Final = frozenset({"notifications/progress", "notifications/message"})


class _OfToken(msgspec.Struct, rename={"token": "progressToken"}):
    token: int


class _OfProgress(msgspec.Struct):
    params: _OfToken


_progress = msgspec.json.Decoder(_OfProgress)


def progress_token(data: bytes) -> int | None:
    """Which call a progress notification on a pipe speaks of, if it carries a token such as ours."""
    try:
        return _progress.decode(data).params.token
    except UNREADABLE:
        return None


class Connection(Protocol):
    """One initialized conversation with one server. Once it is not ``alive`` it stays so; ask the pool for another."""

    on_list_changed: ListChanged | None

    @property
    def server_info(self) -> bytes:
        """The raw ``result`` of ``initialize``, for the server's fingerprint."""

    @property
    def alive(self) -> bool:
        """Whether another call may be tried."""

    @property
    def usage(self) -> Usage:
        """How busy it is."""

    @property
    def counters(self) -> Counters:
        """What was dropped."""

    @property
    def died_at(self) -> float | None:
        """When it died of itself (clock of the pool); ``None`` while alive or if we closed it."""

    @property
    def stateless(self) -> bool:
        """Whether the server is of a revision without handshake."""

    async def call(
        self,
        method: str,
        params: bytes | None,
        timeout: float,
        repeated: Mapping[str, str] | None = None,
        hearer: Hearer | None = None,
    ) -> Reply:
        """One request; ``params`` is one JSON object, sent byte for byte, ``timeout`` is in seconds and total.

        ``repeated`` are headers that repeat arguments, which only a stateless server over HTTP is sent. ``hearer`` is
        told what comes on the request's own stream before the answer; over a pipe, progress under its token.

        Raises ``NotSent`` or ``OutcomeUnknown``. A caller that cancels this must take the outcome as unknown too; the
        server is told that nobody waits any more.
        """

    async def aclose(self) -> None:
        """End the conversation and whatever we started for it. Idempotent."""


class Message(msgspec.Struct, frozen=True):
    """A JSON-RPC 2.0 envelope; members are raw, because all but ``id`` and ``method`` are somebody else's to read.

    msgspec keeps the last of two equal members. That is safe *here* alone: nobody else ever sees the envelope.
    """

    jsonrpc: Literal["2.0"]
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    def raw_id(self) -> bytes | None:
        """The bytes of the id, ``None`` without one."""
        return None if self.id is msgspec.UNSET else bytes(self.id)

    def reply(self) -> Reply | None:
        """What it answers, or ``None`` unless it holds exactly one of ``result`` and ``error``."""
        if self.result is not msgspec.UNSET and self.error is msgspec.UNSET:
            return Result(bytes(self.result))
        if self.error is not msgspec.UNSET and self.result is msgspec.UNSET:
            return ErrorReply(bytes(self.error))
        return None


_messages = msgspec.json.Decoder(Message)
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON we expect; RecursionError for deep nesting."""


def read_message(data: bytes) -> Message | None:
    """The envelope of one message, ``None`` if it is none."""
    try:
        return _messages.decode(data)
    except UNREADABLE:
        return None


def request(number: int, method: str, params: bytes | None) -> bytes:
    """One request with ``params`` verbatim; ``NotSent`` if they are not exactly one JSON object.

    INVARIANT: params never reach past their own braces, or one call could carry a second message behind the first.
    """
    head = b'{"jsonrpc":"2.0","id":%d,"method":%s' % (number, msgspec.json.encode(method))
    if params is None:
        return head + b"}"
    try:
        _objects.decode(params)
    except UNREADABLE:
        raise NotSent("the params of a request must be one JSON object") from None
    return head + b',"params":' + params + b"}"


def notification(method: str, params: bytes | None = None) -> bytes:
    """One notification; ``params`` are our own bytes."""
    tail = b"}" if params is None else b',"params":' + params + b"}"
    return b'{"jsonrpc":"2.0","method":%s' % msgspec.json.encode(method) + tail


def cancelled(number: int, reason: bytes = b"timed out") -> bytes:
    """The courtesy that tells a server that nobody waits for request ``number`` any more; ``reason`` is ours."""
    return notification("notifications/cancelled", b'{"requestId":%d,"reason":"%b"}' % (number, reason))


def answer(message: Message) -> bytes | None:
    """Our answer to a server's own request: ``ping`` is answered, all else is refused; ``None`` for an odd id.

    What would ask the client for something is refused with the reason: over a handshake nobody knows for which call it
    asks, so what the client answered could not be held to that call's session and decided with it.
    """
    raw = message.raw_id()
    if raw is None or len(raw) > MAX_ID_BYTES or not (raw.startswith(b'"') or raw.lstrip(b"-").isdigit()):
        return None
    if message.method == "ping":
        return b'{"jsonrpc":"2.0","id":' + raw + b',"result":{}}'
    words = _ASKS_A_CLIENT if message.method in _CLIENTS_METHODS else b"Remit answers no requests of servers"
    refusal = b'{"code":%d,"message":"%s"}' % (METHOD_NOT_FOUND, words)
    return b'{"jsonrpc":"2.0","id":' + raw + b',"error":' + refusal + b"}"


def in_envelope(method: str, params: bytes | None) -> tuple[bytes, dict[str, str]]:
    """Params and headers as a stateless server wants them; ``NotSent`` if the params are not exactly one object."""
    try:
        return enveloped(method, params, VERSION)
    except UNREADABLE:
        raise NotSent("the params of a request must be one JSON object") from None
