"""The authorization endpoint: what is asked of a person, in words that are ours, and what their yes becomes.

A request whose client or redirect is not good is told to the person and never sent anywhere; every other fault goes
back to the client (RFC 6749 section 4.1.2.1). INVARIANT: a consent names tools one by one. What is granted or reviewed
afterwards is in no token that came of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from remit.core.agents import Agent
from remit.core.canonical import Json
from remit.core.clients import Client
from remit.core.credentials import PersonCaller
from remit.core.errors import BadInput, InvalidDocument
from remit.core.events import EventDraft, Kind
from remit.core.oauth import OAuthRefusal
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.scopes import covers, read_scope
from remit.core.times import MINUTE, duration
from remit.guards.json_in import parse
from remit.services.authority import ReviewedTool
from remit.services.deps import Deps
from remit.services.oauth.by_code import CODE, CODE_LIFE, Code
from remit.services.oauth.client_auth import find
from remit.services.oauth.presented import Presented, fresh, mark_of

PUSHED: Final = "par"
PUSHED_LIFE: Final = 10 * MINUTE
"""Long enough for a person to sign in first."""
_REQUEST_URI: Final = "urn:ietf:params:oauth:request_uri:"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_TEXT: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A good authorization request."""

    client: Client
    redirect: str
    state: str
    challenge: str
    scope: tuple[str, ...]
    resource: str
    tools: tuple[str, ...]
    """The tools that ``authorization_details`` names; empty where it names none."""
    task: tuple[str, ...]
    key: str = ""
    """The thumbprint of the key that the code will be redeemed with (``dpop_jkt``, RFC 9449 section 10)."""
    pushed: str = ""
    """The mark of the pushed request that this is, which is used up with the answer."""


@dataclass(frozen=True, slots=True)
class SentBack:
    """A fault that the client hears of: where the browser goes."""

    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a person is asked, as facts for a page."""

    agent: Agent
    owner: Person | None
    tools: tuple[ReviewedTool, ...]
    where: str


async def read(deps: Deps, query: Mapping[str, str]) -> Asked | SentBack:
    """The request behind a query, or where its fault is told. Raises ``OAuthRefusal`` for what is shown instead."""
    query, pushed = await _pushed(deps, query)
    client = await find(deps, query.get("client_id", ""))
    if client is None:
        raise OAuthRefusal("invalid_client", "this client is unknown here", hint="An administrator adds it.")
    redirect = _redirect(client, query.get("redirect_uri", ""))
    try:
        return replace(_asked(deps, client, redirect, query), pushed=pushed)
    except OAuthRefusal as fault:
        return SentBack(_back(deps, redirect, query.get("state", ""), dict(fault.body())))


async def push(deps: Deps, client: Client, presented: Presented) -> dict[str, Json]:
    """Keep an authorization request that came from the client itself (RFC 9126). Raises ``OAuthRefusal``."""
    if "request_uri" in presented.form:
        raise OAuthRefusal("invalid_request", "a pushed request names no other")
    form = {name: value for name, value in presented.form.items() if name not in _SECRETS} | {
        "client_id": client.client_id
    }
    held = presented.thumbprint
    if held is not None and form.setdefault("dpop_jkt", held) != held:
        raise OAuthRefusal("invalid_dpop_proof", "dpop_jkt names another key than the proof")
    redirect = _redirect(client, form.get("redirect_uri", ""))
    _asked(deps, client, redirect, form)
    text, mark = fresh(deps)
    now = deps.clock.now()
    async with deps.store.unit(deps.org) as unit:
        await unit.tickets.put(PUSHED, mark, client.id, msgspec.json.encode(form), now + PUSHED_LIFE)
    return {"request_uri": f"{_REQUEST_URI}{text}", "expires_in": PUSHED_LIFE // 1_000}


_SECRETS: Final = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


async def shown(deps: Deps, caller: PersonCaller, asked: Asked) -> Shown:
    """What this person is asked. Raises ``OAuthRefusal`` where there is nothing that they could say yes to."""
    now = deps.clock.now()
    async with deps.store.view(deps.org) as view:
        authority = await deps.authority.current(view)
    agent = authority.agents.get(asked.client.agent)
    if agent is None or agent.mode != "delegated" or not agent.live(now):
        raise OAuthRefusal("access_denied", "this client's agent is not one that acts for people now")
    reached = tuple(
        known
        for known in authority.listed((caller.person.id, agent.id), now)
        if covers(asked.scope, known.tool.ref, known.review.effect)
        and (not asked.tools or known.tool.ref in asked.tools)
    )
    if not reached:
        raise OAuthRefusal("access_denied", "the agent is granted nothing of what is asked for you")
    where = urlsplit(asked.client.document or asked.redirect).netloc
    return Shown(agent=agent, owner=authority.people.get(agent.owner or ""), tools=reached, where=where)


async def consent(deps: Deps, caller: PersonCaller, asked: Asked, chosen: Sequence[str], ttl: str) -> str:
    """A person's yes to these tools for so long: where the browser goes with the code. Raises ``OAuthRefusal``."""
    about = await shown(deps, caller, asked)
    tools = tuple(known.tool.ref for known in about.tools if known.tool.ref in chosen)
    if not tools or len(set(chosen)) != len(tools):
        raise OAuthRefusal("invalid_request", "choose at least one of the tools that are shown")
    duration(ttl, "/ttl")
    text, mark = fresh(deps)
    now = deps.clock.now()
    code = Code(
        client=asked.client.id,
        redirect=asked.redirect,
        challenge=asked.challenge,
        person=caller.person.id,
        resource=asked.resource,
        tools=tools,
        task=asked.task,
        ttl=ttl,
        key=asked.key,
    )
    async with deps.store.unit(deps.org) as unit:
        await _use_up(unit, asked, now)
        await unit.tickets.put(CODE, mark, caller.person.id, msgspec.json.encode(code), now + CODE_LIFE)
        terms: Json = {"tools": list(tools), "task": list(asked.task), "ttl": ttl, "resource": asked.resource}
        await unit.log.append(_event(Kind.CONSENTED, caller, asked, {"/terms": terms}))
    return _back(deps, asked.redirect, asked.state, {"code": text})


async def refuse(deps: Deps, caller: PersonCaller, asked: Asked) -> str:
    """A person's no: where the browser goes."""
    async with deps.store.unit(deps.org) as unit:
        await _use_up(unit, asked, deps.clock.now())
        await unit.log.append(_event(Kind.CONSENT_REFUSED, caller, asked, {}))
    told = OAuthRefusal("access_denied", "the person said no").body()
    return _back(deps, asked.redirect, asked.state, dict(told))


async def _pushed(deps: Deps, query: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """The request, and the mark of the pushed one that ``request_uri`` names (RFC 9126 section 4), or nothing."""
    named = query.get("request_uri")
    if named is None:
        return query, ""
    if "request" in query or not named.startswith(_REQUEST_URI):
        raise OAuthRefusal("invalid_request", "only requests that were pushed here are taken by reference")
    mark = mark_of(named.removeprefix(_REQUEST_URI))
    async with deps.store.view(deps.org) as view:
        body = await view.tickets.get(PUSHED, mark, deps.clock.now())
    form = msgspec.json.decode(body, type=dict[str, str]) if body is not None else {}
    if not form or form.get("client_id") != query.get("client_id"):
        raise OAuthRefusal("invalid_request", "this pushed request is unknown or has expired")
    return form, mark


async def _use_up(unit: Unit, asked: Asked, now: int) -> None:
    """A pushed request is answered once. Raises ``OAuthRefusal``."""
    if asked.pushed and await unit.tickets.take(PUSHED, asked.pushed, now) is None:
        raise OAuthRefusal("invalid_request", "this pushed request was answered already")


def _redirect(client: Client, named: str) -> str:
    """A redirect that is registered for the client: character by character, but for the port of a loopback address.

    Raises ``OAuthRefusal``: nobody is ever sent to an address that is not (RFC 8252 section 7.3, RFC 9700 section 2.1).
    """
    if not named and len(client.redirects) == 1:
        return client.redirects[0]
    if any(named == one or _same_but_port(one, named) for one in client.redirects):
        return named
    raise OAuthRefusal("invalid_request", "this redirect_uri is not registered for the client")


def _same_but_port(registered: str, named: str) -> bool:
    try:
        ours, theirs = urlsplit(registered), urlsplit(named)
        port = theirs.port
    except ValueError:
        return False
    if ours.scheme != "http" or ours.hostname not in _LOOPBACK or port is None or theirs.username is not None:
        return False
    host = f"[{ours.hostname}]" if ":" in (ours.hostname or "") else ours.hostname
    return named == f"http://{host}:{port}{ours.path}" + (f"?{ours.query}" if ours.query else "")


def _asked(deps: Deps, client: Client, redirect: str, query: Mapping[str, str]) -> Asked:
    """The rest of the request. Raises ``OAuthRefusal``."""
    if any(len(value) > _MOST_TEXT for value in query.values()):
        raise OAuthRefusal("invalid_request", "a parameter is too long")
    if query.get("response_type") != "code":
        raise OAuthRefusal("unsupported_response_type", "there is response_type=code")
    if "authorization_code" not in client.grants:
        raise OAuthRefusal("unauthorized_client", "this client does not use authorization codes")
    if query.get("response_mode", "query") != "query" or "request" in query:
        raise OAuthRefusal("invalid_request", "answers go into the query, and requests are no JWTs")
    challenge = query.get("code_challenge", "")
    if query.get("code_challenge_method") != "S256" or _CHALLENGE.fullmatch(challenge) is None:
        raise OAuthRefusal("invalid_request", "PKCE is required: code_challenge with code_challenge_method=S256")
    resource = query.get("resource") or f"{deps.issuer}/mcp"
    if not deps.tokens.serves(resource):
        raise OAuthRefusal("invalid_target", "this server has no such resource")
    tools, task = _details(query.get("authorization_details"))
    return Asked(
        client=client,
        redirect=redirect,
        state=query.get("state", ""),
        challenge=challenge,
        scope=read_scope(query.get("scope", "")),
        resource=resource,
        tools=tools,
        task=task,
        key=_key(query.get("dpop_jkt", "")),
    )


def _key(thumbprint: str) -> str:
    if thumbprint and _CHALLENGE.fullmatch(thumbprint) is None:
        raise OAuthRefusal("invalid_request", "dpop_jkt is the SHA-256 thumbprint of a key (RFC 7638)")
    return thumbprint


def _details(text: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tools and the task of ``authorization_details`` (RFC 9396). Raises ``OAuthRefusal``."""
    if text is None:
        return (), ()
    try:
        details = parse(text.encode())
    except BadInput as error:
        raise OAuthRefusal("invalid_authorization_details", error.detail) from error
    tools: list[str] = []
    task: list[str] = []
    for one in details if isinstance(details, list) else [None]:
        match one:
            case {"type": "remit_tool", "tool": str(ref), **rest} if not rest:
                tools.append(ref)
            case {"type": "remit_task", "task": str(words), **rest} if not rest and words:
                task.append(words)
            case _:
                raise OAuthRefusal(
                    "invalid_authorization_details", "there is {type: remit_tool, tool}, {type: remit_task, task}"
                )
    return tuple(tools), tuple(task)


def _back(deps: Deps, redirect: str, state: str, members: Mapping[str, str]) -> str:
    """The redirect with an answer in its query, who answers (RFC 9207) and the client's own state."""
    told = {**members, "iss": deps.issuer} | ({"state": state} if state else {})
    return f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(told)}"


def _event(kind: Kind, caller: PersonCaller, asked: Asked, private: Mapping[str, Json]) -> EventDraft:
    return EventDraft(
        kind=kind,
        actor=caller.person.id,
        subject=caller.person.id,
        agent=asked.client.agent,
        about=asked.client.id,
        private=private,
    )


def check_redirect(uri: str) -> str:
    """``uri`` if a client may register it: https, or http on a loopback address, or a private scheme (RFC 8252).

    Raises ``InvalidDocument``.
    """
    try:
        parts = urlsplit(uri)
        secure = parts.scheme == "https" and bool(parts.hostname)
        loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK
        private = "." in parts.scheme and not parts.netloc
    except ValueError:
        secure = loopback = private = False
    odd = not uri.isascii() or not uri.isprintable() or " " in uri or "#" in uri or "*" in uri or "\\" in uri
    if odd or not (secure or loopback or private) or (parts.username is not None):
        raise InvalidDocument(
            f"redirect {uri[:200]!r} is not https, http on a loopback address, or a private scheme such as "
            "com.example.app:/back",
            pointer="/redirects",
        )
    return uri
