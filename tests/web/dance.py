"""A client and a browser of the tests: the authorization code flow step by step, so that an attack may change any."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx

from tests.services.world import ISSUER
from tests.web.house import PERSON, House

BACK = "http://127.0.0.1:7777/back"
CODE = "authorization_code"
REFRESH = "refresh_token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
MCP = f"{ISSUER}/mcp"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def pkce() -> tuple[str, str]:
    """A verifier and its challenge (RFC 7636)."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Dance:
    """One client of one house, and one browser in which Ada is signed in."""

    house: House
    client: dict[str, Any]
    cookies: dict[str, str] = field(default_factory=dict)
    verifier: str = ""

    @property
    def id(self) -> str:
        """The client's id."""
        return str(self.client["client_id"])

    async def sign_in(self, who: str = PERSON) -> None:
        """Sign in by a link, as a browser would."""
        made = await self.house.ask("POST", f"/v1/people/{who}/link", "administrator", {})
        assert made.status_code == 201, made.text
        secret = urlsplit(made.json()["link"]).fragment
        answer = await self.post("/sign-in", {"secret": secret})
        assert answer.status_code == 303, answer.text
        self.cookies["remit_sign_in"] = answer.cookies["remit_sign_in"]

    async def post(self, path: str, form: Any, **headers: str) -> httpx.Response:
        """A form."""
        pairs = list(form.items()) if isinstance(form, dict) else form
        return await self.house.http.request(
            "POST", path, content=urlencode(pairs), headers={**FORM, **self._cookie(), **headers}
        )

    async def get(self, path: str, query: dict[str, str] | None = None) -> httpx.Response:
        """A page."""
        return await self.house.http.request("GET", path, params=query, headers=self._cookie())

    def _cookie(self) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}

    def query(self, **members: str) -> dict[str, str]:
        """A good authorization request; an empty member is left out."""
        self.verifier, challenge = pkce()
        query = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": BACK,
            "state": "s-1",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": MCP,
            **members,
        }
        return {name: value for name, value in query.items() if value}

    async def answer(
        self, page: str, say: str = "yes", ttl: str = "PT1H", drop: tuple[str, ...] = ()
    ) -> httpx.Response:
        """The consent page's form, answered."""
        return await self.post("/oauth/authorize", self.form_of(page, say, ttl, drop))

    def form_of(
        self, page: str, say: str = "yes", ttl: str = "PT1H", drop: tuple[str, ...] = ()
    ) -> list[tuple[str, str]]:
        """What a browser sends for the form of a page."""
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
        tools = re.findall(r'name="tools\[\]" value="([^"]*)"', page)
        pairs = [(name, unescape(value)) for name, value in hidden]
        return [
            *pairs,
            *(("tools[]", one) for one in map(unescape, tools) if one not in drop),
            ("ttl", ttl),
            ("answer", say),
        ]

    async def code(self, drop: tuple[str, ...] = (), **members: str) -> str:
        """A code that Ada consented to."""
        page = await self.get("/oauth/authorize", self.query(**members))
        assert page.status_code == 200, page.text
        sent = await self.answer(page.text, drop=drop)
        assert sent.status_code == 303, sent.text
        back = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
        assert (back["iss"], back["state"]) == (ISSUER, "s-1")
        return back["code"]

    async def token(self, grant: str, **form: str) -> httpx.Response:
        """A request at the token endpoint, with the client's secret where it has one."""
        secret = {"client_secret": str(self.client["secret"])} if "secret" in self.client else {}
        members = {"grant_type": grant, "client_id": self.id, **secret, **form}
        return await self.post("/oauth/token", {name: value for name, value in members.items() if value})

    async def bare(self, code: str, form: dict[str, str]) -> httpx.Response:
        """Redeem a code with whatever proof stands in ``form``."""
        members = {"grant_type": CODE, "client_id": self.id, "code": code, "redirect_uri": BACK, **form}
        members["code_verifier"] = self.verifier
        return await self.post("/oauth/token", {name: value for name, value in members.items() if value})

    async def redeem(self, code: str, **form: str) -> httpx.Response:
        """Redeem a code."""
        members = {"code": code, "redirect_uri": BACK, "code_verifier": self.verifier, **form}
        return await self.token(CODE, **members)

    async def tokens(self, drop: tuple[str, ...] = (), **members: str) -> dict[str, Any]:
        """A whole dance: the token response."""
        answer = await self.redeem(await self.code(drop, **members))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


async def client(house: House, **members: Any) -> dict[str, Any]:
    """A registered client of the bookkeeper."""
    document = {
        "kind": "Client",
        "name": "desk",
        "agent": "bookkeeper",
        "auth": "client_secret",
        "grants": [CODE, REFRESH],
        "redirects": [BACK],
        **members,
    }
    answer = await house.ask("POST", "/v1/clients", "administrator", document)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def error_of(answer: httpx.Response) -> str:
    """The OAuth error code of a refusal, in a body or in the query of a redirect."""
    if answer.status_code == 303:
        return parse_qs(urlsplit(answer.headers["location"]).query).get("error", [""])[0]
    return str(answer.json()["error"])
