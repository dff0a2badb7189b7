"""The command line on the life of agents: blueprints, reviews, what to look at, and a person who leaves."""

from pathlib import Path

from tests.cli.program import Run, write
from tests.cli.steps import decide, ok, working

BLUEPRINT = """kind: Blueprint
name: readers
owner: ada@example.test
purpose: Reads records
mode: autonomous
life: P7D
grants:
  - name: reading
    tools: [files/read]
    limits: {calls: 5, per: day}
"""
GRACE = "kind: Person\nemail: grace@example.test\nname: Grace\nroles: [owner]\n"


def test_an_instance_is_made_narrowed_and_retired_with_its_blueprint(run: Run, home: Path, tmp_path: Path) -> None:
    working(run, tmp_path)
    file = write(tmp_path / "blueprint.yaml", BLUEPRINT)
    assert ok(run("blueprint", "apply", file, "--json"), "Blueprint")["version"] == 1
    made = ok(run("agent", "create", "--blueprint", "readers", "--name", "reader-1", "--json"), "Agent")
    assert (made["state"], made["blueprint"]) == ("active", "readers")
    for wrong in (("--blueprint", "readers"), (), ("-f", file, "--name", "x")):
        assert run("agent", "create", *wrong).code == 2
    again = run("blueprint", "apply", write(tmp_path / "less.yaml", BLUEPRINT.replace("calls: 5", "calls: 2")))
    assert again.code == 0
    assert "taken from reader-1" in again.stderr
    assert "reader-1 hold no more than before" in again.stderr
    assert "readers" in run("blueprint", "list").stdout
    retired = ok(run("blueprint", "retire", "readers", "--json"), "Blueprint")
    assert (retired["state"], retired["stopped"]) == ("retired", ["reader-1"])
    assert ok(run("agent", "show", "reader-1", "--json"), "Agent")["state"] == "retired"
    assert run("blueprint", "retire", "readers").code == 5
    assert run("blueprint", "show", "nothing").code == 3
    assert run("blueprint", "apply", write(tmp_path / "bad.yaml", BLUEPRINT + "x: 1\n")).code == 2


def test_an_agent_whose_review_is_near_is_named_by_list_and_doctor_until_it_is_reviewed(
    run: Run, home: Path, tmp_path: Path
) -> None:
    session, env = working(run, tmp_path)
    ok(run("agent", "review", "reader", "--until", "P7D", "--note", "looked", "--json"), "Agent")
    assert [one["name"] for one in run("agent", "list", "--stale", "--json").json()["items"]] == ["reader"]
    doctor = run("doctor", "--json")
    assert doctor.code == 1
    assert [one["id"] for one in doctor.json()["checks"] if not one["ok"]] == ["agent:reader"]
    assert decide(run, session, env, "c-1", '{"id": "a"}').code == 0
    ok(run("agent", "review", "reader", "--json"), "Agent")
    assert run("doctor").code == 0
    assert run("agent", "list", "--orphans", "--stale", "--unused", "--json").json()["items"] == []


def test_a_person_departs_after_a_dry_run_and_what_they_leave_is_handed_on(
    run: Run, home: Path, tmp_path: Path
) -> None:
    working(run, tmp_path)
    ok(run("person", "add", "-f", write(tmp_path / "grace.yaml", GRACE), "--json"), "Person")
    agent = "kind: Agent\nname: hers\nowner: grace@example.test\n"
    ok(run("agent", "create", "-f", write(tmp_path / "hers.yaml", agent), "--json"), "Agent")
    would = ok(run("person", "depart", "grace@example.test", "--dry-run", "--json"), "Departed")
    assert (would["dry_run"], would["event"], [one["agent"] for one in would["agents"]]) == (True, None, ["hers"])
    assert run("agent", "list", "--orphans", "--json").json()["items"] == []
    did = ok(run("person", "depart", "grace@example.test", "--reason", "left", "--json"), "Departed")
    assert did["state"] == "departed"
    assert [one["name"] for one in run("agent", "list", "--orphans", "--json").json()["items"]] == ["hers"]
    shown = run("person", "depart", "grace@example.test", "--to", "ada@example.test")
    assert shown.code == 0
    assert "hers" in shown.stdout
    assert ok(run("agent", "show", "hers", "--json"), "Agent")["owner"] == "ada@example.test"
    assert run("person", "depart", "grace@example.test").code == 5
    assert run("person", "depart", "ada@example.test").code == 5
