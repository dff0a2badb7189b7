"""What one reach has that another has not, in sentences; both as the documents that were saved and answered."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

Document: TypeAlias = Mapping[str, Any]

_SHUT: Final = "unreachable"


def added(before: Document, after: Document) -> tuple[str, ...]:
    """Everything that ``after`` reaches and ``before`` did not, or that no longer asks a person; nothing: no wider."""
    return (
        *_tools(before, after),
        *_flows(before, after),
        *_ceilings(before["at_most"], after["at_most"]),
        *(f"it can act for {one}" for one in after["people"] if one not in before["people"]),
        *(f"agent {one} may work under it" for one in after["agents"] if one not in before["agents"]),
    )


def _tools(before: Document, after: Document) -> Iterator[str]:
    known = {one["tool"]: one for one in before["tools"]}
    for one in after["tools"]:
        old = known.get(one["tool"], {"verdict": _SHUT})
        if one["verdict"] == _SHUT:
            continue
        if old["verdict"] == _SHUT:
            yield f"{one['tool']} ({one['effect']}) {_says(one)}"
        elif old.get("effect") != one["effect"]:
            yield f"{one['tool']} is {one['effect']} and was {old.get('effect')}"
        elif old.get("needs_ask") and not one.get("needs_ask"):
            yield f"{one['tool']} asks nobody any more"


def _flows(before: Document, after: Document) -> Iterator[str]:
    known = {_key(one): one for one in before["flows"]}
    for one in after["flows"]:
        old = known.get(_key(one), {"verdict": _SHUT})
        source, path, label, sink, argument = _key(one)
        words = f"{label} {source}{path and f' at {path}'} to {sink}{argument and f' at {argument}'}"
        if one["verdict"] == _SHUT:
            continue
        if old["verdict"] == _SHUT:
            yield f"{words} {_says(one)}"
        elif old["needs_ask"] and not one["needs_ask"]:
            yield f"{words} asks nobody any more"


def _key(flow: Document) -> tuple[str, str, str, str, str]:
    source, sink = flow["from"], flow["to"]
    return source["tool"], source["path"], source["label"], sink["tool"], sink["argument"]


def _says(one: Document) -> str:
    return f"is {'reachable' if one['verdict'] == 'reachable' else 'perhaps reachable'}" + (
        ", asking a person" if one.get("needs_ask") else ""
    )


def _ceilings(before: Mapping[str, Document], after: Mapping[str, Document]) -> Iterator[str]:
    for name, most in after.items():
        for scope in ("session", "day"):
            old, new = before.get(name, {}).get(scope, "0"), most[scope]
            if old is not None and (new is None or Decimal(new) > Decimal(old)):
                yield f"{name} in a {scope}: {'no ceiling' if new is None else new} instead of {old}"
