"""The pages that a person meets in a browser: signing in, and being asked whether an agent may act for them.

INVARIANT: no page can be framed, runs a script or a style that is not ours, or is kept by a cache; a form counts only
with the token that this sign-in was shown, sent from a page of our own. Text of agents and clients is shown, never run.
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, RemitError
from remit.core.oauth import OAuthRefusal
from remit.doors import own_origin
from remit.problems import form as status_of
from remit.services import passkeys, signing_in
from remit.services.deps import Deps
from remit.services.oauth import authorize
from remit.services.oauth.authorize import Asked, SentBack
from remit.web.forms import read_form, read_query

COOKIE: Final = "remit_sign_in"
_LIVES: Final = (
    ("PT1H", "one hour"),
    ("PT8H", "a working day"),
    ("P1D", "a day"),
    ("P7D", "a week"),
    ("P30D", "30 days"),
)
_EFFECTS: Final = {
    "read": "reads",
    "fetch": "fetches from the web",
    "write": "writes",
    "destroy": "destroys",
    "spend": "spends",
    "admin": "administers",
}
_GUARD: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Nothing to other sites; with ``no-referrer`` a browser would say ``Origin: null`` of our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

log = structlog.get_logger()
_templates: Final = Environment(
    loader=PackageLoader("remit.web"), autoescape=True, undefined=StrictUndefined, auto_reload=False
)
Endpoint = Callable[[Request], Awaitable[Response]]


def page_routes(deps: Deps) -> list[Route | Mount]:
    """Every page, and what pages load."""

    async def ask(request: Request) -> Response:
        return await _ask(deps, request)

    async def answered(request: Request) -> Response:
        return await _answered(deps, request)

    async def sign_in(request: Request) -> Response:
        return _sign_in(deps, read_query(request).get("next", ""))

    async def enter(request: Request) -> Response:
        return await _enter(deps, request)

    async def leave(request: Request) -> Response:
        return await _leave(deps, request)

    static = Path(str(resources.files("remit.web") / "static"))
    return [
        Route("/oauth/authorize", guarded(ask), methods=["GET"]),
        Route("/oauth/authorize", guarded(answered), methods=["POST"]),
        Route("/sign-in", guarded(sign_in), methods=["GET"]),
        Route("/sign-in", guarded(enter), methods=["POST"]),
        Route("/sign-out", guarded(leave), methods=["POST"]),
        Mount("/static", StaticFiles(directory=static)),
    ]


def guarded(endpoint: Endpoint) -> Endpoint:
    """The same with every refusal as a page, and the headers that keep a page to itself."""

    async def safe(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except OAuthRefusal as refusal:
            response = _message("This request can't go on", refusal.detail, refusal.hint, refusal.status)
        except RemitError as error:
            response = _message("This can't be done", error.detail, error.hint, status_of(error).status)
        except Exception:
            # A door that meets the unexpected answers with a page that tells nothing; the log has the trace.
            log.exception("request.failed", route=request.url.path[:200], method=request.method)
            response = _message("Something went wrong", "Nothing was allowed.", "The operator sees it in the log.", 500)
        response.headers.update(_GUARD)
        return response

    return safe


async def _ask(deps: Deps, request: Request) -> Response:
    """The question of consent, to who is signed in."""
    query = read_query(request)
    asked = await authorize.read(deps, query)
    if isinstance(asked, SentBack):
        return RedirectResponse(asked.location, 303)
    cookie = request.cookies.get(COOKIE)
    caller = await signing_in.who(deps, cookie)
    if caller is None or cookie is None:
        return _sign_in(deps, f"/oauth/authorize?{request.url.query}")
    about = await authorize.shown(deps, caller, asked)
    return page(
        "consent.html",
        person=caller.person,
        agent=about.agent,
        owner=about.owner,
        where=about.where,
        loopback=urlsplit(asked.redirect).hostname in _LOOPBACK,
        task=asked.task,
        tools=about.tools,
        effects=_EFFECTS,
        lives=_LIVES,
        form_token=signing_in.form_token(cookie),
        query=list(query.items()),
    )


async def _answered(deps: Deps, request: Request) -> Response:
    """A person's answer."""
    form, pairs, headers = await read_form(request)
    cookie = request.cookies.get(COOKIE)
    caller = await signing_in.who(deps, cookie)
    if caller is None or cookie is None:
        raise Forbidden("you are not signed in any more", hint="Start again from the program that sent you here.")
    check_ours(deps, headers, cookie, form)
    asked = await authorize.read(deps, {name: value for name, value in form.items() if name not in _OURS})
    if isinstance(asked, SentBack):
        return RedirectResponse(asked.location, 303)
    match form.get("answer"):
        case "yes":
            chosen = [value for name, value in pairs if name == "tools[]"]
            return RedirectResponse(await _consented(deps, caller, asked, chosen, form.get("ttl", "")), 303)
        case "no":
            return RedirectResponse(await authorize.refuse(deps, caller, asked), 303)
        case _:
            raise OAuthRefusal("invalid_request", "the answer is yes or no")


_OURS: Final = frozenset({"form_token", "answer", "ttl"})


async def _consented(deps: Deps, caller: PersonCaller, asked: Asked, chosen: list[str], ttl: str) -> str:
    if ttl not in dict(_LIVES):
        raise OAuthRefusal("invalid_request", "choose one of the times that are shown")
    return await authorize.consent(deps, caller, asked, chosen, ttl)


def check_ours(deps: Deps, headers: Mapping[str, str], cookie: str, form: Mapping[str, str]) -> None:
    """Whether a form is ours and was sent from our page. Raises ``Forbidden``."""
    site = headers.get("sec-fetch-site", "same-origin")
    if not own_origin(headers, deps.issuer) or site not in ("same-origin", "none"):
        raise Forbidden("this form came from another site", hint=f"Open {deps.issuer} itself, and try there.")
    if not signing_in.is_form_token(cookie, form.get("form_token", "")):
        raise Forbidden("this form was not shown to you", hint="Open the page again.")


def _sign_in(deps: Deps, onward: str) -> Response:
    return page("sign_in.html", person=None, next=onward, offered=passkeys.offered(deps))


async def _enter(deps: Deps, request: Request) -> Response:
    """Sign in with a link's secret."""
    form, _, headers = await read_form(request)
    from_our_page(deps, headers)
    cookie = await signing_in.enter(deps, form.get("secret", ""))
    response = RedirectResponse(onward_of(form.get("next", "")) or "/account", 303)
    keep_signed_in(deps, response, cookie)
    return response


def from_our_page(deps: Deps, headers: Mapping[str, str]) -> None:
    """Pass if a page of our own sent this. Raises ``Forbidden``."""
    if not own_origin(headers, deps.issuer) or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Forbidden("this form came from another site", hint=f"Open {deps.issuer} itself, and try there.")


def onward_of(path: str) -> str:
    """Where to go on after signing in: our own consent page alone, since a link may have been a stranger's to make."""
    return path if path.startswith("/oauth/authorize?") else ""


def keep_signed_in(deps: Deps, response: Response, cookie: str) -> None:
    """Give the browser its cookie. INVARIANT: a fresh one, whatever cookie it had before."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=signing_in.SIGN_IN_LIFE // 1_000,
        path="/",
        secure=deps.issuer.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


async def _leave(deps: Deps, request: Request) -> Response:
    """Sign out."""
    form, _, headers = await read_form(request)
    cookie = request.cookies.get(COOKIE, "")
    check_ours(deps, headers, cookie, form)
    await signing_in.leave(deps, cookie)
    response = _message("You are signed out", "", "", 200)
    response.delete_cookie(COOKIE, path="/")
    return response


def _message(heading: str, words: str, hint: str, status: int) -> Response:
    return page("message.html", status=status, person=None, heading=heading, words=words, hint=hint)


def page(template: str, status: int = 200, **facts: object) -> Response:
    """A page of this template."""
    return Response(_templates.get_template(template).render(**facts), status_code=status, media_type="text/html")
