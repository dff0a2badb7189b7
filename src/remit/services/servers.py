"""Servers: upstreams are added by administrators, and their credentials go in here and never come back out to people.

A stored credential is sealed for this organization, server and place, so a row copied elsewhere opens nothing. Only
the gateway asks for the opened values (``secrets_of``), at the moment it connects.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ports import Unit
from remit.core.servers import HttpTransport, InjectedSecret, Server, StdioTransport
from remit.guards.secrets import SHORTEST
from remit.services import observing
from remit.services.deps import Deps, require
from remit.services.documents import Document, committed, read_server, server_document
from remit.services.registry import find, prove, require_reader
from remit.tokens.keys import is_private_key

Place: TypeAlias = Literal["header", "env", "tls"]

VAULT: Final = "vault:"
RESERVED: Final = "remit"
TLS_KEY: Final = InjectedSecret("tls", "key")
_MAX_SECRET: Final = 16 * 1024
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 section 5.6.2: a token
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# What the transport itself says; a credential under one of these names would change the protocol or be overwritten.
_PROTOCOL_HEADERS: Final = frozenset(
    {
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "mcp-protocol-version",
        "mcp-session-id",
        "transfer-encoding",
    }
)


@dataclass(frozen=True, slots=True)
class OpenedSecrets:
    """What to inject into one upstream: request headers and a certificate's key, or a child's whole environment.

    Never shown, not by repr.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    key: str | None = field(default=None, repr=False)


async def add(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A new server, by an administrator. Nothing is contacted: its tools come with the first sync.

    Raises ``Forbidden``, ``InvalidDocument``, ``NameTaken``.
    """
    require(caller, "administrator")
    now = deps.clock.now()
    server = read_server(document, org=deps.org, id=deps.new_id("srv"), created=now)
    if server.name == RESERVED:
        raise InvalidDocument(f"{RESERVED} is the name of this server's own tools", pointer="/name")
    observing.check_end(server, now)
    async with deps.store.unit(deps.org) as unit:
        await unit.nouns.add(server)
        await unit.log.append(_event(Kind.SERVER_ADDED, caller, server, private=committed(document)))
        await observing.note(unit, caller, None, server)
    return server_document(server)


async def change(deps: Deps, caller: PersonCaller, named: str, document: Document) -> dict[str, Json]:
    """The record of a server as another file has it, whole, by an administrator; what is in neither file stays.

    Its name and the kind of its transport stay too, and its pins, so what answers at another address is compared with
    what was agreed to. Raises ``InvalidDocument``, ``WrongState``.
    """
    require(caller, "administrator")
    now = deps.clock.now()
    wanted = read_server(document, org=deps.org, id=deps.new_id("srv"), created=now)
    observing.check_end(wanted, now)
    async with deps.store.unit(deps.org) as unit:
        server = await _active(unit, named)
        if wanted.name != server.name:
            raise InvalidDocument(f"the file is of server {wanted.name!r}", pointer="/name")
        if type(wanted.transport) is not type(server.transport):
            raise InvalidDocument("a server keeps the kind of its transport", hint="Add another server.")
        changed = replace(
            wanted, id=server.id, created=server.created, secrets=server.secrets, pinned=server.pinned, seen=server.seen
        )
        if changed != server:
            await unit.nouns.replace(changed)
            await prove(unit)
            await unit.log.append(_event(Kind.SERVER_CHANGED, caller, changed, private=committed(document)))
            await observing.note(unit, caller, server, changed)
    return server_document(changed)


async def retire(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """End a server for good, by an administrator: its tools are there for nobody, its credentials are overwritten.

    Raises ``WrongState``, and ``InvalidPolicy`` where an operator's policy still names it.
    """
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        server = await _active(unit, named)
        for secret in server.secrets:
            await unit.secrets.put(_row(server, secret), b"")
        retired = replace(server, state="retired", secrets=())
        await unit.nouns.replace(retired)
        await prove(unit)
        await unit.log.append(_event(Kind.SERVER_RETIRED, caller, retired))
        return server_document(retired)


async def approve(deps: Deps, caller: PersonCaller, named: str, fingerprint: str) -> dict[str, Json]:
    """Agree to a server as it was last seen, by an administrator. Raises ``WrongState`` when that is another one."""
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        server = await _active(unit, named)
        if server.seen is None or server.seen != fingerprint:
            raise WrongState(f"server {server.name} was last seen as {server.seen or 'nothing yet'}")
        agreed = replace(server, pinned=server.seen)
        if agreed != server:
            await unit.nouns.replace(agreed)
            await unit.log.append(_event(Kind.SERVER_APPROVED, caller, agreed, fingerprint=agreed.pinned))
        return server_document(agreed)


async def store_secret(
    deps: Deps, caller: PersonCaller, named: str, place: Place, name: str, value: str
) -> dict[str, Json]:
    """Keep a credential that is injected upstream, over an older one of that place. By an administrator.

    Raises ``InvalidDocument`` for a name or value that can't stand in that place, or a place the server has not.
    """
    require(caller, "administrator")
    secret = _checked(place, name, value)
    async with deps.store.unit(deps.org) as unit:
        server = await _active(unit, named)
        if not _takes(server, place):
            raise InvalidDocument(f"server {server.name} takes no {place} secret", pointer="/secret")
        sealed = deps.box.seal(value.encode(), _aad(server, secret))
        await unit.secrets.put(_row(server, secret), sealed)
        if secret not in server.secrets:
            server = replace(server, secrets=(*server.secrets, secret))
        # Replaced also when only the value is new: connections made with the old one must not outlive it.
        await unit.nouns.replace(server)
        await unit.log.append(_event(Kind.SECRET_STORED, caller, server, private={"/place": f"{place}:{name}"}))
    return server_document(server)


async def secrets_of(deps: Deps, server: Server) -> OpenedSecrets:
    """The opened values for one connection, for the gateway alone. Raises ``NotFound`` for one never stored."""
    opened: dict[InjectedSecret, str] = {}
    async with deps.store.view(deps.org) as view:
        for secret in server.secrets:
            sealed = await view.secrets.get(_row(server, secret))
            if sealed:
                opened[secret] = deps.box.open(sealed, _aad(server, secret)).decode()
    if isinstance(server.transport, StdioTransport):
        return OpenedSecrets(env=_environment(server, server.transport, opened))
    headers = tuple((secret.name, value) for secret, value in opened.items() if secret.place == "header")
    return OpenedSecrets(headers=headers, key=opened.get(TLS_KEY))


async def get(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """One server by name or id. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        return server_document(await find(view, Server, named))


async def list_all(deps: Deps, caller: PersonCaller) -> tuple[dict[str, Json], ...]:
    """Every server, oldest first, retired ones included."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        return tuple(server_document(server) for server in await view.nouns.all(Server))


def _environment(
    server: Server, transport: StdioTransport, opened: Mapping[InjectedSecret, str]
) -> tuple[tuple[str, str], ...]:
    """The listed variables, with ``vault:NAME`` resolved, and the stored ones that the file does not mention."""
    stored = {secret.name: value for secret, value in opened.items() if secret.place == "env"}
    env, used = dict(transport.env), set()
    for name, value in transport.env:
        if value.startswith(VAULT):
            wanted = value.removeprefix(VAULT)
            if wanted not in stored:
                # An agent may be told this: not which variable.
                raise NotFound(
                    f"server {server.name} lacks a credential that its record names",
                    hint=f"`remit server show {server.name}` names it, `remit server secret` stores it.",
                )
            env[name] = stored[wanted]
            used.add(wanted)
    return tuple((env | {name: value for name, value in stored.items() if name not in used}).items())


async def _active(unit: Unit, named: str) -> Server:
    server = await find(unit, Server, named)
    if server.state != "active":
        raise WrongState(f"server {server.name} is retired")
    return server


def _takes(server: Server, place: Place) -> bool:
    transport = server.transport
    if place == "env":
        return isinstance(transport, StdioTransport)
    if not isinstance(transport, HttpTransport):
        return False
    return place == "header" or (transport.tls is not None and transport.tls.cert is not None)


def _checked(place: Place, name: str, value: str) -> InjectedSecret:
    if place == "tls":
        return _checked_key(name, value)
    pattern = _HEADER if place == "header" else _VARIABLE
    if pattern.fullmatch(name) is None or name.lower() in _PROTOCOL_HEADERS:
        raise InvalidDocument(f"{name!r} can't be the name of a {place} secret", pointer="/name")
    # RFC 9110 section 5.5: a field value holds no line break and no NUL; an environment value no NUL.
    forbidden = "\r\n\x00" if place == "header" else "\x00"
    if not value or len(value) > _MAX_SECRET or any(char in value for char in forbidden):
        raise InvalidDocument(f"the value can't stand in a {place}: it is empty, too long or has a line break")
    if len(value.encode()) < SHORTEST:
        raise InvalidDocument(f"a credential has {SHORTEST} bytes or more: a shorter one can't be told from other text")
    if place == "header" and not (value.isascii() and value == value.strip()):
        raise InvalidDocument("a header value is ASCII without blanks around it")
    return InjectedSecret(place, name)


def _checked_key(name: str, value: str) -> InjectedSecret:
    if name != TLS_KEY.name:
        raise InvalidDocument(f"{name!r} can't be the name of a tls secret: there is only tls:key", pointer="/name")
    if len(value) > _MAX_SECRET or not is_private_key(value.encode()):
        raise InvalidDocument(
            "that is no private key that can be used", hint="It is one key in PEM, without a passphrase."
        )
    return TLS_KEY


def _row(server: Server, secret: InjectedSecret) -> str:
    return f"{server.id}/{secret.place}:{secret.name}"


def _aad(server: Server, secret: InjectedSecret) -> bytes:
    """What a sealed credential is bound to, so that it opens nowhere else."""
    return f"{server.org}/{_row(server, secret)}".encode()


def _event(
    kind: Kind,
    caller: PersonCaller,
    server: Server,
    *,
    fingerprint: str | None = None,
    private: Mapping[str, Json] | None = None,
) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=caller.person.id,
        about=server.id,
        fingerprint=fingerprint,
        private=private or {},
    )
