"""Real processes for the store's tests: forked from a clean server that has imported everything, so that each is quick.

What they are told comes as arguments; what they have to say goes through a pipe, one message for one acknowledged unit.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from remit.core.errors import LogUnavailable, StoreUnavailable
from remit.core.ports import Store
from tests.storage.home import opened
from tests.storage.nouns import event, held

SERVED: Final = multiprocessing.get_context("forkserver")
SERVED.set_forkserver_preload(["tests.storage.children"])
LONG: Final = 60


class Child:
    """One child and the end of its pipe that we hold."""

    def __init__(self, process: BaseProcess, said: Connection) -> None:
        """A process that has been started."""
        self.process = process
        self.said = said

    def hear(self) -> Any:
        """The next thing it says; ``EOFError`` when it says no more."""
        if not self.said.poll(LONG):
            raise TimeoutError("a child says nothing")
        return self.said.recv()

    def hear_all(self) -> list[Any]:
        """Everything that it still says, to its end."""
        found = []
        with suppress(EOFError, ConnectionResetError):
            while True:
                found.append(self.hear())
        return found

    def kill(self) -> None:
        """Kill -9, now."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)


@contextmanager
def child(work: Callable[..., None], *arguments: Any) -> Iterator[Child]:
    """A process that does ``work(say, *arguments)``; it is gone when this is left."""
    ours, theirs = SERVED.Pipe(duplex=False)
    process = SERVED.Process(target=work, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        yield Child(process, ours)
    finally:
        process.kill()
        process.join(LONG)
        ours.close()
        process.close()


# What children do. ``say`` is their end of the pipe.


def write_without_end(say: Connection, home: Path, callers: int) -> None:
    """Append units until killed; say each one's index and name when, and only when, it is acknowledged."""
    asyncio.run(_write(say, home, callers, count=10**9))


async def _write(say: Connection, home: Path, callers: int, count: int) -> None:
    store = await opened(home)

    async def caller(number: int) -> None:
        for turn in range(count):
            name = f"{os.getpid()}-{number}-{turn}"
            say.send((await append(store, name), name))

    await asyncio.gather(*(caller(number) for number in range(callers)))
    await store.close()


async def append(store: Store, name: str, size: int = 20) -> int:
    """One unit: an event with a private value, a call counted beside it, a secret of the same name."""
    async with store.unit("main") as unit:
        index = await unit.log.append(event(call=name, private={"/text": "x" * size}))
        await unit.counters.reserve(held(1))
        await unit.secrets.put(name, str(index).encode())
    return index


def write_on_a_full_disk(say: Connection, home: Path, room: int, callers: int, size: int) -> None:
    """Append until the disk is full (no file may grow beyond ``room``), say so, get room, append again."""
    asyncio.run(_fill_up(say, home, room, callers, size))


async def _fill_up(say: Connection, home: Path, room: int, callers: int, size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = await opened(home)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))

    async def caller(number: int, turns: range) -> None:
        for turn in turns:
            name = f"{number}-{turn}"
            try:
                say.send((await append(store, name, size), name))
            except (StoreUnavailable, LogUnavailable) as refusal:
                say.send(("refused", type(refusal).__name__))
                return

    await asyncio.gather(*(caller(number, range(10**9)) for number in range(callers)))
    # A full disk stays full: nothing slips through while it is.
    await asyncio.gather(*(caller(callers + number, range(3)) for number in range(callers)))
    async with store.view("main") as view:
        say.send(("readable", await view.log.size()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await asyncio.gather(*(caller(2 * callers + number, range(3)) for number in range(callers)))
    say.send(("again", 3 * callers))
    await store.close()


def take_from_limit(say: Connection, home: Path, go: Any, limit: int, callers: int) -> None:
    """Take one at a time from a limit that another process takes from too, until there is no room; say how many."""
    asyncio.run(_take(say, home, go, limit, callers))


async def _take(say: Connection, home: Path, go: Any, limit: int, callers: int) -> None:
    store = await opened(home)
    go.wait(LONG)
    taken = 0

    async def caller() -> None:
        nonlocal taken
        room = True
        while room:
            async with store.unit("main") as unit:
                room = sum(await unit.counters.taken("scope", "eur", 0)) < limit
                if room:
                    await unit.counters.reserve(held(1))
            taken += room

    await asyncio.gather(*(caller() for _ in range(callers)))
    say.send(taken)
    await store.close()


def look_then_take(say: Connection, home: Path, go: Any, limit: int) -> None:
    """The control: look in a view, take in a unit, as a service that is no single unit of work would."""

    async def work() -> None:
        store = await opened(home)
        async with store.view("main") as view:
            room = sum(await view.counters.taken("scope", "eur", 0)) < limit
        go.wait(LONG)
        if room:
            async with store.unit("main") as unit:
                await unit.counters.reserve(held(1))
        say.send(int(room))
        await store.close()

    asyncio.run(work())


def open_at_once(say: Connection, home: Path, go: Any) -> None:
    """Open a store that is not there yet, at the same moment as others, and use it."""

    async def work() -> None:
        go.wait(LONG)
        try:
            store = await opened(home)
            say.send(await append(store, str(os.getpid())))
            await store.close()
        except (StoreUnavailable, LogUnavailable) as refusal:
            say.send(repr(refusal))

    asyncio.run(work())
