"""What a server offers beside tools, read into the definitions that are pinned: templates, prompts, completion.

A prompt's definition is the whole Prompt object as it was received. That of ``resources/read`` is made here around the
server's resource templates as they were received, in the order of their URIs, so that any change in them is another
fingerprint. What can't be read exactly is refused, and its entitlement counts as gone: for ``resources/read`` that is
all of it, for a template that nobody could look at is no part of a review.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from remit.core import entitlements
from remit.core.canonical import Json, fingerprint
from remit.core.errors import BadInput
from remit.guards.json_in import as_json, parse

MAX_DEFINITION: Final = 64 * 1024
MAX_PROMPTS: Final = 1_000
MAX_TEMPLATES: Final = 1_000
MAX_TEMPLATE_BYTES: Final = 512 * 1024
MAX_ARGUMENTS: Final = 256
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_MAX_ARGUMENT_NAME: Final = 128

Received: TypeAlias = tuple[bytes, ...] | str | None
"""What was listed, raw; or why it could not be had, in words; or None where the server declares no such thing."""


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What one server offers beside tools."""

    templates: Received = None
    prompts: Received = None
    completion: bool = False


NO_SURFACES: Final = Surfaces()


@dataclass(slots=True)
class Read:
    """Definitions by name, each as its text, and what was refused with the reason."""

    bodies: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)


def read(surfaces: Surfaces) -> Read:
    """The definitions that these come to."""
    found = Read()
    if surfaces.templates is not None:
        found.bodies[entitlements.LIST] = _made(entitlements.LIST)
        _templates(surfaces.templates, found)
    if surfaces.prompts is not None:
        _prompts(surfaces.prompts, found)
    if surfaces.completion:
        found.bodies[entitlements.COMPLETE] = _made(entitlements.COMPLETE)
    return found


def _made(name: str, more: str = "") -> str:
    """A definition of our own making."""
    return f'{{"name":"{name}","inputSchema":{as_json(entitlements.SCHEMAS[name]).decode()}{more}}}'


def _templates(received: tuple[bytes, ...] | str, found: Read) -> None:
    name = entitlements.READ
    if isinstance(received, str):
        found.refused.append((name, received))
        return
    if len(received) > MAX_TEMPLATES or sum(map(len, received)) > MAX_TEMPLATE_BYTES:
        found.refused.append((name, f"it has more than {MAX_TEMPLATES} templates, or {MAX_TEMPLATE_BYTES} bytes"))
        return
    each: list[tuple[str, str]] = []
    for raw in received:
        why, document = _object(raw)
        uri = document.get("uriTemplate")
        if not why and (not isinstance(uri, str) or not isinstance(document.get("name"), str)):
            why = "it has no uriTemplate, or no name"
        if why:
            found.refused.append((name, f"one of its templates can't be taken in: {why}"))
            return
        each.append((str(uri), raw.decode()))
    listed = ",".join(raw for _, raw in sorted(each))
    found.bodies[name] = _made(name, f',"resourceTemplates":[{listed}]')


def _prompts(received: tuple[bytes, ...] | str, found: Read) -> None:
    if isinstance(received, str):
        found.refused.append((entitlements.GET, received))
        return
    if len(received) > MAX_PROMPTS:
        found.refused.append((entitlements.GET, f"the server lists more than {MAX_PROMPTS} prompts"))
        return
    twins: set[str] = set()
    for raw in received:
        why, document = _object(raw)
        given = document.get("name")
        if not why and (not isinstance(given, str) or _NAME.fullmatch(given) is None):
            why, given = "it has no name of 1 to 128 letters, digits and . _ - /", None
        name = f"{entitlements.PROMPT}{given}" if isinstance(given, str) else entitlements.GET
        why = why or _arguments_fault(document.get("arguments"))
        if why:
            found.refused.append((name, why))
            twins.add(name)
        elif found.bodies.setdefault(name, raw.decode()) != raw.decode() and not _same(found.bodies[name], document):
            found.refused.append((name, "the list has two different definitions of this name"))
            twins.add(name)
    # A name that is also on a refused definition is as doubtful as one with two readable definitions.
    for name in twins:
        found.bodies.pop(name, None)


def _same(body: str, document: Json) -> bool:
    return fingerprint(parse(body.encode())) == fingerprint(document)


def _object(raw: bytes) -> tuple[str, Mapping[str, Json]]:
    """Why a definition can't be read, or nothing; and its members."""
    if len(raw) > MAX_DEFINITION:
        return f"the definition is larger than {MAX_DEFINITION} bytes", {}
    try:
        document = parse(raw)
        fingerprint(document)
    except BadInput as error:
        return error.detail, {}
    return ("", document) if isinstance(document, Mapping) else ("it is not an object", {})


def _arguments_fault(arguments: Json) -> str:
    """What of a prompt's arguments can't be made a schema; nothing if all can."""
    if arguments is None:
        return ""
    if not isinstance(arguments, Sequence) or isinstance(arguments, str) or len(arguments) > MAX_ARGUMENTS:
        return f"its arguments are not a list of up to {MAX_ARGUMENTS}"
    names: set[str] = set()
    for one in arguments:
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(one, Mapping) or not isinstance(name, str) or not 1 <= len(name) <= _MAX_ARGUMENT_NAME:
            return "one of its arguments has no name"
        if name in names:
            return "two of its arguments have one name"
        if not isinstance(one.get("required", False), bool):
            return "one of its arguments is neither required nor not"
        names.add(name)
    return ""
