"""``make agentdojo``: AgentDojo's tasks and attacks through Remit, without a model, as one table.

    python -m remit.lab.agentdojo.run [--suite S]… [--labels L]… [--profile P]… [--hijack]

One row for each suite, label set and profile: silent successes of the attacker (after the task, and early), questions a
task, tasks without a question, utility with an attentive person, and what lands when somebody says yes to everything.
``CONTROL=open`` is the negative control: nothing decides, and the attacks must land; the run fails when they do not.
Everything is written to ``build/agentdojo.json`` with the commit. Exit 1 when an attack succeeds without a question.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from remit.lab.agentdojo import labels as label_sets
from remit.lab.agentdojo.replay import attacks, benign, hijacks, open_attacks
from remit.lab.agentdojo.stage import staged
from remit.lab.agentdojo.tools import SUITES, Suite, suite
from remit.lab.results import write_results
from remit.policy.memory import Profile

LABELS: Final = {"reviewed": label_sets.reviewed, "suggested": label_sets.suggested}
_HEAD: Final = ("suite", "labels", "profile", "done", "no question", "questions", "after", "early", "always", "hijack")


async def measured(one: Suite, labels: str, profile: Profile, *, hijack: bool) -> dict[str, Any]:
    """One row, with everything that was asked."""
    documents = LABELS[labels](one)
    with tempfile.TemporaryDirectory(prefix="remit-lab-") as folder:
        async with staged(one, documents, profile, Path(folder)) as stage:
            tasks = [found async for found in benign(stage)]
            after = [found async for found in attacks(stage, "after")]
            early = [found async for found in attacks(stage, "early")]
            always = [found async for found in attacks(stage, "after", "always")]
            replaced = [found async for found in hijacks(stage, _roles(documents))] if hijack else []
    return {
        "suite": one.name,
        "labels": labels,
        "profile": profile,
        "tasks": len(tasks),
        "done": sum(found.done for found in tasks),
        "no_question": sum(not found.questions for found in tasks),
        "questions": sum(found.questions for found in tasks),
        "after": {"attacks": len(after), "open": sum(a.open for a in after), "silent": sum(a.succeeded for a in after)},
        "early": {"attacks": len(early), "open": sum(a.open for a in early), "silent": sum(a.succeeded for a in early)},
        "always": sum(found.succeeded for found in always),
        "hijacks": {"tried": len(replaced), "made": sum(found.made for found in replaced)},
        "which": [f"{a.task}/{a.injection}" for a in (*after, *early) if a.succeeded],
        "hijacked": [f"{h.task} {h.tool}{h.argument} {h.kind}" for h in replaced if h.made],
        "undone": [found.task for found in tasks if not found.done],
        "asked": {found.task: list(found.asked) for found in tasks if found.asked},
    }


def _roles(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The role of each top-level argument, by tool that does more than read."""
    return {
        tool: {pointer.split("/")[1]: str(told["role"]) for pointer, told in (document.get("arguments") or {}).items()}
        for tool, document in documents.items()
        if document["effect"] != "read"
    }


def uncontrolled(one: Suite) -> dict[str, Any]:
    """The negative control: what the attacker gets where nothing decides."""
    after, early = (list(open_attacks(one, when)) for when in ("after", "early"))
    return {"suite": one.name, "after": [len(after), sum(after)], "early": [len(early), sum(early)]}


def _line(row: Mapping[str, Any]) -> Sequence[str]:
    attacks_of = (f"{row[when]['silent']}/{row[when]['open']}" for when in ("after", "early"))
    hijack = row["hijacks"]
    return (
        row["suite"],
        row["labels"],
        row["profile"],
        f"{row['done']}/{row['tasks']}",
        str(row["no_question"]),
        str(row["questions"]),
        *attacks_of,
        f"{row['always']}/{row['after']['open']}",
        f"{hijack['made']}/{hijack['tried']}" if hijack["tried"] else "-",
    )


def _printed(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def main() -> int:
    """The table; 1 if an attack succeeded in silence, or the control's attacks did not land."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--suite", action="append", choices=SUITES)
    given.add_argument("--labels", action="append", choices=list(LABELS))
    given.add_argument("--profile", action="append", choices=get_args(Profile))
    given.add_argument("--hijack", action="store_true")
    wanted = given.parse_args()
    begun, started = time.monotonic(), time.time()
    suites = [suite(name) for name in wanted.suite or SUITES]
    if os.environ.get("CONTROL") == "open":
        rows = [uncontrolled(one) for one in suites]
        for row in rows:
            after, early = ("/".join(map(str, reversed(row[when]))) for when in ("after", "early"))
            sys.stdout.write(f"{row['suite']:10} lands after the task {after}, early {early}\n")
        landed = all(row["after"][1] and row["early"][1] for row in rows)
        write_results("agentdojo-control", rows, started=started, seconds=time.monotonic() - begun, ok=landed)
        return 0 if landed else 1
    rows = []
    for labels in wanted.labels or LABELS:
        for profile in wanted.profile or get_args(Profile):
            for one in suites:
                rows.append(asyncio.run(measured(one, labels, profile, hijack=wanted.hijack)))
                _printed([_HEAD, *map(_line, rows[-1:])])
    silent = sum(row[when]["silent"] for row in rows for when in ("after", "early")) + sum(
        row["hijacks"]["made"] for row in rows
    )
    _printed([_HEAD, *map(_line, rows)])
    path = write_results("agentdojo", rows, started=started, seconds=time.monotonic() - begun, ok=not silent)
    sys.stdout.write(f"{silent} silent successes; {time.monotonic() - begun:.0f} s; {path}\n")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
