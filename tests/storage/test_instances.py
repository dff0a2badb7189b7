"""Who is alive: a lock that the kernel lets go of with its process, however that ends."""

import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import InternalError, StoreUnavailable
from remit.storage.instances import Instance, alive
from tests.storage.children import LONG, SERVED, child


def _hold(say: Connection, folder: Path, name: str) -> None:
    held = Instance(folder, name)
    say.send(held.name)
    threading.Event().wait(LONG)


@pytest.mark.claim("upstream:unknown-not-retried")
def test_a_process_is_alive_until_kill_9_and_dead_at_once_afterwards(tmp_path: Path) -> None:
    with child(_hold, tmp_path, "i-one") as one, child(_hold, tmp_path, "i-two") as two:
        assert [one.hear(), two.hear()] == ["i-one", "i-two"]
        assert [alive(tmp_path, name) for name in ("i-one", "i-two", "i-three")] == [True, True, False]
        one.kill()
        one.process.join(LONG)
        # The control: its file is still there, as a list of names in files would take for life.
        assert (tmp_path / "i-one.lock").exists()
        assert [alive(tmp_path, name) for name in ("i-one", "i-two")] == [False, True]
        assert not (tmp_path / "i-one.lock").exists()


def test_who_closes_leaves_nothing_behind(tmp_path: Path) -> None:
    held = Instance(tmp_path / "run", "i-1")
    assert alive(tmp_path / "run", "i-1")
    held.close()
    assert not alive(tmp_path / "run", "i-1")
    assert list((tmp_path / "run").iterdir()) == []


def test_the_lock_is_for_its_owner_only_and_no_child_program_inherits_it(tmp_path: Path) -> None:
    held = Instance(tmp_path / "run", "i-1")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "i-1.lock").stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(held._handle)
    held.close()


def test_a_name_that_is_held_is_not_given_to_a_second(tmp_path: Path) -> None:
    held = Instance(tmp_path, "i-1")
    with pytest.raises(StoreUnavailable, match="holds the name"):
        Instance(tmp_path, "i-1")
    assert alive(tmp_path, "i-1"), "the second attempt took nothing away"
    held.close()
    Instance(tmp_path, "i-1").close()


@pytest.mark.parametrize(
    "name",
    ["", "../i-1", "a/b", "/etc/passwd", ".", "..", "i-1\n", "i-1\0", "I-1", "i_1", "i-1.lock", "x" * 65, "\udcff"],
)
def test_a_name_that_is_no_name_reaches_no_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    outside = Instance(tmp_path, "i-1")
    folder.mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert not alive(folder, name)
    with pytest.raises(InternalError):
        Instance(folder, name)
    assert sorted(tmp_path.rglob("*")) == before
    assert alive(tmp_path, "i-1"), "the lock beside the folder is untouched"
    outside.close()


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        Instance(tmp_path / "file" / "run", "i-1")
    assert not alive(tmp_path / "missing", "i-1")


def _open_and_close(say: Connection, folder: Path, go: Any) -> None:
    """Take and let go of one name again and again; say whenever somebody else's look made it look dead."""
    go.wait(LONG)
    wrong = 0
    for _ in range(400):
        try:
            held = Instance(folder, "i-1")
        except StoreUnavailable:  # the other process is looking at the file this very moment
            continue
        wrong += not (folder / "i-1.lock").exists() or os.fstat(held._handle).st_nlink != 1
        held.close()
    say.send(wrong)


def _look(say: Connection, folder: Path, go: Any) -> None:
    go.wait(LONG)
    seen = {True: 0, False: 0}
    for _ in range(4_000):
        seen[alive(folder, "i-1")] += 1
    say.send(seen)


def test_one_who_looks_while_a_name_is_let_go_and_taken_again_never_takes_the_new_lock_away(tmp_path: Path) -> None:
    go = SERVED.Barrier(3)
    with (
        child(_open_and_close, tmp_path, go) as holder,
        child(_look, tmp_path, go) as first,
        child(_look, tmp_path, go) as second,
    ):
        assert holder.hear() == 0
        for looker in (first, second):
            seen = looker.hear()
            assert sum(seen.values()) == 4_000
