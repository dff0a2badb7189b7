"""A server that puts the credential it is called with into what it lists: nothing of that list is taken in or shown."""

import base64
import json

import pytest

from remit.gateway import servers as upstreams
from remit.guards.secrets import KnownSecrets
from remit.services import servers
from tests.services.world import PAY, READ
from tests.web.house import House, text_of

pytestmark = pytest.mark.anyio

SECRET = "s3cret-s3cret-s3cret"


@pytest.mark.claim("credential:never-returned")
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("spelled", [SECRET, base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex()])
async def test_a_credential_in_a_tool_s_description_is_shown_to_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch, spelled: str, *, known: bool
) -> None:
    """The control: where it is not looked for, an administrator reads it in the new definition."""
    await servers.store_secret(
        house.world.deps, house.world.admin, "office", "header", "Authorization", f"Bearer {SECRET}"
    )
    await house.resynced()
    assert text_of(await house.call("office__read_mail", {"id": "1"})) == "ok"
    if not known:
        monkeypatch.setattr(upstreams, "redact_known", _found_nothing)
    house.upstream.tools = [PAY, READ.replace(b"Read one mail", b"Read one mail with " + spelled.encode())]
    await house.servers.close_session(house.session)
    said = text_of(await house.call("office__read_mail", {"id": "1"}))
    answer = await house.ask("POST", "/v1/servers/office/sync", "administrator", {})
    diff = await house.ask("GET", "/v1/tools/office/read_mail/diff", "administrator")
    assert (spelled in json.dumps([said, answer.text, diff.text])) is not known
    if known:
        assert "holds the credential" in said
        assert answer.status_code == 503
        assert "holds the credential" in answer.text


def _found_nothing(data: bytes, secrets: KnownSecrets) -> tuple[bytes, int]:
    del secrets
    return data, 0
