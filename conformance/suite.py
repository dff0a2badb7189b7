"""What the official suite says of a server, check by check, and where it may say another thing of it through Remit."""

import json
import re
import shutil
import subprocess
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conformance.programs import program

Ends = Mapping[str, str]
"""How each check of one scenario ended, by its id; several of one id joined with ``+``."""
_FOLDER = re.compile(r"server-(.+?)-\d{4}-\d{2}-\d{2}T.*")
_UNSCORED = re.compile(r"^ +[✓✗] ([a-z0-9-]+) \([a-z-]+\)$", re.MULTILINE)
# What the suite only tells, and does not judge.
_TOLD: Final = "INFO"
_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Verdict:
    """How every scenario ended, and which of them a revision does not require."""

    scenarios: Mapping[str, Ends]
    unscored: frozenset[str]

    def counts(self) -> dict[str, int]:
        """How many checks ended how."""
        ends = Counter(one for found in self.scenarios.values() for end in found.values() for one in end.split("+"))
        return {end.lower(): count for end, count in sorted(ends.items())}

    def failing(self) -> list[str]:
        """The scenarios that the revision requires and that do not pass."""
        return sorted(name for name in self.scenarios.keys() - self.unscored if not passes(self.scenarios[name]))


@dataclass(frozen=True, slots=True)
class Listed:
    """A difference that is meant to be: the reason, and how each check that differs ends through Remit."""

    why: str
    ends: Ends


def judged(url: str, revision: str, out: Path) -> Verdict:
    """What the suite says of the server at ``url``; its own records stay in ``out``. Raises ``programs.NotHere``."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = program("conformance", "server", "--url", url, "--requirements", revision, "-o", str(out))
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=out)
    (out / "suite.log").write_text(ended.stdout + ended.stderr, encoding="utf-8")
    scenarios = dict(_read(out))
    if not scenarios:
        raise RuntimeError(f"the suite said nothing: {ended.stderr[-2_000:]}")
    return Verdict(scenarios, frozenset(_UNSCORED.findall(ended.stdout)))


def _read(out: Path) -> Iterator[tuple[str, Ends]]:
    """Every scenario that the suite wrote down, with its checks."""
    for file in sorted(out.glob("*/checks.json")):
        found = _FOLDER.fullmatch(file.parent.name)
        if found is None:
            raise RuntimeError(f"{file.parent.name} is not named as the suite names its records")
        ends: defaultdict[str, list[str]] = defaultdict(list)
        for check in json.loads(file.read_text(encoding="utf-8")):
            if check["status"] != _TOLD:
                ends[check["id"]].append(check["status"])
        yield found[1], {name: "+".join(sorted(one)) for name, one in ends.items()}


def passes(ends: Ends) -> bool:
    """Whether no check of a scenario failed."""
    return not any("FAILURE" in end for end in ends.values())


def changed(direct: Ends, through: Ends) -> dict[str, str]:
    """The checks that end otherwise through Remit, and how; ``ABSENT`` for one that the suite never came to."""
    names = sorted({*direct, *through})
    return {name: through.get(name, "ABSENT") for name in names if direct.get(name) != through.get(name)}


def listed(file: Path) -> dict[str, dict[str, Listed]]:
    """The differences that are meant to be, by revision and scenario."""
    document: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    reasons = document.pop("reasons")
    return {
        revision: {name: Listed(reasons[one["why"]], one["ends"]) for name, one in scenarios.items()}
        for revision, scenarios in document.items()
    }


def compared(revision: str, direct: Verdict, through: Verdict, meant: Mapping[str, Listed]) -> Iterator[dict[str, Any]]:
    """One row a scenario, with what is wrong about it, if anything."""
    for name in sorted({*direct.scenarios, *through.scenarios, *meant}):
        one, other = direct.scenarios.get(name, {}), through.scenarios.get(name, {})
        differing, wanted = changed(one, other), meant.get(name)
        yield {
            "row": f"{revision} {name}",
            "direct": _passed(one),
            "remit": _passed(other),
            "ends": differing,
            "why": wanted.why if wanted is not None else "",
            "fault": _fault(differing, wanted),
        }


def _fault(differing: Ends, wanted: Listed | None) -> str:
    if wanted is None:
        return f"differs, and is not listed: {dict(differing)}" if differing else ""
    if not differing:
        return "is listed, and does not differ"
    return "" if differing == wanted.ends else f"differs otherwise than is listed: {dict(differing)}"


def _passed(ends: Ends) -> str:
    """Checks that passed, of all that were judged."""
    each = [one for end in ends.values() for one in end.split("+")]
    return f"{each.count('SUCCESS')}/{len(each)}"
