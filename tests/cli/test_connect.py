"""What a client is told holds no credential, leads to the gateway, and takes nothing away from what a file held."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remit.sdk.answers import read_json
from tests.cli.program import Run, served, write
from tests.cli.steps import ok, working

JSON_CLIENTS = {"claude-code": ".mcp.json", "cursor": ".cursor/mcp.json", "vscode": ".vscode/mcp.json"}
REFERENCES = {
    "claude-code": "${REMIT_SESSION_KEY}",
    "cursor": "${env:REMIT_SESSION_KEY}",
    "vscode": "${input:remit-session-key}",
}


def _entry(client: str, document: Any) -> Any:
    return document["servers" if client == "vscode" else "mcpServers"]["remit"]


@pytest.mark.parametrize("client", JSON_CLIENTS)
def test_each_client_is_told_the_gateway_and_where_its_key_stands(run: Run, client: str) -> None:
    answer = ok(run("connect", client, "--url", "https://remit.example.test/", "--json"))
    assert answer["client"] == client
    assert answer["file"] == JSON_CLIENTS[client]
    entry = _entry(client, json.loads(answer["content"]))
    assert entry["url"] == "https://remit.example.test/mcp"
    assert entry["headers"] == {"Authorization": f"Bearer {REFERENCES[client]}"}
    assert entry.get("type") == (None if client == "cursor" else "http")
    printed = run("connect", client, "--url", "https://remit.example.test")
    assert printed.stdout == answer["content"]
    assert "remit key create --agent NAME --for session --expires P30D" in printed.stderr
    assert "untrusted" in printed.stderr


def test_vs_code_asks_for_the_key_and_does_not_show_it(run: Run) -> None:
    [asked] = json.loads(run("connect", "vscode").stdout)["inputs"]
    assert (asked["type"], asked["id"], asked["password"]) == ("promptString", "remit-session-key", True)


def test_one_server_s_tools_are_found_under_its_name(run: Run) -> None:
    answer = run("connect", "cursor", "--server", "office")
    assert _entry("cursor", answer.json())["url"] == "http://127.0.0.1:8765/mcp/office"
    assert run("connect", "cursor", "--server", "../v1").code == 2


def test_the_address_is_the_given_one_else_the_running_server_s_else_the_settings(run: Run, home: Path) -> None:
    def url(*arguments: str, **env: str) -> str:
        return str(_entry("cursor", run("connect", "cursor", *arguments, env=env).json())["url"])

    assert url(REMIT_HOST="::1", REMIT_PORT="99") == "http://[::1]:99/mcp"
    assert run("connect", "cursor", env={"REMIT_PORT": "0"}).code == 3
    with served(home) as (facts, _):
        assert url() == facts["mcp"]
        assert url("--url", "http://10.0.0.1:1/base/mcp") == "http://10.0.0.1:1/base/mcp"


@pytest.mark.parametrize("client", [*JSON_CLIENTS, "python"])
def test_no_credential_is_printed_or_written(run: Run, home: Path, tmp_path: Path, client: str) -> None:
    person = (home / "keys" / "person.key").read_text().strip()
    env = {name: f"s3cr3t-{name}" for name in ("REMIT_SESSION_KEY", "REMIT_SESSION_TOKEN", "REMIT_HOST_KEY")}
    for more in ((), ("--json",), ("--write",)):
        answer = run("connect", client, *more, env=env)
        assert answer.code == 0, answer.stderr
        files = [path.read_text() for path in tmp_path.rglob("*") if path.suffix in {".json", ".py"}]
        for text in (answer.stdout, answer.stderr, *files):
            assert "s3cr3t" not in text
            assert person not in text
    assert "REMIT_SESSION_KEY" in answer.stderr or client == "vscode"


@pytest.mark.parametrize("client", JSON_CLIENTS)
def test_a_file_is_added_to_and_keeps_what_it_held(run: Run, tmp_path: Path, client: str) -> None:
    path = tmp_path / JSON_CLIENTS[client]
    path.parent.mkdir(exist_ok=True)
    held = """{"first": 1.50, "mcpServers": {"other": {"command": "x", "env": {"KEY": "theirs-é"}}},
        "servers": {"other": {}}, "inputs": [{"id": "other"}], "last": [1e2, null]}"""
    path.write_text(held)
    path.chmod(0o640)
    before: Any = read_json(held)
    answer = run("connect", client, "--write")
    assert answer.code == 0, answer.stderr
    assert answer.stdout == ""
    after: Any = read_json(path.read_text())
    assert list(after) == list(before)
    assert _entry(client, after)["url"] == "http://127.0.0.1:8765/mcp"
    part = "servers" if client == "vscode" else "mcpServers"
    del after[part]["remit"]
    if client == "vscode":
        assert after["inputs"].pop()["password"] is True
    assert after == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert "theirs" not in run("connect", client, "--write", "--json").stdout
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(f".{path.name}.")] == []


@pytest.mark.parametrize("client", [*JSON_CLIENTS, "python"])
def test_written_twice_it_is_the_same_and_another_entry_of_that_name_is_never_overwritten(
    run: Run, tmp_path: Path, client: str
) -> None:
    assert run("connect", client, "--write").code == 0
    path = tmp_path / JSON_CLIENTS.get(client, "remit_client.py")
    once = path.read_bytes()
    again = run("connect", client, "--write")
    assert again.code == 0
    assert "nothing was changed" in again.stderr
    assert path.read_bytes() == once
    other = run("connect", client, "--write", "--url", "https://elsewhere.example.test")
    assert other.code == 5
    assert path.read_bytes() == once
    if client in JSON_CLIENTS:
        assert run("connect", client, "--write", "--url", "https://elsewhere.example.test", "--name", "b").code == 0
        assert len(json.loads(path.read_text())["servers" if client == "vscode" else "mcpServers"]) == 2


def test_an_input_of_that_name_that_would_show_the_key_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    held = '{"inputs": [{"id": "remit-session-key", "type": "promptString", "password": false}]}'
    path = write(tmp_path / ".vscode" / "mcp.json", held)
    assert run("connect", "vscode", "--write").code == 5
    assert Path(path).read_text() == held


@pytest.mark.parametrize(
    "held",
    ["", "// mine\n{}", '{"a": 1,}', '{"a": 1, "a": 2}', "[]", '{"mcpServers": []}', '{"mcpServers": {}', "\xff"],
)
def test_a_file_that_is_not_strict_json_is_left_as_it_is(run: Run, tmp_path: Path, held: str) -> None:
    path = tmp_path / ".mcp.json"
    path.write_bytes(held.encode("latin-1"))
    answer = run("connect", "claude-code", "--write")
    assert answer.code == 2
    assert path.read_bytes() == held.encode("latin-1")


def test_a_link_or_a_folder_that_is_a_file_is_not_written_through(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    (tmp_path / ".mcp.json").symlink_to(elsewhere)
    assert run("connect", "claude-code", "--write").code == 2
    assert elsewhere.read_text() == "{}"
    (tmp_path / ".cursor").write_text("")
    assert run("connect", "cursor", "--write").code == 2


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a", "http://", "http://a:b@c", "http://a?b", "http://${REMIT_SESSION_KEY}", 'http://a"b']
)
def test_an_address_that_is_none_is_refused(run: Run, url: str) -> None:
    assert run("connect", "python", "--url", url).code == 2


def test_a_client_or_a_name_that_there_is_not_is_wrong_usage(run: Run) -> None:
    assert run("connect", "emacs").code == 2
    assert run("connect", "cursor", "--name", "a b").code == 2


def test_plain_http_to_another_machine_is_warned_of(run: Run) -> None:
    assert "on the way" in run("connect", "cursor", "--url", "http://remit.example.test").stderr
    assert "on the way" not in run("connect", "cursor", "--url", "https://remit.example.test").stderr


def test_the_python_program_lists_the_tools_of_a_served_remit(run: Run, home: Path, tmp_path: Path) -> None:
    working(run, tmp_path)
    key = ok(run("key", "create", "--agent", "reader", "--for", "session", "--expires", "P1D", "--json"), "Key")

    def listed(secret: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "REMIT_SESSION_KEY": secret}
        program = [sys.executable, str(tmp_path / "remit_client.py")]
        return subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=False)

    with served(home):
        assert run("connect", "python", "--write").code == 0
        found = listed(key["secret"])
        assert found.stdout == "files__read\n", found.stderr
        assert listed("remit_s_x").returncode != 0  # the control: without the key there is no list
