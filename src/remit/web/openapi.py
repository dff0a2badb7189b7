"""The OpenAPI 3.1 document, made from the route table and the schemas that requests are checked with."""

import re
from collections.abc import Sequence

from remit.core.canonical import Json
from remit.guards.documents import schema
from remit.web.job import Route

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def openapi(routes: Sequence[Route]) -> dict[str, Json]:
    """The document for ``GET /v1/openapi.json``."""
    named = sorted({name for route in routes for name in (route.takes, route.gives, "Problem") if name})
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Remit", "version": "1", "description": "Decisions on tool calls, and who may make them."},
        "paths": paths,
        "components": {
            "schemas": {name: schema(name) for name in named},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> Json:
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query]
    good: dict[str, Json] = {"description": route.does}
    if route.gives:
        good["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.gives}"}}}
    operation: dict[str, Json] = {
        "summary": f"{route.does} ({route.who})",
        "parameters": parameters,
        "security": [] if route.who == "nobody" else [{"bearer": []}],
        "responses": {
            "2XX": good,
            "default": {
                "description": "a problem (RFC 9457)",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if route.takes:
        content: Json = {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.takes}"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
