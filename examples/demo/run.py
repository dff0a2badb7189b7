"""``make demo``: Remit on an empty folder before three real servers; an agent works, then is compromised.

The agent's brain is a script, and the office is a stand-in written with the official MCP SDK, because none runs
offline; git and time are the public servers. What happened is read from the servers' own stores. Exits 0 only if every
piece of work is there and no attack's effect is, and the log verifies.

``CONTROL=open`` puts a raw pass-through in Remit's place: every attack then succeeds and the demo must fail.
``KEEP=1`` leaves everything running and says where; ``PICTURE=FILE.svg`` keeps what was printed as a picture.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.demo.agent import connected
from examples.demo.fronts import Front, Governed, Passthrough
from examples.demo.scenes import ATTACKS, WORK, Row, Scene, task
from examples.demo.stage import BIN, Stage
from remit.lab.results import write_results

console = Console(width=150, highlight=False, record=bool(os.environ.get("PICTURE")))


async def play(stage: Stage, front: Front) -> list[Row]:
    """Work first, then every attack; all rows."""
    token = front.token("bookkeeper", task(stage))
    async with connected(front.mcp, token) as agent:
        scene = Scene(stage, front, agent, token)
        for number, act in enumerate((*WORK, *ATTACKS), 1):
            await act(scene)
            tell(number, scene.rows[-1])
    return scene.rows


def tell(number: int, row: Row) -> None:
    """One line as it happens."""
    mark = "[green]ok[/]" if row.ok else "[red]NO[/]"
    found = "effect in the server's store" if row.effect else "no effect in the server's store"
    console.print(f"{number:>2} {mark} {row.kind:<6} {escape(row.tried)}: {found}")
    if row.detail:
        console.print(f"        [dim]{escape(row.detail)}[/]")


def entries(front: Governed, rows: list[Row]) -> None:
    """The log entry of every attack, from the log."""
    table = Table(title="What was tried, what stopped it, and where it stands in the log")
    for column in ("attack", "stopped by", "event", "entry"):
        table.add_column(column, overflow="fold")
    refused = iter(front.refused)
    for row in rows:
        if row.kind != "attack":
            continue
        if row.id == "token-as-host":
            answer = next(refused, {})
            row.stopped_by, row.event = f"{answer.get('code', '?')} + {row.stopped_by}", answer.get("event")
        entry = front.remit("audit", "show", str(row.event)) if row.event is not None else {}
        shown = {name: entry[name] for name in ("k", "actor", "tool", "decision", "codes", "session") if name in entry}
        row.ok = row.ok and bool(entry)
        table.add_row(row.id, row.stopped_by, str(row.event), escape(json.dumps(shown)))
    console.print(table)


def verified(front: Governed) -> Row:
    """The log, exported and checked by a copy of the verifier alone, in a folder of its own."""
    export = front.stage.folder / "log.jsonl"
    command = [str(BIN / "remit"), "--home", str(front.home), "audit", "export", "--format", "jsonl"]
    with export.open("wb") as out:
        subprocess.run(command, stdout=out, check=True)
    alone = front.stage.folder / "alone"
    alone.mkdir()
    source = Path(sys.modules["remit"].__file__ or "").parent / "audit" / "verify.py"
    shutil.copy(source, alone / "verify.py")
    key = (front.home / "keys" / "log.vkey").read_text().strip()
    check = [sys.executable, "-I", "verify.py", str(export), "--key", key]
    done = subprocess.run(check, cwd=alone, capture_output=True, text=True, check=False)
    row = Row("verify", "work", "audit verify, by a copy of verify.py alone", effect=done.returncode == 0)
    row.ok, row.detail = row.effect, done.stdout.strip()[:300]
    return row


def main() -> int:
    """Run the demo; 0 if everything went as it should."""
    control = os.environ.get("CONTROL", "") == "open"
    started = time()
    stage = Stage(Path(tempfile.mkdtemp(prefix="remit-demo-")))
    rows: list[Row] = []
    try:
        stage.set_up()
        front: Passthrough | Governed = Passthrough(stage) if control else Governed(stage)
        front.start()
        console.print(f"[bold]{'NEGATIVE CONTROL: no Remit' if control else 'Remit'}[/] at {front.mcp}")
        rows = asyncio.run(play(stage, front))
        if isinstance(front, Governed):
            entries(front, rows)
            rows.append(verified(front))
            tell(len(rows), rows[-1])
        if os.environ.get("KEEP") == "1":
            console.print(f"Left running in {stage.folder}. Processes: {[p.pid for p in stage.processes]}")
            stage.processes.clear()
    finally:
        stage.tear_down()
    status = report(rows, started, control=control)
    if os.environ.get("PICTURE"):
        console.save_svg(os.environ["PICTURE"], title="make demo")
    return status


def report(rows: list[Row], started: float, *, control: bool) -> int:
    """Write build/demo.json (build/demo-open.json for the control) and sum up."""
    attacks = [row for row in rows if row.kind == "attack"]
    ok = bool(rows) and len(attacks) == len(ATTACKS) and all(row.ok for row in rows)
    name = "demo-open" if control else "demo"
    write_results(name, [asdict(row) for row in rows], ok=ok, started=started, seconds=time() - started)
    landed = sum(row.effect for row in attacks)
    console.print(
        f"{sum(row.ok for row in rows)} of {len(rows)} as they should be; "
        f"{landed} of {len(attacks)} attacks took effect; {time() - started:.1f} s; build/{name}.json"
    )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
