"""The HTTP door as an ASGI application: routes in, one answer out, errors as RFC 9457 problems.

A request is authenticated before its body is read, and its body is parsed strictly and held against its schema before a
handler sees it. An unexpected exception is a problem that tells nothing; the log has the trace.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from remit.audit.checkpoint import Signer
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InternalError, InvalidDocument, NotFound, RemitError
from remit.doors import headers_of, own_origin, peer, read_body, shown_of
from remit.guards.documents import check_document
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.problems import PROBLEM, document, problem
from remit.services.authenticate import STALE, authenticate
from remit.services.deps import Deps
from remit.web import clients, lifecycle, records, registry, sessions
from remit.web.account import account_routes
from remit.web.job import Answer, Doors, Job, Lines, Made, Nothing, Octets, Route, Text
from remit.web.oauth import oauth_routes
from remit.web.openapi import openapi
from remit.web.pages import page_routes
from remit.web.readiness import Readiness

ROUTES: Final[tuple[Route, ...]] = (
    *sessions.ROUTES,
    *registry.ROUTES,
    *lifecycle.ROUTES,
    *records.ROUTES,
    *clients.ROUTES,
)

log = structlog.get_logger()


def create_app(
    deps: Deps,
    *,
    sync: Callable[[PersonCaller, str], Awaitable[Json]],
    check: Callable[[PersonCaller, str], Awaitable[Json]],
    stopped: Callable[[str], Awaitable[None]],
    limits: JsonLimits,
    signer: Signer,
    rotate: Callable[[PersonCaller], Awaitable[Json]],
    health: Callable[[str], Json] = lambda _: None,
) -> ASGIApp:
    """The application. ``sync`` and ``check`` reach a server; ``stopped`` hears that a session has ended.

    ``rotate`` makes another key for tokens.

    ``health`` is how the server with an id answered this process, None where nobody knows.
    """
    doors = Doors(signer, Readiness(deps, signer), sync, check, stopped, health, rotate)
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route
    starlette_routes: list[BaseRoute] = [
        StarletteRoute(path, _endpoint(deps, doors, limits, methods), methods=list(methods))
        for path, methods in by_path.items()
    ]
    document = as_json(openapi(ROUTES))

    async def show_openapi(request: Request) -> Response:
        del request
        return _response(document)

    starlette_routes.append(StarletteRoute("/v1/openapi.json", show_openapi, methods=["GET"]))
    starlette_routes += [*oauth_routes(deps), *page_routes(deps), *account_routes(deps, stopped)]
    app = Starlette(routes=starlette_routes, exception_handlers={HTTPException: _not_served, Exception: _unexpected})
    # A redirect would be made of the Host header, and carry a credential to wherever that says.
    app.router.redirect_slashes = False
    return app


def _endpoint(
    deps: Deps, doors: Doors, limits: JsonLimits, methods: Mapping[str, Route]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        route = methods[method]
        try:
            return _rendered(await route.handler(await _job(deps, doors, limits, route, request)))
        except RemitError as error:
            return _problem(error)
        except Exception:
            # A door that meets the unexpected answers with a problem that tells nothing.
            log.exception("request.failed", route=route.path, method=method)
            return _problem(InternalError())

    return endpoint


async def _job(deps: Deps, doors: Doors, limits: JsonLimits, route: Route, request: Request) -> Job:
    headers = headers_of(request.scope)
    if not own_origin(headers, deps.issuer):
        raise Forbidden("requests from this web origin are refused")
    sent, place = headers.get("authorization"), peer(request.scope, deps.trusted_proxies)
    shown = shown_of(request.scope, headers)
    caller = None if route.who == "nobody" else await authenticate(deps, sent, place, shown)
    body: Json = {}
    if route.takes is not None:
        arrived = deps.clock.now()
        raw = await read_body(request.receive, headers, limits.max_bytes)
        if caller is not None and deps.clock.now() - arrived >= STALE:
            caller = await authenticate(deps, sent, place, shown and replace(shown, met=True))
        body = parse(raw, limits)
        check_document(route.takes, body)
    if not isinstance(body, dict):
        raise InvalidDocument("the body is not an object")
    return Job(
        deps=deps,
        doors=doors,
        caller=caller,
        path={name: str(value) for name, value in request.path_params.items()},
        query=_query(route, request),
        body=body,
    )


def _query(route: Route, request: Request) -> dict[str, str]:
    """The query as the route lists it; anything else in it is refused."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in route.query:
            raise InvalidDocument(f"{name[:80]!r} is no parameter here; there are {', '.join(route.query) or 'none'}")
        if name in found:
            raise InvalidDocument(f"{name} is given twice", pointer=f"/{name}")
        found[name] = value
    return found


def _rendered(answer: Answer) -> Response:
    match answer:
        case Nothing():
            return Response(status_code=204)
        case Made(body):
            return _response(as_json(body), status=201)
        case Text(body, kind):
            return Response(body, media_type=kind, headers={"cache-control": "no-store"})
        case Octets(body):
            return _response(body, kind="application/octet-stream")
        case Lines(lines):
            return StreamingResponse(lines, media_type="application/jsonl", headers={"cache-control": "no-store"})
        case _:
            return _response(as_json(answer))


def _response(body: bytes, status: int = 200, kind: str = "application/json") -> Response:
    return Response(body, status_code=status, media_type=kind, headers={"cache-control": "no-store"})


def _problem(error: RemitError) -> Response:
    status, body, headers = problem(error)
    response = _response(body, status, PROBLEM)
    for name, value in headers:
        response.headers[name.decode()] = value.decode()
    return response


async def _not_served(request: Request, error: Exception) -> Response:
    """An unknown path or method, as a problem like any other; for a method, with those that there are (``Allow``)."""
    status, headers = 500, {}
    if isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
    body = document(NotFound(f"{request.method} {request.url.path[:200]} is not served here")) | {"status": status}
    response = _response(as_json(body), status, PROBLEM)
    response.headers.update(headers)
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request.failed", path=request.url.path[:200], cause=type(error).__name__)
    return _problem(InternalError())
