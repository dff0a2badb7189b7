"""The command line on countable rules: drafted from a document, corrected, signed off, met, and ended."""

from pathlib import Path

from tests.cli.program import Run, write
from tests.cli.steps import decide, ok, working

RULES = """kind: Rule
name: mail-once
says: A mail is read once.
tools: [files/read]
per: organisation
once: {by: [/id]}
---
kind: Rule
name: two-calls
says: At most two calls.
tools: [files/read]
per: session
limit: {calls: 2}
"""


def test_a_rule_is_applied_met_shown_and_revoked(run: Run, home: Path, tmp_path: Path) -> None:
    session, env = working(run, tmp_path)
    assert run("rule", "apply", write(tmp_path / "rules.yaml", RULES)).code == 0
    assert decide(run, session, env, "c-1", '{"id": "a-1"}').code == 0
    refused = decide(run, session, env, "c-2", '{"id": "A 1"}')
    assert refused.code == 1
    assert [(one["code"], one["rule"]) for one in refused.json()["reasons"]] == [("rule.once", "mail-once")]
    assert decide(run, session, env, "c-3", '{"id": "b"}').code == 0
    third = decide(run, session, env, "c-4", '{"id": "c"}')
    assert [(one["code"], one["rule"]) for one in third.json()["reasons"]] == [("rule.exceeded", "two-calls")]
    assert "mail-once" in run("rule", "list").stdout
    assert ok(run("rule", "show", "mail-once", "--json"), "Rule")["once"] == {"by": ["/id"]}
    assert ok(run("rule", "revoke", "two-calls", "--json"), "Rule")["state"] == "revoked"
    assert decide(run, session, env, "c-5", '{"id": "c"}').code == 0
    assert run("rule", "revoke", "two-calls").code == 5
    assert run("rule", "show", "nothing").code == 3
    wrong = write(tmp_path / "wrong.yaml", RULES.replace("once: {by: [/id]}", "once: {by: [/id], twice: true}"))
    assert run("rule", "apply", wrong).code == 2


def test_a_draft_names_lines_and_every_sentence_that_became_no_rule(run: Run, home: Path, tmp_path: Path) -> None:
    working(run, tmp_path)
    document = write(tmp_path / "policy.txt", "Be kind.\nAt most 5 calls of files/read are made per day.\n")
    answer = run("rule", "draft", document)
    assert answer.code == 1
    assert "Be kind." in answer.stdout
    found = run("rule", "draft", document, "--json").json()
    assert [(one["line"], "why" in one) for one in found["sentences"]] == [(1, True), (2, False)]
    assert run("rule", "apply", write(tmp_path / "drafted.yaml", found["file"])).code == 0
    write(tmp_path / "policy.txt", "At most 5 calls of files/read are made per day.\n")
    assert run("rule", "draft", document).code == 0, "nothing is left over"
    assert run("rule", "draft", str(tmp_path / "none.txt")).code == 3
