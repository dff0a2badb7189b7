"""The log as a Merkle tree (RFC 6962 section 2.1) and as tiles (C2SP tlog-tiles): come here to hash, prove, name.

Everything is a pure function over bytes. Where stored hashes are needed the caller hands in ``read_hash``: for a level
and an index it returns the root of the complete subtree over leaves ``index * 2**level`` up to but without
``(index + 1) * 2**level``. Levels are tree levels; a tile at tile level ``n`` holds hashes of tree level ``8 * n``.

Rules: a leaf is at most 65,535 bytes, the longest entry that a tile bundle can hold. Proofs read and hold a number of
hashes that grows with the logarithm of the size. Nothing here knows what a leaf means, who signs, or where hashes are.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from remit.core.errors import InternalError, Malformed, NotFound, TooLarge

HASH_SIZE: Final = 32
MAX_LEAF: Final = 65_535
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

ReadHash: TypeAlias = Callable[[int, int], bytes]
TileLevel: TypeAlias = int | Literal["entries"]

_LENGTH_BYTES = 2
_MAX_SIZE = 2**63 - 1
_MAX_TILE_LEVEL = 63
_TILE_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf, with the leaf prefix. Raises ``TooLarge`` for one that no entry bundle could hold."""
    if len(leaf) > MAX_LEAF:
        raise TooLarge(f"a leaf of {len(leaf)} bytes is over {MAX_LEAF}")
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node, with the node prefix: no node can be passed off as a leaf."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Stored:
    """The hash of a subtree that became complete; it never changes again, so it is kept."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree as far as appending and its root need it: the roots of its complete subtrees, the largest first.

    INVARIANT: there are as many hashes as ``size`` has one bits.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a frontier that belongs to no tree."""
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise InternalError(f"{len(self.hashes)} hashes are no frontier of {self.size} leaves")

    def append(self, leaf: bytes) -> "Frontier":
        """The tree with one more leaf, given by its leaf hash."""
        return self.extend((leaf,))[0]

    def extend(self, leaves: Iterable[bytes]) -> tuple["Frontier", list[Stored]]:
        """The tree with these leaf hashes appended, and every subtree hash that became complete by it, leaves included.

        The new hashes come in the order in which they were completed: at each level by rising index, without a gap.
        """
        size, hashes, stored = self.size, list(self.hashes), []
        for leaf in leaves:
            level, index, current = 0, size, leaf
            stored.append(Stored(level, index, current))
            while index & 1:
                current = node_hash(hashes.pop(), current)
                level, index = level + 1, index >> 1
                stored.append(Stored(level, index, current))
            hashes.append(current)
            size += 1
        return Frontier(size, tuple(hashes)), stored

    def root(self) -> bytes:
        """The RFC 6962 Merkle tree hash of the whole tree."""
        return _fold(self.hashes)


def read_frontier(size: int, read_hash: ReadHash) -> Frontier:
    """The frontier of the first ``size`` leaves, from stored hashes."""
    return Frontier(size, tuple(read_hash(level, index) for level, index in _complete(0, size)))


def inclusion_proof(index: int, size: int, read_hash: ReadHash) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, from the leaf's sibling up to the root's child.

    RFC 6962 section 2.1.1. Raises ``NotFound`` when that tree has no such leaf.
    """
    if not 0 <= index < size:
        raise NotFound(f"a log of {size} entries has no entry {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, read_hash))
            end = middle
        else:
            path.append(_range_hash(start, middle, read_hash))
            start = middle
    path.reverse()
    return path


def consistency_proof(old: int, new: int, read_hash: ReadHash) -> list[bytes]:
    """The proof that the tree of ``old`` leaves is a prefix of the tree of ``new`` leaves.

    RFC 6962 section 2.1.2. Empty from the empty tree and between equal sizes. Raises ``NotFound`` when it shrinks.
    """
    if not 0 <= old <= new:
        raise NotFound(f"a log of {new} entries has no earlier size {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, read_hash))
            end = middle
        else:
            path.append(_range_hash(start, middle, read_hash))
            start = middle
    if start:
        # The old tree's last subtree; where it is the whole old tree, the verifier has it already.
        path.append(_range_hash(start, end, read_hash))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that the leaf hash ``leaf`` stands at ``index`` in the tree of that size and root.

    RFC 9162 section 2.1.3.2. Anything that does not fit (sizes, lengths, too many or too few hashes) is a no.
    """
    if not 0 <= index < size <= _MAX_SIZE or not _all_hashes(leaf, root, *proof):
        return False
    position, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and current == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the first tree is a prefix of the second.

    RFC 9162 section 2.1.4.2. From the empty tree and between equal sizes only the empty proof will do.
    """
    if not 0 <= old <= new <= _MAX_SIZE or not _all_hashes(old_root, new_root, *proof):
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if old == new:
        return not proof and old_root == new_root
    if not proof:
        return False
    hashes = list(proof) if old & (old - 1) else [old_root, *proof]
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


@dataclass(frozen=True, slots=True)
class TileName:
    """One tile or entry bundle: its tile level (or ``entries``), where it stands and how many hashes it holds."""

    level: TileLevel
    index: int
    width: int

    @property
    def tree_level(self) -> int:
        """The tree level of its hashes; entries stand at the leaves."""
        return 0 if self.level == "entries" else TILE_HEIGHT * self.level

    @property
    def start(self) -> int:
        """The index, at its tree level, of its first hash or entry."""
        return self.index * TILE_WIDTH


def tile_path(level: TileLevel, index: int, width: int = TILE_WIDTH) -> str:
    """The C2SP path of a tile or bundle, such as ``tile/0/x001/234.p/7``; the width is named only when partial."""
    if index < 0 or not 1 <= width <= TILE_WIDTH or (level != "entries" and not 0 <= level <= _MAX_TILE_LEVEL):
        raise NotFound(f"there is no tile of width {width} at level {level}, index {index}")
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" + ("" if width == TILE_WIDTH else f".p/{width}")


def parse_tile_path(path: str) -> TileName:
    """The tile that ``path`` names. Raises ``NotFound`` for every other spelling than the one ``tile_path`` writes."""
    found = _TILE_PATH.fullmatch(path)
    if found is not None:
        level: TileLevel = "entries" if found["level"] == "entries" else int(found["level"])
        index = int(found["index"].replace("x", "").replace("/", ""))
        width = TILE_WIDTH if found["width"] is None else int(found["width"])
        # Spelling it again refuses leading zero groups and a partial tile of full width or more.
        if width <= TILE_WIDTH and tile_path(level, index, width) == path:
            return TileName(level, index, width)
    raise NotFound("there is no such tile")


def tile_width(level: TileLevel, index: int, size: int) -> int:
    """How many hashes that tile holds in a tree of ``size`` leaves; 0 when it does not exist there."""
    hashes = size >> TileName(level, index, TILE_WIDTH).tree_level
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def tile_bytes(hashes: Sequence[bytes]) -> bytes:
    """A tile: its hashes one after another, 1 to 256 of them."""
    if not 1 <= len(hashes) <= TILE_WIDTH or not _all_hashes(*hashes):
        raise InternalError("a tile holds 1 to 256 hashes of 32 bytes")
    return b"".join(hashes)


def tile_hashes(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of that width. Raises ``Malformed`` when it is truncated or too long."""
    if not 1 <= width <= TILE_WIDTH or len(data) != width * HASH_SIZE:
        raise Malformed(f"{len(data)} bytes are no tile of {width} hashes")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def entry_bundle(leaves: Sequence[bytes]) -> bytes:
    """An entry bundle: 1 to 256 leaves, each after its length as 16 bits, big-endian."""
    if not 1 <= len(leaves) <= TILE_WIDTH:
        raise InternalError("an entry bundle holds 1 to 256 leaves")
    parts: list[bytes] = []
    for leaf in leaves:
        if len(leaf) > MAX_LEAF:
            raise TooLarge(f"a leaf of {len(leaf)} bytes is over {MAX_LEAF}")
        parts += (len(leaf).to_bytes(_LENGTH_BYTES, "big"), leaf)
    return b"".join(parts)


def bundle_entries(data: bytes, width: int) -> list[bytes]:
    """The leaves of an entry bundle of that width. Raises ``Malformed`` when it is truncated or too long."""
    leaves: list[bytes] = []
    at = 0
    for _ in range(min(width, TILE_WIDTH)):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        leaves.append(data[begin:at])
    # ``at`` only grows, so one that ran past the end stays there: this finds every truncation.
    if at != len(data) or len(leaves) != width or not leaves:
        raise Malformed(f"{len(data)} bytes are no bundle of {width} entries")
    return leaves


def _split(count: int) -> int:
    """The largest power of two below ``count``, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _complete(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees that make up leaves ``start`` to ``end``, largest first.

    INVARIANT: ``start`` is a multiple of the largest power of two within ``end - start``, as RFC 6962 splits a tree.
    """
    parts: list[tuple[int, int]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append((level, start >> level))
        start += 1 << level
    return parts


def _range_hash(start: int, end: int, read_hash: ReadHash) -> bytes:
    return _fold([read_hash(level, index) for level, index in _complete(start, end)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, largest first: the smallest two are joined first."""
    if not hashes:
        return EMPTY_ROOT
    current = hashes[-1]
    for left in reversed(hashes[:-1]):
        current = node_hash(left, current)
    return current


def _all_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_SIZE for value in values)
