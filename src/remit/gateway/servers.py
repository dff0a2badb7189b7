"""From a server record to a connection that is safe to forward to.

A connection is used only after what it lists and its identity were compared with the pins: when it is opened, when the
server says that its list changed, and at least every ``resync`` seconds. What differs goes into quarantine before the
next decision; a comparison never approves anything. Credentials are opened here, injected into the target, and known
to the close of a call so that they can be taken out of results.
"""

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import BadInput, InvalidDocument, NotFound, RemitError, UpstreamUnavailable
from remit.core.servers import CallerTransport, HttpTransport, Server, StdioTransport, Tls
from remit.core.times import SECOND
from remit.gateway import revisions
from remit.gateway.lanes import CONCURRENCY, Lane, Sources, Turn
from remit.gateway.program import program_of
from remit.gateway.upstream import (
    Connection,
    HttpTarget,
    NotSent,
    OutcomeUnknown,
    StdioTarget,
    Target,
    Unreached,
    UpstreamKey,
    Upstreams,
    list_surfaces,
    list_tools,
)
from remit.gateway.upstream_advice import advice
from remit.gateway.upstream_wire import TlsTarget
from remit.gateway.workers import Ended, Open, Workers, borrow
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.guards.secrets import SHORTEST, KnownSecrets, redact_known
from remit.services import servers, sync
from remit.services.deps import Deps, require
from remit.services.documents import readable_on_the_way
from remit.services.registry import find

CALL_TIMEOUT: Final = 60.0
LIST_TIMEOUT: Final = 60.0
_INSECURE: Final = "its URL is plain http to another machine, where everyone on the way can read and change every call"
_LIST_LIMITS: Final = JsonLimits(max_bytes=4_194_304, max_depth=64)
_LONG_WORD: Final = 16
_MOST_ENDED: Final = 4_096
"""Ended sessions that are remembered, so that nothing is opened for one by a caller who had just seen it alive."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A compared connection, the credentials that were injected into it, and what *it* lists: reference to fingerprint.

    One server may show each connection something else, and the registry keeps only what the last one showed.
    """

    key: UpstreamKey
    connection: Connection
    secrets: KnownSecrets | None
    listed: Mapping[str, str]
    lane: Lane
    timeout: float


class Servers:
    """The upstreams of one process, by server record."""

    def __init__(
        self,
        deps: Deps,
        now: Callable[[], float],
        resync: float,
        timeout: float = CALL_TIMEOUT,
        workers: Workers | None = None,
    ) -> None:
        """``now`` is a monotonic clock in seconds; ``resync`` and ``timeout``, of one call, are in the same unit.

        ``workers`` are those that serve this home together, if this process is one of several.
        """
        self._deps = deps
        self._now = now
        self._resync = resync
        self._timeout = timeout
        self._workers = workers
        self._bounded: set[str] = set()
        self._pool = Upstreams(now, on_list_changed=self._changed, borrow=self._borrow if workers else None)
        self._compared: dict[UpstreamKey, tuple[Connection, float, Mapping[str, str]]] = {}
        self._hints: dict[UpstreamKey, int] = {}
        self._readying: dict[UpstreamKey, tuple[Target, asyncio.Task[Ready | RemitError]]] = {}
        self._targets: dict[str, tuple[Server, Target, KnownSecrets | None]] = {}
        self._lanes: dict[str, Lane] = {}
        self._ended: dict[str, None] = {}
        self._sources = Sources(now, deps.clock.now, lambda: deps.entropy.bytes(1)[0] / 255)

    async def ready(self, server: Server, session: str) -> Ready:
        """The connection for this agent session. Raises ``UpstreamUnavailable``, of which ``NotSent`` is one."""
        if session in self._ended:
            raise NotSent("its session has ended")
        key = UpstreamKey(self._deps.org, server.id, server.id, None if server.shared else session)
        target, secrets = await self._target(server)
        connection, lane, timeout = self._pool.live(key, target), self._lane(server), self.timeout(server)
        if connection is not None and not self._stale(key, connection):
            lane.admit()
            return Ready(key, connection, secrets, self._compared[key][2], lane, timeout)
        return await self._shared(key, server, target, secrets, lane, timeout)

    def timeout(self, server: Server) -> float:
        """How many seconds a call of this server may take: its record narrows the setting."""
        return self._timeout if server.timeout is None else min(self._timeout, server.timeout / SECOND)

    async def _shared(
        self,
        key: UpstreamKey,
        server: Server,
        target: Target,
        secrets: KnownSecrets | None,
        lane: Lane,
        timeout: float,
    ) -> Ready:
        """One opening and comparing for all who come meanwhile; each waits for it no longer than a call may take."""
        under_way = self._readying.get(key)
        if under_way is None or under_way[0] != target:
            lane.admit()
            task = asyncio.get_running_loop().create_task(self._make_ready(key, server, target, secrets, lane, timeout))
            under_way = self._readying[key] = (target, task)
            task.add_done_callback(lambda done: self._made(key, done))
        try:
            # Shielded: one caller that goes away must not take the connection from the others.
            async with asyncio.timeout(timeout):
                outcome = await asyncio.shield(under_way[1])
        except TimeoutError:
            raise NotSent("the server was not ready in time", cause="hung") from None
        if isinstance(outcome, Ready):
            return outcome
        raise outcome.again() if isinstance(outcome, NotSent) else type(outcome)(outcome.detail, hint=outcome.hint)

    def _made(self, key: UpstreamKey, task: "asyncio.Task[Ready | RemitError]") -> None:
        under_way = self._readying.get(key)
        if under_way is not None and under_way[1] is task:
            del self._readying[key]

    async def _make_ready(
        self,
        key: UpstreamKey,
        server: Server,
        target: Target,
        secrets: KnownSecrets | None,
        lane: Lane,
        timeout: float,
    ) -> Ready | RemitError:
        """Open and compare. A failure is a value, since all who wait are to be told."""
        try:
            listed = await self._opened_and_compared(key, server, target, timeout)
        except OutcomeUnknown as error:
            # Of a list that was only to be read: nothing was acted on, and no call can be sent.
            silent = Unreached(f"its tool list did not come: {error.detail}", cause=error.cause)
            lane.failed(silent, unreached=True)
            return silent
        except NotSent as error:
            lane.failed(error, unreached=isinstance(error, Unreached))
            return error
        except RemitError as error:
            return error
        except asyncio.CancelledError:
            return NotSent("the gateway is shutting down")
        lane.succeeded()
        return Ready(key, listed[0], secrets, listed[1], lane, timeout)

    async def _opened_and_compared(
        self, key: UpstreamKey, server: Server, target: Target, timeout: float
    ) -> tuple[Connection, Mapping[str, str]]:
        connection = await self._pool.get(key, target)
        if not self._stale(key, connection):
            return connection, self._compared[key][2]
        hinted = self._hints.get(key, 0)
        try:
            listed = await self._compare(None, server, target, connection, timeout)
        except NotSent:
            # An old connection that the server has forgotten since; a fresh one was never tried.
            if connection.alive:
                raise
            connection = await self._pool.get(key, target)
            listed = await self._compare(None, server, target, connection, timeout)
        # A change that was hinted at while the list was being read may be missing from what was read.
        if self._hints.get(key, 0) == hinted:
            self._compared[key] = (connection, self._now(), _offered(listed))
        return connection, _offered(listed)

    def _lane(self, server: Server) -> Lane:
        lane = self._lanes.get(server.id)
        if lane is None:
            lane = self._lanes[server.id] = Lane(self._sources)
        lane.concurrency = server.concurrency or CONCURRENCY
        if (server.concurrency is not None) is not (server.id in self._bounded):
            self._bounded ^= {server.id}
            if self._workers is not None:
                # Its connections have other owners from now on.
                self._pool.forget(server.id)
        return lane

    def health(self, server: str) -> Json:
        """How the server with this id answered this process; None where it was never called."""
        lane = self._lanes.get(server)
        return None if lane is None else lane.document(self._pool.open_to(server), self._deps.instance)

    def distrust(self, ready: Ready) -> None:
        """Compare this connection again before its next use."""
        self._compared.pop(ready.key, None)

    def _stale(self, key: UpstreamKey, connection: Connection) -> bool:
        """Whether this connection's tools were not compared yet, or too long ago, or may have changed since."""
        compared = self._compared.get(key)
        return compared is None or compared[0] is not connection or self._now() - compared[1] >= self._resync

    async def sync(self, caller: PersonCaller, named: str) -> Json:
        """Read a server's own tool list on a fresh connection of nobody's session, for an administrator."""
        require(caller, "administrator")
        async with self._deps.store.view(self._deps.org) as view:
            server = await find(view, Server, named)
        target, _ = await self._target(server)
        key = UpstreamKey(self._deps.org, server.id, caller.person.id, f"sync-{caller.person.id}")
        try:
            connection = await self._pool.get(key, target)
            found = await self._compare(caller, server, target, connection)
            self._lane(server).succeeded()
            return found
        finally:
            await self._pool.close_session(f"sync-{caller.person.id}")

    async def check(self, caller: PersonCaller, named: str) -> Json:
        """Whether a server can be reached and lists its tools, on a fresh connection, for an administrator.

        Nothing is changed by it. What is wrong is an answer, with what to do about it; ``took_ms`` is in milliseconds.
        """
        require(caller, "administrator")
        async with self._deps.store.view(self._deps.org) as view:
            server = await find(view, Server, named)
        session, begun = f"check-{caller.person.id}", self._now()
        try:
            target, _ = await self._target(server)
            connection = await self._pool.get(UpstreamKey(self._deps.org, server.id, caller.person.id, session), target)
            listed = await list_tools(connection, self.timeout(server))
            await _identity(target, connection.server_info)
        except RemitError as error:
            found: dict[str, Json] = {"ok": False, "why": error.detail, "hint": advice(server, error)}
            if isinstance(error, NotSent) and error.last_words:
                found["last_words"] = list(error.last_words)
        else:
            self._lane(server).succeeded()  # a server that rests is called again at once
            found = {"ok": True, "tools": len(listed), "handshake": not connection.stateless}
        finally:
            await self._pool.close_session(session)
        if isinstance(server.transport, HttpTransport) and server.transport.insecure:
            found["warning"] = _INSECURE
        return {"server": server.name, **found, "took_ms": round((self._now() - begun) * 1_000)}

    # ---------------------------------------------------------------- among workers

    async def _borrow(self, key: UpstreamKey, target: Target) -> Connection | None:
        """The connection of ``key`` as its owner holds it; None where it is ours to open. Raises ``NotSent``."""
        workers, bounded = self._workers, key.server in self._bounded
        # What a person has looked into is opened where they asked, for them alone.
        if workers is None or key.owner != key.server or not (bounded or self._pool.keeps_state(target)):
            return None
        owner = workers.owner(key, bounded=bounded)
        if owner == workers.index:
            return None
        return await borrow(workers.socket(owner), Open(key, bounded), self._now, self._timeout)

    async def lend(self, key: UpstreamKey, *, bounded: bool) -> tuple[Connection, bool]:
        """The connection of ``key``, for another worker, and whether that may as well open one itself.

        Raises ``UpstreamUnavailable``, of which ``NotSent`` is one.
        """
        async with self._deps.store.view(self._deps.org) as view:
            server = (await self._deps.authority.current(view)).servers.get(key.server)
        if server is None:
            raise NotSent("its server is not registered any more")
        lane = self._lane(server)
        if bounded is not (key.server in self._bounded):
            raise NotSent("its record has just changed", hint="Nothing was acted on; call again.")
        lane.admit()
        target, _ = await self._target(server)
        connection = await self._pool.get(key, target)
        keeps_nothing = isinstance(target, HttpTarget) and connection.stateless
        return connection, keeps_nothing and not bounded

    def current(self, key: UpstreamKey) -> Connection | None:
        """The connection that ``key`` has here now."""
        return self._pool.current(key)

    def hints(self, key: UpstreamKey) -> int:
        """How often the server hinted, over this connection, that its list changed."""
        return self._hints.get(key, 0)

    def turn(self, server: str) -> Turn:
        """A call's time on the lane of the server with this id, whose connection was lent."""
        return self._lanes[server].turn()

    async def stop_session(self, session: str) -> None:
        """Close what was opened for one session, here and at every other worker."""
        await self.end_session(session)
        if self._workers is not None:
            await self._workers.tell(Ended(session))

    # ---------------------------------------------------------------- the end

    async def end_session(self, session: str) -> None:
        """Close what was opened here for one session, and open nothing for it any more."""
        self._ended.pop(session, None)
        self._ended[session] = None
        while len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        await self.close_session(session)

    async def close_session(self, session: str) -> None:
        """Close what was opened here for one session, which may go on and have it opened again."""
        await self._pool.close_session(session)
        for known in (self._compared, self._hints):
            for key in [key for key in known if key.session == session]:
                del known[key]

    def sessions(self) -> frozenset[str]:
        """The agent sessions for which something is, or was, open here."""
        known = (*self._pool.keys(), *self._compared, *self._readying, *self._hints)
        # What a person looks into is opened for them, and is no agent's.
        return frozenset(key.session for key in known if key.session is not None and key.owner == key.server)

    async def close_idle(self) -> None:
        """Close what nobody has used for long."""
        await self._pool.close_idle()

    async def aclose(self) -> None:
        """Close every connection."""
        readying = [task for _, task in self._readying.values()]
        for task in readying:
            task.cancel()
        await self._pool.aclose()
        await asyncio.gather(*readying, return_exceptions=True)

    def _changed(self, key: UpstreamKey) -> None:
        """A server hinted that its list changed: compare before the next use."""
        self._compared.pop(key, None)
        self._hints[key] = self._hints.get(key, 0) + 1

    async def _compare(
        self,
        caller: PersonCaller | None,
        server: Server,
        target: Target,
        connection: Connection,
        timeout: float = LIST_TIMEOUT,
    ) -> Json:
        definitions, beside = await list_tools(connection, timeout), await list_surfaces(connection, timeout)
        identity = await _identity(target, connection.server_info)
        _, secrets = await self._target(server)
        told = (*definitions, *(beside.templates or ()), *(beside.prompts or ()), as_json(identity))
        if secrets is not None and any(redact_known(one, secrets)[1] for one in told):
            # Taken out it would be another definition than the one that was reviewed.
            raise UpstreamUnavailable(
                f"what server {server.name} lists holds the credential that it is called with",
                hint="Replace the credential (`remit server secret`), and tell the server's operator.",
            )
        return await sync.sync(self._deps, caller, server.id, identity, definitions, beside)

    async def _target(self, server: Server) -> tuple[Target, KnownSecrets | None]:
        """Where a server is reached, and the credentials injected there.

        INVARIANT: a record is a new object after every registry change, and a stored credential is one. So the same
        object means the same credentials.
        """
        kept = self._targets.get(server.id)
        if kept is None or kept[0] is not server:
            kept = self._targets[server.id] = (server, *await self._open_target(server))
        return kept[1], kept[2]

    async def _open_target(self, server: Server) -> tuple[Target, KnownSecrets | None]:
        opened = await servers.secrets_of(self._deps, server)
        transport = server.transport
        plain = {value for _, value in transport.env} if isinstance(transport, StdioTransport) else set()
        values = {value for _, value in (*opened.headers, *opened.env)} - plain
        pieces = {piece.encode() for value in values for piece in (value, *_pieces(value))}
        pieces |= {line.encode() for line in (opened.key or "").splitlines() if not line.startswith("-----")}
        long = tuple(piece for piece in sorted(pieces) if len(piece) >= SHORTEST)
        secrets = KnownSecrets(long) if long else None
        match transport:
            case HttpTransport(url, tls, insecure):
                if readable_on_the_way(url) and not insecure:
                    raise NotSent(_INSECURE, hint="Its record must say https, or insecure: true.", cause="insecure")
                return HttpTarget(url, opened.headers, _tls(server, tls, opened.key)), secrets
            case StdioTransport(command, args, _):
                return StdioTarget(command, args, opened.env), secrets
            case CallerTransport():
                raise NotFound(f"server {server.name} has no upstream: its tools run in the caller's own process")


def _tls(server: Server, tls: Tls | None, key: str | None) -> TlsTarget | None:
    if tls is None:
        return None
    if tls.cert is not None and key is None:
        raise NotSent(
            f"server {server.name} has a client certificate and no stored key for it",
            hint=f"`remit server secret {server.name} tls:key < KEY.pem`.",
            cause="tls",
        )
    return TlsTarget(tls.ca, tls.cert, key or "")


def _offered(answer: Json) -> Mapping[str, str]:
    """The fingerprints that one comparison found on offer, by reference."""
    lines = answer.get("tools") if isinstance(answer, Mapping) else None
    return {
        str(line["tool"]): str(line["fingerprint"])
        for line in (lines if isinstance(lines, list) else [])
        if isinstance(line, Mapping) and line["state"] != "gone"
    }


def _pieces(value: str) -> Iterator[str]:
    """What of a credential is secret by itself: a token behind ``Bearer``, a password in ``Basic``, a line of a key."""
    # A short word of letters is more likely a scheme or a label than a secret.
    yield from (word for word in value.split() if len(word) >= _LONG_WORD or not word.isalpha())
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            pair = base64.b64decode(encoded, validate=True).decode()
            yield from (pair, pair.partition(":")[2])


async def _identity(target: Target, server_info: bytes) -> Json:
    """What a server is, beyond its tools: who it says it is, its instructions, and for a child the program itself."""
    try:
        info = parse(server_info, _LIST_LIMITS)
    except BadInput as error:
        raise UpstreamUnavailable("the server's initialize result is not strict JSON") from error
    if not isinstance(info, dict):
        raise InvalidDocument("the server's initialize result is not an object")
    identity: dict[str, Json] = {name: info[name] for name in ("serverInfo", "instructions") if name in info}
    if "supportedVersions" in info:
        # A server without handshake. That it is one is pinned with it: else it could be made to look like an older one.
        meta = info.get("_meta")
        identity["serverInfo"] = meta.get(revisions.SERVER) if isinstance(meta, Mapping) else None
        identity["revision"] = revisions.NEWEST
    if isinstance(target, StdioTarget):
        identity |= await asyncio.to_thread(program_of, target)
    return identity
