"""Come in here for how people, agents, servers and grants are written in files and answers, and read back.

Pure functions both ways: ``read_*`` takes a parsed document (JSON or safe YAML) and the members that only Remit sets;
``*_document`` gives the form of INTERFACES section 7, with those members added. What one side writes, the other reads
back as the same noun. Names are looked up in a ``Directory``, a picture of who and what there is; documents carry the
names that people use, nouns the ids. Tool reviews have a file of their own, ``review_document.py``.
"""

import ipaddress
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from remit.core import amounts
from remit.core.agents import Agent, AgentMode
from remit.core.blueprints import Blueprint
from remit.core.canonical import Json
from remit.core.errors import InvalidDocument
from remit.core.grants import Grant, Limits, NamedTool, Per, ToolsByEffect, ToolSelector
from remit.core.people import Person, Role
from remit.core.ports import Unit
from remit.core.servers import CallerTransport, HttpTransport, Server, StdioTransport, Tls, Transport
from remit.core.times import HOUR, duration, from_text, seconds_to_text, to_text
from remit.core.tools import Effect
from remit.core.values import atom
from remit.guards.documents import check_document

Document = Mapping[str, Json]
CALLS: Final = "calls"
_HEAD: Final[dict[str, Json]] = {"apiVersion": "remit/v1"}


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """People, agents, servers and blueprints by id, retired ones included: old documents still name them."""

    people: Mapping[str, Person]
    agents: Mapping[str, Agent]
    servers: Mapping[str, Server]
    blueprints: Mapping[str, Blueprint] = field(default_factory=dict)

    def person(self, named: str, pointer: str) -> Person:
        """The person with this e-mail address or id; else ``InvalidDocument`` at ``pointer``."""
        found = self.people.get(named) or next((one for one in self.people.values() if one.email == named), None)
        if found is None:
            raise InvalidDocument(f"there is no person {named!r}", pointer=pointer)
        return found

    def agent(self, named: str, pointer: str) -> Agent:
        """The agent with this name or id; else ``InvalidDocument`` at ``pointer``."""
        return _lookup(self.agents, named, "agent", pointer)

    def server(self, named: str, pointer: str) -> Server:
        """The server with this name or id; else ``InvalidDocument`` at ``pointer``."""
        return _lookup(self.servers, named, "server", pointer)


async def directory(unit: Unit) -> Directory:
    """The directory as ``unit`` sees it."""
    return Directory(
        people={person.id: person for person in await unit.nouns.all(Person)},
        agents={agent.id: agent for agent in await unit.nouns.all(Agent)},
        servers={server.id: server for server in await unit.nouns.all(Server)},
        blueprints={blueprint.id: blueprint for blueprint in await unit.nouns.all(Blueprint)},
    )


def committed(document: Document) -> dict[str, Json]:
    """A document's members as private values of an event: each under its own pointer, so under a salt of its own."""
    return {f"/{name}": value for name, value in document.items() if name not in ("kind", "apiVersion")}


# People


def read_person(document: Document, *, org: str, id: str, created: int) -> Person:
    """A new, active person. Raises ``InvalidDocument``."""
    check_document("Person", document)
    return Person(
        org=org,
        id=id,
        email=str(document["email"]),
        name=str(document["name"]),
        roles=tuple(cast("Role", role) for role in texts(document["roles"])),
        state="active",
        created=created,
        identifiers=read_identifiers(document.get("identifiers")),
    )


def read_identifiers(value: Json) -> tuple[tuple[str, str], ...]:
    """What is a person's own, as type and value. Raises ``InvalidDocument`` for a value that its type can't hold."""
    found: list[tuple[str, str]] = []
    for at, one in enumerate(items(value)):
        kind, text = (str(one["type"]), str(one["value"])) if isinstance(one, Mapping) else ("", "")
        read = atom(kind, text)
        if read is None:
            raise InvalidDocument(f"{text!r} has no single reading as {kind}", pointer=f"/identifiers/{at}/value")
        found.append((kind, read.text))
    return tuple(dict.fromkeys(found))


def person_document(person: Person) -> dict[str, Json]:
    """The person as people read it."""
    own: list[Json] = [{"type": kind, "value": value} for kind, value in person.identifiers]
    identifiers: dict[str, Json] = {"identifiers": own} if own else {}
    return identifiers | {
        "kind": "Person",
        **_HEAD,
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "roles": list(person.roles),
        "state": person.state,
        "created_at": to_text(person.created),
    }


# Agents


def read_agent(document: Document, known: Directory, *, org: str, id: str, created: int) -> Agent:
    """A draft. The owner must exist; what else is missing, activation will ask for. Raises ``InvalidDocument``."""
    check_document("Agent", document)
    owner, deputy, purpose = (document.get(name) for name in ("owner", "deputy", "purpose"))
    if deputy is not None and (owner is None or known.person(str(deputy), "/deputy") == known.person(str(owner), "")):
        raise InvalidDocument("a deputy is another person than the owner", pointer="/deputy")
    return Agent(
        org=org,
        id=id,
        name=str(document["name"]),
        owner=known.person(str(owner), "/owner").id if owner is not None else None,
        deputy=known.person(str(deputy), "/deputy").id if deputy is not None else None,
        purpose=str(purpose) if purpose is not None else None,
        mode=cast("AgentMode", document.get("mode", "delegated")),
        state="draft",
        expires=_time(document, "expires"),
        review_by=_time(document, "review_by"),
        created=created,
    )


def agent_document(agent: Agent, known: Directory) -> dict[str, Json]:
    """The agent as people read it; members that it lacks are left out."""
    owner, deputy = (known.people.get(one) if one else None for one in (agent.owner, agent.deputy))
    optional: dict[str, Json] = {
        "owner": owner.email if owner else None,
        "deputy": deputy.email if deputy else None,
        "blueprint": known.blueprints[agent.blueprint].name if agent.blueprint else None,
        "blueprint_version": agent.blueprint_version or None,
        "model": agent.model,
        "purpose": agent.purpose,
        "expires": to_text(agent.expires) if agent.expires is not None else None,
        "review_by": to_text(agent.review_by) if agent.review_by is not None else None,
    }
    return {
        "kind": "Agent",
        **_HEAD,
        "id": agent.id,
        "name": agent.name,
        "mode": agent.mode,
        "state": agent.state,
        **{name: value for name, value in optional.items() if value is not None},
        "created_at": to_text(agent.created),
    }


# Servers


def read_server(document: Document, *, org: str, id: str, created: int) -> Server:
    """A new server. Raises ``InvalidDocument``, also for a command that is no absolute path, or a URL with a user."""
    check_document("Server", document)
    _refuse_tls(document)
    observe, timeout, concurrency = (document.get(name) for name in ("observe", "timeout", "concurrency"))
    return Server(
        org=org,
        id=id,
        name=str(document["name"]),
        transport=_transport(document),
        shared=document.get("shared") is True,
        operator=str(document.get("operator", "")),
        clearance=tuple(texts(document.get("clearance", ()))),
        allow_elicitation=document.get("allow_elicitation") is True,
        allow_sampling=document.get("allow_sampling") is True,
        timeout=_timeout(timeout) if timeout is not None else None,
        concurrency=concurrency if isinstance(concurrency, int) else None,
        observe_until=_time(observe, "until") if isinstance(observe, Mapping) else None,
        created=created,
    )


def server_document(server: Server) -> dict[str, Json]:
    """The server as people read it: where its secrets go, never what they are."""
    out: dict[str, Json] = {"kind": "Server", **_HEAD, "id": server.id, "name": server.name}
    match server.transport:
        case HttpTransport(url, tls, insecure):
            out["url"] = url
            if tls is not None:
                out["tls"] = {name: path for name, path in (("ca", tls.ca), ("cert", tls.cert)) if path is not None}
            if insecure:
                out["insecure"] = True
        case StdioTransport(command, args, env):
            out["stdio"] = {"command": command, "args": list(args), "env": dict(env)}
        case CallerTransport():
            out["caller"] = True
    out |= {
        "shared": server.shared,
        "operator": server.operator,
        "clearance": list(server.clearance),
        "allow_elicitation": server.allow_elicitation,
        "allow_sampling": server.allow_sampling,
        "secrets": [f"{secret.place}:{secret.name}" for secret in server.secrets],
        "state": "quarantined" if server.state == "active" and server.quarantined else server.state,
        "created_at": to_text(server.created),
    }
    optional: dict[str, Json] = {
        "pinned": server.pinned,
        "seen": server.seen,
        "timeout": seconds_to_text(server.timeout) if server.timeout is not None else None,
        "concurrency": server.concurrency,
        "observe": {"until": to_text(server.observe_until)} if server.observe_until is not None else None,
    }
    return out | {name: value for name, value in optional.items() if value is not None}


def _transport(document: Document) -> Transport:
    stdio = document.get("stdio")
    if isinstance(stdio, Mapping):
        command = str(stdio["command"])
        if not posixpath.isabs(command) or "\x00" in command:
            raise InvalidDocument("the command must be the absolute path of a program", pointer="/stdio/command")
        env = stdio.get("env", {})
        pairs = tuple((name, str(value)) for name, value in env.items()) if isinstance(env, Mapping) else ()
        return StdioTransport(command, tuple(texts(stdio.get("args", ()))), pairs)
    if "url" in document:
        return _http(document)
    return CallerTransport()


def _timeout(value: Json) -> int:
    found = duration(str(value), "/timeout")
    if found > HOUR:
        raise InvalidDocument("a call takes an hour at most", pointer="/timeout")
    return found


def _refuse_tls(document: Document) -> None:
    """What is said of a URL says nothing of a server that has none."""
    for name in ("tls", "insecure"):
        if name in document and "url" not in document:
            raise InvalidDocument(f"{name} goes with a url", pointer=f"/{name}")


def _http(document: Document) -> HttpTransport:
    """Raises ``InvalidDocument`` for a plain URL to somewhere else, unless the record says that it is meant."""
    url, tls, insecure = _url(str(document["url"])), document.get("tls"), document.get("insecure") is True
    if isinstance(tls, Mapping) and not url.startswith("https://"):
        raise InvalidDocument("tls goes with an https URL", pointer="/tls")
    if readable_on_the_way(url) and not insecure:
        raise InvalidDocument(
            "a plain http URL to another machine lets everyone on the way read and change every call",
            hint="Use https, or write insecure: true into the record if you accept that.",
            pointer="/url",
        )
    files = Tls(*(_absolute(tls, name) for name in ("ca", "cert"))) if isinstance(tls, Mapping) else None
    return HttpTransport(url, files, insecure)


def _absolute(tls: Mapping[str, Json], name: str) -> str | None:
    path = tls.get(name)
    if path is not None and (not posixpath.isabs(str(path)) or "\x00" in str(path)):
        raise InvalidDocument("a file of certificates is named by its absolute path", pointer=f"/tls/{name}")
    return None if path is None else str(path)


def readable_on_the_way(url: str) -> bool:
    """Whether what is sent to ``url`` leaves this machine in the clear. A host that can't be told is elsewhere."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    inner = getattr(address, "ipv4_mapped", None) or address
    return not inner.is_loopback


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise InvalidDocument(f"{url!r} is no URL", pointer="/url") from error
    # RFC 3986 section 3.2.1: a user part in a URL is shown, logged and sent on; credentials are stored as secrets.
    if not good or "@" in parts.netloc or parts.fragment:
        raise InvalidDocument("a server URL is http or https, without user, password and fragment", pointer="/url")
    return url


# Grants


def read_grant(
    document: Document, known: Directory, effects: Mapping[str, Effect], *, org: str, id: str, created: int
) -> Grant:
    """A new grant. ``effects`` are those of the approved tools by reference; a tool not among them is refused.

    Raises ``InvalidDocument``.
    """
    check_document("Grant", document)
    agent, person, when = document.get("agent"), document.get("person"), document.get("when")
    return Grant(
        org=org,
        id=id,
        agent=known.agent(str(agent), "/agent").id if agent is not None else None,
        person=known.person(str(person), "/person").id if person is not None else None,
        tools=tuple(
            read_selector(item, known, effects, f"/tools/{position}")
            for position, item in enumerate(items(document["tools"]))
        ),
        when=str(when) if when is not None else None,
        limits=read_limits(document.get("limits")),
        expires=from_text(str(document["expires"]), "/expires"),
        state="active",
        created=created,
    )


def grant_document(grant: Grant, known: Directory) -> dict[str, Json]:
    """The grant as people read it, with its id, by which it is revoked."""
    out: dict[str, Json] = {"kind": "Grant", **_HEAD, "id": grant.id}
    if grant.agent is not None:
        out["agent"] = known.agents[grant.agent].name
    if grant.person is not None:
        out["person"] = known.people[grant.person].email
    out["tools"] = [selector_document(selector, known) for selector in grant.tools]
    if grant.when is not None:
        out["when"] = grant.when
    if grant.limits:
        out["limits"] = limits_document(grant.limits)
    if grant.template is not None:
        out["template"] = grant.template
    return out | {
        "expires": to_text(grant.expires),
        "state": grant.state,
        "created_at": to_text(grant.created),
    }


def read_selector(item: Json, known: Directory, effects: Mapping[str, Effect], pointer: str) -> ToolSelector:
    """One granted tool, or tools by server and effect. Raises ``InvalidDocument`` for one that is not approved."""
    if isinstance(item, Mapping):
        server = known.server(str(item["server"]), f"{pointer}/server")
        wanted = tuple(cast("Effect", effect) for effect in texts(item["effects"]))
        return ToolsByEffect(server.id, wanted, item.get("future") is True)
    ref = str(item)
    if ref not in effects:
        raise InvalidDocument(
            f"{ref} is no approved tool", hint="`remit tool list` shows each tool's state.", pointer=pointer
        )
    return NamedTool(ref, effects[ref])


def selector_document(selector: ToolSelector, known: Directory) -> Json:
    """The same as people read it."""
    if isinstance(selector, NamedTool):
        return selector.ref
    out: dict[str, Json] = {"server": known.servers[selector.server].name, "effects": list(selector.effects)}
    return out | {"future": True} if selector.future else out


def limits_document(limits: Sequence[Limits]) -> list[Json]:
    """Ceilings as people read them."""
    return [{"per": one.per, **{name: _amount(name, amount) for name, amount in one.amounts.items()}} for one in limits]


def read_limits(value: Json) -> tuple[Limits, ...]:
    """One map of ceilings or a list of them, or none. Raises ``InvalidDocument``."""
    if value is None:
        return ()
    one = isinstance(value, Mapping)
    return tuple(
        _limit_map(item, "/limits" if one else f"/limits/{position}")
        for position, item in enumerate([value] if one else items(value))
        if isinstance(item, Mapping)
    )


def _limit_map(item: Mapping[str, Json], pointer: str) -> Limits:
    found = {name: amounts.ceiling(value, f"{pointer}/{name}") for name, value in item.items() if name != "per"}
    if found.get(CALLS, 0) % amounts.ONE:
        raise InvalidDocument("calls are counted whole", pointer=f"{pointer}/{CALLS}")
    return Limits(cast("Per", item["per"]), found)


def _amount(name: str, amount: int) -> Json:
    return amount // amounts.ONE if name == CALLS else amounts.to_text(amount)


# Shared


def items(value: Json) -> Sequence[Json]:
    """A list's items. The schema was checked before, so anything else is nothing."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def texts(value: Json) -> list[str]:
    """A list's items as text."""
    return [str(item) for item in items(value)]


def _time(document: Document, member: str) -> int | None:
    value = document.get(member)
    return from_text(str(value), f"/{member}") if value is not None else None


def _lookup(table: Mapping[str, N], named: str, what: str, pointer: str) -> N:
    found = table.get(named) or next((one for one in table.values() if one.name == named), None)
    if found is None:
        raise InvalidDocument(f"there is no {what} {named!r}", pointer=pointer)
    return found
