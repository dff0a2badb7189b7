"""From a server record to a connection that is safe to forward to.

A connection is used only after what it lists and its identity were compared with the pins: when it is opened, when the
server says that its list changed, and at least every ``resync`` seconds. What differs goes into quarantine before the
next decision; a comparison never approves anything. Credentials are opened here, injected into the target, and known
to the close of a call so that they can be taken out of results.
"""

import asyncio
import base64
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import BadInput, InvalidDocument, NotFound, RemitError, UpstreamUnavailable
from remit.core.servers import CallerTransport, HttpTransport, Server, StdioTransport
from remit.gateway import revisions
from remit.gateway.upstream import (
    Connection,
    HttpTarget,
    NotSent,
    StdioTarget,
    Target,
    UpstreamKey,
    Upstreams,
    list_surfaces,
    list_tools,
)
from remit.guards.json_in import JsonLimits, parse
from remit.guards.secrets import SHORTEST, KnownSecrets
from remit.services import servers, sync
from remit.services.deps import Deps, require
from remit.services.registry import find

_LIST_LIMITS: Final = JsonLimits(max_bytes=4_194_304, max_depth=64)
_LONG_WORD: Final = 16
_INTERPRETER: Final = re.compile(r"(python|pypy)[0-9.]*|node|deno|bun|ruby|perl|php|(ba|da|z)?sh")


@dataclass(frozen=True, slots=True)
class Ready:
    """A compared connection, the credentials that were injected into it, and what *it* lists: reference to fingerprint.

    One server may show each connection something else, and the registry keeps only what the last one showed.
    """

    key: UpstreamKey
    connection: Connection
    secrets: KnownSecrets | None
    listed: Mapping[str, str]


class Servers:
    """The upstreams of one process, by server record."""

    def __init__(self, deps: Deps, now: Callable[[], float], resync: float) -> None:
        """``now`` is a monotonic clock in seconds; ``resync`` is in the same unit."""
        self._deps = deps
        self._now = now
        self._resync = resync
        self._pool = Upstreams(now, on_list_changed=self._changed)
        self._compared: dict[UpstreamKey, tuple[Connection, float, Mapping[str, str]]] = {}
        self._hints: dict[UpstreamKey, int] = {}
        self._turns: dict[UpstreamKey, asyncio.Lock] = {}
        self._targets: dict[str, tuple[Server, Target, KnownSecrets | None]] = {}

    async def ready(self, server: Server, session: str) -> Ready:
        """The connection for this agent session. Raises ``UpstreamUnavailable``, of which ``NotSent`` is one."""
        key = UpstreamKey(self._deps.org, server.id, server.id, None if server.shared else session)
        target, secrets = await self._target(server)
        async with self._turns.setdefault(key, asyncio.Lock()):
            connection = await self._pool.get(key, target)
            if not self._stale(key, connection):
                return Ready(key, connection, secrets, self._compared[key][2])
            hinted = self._hints.get(key, 0)
            try:
                listed = await self._compare(None, server, target, connection)
            except NotSent:
                # An old connection that the server has forgotten since; a fresh one was never tried.
                if connection.alive:
                    raise
                connection = await self._pool.get(key, target)
                listed = await self._compare(None, server, target, connection)
            # A change that was hinted at while the list was being read may be missing from what was read.
            if self._hints.get(key, 0) == hinted:
                self._compared[key] = (connection, self._now(), _offered(listed))
        return Ready(key, connection, secrets, _offered(listed))

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
            return await self._compare(caller, server, target, connection)
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
            listed = await list_tools(connection)
            await _identity(target, connection.server_info)
        except RemitError as error:
            found: dict[str, Json] = {"ok": False, "why": error.detail, "hint": error.hint}
        else:
            found = {"ok": True, "tools": len(listed), "handshake": not connection.stateless}
        finally:
            await self._pool.close_session(session)
        return {"server": server.name, **found, "took_ms": round((self._now() - begun) * 1_000)}

    async def end_session(self, session: str) -> None:
        """Close what was opened for one session."""
        await self._pool.close_session(session)
        for known in (self._compared, self._hints):
            for key in [key for key in known if key.session == session]:
                del known[key]
        for key in [key for key, turn in self._turns.items() if key.session == session and not turn.locked()]:
            del self._turns[key]

    def sessions(self) -> frozenset[str]:
        """The agent sessions for which something is, or was, open here."""
        return frozenset(key.session for key in (*self._compared, *self._turns) if key.session is not None)

    async def close_idle(self) -> None:
        """Close what nobody has used for long."""
        await self._pool.close_idle()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    def _changed(self, key: UpstreamKey) -> None:
        """A server hinted that its list changed: compare before the next use."""
        self._compared.pop(key, None)
        self._hints[key] = self._hints.get(key, 0) + 1

    async def _compare(
        self, caller: PersonCaller | None, server: Server, target: Target, connection: Connection
    ) -> Json:
        definitions, beside = await list_tools(connection), await list_surfaces(connection)
        identity = await _identity(target, connection.server_info)
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
        long = tuple(piece for piece in sorted(pieces) if len(piece) >= SHORTEST)
        secrets = KnownSecrets(long) if long else None
        match transport:
            case HttpTransport(url):
                return HttpTarget(url, opened.headers), secrets
            case StdioTransport(command, args, _):
                return StdioTarget(command, args, opened.env), secrets
            case CallerTransport():
                raise NotFound(f"server {server.name} has no upstream: its tools run in the caller's own process")


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
        identity["executable"] = await asyncio.to_thread(_executable, target.command)
        script = await asyncio.to_thread(_script, target)
        if script is not None:
            identity["script"] = script
    return identity


def _executable(command: str) -> Json:
    return _hashed(Path(command).resolve())


def _script(target: StdioTarget) -> Json:
    """What an interpreter runs: the first file that it is given. Other arguments may be data, which may change."""
    if _INTERPRETER.fullmatch(Path(target.command).name) is None:
        return None
    files = (Path(argument) for argument in target.args if not argument.startswith("-"))
    return next((_hashed(path.resolve()) for path in files if path.is_file()), None)


def _hashed(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UpstreamUnavailable("the server's program can't be read") from error
    return {"path": str(path), "sha256": content}
