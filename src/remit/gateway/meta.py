"""Come in here for what of ``_meta`` passes the gateway: an unreviewed channel, in both directions.

Of a request two members pass, if they are small; the rest stays here. Of a result everything passes but what stands
in Remit's own name: no upstream speaks for us.
"""

from collections.abc import Callable, Mapping
from typing import Final

from remit.core.canonical import Json
from remit.guards.json_in import as_json

_BOUND: Final = 1_024
_FORWARDED: Final = ("traceparent", "tracestate")
_OURS: Final = "remit/"


def forwarded(meta: Mapping[str, Json]) -> dict[str, Json]:
    """Request ``_meta`` by allow-list; the rest is an unreviewed channel and stays here."""
    kept = {name: meta[name] for name in _FORWARDED if _plain(meta.get(name))}
    return kept if len(as_json(kept)) <= _BOUND else {}


def _plain(value: Json) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def without_ours(result: Json) -> Json:
    """The result without ``remit/…`` members in any ``_meta`` of it: no upstream speaks in Remit's name.

    ``structuredContent`` is data, and stays as it is.
    """
    if not isinstance(result, Mapping):
        return result
    return _list_cleaned(_meta_cleaned(result), "content", _block_cleaned)


def without_ours_beside(result: Json) -> Json:
    """The same of a result of another method: of its contents, its list, its messages, its completion."""
    if not isinstance(result, Mapping):
        return result
    cleaned = _meta_cleaned(result)
    for name, clean in (("contents", _block_cleaned), ("resources", _block_cleaned), ("messages", _message_cleaned)):
        cleaned = _list_cleaned(cleaned, name, clean)
    return _member_cleaned(cleaned, "completion")


def _list_cleaned(holder: Mapping[str, Json], name: str, clean: Callable[[Json], Json]) -> Mapping[str, Json]:
    listed = holder.get(name)
    if not isinstance(listed, list):
        return holder
    items = [clean(item) for item in listed]
    if any(new is not old for new, old in zip(items, listed, strict=True)):
        return {**holder, name: items}
    return holder


def _message_cleaned(message: Json) -> Json:
    if not isinstance(message, Mapping):
        return message
    cleaned, block = _meta_cleaned(message), _block_cleaned(message.get("content"))
    return cleaned if block is message.get("content") else {**cleaned, "content": block}


def noticed(result: Json, decision: Json) -> Json:
    """The result with the decision that let it come about; what is no object has no place for it."""
    if not isinstance(result, Mapping):
        return result
    meta = result.get("_meta")
    return {**result, "_meta": {**(meta if isinstance(meta, Mapping) else {}), "remit/decision": decision}}


def _block_cleaned(block: Json) -> Json:
    if not isinstance(block, Mapping):
        return block
    return _member_cleaned(_meta_cleaned(block), "resource")


def _member_cleaned(holder: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    inner = holder.get(name)
    if isinstance(inner, Mapping) and (cleaned := _meta_cleaned(inner)) is not inner:
        return {**holder, name: cleaned}
    return holder


def _meta_cleaned(holder: Mapping[str, Json]) -> Mapping[str, Json]:
    meta = holder.get("_meta")
    if not isinstance(meta, Mapping) or not any(name.startswith(_OURS) for name in meta):
        return holder
    return {**holder, "_meta": {name: value for name, value in meta.items() if not name.startswith(_OURS)}}
