"""Writes the generated pages of the reference from the code: ``python docs/generate.py``; ``--check`` only compares.

A page that is not current fails the tests (``tests/test_docs.py``), so the reference can't drift from what runs.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from remit.cli.reference import cli_reference
from remit.core.decisions import REASONS
from remit.core.errors import RemitError
from remit.core.events import MAX_LEAF, Kind
from remit.gateway.calls import RESULT_LIMITS
from remit.gateway.frames import FRAME_LIMITS, MOST_BYTES, MOST_FRAMES
from remit.gateway.lanes import CONCURRENCY, FAILURES, FIRST_REST, LONGEST_REST, WAITING
from remit.gateway.listen import MOST, MOST_OF_SESSION
from remit.gateway.proxy import PAGE
from remit.gateway.upstream_wire import Limits
from remit.problems import TABLE
from remit.services.approve import LIFE, MAX_SHOWN
from remit.services.decide import FORWARD_WITHIN, REPORT_WITHIN
from remit.services.observing import LONGEST
from remit.services.sessions import DEFAULT_LIFE, LONGEST_LIFE, MAX_DEPTH, TOKEN_LIFE
from remit.services.surfaces import MAX_PROMPTS, MAX_TEMPLATE_BYTES, MAX_TEMPLATES
from remit.services.sync import MAX_DEFINITION, MAX_TOOLS
from remit.settings import Settings
from tests.claims import page as claims_page

NOTE: Final = "Printed from the code by `python docs/generate.py`; do not edit."
HOUR_MS: Final = 3_600_000


def errors() -> str:
    """Every error code."""
    lines = [
        "# Errors",
        "",
        NOTE,
        "",
        "Over HTTP an error is a problem document (RFC 9457) whose `code` is stable;",
        "the command line exits with the number in the last column.",
        "",
        "| code | title | status | hint | exit |",
        "|---|---|---|---|---|",
    ]
    for kind, form in sorted(TABLE.items(), key=lambda item: (item[1].status, item[0].code)):
        if kind is not RemitError:
            title = (kind.__doc__ or "").strip().splitlines()[0]
            lines.append(f"| `{kind.code}` | {title} | {form.status} | {kind.default_hint} | {form.exit} |")
    return "\n".join(lines) + "\n"


def reasons() -> str:
    """Every reason of a decision."""
    lines = [
        "# Reasons of decisions",
        "",
        NOTE,
        "",
        "A closed list. The step is the one of",
        "[the life of a tool call](../explanation/the-life-of-a-tool-call.md) that answered.",
        "",
        "| code | step | words | what to do |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{code}` | {form.step} | {form.text} | {form.hint} |" for code, form in REASONS.items()]
    return "\n".join(lines) + "\n"


def events() -> str:
    """Every kind of event."""
    lines = [
        "# Kinds of events",
        "",
        NOTE,
        "",
        f"One leaf is at most {MAX_LEAF:,} bytes of canonical JSON: ids and codes, no free text;",
        "everything else is a salted commitment. A number is never reused.",
        "",
        "| number | kind |",
        "|---|---|",
    ]
    lines += [f"| {kind.value} | {kind.name.lower().replace('_', ' ')} |" for kind in Kind]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Every setting."""
    lines = [
        "# Settings",
        "",
        NOTE,
        "",
        "In `remit.toml` in the home, or in the environment as `REMIT_<NAME>`, which wins.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{name}` | `{field.default}` | {field.description} |" for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def limits() -> str:
    """Every bound that a caller can meet."""
    rows = {
        "request body": "1 MiB, 64 levels deep (settings `max_body`, `max_depth`)",
        "result of an upstream call": f"{RESULT_LIMITS.max_bytes // 2**20} MiB, {RESULT_LIMITS.max_depth} levels deep",
        "progress and log messages of one call": (
            f"{FRAME_LIMITS.max_bytes // 1024} KiB each; {MOST_FRAMES:,} looked at, {MOST_BYTES // 1024} KiB shown"
        ),
        "subscriptions to changes": f"{MOST_OF_SESSION} of one session, {MOST} of one process (setting `listen`)",
        "numbers": "integers within 64 bits; others within a double's range, kept exact",
        "one tool definition": f"{MAX_DEFINITION // 1024} KiB",
        "tools of one server": f"{MAX_TOOLS:,}",
        "tools on a page of tools/list": f"{PAGE}",
        "prompts of one server": f"{MAX_PROMPTS:,}",
        "resource templates of one server": f"{MAX_TEMPLATES:,}, in {MAX_TEMPLATE_BYTES // 1024} KiB",
        "session token": f"{TOKEN_LIFE // 60_000} minutes",
        "session": f"{DEFAULT_LIFE // HOUR_MS} hour unless asked, {LONGEST_LIFE // HOUR_MS // 24} days at most",
        "agents on a chain": f"{MAX_DEPTH}",
        "an Allow": f"good for one forward within {FORWARD_WITHIN // 1000} s",
        "reporting an outcome over the decision API": f"{REPORT_WITHIN // 60_000} minutes, then unknown",
        "an approval": f"{LIFE // HOUR_MS} hour to answer, and again to use",
        "arguments that a person can be shown": f"{MAX_SHOWN // 1024} KiB, else Deny",
        "observe mode of a server": f"{LONGEST // HOUR_MS // 24} days at most",
        "connections to servers from one process": (
            f"{Limits().connections}, of which {Limits().server_connections} to one server; an idle one makes room"
        ),
        "calls under way at one server from one process": (
            f"{CONCURRENCY}, or the record's `concurrency`; one more waits {WAITING:g} s at most"
        ),
        "a server that could not be reached": (
            f"{FAILURES} times in a row: answered for at once, for {FIRST_REST:g} s, doubling to {LONGEST_REST:g} s"
        ),
        "one event": f"{MAX_LEAF:,} bytes",
    }
    lines = ["# Limits", "", NOTE, "", "| what | bound |", "|---|---|"]
    lines += [f"| {what} | {bound} |" for what, bound in rows.items()]
    return "\n".join(lines) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "reference/cli.md": cli_reference,
    "reference/errors.md": errors,
    "reference/reasons.md": reasons,
    "reference/events.md": events,
    "reference/settings.md": settings,
    "reference/limits.md": limits,
    "claims.md": claims_page,
}


def stale() -> list[str]:
    """The pages that are not what the code says now."""
    folder = ROOT / "docs"
    return [
        name
        for name, made in PAGES.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != made()
    ]


def main() -> int:
    """Write the pages, or with ``--check`` say which are stale."""
    if "--check" in sys.argv[1:]:
        names = stale()
        print("\n".join(f"stale: {name}" for name in names) or "current")
        return int(bool(names))
    for name, made in PAGES.items():
        (ROOT / "docs" / name).write_text(made(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
