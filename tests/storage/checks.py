"""What must hold of a store after whatever happened to it, told from what was acknowledged."""

from typing import Final, TypeAlias

from remit.audit import tree
from remit.core.ports import Store
from remit.guards.json_in import parse
from tests.storage.contract_units import leaves, root

EMPTY: Final = tree.Frontier()
Acknowledged: TypeAlias = list[tuple[int, str]]


async def check(store: Store, acknowledged: Acknowledged, before: tree.Frontier = EMPTY) -> tree.Frontier:
    """Acknowledged units are there, units are there whole or not at all, the old tree is a prefix; the tree now."""
    entries = await leaves(store)
    assert await root(store)
    old = EMPTY.extend(tree.leaf_hash(entry.leaf) for entry in entries[: before.size])[0]
    assert old == before
    names = {}
    for entry in entries:
        body = parse(entry.leaf)
        assert isinstance(body, dict)
        names[entry.index] = str(body["call"])
    assert [(index, names.get(index)) for index, _ in acknowledged] == acknowledged
    async with store.view("main") as view:
        assert await view.counters.taken("scope", "eur", 0) == (0, len(entries))
        for index in range(before.size, len(entries)):
            assert await view.secrets.get(names[index]) == str(index).encode()
            assert len(await view.log.private(index)) == 1
    return old.extend(tree.leaf_hash(entry.leaf) for entry in entries[before.size :])[0]
