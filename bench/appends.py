"""Acknowledged appends a second: our log against a raw group commit that does nothing else."""

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import apsw

from remit.core.events import EventDraft, Kind
from remit.services.sealing import Sealer
from remit.storage.sqlite import create_store
from remit.storage.subject_keys import SubjectKeys
from remit.wiring import SystemClock, SystemEntropy

SECONDS = 2.0
RECORD = 284
_PERSON = "per_01" + "0" * 24
_AGENT = "agt_01" + "0" * 24


@dataclass(frozen=True, slots=True)
class Figures:
    """Appends a second, and CPU microseconds for each."""

    rate: float
    cpu_us: float


def raw_group_commit(path: Path, callers: int) -> Figures:
    """``callers`` inserts of 284 bytes share each COMMIT; ``synchronous=FULL``."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("CREATE TABLE leaf (idx INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    record, count = secrets.token_bytes(RECORD), 0
    begun, cpu = perf_counter(), process_time()
    while perf_counter() - begun < SECONDS:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(callers):
            connection.execute("INSERT INTO leaf (data) VALUES (?)", (record,))
        connection.execute("COMMIT")
        count += callers
    took, spent = perf_counter() - begun, process_time() - cpu
    connection.close()
    return Figures(count / took, spent / count * 1e6)


async def store_appends(folder: Path, callers: int) -> Figures:
    """``callers`` tasks append events through the store, each waiting until its own is on disk."""
    folder.mkdir()
    clock, entropy = SystemClock(), SystemEntropy()
    store = await create_store(folder / "remit.db", clock, Sealer(SubjectKeys(folder / "subjects", entropy), entropy))
    count, begun, cpu = 0, perf_counter(), process_time()

    async def append() -> None:
        nonlocal count
        while perf_counter() - begun < SECONDS:
            async with store.unit("main") as unit:
                await unit.log.append(
                    EventDraft(
                        kind=Kind.INTENT, actor=_AGENT, subject=_PERSON, agent=_AGENT, private={"/arguments": {}}
                    )
                )
            count += 1

    await asyncio.gather(*(append() for _ in range(callers)))
    took, spent = perf_counter() - begun, process_time() - cpu
    await store.close()
    return Figures(count / took, spent / count * 1e6)
