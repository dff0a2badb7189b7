"""How much work a schema can make, known before any is done: its references followed, what leads back into itself.

A schema comes from an upstream server and its arguments from an agent; neither may choose how long we think. Small on
the page, a schema can be huge once its references are followed: 2^20 nodes took 15 s to compile.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from remit.core.canonical import Json
from remit.core.errors import InvalidDocument

ANCHORS: Final = ("$anchor", "$dynamicAnchor", "$recursiveAnchor")
MAX_WEIGHT: Final = 50_000
_MAX_CHAIN: Final = 100


class References:
    """The local references of one schema: what each points at, what all weigh, and whether one is inside its target."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        """Find the anchors of ``root``."""
        self.count = 0
        self.recursive = False
        self._root = root
        self._known: dict[str, int] = {}
        self._chain: list[str] = []
        self._anchors: dict[str, list[Json]] = {}
        self._find_anchors(root)

    def weight(self, node: Json) -> int:
        """How many nodes ``node`` stands for, counted up to one above the bound; a reference into itself counts once.

        Raises ``InvalidDocument`` for a reference to nothing, so that no spelling of one goes unweighed.
        """
        if isinstance(node, Mapping):
            total = 1 + sum(map(self.weight, node.values()))
            target = node.get("$ref")
            # What looks like another reference is a value: where it would be one, it was refused.
            if isinstance(target, str) and target.startswith("#"):
                total += self._follow(target)
        elif isinstance(node, Sequence) and not isinstance(node, str):
            total = 1 + sum(map(self.weight, node))
        else:
            total = 1
        return min(total, MAX_WEIGHT + 1)

    def pointed(self, target: str) -> Sequence[Json]:
        """What a reference points at; more than one node where an anchor's name was given twice."""
        fragment = unquote(target.removeprefix("#"))
        if fragment in self._anchors:
            return self._anchors[fragment]
        if fragment and not fragment.startswith("/"):
            raise InvalidDocument("inputSchema refers to an anchor that is not in it", pointer="/inputSchema")
        node: Json = self._root
        for part in fragment.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isascii() and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise InvalidDocument("inputSchema refers to a place that is not in it", pointer="/inputSchema")
        return (node,)

    def _follow(self, target: str) -> int:
        self.count += 1
        if target in self._chain:
            self.recursive = True
            return 1
        if target not in self._known:
            if len(self._chain) >= _MAX_CHAIN:
                raise InvalidDocument("inputSchema is too large or too deep", pointer="/inputSchema")
            self._chain.append(target)
            self._known[target] = sum(map(self.weight, self.pointed(target)))
            self._chain.pop()
        return self._known[target]

    def _find_anchors(self, node: Json) -> None:
        if isinstance(node, Mapping):
            for name in ANCHORS:
                anchor = node.get(name)
                if isinstance(anchor, str):
                    self._anchors.setdefault(anchor, []).append(node)
            for member in node.values():
                self._find_anchors(member)
        elif isinstance(node, list):
            for member in node:
                self._find_anchors(member)


def levels(value: Json) -> int:
    """How deep arrays and objects nest."""
    found = 0
    level: list[Json] = [value]
    while level:
        deeper: list[Json] = []
        for node in level:
            if isinstance(node, Mapping):
                deeper.extend(node.values())
            elif isinstance(node, list):
                deeper.extend(node)
        found += bool(deeper)
        level = deeper
    return found
