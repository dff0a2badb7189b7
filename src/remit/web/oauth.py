"""The OAuth endpoints: forms in, JSON out, errors in OAuth's own shape (RFC 6749 section 5.2).

No caller is authenticated at the door: each endpoint asks the client. Nothing here reads a cookie.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.core.canonical import Json
from remit.core.errors import RemitError
from remit.core.oauth import OAuthRefusal, ProofRefused
from remit.guards.json_in import as_json
from remit.problems import form as status_of
from remit.services.deps import Deps
from remit.services.oauth import authorize, looking
from remit.services.oauth.client_auth import authenticated
from remit.services.oauth.metadata import resource_metadata, server_metadata
from remit.services.oauth.presented import Presented
from remit.services.oauth.token import token
from remit.services.possession import Shown, fresh_nonce, proven
from remit.web.forms import read_form

Handler = Callable[[Deps, Presented], Awaitable[Json]]
_KEPT: Final = {"cache-control": "public, max-age=300", "access-control-allow-origin": "*"}
# Where what is asked for may be bound to a key.
_BINDING: Final = frozenset({"/oauth/token", "/oauth/par"})
_SECRET: Final = {"cache-control": "no-store", "pragma": "no-cache"}

log = structlog.get_logger()


def oauth_routes(deps: Deps) -> list[Route]:
    """Every OAuth endpoint but those that are pages."""
    told = {
        "/.well-known/oauth-authorization-server": lambda _: server_metadata(deps),
        "/.well-known/openid-configuration": lambda _: server_metadata(deps),
        "/.well-known/oauth-protected-resource/mcp": lambda _: resource_metadata(deps, "/mcp"),
        "/.well-known/oauth-protected-resource/mcp/{server}": lambda path: resource_metadata(
            deps, f"/mcp/{path['server']}"
        ),
        "/oauth/jwks": lambda _: deps.tokens.jwks,
    }
    asked = {
        "/oauth/token": token,
        "/oauth/par": _push,
        "/oauth/introspect": looking.introspect,
        "/oauth/revoke": _revoke,
    }
    return [
        *(Route(path, _telling(tell), methods=["GET"]) for path, tell in told.items()),
        *(Route(path, _answering(deps, path, handler), methods=["POST"]) for path, handler in asked.items()),
    ]


async def _push(deps: Deps, presented: Presented) -> Json:
    return await authorize.push(deps, await authenticated(deps, presented), presented)


async def _revoke(deps: Deps, presented: Presented) -> Json:
    await looking.revoke(deps, presented)
    return {}


def _telling(tell: Callable[[Mapping[str, str]], dict[str, Json]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return _json(tell(request.path_params), headers=_KEPT)

    return endpoint


def _answering(deps: Deps, path: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            form, _, headers = await read_form(request)
            proof = headers.get("dpop") if path in _BINDING else None
            shown = None if proof is None else Shown(proof=proof, method="POST", path=path)
            thumbprint = None if shown is None else await proven(deps, shown, nonce=True)
            sent = headers.get("authorization")
            answer = await handler(deps, Presented(form=form, path=path, authorization=sent, thumbprint=thumbprint))
        except ProofRefused as error:
            told = _json({"error": error.error, "error_description": error.detail}, 400)
            told.headers["dpop-nonce"] = error.nonce or fresh_nonce(deps)
            return told
        except OAuthRefusal as refusal:
            return refused(refusal)
        except RemitError as error:
            return _json({"error": _error_of(error), "error_description": error.detail}, status_of(error).status)
        except Exception:
            # A door that meets the unexpected answers with an error that tells nothing; the log has the trace.
            log.exception("request.failed", route=path, method="POST")
            return _json({"error": "server_error"}, 500)
        made = _json(answer, 201 if path == "/oauth/par" else 200)
        if shown is not None:
            made.headers["dpop-nonce"] = fresh_nonce(deps)
        return made

    return endpoint


def refused(refusal: OAuthRefusal) -> Response:
    """An error in OAuth's shape; a client that tried HTTP Basic is told that it may try again."""
    response = _json(dict(refusal.body()), refusal.status)
    if refusal.error == "invalid_client":
        response.headers["www-authenticate"] = 'Basic realm="remit"'
    return response


def _error_of(error: RemitError) -> str:
    """The code for a fault that no OAuth rule is about."""
    match status_of(error).status:
        case 503:
            return "temporarily_unavailable"
        case 500:
            return "server_error"
        case _:
            return "invalid_request"


def _json(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        as_json(body),
        status_code=status,
        media_type="application/json",
        headers=dict(_SECRET if headers is None else headers),
    )
