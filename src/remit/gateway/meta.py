"""Come in here for what of ``_meta`` passes the gateway: an unreviewed channel, in both directions.

Of a request three members pass, if they are small; the rest stays here. Of a result everything passes but what stands
in Remit's own name: no upstream speaks for us.
"""

from collections.abc import Mapping
from typing import Final

from remit.core.canonical import Json
from remit.guards.json_in import as_json

_BOUND: Final = 1_024
_FORWARDED: Final = ("progressToken", "traceparent", "tracestate")
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
    cleaned = _meta_cleaned(result)
    content = result.get("content")
    if isinstance(content, list):
        blocks = [_block_cleaned(block) for block in content]
        if any(new is not old for new, old in zip(blocks, content, strict=True)):
            cleaned = {**cleaned, "content": blocks}
    return cleaned


def noticed(result: Json, decision: Json) -> Json:
    """The result with the decision that let it come about; what is no object has no place for it."""
    if not isinstance(result, Mapping):
        return result
    meta = result.get("_meta")
    return {**result, "_meta": {**(meta if isinstance(meta, Mapping) else {}), "remit/decision": decision}}


def _block_cleaned(block: Json) -> Json:
    if not isinstance(block, Mapping):
        return block
    cleaned = _meta_cleaned(block)
    inner = block.get("resource")
    if isinstance(inner, Mapping) and (resource := _meta_cleaned(inner)) is not inner:
        cleaned = {**cleaned, "resource": resource}
    return cleaned


def _meta_cleaned(holder: Mapping[str, Json]) -> Mapping[str, Json]:
    meta = holder.get("_meta")
    if not isinstance(meta, Mapping) or not any(name.startswith(_OURS) for name in meta):
        return holder
    return {**holder, "_meta": {name: value for name, value in meta.items() if not name.startswith(_OURS)}}
