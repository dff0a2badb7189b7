"""Come in here for ``remit up --workers N``: the process that keeps N workers serving one address.

It opens the address and hands it to each; whoever is free takes the next connection. A worker that ends is started
again under its number, so it owns what it owned (``gateway/workers.py``). When this process is told to end, or is
gone, so do they. It serves nothing itself, and holds no store and no key.

uvicorn's own supervisor is not used: it restarts by letting two processes overlap, and a worker's number is one
process's alone.
"""

import asyncio
import contextlib
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from secrets import token_hex
from typing import Final

import structlog
import uvloop

from remit import wiring
from remit.cli.diagnostics import to_stderr
from remit.cli.output import Output
from remit.cli.signals import ended_by_signal
from remit.core.canonical import Json
from remit.core.errors import BadInput, RemitError, Unavailable
from remit.gateway.workers import Workers
from remit.problems import exit_code
from remit.settings import Settings
from remit.storage.homes import Home
from remit.storage.instances import Instance
from remit.wiring import Parent

MOST: Final = 64
"""So many workers at most."""
HEALTHY_SECONDS: Final = 60.0
"""A worker that lived so long before it ended is started again at once."""
LONGEST_PAUSE: Final = 30.0
_BACKLOG: Final = 2_048
_GRACE: Final = 5.0
_spawning: Final = multiprocessing.get_context("spawn")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Post:
    """What a worker is given, whichever its number."""

    home: Path
    settings: Settings
    count: int
    folder: Path
    listener: socket.socket

    @property
    def patience(self) -> float:
        """Seconds that a worker which was told to end has to end its calls."""
        return self.settings.call_timeout + wiring.LAST_WORDS + _GRACE


async def keep(
    home: Path, settings: Settings, host: str, port: int, count: int, on_ready: Callable[[Mapping[str, Json]], None]
) -> None:
    """Keep ``count`` workers until this is cancelled; ``on_ready`` hears the address once all of them serve.

    Raises ``Unavailable`` when the address can't be listened on or a worker does not come up, and what opening the
    home raises.
    """
    async with wiring.open_remit(home, settings):
        pass  # whatever is wrong with the home is said here, once
    with _listening(host, port) as listener, tempfile.TemporaryDirectory(prefix="remit-") as folder:
        # That of a home is a class of its own, which no other process knows.
        plain = Settings(**settings.model_dump())
        post = _Post(home, plain, count, Path(folder), listener)
        serving = [asyncio.Event() for _ in range(count)]
        keepers = [asyncio.create_task(_kept(post, index, serves)) for index, serves in enumerate(serving)]
        ready = asyncio.create_task(_all(serving))
        # Under its lock others know that what is announced is still there.
        alive = Instance(Home(home).run, f"i-{os.getpid()}-{token_hex(6)}")
        try:
            await asyncio.wait({ready, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                on_ready(wiring.announce(Home(home), wiring.address_of(host, listener)))
            # A keeper ends by an exception only.
            await asyncio.gather(*keepers)
        finally:
            for task in (ready, *keepers):
                task.cancel()
            await asyncio.gather(ready, *keepers, return_exceptions=True)
            wiring.renounce(Home(home))
            alive.close()


async def _all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


async def _kept(post: _Post, index: int, serves: asyncio.Event) -> None:
    """Start one worker again and again. Raises ``Unavailable`` if it does not come up the first time."""
    pause = 0.0
    while True:
        begun = time.monotonic()
        code = await _one_life(post, index, serves)
        if not serves.is_set():
            raise Unavailable(f"worker {index} did not come up (exit {code})", hint="What it said stands above.")
        pause = 0.0 if time.monotonic() - begun >= HEALTHY_SECONDS else min(LONGEST_PAUSE, 2 * pause + 0.5)
        log.error("worker.ended", worker=index, exit=code, again_in=pause)
        await asyncio.sleep(pause)


async def _one_life(post: _Post, index: int, serves: asyncio.Event) -> int | None:
    """A worker from its start to its end; its exit code. When this is cancelled, it is ended in good order."""
    loop = asyncio.get_running_loop()
    ours, theirs = _spawning.Pipe()
    process = _spawning.Process(target=_be_worker, args=(post, index, theirs), name=f"remit-worker-{index}")
    process.start()
    theirs.close()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    loop.add_reader(ours.fileno(), _hear, ours, serves)
    try:
        await ended.wait()
    finally:
        await _end(process, ended, post.patience)
        loop.remove_reader(ours.fileno())
        ours.close()
    return process.exitcode


def _hear(pipe: Parent, serves: asyncio.Event) -> None:
    """A worker says once that it serves; after that, and when it ends without a word, there is no more to hear."""
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    with contextlib.suppress(OSError, EOFError):
        pipe.recv_bytes()
        serves.set()


async def _end(process: SpawnProcess, ended: asyncio.Event, patience: float) -> None:
    """Tell a worker to end, and see that it does."""
    if not ended.is_set():
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await ended.wait()
    if not ended.is_set():
        process.kill()
    asyncio.get_running_loop().remove_reader(process.sentinel)
    process.join()


def _be_worker(post: _Post, index: int, parent: Parent) -> None:
    """The whole of a worker's process."""
    to_stderr()
    try:
        uvloop.run(_work(post, Workers(index, post.count, post.folder), parent))
    except RemitError as error:
        Output().problem(error)
        sys.exit(exit_code(error))


async def _work(post: _Post, workers: Workers, parent: Parent) -> None:
    serving = asyncio.Event()

    def on_ready() -> None:
        serving.set()
        parent.send_bytes(b"ready")

    with ended_by_signal(serving):
        await wiring.work(post.home, post.settings, workers, post.listener, parent, on_ready)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The address, listened on. Raises ``Unavailable``, ``BadInput``."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BadInput(f"--host {host!r} is no address", hint="Such as 127.0.0.1, or a name.") from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise Unavailable(
                f"{host}:{port} can't be listened on", hint="Another program has the port; choose --port."
            ) from error
        listener.setblocking(False)
        yield listener
