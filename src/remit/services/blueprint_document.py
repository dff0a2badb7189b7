"""Come in here for how blueprints are written in files and answers, and read back. Pure functions both ways."""

from collections.abc import Iterable, Mapping
from typing import Final, cast

from remit.core.agents import Agent, AgentMode
from remit.core.blueprints import Blueprint, GrantTemplate
from remit.core.canonical import Json
from remit.core.errors import InvalidDocument
from remit.core.times import DAY, duration, seconds_to_text, to_text
from remit.core.tools import Effect
from remit.guards.documents import check_document
from remit.services.documents import (
    Directory,
    Document,
    items,
    limits_document,
    read_limits,
    read_selector,
    selector_document,
)

LONGEST_LIFE: Final = 365 * DAY
MOST_INSTANCES: Final = 100


def read_blueprint(
    document: Document,
    known: Directory,
    effects: Mapping[str, Effect],
    *,
    org: str,
    id: str,
    created: int,
) -> Blueprint:
    """The first version of a blueprint. ``effects`` are those of the approved tools. Raises ``InvalidDocument``."""
    check_document("Blueprint", document)
    owner, deputy = known.person(str(document["owner"]), "/owner"), document.get("deputy")
    second = known.person(str(deputy), "/deputy") if deputy is not None else None
    if second == owner:
        raise InvalidDocument("a deputy is another person than the owner", pointer="/deputy")
    model, most = document.get("model"), document.get("most_instances", MOST_INSTANCES)
    return Blueprint(
        org=org,
        id=id,
        name=str(document["name"]),
        version=1,
        owner=owner.id,
        deputy=second.id if second else None,
        purpose=str(document["purpose"]),
        mode=cast("AgentMode", document.get("mode", "delegated")),
        model=str(model) if model is not None else None,
        life=_life(document["life"]),
        most_instances=most if isinstance(most, int) else MOST_INSTANCES,
        grants=_templates(document["grants"], known, effects),
        state="active",
        created=created,
    )


def blueprint_document(blueprint: Blueprint, known: Directory, instances: Iterable[Agent] = ()) -> dict[str, Json]:
    """The blueprint as people read it, with its instances."""
    optional: dict[str, Json] = {
        "deputy": known.people[blueprint.deputy].email if blueprint.deputy else None,
        "model": blueprint.model,
    }
    return {
        "kind": "Blueprint",
        "apiVersion": "remit/v1",
        "id": blueprint.id,
        "name": blueprint.name,
        "version": blueprint.version,
        "state": blueprint.state,
        "owner": known.people[blueprint.owner].email,
        **{name: value for name, value in optional.items() if value is not None},
        "purpose": blueprint.purpose,
        "mode": blueprint.mode,
        "life": seconds_to_text(blueprint.life),
        "most_instances": blueprint.most_instances,
        "grants": [_template_document(one, known) for one in blueprint.grants],
        "instances": [{"agent": one.name, "version": one.blueprint_version, "state": one.state} for one in instances],
        "created_at": to_text(blueprint.created),
    }


def _life(value: Json) -> int:
    life = duration(str(value), "/life")
    if life > LONGEST_LIFE:
        raise InvalidDocument("an instance lives for a year at most", pointer="/life")
    return life


def _templates(value: Json, known: Directory, effects: Mapping[str, Effect]) -> tuple[GrantTemplate, ...]:
    found: list[GrantTemplate] = []
    for position, item in enumerate(items(value)):
        if not isinstance(item, Mapping):
            continue
        pointer, when = f"/grants/{position}", item.get("when")
        if any(one.name == item["name"] for one in found):
            raise InvalidDocument(f"the name {item['name']!r} stands here twice", pointer=f"{pointer}/name")
        tools = tuple(
            read_selector(tool, known, effects, f"{pointer}/tools/{place}")
            for place, tool in enumerate(items(item["tools"]))
        )
        limits = read_limits(item.get("limits"))
        found.append(GrantTemplate(str(item["name"]), tools, str(when) if when is not None else None, limits))
    return tuple(found)


def _template_document(template: GrantTemplate, known: Directory) -> dict[str, Json]:
    out: dict[str, Json] = {
        "name": template.name,
        "tools": [selector_document(one, known) for one in template.tools],
    }
    if template.when is not None:
        out["when"] = template.when
    if template.limits:
        out["limits"] = limits_document(template.limits)
    return out
