"""Come in here for an MCP server that runs as our child and speaks newline-delimited JSON-RPC over its pipes.

Rules
- The child gets exactly the environment of its target, not even our PATH, and a session and process group of its own.
- Ids are ours, so a response that we did not ask for can't answer anybody: it is dropped and counted.
- A call that has been written to the pipe and got no answer is ``OutcomeUnknown``, whatever the child did since.
- A child that lets a call time out stays if it still answers a ping, and is stopped if it doesn't.
- What it writes to stderr is kept in a small ring for ``doctor``, made harmless first.

Refused here: restarting (the pool's, with backoff), signals to any process but our own child and its group, requests of
the server.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from signal import SIGKILL
from typing import Final, cast

from remit.gateway.upstream_eras import Eras
from remit.gateway.upstream_hello import check_discovered, check_initialized, initialize_params, stateless_info
from remit.gateway.upstream_wire import (
    LIST_CHANGED,
    Counters,
    ErrorReply,
    Hearer,
    Limits,
    ListChanged,
    Message,
    NotSent,
    Now,
    OutcomeUnknown,
    Reply,
    Stale,
    StdioTarget,
    Usage,
    answer,
    cancelled,
    in_envelope,
    notification,
    progress_token,
    read_message,
    request,
)

STDIN, STDOUT, STDERR = 0, 1, 2
STDERR_LINES: Final = 200
STDERR_LINE_CHARS: Final = 500
STDERR_RAW_BYTES: Final = 8 * 1024
LAST_LINES: Final = 5
"""How many of them go with the news that a child did not start well."""
UNREAD_ANSWERS: Final = 1024 * 1024
"""Bytes waiting in the child's input beyond which its own requests go unanswered."""
LAST_WORDS_SECONDS: Final = 0.5
"""How long an exited child's output may still be read: its last answer can arrive after the news of its death."""

_SHORTEST_SECRET: Final = 6
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_NEWLINES = bytes.maketrans(b"\r\n", b"  ")


class StderrRing:
    """The last lines of a child's stderr: bounded, printable ASCII, without the environment values we gave it."""

    def __init__(self, env: tuple[tuple[str, str], ...]) -> None:
        """``env`` is what the child was given and must not be read back here."""
        pieces = [
            (piece, name) for name, value in env for piece in value.splitlines() if len(piece) >= _SHORTEST_SECRET
        ]
        self._secrets = sorted(pieces, key=lambda pair: -len(pair[0]))
        self._lines: deque[str] = deque(maxlen=STDERR_LINES)
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what arrived; a line longer than the bound is kept in pieces."""
        *lines, rest = bytes(self._rest + data).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            self._keep(line)
        if len(self._rest) > STDERR_RAW_BYTES:
            self._keep(bytes(self._rest))
            self._rest.clear()

    def lines(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._lines)

    def _keep(self, line: bytes) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        for value, name in self._secrets:
            text = text.replace(value, f"[env {name}]")
        text = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
        self._lines.append(text[:STDERR_LINE_CHARS])


class StdioConnection(asyncio.SubprocessProtocol):
    """A child process and the calls that wait for it. One event loop owns all of it."""

    def __init__(self, target: StdioTarget, limits: Limits, now: Now, on_list_changed: ListChanged | None) -> None:
        """Not started yet: ``open_stdio`` does that."""
        self.on_list_changed = on_list_changed
        self._limits = limits
        self._now = now
        self._usage = Usage(now)
        self._counters = Counters()
        self._stderr = StderrRing(target.env)
        self._transport: asyncio.SubprocessTransport | None = None
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}
        self._hearers: dict[int, Hearer] = {}
        self._last_id = 0
        self._line = bytearray()
        self._answered = 0
        self._server_info = b""
        self._stateless = False
        self._dead: str | None = None
        self._died_at: float | None = None
        self._input_open = True
        self._exited = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._discovering: asyncio.Task[Reply] | None = None

    @property
    def server_info(self) -> bytes:
        """See ``Connection``."""
        return self._server_info

    @property
    def alive(self) -> bool:
        """See ``Connection``."""
        return self._dead is None and self._input_open and not self._exited.is_set()

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

    @property
    def pid(self) -> int | None:
        """Of our child."""
        return None if self._transport is None else self._transport.get_pid()

    def stderr_lines(self) -> tuple[str, ...]:
        """What the child said on stderr of late, made harmless."""
        return self._stderr.lines()

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
        """See ``Connection``. A log message on a pipe belongs to no request, so nobody hears it."""
        del repeated
        token = hearer.token if hearer is not None else None
        if hearer is not None and token is not None:
            self._hearers[token] = hearer
        try:
            with self._usage.call():
                return await self._ask(method, params, timeout)
        finally:
            if token is not None:
                self._hearers.pop(token, None)

    async def discover(self) -> bool:
        """Whether the child says that it speaks our stateless revision; the connection is one of that then.

        A child that is silent may only be slow to start: its answer is heard while it is asked for a handshake, too.
        ``Stale`` if the child ended of the question.
        """
        envelope, _ = in_envelope("server/discover", None)
        asked = self._ask("server/discover", envelope, self._limits.open_seconds, probe=False)
        self._discovering = asyncio.get_running_loop().create_task(asked)
        await asyncio.wait({self._discovering}, timeout=self._limits.discover_seconds)
        if not self._is_stateless() and self._dead is not None:
            raise Stale(self._dead)
        return self._stateless

    @property
    def discovered(self) -> Reply | None:
        """What the child answered when it was asked what it is; None while, or if, it did not."""
        asked = self._discovering
        answered = asked is not None and asked.done() and not asked.cancelled() and asked.exception() is None
        return asked.result() if asked is not None and answered else None

    def _is_stateless(self) -> bool:
        """Whether the child has said by now that it is of the stateless revision."""
        found = stateless_info(self.discovered) if self.discovered is not None else None
        self._stateless, self._server_info = found is not None, found or b""
        return self._stateless

    async def handshake(self) -> None:
        """Agree on a revision, with a handshake or without; ``NotSent`` if the child doesn't answer as it should."""
        patience = self._limits.open_seconds
        try:
            reply = await self._ask("initialize", initialize_params(), patience, probe=False)
            if self._is_stateless():
                return
            if isinstance(reply, ErrorReply):
                self._stateless = True
                self._server_info = check_discovered(await self._ask("server/discover", None, patience, probe=False))
                return
        except OutcomeUnknown as error:
            raise NotSent(f"the server was not initialized: {error.detail}", cause=error.cause) from None
        self._server_info, _ = check_initialized(reply)
        self._write(notification("notifications/initialized"))

    async def _ask(self, method: str, params: bytes | None, timeout: float, *, probe: bool = True) -> Reply:
        number = self._last_id = self._last_id + 1
        if self._stateless:
            params, _ = in_envelope(method, params)
        line = request(number, method, params)
        self._check_writable()
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[b"%d" % number] = answered
        self._answered = 0
        try:
            self._write(line)
            async with asyncio.timeout(timeout):
                return await answered
        except TimeoutError:
            if probe:
                self._say_cancelled(number)
                self._start_probe()
            raise OutcomeUnknown(f"the server did not answer within {timeout:g} s", cause="hung") from None
        except asyncio.CancelledError:
            if probe:
                self._say_cancelled(number, b"no longer wanted")
            raise
        finally:
            self._pending.pop(b"%d" % number, None)

    def _check_writable(self) -> None:
        if not self.alive:
            raise Stale("the server's process has ended", cause="ended")
        if self._unread() > self._limits.reply_bytes:
            raise NotSent("the server's process does not read its input")

    def _say_cancelled(self, number: int, reason: bytes = b"timed out") -> None:
        if self.alive:
            self._write_aside(cancelled(number, reason))

    def _start_probe(self) -> None:
        """A call timed out: find out whether the child still lives."""
        if self.alive and (self._probing is None or self._probing.done()):
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        try:
            await self._ask("ping", None, self._limits.ping_seconds, probe=False)
        except OutcomeUnknown:
            self._die("the server's process hung, and answered no ping")
        except NotSent as error:
            self._die(error.detail)

    # ---------------------------------------------------------------- the pipes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.SubprocessProtocol``."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """See ``asyncio.SubprocessProtocol``. A line over the bound ends the connection: what it was is unknowable."""
        if fd == STDERR:
            self._stderr.feed(data)
            return
        if self._dead is not None:
            return
        head, *rest = data.split(b"\n")
        self._line += head
        for piece in rest:
            if len(self._line) <= self._limits.reply_bytes:
                self._take_line(bytes(self._line))
            else:
                break
            self._line = bytearray(piece)
        if len(self._line) > self._limits.reply_bytes:
            self._die(f"the server wrote a line of more than {self._limits.reply_bytes} bytes")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """See ``asyncio.SubprocessProtocol``. Without its output nothing can be answered any more."""
        del exc
        if fd == STDIN:
            self._input_open = False
        if fd == STDOUT:
            self._die("the server's process ended its output")

    def process_exited(self) -> None:
        """See ``asyncio.SubprocessProtocol``. A grandchild may hold the pipe, so its end is not awaited for long."""
        self._exited.set()
        asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self._die, "the server's process ended")

    def _take_line(self, line: bytes) -> None:
        if not line.strip():
            return
        message = read_message(line)
        if message is None:
            self._counters.garbage += 1
        elif isinstance(message.method, str):
            if self._hearers and message.method == "notifications/progress" and message.raw_id() is None:
                hearer = self._hearers.get(progress_token(line) or 0)
                if hearer is not None:
                    hearer.hear(line)
            self._take_own(message)
        else:
            self._take_response(message)

    def _take_own(self, message: Message) -> None:
        """A request or a notification of the server's own: never forwarded."""
        if message.raw_id() is None:
            self._counters.notifications += 1
            if message.method in LIST_CHANGED and self.on_list_changed is not None:
                self.on_list_changed()
            return
        self._counters.server_requests += 1
        self._answered += 1
        ours = answer(message)
        if ours is None or self._answered > self._limits.server_requests or not self.alive:
            return
        if self._unread() <= UNREAD_ANSWERS:
            self._write_aside(ours)

    def _take_response(self, message: Message) -> None:
        waiting = self._pending.pop(message.raw_id() or b"", None)
        if waiting is None or waiting.done():
            self._counters.unmatched += 1
            return
        reply = message.reply()
        if reply is None:
            waiting.set_exception(OutcomeUnknown("the server's answer holds not exactly one of result and error"))
        else:
            waiting.set_result(reply)

    def _stdin(self) -> asyncio.WriteTransport:
        if self._transport is None:
            raise NotSent("the server's process was not started")
        return cast("asyncio.WriteTransport", self._transport.get_pipe_transport(STDIN))

    def _unread(self) -> int:
        """How many bytes the child has not read yet; of a pipe that was closed under us, none."""
        try:
            return self._stdin().get_write_buffer_size()
        except (RuntimeError, AttributeError):
            return 0

    def _write(self, message: bytes) -> None:
        """One message, one line. JSON allows a newline only between tokens, where a blank means the same.

        Raises ``Stale`` when the pipe was closed under us: then nothing was written.
        """
        try:
            self._stdin().write(message.translate(_NEWLINES) + b"\n")
        except (RuntimeError, AttributeError):  # what uvloop makes of a pipe that is closed, and of one that is gone
            raise Stale("the server's process has ended", cause="ended") from None

    def _write_aside(self, message: bytes) -> None:
        """The same for what nobody waits for: that the pipe is closed is met by the next call."""
        with suppress(NotSent):
            self._write(message)

    # ------------------------------------------------------------------ the end

    def _die(self, why: str, *, by_us: bool = False) -> None:
        if self._dead is not None:
            return
        self._dead = why
        self._died_at = None if by_us else self._now()
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(OutcomeUnknown(why, cause="ended"))
        self._pending.clear()
        self._line.clear()
        self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def aclose(self) -> None:
        """See ``Connection``: end of input, then SIGTERM, then SIGKILL, each with time to obey."""
        self._die("the connection was closed", by_us=True)
        for task in (self._probing, self._discovering):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, NotSent, OutcomeUnknown):
                    await task
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._input_open:
            self._stdin().close()
        for signal in (None, transport.terminate, transport.kill):
            if signal is not None:
                # The process may go between our look and our signal.
                with suppress(ProcessLookupError):
                    signal()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.stop_seconds):
                    await self._exited.wait()
                    break
        transport.close()
        # What the child started shares its group, and its environment with our credential in it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), SIGKILL)


async def open_stdio(
    target: StdioTarget, limits: Limits, now: Now, on_list_changed: ListChanged | None = None, eras: Eras | None = None
) -> StdioConnection:
    """Start the child and come to terms with it; ``NotSent`` if either fails, and then no child is left behind.

    A child that can't bear to be asked what it is, is started once more and only asked for a handshake.
    """
    eras = eras or Eras(now)
    connection: StdioConnection | None = None
    if eras.stateless(target) is not False:
        with suppress(Stale):
            connection = await _started(StdioConnection(target, limits, now, on_list_changed), target, _ask_first)
    if connection is None:
        again = StdioConnection(target, limits, now, on_list_changed)
        connection = await _started(again, target, StdioConnection.handshake)
    eras.learn(target, stateless=connection.stateless)
    return connection


async def _ask_first(connection: StdioConnection) -> None:
    """Ask the child what it is, and for a handshake if it is no stateless one; ``Stale`` if it answers neither."""
    if await connection.discover():
        return
    try:
        await connection.handshake()
    except NotSent as error:
        if connection.discovered is None:
            raise Stale(error.detail) from None
        raise


async def _started(
    connection: StdioConnection, target: StdioTarget, agree: Callable[[StdioConnection], Awaitable[None]]
) -> StdioConnection:
    """The connection with its child started and agreed with."""
    loop = asyncio.get_running_loop()
    try:
        await loop.subprocess_exec(
            lambda: connection,
            target.command,
            *target.args,
            env=dict(target.env),
            cwd=target.cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        # Only the kind of failure: its text may hold a path or an argument that is somebody's secret.
        raise NotSent(f"the server's process did not start ({type(error).__name__})", cause="program") from None
    try:
        await agree(connection)
    except BaseException as error:
        # Also on cancellation: a child that nobody holds must not stay. A task of its own, because a cancelled scope
        # of anyio cancels every further await in this one.
        await asyncio.shield(asyncio.ensure_future(connection.aclose()))
        if isinstance(error, NotSent):
            error.last_words = connection.stderr_lines()[-LAST_LINES:]
        raise
    return connection
