"""A client's stdio carried to a Remit elsewhere: with no home here, and with the key going nowhere else."""

import asyncio
import json
import os
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from remit.tokens import apikeys
from tests.cli.fronts import Heard, Reply, front, passed_on, self_signed
from tests.cli.program import PROGRAM, Answer, Run, served
from tests.cli.steps import ok, working
from tests.cli.wrapping import Scene, wrapping

# Whole, and known to nobody.
A_KEY = apikeys.make("host", f"key_{'0' * 26}", bytes(apikeys.SECRET_BYTES)).text


def there(url: str, *more: str, agent: str = "reader", server: str = "child") -> list[str]:
    """The arguments of ``remit wrap`` for a server elsewhere."""
    return ["wrap", "--agent", agent, "--server", server, "--url", url, *more]


@dataclass(frozen=True)
class Far:
    """A served Remit with a server and an agent; and a machine that has no home."""

    scene: Scene
    url: str
    run: Run
    nowhere: Path

    @property
    def key(self) -> str:
        return self.scene.env["REMIT_HOST_KEY"]

    def arguments(self, *more: str, url: str | None = None, agent: str = "reader", server: str = "child") -> list[str]:
        return ["--home", str(self.nowhere), *there(url or self.url, *more, agent=agent, server=server)]

    def ended(self, *more: str, url: str | None = None, key: str | None = None, **env: str) -> Answer:
        """How it ended, where it did not come so far as to read its input."""
        given = {"REMIT_HOST_KEY": self.key if key is None else key, **env}
        answer = self.run(*self.arguments(*more, url=url), env=given)
        assert answer.stdout == ""
        assert "Traceback" not in answer.stderr
        assert self.key not in answer.stderr
        return answer


@pytest.fixture
def far(run: Run, home: Path, tmp_path: Path) -> Iterator[Far]:
    _, env = working(run, tmp_path)
    scene = Scene(run, home, env, tmp_path / "acts.txt")
    ok(run("server", "add", "child", "--stdio", "--json", "--", *scene.command), "Server")
    scene.remit("server", "sync", "child")
    scene.reviewed()
    with served(home) as (facts, _):
        yield Far(scene, facts["url"], run, tmp_path / "nowhere")


@pytest.mark.anyio
async def test_a_client_calls_through_the_remit_elsewhere_and_nothing_is_made_here(far: Far, tmp_path: Path) -> None:
    env = {**os.environ, "REMIT_HOST_KEY": far.key}
    started = StdioServerParameters(command=PROGRAM[0], args=[*PROGRAM[1:], *far.arguments()], env=env)
    said = tmp_path / "said.txt"
    with said.open("w") as errors:
        async with Client(stdio_client(started, errlog=errors)) as client:
            assert client.protocol_version == "2026-07-28"
            assert sorted(tool.name for tool in (await client.list_tools()).tools) == ["hang", "whoami"]
            assert not (await client.call_tool("whoami", {"id": "a"})).is_error
            refused = await client.call_tool("die", {})
            assert refused.is_error
            assert (refused.meta or {})["remit/decision"]["reasons"][0]["code"] == "tool.unknown"
    assert far.scene.acted() == ["whoami"]
    assert not far.nowhere.exists()
    start = said.read_text()
    [session] = {word.strip(",;.") for word in start.split() if word.startswith("ses_")}
    assert await asyncio.to_thread(far.scene.state, session) == "ended"
    assert far.url in start
    assert far.key not in start


def test_what_does_not_go_together_is_wrong_usage(far: Far) -> None:
    for arguments, words in (
        (far.arguments("--", "mcp-server-time"), "no program is started here"),
        (far.arguments(url="remit.example.test"), "not the address"),
        (far.arguments(url="https://user:word@remit.example.test"), "not the address"),
        (far.arguments(server="../v1"), "server"),
        ([*far.arguments()[:5], "--url", far.url], "--url needs --server"),
        (far.arguments()[:7], "no program is named"),
    ):
        answer = far.run(*arguments, env={"REMIT_HOST_KEY": far.key})
        assert answer.code == 2, (arguments, answer.stderr)
        assert words in answer.stderr
    assert far.run("wrap", "--help").stdout.count("--url") == 2


def test_a_credential_that_is_not_good_there_is_said_and_exits_4(far: Far) -> None:
    session = ok(far.run("session", "start", "--agent", "reader", "--json", env=far.scene.env), "SessionStarted")
    name, token = session["session"], session["token"]
    agent = far.scene.remit("agent", "list")["items"][0]["id"]
    stranger = "agt_" + "0" * 26
    assert far.ended(key="").code == 4
    assert far.ended(key=far.key[:-8] + "00000000").code == 4
    assert far.ended(key=far.scene.env["REMIT_SESSION_TOKEN"]).code == 4
    assert far.ended("--session", name, key="").code == 4
    by_name = far.ended("--session", name)
    assert by_name.code == 2
    assert agent in by_name.stderr
    for env in ({"key": far.key}, {"key": "", "REMIT_SESSION_TOKEN": token}):
        arguments = far.arguments("--session", name, agent=stranger)
        given = {"REMIT_HOST_KEY": env["key"], "REMIT_SESSION_TOKEN": env.get("REMIT_SESSION_TOKEN", "")}
        assert far.run(*arguments, env=given).code == 4
        with wrapping(far.scene, arguments=far.arguments("--session", name, agent=agent), **given) as wrapped:
            wrapped.call(1, "whoami")
            assert "isError" not in wrapped.answer()["result"]
    assert far.scene.state(name) == "active"
    far.scene.remit("session", "kill", name)
    assert far.ended("--session", name, key="", REMIT_SESSION_TOKEN=token).code == 2  # before anything is sent
    dead = far.run(*far.arguments("--session", name, agent=agent), env={"REMIT_SESSION_TOKEN": token})
    assert dead.code == 4
    assert far.scene.acted() == ["whoami", "whoami"]


@pytest.mark.claim("cli:key-goes-to-one-address")
def test_the_key_goes_to_no_other_machine_in_plain_text_and_to_no_certificate_that_is_not_trusted(
    far: Far, tmp_path: Path
) -> None:
    for url in ("http://remit.example.test", "http://192.0.2.1:8765", "http://[2001:db8::1]/mcp", "http://localhost."):
        answer = far.ended(url=url)
        assert answer.code == 2
        assert "https" in answer.stderr
    certificate = self_signed(tmp_path / "own.pem")
    with front(passed_on(far.url), certificate) as tls:
        refused = far.ended(url=tls.url)
        assert refused.code == 6
        assert "certificate of the server is not accepted" in refused.stderr
        assert "self-signed" in refused.stderr
        assert tls.heard == []
        elsewhere = tls.url.replace("127.0.0.1", "localhost")  # the certificate is of the address only
        assert far.ended(url=elsewhere, SSL_CERT_FILE=str(certificate)).code == 6
        assert tls.heard == []
        with wrapping(far.scene, arguments=far.arguments(url=tls.url), SSL_CERT_FILE=str(certificate)) as wrapped:
            wrapped.call(1, "whoami")
            assert "isError" not in wrapped.answer()["result"]
        assert far.scene.acted() == ["whoami"]
        tls.heard.clear()  # the control: who does not look at the certificate hands it the key
        _hand_over(tls.url, far.key, ssl._create_unverified_context())  # noqa: S323  # carelessness is what is shown
        assert tls.heard_of(far.key)
    plain = far.ended(url=far.url.replace("http:", "https:"))
    assert plain.code == 6
    assert "TLS" in plain.stderr


@pytest.mark.claim("cli:key-goes-to-one-address")
def test_the_key_follows_no_redirect_and_no_proxy_of_the_environment(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    with front(lambda _: (404, {}, b"")) as other:
        with front(lambda _: (302, {"location": f"{other.url}/v1/sessions"}, b"")) as one:
            answer = far.ended(url=one.url)
            assert answer.code == 6
            assert "redirect" in answer.stderr
            assert one.heard_of(far.key)
            assert not other.heard_of(far.key)
            _hand_over(one.url, far.key)  # the control: who follows it brings the key
            assert other.heard_of(far.key)
        other.heard.clear()
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, other.url)
        with wrapping(far.scene, arguments=far.arguments()) as wrapped:
            wrapped.ask(1)
            assert wrapped.answer()["id"] == 1
        assert other.heard == []
        monkeypatch.setenv("no_proxy", "")
        _hand_over(far.url, far.key)  # the control: who reads the environment tells the proxy
        assert other.heard_of(far.key)


def _hand_over(url: str, key: str, context: ssl.SSLContext | None = None) -> None:
    """Send the key as a careless program does."""
    request = urllib.request.Request(url, b"{}", {"Authorization": f"Bearer {key}"})  # noqa: S310  # http and https only
    # An opener of its own: the one that urllib keeps has read the environment before.
    careless = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    with pytest.raises(OSError, match="40"):
        careless.open(request, timeout=30)


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        ((401, {"content-type": "text/html"}, b"<html>"), 4, "something before it"),
        ((403, {"content-type": "text/html"}, b"<html>"), 4, "something before it"),
        ((404, {}, b""), 6, "404"),
        ((502, {}, b"<html>"), 6, "502"),
        ((200, {"content-type": "text/html"}, b"<html>"), 6, "not JSON"),
        ((200, {"content-type": "application/json"}, b"{}"), 6, "is no Remit"),
    ],
)
def test_what_is_no_remit_is_said_to_be_none(run: Run, reply: Reply, code: int, words: str) -> None:
    with front(lambda _: reply) as strange:
        answer = run(*there(strange.url), env={"REMIT_HOST_KEY": A_KEY})
    assert answer.stdout == ""
    assert answer.code == code, answer.stderr
    assert words in answer.stderr


def test_an_address_where_nobody_listens_exits_6(run: Run) -> None:
    with front(lambda _: (500, {}, b"")) as gone:
        url = gone.url
    answer = run(*there(url), env={"REMIT_HOST_KEY": A_KEY})
    assert answer.code == 6
    assert "did not answer" in answer.stderr


def test_a_server_that_is_not_there_is_noted_and_every_call_refused(far: Far) -> None:
    with wrapping(far.scene, arguments=far.arguments(server="absent")) as wrapped:
        assert "No tool of absent is there" in wrapped.stderr()
        wrapped.call(1, "whoami")
        assert "tool.unknown" in json.dumps(wrapped.answer())
    assert far.scene.acted() == []


def test_a_remit_that_goes_away_and_a_session_that_is_stopped_are_answers_and_no_end(far: Far) -> None:
    broken = False

    def said(heard: Heard) -> Reply:
        return (502, {}, b"<html>") if broken else passed_on(far.url)(heard)

    with front(said) as between, wrapping(far.scene, arguments=far.arguments(url=between.url)) as wrapped:
        broken = True
        wrapped.call(1, "whoami")
        assert "before it is sent again" in wrapped.answer()["error"]["message"]
        broken = False
        wrapped.call(2, "whoami")
        assert "isError" not in wrapped.answer()["result"]
        far.scene.remit("session", "kill", wrapped.session())
        wrapped.call(3, "whoami")
        assert wrapped.answer()["result"]["isError"]
        wrapped.process.send_signal(signal.SIGTERM)
        assert wrapped.process.wait(30) == 0
    assert far.scene.acted() == ["whoami"]


def test_an_event_stream_of_the_remit_elsewhere_becomes_lines(far: Far) -> None:
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}

    def streamed(heard: Heard) -> Reply:
        status, headers, body = passed_on(far.url)(heard)
        if b"tools/call" not in heard.body or "text/event-stream" not in heard.headers["accept"]:
            return status, headers, body
        text = f"event: message\ndata: {json.dumps(progress)}\n\n: wait\n\ndata: {body.decode()}\n\n"
        return status, {"content-type": "text/event-stream"}, text.encode()

    with front(streamed) as between, wrapping(far.scene, arguments=far.arguments(url=between.url)) as wrapped:
        wrapped.call(1, "whoami")
        assert wrapped.answer() == progress
        answer = wrapped.answer()
        assert answer["id"] == 1
        assert "isError" not in answer["result"]
