"""The owner's end of ``workers.py``: the Unix socket at which a worker serves the others.

Only this home's own user can come here: the folder of the sockets is closed to others. So who asks is believed to be
one of our own workers; still a loan is looked at for each call, and what befalls one call is the answer to that call.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from remit.core.canonical import Json
from remit.core.credentials import SessionCaller
from remit.core.errors import BadInput, RemitError
from remit.gateway.servers import Servers
from remit.gateway.upstream import Connection, ErrorReply, NotSent, OutcomeUnknown, Stale, UpstreamKey
from remit.gateway.workers import (
    Answered,
    Asked,
    Call,
    Ended,
    Failed,
    GiveUp,
    Heard,
    Lent,
    Missed,
    Open,
    Said,
    Told,
    Workers,
    asked,
    failure,
    read_frame,
    write_frame,
)
from remit.guards.json_in import parse

ASK_SECONDS: Final = 10.0
"""How long another worker may take to say what it wants."""
HEARD: Final = 64
"""What a server said of one call and was not sent on yet; more is dropped."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Loan:
    """What one loan stands for: this connection, while its server hinted at no further change of its lists."""

    name: str
    connection: Connection
    hints: int


class WorkerDoor:
    """What one worker does for the others."""

    def __init__(
        self, servers: Servers, give_up: Callable[[SessionCaller, Mapping[str, Json]], bool], instance: str
    ) -> None:
        """``give_up`` ends the one call that a client names; ``instance`` is this process's own name."""
        self._servers = servers
        self._give_up = give_up
        self._instance = instance
        self._loans: dict[UpstreamKey, _Loan] = {}
        self._numbers = itertools.count(1)

    @contextlib.asynccontextmanager
    async def listening(self, workers: Workers) -> AsyncIterator[None]:
        """Serve at this worker's own socket; whatever stands there was left by the one before it."""
        path = workers.socket(workers.index)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o600)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question of another worker's, and its answer."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                question = asked.decode(await read_frame(reader))
            if isinstance(question, Call):
                await self._carry(question, reader, writer)
            else:
                await write_frame(writer, await self._answered(question))
        except (OSError, EOFError, msgspec.MsgspecError):
            pass  # it went away, or was none of ours
        except Exception as error:
            # Whatever befell this question must not end the door for the others; who asked sees the end of it.
            log.exception("worker.failed", cause=type(error).__name__)
        finally:
            writer.close()

    async def _answered(self, question: Asked) -> Said:
        match question:
            case Open(key, bounded):
                return await self._lend(key, bounded=bounded)
            case Ended(session):
                await self._servers.end_session(session)
            case GiveUp(caller, params):
                with contextlib.suppress(BadInput):
                    named = parse(params)
                    if isinstance(named, Mapping):
                        self._give_up(caller, named)
        return Told()

    async def _lend(self, key: UpstreamKey, *, bounded: bool) -> Said:
        """The connection of ``key`` under a loan, opened first if need be."""
        try:
            connection, here = await self._servers.lend(key, bounded=bounded)
        except NotSent as error:
            return failure(error)
        except RemitError as error:
            return failure(NotSent(error.detail, hint=error.hint))
        self._loans = {known: loan for known, loan in self._loans.items() if loan.connection.alive}
        loan, hints = self._loans.get(key), self._servers.hints(key)
        if loan is None or loan.connection is not connection or loan.hints != hints:
            name = f"{self._instance}-{next(self._numbers)}"
            loan = self._loans[key] = _Loan(name, connection, hints)
        return Lent(loan.name, connection.server_info, connection.stateless, here)

    def _lent(self, call: Call) -> Connection:
        """The connection that a call may go over. Raises ``Stale`` where the loan is not in force any more."""
        loan = self._loans.get(call.key)
        if (
            loan is None
            or loan.name != call.loan
            or loan.hints != self._servers.hints(call.key)
            or self._servers.current(call.key) is not loan.connection
            or not loan.connection.alive
        ):
            raise Stale("its connection, or what it lists, is another by now")
        return loan.connection

    async def _carry(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call, given up when who asked for it goes away."""
        hearer = _Passing(call.token, writer) if call.hears else None
        carrying = asyncio.ensure_future(self._carried(call, hearer))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({carrying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not carrying.done():
                return
            answer = carrying.result()
        finally:
            for task in (carrying, leaving):
                task.cancel()
            await asyncio.gather(carrying, leaving, return_exceptions=True)
        if hearer is not None:
            await hearer.end()
        await write_frame(writer, answer)

    async def _carried(self, call: Call, hearer: "_Passing | None") -> Answered | Failed:
        try:
            connection, since = self._lent(call), time.monotonic()
            async with self._servers.turn(call.key.server):
                connection = self._lent(call)  # a turn may have taken a while
                left = call.timeout - (time.monotonic() - since)
                hints = self._servers.hints(call.key)
                reply = await connection.call(call.method, call.params, left, call.repeated, hearer)
        except (NotSent, OutcomeUnknown) as error:
            return failure(error)
        return Answered(reply.raw, isinstance(reply, ErrorReply), hinted=self._absorbed(call, hints))

    def _absorbed(self, call: Call, hints: int) -> bool:
        """Whether the server hinted during this call, which lists something: the loan then goes on all the same."""
        now, loan = self._servers.hints(call.key), self._loans.get(call.key)
        if now == hints or not call.method.endswith("/list") or loan is None or loan.name != call.loan:
            return False
        self._loans[call.key] = replace(loan, hints=now)
        return True


class _Passing:
    """What a server says of one call, on its way to the worker that took the call. See ``Hearer``."""

    def __init__(self, token: int | None, writer: asyncio.StreamWriter) -> None:
        self._token = token
        self._writer = writer
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(HEARD)
        self._missed = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def token(self) -> int | None:
        return self._token

    def hear(self, data: bytes) -> None:
        """One message. Never waits; what has no room is dropped, and counted."""
        try:
            self._waiting.put_nowait(data)
        except asyncio.QueueFull:
            self._missed += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self.flush())

    async def flush(self) -> None:
        """Send on what waits. Raises ``OSError``."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait({self._task})
        while not self._waiting.empty():
            await write_frame(self._writer, Heard(self._waiting.get_nowait()))

    async def end(self) -> None:
        """Send on what waits, and say how much was dropped. Raises ``OSError``."""
        await self.flush()
        if self._missed:
            await write_frame(self._writer, Missed(self._missed))

    def missed(self, count: int) -> None:
        """See ``Hearer``."""
        self._missed += count
