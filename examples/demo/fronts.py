"""What stands before the servers: Remit, or in the negative control a raw pass-through that checks nothing."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from ruamel.yaml import YAML

from examples.demo.stage import BIN, ROOT, Stage, end
from examples.office import reviews as office_reviews

PERSON: Final = "ada@example.test"
AGENTS: Final = ("bookkeeper", "intern")
EXPIRES: Final = "2027-06-30T00:00:00.000Z"
REVIEWS: Final = Path(__file__).parent / "reviews"


class Front(Protocol):
    """What the agent's program and the person can do. A pass-through answers most of it with nothing."""

    mcp: str

    def token(self, agent: str, task: str) -> str:
        """What the agent named ``agent`` holds while it works on ``task``."""

    def approve(self) -> str:
        """The person says yes to the one waiting question; what was shown, in a line."""

    def start_session_with(self, token: str) -> str:
        """Try to start a session with a session token: the new token, or the old one if that was refused."""

    def retire(self, agent: str) -> None:
        """Retire an agent."""


@dataclass
class Passthrough:
    """No Remit: whoever connects may do anything."""

    stage: Stage
    mcp: str = ""
    said: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start the pass-through on the three servers."""
        environment = self.stage.child_environment()
        targets = {
            "office": {"url": self.stage.office_url},
            "git": {
                "command": str(BIN / "mcp-server-git"),
                "args": ["--repository", str(self.stage.repository)],
                "env": environment,
            },
            "time": {"command": str(BIN / "mcp-server-time"), "args": [], "env": {}},
        }
        file = self.stage.folder / "targets.json"
        file.write_text(json.dumps(targets))
        command = [sys.executable, str(ROOT / "bench" / "passthrough.py"), str(file)]
        self.mcp = _started(self.stage, command, "passthrough")["mcp"]

    def token(self, agent: str, task: str) -> str:
        """Nobody asks for one."""
        return f"none-{agent}-{len(task)}"

    def approve(self) -> str:
        """Nobody was asked."""
        return "nobody was asked"

    def start_session_with(self, token: str) -> str:
        """There are no sessions to start."""
        return token

    def retire(self, agent: str) -> None:
        """There are no agents to retire."""
        self.said.append(f"{agent} can't be retired here")


@dataclass
class Governed:
    """Remit on an empty folder, set up with its own command line."""

    stage: Stage
    mcp: str = ""
    url: str = ""
    host_keys: dict[str, str] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """Remit's home."""
        return self.stage.folder / "remit"

    def start(self) -> None:
        """From nothing to two active agents."""
        self.remit("init", "--person", PERSON)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REMIT_")}
        command = [str(BIN / "remit"), "--home", str(self.home), "up", "--port", "0", "--json"]
        running = _started(self.stage, command, "remit", environment)
        self.url, self.mcp = running["url"], running["mcp"]
        self._servers()
        self._reviews()
        self._policies()
        self._agents()

    def token(self, agent: str, task: str) -> str:
        """The agent's host states the task and hands the agent a session token."""
        request = {
            "agent": agent,
            "principal": PERSON,
            "task": [{"text": task, "source": "principal"}],
            "context": "attested",
            "ttl": "PT10M",
        }
        answer = self._post("/v1/sessions", self.host_keys[agent], request)
        answer.raise_for_status()
        return str(answer.json()["token"])

    def approve(self) -> str:
        """The person looks at what is waiting and says yes."""
        waiting = self.remit("approval", "list", "--state", "pending")["items"]
        shown = self.remit("approval", "show", waiting[0]["approval"])
        self.remit("approval", "approve", waiting[0]["approval"])
        values = [f"{one['text']} as {one['type']}" for one in shown.get("values") or ()]
        return f"{shown['tool']} {json.dumps(shown['arguments'], sort_keys=True)} {', '.join(values)}"

    def start_session_with(self, token: str) -> str:
        """A session token presented where a host key belongs."""
        task = [{"text": "Pay whatever the price list says", "source": "principal"}]
        answer = self._post("/v1/sessions", token, {"agent": AGENTS[0], "principal": PERSON, "task": task})
        if answer.status_code == httpx.codes.CREATED:
            return str(answer.json()["token"])
        self.refused.append(answer.json())
        return token

    def retire(self, agent: str) -> None:
        """The person retires an agent."""
        self.remit("agent", "retire", agent)

    def remit(self, *arguments: str, value: str = "") -> Any:
        """Run the command line; its JSON answer."""
        command = [str(BIN / "remit"), "--home", str(self.home), "--json", *arguments]
        done = subprocess.run(command, input=value, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(
                f"remit {' '.join(arguments)} ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def _servers(self) -> None:
        git, clock = str(BIN / "mcp-server-git"), str(BIN / "mcp-server-time")
        env = [part for name, text in self.stage.child_environment().items() for part in ("--env", f"{name}={text}")]
        self.remit("server", "add", "office", "--url", self.stage.office_url, "--operator", "office")
        self.remit("server", "add", "git", *env, "--stdio", "--", git, "--repository", str(self.stage.repository))
        self.remit("server", "add", "time", "--stdio", "--", clock)

    def _reviews(self) -> None:
        """Read each server's own tool list; review the tools that are wanted, at the fingerprint that was seen."""
        files = []
        for server in ("office", "git", "time"):
            listed = self.remit("server", "sync", server)
            prints = {tool["tool"].partition("/")[2]: tool["fingerprint"] for tool in listed["tools"]}
            for file in sorted((office_reviews.FOLDER if server == "office" else REVIEWS).glob("*.yaml")):
                review = YAML(typ="safe", pure=True).load(file)
                if review["server"] == server:
                    made = self.stage.folder / f"review-{server}-{review['tool']}.json"
                    made.write_text(json.dumps({**review, "fingerprint": prints[review["tool"]]}))
                    files.append(str(made))
        self.remit("tool", "review", "apply", *files)

    def _policies(self) -> None:
        """Payments are small here: flow asks about the values that nothing vouches for, and limits bound the rest."""
        folder = self.stage.folder / "policies"
        folder.mkdir()
        text = (self.home / "policies" / "ask.cedar").read_text()
        (folder / "ask.cedar").write_text(text[text.index('@id("ask-destroy")') :])
        self.remit("policy", "apply", str(folder))

    def _agents(self) -> None:
        agents = [{**_AGENT, "kind": "Agent", "name": name} for name in AGENTS]
        grants = [{**grant, "kind": "Grant", "agent": name, "expires": EXPIRES} for name in AGENTS for grant in _GRANTS]
        self.remit("agent", "create", "-f", self._file("agents", agents))
        self.remit("grant", "apply", self._file("grants", grants))
        for name in AGENTS:
            self.remit("agent", "activate", name)
            made = self.remit("key", "create", "--agent", name, "--for", "host", "--expires", "P1D")
            self.host_keys[name] = made["secret"]

    def _file(self, name: str, documents: list[dict[str, Any]]) -> str:
        """Several documents in one YAML file."""
        file = self.stage.folder / f"{name}.yaml"
        file.write_text("\n---\n".join(json.dumps(document) for document in documents))
        return str(file)

    def _post(self, path: str, credential: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {credential}"}
        return httpx.post(self.url + path, json=body, headers=headers, trust_env=False, timeout=30)


_AGENT: Final = {
    "owner": PERSON,
    "purpose": "Pays approved supplier invoices and keeps the ledger",
    "mode": "delegated",
    "expires": EXPIRES,
}
_GRANTS: Final = (
    {"tools": [{"server": name, "effects": ["read"]} for name in ("office", "git", "time")]},
    {
        "tools": ["office/write_file", "office/send_mail", "git/git_add", "git/git_commit"],
        "limits": {"calls": 20, "per": "day"},
    },
    {
        "tools": ["office/pay_invoice"],
        "when": 'context.args.amount.lessThanOrEqual(decimal("1000.00"))',
        "limits": [{"eur": "100.00", "per": "call"}, {"calls": 20, "eur": "250.00", "per": "day"}],
    },
)


def _started(stage: Stage, command: list[str], name: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Start a program that says on its first line where it listens."""
    with (stage.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
    stage.processes.append(process)
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        end(process)
        text = (stage.folder / f"{name}.log").read_text(errors="replace")
        raise RuntimeError(f"{name} did not start: {text[-2000:]}")
    found: dict[str, str] = json.loads(line)
    return found
