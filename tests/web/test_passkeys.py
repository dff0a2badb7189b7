"""Passkeys: who adds one, who signs in with one, and what of it a thief or another site can use. A device in software."""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from remit.core.events import Kind
from remit.services import passkeys, people, signing_in
from tests.services.world import ISSUER
from tests.web.dance import Dance, client
from tests.web.house import PERSON, House

pytestmark = pytest.mark.anyio

FORM = {"content-type": "application/x-www-form-urlencoded"}


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Device:
    """What keeps one passkey, in software: it does as it is told, also what a real one never would."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    count: int = 0
    handle: bytes = b""
    origin: str = ISSUER
    host: str = "localhost"
    verified: bool = True

    def _data(self, *, attested: bool) -> bytes:
        self.count += 1
        flags = 0x01 | (0x04 if self.verified else 0) | (0x40 if attested else 0)
        head = hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")
        if not attested:
            return head
        point = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        return head + bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def create(self, options: dict[str, Any]) -> str:
        """What a browser sends of a new passkey."""
        self.handle = base64.urlsafe_b64decode(options["user"]["id"] + "==")
        told = self._client("webauthn.create", options["challenge"])
        attested = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": self._data(attested=True)})
        return self._sent({"clientDataJSON": b64(told), "attestationObject": b64(attested)})

    def get(self, options: dict[str, Any], **changed: Any) -> str:
        """What a browser sends to sign in."""
        told = self._client(changed.get("kind", "webauthn.get"), options["challenge"])
        data = self._data(attested=False)
        signature = self.key.sign(data + hashlib.sha256(told).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": b64(told), "authenticatorData": b64(data), "signature": b64(signature)}
        return self._sent(response | {"userHandle": b64(changed.get("handle", self.handle))})

    def _sent(self, response: dict[str, str]) -> str:
        name = b64(self.id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
        )


@pytest.fixture
async def dance(house: House) -> Dance:
    """A browser in which Ada has just signed in by a link."""
    made = Dance(house, await client(house))
    await made.sign_in()
    return made


def form_token(dance: Dance) -> str:
    """The token of this sign-in's forms."""
    return signing_in.form_token(dance.cookies["remit_sign_in"])


async def offered(dance: Dance) -> dict[str, Any]:
    """What a new passkey is made from."""
    answer = await dance.post("/account/passkeys/options", {"form_token": form_token(dance)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def add(dance: Dance, device: Device, name: str = "Laptop") -> httpx.Response:
    """Add a passkey."""
    form = {"form_token": form_token(dance), "name": name, "credential": device.create(await offered(dance))}
    return await dance.post("/account/passkeys", form)


@dataclass
class Browser:
    """A browser in which nobody is signed in."""

    house: House
    cookies: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, **form: str) -> httpx.Response:
        """A form of our page."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.house.http.request("POST", path, data=form or {"a": "b"}, headers={"cookie": cookie})
        self.cookies |= dict(answer.cookies)
        return answer

    async def options(self) -> dict[str, Any]:
        """What a passkey is proved with."""
        answer = await self.post("/sign-in/options")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def sign_in(self, device: Device, **changed: Any) -> httpx.Response:
        """Sign in with a device."""
        return await self.post("/sign-in/passkey", credential=device.get(await self.options(), **changed))


@pytest.mark.claim("passkey:proves-its-person")
async def test_a_person_adds_a_passkey_and_signs_in_with_it(dance: Dance) -> None:
    device = Device()
    assert (await add(dance, device)).status_code == 200
    page = (await dance.get("/account")).text
    assert "Laptop" in page
    browser = Browser(dance.house, {"remit_sign_in": "fixed-by-somebody"})
    answer = await browser.sign_in(device)
    assert (answer.status_code, answer.json()) == (200, {"next": "/account"}), answer.text
    fresh = browser.cookies["remit_sign_in"]
    assert fresh != "fixed-by-somebody"
    caller = await signing_in.who(dance.house.world.deps, fresh)
    assert caller is not None
    assert caller.person.email == PERSON
    kinds = [leaf["k"] for leaf in await dance.house.world.leaves()]
    assert kinds.count(Kind.PASSKEY_ADDED) == 1
    assert b"Laptop" not in b"".join(await dance.house.world.raw_leaves())
    identifier = re.findall(r'name="passkey" value="([^"]*)"', page)[0]
    gone = await dance.post("/account/passkeys/remove", {"form_token": form_token(dance), "passkey": identifier})
    assert gone.status_code == 303
    assert (await browser.sign_in(device)).status_code == 401


@pytest.mark.claim("passkey:proves-its-person")
async def test_only_the_device_itself_at_our_own_address_with_its_person_there_signs_in(dance: Dance) -> None:
    device = Device()
    await add(dance, device)
    thief = Device(id=device.id, handle=device.handle)
    browser = Browser(dance.house)
    assert (await browser.sign_in(thief)).status_code == 401, "another key under the same name"
    for name, value in (("origin", "http://localhost:9999"), ("host", "evil.test"), ("verified", False)):
        was = getattr(device, name)
        setattr(device, name, value)
        assert (await browser.sign_in(device)).status_code == 401, name
        setattr(device, name, was)
    assert (await browser.sign_in(device, kind="webauthn.create")).status_code == 401
    assert (await browser.sign_in(device, handle=b"per_00000000000000000000000000")).status_code == 401
    assert (await browser.sign_in(device)).status_code == 200, "the control"


@pytest.mark.claim("passkey:challenges-are-used-once")
@pytest.mark.parametrize("bound", [True, False])
async def test_an_answer_is_good_once_soon_and_in_the_browser_that_was_asked(
    dance: Dance, monkeypatch: pytest.MonkeyPatch, *, bound: bool
) -> None:
    """The control: where challenges are not looked up, an answer that was seen on its way signs somebody else in."""
    device = Device()
    await add(dance, device)
    browser, other = Browser(dance.house), Browser(dance.house)
    await other.options()
    seen = device.get(await browser.options())
    if not bound:

        async def anything(_: object, __: str, sent: dict[str, Any], ___: str) -> bytes:
            told = json.loads(base64.urlsafe_b64decode(sent["response"]["clientDataJSON"] + "=="))
            return base64.urlsafe_b64decode(told["challenge"] + "==")

        monkeypatch.setattr(passkeys, "_used", anything)
        assert (await other.post("/sign-in/passkey", credential=seen)).status_code == 200
        return
    assert (await other.post("/sign-in/passkey", credential=seen)).status_code == 401
    assert (await browser.post("/sign-in/passkey", credential=seen)).status_code == 401, "it was used, if in vain"
    late = device.get(await browser.options())
    dance.house.world.clock.at += passkeys.CHALLENGE_LIFE
    assert (await browser.post("/sign-in/passkey", credential=late)).status_code == 401
    made_up = device.get({"challenge": b64(secrets.token_bytes(32))})
    assert (await browser.post("/sign-in/passkey", credential=made_up)).status_code == 401
    good = device.get(await browser.options())
    assert (await browser.post("/sign-in/passkey", credential=good)).status_code == 200
    assert (await browser.post("/sign-in/passkey", credential=good)).status_code == 401


@pytest.mark.claim("passkey:a-copy-is-noticed")
async def test_a_count_that_goes_back_is_refused_and_written_down(dance: Dance) -> None:
    device = Device()
    await add(dance, device)
    browser = Browser(dance.house)
    assert (await browser.sign_in(device)).status_code == 200
    copy = Device(key=device.key, id=device.id, handle=device.handle, count=device.count - 1)
    assert (await browser.sign_in(copy)).status_code == 401
    assert [leaf["k"] for leaf in await dance.house.world.leaves()].count(Kind.PASSKEY_REFUSED) == 1
    assert (await browser.sign_in(device)).status_code == 200, "the control"


@pytest.mark.claim("passkey:added-by-who-just-signed-in")
async def test_a_passkey_is_added_from_our_page_by_who_has_just_signed_in(dance: Dance) -> None:
    options = await offered(dance)
    device = Device()
    form = {"form_token": form_token(dance), "name": "x", "credential": device.create(options)}
    for headers in ({"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}):
        assert (await dance.post("/account/passkeys", form, **headers)).status_code == 403
    assert (await dance.post("/account/passkeys", {**form, "form_token": "0" * 64})).status_code == 403
    other = Dance(dance.house, dance.client)
    await other.sign_in()
    borrowed = {**form, "form_token": form_token(other)}
    assert (await other.post("/account/passkeys", borrowed)).status_code == 401, "asked of another browser"
    fresh = await offered(dance)
    for changed in (
        {"name": ""},
        {"name": "x" * 65},
        {"name": "a\x07b"},
        {"credential": "{}"},
        {"credential": "x" * 20_000},
    ):
        sent = {"form_token": form_token(dance), "name": "x", "credential": device.create(fresh), **changed}
        answer = await dance.post("/account/passkeys", {name: value for name, value in sent.items() if value})
        assert answer.status_code in {400, 422}, (changed, answer.status_code)
        fresh = await offered(dance)
    dance.house.world.clock.at += passkeys.FRESH + 1
    assert (await dance.post("/account/passkeys/options", {"form_token": form_token(dance)})).status_code == 403
    assert (await Browser(dance.house).post("/account/passkeys/options")).status_code == 403


@pytest.mark.claim("passkey:proves-its-person")
async def test_who_is_suspended_or_has_left_signs_in_with_nothing(dance: Dance) -> None:
    device = Device()
    await add(dance, device)
    await people.suspend(dance.house.world.deps, dance.house.world.admin, PERSON)
    assert (await Browser(dance.house).sign_in(device)).status_code == 401
    await people.reinstate(dance.house.world.deps, dance.house.world.admin, PERSON)
    assert (await Browser(dance.house).sign_in(device)).status_code == 200, "the control"


async def test_one_passkey_is_one_person_s_and_a_person_has_so_many(
    dance: Dance, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device()
    await add(dance, device)
    assert (await add(dance, device)).status_code == 409
    monkeypatch.setattr(passkeys, "MOST", 1)
    assert (await add(dance, Device())).status_code == 409
