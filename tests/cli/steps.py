"""Come in here for the steps that the tests of the command line begin with: a server, its review, an agent that works."""

import sys
from pathlib import Path
from typing import Any

from remit.guards.documents import check_answer
from tests.cli.program import Answer, Run, write

SERVER = Path(__file__).parent / "hostile_server.py"
AGENT = """kind: Agent
name: reader
owner: ada@example.test
purpose: Reads records
mode: autonomous
expires: 2031-06-30T00:00:00.000Z
"""
GRANT = """kind: Grant
agent: reader
tools: [files/read]
limits: {calls: 20, per: day}
expires: 2031-01-31T00:00:00.000Z
"""
REVIEW = """kind: ToolReview
server: files
tool: read
fingerprint: FINGERPRINT
effect: EFFECT
arguments:
  /id: {role: reference, type: text}
  /limit: {role: free}
limits: [{name: calls, of: call}]
"""


def ok(answer: Answer, kind: str | None = None) -> Any:
    """The document that a command answered with ``--json``, held against its schema."""
    assert answer.code == 0, answer.stderr
    found = answer.json()
    if kind is not None:
        check_answer(kind, found)
    return found


def add_server(run: Run, *env: str) -> None:
    options = [part for item in env for part in ("--env", item)]
    ok(
        run(
            "server",
            "add",
            "files",
            "--stdio",
            *options,
            "--operator",
            "us",
            "--json",
            "--",
            sys.executable,
            str(SERVER),
        ),
        "Server",
    )


def reviewed(run: Run, tmp_path: Path, effect: str = "read") -> str:
    """Sync, then review what was found; its fingerprint."""
    [tool] = ok(run("server", "sync", "files", "--json"), "SyncAnswer")["tools"]
    text = REVIEW.replace("FINGERPRINT", tool["fingerprint"]).replace("EFFECT", effect)
    ok(run("tool", "review", "apply", write(tmp_path / "review.yaml", text), "--json"), "ToolReview")
    return str(tool["fingerprint"])


def working(run: Run, tmp_path: Path, effect: str = "read") -> tuple[str, dict[str, str]]:
    """An active agent with a session: the session's id, and the environment that holds its credentials."""
    add_server(run)
    reviewed(run, tmp_path, effect)
    ok(run("agent", "create", "-f", write(tmp_path / "agent.yaml", AGENT), "--json"), "Agent")
    ok(run("grant", "apply", write(tmp_path / "grant.yaml", GRANT), "--json"), "Grant")
    ok(run("agent", "activate", "reader", "--json"), "Agent")
    key = ok(run("key", "create", "--agent", "reader", "--for", "host", "--expires", "P1D", "--json"), "Key")
    env = {"REMIT_HOST_KEY": key["secret"]}
    started = ok(run("session", "start", "--agent", "reader", "--task", "Read it", "--json", env=env), "SessionStarted")
    return started["session"], {**env, "REMIT_SESSION_TOKEN": started["token"]}


def decide(run: Run, session: str, env: dict[str, str], call_id: str, arguments: str = '{"id": "a"}') -> Answer:
    return run(
        *(
            "decide",
            "--session",
            session,
            "--tool",
            "files/read",
            "--arguments",
            arguments,
            "--call-id",
            call_id,
            "--json",
        ),
        env=env,
    )
