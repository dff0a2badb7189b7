"""``make test``: runs everything, counts, writes build/test.json, and fails on a skip that tests/skips.toml does not list."""

import fnmatch
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from remit.lab.results import write_results


class Tally:
    """Counts outcomes, and keeps the reason of every skip."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.skips: list[tuple[str, str]] = []
        self.failures: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        if report.skipped:
            self.counts["skipped"] += 1
            self.skips.append((report.nodeid, str(report.longrepr)))
        elif report.failed:
            self.counts["failed"] += 1
            self.failures.append(report.nodeid)
        elif report.when == "call":
            self.counts["passed"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that could not be collected, or skipped itself whole."""
        if report.failed:
            self.counts["failed"] += 1
            self.failures.append(report.nodeid)
        elif report.skipped:
            self.counts["skipped"] += 1
            self.skips.append((report.nodeid, str(report.longrepr)))


def unlisted(skips: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Skips that nobody listed; in CI that is every skip."""
    if os.environ.get("CI"):
        return skips
    listed = tomllib.loads((ROOT / "tests" / "skips.toml").read_text())["skip"]
    globs = [entry["test"] for entry in listed if entry["reason"]]
    return [skip for skip in skips if not any(fnmatch.fnmatch(skip[0], glob) for glob in globs)]


def main(arguments: list[str]) -> int:
    """Run pytest with ``arguments``; its exit status, or 1 for an unlisted skip."""
    os.chdir(ROOT)
    started = time.time()
    tally = Tally()
    status = int(pytest.main(["-n", "2", "--dist", "loadfile", "-q", *arguments], plugins=[tally]))
    stray = unlisted(tally.skips)
    for test, why in stray:
        print(f"UNLISTED SKIP {test}: {why}")  # noqa: T201 - the runner reports
    ok = status == 0 and not stray
    rows: list[dict[str, Any]] = [{"outcome": name, "count": count} for name, count in tally.counts.items()]
    rows += [{"outcome": "failure", "test": test} for test in tally.failures]
    rows += [{"outcome": "skip", "test": test, "why": why} for test, why in tally.skips]
    write_results("test", rows, ok=ok, started=started, seconds=time.time() - started)
    counts = tally.counts
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")  # noqa: T201 - the sum
    return status or int(not ok)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
