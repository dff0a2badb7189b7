"""Come in here for how a process that serves ends in good order when it is told to."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Final

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def ended_by_signal(listening: asyncio.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT end a server in good order, whenever they come.

    The HTTP server takes both while it serves, and sends them to us once more when it has stopped: by then the work is
    done and they mean nothing. Before it listens they cancel the start.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def end(_number: int, _frame: object) -> None:
        if task is not None and not listening.is_set():
            loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        with contextlib.suppress(asyncio.CancelledError):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
