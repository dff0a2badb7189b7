"""The tree against RFC 6962's own words, published vectors, and a library that was written by others."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymerkle  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.audit.tree import (
    EMPTY_ROOT,
    MAX_LEAF,
    TILE_WIDTH,
    Frontier,
    TileLevel,
    TileName,
    bundle_entries,
    consistency_proof,
    entry_bundle,
    inclusion_proof,
    leaf_hash,
    node_hash,
    parse_tile_path,
    read_frontier,
    tile_bytes,
    tile_hashes,
    tile_path,
    tile_width,
    verify_consistency,
    verify_inclusion,
)
from remit.core.errors import InternalError, Malformed, NotFound, TooLarge

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "merkle.json").read_text("utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]

sizes = st.integers(min_value=1, max_value=130)


class Kept:
    """Stored hashes, as a store would keep them, that also counts how many were read."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.frontier, stored = Frontier().extend([leaf_hash(leaf) for leaf in leaves])
        self.stored = stored
        self.hashes = {(one.level, one.index): one.hash for one in stored}
        self.reads = 0

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.hashes[level, index]


def numbered(count: int) -> list[bytes]:
    """Leaves that all differ."""
    return [number.to_bytes(4, "big") for number in range(count)]


def recursive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


def test_the_published_roots_come_out() -> None:
    assert EMPTY_ROOT.hex() == VECTORS["empty_root"]
    assert Frontier().root() == EMPTY_ROOT
    for count, root in enumerate(VECTORS["roots"], 1):
        assert Kept(LEAVES[:count]).frontier.root().hex() == root


@pytest.mark.parametrize("vector", VECTORS["inclusion"])
def test_the_published_inclusion_proofs_come_out(vector: dict[str, Any]) -> None:
    kept = Kept(LEAVES)
    proof = inclusion_proof(vector["index"], vector["size"], kept.read)
    assert [one.hex() for one in proof] == vector["path"]
    root = bytes.fromhex(VECTORS["roots"][vector["size"] - 1])
    assert verify_inclusion(leaf_hash(LEAVES[vector["index"]]), vector["index"], vector["size"], proof, root)


@pytest.mark.parametrize("vector", VECTORS["consistency"])
def test_the_published_consistency_proofs_come_out(vector: dict[str, Any]) -> None:
    proof = consistency_proof(vector["old"], vector["new"], Kept(LEAVES).read)
    assert [one.hex() for one in proof] == vector["path"]


def test_the_roots_of_counted_trees_are_as_pinned() -> None:
    pinned = {one["size"]: one["root"] for one in VECTORS["counted"]}
    frontier = Frontier()
    for leaf in numbered(257):
        frontier = frontier.append(leaf_hash(leaf))
        if frontier.size in pinned:
            assert frontier.root().hex() == pinned[frontier.size]


@settings(max_examples=40)
@given(leaves=st.lists(st.binary(max_size=40), min_size=1, max_size=70))
def test_another_library_finds_the_same_root_for_any_leaves(leaves: list[bytes]) -> None:
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in leaves:
        other.append_entry(leaf)
    assert Kept(leaves).frontier.root() == other.get_root()


@settings(max_examples=60)
@given(leaves=st.lists(st.binary(max_size=4), max_size=70))
def test_the_frontier_has_the_root_that_the_recursive_definition_has(leaves: list[bytes]) -> None:
    assert Kept(leaves).frontier.root() == recursive_root(leaves)


@given(size=sizes, cut=st.integers(min_value=0, max_value=130))
def test_appending_one_by_one_or_in_two_batches_is_the_same(size: int, cut: int) -> None:
    hashes = [leaf_hash(leaf) for leaf in numbered(size)]
    one_by_one = Frontier()
    for one in hashes:
        one_by_one = one_by_one.append(one)
    first, before = Frontier().extend(hashes[:cut])
    second, after = first.extend(hashes[cut:])
    assert one_by_one == second == Frontier().extend(hashes)[0]
    assert before + after == Frontier().extend(hashes)[1]


@given(size=sizes)
def test_stored_hashes_come_without_a_gap_at_each_level_and_give_the_frontier_back(size: int) -> None:
    kept = Kept(numbered(size))
    for level in range(8):
        assert [one.index for one in kept.stored if one.level == level] == list(range(size >> level))
    assert read_frontier(size, kept.read) == kept.frontier


@pytest.mark.claim("log:append-only")
@settings(max_examples=60)
@given(data=st.data(), new=sizes)
def test_every_prefix_has_a_consistency_proof_that_verifies(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(min_value=0, max_value=new))
    kept = Kept(numbered(new))
    proof = consistency_proof(old, new, kept.read)
    assert verify_consistency(old, new, recursive_root(numbered(old)), kept.frontier.root(), proof)


@pytest.mark.claim("log:append-only")
@settings(max_examples=60)
@given(data=st.data(), new=st.integers(min_value=2, max_value=130))
def test_a_rewritten_prefix_has_no_consistency_proof(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(min_value=1, max_value=new - 1))
    changed = data.draw(st.integers(min_value=0, max_value=old - 1))
    leaves = numbered(new)
    old_root = recursive_root(leaves[:old])
    leaves[changed] = b"another"
    kept = Kept(leaves)
    proof = consistency_proof(old, new, kept.read)
    assert not verify_consistency(old, new, old_root, kept.frontier.root(), proof)
    # The control: without comparing with the old root, the forged history is as good as any.
    assert verify_consistency(old, new, recursive_root(leaves[:old]), kept.frontier.root(), proof)


def test_every_inclusion_proof_of_small_trees_verifies_for_its_leaf_and_index_alone() -> None:
    for size in range(1, 18):
        leaves = numbered(size)
        kept = Kept(leaves)
        root = kept.frontier.root()
        for index in range(size):
            proof = inclusion_proof(index, size, kept.read)
            for other in range(size):
                same = other == index
                assert verify_inclusion(leaf_hash(leaves[index]), other, size, proof, root) is same
                assert verify_inclusion(leaf_hash(leaves[other]), index, size, proof, root) is same


@pytest.mark.claim("log:tamper-evident")
@settings(max_examples=60)
@given(data=st.data(), size=sizes)
def test_an_inclusion_proof_with_any_bit_changed_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    kept = Kept(numbered(size))
    proof = inclusion_proof(index, size, kept.read)
    leaf, root = leaf_hash(numbered(size)[index]), kept.frontier.root()
    assert verify_inclusion(leaf, index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, [*proof, EMPTY_ROOT], root)
    assert not verify_inclusion(leaf, index, size, proof, flipped(root, data))
    if proof:
        at = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
        broken = [*proof[:at], flipped(proof[at], data), *proof[at + 1 :]]
        assert not verify_inclusion(leaf, index, size, broken, root)
        assert not verify_inclusion(leaf, index, size, proof[:-1], root)
        assert not verify_inclusion(leaf, index, size, [*proof[:-1], proof[-1][:31]], root)


def flipped(value: bytes, data: st.DataObject) -> bytes:
    """One bit changed."""
    bit = data.draw(st.integers(min_value=0, max_value=8 * len(value) - 1))
    return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(len(value), "big")


@settings(max_examples=60)
@given(data=st.data(), new=st.integers(min_value=2, max_value=130))
def test_a_consistency_proof_with_any_hash_changed_added_or_left_out_is_refused(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(min_value=1, max_value=new - 1))
    kept = Kept(numbered(new))
    proof = consistency_proof(old, new, kept.read)
    old_root, new_root = recursive_root(numbered(old)), kept.frontier.root()
    at = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
    for broken in (
        [*proof[:at], flipped(proof[at], data), *proof[at + 1 :]],
        [*proof[:at], *proof[at + 1 :]],
        [*proof, proof[-1]],
        [],
    ):
        assert not verify_consistency(old, new, old_root, new_root, broken)
    assert not verify_consistency(new, old, new_root, old_root, proof)


def test_the_empty_and_the_equal_tree_take_only_the_empty_proof() -> None:
    root = recursive_root(numbered(3))
    assert verify_consistency(0, 3, EMPTY_ROOT, root, [])
    assert not verify_consistency(0, 3, root, root, [])
    assert not verify_consistency(0, 3, EMPTY_ROOT, root, [root])
    assert verify_consistency(3, 3, root, root, [])
    assert not verify_consistency(3, 3, root, EMPTY_ROOT, [])
    assert not verify_consistency(3, 3, root, root, [root])
    assert not verify_inclusion(root, 0, 0, [], EMPTY_ROOT)


def test_a_proof_for_one_size_does_not_pass_for_another_size_with_the_same_root() -> None:
    kept = Kept(numbered(8))
    root4, root7, root8 = (read_frontier(size, kept.read).root() for size in (4, 7, 8))
    leaf = leaf_hash(numbered(4)[3])
    path = inclusion_proof(3, 4, kept.read)
    assert verify_inclusion(leaf, 3, 4, path, root4)
    for index, size in ((1, 2), (3, 8), (7, 8), (0, 1)):
        assert not verify_inclusion(leaf, index, size, path, root4)
    from_7 = consistency_proof(7, 8, kept.read)
    assert verify_consistency(7, 8, root7, root8, from_7)
    assert not verify_consistency(3, 4, root7, root8, from_7)
    root2 = read_frontier(2, kept.read).root()
    from_2 = consistency_proof(2, 4, kept.read)
    assert verify_consistency(2, 4, root2, root4, from_2)
    assert not verify_consistency(2, 8, root2, root4, from_2)


def test_bytes_can_not_slide_between_one_hash_and_the_next() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    root = node_hash(left, right)
    assert verify_inclusion(left, 0, 2, [right], root)
    assert node_hash(left[:31], left[31:] + right) == root, "the hash alone would not notice"
    assert not verify_inclusion(left[:31], 0, 2, [left[31:] + right], root)
    assert not verify_consistency(3, 3, b"", b"", [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_no_proof_is_made_for_an_entry_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(NotFound):
        inclusion_proof(index, size, Kept(numbered(3)).read)


@pytest.mark.parametrize(("old", "new"), [(4, 3), (-1, 3)])
def test_no_proof_is_made_for_a_log_that_shrinks(old: int, new: int) -> None:
    with pytest.raises(NotFound):
        consistency_proof(old, new, Kept(numbered(3)).read)


def test_proofs_read_as_many_hashes_as_the_tree_is_high_not_as_it_is_wide() -> None:
    size = 65_536 + 4_095

    class Counting:
        reads = 0

        def read(self, level: int, index: int) -> bytes:
            assert (index + 1) << level <= size, "only complete subtrees are stored"
            self.reads += 1
            return EMPTY_ROOT

    counting = Counting()
    assert len(inclusion_proof(65_000, size, counting.read)) <= 17
    assert len(consistency_proof(40_000, size, counting.read)) <= 18
    assert counting.reads <= 4 * 17


def test_a_node_can_not_pass_for_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    root = node_hash(left, right)
    assert leaf_hash(left + right) != root
    assert not verify_inclusion(leaf_hash(left + right), 0, 1, [], root)


def test_a_leaf_over_the_bound_is_refused() -> None:
    assert len(leaf_hash(bytes(MAX_LEAF))) == 32
    with pytest.raises(TooLarge):
        leaf_hash(bytes(MAX_LEAF + 1))
    with pytest.raises(TooLarge):
        entry_bundle([bytes(MAX_LEAF + 1)])


def test_a_frontier_of_the_wrong_number_of_hashes_is_refused() -> None:
    with pytest.raises(InternalError):
        Frontier(3, (EMPTY_ROOT,))


@pytest.mark.parametrize("vector", VECTORS["tiles"])
def test_tile_paths_are_spelled_as_c2sp_spells_them(vector: dict[str, Any]) -> None:
    level, index, width = vector["level"], vector["index"], vector["width"]
    assert tile_path(level, index, width) == vector["path"]
    assert parse_tile_path(vector["path"]) == TileName(level, index, width)


@pytest.mark.parametrize("path", VECTORS["refused_tile_paths"])
def test_every_other_spelling_of_a_tile_path_is_no_tile(path: str) -> None:
    with pytest.raises(NotFound):
        parse_tile_path(path)


@given(
    level=st.integers(min_value=0, max_value=63) | st.just("entries"),
    index=st.integers(min_value=0, max_value=2**62),
    width=st.integers(min_value=1, max_value=256),
)
def test_a_tile_path_reads_back(level: TileLevel, index: int, width: int) -> None:
    assert parse_tile_path(tile_path(level, index, width)) == TileName(level, index, width)


@pytest.mark.parametrize(("level", "index", "width"), [(0, -1, 1), (0, 0, 0), (0, 0, 257), (64, 0, 1), (-1, 0, 1)])
def test_no_path_is_made_for_a_tile_that_can_not_be(level: int, index: int, width: int) -> None:
    with pytest.raises(NotFound):
        tile_path(level, index, width)


def test_tile_widths_are_those_of_the_specification_s_example() -> None:
    size = 70_000
    assert [tile_width(0, index, size) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tile_width(1, index, size) for index in (0, 1, 2)] == [256, 17, 0]
    assert [tile_width(2, index, size) for index in (0, 1)] == [1, 0]
    assert tile_width("entries", 273, size) == 112
    assert [tile_width(0, 0, 256), tile_width(0, 1, 256), tile_width(1, 0, 256), tile_width(2, 0, 256)] == [
        256,
        0,
        1,
        0,
    ]


def test_a_tile_above_holds_the_roots_of_the_full_tiles_below() -> None:
    kept = Kept(numbered(600))
    name = TileName(1, 0, tile_width(1, 0, 600))
    above = [kept.read(name.tree_level, name.start + at) for at in range(name.width)]
    below = [tile_hashes(tile_bytes([kept.read(0, n * TILE_WIDTH + at) for at in range(256)]), 256) for n in range(2)]
    assert above == [Frontier().extend(hashes)[0].root() for hashes in below]


def test_a_truncated_tile_is_refused() -> None:
    data = tile_bytes([EMPTY_ROOT, EMPTY_ROOT])
    assert tile_hashes(data, 2) == [EMPTY_ROOT, EMPTY_ROOT]
    for wrong, width in ((data[:-1], 2), (data, 1), (data, 3), (b"", 0), (data + b"\0", 2)):
        with pytest.raises(Malformed):
            tile_hashes(wrong, width)
    for hashes in ([], [EMPTY_ROOT] * 257, [b"short"]):
        with pytest.raises(InternalError):
            tile_bytes(hashes)


@given(leaves=st.lists(st.binary(max_size=300), min_size=1, max_size=12))
def test_an_entry_bundle_reads_back_and_no_cut_of_it_does(leaves: list[bytes]) -> None:
    data = entry_bundle(leaves)
    assert bundle_entries(data, len(leaves)) == leaves
    for wrong, width in ((data[:-1], len(leaves)), (data + b"\0", len(leaves)), (data, len(leaves) + 1)):
        with pytest.raises(Malformed):
            bundle_entries(wrong, width)


def test_an_entry_of_the_largest_size_fits_a_bundle_and_an_empty_bundle_is_none() -> None:
    assert bundle_entries(entry_bundle([bytes(MAX_LEAF)]), 1) == [bytes(MAX_LEAF)]
    with pytest.raises(InternalError):
        entry_bundle([])
    with pytest.raises(Malformed):
        bundle_entries(b"", 0)
    with pytest.raises(Malformed):
        bundle_entries(bytes(2 * 256), 257)
