"""A request at an OAuth endpoint as the services see it, and the short-lived secrets that are handed out there."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from remit.core.oauth import OAuthRefusal
from remit.services.deps import Deps

SECRET_BYTES: Final = 32
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """One form (RFC 6749 appendix B), the ``Authorization`` header beside it, and the key that a DPoP proof showed.

    ``path`` is the endpoint below the issuer. ``thumbprint`` is the RFC 7638 thumbprint of the proof's key, or None.
    """

    form: Mapping[str, str]
    path: str
    authorization: str | None = None
    thumbprint: str | None = None

    def wanted(self, name: str) -> str:
        """A parameter that must be there. Raises ``OAuthRefusal`` (``invalid_request``)."""
        value = self.form.get(name, "")
        if not value:
            raise OAuthRefusal("invalid_request", f"the parameter {name} is missing")
        return value


def fresh(deps: Deps) -> tuple[str, str]:
    """A secret to hand out, and the mark under which its ticket is kept."""
    text = base64.urlsafe_b64encode(deps.entropy.bytes(SECRET_BYTES)).rstrip(b"=").decode("ascii")
    return text, mark_of(text)


def mark_of(text: str) -> str:
    """The mark of a presented secret."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
