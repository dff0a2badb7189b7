"""``remit lab labels`` on a real server: a field that anyone can fill and a review calls the system's is found."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.program import Run, write
from tests.cli.steps import AGENT, ok

SERVER = Path(__file__).parent / "notebook_server.py"
REVIEWS = """kind: ToolReview
server: notes
tool: add_note
fingerprint: ADD
effect: write
arguments:
  /title: {role: free_text}
  /text: {role: free_text}
output: {from: structured, fields: {/id: {writer: system, type: note}}, mints: {/id: note}}
intent: [add]
---
kind: ToolReview
server: notes
tool: notes
fingerprint: LIST
effect: read
output:
  from: structured
  fields:
    /items/*/id: {writer: system, type: note}
    /items/*/title: {writer: TITLE, type: text, naming: true}
    /items/*/text: {writer: anyone, type: text}
"""
GRANT = """kind: Grant
agent: reader
tools: [notes/add_note, notes/notes]
expires: 2031-01-31T00:00:00.000Z
"""


def ready(run: Run, tmp_path: Path, writer: str) -> dict[str, str]:
    """The server under review, with one label right or wrong, and a session of an agent that may use it."""
    stdio = ("--stdio", "--operator", "us", "--json", "--", sys.executable, str(SERVER))
    ok(run("server", "add", "notes", *stdio), "Server")
    found = ok(run("server", "sync", "notes", "--json"), "SyncAnswer")["tools"]
    prints = {one["tool"]: one["fingerprint"] for one in found}
    text = (
        REVIEWS.replace("ADD", prints["notes/add_note"]).replace("LIST", prints["notes/notes"]).replace("TITLE", writer)
    )
    assert run("tool", "review", "apply", write(tmp_path / "reviews.yaml", text)).code == 0
    ok(run("agent", "create", "-f", write(tmp_path / "agent.yaml", AGENT), "--json"), "Agent")
    ok(run("grant", "apply", write(tmp_path / "grant.yaml", GRANT), "--json"), "Grant")
    ok(run("agent", "activate", "reader", "--json"), "Agent")
    key = ok(run("key", "create", "--agent", "reader", "--for", "host", "--expires", "P1D", "--json"), "Key")
    env = {"REMIT_HOST_KEY": key["secret"]}
    started = ok(
        run("session", "start", "--agent", "reader", "--task", "Add notes", "--json", env=env), "SessionStarted"
    )
    return {"REMIT_SESSION_TOKEN": started["token"]}


@pytest.mark.claim("lab:wrong-labels-found")
def test_a_title_that_anyone_writes_and_is_called_the_system_s_is_found(run: Run, home: Path, tmp_path: Path) -> None:
    env = ready(run, tmp_path, "system")
    answer = run("lab", "labels", "notes", "--sandbox", "--json", env=env)
    assert answer.code == 1, answer.stderr
    assert [(one["tool"], one["field"], one["label"], one["planted_in"]) for one in answer.json()["findings"]] == [
        ("notes/notes", "/items/*/title", "system", "notes/add_note /title")
    ]
    assert "/items/*/title" in run("lab", "labels", "notes", "--sandbox", env=env).stdout


@pytest.mark.claim("lab:wrong-labels-found")
def test_with_the_label_right_nothing_is_found(run: Run, home: Path, tmp_path: Path) -> None:
    """The negative control."""
    env = ready(run, tmp_path, "anyone")
    answer = run("lab", "labels", "notes", "--sandbox", "--json", env=env)
    assert (answer.code, answer.json()["findings"], answer.json()["planted"]) == (0, [], 2), answer.stderr


def test_nothing_is_called_unless_it_is_said_and_recorded_results_will_do(run: Run, home: Path, tmp_path: Path) -> None:
    env = ready(run, tmp_path, "system")
    refused = run("lab", "labels", "notes", env=env)
    assert (refused.code, "--sandbox" in refused.stderr) == (2, True)
    shown = {"content": [], "structuredContent": {"items": [{"id": "n1", "title": "see Zorp here", "text": "zorp"}]}}
    lines = write(tmp_path / "results.jsonl", json.dumps({"tool": "notes/notes", "result": shown}))
    found = run("lab", "labels", "notes", "--results", lines, "--canary", "zorp", "--json")
    assert (found.code, [one["field"] for one in found.json()["findings"]]) == (1, ["/items/*/title"])
    assert run("lab", "labels", "notes", "--results", lines, "--canary", "nowhere").code == 0
    assert run("lab", "labels", "nothing", "--sandbox", env=env).code == 3
    assert run("lab", "labels", "notes", "--sandbox").code == 4, "no session, no call"
