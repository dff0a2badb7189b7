"""``remit explain``: by event, by call, and for a call that nobody has made."""

import json
from pathlib import Path

from tests.cli.program import Run, write
from tests.cli.steps import decide, ok, working


def test_a_decision_is_explained_by_its_event_and_by_its_call(run: Run, home: Path, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    event = decide(run, session, env, "c-1", '{"id": "a\\u001b[31m"}').json()["event"]
    found = ok(run("explain", str(event), "--json"), "Explanation")
    assert (found["decision"], found["call"]) == ("allow", "c-1")
    assert ok(run("explain", "c-1", "--session", session, "--json"), "Explanation") == found
    table = run("explain", str(event))
    assert table.code == 0
    assert "/id" in table.stdout
    assert "\x1b[31m" not in table.stdout, "a value acts on no terminal"
    assert run("explain", "c-9", "--session", session).code == 3
    assert run("explain", "0").code == 3


def test_a_call_that_nobody_made_is_explained_and_wrong_usage_says_what_is_wanted(
    run: Run, home: Path, tmp_path: Path
) -> None:
    session, env = working(run, tmp_path)
    new = ("explain", "--session", session, "--tool", "files/read", "--arguments")
    assert ok(run(*new, '{"id": "a"}', "--json"), "Explanation")["decision"] == "allow"
    wrong = ok(run(*new, '{"nothing": 1}', "--json"), "Explanation")
    assert (wrong["decision"], wrong["codes"]) == ("deny", ["arguments.shape"])
    assert "arguments.shape" in run(*new, '{"nothing": 1}').stdout
    assert run(*new, "{").code == 2
    for usage in ((), ("c-1",), ("1", "--tool", "files/read"), ("--tool", "files/read")):
        assert run("explain", *usage).code == 2, usage
    assert decide(run, session, env, "c-1").code == 0, "nothing was used up"


def test_a_session_is_exported_as_a_trace_and_replayed(run: Run, home: Path, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    assert decide(run, session, env, "c-1").code == 0
    out = tmp_path / "trace.jsonl"
    assert run("audit", "export", "--trace", "--session", session, "--output", str(out)).code == 0
    kinds = [json.loads(line)["t"] for line in out.read_text().splitlines()]
    assert kinds == ["session", "call", "verdict"]
    found = run("lab", "replay", str(out), "--json")
    assert (found.code, found.json()["calls"], found.json()["differs"]) == (0, 1, 0)
    assert "files/read" in run("lab", "replay", str(out)).stdout
    changed = out.read_text().replace('"allow"', '"ask"').replace('"codes":[]', '"codes":["flow.value"]')
    assert run("lab", "replay", write(tmp_path / "other.jsonl", changed)).code == 1
    assert run("audit", "export", "--trace").code == 2
    assert run("lab", "replay", write(tmp_path / "bad.jsonl", "{")).code == 2
    (tmp_path / "none").mkdir()
    assert run("lab", "replay", str(out), "--reviews", str(tmp_path / "none")).code == 2
