"""The HTTP door as an ASGI application: routes in, one answer out, errors as RFC 9457 problems.

A request is authenticated before its body is read, and its body is parsed strictly and held against its schema before a
handler sees it. An unexpected exception is a problem that tells nothing; the log has the trace.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from remit.audit.checkpoint import Signer
from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, InternalError, InvalidDocument, NotFound, RemitError
from remit.doors import own_origin, read_body
from remit.guards.documents import check_document
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.problems import problem
from remit.services.authenticate import authenticate
from remit.services.deps import Deps
from remit.web import records, registry, sessions
from remit.web.job import Answer, Doors, Job, Lines, Made, Nothing, Route, Text
from remit.web.openapi import openapi

ROUTES: Final[tuple[Route, ...]] = (*sessions.ROUTES, *registry.ROUTES, *records.ROUTES)

log = structlog.get_logger()


def create_app(
    deps: Deps,
    *,
    sync: Callable[[PersonCaller, str], Awaitable[Json]],
    stopped: Callable[[str], Awaitable[None]],
    limits: JsonLimits,
    signer: Signer,
) -> ASGIApp:
    """The application. ``sync`` reads a server's tool list; ``stopped`` hears that a session has ended."""
    doors = Doors(signer, sync, stopped)
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route
    starlette_routes = [
        StarletteRoute(path, _endpoint(deps, doors, limits, methods), methods=list(methods))
        for path, methods in by_path.items()
    ]
    document = as_json(openapi(ROUTES))

    async def show_openapi(request: Request) -> Response:
        del request
        return _response(document)

    starlette_routes.append(StarletteRoute("/v1/openapi.json", show_openapi, methods=["GET"]))
    return Starlette(routes=starlette_routes, exception_handlers={HTTPException: _not_served, Exception: _unexpected})


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
    if not own_origin(request.headers, deps.issuer):
        raise Forbidden("requests from this web origin are refused")
    caller = None if route.who == "nobody" else await authenticate(deps, request.headers.get("authorization"))
    body: Json = {}
    if route.takes is not None:
        raw = await read_body(request.receive, request.headers, limits.max_bytes)
        body = parse(raw, limits)
        check_document(route.takes, body)
    if not isinstance(body, dict):
        raise InvalidDocument("the body is not an object")
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    if any(len(values) > 1 for values in query.values()):
        raise InvalidDocument("a query parameter is given twice")
    return Job(
        deps=deps,
        doors=doors,
        caller=caller,
        path={name: str(value) for name, value in request.path_params.items()},
        query={name: values[0] for name, values in query.items()},
        body=body,
    )


def _rendered(answer: Answer) -> Response:
    match answer:
        case Nothing():
            return Response(status_code=204)
        case Made(body):
            return _response(as_json(body), status=201)
        case Text(body, kind):
            return Response(body, media_type=kind, headers={"cache-control": "no-store"})
        case Lines(lines):
            return StreamingResponse(lines, media_type="application/jsonl", headers={"cache-control": "no-store"})
        case _:
            return _response(as_json(answer))


def _response(body: bytes, status: int = 200, kind: str = "application/json") -> Response:
    return Response(body, status_code=status, media_type=kind, headers={"cache-control": "no-store"})


def _problem(error: RemitError) -> Response:
    status, body, headers = problem(error)
    response = _response(body, status, "application/problem+json")
    for name, value in headers:
        response.headers[name.decode()] = value.decode()
    return response


async def _not_served(request: Request, error: Exception) -> Response:
    """An unknown path or method, as a problem like any other."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    response = _problem(NotFound(f"{request.method} {request.url.path[:200]} is not served here"))
    response.status_code = status
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request.failed", path=request.url.path[:200], cause=type(error).__name__)
    return _problem(InternalError())
