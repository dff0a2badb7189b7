"""The program that tests run under strace: appends units, says on stdout what it begins and what was acknowledged.

``python -m tests.storage.traced HOME CALLERS TURNS [SYNCHRONOUS]``. Each line is one ``write``: ``+NAME`` before a unit,
``=INDEX NAME`` once it is acknowledged (where a gateway would forward the call), ``-ERROR NAME`` when it is refused.
"""

import asyncio
import os
import sys
from pathlib import Path

from remit.core.errors import LogUnavailable, StoreUnavailable
from tests.storage.children import append
from tests.storage.home import opened

STDOUT = 1


def say(line: str) -> None:
    """One line, one system call."""
    os.write(STDOUT, f"{line}\n".encode())


async def run(home: Path, callers: int, turns: int, synchronous: str) -> None:
    """All of it."""
    try:
        store = await opened(home)
    except StoreUnavailable as refusal:
        say(f"-{type(refusal).__name__} open")
        return
    if synchronous != "full":
        store._writer.pragma("synchronous", synchronous)

    async def caller(number: int) -> None:
        for turn in range(turns):
            name = f"{number}.{turn}"
            say(f"+{name}")
            try:
                index = await append(store, name)
            except (StoreUnavailable, LogUnavailable) as refusal:
                say(f"-{type(refusal).__name__} {name}")
            else:
                say(f"={index} {name}")

    await asyncio.gather(*(caller(number) for number in range(callers)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), (*sys.argv[4:], "full")[0]))
