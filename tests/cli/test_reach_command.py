"""``remit reach`` as CI uses it: saved, held against a change, and as a graph."""

import json
from pathlib import Path

from tests.cli.program import Run, write
from tests.cli.steps import GRANT, decide, ok, working


def test_a_wider_reach_fails_and_a_narrower_one_does_not(run: Run, home: Path, tmp_path: Path) -> None:
    working(run, tmp_path)
    found = ok(run("reach", "reader", "--json"), "Reach")
    assert [(one["tool"], one["verdict"]) for one in found["tools"]] == [("files/read", "reachable")]
    assert found["at_most"]["calls"]["day"] == "20"
    before = write(tmp_path / "before.json", json.dumps(found))
    same = run("reach", "reader", "--diff", before)
    assert (same.code, same.stdout.splitlines()[0]) == (0, "No difference.")
    more = GRANT.replace("limits: {calls: 20, per: day}", "limits: {calls: 50, per: day}")
    grant = ok(run("grant", "apply", write(tmp_path / "more.yaml", more), "--json"))
    wider = run("reach", "reader", "--diff", before)
    assert wider.code == 1
    assert "+ calls in a day: 70 instead of 20" in wider.stdout
    after = write(tmp_path / "after.json", run("reach", "reader", "--json").stdout)
    assert run("reach", "reader", "--diff", f"{before}..{after}").code == 1
    back = run("reach", "reader", "--diff", f"{after}..{before}", "--json")
    assert (back.code, back.json()["added"]) == (0, [])
    without = run("reach", "reader", "--without", grant["id"])
    assert without.code == 0
    assert "calls in a day: 70 instead of 20" in without.stdout
    assert run("reach", "reader", "--without", grant["id"], "--diff", before).code == 0


def test_the_table_and_the_graph_hold_hostile_names_and_wrong_files_are_refused(
    run: Run, home: Path, tmp_path: Path
) -> None:
    working(run, tmp_path)
    table = run("reach", "reader")
    assert table.code == 0
    assert "files/read" in table.stdout
    assert "score" in table.stdout
    graph = run("reach", "reader", "--dot")
    assert graph.stdout.startswith("digraph reach {")
    for wrong in ("{", "[]", '{"tools": []}'):
        assert run("reach", "reader", "--diff", write(tmp_path / "wrong.json", wrong)).code == 2
    assert run("reach", "reader", "--diff", str(tmp_path / "none.json")).code == 3
    assert run("reach", "nobody").code == 3
    assert run("reach", "reader", "--without", "files/none").code == 3


def test_advice_is_printed_as_a_diff_and_written_as_files_that_apply(run: Run, home: Path, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    assert decide(run, session, env, "c-1").code == 0
    found = ok(run("agent", "advise", "reader", "--young", "--write", str(tmp_path / "out"), "--json"), "Advice")
    assert [one["verdict"] for one in found["grants"]] == ["narrower"]
    [written] = (tmp_path / "out").iterdir()
    assert ok(run("grant", "apply", str(written), "--json"), "Grant")["limits"] == [{"per": "day", "calls": 2}]
    shown = run("agent", "advise", "reader", "--young")
    assert '-      "calls": 20' in shown.stdout
    assert "young" in run("agent", "advise", "reader").stdout
    assert run("agent", "advise", "reader", "--since", "soon").code == 2
