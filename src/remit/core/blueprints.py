"""Blueprints: what instances of one kind of agent may do, approved once, and never more than the newest version says.

An instance is an agent of its own, made from one version. Another version narrows every instance at once, and widens
none: each grant of an instance becomes what both it and the template of its name allow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from remit.core.agents import AgentMode
from remit.core.grants import Grant, Limits, NamedTool, ToolsByEffect, ToolSelector
from remit.core.tools import Tool


@dataclass(frozen=True, slots=True)
class GrantTemplate:
    """A grant without its holder and its end. ``name`` is unique in its blueprint; grants made of it carry it."""

    name: str
    tools: tuple[ToolSelector, ...]
    when: str | None
    limits: tuple[Limits, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """``life`` is how long an instance lives, in milliseconds; ``created`` is when this version was applied."""

    org: str
    id: str
    name: str
    version: int
    owner: str
    deputy: str | None
    purpose: str
    mode: AgentMode
    model: str | None
    life: int
    most_instances: int
    grants: tuple[GrantTemplate, ...]
    state: Literal["active", "retired"]
    created: int

    def answered_for_by(self, person: str) -> bool:
        """Whether this person (a ``per_`` id) answers for it: its owner, or the owner's deputy."""
        return person in (self.owner, self.deputy)

    def template(self, name: str | None) -> GrantTemplate | None:
        """The template of this name, or None."""
        return next((one for one in self.grants if one.name == name), None)


def narrowed(
    grant: Grant, before: GrantTemplate | None, after: GrantTemplate | None, tools: Mapping[str, Tool]
) -> Grant | None:
    """What both a grant and its template's new version allow; None where that is nothing.

    ``tools`` are those there are, by reference. INVARIANT: the answer reaches nothing that ``grant`` does not reach
    now, has every condition and no higher ceiling, and keeps its id, under which it is counted, and its time.
    """
    if after is None:
        return None
    kept = tuple(dict.fromkeys(one for mine in grant.tools for one in _both(grant, mine, after, tools)))
    if not kept:
        return None
    same = before is not None and before.when == after.when
    when = grant.when if same or after.when is None else _all(grant.when, after.when)
    return replace(grant, tools=kept, when=when, limits=_lowest(grant.limits, after.limits))


def _both(
    grant: Grant, mine: ToolSelector, template: GrantTemplate, tools: Mapping[str, Tool]
) -> tuple[ToolSelector, ...]:
    """The parts of one selector of a grant that a template covers."""
    found: list[ToolSelector] = []
    for theirs in template.tools:
        match mine, theirs:
            case NamedTool(), NamedTool() if mine == theirs:
                found.append(mine)
            case NamedTool(ref, effect), ToolsByEffect(server, effects, _):
                known = tools.get(ref)
                if known is not None and known.server == server and effect in effects:
                    found.append(mine)
            case ToolsByEffect(), NamedTool(ref, effect):
                known = tools.get(ref)
                # By name it is reached whenever it was approved: so only what is reached as things stand.
                alone = replace(grant, tools=(mine,))
                if known is not None and known.effect == effect and alone.reaches(known):
                    found.append(theirs)
            case ToolsByEffect(server, effects, future), ToolsByEffect() if server == theirs.server:
                shared = tuple(effect for effect in effects if effect in theirs.effects)
                if shared:
                    found.append(ToolsByEffect(server, shared, future and theirs.future))
            case _:
                pass
    return tuple(found)


def _all(mine: str | None, theirs: str) -> str:
    return theirs if mine is None else f"({mine}) && ({theirs})"


def _lowest(mine: tuple[Limits, ...], theirs: tuple[Limits, ...]) -> tuple[Limits, ...]:
    """Every ceiling of both, and of two for one name over one window the lower one."""
    found: dict[str, dict[str, int]] = {}
    for limits in (*mine, *theirs):
        known = found.setdefault(limits.per, {})
        for name, amount in limits.amounts.items():
            known[name] = min(amount, known.get(name, amount))
    return tuple(Limits(per, amounts) for per, amounts in found.items())  # type: ignore[arg-type]  # keys were a Per
