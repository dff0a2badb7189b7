"""The pages as a person meets them: a real Remit, a real browser, and a device in it that keeps passkeys.

Screenshots are left in ``build/console``, for people to look at.
"""

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt as pyjwt
import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

from tests.journeys.stage import INTENT, ROOT, Home, Live, furnished, remit, up, verified
from tests.web.dance import BACK, CODE, REFRESH, pkce
from tests.web.house import PERSON, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

PICTURES = ROOT / "build" / "console"
# A browser that talks to nobody but us.
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def chromium() -> str:
    """The browser; skipped where there is none (tests/skips.toml)."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("needs Chromium (Debian: chromium): the pages as a person meets them, with a passkey")
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def browser_of(chromium: str, **options: Any) -> AsyncIterator[BrowserContext]:
    """A fresh browser, in which every page that is opened elsewhere than with us fails."""
    async with async_playwright() as tools:
        browser = await tools.chromium.launch(executable_path=chromium, args=list(QUIET))
        context = await browser.new_context(**options)
        try:
            yield context
        finally:
            await browser.close()


async def with_device(page: Page) -> Any:
    """A device that keeps passkeys and whose owner is always there and always verified."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


async def pictured(page: Page, name: str) -> None:
    """Keep what a person sees."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


async def registered(live: Live) -> dict[str, Any]:
    """A program that wants to act for people, through the bookkeeper."""
    document = {
        "kind": "Client",
        "name": "desk",
        "agent": "bookkeeper",
        "auth": "client_secret",
        "grants": [CODE, REFRESH],
        "redirects": [BACK],
    }
    answer = await live.ask("POST", "/v1/clients", "administrator", document)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def signed_in_by_link(page: Page, home: Home) -> None:
    """The person opens the link that the command line printed."""
    status, said = await remit(home, "--json", "person", "link", PERSON)
    assert status == 0, said
    await page.goto(httpx.Response(200, text=said).json()["link"])
    await page.get_by_role("button", name="Sign in with this link").click()
    await page.get_by_role("heading", name="You are signed in").wait_for()


async def call(live: Live, token: str, name: str, arguments: object) -> dict[str, Any]:
    """One call of an agent."""
    live.home.credentials["delegated"] = token
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    answer = await live.ask("POST", "/mcp", "delegated", message)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["result"]
    return found


async def consented(page: Page, made: dict[str, Any], issuer: str) -> tuple[httpx.QueryParams, str]:
    """A program sends the person here; they sign in with their passkey, strike one tool out and say yes.

    What the program is told, and its verifier.
    """
    verifier, challenge = pkce()
    asked = {
        "response_type": "code",
        "client_id": made["client_id"],
        "redirect_uri": BACK,
        "state": "s-1",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": f"{issuer}/mcp",
    }
    await page.goto(str(httpx.URL(f"{issuer}/oauth/authorize", params=asked)))
    await pictured(page, "sign-in")
    await page.get_by_role("button", name="Sign in with a passkey").click()
    await page.get_by_role("heading", name="Let bookkeeper act for you?").wait_for()
    await pictured(page, "consent")
    await page.get_by_label("office/pay_invoice").uncheck()
    await page.get_by_label("For how long").select_option("PT1H")
    await page.route(f"{BACK}*", lambda route: route.fulfill(status=200, body="back at the program"))
    await page.get_by_role("button", name="Allow").click()
    await page.wait_for_url(f"{BACK}*")
    told = httpx.URL(page.url).params
    assert (told["iss"], told["state"]) == (issuer, "s-1")
    return told, verifier


@pytest.mark.claim("passkey:proves-its-person")
async def test_a_person_adds_a_passkey_consents_with_it_and_takes_it_back(chromium: str, tmp_path: Path) -> None:
    port = free_port()
    issuer = f"http://localhost:{port}"
    async with furnished(tmp_path / "home", issuer) as home, up(home, port) as live:
        made = await registered(live)
        async with browser_of(chromium) as context:
            page = await context.new_page()
            faults: list[str] = []
            page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: faults.append(str(error)))
            await with_device(page)
            await signed_in_by_link(page, home)
            await pictured(page, "account-new")
            await page.get_by_label("What you call this device").fill("Ada's laptop")
            await page.get_by_role("button", name="Add a passkey").click()
            await page.get_by_text("Ada's laptop").wait_for()
            await pictured(page, "account")
            await page.get_by_role("button", name="Sign out").click()
            await page.get_by_role("heading", name="You are signed out").wait_for()

            told, verifier = await consented(page, made, issuer)
            assert faults == []

        form = {
            "grant_type": CODE,
            "code": told["code"],
            "redirect_uri": BACK,
            "code_verifier": verifier,
            "client_id": made["client_id"],
            "client_secret": made["secret"],
        }
        given = (await live.http.post("/oauth/token", data=form)).json()
        assert given["scope"] == "tool:office/read_mail"
        assert text_of(await call(live, given["access_token"], "office__read_mail", {"id": "1"})) == "ok"
        struck_out = await call(live, given["access_token"], "office__pay_invoice", {"recipient": "x", "amount": 1})
        assert struck_out["isError"]
        session = pyjwt.decode(given["access_token"], options={"verify_signature": False})["txn"]
        leaves = await verified(home, tmp_path / "log")
        [intent] = [one for one in leaves if one["k"] == INTENT and one["session"] == session]
        assert [one[:4] for one in intent["chain"]] == ["per_", "agt_"], (
            "the log names who it was done for, and by whom"
        )
        async with browser_of(chromium, viewport=PHONE) as context:
            page = await context.new_page()
            await signed_in_by_link(page, home)
            await pictured(page, "phone-acting")
            await page.get_by_role("button", name="Stop bookkeeper from desk").click()
            await page.get_by_role("button", name="Stop bookkeeper from desk").wait_for(state="detached")
        after = await call(live, given["access_token"], "office__read_mail", {"id": "1"})
        assert "session.not_live" in text_of(after)


async def test_a_passkey_that_was_taken_away_is_told_of_on_a_phone(chromium: str, tmp_path: Path) -> None:
    port = free_port()
    issuer = f"http://localhost:{port}"
    async with (
        furnished(tmp_path / "home", issuer) as home,
        up(home, port),
        browser_of(chromium, viewport=PHONE) as context,
    ):
        page = await context.new_page()
        await with_device(page)
        await signed_in_by_link(page, home)
        await page.get_by_role("button", name="Add a passkey").click()
        await page.get_by_role("button", name="Remove the passkey This device").click()
        await page.get_by_text("You have none").wait_for()
        await pictured(page, "phone-account")
        await page.get_by_role("button", name="Sign out").click()
        await page.goto(f"{issuer}/sign-in")
        await page.get_by_role("button", name="Sign in with a passkey").click()
        await page.get_by_role("alert").filter(has_text="unknown here").wait_for()
        await pictured(page, "phone-sign-in")
        wide = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "nothing stands out of a phone's screen"
