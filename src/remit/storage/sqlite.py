"""The embedded store: one SQLite file in WAL mode that several processes may hold, with group commit.

How a unit of work runs
    Units run one after another. Each is a savepoint inside an open ``BEGIN IMMEDIATE`` transaction, the *batch*; its
    statements run on the event loop's own thread, since before COMMIT SQLite only touches memory. COMMIT, which waits
    for the disk (``synchronous=FULL``: the write-ahead log is flushed before it returns), runs in a thread. Units that
    arrive meanwhile queue up and share the next COMMIT. A unit is left only when its batch is on disk.

    INVARIANT: the turn lock is first in, first out, and the commit takes its turn when the batch opens. So a batch
    holds exactly the units that were waiting by then, and nobody starves.

What it refuses
    A batch whose COMMIT fails, or that SQLite rolled back by itself (disk full), or whose files were deleted or moved
    while they were open, fails every unit in it: nothing is acknowledged that is not on disk.
    INVARIANT: nothing but a batch's own COMMIT commits. A unit that went on after SQLite rolled its batch back would
    else write each further statement by itself; the commit hook turns those away.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from remit.core.errors import Conflict, InternalError, StoreUnavailable
from remit.core.ports import (
    AccessRequests,
    Approvals,
    Calls,
    Clock,
    Counters,
    KeyUse,
    Log,
    Nouns,
    PayloadSealer,
    Secrets,
    Sessions,
    Stamps,
    Tickets,
    Tree,
    Unit,
)
from remit.storage.migrate import migrate
from remit.storage.sqlite_log import SqliteLog, SqliteTree
from remit.storage.sqlite_rows import (
    SqliteAccessRequests,
    SqliteApprovals,
    SqliteCalls,
    SqliteCounters,
    SqliteKeyUse,
    SqliteNouns,
    SqliteSecrets,
    SqliteSessions,
    SqliteStamps,
)
from remit.storage.sqlite_tickets import SqliteTickets

# How long one process waits for another one's transaction, in milliseconds.
LOCK_WAIT: Final = 10_000
# How often it asks, in milliseconds. A busy process leaves the lock free for a moment between two batches only, which
# SQLite's own busy timeout, asking every tenth of a second in the end, misses for seconds.
LOCK_POLL: Final = 2
# How much of the file one connection keeps in memory, in KiB.
CACHE_KIB: Final = 32_768
# After how many pages the write-ahead log is copied into the file. A page that many units touch is copied once for all.
CHECKPOINT_PAGES: Final = 8_192
# Connections kept for the next view; more are opened when needed and closed afterwards.
IDLE_READERS: Final = 8


class SqliteUnit:
    """One unit of work over one org; see ``core.ports.Unit``."""

    def __init__(self, connection: apsw.Connection, org: str, clock: Clock, sealer: PayloadSealer) -> None:
        """Every port of one connection, bound to ``org``."""
        self.org = org
        self.nouns: Nouns = SqliteNouns(connection, org)
        self.sessions: Sessions = SqliteSessions(connection, org)
        self.calls: Calls = SqliteCalls(connection, org)
        self.counters: Counters = SqliteCounters(connection, org)
        self.approvals: Approvals = SqliteApprovals(connection, org)
        self.access: AccessRequests = SqliteAccessRequests(connection, org)
        self.log: Log = SqliteLog(connection, org, clock, sealer)
        self.tree: Tree = SqliteTree(connection, org)
        self.secrets: Secrets = SqliteSecrets(connection, org)
        self.key_use: KeyUse = SqliteKeyUse(connection, org)
        self.stamps: Stamps = SqliteStamps(connection, org)
        self.tickets: Tickets = SqliteTickets(connection, org)


class _Batch:
    """Units that become durable together; ``durable`` ends when they are, or fails for all of them."""

    def __init__(self) -> None:
        self.durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A batch whose every unit raised has nobody left to look at its failure.
        self.durable.add_done_callback(lambda future: future.cancelled() or future.exception())

    def fail(self, why: str) -> None:
        if not self.durable.done():
            self.durable.set_exception(StoreUnavailable(why))


class SqliteStore:
    """See ``core.ports.Store``. Made by ``create_store`` or ``open_store`` inside a running event loop."""

    def __init__(self, path: Path, clock: Clock, sealer: PayloadSealer) -> None:
        """Open and migrate the file. Raises ``StoreUnavailable``."""
        self._path = path
        self._clock = clock
        self._sealer = sealer
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._batch: _Batch | None = None
        self._commits: set[asyncio.Task[None]] = set()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="remit-commit")
        self._readers: list[apsw.Connection] = []
        self._units: dict[str, SqliteUnit] = {}
        self._closed = False
        self._committing = False
        self._writer = self._connect()
        try:
            migrate(self._writer)
        except (apsw.Error, StoreUnavailable) as error:
            self._writer.close()
            raise _as_unavailable(error, path.name) from error
        # From here on a busy database is waited for in the commit thread, never on the event loop.
        self._writer.set_busy_timeout(0)
        self._writer.set_commit_hook(lambda: not self._committing)
        self._files = self._found()

    def _connect(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        except apsw.Error as error:
            raise _as_unavailable(error, self._path.name) from error
        try:
            connection.set_busy_handler(_wait_a_little)
            _keep_a_write_ahead_log(connection)
            connection.pragma("synchronous", "full")
            connection.pragma("cache_size", -CACHE_KIB)
            # What savepoints may have to undo stays in memory: it is of no use after a crash.
            connection.pragma("temp_store", "memory")
            connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        except apsw.Error as error:
            connection.close()
            raise _as_unavailable(error, self._path.name) from error
        return connection

    def _found(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files stand under the store's names now: database and write-ahead log, by device and inode."""
        return tuple(_identity(Path(f"{self._path}{suffix}")) for suffix in ("", "-wal"))

    @asynccontextmanager
    async def unit(self, org: str) -> AsyncIterator[Unit]:
        """A read-write unit, durable when left normally. Raises ``StoreUnavailable``."""
        self._check_loop()
        async with self._turn:
            batch = await self._open_batch()
            try:
                self._writer.execute("SAVEPOINT unit")
                yield self._unit_of(org)
                self._writer.execute("RELEASE unit")
            except apsw.Error as error:
                self._undo(batch)
                raise StoreUnavailable(str(error)) from error
            except BaseException:
                # Cancellation too must take the unit back before the next one runs.
                self._undo(batch)
                raise
        await asyncio.shield(batch.durable)

    @asynccontextmanager
    async def view(self, org: str) -> AsyncIterator[Unit]:
        """A read-only unit over one committed state. Raises ``StoreUnavailable``."""
        self._check_loop()
        if self._closed:
            raise StoreUnavailable("the store is closed")
        reader = self._readers.pop() if self._readers else self._connect()
        fit = True
        try:
            reader.pragma("query_only", 1)
            reader.execute("BEGIN")
            yield SqliteUnit(reader, org, self._clock, self._sealer)
        except apsw.Error as error:
            fit = False
            raise StoreUnavailable(str(error)) from error
        finally:
            self._put_back(reader, fit=fit)

    def _unit_of(self, org: str) -> SqliteUnit:
        """The ports of the writing connection for one org. They hold no state, so each unit may have the same."""
        found = self._units.get(org)
        if found is None:
            found = self._units[org] = SqliteUnit(self._writer, org, self._clock, self._sealer)
        return found

    def _check_loop(self) -> None:
        # Two loops would be two threads on one transaction, each waiting for locks that only the other can pass on.
        if asyncio.get_running_loop() is not self._loop:
            raise InternalError("a store serves the event loop that it was opened in; open another")

    def _put_back(self, reader: apsw.Connection, *, fit: bool) -> None:
        """Keep a reader for the next view; one that failed, or is one too many, is closed."""
        with suppress(apsw.Error):
            if reader.in_transaction:
                reader.execute("ROLLBACK")
            if fit and not self._closed and len(self._readers) < IDLE_READERS:
                self._readers.append(reader)
                return
        with suppress(apsw.Error):
            reader.close()

    async def close(self) -> None:
        """Wait for units that came before, refuse those that come after, and close every connection."""
        async with self._turn:
            self._closed = True
        while self._commits:
            await asyncio.wait(self._commits)
        for connection in (*self._readers, self._writer):
            connection.close()
        self._readers.clear()
        self._disk.shutdown()

    async def _open_batch(self) -> _Batch:
        if self._batch is None:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                await self._begin_in_thread()
            except apsw.Error as error:
                raise StoreUnavailable(str(error)) from error
            self._batch = _Batch()
            task = asyncio.create_task(self._commit(self._batch))
            self._commits.add(task)
            task.add_done_callback(self._commits.discard)
        return self._batch

    async def _begin_in_thread(self) -> None:
        try:
            await self._in_thread(self._begin_patiently)
        except asyncio.CancelledError:
            # It may have begun all the same. With no batch to end it, it would shut out this process and every other.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _begin_patiently(self) -> None:
        self._writer.set_busy_handler(_wait_a_little)
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise StoreUnavailable(f"another process holds the store: {error}") from error
        finally:
            self._writer.set_busy_timeout(0)

    def _undo(self, batch: _Batch) -> None:
        """Take back one unit; if SQLite has already taken back the whole batch, fail the others too."""
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK TO unit")
                self._writer.execute("RELEASE unit")
                return
        except apsw.Error:
            # A unit that can't be taken back alone is taken back with its whole batch.
            with suppress(apsw.Error):
                self._writer.execute("ROLLBACK")
        batch.fail("the store rolled back by itself; nothing of this was kept")
        self._batch = None

    async def _commit(self, batch: _Batch) -> None:
        async with self._turn:
            if batch.durable.done():
                return
            self._batch = None
            try:
                await self._in_thread(self._flush)
            except (apsw.Error, StoreUnavailable) as error:
                batch.fail(f"the store could not be written: {error}")
            else:
                batch.durable.set_result(None)

    def _flush(self) -> None:
        self._committing = True
        try:
            self._writer.execute("COMMIT")
        except apsw.Error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        finally:
            self._committing = False
        if self._found() != self._files:
            raise StoreUnavailable("its files were deleted or moved while it was open")

    async def _in_thread(self, work: Callable[[], None]) -> None:
        """Run on the commit thread to its end, also when the waiting task is cancelled: the connection is in use."""
        future = asyncio.get_running_loop().run_in_executor(self._disk, work)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            raise


def _wait_a_little(asked: int) -> bool:
    """A busy handler: sleep, and whether to ask again."""
    time.sleep(LOCK_POLL / 1_000)
    return asked < LOCK_WAIT // LOCK_POLL


def _keep_a_write_ahead_log(connection: apsw.Connection) -> None:
    """Turn it on. Of processes that start at once on a new file, SQLite answers some with busy and never waits."""
    asked = 0
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if not _wait_a_little(asked):
                raise
            asked += 1


def _as_unavailable(error: Exception, name: str) -> StoreUnavailable:
    return error if isinstance(error, StoreUnavailable) else StoreUnavailable(f"{name}: {error}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def create_store(path: Path, clock: Clock, sealer: PayloadSealer) -> SqliteStore:
    """A new store in ``path``, for its owner only. Raises ``Conflict`` when there is a file, ``StoreUnavailable``."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise Conflict(
            f"{path} is there already", hint="A store is made once; move it away to make another."
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be made: {error.strerror}") from error
    return SqliteStore(path, clock, sealer)


async def open_store(path: Path, clock: Clock, sealer: PayloadSealer) -> SqliteStore:
    """The store in ``path``. Raises ``StoreUnavailable``, also where there is none or an empty one.

    A store that was lost is never made anew in silence: a log would begin again under the same key.
    """
    try:
        lost = path.stat().st_size == 0
    except OSError:
        lost = True
    if lost:
        raise StoreUnavailable(f"{path} is missing or empty", hint="Restore it from your copy of the home.")
    return SqliteStore(path, clock, sealer)
