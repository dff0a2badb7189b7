"""OAuth clients: registered by an administrator, each for one agent. There is no dynamic registration.

A client's secret ends, after a year at most, and is shown once. A retired client takes the sessions that it started
with it, and its name and id are never used again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.clients import Client, ClientAuth, ClientSecret, GrantType, Workload
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidDocument, NotFound, WrongState
from remit.core.events import EventDraft, Kind
from remit.core.ids import check_slug
from remit.core.ports import Unit
from remit.core.times import DAY, HOUR, duration, from_text, to_text
from remit.guards.documents import check_document
from remit.guards.json_in import as_json
from remit.services.deps import Deps, require
from remit.services.documents import Document, committed, texts
from remit.services.oauth.authorize import check_redirect
from remit.services.registry import find, require_reader
from remit.services.sessions import stop_tree
from remit.tokens import apikeys
from remit.tokens.assertions import key_set

LONGEST_SECRET: Final = 365 * DAY
DEFAULT_SECRET: Final = 90 * DAY
OVERLAP: Final = HOUR
_MOST_SECRETS: Final = 2


async def add(deps: Deps, caller: PersonCaller, document: Document) -> dict[str, Json]:
    """A new client, by an administrator. The answer holds its secret, where it has one, this once.

    Raises ``Forbidden``, ``InvalidDocument``, ``NameTaken``, ``NotFound``, ``WrongState``.
    """
    require(caller, "administrator")
    check_document("Client", document)
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        agent = await find(unit, Agent, str(document["agent"]))
        if agent.state == "retired":
            raise WrongState(f"agent {agent.name} is retired", hint="A client is of an agent that works.")
        client = _read(document, agent, org=deps.org, id=deps.new_id("cli"), created=now)
        if client.document and any(one.document == client.document for one in await unit.nouns.all(Client)):
            raise InvalidDocument("this metadata document is bound already", pointer="/document")
        secret: dict[str, Json] = {}
        if client.auth == "client_secret":
            client, text = _with_secret(deps, client, now, _expiry(document.get("secret_expires"), now))
            secret = {"secret": text}
        await unit.nouns.add(client)
        await unit.log.append(_event(Kind.CLIENT_ADDED, caller, client, committed(document)))
    return client_document(client, agent, now) | secret


async def renew_secret(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """A new secret beside the old one, which ends in an hour. Raises ``NotFound``, ``WrongState``."""
    require(caller, "administrator")
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        client = await find(unit, Client, named)
        if client.auth != "client_secret" or client.state != "active":
            raise WrongState(f"client {client.name} is retired, or has no secret", hint="Look at `remit client show`.")
        life = max((one.expires for one in client.secrets), default=now + DEFAULT_SECRET) - now
        ending = tuple(replace(one, expires=min(one.expires, now + OVERLAP)) for one in client.secrets)
        newest = replace(client, secrets=tuple(one for one in ending if now < one.expires)[1 - _MOST_SECRETS :])
        made, text = _with_secret(deps, newest, now, now + min(max(life, DAY), LONGEST_SECRET))
        await unit.nouns.replace(made)
        await unit.log.append(_event(Kind.CLIENT_CHANGED, caller, made, {}, "secret.renewed"))
        agent = await find(unit, Agent, made.agent)
    return client_document(made, agent, now) | {"secret": text}


async def retire(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """End a client for good, and every session that it started. Raises ``NotFound``, ``WrongState``."""
    require(caller, "administrator")
    async with deps.store.unit(deps.org) as unit:
        client = await find(unit, Client, named)
        if client.state != "active":
            raise WrongState(f"client {client.name} is retired already")
        for session in await unit.sessions.live(None, client.id):
            await unit.tickets.drop("refresh", session.id)
            await stop_tree(
                unit, session, actor=caller.person.id, kind=Kind.SESSION_KILLED, reason="its client was retired"
            )
        retired = replace(client, state="retired", secrets=())
        await unit.nouns.replace(retired)
        await unit.log.append(_event(Kind.CLIENT_RETIRED, caller, retired, {}))
        agent = await find(unit, Agent, retired.agent)
    return client_document(retired, agent, deps.clock.now())


async def get(deps: Deps, caller: PersonCaller, named: str) -> dict[str, Json]:
    """One client by name or id. Raises ``NotFound``."""
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        client = await find(view, Client, named)
        return client_document(client, await find(view, Agent, client.agent), deps.clock.now())


async def list_all(deps: Deps, caller: PersonCaller) -> tuple[dict[str, Json], ...]:
    """Every client, oldest first."""
    require_reader(caller)
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        clients = await view.nouns.all(Client)
        return tuple([client_document(client, await _agent(view, client), now) for client in clients])


async def _agent(view: Unit, client: Client) -> Agent:
    found = await view.nouns.get(Agent, client.agent)
    if found is None:
        raise NotFound(f"there is no agent {client.agent}")
    return found


def client_document(client: Client, agent: Agent, now: int) -> dict[str, Json]:
    """The client as people read it; of its secrets only when they end."""
    out: dict[str, Json] = {
        "kind": "Client",
        "apiVersion": "remit/v1",
        "id": client.id,
        "client_id": client.client_id,
        "name": client.name,
        "agent": agent.name,
        "auth": client.auth,
        "grants": list(client.grants),
        "redirects": list(client.redirects),
        "dpop": client.dpop,
        "state": client.state,
        "created_at": to_text(client.created),
    }
    live = sorted(one.expires for one in client.secrets if now < one.expires)
    out |= {"secrets_end": [to_text(one) for one in live]} if client.auth == "client_secret" else {}
    out |= {"document": client.document} if client.document else {}
    return out | ({"workload": _workload_document(client.workload)} if client.workload else {})


def _read(document: Document, agent: Agent, *, org: str, id: str, created: int) -> Client:
    auth = cast("ClientAuth", document["auth"])
    grants = tuple(cast("GrantType", one) for one in texts(document["grants"]))
    redirects = tuple(check_redirect(one) for one in texts(document.get("redirects", [])))
    if "authorization_code" in grants and not redirects:
        raise InvalidDocument("authorization codes need a redirect", pointer="/redirects")
    if auth == "none" and set(grants) & {"client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"}:
        raise InvalidDocument("a client that proves nothing gets no token of its own", pointer="/auth")
    if "client_credentials" in grants and agent.mode != "autonomous":
        raise InvalidDocument("client_credentials is for agents that act for nobody", pointer="/grants")
    keys, workload = document.get("keys"), document.get("workload")
    if (keys is not None) != (auth == "private_key_jwt"):
        raise InvalidDocument("keys is for private_key_jwt, which needs it", pointer="/keys")
    if (workload is not None) != (auth == "workload"):
        raise InvalidDocument("workload is for the auth of that name, which needs it", pointer="/workload")
    return Client(
        org=org,
        id=id,
        name=check_slug(str(document["name"]), "client"),
        agent=agent.id,
        auth=auth,
        grants=grants,
        redirects=redirects,
        state="active",
        created=created,
        keys=_keys(keys),
        workload=_workload(workload),
        document=str(document.get("document", "")),
        dpop=document.get("dpop") is True,
    )


def _keys(value: Json) -> str:
    if value is None:
        return ""
    text = as_json(value).decode()
    key_set(text)
    return text


def _workload(value: Json) -> Workload | None:
    if not isinstance(value, Mapping):
        return None
    claims = value.get("claims")
    keys, keys_url = value.get("keys"), value.get("keys_url")
    if (keys is None) == (keys_url is None):
        raise InvalidDocument("exactly one of keys and keys_url", pointer="/workload")
    return Workload(
        issuer=str(value["issuer"]),
        audience=str(value["audience"]),
        subject=str(value["subject"]),
        claims=tuple((name, str(one)) for name, one in claims.items()) if isinstance(claims, Mapping) else (),
        keys=_keys(keys),
        keys_url=str(keys_url or ""),
    )


def _workload_document(workload: Workload) -> dict[str, Json]:
    claims: dict[str, Json] = dict(workload.claims)
    out: dict[str, Json] = {
        "issuer": workload.issuer,
        "audience": workload.audience,
        "subject": workload.subject,
        "claims": claims,
    }
    return out | ({"keys_url": workload.keys_url} if workload.keys_url else {})


def _with_secret(deps: Deps, client: Client, now: int, expires: int) -> tuple[Client, str]:
    made = apikeys.make_client_secret(client.id, deps.entropy.bytes(apikeys.SECRET_BYTES))
    del now
    return replace(client, secrets=(*client.secrets, ClientSecret(made.digest, expires))), made.text


def _expiry(value: Json, now: int) -> int:
    if value is None:
        return now + DEFAULT_SECRET
    text = str(value)
    expires = now + duration(text, "/secret_expires") if text.startswith("P") else from_text(text, "/secret_expires")
    if not now < expires <= now + LONGEST_SECRET:
        raise InvalidDocument("a secret ends in the future, after a year at most", pointer="/secret_expires")
    return expires


def _event(kind: Kind, caller: PersonCaller, client: Client, private: Mapping[str, Json], *codes: str) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=caller.person.id,
        agent=client.agent,
        about=client.id,
        codes=codes,
        private=dict(private),
    )
