"""Come in here for where services' own log lines go: to stderr, as JSON, in which no text can act on a terminal."""

import contextlib
import sys
from typing import TextIO, cast

import structlog


def to_stderr() -> None:
    """Send what services log to stderr; stdout is for answers."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Diagnostics())),
        cache_logger_on_first_use=False,
    )


class Diagnostics:
    """Stderr as it is at the time. What can't be printed there is dropped: a diagnosis must never fail a decision."""

    def write(self, text: str) -> int:
        """Print ``text``, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Send on what was printed."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
