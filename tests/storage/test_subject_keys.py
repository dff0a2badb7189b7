"""The key of a person: made once whichever process asks, whole or not there, gone for everybody when destroyed."""

import os
import resource
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import StoreUnavailable
from remit.storage.subject_keys import KEY_BYTES, SubjectKeys
from tests.services.world import SystemEntropy
from tests.storage.children import LONG, SERVED, child
from tests.storage.nouns import PERSON, ident


def keys(folder: Path) -> SubjectKeys:
    """The keys of this folder, as one process has them."""
    return SubjectKeys(folder, SystemEntropy())


def test_a_key_is_made_at_first_use_and_stays(tmp_path: Path) -> None:
    mine, yours = keys(tmp_path), keys(tmp_path)
    assert mine.existing(PERSON) is None
    made = mine.key(PERSON)
    assert len(made) == KEY_BYTES
    assert made == mine.key(PERSON) == yours.key(PERSON) == yours.existing(PERSON)
    assert mine.key(ident("per", 2)) != made


def test_keys_are_for_their_owner_only_and_nothing_else_lies_beside_them(tmp_path: Path) -> None:
    keys(tmp_path / "subjects").key(PERSON)
    assert (tmp_path / "subjects").stat().st_mode & 0o777 == 0o700
    (only,) = (tmp_path / "subjects").iterdir()
    assert only.stat().st_mode & 0o777 == 0o600
    assert only.stat().st_nlink == 1


@pytest.mark.claim("log:erasure-keeps-proof")
def test_a_destroyed_key_is_gone_at_once_also_for_who_has_used_it(tmp_path: Path) -> None:
    mine, yours = keys(tmp_path), keys(tmp_path)
    old = mine.key(PERSON)
    assert yours.destroy(PERSON)
    assert mine.existing(PERSON) is None
    assert not yours.destroy(PERSON)
    assert list(tmp_path.iterdir()) == []
    assert mine.key(PERSON) != old


@pytest.mark.claim("log:erasure-keeps-proof")
def test_a_key_made_anew_in_the_old_ones_place_is_not_taken_for_it(tmp_path: Path) -> None:
    mine, yours = keys(tmp_path), keys(tmp_path)
    for _ in range(60):
        old = mine.key(PERSON)
        yours.destroy(PERSON)
        new = yours.key(PERSON)
        # File systems give an inode again; who knew a key by its inode would go on with the destroyed one.
        assert mine.existing(PERSON) == new != old


def _make(say: Connection, folder: Path, go: Any) -> None:
    mine = keys(folder)
    found = []
    for number in range(30):
        go.wait(LONG)
        found.append(mine.key(ident("per", number)))
    say.send(found)


def test_processes_that_make_a_key_at_once_have_one_key(tmp_path: Path) -> None:
    go = SERVED.Barrier(3)
    with ExitStack() as stack:
        children = [stack.enter_context(child(_make, tmp_path, go)) for _ in range(3)]
        first, *others = [one.hear() for one in children]
    assert others == [first, first]
    assert len(set(first)) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{ident('per', n)}.key" for n in range(30))


def _make_with_little_room(say: Connection, folder: Path) -> None:
    mine = keys(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 1, 16, KEY_BYTES - 1):
        # The kernel writes the part for which there is room, and says how much that was.
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            say.send(("made", mine.key(PERSON)))
        except StoreUnavailable as refusal:
            say.send(("refused", refusal.detail))
    resource.setrlimit(resource.RLIMIT_FSIZE, (KEY_BYTES, hard))
    say.send(("made", mine.key(PERSON)))


@pytest.mark.claim("log:no-lost-record")
def test_a_key_that_could_be_written_in_part_only_is_no_key(tmp_path: Path) -> None:
    with child(_make_with_little_room, tmp_path) as one:
        heard = one.hear_all()
    assert [what for what, _ in heard] == ["refused"] * 4 + ["made"]
    assert keys(tmp_path).existing(PERSON) == heard[-1][1]
    assert [path.name for path in tmp_path.iterdir()] == [f"{PERSON}.key"], "no half-written file is left behind"


def _write_short(say: Connection, folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    handle = os.open(folder / "file", os.O_WRONLY | os.O_CREAT)
    say.send(os.write(handle, bytes(KEY_BYTES)))


def test_one_write_may_well_write_a_part_and_call_it_done(tmp_path: Path) -> None:
    """The control of the test above: with one unchecked ``write`` half a key would be linked into place."""
    with child(_write_short, tmp_path) as one:
        assert one.hear() == 16


@pytest.mark.parametrize("damaged", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_file_is_told_and_neither_used_nor_replaced(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / f"{PERSON}.key").write_bytes(damaged)
    for use in (keys(tmp_path).existing, keys(tmp_path).key):
        with pytest.raises(StoreUnavailable, match="damaged"):
            use(PERSON)
    assert (tmp_path / f"{PERSON}.key").read_bytes() == damaged


@pytest.mark.parametrize(
    "name", ["", "../per", "per_1", PERSON.upper(), f"{PERSON}\n", f"{PERSON}/../x", "ada@example.test"]
)
def test_only_an_id_names_a_key(tmp_path: Path, name: str) -> None:
    for use in (keys(tmp_path / "s").existing, keys(tmp_path / "s").key, keys(tmp_path / "s").destroy):
        with pytest.raises(StoreUnavailable, match="id"):
            use(name)
    assert [path.name for path in tmp_path.rglob("*")] == ["s"]


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="can't be made"):
        keys(tmp_path / "file" / "subjects")
    mine = keys(tmp_path / "subjects")
    (tmp_path / "subjects" / f"{PERSON}.key").mkdir()
    for use in (mine.existing, mine.key, mine.destroy):
        with pytest.raises(StoreUnavailable, match="can't be"):
            use(PERSON)
