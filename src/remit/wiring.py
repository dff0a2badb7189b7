"""The one place that knows every concrete class: a home on disk becomes a running Remit, and how a home is made."""

import asyncio
import contextlib
import gc
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from remit.audit.checkpoint import Signer, signer_from_seed
from remit.core.canonical import Json
from remit.core.errors import (
    BadInput,
    Conflict,
    Forbidden,
    InternalError,
    InvalidDocument,
    StoreUnavailable,
    Unavailable,
)
from remit.core.events import EventDraft, Kind
from remit.core.ids import RANDOM_BYTES, new_id
from remit.core.ports import Clock, PayloadSealer
from remit.core.times import DAY
from remit.gateway.proxy import Gateway
from remit.gateway.servers import Servers
from remit.gateway.worker_door import WorkerDoor
from remit.gateway.workers import Workers
from remit.guards.json_in import JsonLimits
from remit.services import audit, keys, people, policies, reconcile, signing_in, token_keys
from remit.services.authority import AuthorityCache
from remit.services.deps import Deps
from remit.services.sealing import Sealer
from remit.settings import Settings
from remit.storage.homes import RESTORE, Home
from remit.storage.instances import Instance, alive
from remit.storage.sqlite import SqliteStore, create_store, open_store
from remit.storage.subject_keys import SubjectKeys
from remit.storage.token_keys import TokenKeyFiles
from remit.tokens.jwt import SessionTokens
from remit.tokens.keys import SecretBox, SigningKey
from remit.web.server import create_app

ORG: Final = "main"
DEFAULT_ISSUER: Final = "http://localhost:8765"
DEFAULT_PERSON: Final = "admin@localhost"
LAST_WORDS: Final = 10.0
"""Seconds beyond the longest upstream call that a request may still take when the process is told to stop."""


Parent: TypeAlias = Connection
"""A worker's end of the pipe to the process that keeps it: it can be read when that is gone."""
_Opened: TypeAlias = Callable[[Path, Clock, PayloadSealer], Awaitable[SqliteStore]]
T = TypeVar("T")

log = structlog.get_logger()

# New objects between two looks of the collector at the youngest; a call makes some hundreds that outlive it.
_YOUNG = 50_000


class SystemClock:
    """Wall time that never runs backwards within this process."""

    def __init__(self) -> None:
        """Starts at now."""
        self._last = 0

    def now(self) -> int:
        """Milliseconds UTC."""
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last


class SystemEntropy:
    """The operating system's randomness."""

    def bytes(self, count: int) -> bytes:
        """``count`` unpredictable bytes."""
        return os.urandom(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remit:
    """A running Remit: the whole ASGI application, and what its services were handed."""

    home: Home
    settings: Settings
    deps: Deps
    app: ASGIApp
    servers: Servers
    signer: Signer
    leave: Callable[[], None]


async def init_home(path: Path, person: str, issuer: str, name: str | None = None) -> dict[str, Json]:
    """Make a home: keys, store, genesis event, first person with every role and a local key, the shipped policies.

    The answer also holds a link that signs that person in to the pages, once, within a day.

    Raises ``Conflict`` when there is a home already, ``InvalidDocument`` for an issuer that is no http(s) origin.
    """
    parts = urlsplit(issuer)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise InvalidDocument(f"issuer {issuer!r} is not an origin such as {DEFAULT_ISSUER}")
    home = Home(path)
    if (path / "home.json").exists():
        raise Conflict(f"{path} is a Remit home already", hint="Use it, or choose another with --home.")
    if home.store.exists():
        raise Conflict(
            f"{path} holds a store but no home.json: it was lost, or the making of this home was cut short",
            hint="Restore home.json from your copy; if there never was one, remove the folder and make it anew.",
        )
    try:
        for folder in (path, home.keys, home.run, home.subjects, home.policies):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
    except OSError as error:
        raise BadInput(f"{path} can't be made a home: {error.strerror}", hint="Choose another with --home.") from error
    origin = f"{parts.netloc}/{ORG}"
    _write_new(home.keys / "token.pem", SigningKey.create().pem())
    _write_new(home.keys / "master.key", secrets.token_bytes(32))
    seed = secrets.token_bytes(32)
    _write_new(home.keys / "log.seed", seed)
    signer = signer_from_seed(origin, seed)
    _write_new(home.log_key, signer.verifier_key_text.encode() + b"\n")
    identity = {"issuer": issuer.rstrip("/"), "origin": origin}
    async with _deps(home, identity, create_store) as deps:
        founder = new_id("per", deps.clock.now(), deps.entropy.bytes(RANDOM_BYTES))
        async with deps.store.unit(deps.org) as unit:
            await unit.log.append(
                EventDraft(
                    kind=Kind.GENESIS, actor=founder, subject=founder, origin=origin, key=signer.verifier_key_text
                )
            )
        first = await people.found(deps, person, name or person, founder)
        made = await keys.create_person_key(deps, first)
        _write_new(home.person_key, made.encode() + b"\n")
        text = policies.shipped()
        _write_new(home.policies / "ask.cedar", text.encode())
        await policies.found(deps, first, (("ask.cedar", text),))
        entry = await signing_in.link(deps, first, DAY)
        await audit.sign_checkpoint(deps, signer)
    # Written last: a home whose making was cut short is no home.
    _write_new(path / "home.json", json.dumps(identity).encode())
    return {
        "home": str(path),
        "person": first.email,
        "person_key_file": str(home.person_key),
        "admin_link": f"{identity['issuer']}/sign-in#{entry}",
    }


@contextlib.asynccontextmanager
async def open_remit(path: Path, settings: Settings, workers: Workers | None = None) -> AsyncIterator[Remit]:
    """A Remit on an existing home. Several processes may hold one home at a time; ``workers`` know of each other."""
    home = Home(path)
    identity = home.identity()
    async with _deps(home, identity, open_store, settings) as deps:
        signer = _secret(home.keys / "log.seed", lambda seed: signer_from_seed(identity["origin"], seed))
        limits = JsonLimits(max_bytes=settings.max_body, max_depth=settings.max_depth)
        servers = Servers(deps, time.monotonic, settings.resync, settings.call_timeout, workers)
        gateway = Gateway(
            deps, servers, limits, settings.call_timeout, settings.listen, workers, plan_tool=settings.plan_tool
        )
        door = WorkerDoor(servers, gateway.give_up, deps.instance)
        api = create_app(
            deps,
            sync=servers.sync,
            check=servers.check,
            limits=limits,
            signer=signer,
            stopped=servers.stop_session,
            health=servers.health,
            rotate=partial(token_keys.rotate, deps, TokenKeyFiles(home.keys)),
        )
        remit = Remit(
            home=home,
            settings=settings,
            deps=deps,
            app=both_doors(gateway, api),
            servers=servers,
            signer=signer,
            leave=gateway.leave,
        )
        try:
            async with door.listening(workers) if workers is not None else contextlib.nullcontext():
                yield remit
        finally:
            await servers.aclose()
            with contextlib.suppress(Unavailable):
                await audit.sign_checkpoint(deps, signer)


async def serve(
    path: Path, settings: Settings, host: str, port: int, on_ready: Callable[[Mapping[str, Json]], None]
) -> None:
    """Run until a signal ends it; ``on_ready`` hears the address once it is listened on."""
    async with open_remit(path, settings) as remit:
        await _mark_lost(remit)
        _settle_memory()
        config = _config(remit, host, port)
        server = _Announcing(config, lambda url: on_ready(announce(remit.home, url)), remit.leave)
        try:
            async with chores(remit):
                await server.serve()
        finally:
            renounce(remit.home)
    if not server.started:
        raise Unavailable(f"{host}:{port} can't be listened on", hint="Another program has the port; choose --port.")


async def work(
    path: Path,
    settings: Settings,
    workers: Workers,
    listener: socket.socket,
    parent: Parent,
    on_ready: Callable[[], None],
) -> None:
    """Be one of several workers, at a socket that they share, until a signal ends it or the parent is gone."""
    async with open_remit(path, settings, workers) as remit:
        await _mark_lost(remit)
        _settle_memory()
        server = _Announcing(_config(remit), lambda _: on_ready(), remit.leave)

        def orphaned() -> None:
            asyncio.get_running_loop().remove_reader(parent.fileno())
            server.should_exit = True

        asyncio.get_running_loop().add_reader(parent.fileno(), orphaned)
        async with chores(remit):
            await server.serve([listener])


def _settle_memory() -> None:
    """Have the collector of cycles pass over what is there from the start, and look less often.

    A registry of a thousand agents is some hundred thousand objects that stay, and a call leaves few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)


async def _mark_lost(remit: Remit) -> None:
    lost = await reconcile.sweep(remit.deps, lambda name: alive(remit.home.run, name))
    if lost:
        log.warning("calls.unknown", count=len(lost), see="remit audit unknown")


def _config(remit: Remit, host: str = "", port: int = 0) -> uvicorn.Config:
    return uvicorn.Config(
        remit.app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        # A call under way may end; what comes to no end does not keep the process.
        timeout_graceful_shutdown=int(remit.settings.call_timeout + LAST_WORDS),
    )


@contextlib.asynccontextmanager
async def chores(remit: Remit) -> AsyncIterator[None]:
    """What a Remit that stays open does now and then: mark lost calls, close dead sessions' children, sign."""
    running = [asyncio.create_task(_sweeping(remit)), asyncio.create_task(_signing(remit))]
    try:
        yield
    finally:
        for chore in running:
            chore.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class _Announcing(uvicorn.Server):
    """A uvicorn server that says where it listens, once it does, and that it is about to stop, before it waits."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[str], None], leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening
        self._leaving = leaving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as error:  # uvicorn ends the process when the port is taken
            raise Unavailable("the address can't be listened on", hint="Choose another --port.") from error
        if self.started:
            self._listening(address_of(self.config.host, self.servers[0].sockets[0]))


@contextlib.asynccontextmanager
async def _deps(
    home: Home, identity: Mapping[str, str], opened: _Opened, settings: Settings | None = None
) -> AsyncIterator[Deps]:
    clock, entropy = SystemClock(), SystemEntropy()
    sealer = Sealer(SubjectKeys(home.subjects, entropy), entropy)
    instance = Instance(home.run, f"i-{os.getpid()}-{entropy.bytes(6).hex()}")
    try:
        store = await opened(home.store, clock, sealer)
        try:
            issuer = identity["issuer"]
            yield Deps(
                org=ORG,
                issuer=issuer,
                instance=instance.name,
                store=store,
                clock=clock,
                entropy=entropy,
                sealer=sealer,
                tokens=_tokens(home, issuer),
                box=_secret(home.keys / "master.key", SecretBox),
                authority=AuthorityCache(),
                two_administrators=settings is not None and settings.two_administrators,
                trusted_proxies=tuple(map(str, settings.trusted_proxies)) if settings else (),
            )
        finally:
            await store.close()
    finally:
        instance.close()


def _tokens(home: Home, issuer: str) -> SessionTokens:
    """Tokens under the keys of a home. Raises ``StoreUnavailable``, ``Forbidden``."""
    known = token_keys.read_keys(TokenKeyFiles(home.keys))
    tokens = SessionTokens(known[0][1], issuer)
    tokens.take(known)
    return tokens


def both_doors(gateway: ASGIApp, api: ASGIApp) -> ASGIApp:
    """MCP below ``/mcp``, everything else to the API."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        door = gateway if scope["type"] == "http" and (path == "/mcp" or path.startswith("/mcp/")) else api
        await door(scope, receive, send)

    return app


def address_of(host: str, listener: socket.socket) -> str:
    """The address of a server that listens on ``host``, at whatever port it got."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def announce(home: Home, url: str) -> dict[str, Json]:
    """Say in ``run/server.json`` where this server is: a whole file or none."""
    facts: dict[str, Json] = {"url": url, "mcp": f"{url}/mcp", "pid": os.getpid(), "home": str(home.path)}
    fresh = home.run / f".server.{os.getpid()}"
    fresh.write_text(json.dumps(facts), encoding="utf-8")
    fresh.replace(home.run / "server.json")
    return facts


def renounce(home: Home) -> None:
    """Take back what ``announce`` said, unless another server of this home has said something since."""
    note = home.run / "server.json"
    with contextlib.suppress(OSError, ValueError):
        if json.loads(note.read_text(encoding="utf-8")).get("pid") == os.getpid():
            note.unlink(missing_ok=True)


async def _sweeping(remit: Remit) -> None:
    """Now and then: mark lost calls as unknown, and close what is open upstream for sessions that live no more."""
    while True:
        await asyncio.sleep(remit.settings.sweep)
        try:
            await reconcile.sweep(remit.deps, lambda name: alive(remit.home.run, name))
            await close_dead(remit.deps, remit.servers)
            await token_keys.keep(remit.deps, TokenKeyFiles(remit.home.keys), remit.settings.token_key_life * DAY)
        except Exception as error:
            # A chore that met the unexpected once must be there the next time; the log has the trace.
            log.exception("sweep.failed", cause=type(error).__name__)


async def close_dead(deps: Deps, servers: Servers) -> None:
    """Close upstream connections and children of sessions that were stopped anywhere, and those that idle."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        found = {name: await view.sessions.get(name) for name in servers.sessions()}
    for name, session in found.items():
        if session is None or not session.live(now):
            await servers.end_session(name)
    await servers.close_idle()


async def _signing(remit: Remit) -> None:
    """Sign the log's tree head when it has grown."""
    while True:
        await asyncio.sleep(remit.settings.checkpoint)
        try:
            await audit.sign_checkpoint(remit.deps, remit.signer)
        except Exception as error:
            log.exception("checkpoint.failed", cause=type(error).__name__)


def _write_new(path: Path, data: bytes) -> None:
    """A file of its own, for its owner only, on disk before this returns.

    What stands there, left by a making that was cut short or put there by somebody, is taken away and never written
    through: a symbolic link, or a file that others may read.
    """
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _secret(path: Path, parse: Callable[[bytes], T]) -> T:
    """What a key file of this home holds. Raises ``StoreUnavailable``; ``Forbidden`` for one that others may read."""
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be read: {error.strerror}", hint=RESTORE) from error
    if mode & 0o077:
        raise Forbidden(
            f"others may read the key in {path}", hint=f"chmod 600 {path}; if it has been seen, make a new home."
        )
    try:
        return parse(data)
    except (ValueError, InternalError) as error:
        raise StoreUnavailable(f"{path} holds no such key", hint=RESTORE) from error
