"""TLS towards a server: whose certificates are believed, who we say we are, and what each refusal tells."""

import contextlib
import gc
import os
import socket
import ssl
import stat
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
import uvloop

from remit.core.canonical import Json
from remit.core.errors import InvalidDocument, RemitError
from remit.gateway import upstream_reach
from remit.gateway.upstream import HttpTarget, Limits, NotSent, Result, Unreached, open_http
from remit.gateway.upstream_wire import TlsTarget
from remit.services import servers
from tests.gateway.certificates import Authority, Pair
from tests.services.world import World
from tests.simulators import HttpSimulator, Request, http, result
from tests.web.house import House, Upstream, open_house, text_of

pytestmark = pytest.mark.anyio
CALL = b'{"name":"x","arguments":{}}'
HELD = Limits(open_seconds=10, connect_seconds=3)


def clock() -> float:
    return 0.0


def ok(request: Request) -> bytes:
    return http(200, result(request.message, "done"))


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "other")


@asynccontextmanager
async def served(tls: ssl.SSLContext) -> AsyncIterator[HttpSimulator]:
    with anyio.fail_after(20):
        async with HttpSimulator(ok, tls=tls).serving() as server:
            yield server


async def reached(url: str, tls: TlsTarget | None) -> object:
    """One call over a connection opened for it."""
    connection = await open_http(HttpTarget(url, (("Authorization", "Bearer hunter2-hunter2"),), tls), HELD, clock)
    try:
        reply = await connection.call("tools/call", CALL, 10)
    finally:
        await connection.aclose()
    assert isinstance(reply, Result)
    return reply.raw


async def refused(url: str, tls: TlsTarget | None) -> NotSent:
    with pytest.raises(NotSent) as caught:
        await reached(url, tls)
    return caught.value


Served = Callable[[Authority, Authority], ssl.SSLContext]
BAD: dict[str, tuple[Served, str]] = {
    "expired": (lambda ours, _: ours.serving(ours.pair(days=-1)), "has expired"),
    "another host": (lambda ours, _: ours.serving(ours.pair("crm.example.test")), "for another host"),
    "another address": (lambda ours, _: ours.serving(ours.pair("127.0.0.2")), "for another host"),
    "another issuer": (lambda _, other: other.serving(), "issuer of the server's certificate is not known"),
}


@pytest.mark.claim("upstream:tls-checked")
@pytest.mark.parametrize("kind", BAD)
async def test_a_certificate_that_is_not_good_is_refused_before_a_byte_is_sent_and_says_what_to_do(
    ours: Authority, other: Authority, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, words = BAD[kind]
    async with served(context(ours, other)) as server:
        error = await refused(server.url, TlsTarget(ca=str(ours.ca)))
        assert isinstance(error, Unreached)
        assert words in error.detail
        assert error.hint != error.default_hint
        assert error.cause == "tls"
        assert server.requests == []

        # The control: with checking off, the same server gets the credential and the call.
        def blind(target: TlsTarget) -> ssl.SSLContext:
            made = upstream_reach.context(target)
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
            return made

        monkeypatch.setattr("remit.gateway.upstream_http.context", blind)
        assert await reached(server.url, TlsTarget(ca=str(ours.ca))) == b'"done"'
        assert server.requests[0].headers["authorization"] == "Bearer hunter2-hunter2"


@pytest.mark.claim("upstream:tls-checked")
async def test_a_named_authority_is_believed_and_only_it(ours: Authority) -> None:
    async with served(ours.serving()) as server:
        assert await reached(server.url, TlsTarget(ca=str(ours.ca))) == b'"done"'
        # What this machine believes does not know it.
        assert "issuer" in (await refused(server.url, None)).detail


async def test_a_server_that_speaks_no_tls_is_not_reached(ours: Authority) -> None:
    async with HttpSimulator(ok).serving() as server:
        limits = replace(HELD, connect_seconds=0.3)
        with pytest.raises(Unreached):
            await open_http(HttpTarget(server.url.replace("http:", "https:"), (), TlsTarget()), limits, clock)
    assert server.requests == []


# --------------------------------------------------------------------------------------------- our own certificate


@contextmanager
def says_why(context: ssl.SSLContext) -> Iterator[str]:
    """A server of plain sockets, whose refusal of a certificate arrives as an alert; asyncio's own cuts the line."""
    listening = socket.create_server(("127.0.0.1", 0))
    seen: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listening.accept()
                seen.append(plain)
                with contextlib.suppress(OSError):
                    context.wrap_socket(plain, server_side=True).recv(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for plain in seen:
            plain.close()
        thread.join(5)


def shown(ours: Authority, pair: Pair, name: str = "client") -> TlsTarget:
    return TlsTarget(str(ours.ca), str(ours.written(pair, name)), pair.key.decode())


@pytest.mark.claim("upstream:tls-checked")
async def test_a_client_certificate_opens_what_stays_closed_without_it(ours: Authority, other: Authority) -> None:
    async with served(ours.serving(clients=ours)) as server:
        assert await reached(server.url, shown(ours, ours.pair("remit"))) == b'"done"'
        calls = len(server.requests)
        for tls in (TlsTarget(str(ours.ca)), shown(ours, other.pair("remit"), "foreign")):
            error = await refused(server.url, tls)
            assert "certificate" in error.hint
        assert len(server.requests) == calls


@pytest.mark.claim("upstream:tls-checked")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
async def test_a_refusal_that_says_why_is_passed_on_in_words(
    ours: Authority, other: Authority, version: ssl.TLSVersion
) -> None:
    context = ours.serving(clients=ours)
    context.maximum_version = version
    with says_why(context) as url, anyio.fail_after(20):
        expired = await refused(url, shown(ours, ours.pair("remit", days=-1)))
        foreign = await refused(url, shown(ours, other.pair("remit"), "foreign"))
        missing = await refused(url, TlsTarget(str(ours.ca)))
    # A TLS 1.3 server may have closed before our request is written; then only the hint can tell.
    for error in (expired, foreign):
        assert "refused our client certificate" in error.detail or "client certificate" in error.hint
    assert "client certificate" in missing.detail + missing.hint or "TLS handshake" in missing.detail
    assert all(isinstance(error, NotSent) for error in (expired, foreign, missing))


async def test_files_that_can_not_be_used_are_told_apart(ours: Authority, other: Authority, tmp_path: Path) -> None:
    pair, key = ours.pair("remit"), other.pair("remit").key.decode()
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    good = shown(ours, pair)
    for tls, words in (
        (replace(good, ca=str(tmp_path / "none.pem")), "believes can't be read"),
        (replace(good, ca=str(empty)), "believes can't be read"),
        (replace(good, cert=str(empty)), "client certificate can't be read"),
        (replace(good, key=key), "its key is not the stored one"),
        (replace(good, key=""), "its key is not the stored one"),
    ):
        error = await refused("https://127.0.0.1:9/mcp", tls)
        assert words in error.detail
        assert str(tmp_path) not in error.detail + error.hint


async def test_a_certificate_that_was_renewed_on_disk_is_met_by_the_next_connection(ours: Authority) -> None:
    async with served(ours.serving(clients=ours)) as server:
        old, new = ours.pair("remit", days=-1), ours.pair("remit")
        tls = shown(ours, old)
        assert "certificate" in (await refused(server.url, tls)).hint
        ours.written(new, "client")
        assert await reached(server.url, replace(tls, key=new.key.decode())) == b'"done"'


# --------------------------------------------------------------------------------------------- where the key is kept


@pytest.mark.claim("credential:never-returned")
@pytest.mark.parametrize("in_memory", [True, False])
async def test_the_key_stands_in_no_file_but_the_one_that_the_library_reads(
    ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    met: list[tuple[str, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, cert: str, key: str, password: object) -> None:
        met.append((key, stat.S_IMODE(Path(key).stat().st_mode)))
        assert "PRIVATE KEY" in Path(key).read_text()
        load(self, cert, key, password)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    pair = ours.pair("remit")
    before = len(list(Path("/proc/self/fd").iterdir()))
    upstream_reach.context(shown(ours, pair))
    with pytest.raises(NotSent):
        upstream_reach.context(replace(shown(ours, pair), key="x PRIVATE KEY"))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(folder.iterdir()) == []
    assert [path.startswith("/proc/self/fd/") for path, _ in met] == [in_memory] * 2
    assert in_memory or all(mode == 0o600 for _, mode in met)
    assert not any(Path(path).exists() for path, _ in met)


def test_a_target_shows_no_key(ours: Authority) -> None:
    pair = ours.pair("remit")
    target = HttpTarget("https://h.test/", (), TlsTarget(str(ours.ca), "/c.pem", pair.key.decode()))
    assert "PRIVATE" not in repr(target)
    assert target != replace(target, tls=replace(target.tls or TlsTarget(), key="another"))


def test_it_works_the_same_on_the_loop_that_the_program_runs_on(ours: Authority) -> None:
    async def once() -> None:
        async with served(ours.serving(clients=ours)) as server:
            assert await reached(server.url, shown(ours, ours.pair("remit"))) == b'"done"'
            error = await refused(server.url, TlsTarget(str(ours.ca)))
            assert "certificate" in error.hint

    uvloop.run(once())


# --------------------------------------------------------------------------------------------- the record, end to end


@pytest.mark.claim("credential:never-returned")
async def test_a_governed_call_goes_over_a_client_certificate_whose_key_nobody_sees_again(
    world: World, ours: Authority
) -> None:
    pair = ours.pair("remit")
    upstream = Upstream()
    upstream.simulator.tls = ours.serving(clients=ours)
    lines = [line for line in pair.key.decode().splitlines() if not line.startswith("-----")]
    upstream.says(b'{"content":[{"type":"text","text":"stolen %s"}]}' % lines[1].encode())
    tls = {"ca": str(ours.ca), "cert": str(ours.written(pair, "client"))}
    async with open_house_over(world, upstream, tls, pair) as house:
        answer = await house.call("office__read_mail", {"id": "1"})
        assert text_of(answer).startswith("stolen ")
        assert lines[1] not in text_of(answer)
        shown_to_people = (await house.ask("GET", "/v1/servers/office", "viewer")).text
        assert "tls:key" in shown_to_people
        everything = shown_to_people + "".join(path.read_text("latin-1") for path in world.path.glob("remit.db*"))
        assert not any(line in everything for line in lines)


@asynccontextmanager
async def open_house_over(world: World, upstream: Upstream, tls: dict[str, str], pair: Pair) -> AsyncIterator[House]:
    """A house whose office is reached over TLS: the record and the key are there before its first sync."""
    add = servers.add

    async def with_tls(deps: object, caller: object, document: dict[str, object]) -> object:
        if document["name"] != "office":
            return await add(deps, caller, document)  # type: ignore[arg-type]  # passed on as they came
        await add(deps, caller, {**document, "tls": tls})  # type: ignore[arg-type,dict-item]  # the same
        return await servers.store_secret(world.deps, world.admin, "office", "tls", "key", pair.key.decode())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(servers, "add", with_tls)
        async with open_house(world, upstream) as house:
            yield house


@pytest.mark.claim("credential:never-returned")
async def test_a_stored_key_must_be_one_and_go_with_a_certificate(world: World, ours: Authority) -> None:
    pair, admin = ours.pair("remit"), world.admin
    record = {"kind": "Server", "name": "crm", "url": "https://127.0.0.1:9/mcp"}
    await servers.add(world.deps, admin, record)
    with pytest.raises(InvalidDocument, match="takes no tls secret"):
        await servers.store_secret(world.deps, admin, "crm", "tls", "key", pair.key.decode())
    changed: dict[str, Json] = {**record, "tls": {"cert": str(ours.written(pair, "client"))}}
    await servers.change(world.deps, admin, "crm", changed)
    for name, value in (("key", pair.cert.decode()), ("key", "hunter2-hunter2"), ("Key", pair.key.decode())):
        with pytest.raises(InvalidDocument) as caught:
            await servers.store_secret(world.deps, admin, "crm", "tls", name, value)
        assert value not in "".join(traceback.format_exception(caught.value))
    made = await servers.store_secret(world.deps, admin, "crm", "tls", "key", pair.key.decode())
    assert made["secrets"] == ["tls:key"]
    assert "PRIVATE" not in str(await world.leaves())


@pytest.mark.claim("upstream:tls-checked")
@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://localhost:1/", True),
        ("http://office.localhost/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]/", True),
        ("http://[::ffff:127.0.0.1]/", True),
        ("https://crm.example.test/", True),
        ("http://crm.example.test/", False),
        ("http://localhost.example.test/", False),
        ("http://127.0.0.1.example.test/", False),
        ("http://2130706433/", False),
        ("http://127.1/", False),
        ("http://0.0.0.0/", False),
        ("http://[::]/", False),
        ("http://10.0.0.1/", False),
    ],
)
async def test_plain_http_leaves_this_machine_only_when_the_record_says_so(world: World, url: str, fine: bool) -> None:
    document = {"kind": "Server", "name": "crm", "url": url}
    if not fine:
        with pytest.raises(InvalidDocument, match="everyone on the way"):
            await servers.add(world.deps, world.admin, document)
        document["insecure"] = True  # type: ignore[assignment]  # a boolean among texts
    made = await servers.add(world.deps, world.admin, document)
    assert made.get("insecure", False) is not fine


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://127.0.0.1/", "tls": {"ca": "/ca.pem"}},
        {"url": "https://h.test/", "tls": {"ca": "ca.pem"}},
        {"url": "https://h.test/", "tls": {}},
        {"url": "https://h.test/", "tls": {"key": "/key.pem"}},
        {"url": "https://h.test/", "tls": {"verify": False}},
        {"caller": True, "tls": {"ca": "/ca.pem"}},
        {"stdio": {"command": "/bin/true"}, "insecure": True},
    ],
)
async def test_a_record_can_not_say_less_than_that_certificates_are_checked(
    world: World, wrong: dict[str, object]
) -> None:
    with pytest.raises(RemitError):
        await servers.add(world.deps, world.admin, {"kind": "Server", "name": "crm", **wrong})  # type: ignore[dict-item]  # wrong on purpose
