"""Come in here for an MCP server behind streamable HTTP: POST out, JSON or an event stream back.

Rules
- The credential goes to the registered URL and nowhere else: redirects are never followed, no cookies, no proxies or
  netrc from the environment, TLS verified, and no failure names a header or a word of the server's.
- What a status tells of the call: a refused connection, 307 and 308 (send it again *there*), 404 for a dead session and
  the refusals in ``NOT_ACTED_ON`` are ``NotSent``. All else that is no answer is ``OutcomeUnknown``: so are 301, 302
  and 303, which a server may send *after* acting (RFC 9110 section 15.4.4), and 5xx.
- Nothing is decompressed: the bound counts the bytes that came, and a compressed answer is none.
- aiohttp resends idempotent methods by itself and POST never; idle connections are dropped sooner than common servers
  drop theirs, so that a call rarely meets one that is dying.

Refused here: the GET stream, resuming a broken stream by ``Last-Event-ID`` (the call is then unknown), requests of the
server.
"""

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

import aiohttp
from multidict import CIMultiDict

from remit.gateway.upstream_eras import Eras
from remit.gateway.upstream_hello import check_discovered, check_initialized, initialize_params, stateless_info
from remit.gateway.upstream_reach import context, refused_certificate, unreached
from remit.gateway.upstream_wire import (
    HEARD,
    LIST_CHANGED,
    Cause,
    Counters,
    ErrorReply,
    Hearer,
    HttpTarget,
    Limits,
    ListChanged,
    Message,
    NotSent,
    Now,
    OutcomeUnknown,
    Reply,
    Stale,
    TurnedAway,
    Usage,
    answer,
    cancelled,
    in_envelope,
    notification,
    read_message,
    request,
)

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
SESSION_ID: Final = "Mcp-Session-Id"
KEEP_ALIVE_SECONDS: Final = 4.0
"""Under the 5 s of uvicorn and Node."""
SIDE_SECONDS: Final = 5.0
"""For what nobody waits for: answers to the server's own requests, cancellations, the closing DELETE."""
TAIL_SECONDS: Final = 0.05
"""How long an event stream may take to end after its answer; then its TCP connection isn't used again."""

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_NOTHING: Final[Mapping[str, str]] = {}
_BROKE: Final = "the connection broke before the answer came"
_CAUSES: Final[Mapping[int, Cause]] = {401: "credential", 403: "credential", 404: "path", 405: "not_mcp"}
_OK: Final = 200
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_NOT_ACTED_ON: Final = frozenset({401, 403, 404, 405, 406, 413, 415, 429})
_SEND_AGAIN_THERE: Final = frozenset({307, 308})


class EventStream:
    """The data of each event, from chunks as they come (WHATWG HTML section 9.2); bounded by whoever feeds it."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self._line = bytearray()
        self._data: list[bytes] = []
        self._event = b""
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of every event of type ``message`` that ``chunk`` completes; empty data is skipped."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        head, *rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += head
        for piece in rest:
            done = self._take(bytes(self._line))
            self._line = bytearray(piece)
            if done:
                yield done

    def _take(self, line: bytes) -> bytes:
        if not line:
            data, event = b"\n".join(self._data), self._event
            self._data, self._event = [], b""
            return data if event in {b"", b"message"} else b""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name.removeprefix(b"\xef\xbb\xbf") == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        return b""


class HttpConnection:
    """One initialized session with one server: its own TCP connections, its own ``Mcp-Session-Id``."""

    def __init__(
        self,
        target: HttpTarget,
        limits: Limits,
        now: Now,
        on_list_changed: ListChanged | None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Not initialized yet: ``open_http`` does that. Call it with an event loop running."""
        self.on_list_changed = on_list_changed
        self._target = target
        self._limits = limits
        self._now = now
        self._usage = Usage(now)
        self._counters = Counters()
        self._headers = CIMultiDict(target.headers)
        own = {"Accept": f"{JSON}, {EVENTS}", "Accept-Encoding": "identity", "Content-Type": JSON}
        self._headers.extend(own)
        self._headers.setdefault("User-Agent", "remit")
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
        self._last_id = 0
        self._server_info = b""
        self._has_session = False
        self._stateless = False
        self._alive = True
        self._died_at: float | None = None
        self._side: set[asyncio.Task[None]] = set()

    @property
    def server_info(self) -> bytes:
        """See ``Connection``."""
        return self._server_info

    @property
    def alive(self) -> bool:
        """See ``Connection``."""
        return self._alive

    @property
    def usage(self) -> Usage:
        """See ``Connection``."""
        return self._usage

    @property
    def counters(self) -> Counters:
        """See ``Connection``."""
        return self._counters

    @property
    def died_at(self) -> float | None:
        """See ``Connection``."""
        return self._died_at

    # ------------------------------------------------------------------ calls

    @property
    def stateless(self) -> bool:
        """See ``Connection``."""
        return self._stateless

    async def call(
        self,
        method: str,
        params: bytes | None,
        timeout: float,
        repeated: Mapping[str, str] | None = None,
        hearer: Hearer | None = None,
    ) -> Reply:
        """See ``Connection``. After a 404 to our session this connection is dead, and the call was ``NotSent``."""
        with self._usage.call():
            return await self._ask(method, params, timeout, repeated or {}, hearer)

    async def discover(self, *, known: bool) -> bool:
        """Whether the server says that it speaks our stateless revision; the connection is one of that then.

        ``known`` is whether it was met so before: then its silence is no sign of an older server, and ``NotSent``.
        """
        self._stateless = True
        try:
            found = stateless_info(await self._ask("server/discover", None, self._limits.discover_seconds))
        except TurnedAway:
            found = None
        except OutcomeUnknown as error:
            if known:
                raise NotSent(f"the server did not say what it is: {error.detail}") from None
            found = None
        self._stateless, self._server_info = found is not None, found or b""
        return self._stateless

    async def handshake(self) -> None:
        """Agree on a revision, with a handshake or without; ``NotSent`` if the server doesn't answer as it should."""
        try:
            reply = await self._ask("initialize", initialize_params(), self._limits.open_seconds)
            if isinstance(reply, ErrorReply):
                self._stateless = True
                self._server_info = check_discovered(
                    await self._ask("server/discover", None, self._limits.open_seconds)
                )
                return
        except OutcomeUnknown as error:
            raise NotSent(
                f"the server was not initialized: {error.detail}", hint=self._broke(error), cause=error.cause
            ) from None
        self._server_info, self._headers["MCP-Protocol-Version"] = check_initialized(reply)
        # Awaited: a server may refuse calls that overtake it.
        await self._post_aside(notification("notifications/initialized"))

    async def _ask(
        self,
        method: str,
        params: bytes | None,
        timeout: float,
        repeated: Mapping[str, str] = _NOTHING,
        hearer: Hearer | None = None,
    ) -> Reply:
        number = self._last_id = self._last_id + 1
        headers = self._headers
        if self._stateless:
            params, named = in_envelope(method, params)
            headers = CIMultiDict(headers)
            headers.extend({**named, **repeated})
        body = request(number, method, params)
        if not self._alive:
            raise Stale("the connection is closed")
        # INVARIANT: raised outside the handlers, so that no exception of aiohttp's, which holds the request's headers,
        # hangs on ours as its context.
        failure: NotSent | OutcomeUnknown
        try:
            async with (
                asyncio.timeout(timeout),
                self._http.post(
                    self._target.url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=self._patience(timeout),
                ) as response,
            ):
                return await self._read(response, number, hearer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            failure = unreached(error)
        except TimeoutError:
            if method != "initialize" and not self._stateless:  # to a stateless server, going away says it
                self._aside(cancelled(number))
            failure = OutcomeUnknown(f"the server did not answer within {timeout:g} s", cause="hung")
        except asyncio.CancelledError:
            if method != "initialize" and not self._stateless and self._alive:
                self._aside(cancelled(number, b"no longer wanted"))
            raise
        except (aiohttp.ClientError, OSError) as error:
            failure = refused_certificate(error) or OutcomeUnknown(_BROKE, cause="not_mcp")
        if failure.cause == "tls":
            self._die()  # the next connection reads the record's files anew
        raise failure

    def _broke(self, error: OutcomeUnknown) -> str | None:
        """What to try where a TLS connection broke at its first request: some servers refuse a certificate so."""
        if error.detail != _BROKE or not self._target.url.startswith("https:"):
            return None
        return (
            "If the server wants a client certificate, name another or a first one in its record (tls: {cert: PATH})."
        )

    def _patience(self, timeout: float) -> aiohttp.ClientTimeout:
        """Connecting gives up first, because only then can we say that nothing was sent."""
        return aiohttp.ClientTimeout(total=None, connect=min(timeout / 2, self._limits.connect_seconds))

    async def _read(self, response: aiohttp.ClientResponse, number: int, hearer: Hearer | None) -> Reply:
        if response.status != _OK:
            return await self._refused(response, number)
        if not self._server_info and not self._stateless:
            self._take_session_id(response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise OutcomeUnknown("the server compressed its answer, which was not asked for")
        if response.content_type == JSON:
            message = read_message(await self._body(response))
            reply = None if message is None or message.raw_id() != b"%d" % number else message.reply()
            if reply is None or (message is not None and message.method):
                raise OutcomeUnknown("the server's answer is not a JSON-RPC response to this call", cause="not_mcp")
            return reply
        if response.content_type == EVENTS:
            return await self._from_events(response, number, hearer)
        raise OutcomeUnknown("the server's answer is neither JSON nor an event stream", cause="not_mcp")

    async def _refused(self, response: aiohttp.ClientResponse, number: int) -> Reply:
        """What another status than 200 says of the call: see the rules above."""
        status = response.status
        if status in _SEND_AGAIN_THERE:
            raise NotSent(
                f"the server answered {status}, a redirect, and redirects are never followed",
                hint="If you trust the place that it redirects to, register that URL for the server.",
            )
        if status == _NOT_FOUND and self._has_session:
            self._die()
            raise Stale("the server no longer knows our session")
        if status >= _BAD_REQUEST and response.content_type == JSON:
            message = read_message(await self._body(response))
            ids = (b"%d" % number, b"null") if status == _BAD_REQUEST else (b"%d" % number,)
            if message is not None and message.raw_id() in ids and isinstance(reply := message.reply(), ErrorReply):
                return reply
        if status in _NOT_ACTED_ON:
            cause = _CAUSES.get(status, "not_mcp")
            raise TurnedAway(f"the server refused the request with HTTP status {status}", cause=cause)
        raise OutcomeUnknown(f"the server answered with HTTP status {status}", cause="not_mcp")

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            self._check_size(len(body))
        return bytes(body)

    def _check_size(self, size: int) -> None:
        if size > self._limits.reply_bytes:
            raise OutcomeUnknown(f"the server's answer is longer than {self._limits.reply_bytes} bytes")

    def _take_session_id(self, response: aiohttp.ClientResponse) -> None:
        value = response.headers.get(SESSION_ID)
        if value is None:
            return
        if _SESSION_ID.fullmatch(value) is None:
            raise NotSent("the server gave a session id that the protocol does not allow")
        self._headers[SESSION_ID] = value
        self._has_session = True

    # ------------------------------------------------------------ event streams

    async def _from_events(self, response: aiohttp.ClientResponse, number: int, hearer: Hearer | None) -> Reply:
        events, size, asked = EventStream(), 0, 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            self._check_size(size)
            arrived = events.feed(chunk)
            for data in arrived:
                message = read_message(data)
                if message is None:
                    self._counters.garbage += 1
                elif isinstance(message.method, str):
                    asked += 1
                    if hearer is not None and message.method in HEARD and message.raw_id() is None:
                        hearer.hear(data)
                    await self._take_own(message, answered=asked <= self._limits.server_requests)
                elif message.raw_id() != b"%d" % number:
                    self._counters.unmatched += 1
                elif (reply := message.reply()) is None:
                    raise OutcomeUnknown("the server's answer holds not exactly one of result and error")
                else:
                    self._hear(arrived)
                    await self._read_tail(response, events)
                    return reply
        raise OutcomeUnknown("the server's event stream ended without an answer")

    async def _take_own(self, message: Message, *, answered: bool) -> None:
        """A request or a notification of the server's own: never forwarded."""
        if message.raw_id() is None:
            self._counters.notifications += 1
            if message.method in LIST_CHANGED and self.on_list_changed is not None:
                self.on_list_changed()
            return
        self._counters.server_requests += 1
        ours = answer(message)
        if ours is not None and answered:
            await self._post_aside(ours)

    async def _read_tail(self, response: aiohttp.ClientResponse, events: EventStream) -> None:
        """Let the stream end, so that its TCP connection can be used again; only hints are heard after the answer."""
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(TAIL_SECONDS):
                async for chunk in response.content.iter_any():
                    self._hear(events.feed(chunk))

    def _hear(self, arrived: Iterator[bytes]) -> None:
        for message in filter(None, map(read_message, arrived)):
            if message.raw_id() is None and message.method in LIST_CHANGED and self.on_list_changed is not None:
                self.on_list_changed()

    # -------------------------------------------------------- beside the calls

    async def _post_aside(self, body: bytes) -> None:
        """A message that is not answered. A failure is nobody's concern here: the next call meets it."""
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with (
                asyncio.timeout(SIDE_SECONDS),
                self._http.post(self._target.url, data=body, headers=self._headers, allow_redirects=False),
            ):
                pass

    def _aside(self, body: bytes) -> None:
        """The same, without waiting for it."""
        task = asyncio.get_running_loop().create_task(self._post_aside(body))
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    def _die(self) -> None:
        if self._alive:
            self._alive = False
            self._died_at = self._now()

    async def aclose(self) -> None:
        """See ``Connection``: the server's session is ended with a DELETE, which it may ignore."""
        had_session, self._has_session = self._has_session and self._died_at is None, False
        self._alive = False
        side = list(self._side)
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
        if had_session and not self._http.closed:
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with (
                    asyncio.timeout(SIDE_SECONDS),
                    self._http.delete(self._target.url, headers=self._headers, allow_redirects=False),
                ):
                    pass
        await self._http.close()


async def open_http(
    target: HttpTarget, limits: Limits, now: Now, on_list_changed: ListChanged | None = None, eras: Eras | None = None
) -> HttpConnection:
    """Come to terms with the server; ``NotSent`` if that fails, and then nothing is left open."""
    eras = eras or Eras(now)
    tls = await asyncio.to_thread(context, target.tls) if target.tls is not None else None
    connection = HttpConnection(target, limits, now, on_list_changed, tls)
    try:
        known = eras.stateless(target)
        if known is False or not await connection.discover(known=known is True):
            await connection.handshake()
        eras.learn(target, stateless=connection.stateless)
    except BaseException:
        # Also on cancellation: sockets that nobody holds must not stay. A task of its own, because a cancelled scope
        # of anyio cancels every further await in this one.
        await asyncio.shield(asyncio.ensure_future(connection.aclose()))
        raise
    return connection
