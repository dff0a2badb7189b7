"""What the system calls say: the flush ends before the acknowledgement, and a call that fails costs nobody a record.

kill -9 can't tell a flushed record from one in the page cache, since the kernel keeps both. strace can; and it can fail
any call in turn.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.storage.checks import Acknowledged, check
from tests.storage.children import append
from tests.storage.contract_units import leaves
from tests.storage.home import STORE, opened

ROOT = Path(__file__).resolve().parents[2]
STRACE = shutil.which("strace")


def _works() -> bool:
    """Whether there is strace and it may trace, which some sandboxes forbid."""
    return STRACE is not None and subprocess.run([STRACE, "-o", os.devnull, "true"], check=False).returncode == 0


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not _works(), reason="needs strace, to see that the flush comes before the acknowledgement"),
]

CALLS = "fdatasync,fsync,write,pwrite64"
LINE = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
SAID = re.compile(r'1<[^>]*>, "(?P<text>[^"]*)\\n"')


class Traced(NamedTuple):
    """One system call: which, on what, between which lines of the trace, and whether it did what it was asked."""

    name: str
    arguments: str
    start: int
    end: int
    good: bool

    def flushes(self, suffix: str) -> bool:
        """Whether this put the store's file with that suffix on disk."""
        return self.name in ("fdatasync", "fsync") and self.good and f"/{STORE}{suffix}>" in self.arguments


def traced(home: Path, *arguments: str, inject: str = "", calls: str = CALLS) -> tuple[list[Traced], list[str]]:
    """Run the program of ``traced.py`` under strace: its calls in order, and the lines it said."""
    assert STRACE is not None
    trace = home / "trace"
    command = [STRACE, "-f", "-y", "--seccomp-bpf", "-e", f"trace={calls}", "-o", str(trace)]
    command += ["-e", f"inject={inject}"] if inject else []
    command += [sys.executable, "-m", "tests.storage.traced", str(home), *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    return _parsed(trace.read_text(errors="replace").splitlines()), ran.stdout.splitlines()


def _parsed(lines: list[str]) -> list[Traced]:
    found: list[Traced] = []
    begun: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines):
        resumed = RESUMED.match(line)
        if resumed:
            start, arguments = begun.pop((resumed["pid"], resumed["name"]))
            found.append(Traced(resumed["name"], arguments, start, number, _good(resumed["rest"])))
            continue
        whole = LINE.match(line)
        if whole and whole["arguments"].endswith("<unfinished ...>"):
            begun[whole["pid"], whole["name"]] = number, whole["arguments"]
        elif whole:
            found.append(Traced(whole["name"], whole["arguments"], number, number, _good(whole["arguments"])))
    return found


def _good(text: str) -> bool:
    return re.search(r"\) += \d+", text) is not None


def said(calls: list[Traced], mark: str) -> dict[str, Traced]:
    """The lines that begin with this mark, by the name of the unit they are about."""
    lines = [(SAID.search(one.arguments), one) for one in calls if one.name == "write"]
    return {match["text"].split()[-1].lstrip(mark): one for match, one in lines if match and match["text"][0] == mark}


def unflushed(calls: list[Traced]) -> list[str]:
    """Units that were acknowledged although no flush began after them and ended before that."""
    began, acknowledged = said(calls, "+"), said(calls, "=")
    flushes = [one for one in calls if one.flushes("-wal")]
    return [
        name
        for name, one in acknowledged.items()
        if not any(began[name].end < flush.start and flush.end < one.start for flush in flushes)
    ]


def acknowledged(lines: list[str]) -> Acknowledged:
    """Index and name of each unit that was acknowledged."""
    return [(int(line[1:].split()[0]), line.split()[1]) for line in lines if line[0] == "="]


@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.claim("log:no-lost-record")
@pytest.mark.parametrize(("callers", "turns"), [(1, 12), (8, 6)])
def test_no_unit_is_acknowledged_before_its_flush_has_ended(tmp_path: Path, callers: int, turns: int) -> None:
    calls, lines = traced(tmp_path, str(callers), str(turns))
    assert len(said(calls, "=")) == len(acknowledged(lines)) == callers * turns
    assert unflushed(calls) == []


@pytest.mark.claim("log:no-effect-without-intent")
def test_nothing_of_a_unit_is_written_between_its_flush_and_its_acknowledgement(tmp_path: Path) -> None:
    calls, _ = traced(tmp_path, "1", "12")
    for one in said(calls, "=").values():
        flush = max((flush for flush in calls if flush.flushes("-wal") and flush.end < one.start), key=lambda f: f.end)
        between = [other for other in calls if flush.start < other.start < one.start]
        assert [other for other in between if f"/{STORE}" in other.arguments and other.name == "pwrite64"] == []


def test_a_store_that_does_not_flush_each_commit_acknowledges_without(tmp_path: Path) -> None:
    """The control of both: ``synchronous=NORMAL``, which keeps every promise under kill -9 too."""
    calls, lines = traced(tmp_path, "1", "12", "normal")
    assert len(acknowledged(lines)) == 12
    assert len(unflushed(calls)) == 12


@pytest.mark.claim("log:no-lost-record")
def test_the_files_themselves_are_in_their_folder_on_disk_before_the_first_acknowledgement(tmp_path: Path) -> None:
    # Once when everything is made, and once when another process has made it and may have died before its flush.
    for made in (True, False):
        calls, _ = traced(tmp_path, "1", "1")
        (first,) = said(calls, "=").values()
        before = [one for one in calls if "sync" in one.name and one.good and one.end < first.start]
        flushed = {match[1] for one in before if (match := re.search(r"<([^>]*)>", one.arguments))}
        assert str(tmp_path / "subjects") in flushed
        if made:
            assert str(tmp_path) in flushed
            assert any(name.startswith(str(tmp_path / "subjects" / ".per_")) for name in flushed)


def test_units_that_come_together_share_a_flush_and_one_alone_has_its_own(tmp_path: Path) -> None:
    counts = {}
    for callers, turns in ((1, 16), (16, 10)):
        home = tmp_path / str(callers)
        home.mkdir()
        calls, _ = traced(home, str(callers), str(turns))
        ends = [one.end for one in said(calls, "=").values()]
        counts[callers] = sum(one.flushes("-wal") and one.end < max(ends) for one in calls)
    assert counts[1] >= 16
    assert counts[16] <= 160 / 4


FAULTS = [
    *(f"fdatasync:error=EIO:when={when}" for when in ("1", "2", "3", "5", "4+", "3+2")),
    *(f"pwrite64:error=ENOSPC:when={when}" for when in ("1", "66", "75", "68+", "70+7")),
    "pwrite64:error=EIO:when=70+11",
    *(f"fsync:error=EIO:when={when}" for when in ("1", "2")),
    "ftruncate:error=ENOSPC:when=1",
]


@pytest.mark.claim("log:no-lost-record")
@pytest.mark.claim("log:no-effect-without-intent")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_system_call_that_fails_loses_no_acknowledged_unit(tmp_path: Path, fault: str) -> None:
    calls, lines = traced(tmp_path, "3", "5", inject=fault, calls=f"{CALLS},ftruncate")
    assert "(INJECTED)" in (tmp_path / "trace").read_text(errors="replace"), "the fault never happened"
    assert unflushed(calls) == []
    refused = [line.split()[0] for line in lines if line[0] == "-"]
    assert set(refused) <= {"-StoreUnavailable", "-LogUnavailable"}
    store = await opened(tmp_path)
    there = acknowledged(lines)
    await check(store, there)
    assert len(await leaves(store)) <= len(there) + len(refused)
    assert await append(store, "afterwards") == len(await leaves(store)) - 1
    await store.close()
