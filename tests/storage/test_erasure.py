"""Erasing a person: what was sealed for them can't be read again, in any copy of the store, and the log still proves."""

import base64
import shutil
from pathlib import Path

import pytest

from remit.audit import tree
from remit.audit.commitments import commit_bytes, opens
from remit.core.errors import StoreUnavailable
from remit.core.ports import LogEntry, PayloadSealer, Private, Store
from remit.guards.json_in import parse
from tests.storage.contract_units import leaves, root
from tests.storage.home import STORE, make_sealer, opened
from tests.storage.nouns import PERSON, event, ident

pytestmark = pytest.mark.anyio

IBAN = "DE89370400440532013000"
OTHER = ident("per", 2)


async def record(store: Store, value: str, subject: str = PERSON) -> int:
    """An event with one private value."""
    draft = event(private={"/to": value})
    async with store.unit("main") as unit:
        return await unit.log.append(type(draft)(kind=draft.kind, actor=PERSON, subject=subject, private=draft.private))


async def kept(store: Store, index: int) -> Private:
    """The sealed value of an event."""
    async with store.view("main") as view:
        (only,) = await view.log.private(index)
    return only


def commitment(entry: LogEntry) -> bytes:
    """What the leaf says of its private value."""
    body = parse(entry.leaf)
    assert isinstance(body, dict)
    assert isinstance(body["commit"], dict)
    return base64.b64decode(str(body["commit"]["/to"]))


def holds(folder: Path, text: bytes) -> list[str]:
    """The files in which these bytes stand."""
    return [path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.fixture
def sealer(tmp_path: Path) -> PayloadSealer:
    """The sealer of the home in ``tmp_path``."""
    return make_sealer(tmp_path)


@pytest.mark.claim("log:erasure-keeps-proof")
async def test_after_erasure_neither_the_store_nor_a_backup_of_it_gives_the_value_and_the_leaf_still_verifies(
    tmp_path: Path, sealer: PayloadSealer
) -> None:
    store = await opened(tmp_path)
    index = await record(store, IBAN)
    theirs = await record(store, "their own", OTHER)
    sealed = await kept(store, index)
    known = sealer.reveal(sealed, "main")
    assert known is not None
    before, entry = await root(store), (await leaves(store))[index]
    await store.close()
    shutil.copytree(tmp_path, tmp_path / "backup of all")
    (tmp_path / "backup").mkdir()
    shutil.copy(tmp_path / STORE, tmp_path / "backup" / STORE)

    assert sealer.forget("main", PERSON)

    for home in (tmp_path, tmp_path / "backup"):
        store = await opened(home)
        assert make_sealer(tmp_path).reveal(await kept(store, index), "main") is None
        assert await root(store) == before
        assert (await leaves(store))[index] == entry
        await store.close()
    assert holds(tmp_path, IBAN.encode()) == []
    assert sealer.reveal(sealed, "main") is None, "who read it before erasure has no key left in memory"
    # Another person's values are untouched.
    store = await opened(tmp_path)
    opened_theirs = sealer.reveal(await kept(store, theirs), "main")
    assert opened_theirs is not None
    assert opened_theirs[1] == b'"their own"'
    await store.close()
    # Whoever was given salt and value while they could be had can still prove what the leaf says.
    assert commit_bytes(*known) == commitment(entry)
    assert opens(commitment(entry), known[0], IBAN)
    assert not opens(commitment(entry), known[0], IBAN + "1")
    # The control: a backup that holds the key files too does give it. Hence they live beside the store, not in it.
    store = await opened(tmp_path / "backup of all")
    assert make_sealer(tmp_path / "backup of all").reveal(await kept(store, index), "main") == known
    await store.close()


@pytest.mark.claim("log:erasure-keeps-proof")
async def test_what_was_erased_stays_erased_when_the_person_comes_back(tmp_path: Path, sealer: PayloadSealer) -> None:
    store = await opened(tmp_path)
    old = await record(store, IBAN)
    assert sealer.forget("main", PERSON)
    new = await record(store, "after")
    # With a new key the old value is erased, not damaged: an export of the whole log goes on over it.
    assert sealer.reveal(await kept(store, old), "main") is None
    found = sealer.reveal(await kept(store, new), "main")
    assert found is not None
    assert found[1] == b'"after"'
    assert sealer.forget("main", PERSON)
    assert not sealer.forget("main", PERSON)
    assert [sealer.reveal(await kept(store, index), "main") for index in (old, new)] == [None, None]
    await store.close()


@pytest.mark.claim("log:tamper-evident")
async def test_a_sealed_value_that_was_altered_or_moved_is_told_and_not_called_erased(
    tmp_path: Path, sealer: PayloadSealer
) -> None:
    store = await opened(tmp_path)
    index = await record(store, IBAN)
    sealed = await kept(store, index)
    await store.close()
    tag = 8
    changed = sealed.sealed[:-1] + bytes([sealed.sealed[-1] ^ 1])
    for wrong in (
        Private(index, "/to", PERSON, changed),
        Private(index, "/to", PERSON, sealed.sealed[: tag + 20]),
        Private(index, "/from", PERSON, sealed.sealed),
        Private(index + 1, "/to", PERSON, sealed.sealed),
    ):
        with pytest.raises(StoreUnavailable):
            sealer.reveal(wrong, "main")
    with pytest.raises(StoreUnavailable):
        sealer.reveal(sealed, "other")
    # Under another person's name it is nothing of theirs.
    make_sealer(tmp_path).commit("main", OTHER, 0, "/to", "x")
    assert sealer.reveal(Private(index, "/to", OTHER, sealed.sealed), "main") is None
    assert sealer.reveal(sealed, "main") is not None


async def test_a_value_and_its_salt_are_sealed_anew_each_time(tmp_path: Path, sealer: PayloadSealer) -> None:
    store = await opened(tmp_path)
    ones = [await kept(store, await record(store, IBAN)) for _ in range(5)]
    commitments = {commitment(entry) for entry in await leaves(store)}
    await store.close()
    assert len({one.sealed for one in ones}) == len(commitments) == 5
    salts = {found[0] for one in ones if (found := sealer.reveal(one, "main"))}
    assert len(salts) == 5
    assert not any(salt in one.sealed for one in ones for salt in salts)
    assert tree.leaf_hash(b"") not in commitments
