"""What this authorization server and its resources say of themselves (RFC 8414, OpenID discovery, RFC 9728)."""

from remit.core.canonical import Json
from remit.core.scopes import SUPPORTED
from remit.services.deps import Deps
from remit.services.oauth.token import GRANTS
from remit.tokens.assertions import ALGORITHMS
from remit.tokens.dpop import ALGORITHMS as PROOFS

_CLIENT_AUTH: Json = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]


def server_metadata(deps: Deps) -> dict[str, Json]:
    """The authorization server's metadata (RFC 8414 section 2)."""
    at = deps.issuer
    return {
        "issuer": at,
        "authorization_endpoint": f"{at}/oauth/authorize",
        "token_endpoint": f"{at}/oauth/token",
        "pushed_authorization_request_endpoint": f"{at}/oauth/par",
        "introspection_endpoint": f"{at}/oauth/introspect",
        "revocation_endpoint": f"{at}/oauth/revoke",
        "jwks_uri": f"{at}/oauth/jwks",
        "scopes_supported": list(SUPPORTED),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": _CLIENT_AUTH,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": _CLIENT_AUTH,
        "revocation_endpoint_auth_methods_supported": _CLIENT_AUTH,
        "authorization_response_iss_parameter_supported": True,
        "dpop_signing_alg_values_supported": list(PROOFS),
        "authorization_details_types_supported": ["remit_tool", "remit_task"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def resource_metadata(deps: Deps, path: str) -> dict[str, Json]:
    """The metadata of one MCP endpoint, ``/mcp`` or ``/mcp/{server}`` (RFC 9728 section 2)."""
    return {
        "resource": f"{deps.issuer}{path}",
        "authorization_servers": [deps.issuer],
        "scopes_supported": list(SUPPORTED),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(PROOFS),
    }
