"""Come in here for the label sets of AgentDojo's tools: reviewed (the files beside this one) and suggested."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from remit.core.canonical import Json, fingerprint
from remit.core.errors import InvalidDocument
from remit.core.ids import tool_ref
from remit.guards.json_in import as_json, parse
from remit.lab.agentdojo.tools import Suite
from remit.policy.suggest.suggestion import suggest
from remit.services.suggestions import suggestion_document


def offered(suite: Suite) -> dict[str, Mapping[str, Json]]:
    """Every definition of a suite by tool, read back as it would come over a wire."""
    found = (parse(as_json(definition)) for definition in suite.definitions())
    return {str(one["name"]): one for one in found if isinstance(one, Mapping)}


def reviewed(suite: Suite) -> dict[str, dict[str, Any]]:
    """The reviewed label files of a suite, by tool. Raises ``InvalidDocument`` for one that is missing or stale."""
    folder = resources.files("remit.lab.agentdojo") / "reviews" / suite.name
    found: dict[str, dict[str, Any]] = {}
    for name, definition in offered(suite).items():
        file = folder / f"{name}.yaml"
        if not file.is_file():
            raise InvalidDocument(f"there is no reviewed label file for {suite.name}/{name}")
        document: dict[str, Any] = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        if document["fingerprint"] != fingerprint(definition):
            raise InvalidDocument(f"the label file of {suite.name}/{name} is for another definition")
        found[name] = document
    return found


def suggested(suite: Suite) -> dict[str, dict[str, Json]]:
    """What ``tool suggest`` says of every tool of a suite, unchanged."""
    found: dict[str, dict[str, Json]] = {}
    for name, definition in offered(suite).items():
        judged = suggest(definition, server=suite.name, operator=suite.name, parse=parse)
        found[name] = suggestion_document(tool_ref(suite.name, name), fingerprint(definition), definition, judged)
    return found
