"""Keys that sign tokens: told of before they sign, verified until their last token ends, and then gone."""

import stat
from dataclasses import replace
from typing import Any

import jwt
import pytest

from remit.core.errors import Forbidden, StoreUnavailable, Unauthenticated
from remit.core.events import Kind
from remit.core.times import DAY, SECOND
from remit.services import token_keys
from remit.services.deps import Deps
from remit.storage.token_keys import TokenKeyFiles
from remit.tokens.jwt import LONGEST_LIFE, SessionTokens
from tests.services.world import ISSUER
from tests.web.house import House, key_files, text_of

pytestmark = pytest.mark.anyio


def another_process(deps: Deps, files: TokenKeyFiles) -> Deps:
    """The same home as another process has it: its own keys in memory."""
    known = token_keys.read_keys(files)
    tokens = SessionTokens(known[0][1], ISSUER)
    tokens.take(known)
    return replace(deps, tokens=tokens)


async def fresh_token(house: House) -> str:
    """A token that is issued now."""
    answer = await house.ask("POST", f"/v1/sessions/{house.session}/token", "host", {})
    return str(answer.json()["token"])


def kid_of(token: str) -> Any:
    """Which key signed it, by its own word."""
    return jwt.get_unverified_header(token)["kid"]


@pytest.mark.claim("token:keys-rotate")
async def test_a_key_is_told_of_before_it_signs_and_no_token_is_refused_on_the_way(house: House) -> None:
    deps, clock = house.world.deps, house.world.clock
    files = key_files(house.world)
    other = another_process(deps, files)
    before = await fresh_token(house)
    made = (await house.ask("POST", "/v1/token-keys", "administrator", {})).json()
    told = (await house.ask("GET", "/oauth/jwks")).json()["keys"]
    assert [key["kid"] for key in told] == [kid_of(before), made["kid"]]
    assert all("d" not in key for key in told)
    assert kid_of(await fresh_token(house)) == kid_of(before), "it is only told of yet"
    await token_keys.keep(other, files, 90 * DAY)
    clock.at += token_keys.LEAD
    after = await fresh_token(house)
    assert kid_of(after) == made["kid"]
    for process in (deps, other):
        assert process.tokens.check(before, clock.at) is not None
        assert process.tokens.check(after, clock.at) is not None
    assert text_of(await house.call("office__read_mail", {"id": "1"}, who=after)) == "ok"
    assert [leaf["about"] for leaf in await house.world.leaves() if leaf["k"] == Kind.TOKEN_KEY_ROTATED] == [
        made["kid"]
    ]


@pytest.mark.claim("token:keys-rotate")
async def test_an_old_key_verifies_as_long_as_its_tokens_live_and_is_then_deleted(house: House) -> None:
    deps, clock = house.world.deps, house.world.clock
    files = key_files(house.world)
    stolen = deps.tokens._keys[0].key
    await token_keys.rotate(deps, files, house.world.admin)
    clock.at += token_keys.LEAD + LONGEST_LIFE - SECOND
    await token_keys.keep(deps, files, 90 * DAY)
    assert len(files.read()) == 2
    clock.at += token_keys.AFTER
    await token_keys.keep(deps, files, 90 * DAY)
    assert [since for since, _ in files.read()] != [0]
    assert len(files.read()) == 1
    claims = deps.tokens.check(await fresh_token(house), clock.at)
    assert claims is not None
    forged = SessionTokens(stolen, ISSUER).issue(claims)
    with pytest.raises(Unauthenticated):
        deps.tokens.check(forged, clock.at)
    keeper = another_process(deps, files)
    keeper.tokens.take([(0, stolen), *token_keys.read_keys(files)])
    assert keeper.tokens.check(forged, clock.at) is not None, "the control: with the key kept it would hold"


@pytest.mark.claim("token:keys-rotate")
async def test_after_its_time_another_key_is_made_by_itself_and_once(house: House) -> None:
    deps, clock = house.world.deps, house.world.clock
    files = key_files(house.world)
    await token_keys.rotate(deps, files, house.world.admin)
    clock.at += 10 * DAY
    await token_keys.keep(deps, files, 90 * DAY)
    assert len(files.read()) == 1, "the first is gone, and the second is not old"
    clock.at += 90 * DAY
    for process in (deps, another_process(deps, files), deps):
        await token_keys.keep(process, files, 90 * DAY)
    assert len(files.read()) == 2
    kinds = [leaf["k"] for leaf in await house.world.leaves()]
    assert kinds.count(Kind.TOKEN_KEY_ROTATED) == 2


async def test_key_files_are_their_owner_s_whole_and_there(house: House) -> None:
    files = key_files(house.world)
    folder = house.world.path / "keys"
    await token_keys.rotate(house.world.deps, files, house.world.admin)
    [later] = folder.glob("token-*.pem")
    assert stat.S_IMODE(later.stat().st_mode) == 0o600
    later.chmod(0o644)
    with pytest.raises(Forbidden):
        files.read()
    later.chmod(0o600)
    later.write_text("no key")
    with pytest.raises(StoreUnavailable):
        token_keys.read_keys(files)
    for path in folder.glob("token*.pem"):
        path.unlink()
    with pytest.raises(StoreUnavailable):
        files.read()
    (folder / "token-x.pem").write_text("not ours")
    with pytest.raises(StoreUnavailable):
        files.read()
