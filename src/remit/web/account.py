"""One's own page: what acts for one, and passkeys, with the small JSON answers behind them.

The same rules as for every page (``pages.py``): a form counts only from our own page with the token of this sign-in. A
browser that is not signed in yet is told from others by a cookie of its own, which proves nothing but that.
"""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden, RemitError
from remit.core.times import to_text
from remit.guards.json_in import as_json
from remit.problems import form as status_of
from remit.services import acting, passkeys, sessions, signing_in
from remit.services.deps import Deps
from remit.web.forms import read_form
from remit.web.pages import COOKIE, check_ours, from_our_page, guarded, keep_signed_in, onward_of, page

BROWSER: Final = "remit_browser"
Stopped = Callable[[str], Awaitable[None]]
Handler = Callable[[Deps, Request], Awaitable[Response]]


def account_routes(deps: Deps, stopped: Stopped) -> list[Route]:
    """One's own page and everything about passkeys; ``stopped`` hears that a session was stopped."""

    async def stop(deps: Deps, request: Request) -> Response:
        caller, _, form = await _mine(deps, request)
        session = form.get("session", "")
        await sessions.kill(deps, caller, session, "its person took it back")
        await stopped(session)
        return RedirectResponse("/account", 303)

    served: dict[tuple[str, str], Handler] = {
        ("GET", "/account"): _account,
        ("POST", "/account/passkeys/options"): _told(_offer),
        ("POST", "/account/passkeys"): _told(_add),
        ("POST", "/account/passkeys/remove"): _remove,
        ("POST", "/account/sessions/stop"): stop,
        ("POST", "/sign-in/options"): _told(_ask),
        ("POST", "/sign-in/passkey"): _told(_enter),
    }
    return [
        Route(path, guarded(partial(handler, deps)), methods=[method]) for (method, path), handler in served.items()
    ]


def _told(handler: Handler) -> Handler:
    """The same for a script of ours: a refusal is JSON, which the page shows."""

    async def answer(deps: Deps, request: Request) -> Response:
        try:
            return await handler(deps, request)
        except RemitError as error:
            response = _json({"detail": error.detail, "hint": error.hint})
            response.status_code = status_of(error).status
            return response

    return answer


async def _account(deps: Deps, request: Request) -> Response:
    """Who is signed in, and with what they may do so."""
    cookie = request.cookies.get(COOKIE, "")
    caller = await signing_in.who(deps, cookie)
    if caller is None:
        return RedirectResponse("/sign-in", 303)
    return page(
        "account.html",
        person=caller.person,
        form_token=signing_in.form_token(cookie),
        acting=[(one, to_text(one.expires)[:16].replace("T", " ")) for one in await acting.for_person(deps, caller)],
        passkeys=[(one.id, one.name, to_text(one.added).partition("T")[0]) for one in caller.person.passkeys],
        offered=passkeys.offered(deps),
        issuer=deps.issuer,
    )


async def _offer(deps: Deps, request: Request) -> Response:
    caller, cookie, _ = await _mine(deps, request)
    return _json(await passkeys.offer_new(deps, caller, cookie))


async def _add(deps: Deps, request: Request) -> Response:
    caller, cookie, form = await _mine(deps, request)
    await passkeys.add(deps, caller, cookie, form.get("name", ""), form.get("credential", ""))
    return _json({"next": "/account"})


async def _remove(deps: Deps, request: Request) -> Response:
    caller, _, form = await _mine(deps, request)
    await passkeys.remove(deps, caller, form.get("passkey", ""))
    return RedirectResponse("/account", 303)


async def _ask(deps: Deps, request: Request) -> Response:
    """What a browser in which nobody is signed in yet proves a passkey with."""
    _, _, headers = await read_form(request)
    from_our_page(deps, headers)
    browser = secrets.token_urlsafe(32)
    response = _json(await passkeys.offer_sign_in(deps, browser))
    response.set_cookie(
        BROWSER,
        browser,
        max_age=passkeys.CHALLENGE_LIFE // 1_000,
        path="/sign-in",
        secure=deps.issuer.startswith("https:"),
        httponly=True,
        samesite="strict",
    )
    return response


async def _enter(deps: Deps, request: Request) -> Response:
    form, _, headers = await read_form(request)
    from_our_page(deps, headers)
    cookie = await passkeys.sign_in(deps, request.cookies.get(BROWSER, ""), form.get("credential", ""))
    response = _json({"next": onward_of(form.get("next", "")) or "/account"})
    response.delete_cookie(BROWSER, path="/sign-in")
    keep_signed_in(deps, response, cookie)
    return response


async def _mine(deps: Deps, request: Request) -> tuple[PersonCaller, str, dict[str, str]]:
    """Who sends a form of our own page, their cookie, and the form. Raises ``Forbidden``."""
    form, _, headers = await read_form(request)
    cookie = request.cookies.get(COOKIE, "")
    caller = await signing_in.who(deps, cookie)
    if caller is None:
        raise Forbidden("you are not signed in any more", hint="Sign in again.")
    check_ours(deps, headers, cookie, form)
    return caller, cookie, form


def _json(body: Json | str) -> Response:
    content = body if isinstance(body, str) else as_json(body)
    return Response(content, media_type="application/json")
