"""Refusals with a form of their own: at an OAuth endpoint (RFC 6749 section 5.2), and of a DPoP proof (RFC 9449)."""

from typing import Literal

from remit.core.errors import RemitError, Unauthenticated


class OAuthRefusal(RemitError):
    """This OAuth request was refused."""

    code = "oauth_refused"
    default_hint = "The member `error` is the code of the standard; correct the request."

    def __init__(self, error: str, detail: str = "", *, status: int = 400, hint: str | None = None) -> None:
        """``error`` is a code of RFC 6749 section 5.2 or of an extension; ``status`` an HTTP status."""
        super().__init__(detail, hint=hint)
        self.error = error
        self.status = status

    def body(self) -> dict[str, str]:
        """The answer as RFC 6749 section 5.2 writes it."""
        return {"error": self.error, "error_description": _described(f"{self.detail} {self.hint}".strip())}


class ProofRefused(Unauthenticated):
    """This DPoP proof was refused (RFC 9449 sections 7.1, 8 and 9); with a ``nonce``, the same may be tried with it."""

    def __init__(
        self,
        detail: str = "",
        *,
        error: Literal["invalid_dpop_proof", "use_dpop_nonce"] = "invalid_dpop_proof",
        nonce: str = "",
        hint: str | None = None,
    ) -> None:
        """``error`` is the code of the standard."""
        super().__init__(detail, hint=hint)
        self.error = error
        self.nonce = nonce


def _described(text: str) -> str:
    """The characters that an ``error_description`` may hold (RFC 6749 section 5.2)."""
    return "".join(one if " " <= one <= "~" and one not in '"\\' else "'" for one in text)
