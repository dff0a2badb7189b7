"""Come in here for AgentDojo's tools as an MCP server would show them: definitions, and results of real runs.

A suite's functions become MCP Tool objects: name, description and input schema as AgentDojo gives them to a model, and
an output schema from the type that each function says it returns. A call runs the function on the suite's own
environment; what comes back has the form that MCP SDKs give it: structured content (a list, a number or nothing wrapped
as ``{"result": …}``), and the same JSON as one text block. A bare string stays text.

AgentDojo is an extra (``pip install remit[agentdojo]``), imported when a suite is loaded and never before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

from remit.core.canonical import Json
from remit.core.errors import NotFound

VERSION: Final = "v1.2.2"
SUITES: Final = ("workspace", "travel", "banking", "slack")


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite: its functions, by name, and how a fresh environment is made. AgentDojo's own object is ``native``."""

    name: str
    native: Any  # agentdojo ships no types

    def definitions(self) -> tuple[dict[str, Json], ...]:
        """Every tool as an MCP Tool object, in the suite's own order."""
        return tuple(_definition(function) for function in self.native.tools)

    def environment(self) -> Any:
        """The suite's environment with the injection slots at their harmless defaults."""
        return self.native.load_and_inject_default_environment({})

    def call(self, environment: Any, tool: str, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """Run one tool on ``environment``, which it may change; the CallToolResult. Raises ``NotFound``."""
        function = next((one for one in self.native.tools if one.name == tool), None)
        if function is None:
            raise NotFound(f"the suite {self.name} has no tool {tool}")
        runtime = import_module("agentdojo.functions_runtime").FunctionsRuntime([function])
        found, error = runtime.run_function(environment, tool, _plain(arguments))
        if error is not None:
            return {"isError": True, "content": [{"type": "text", "text": str(error)}]}
        return _result(function, found)


def suite(name: str) -> Suite:
    """One of the four suites. Raises ``NotFound`` for another name, or without AgentDojo."""
    if name not in SUITES:
        raise NotFound(f"AgentDojo has no suite {name!r}; there are {', '.join(SUITES)}")
    try:
        found = import_module("agentdojo.task_suite.load_suites").get_suite(VERSION, name)
    except ImportError as error:
        raise NotFound(
            "AgentDojo is not installed", hint="Install the extra: pip install 'remit[agentdojo]'."
        ) from error
    return Suite(name, found)


def plain(value: Any) -> Any:
    """A value of AgentDojo's as plain Python values of JSON: its models and dates, too."""
    return import_module("pydantic_core").to_jsonable_python(value)


def _definition(function: Any) -> dict[str, Json]:
    definition: dict[str, Json] = {
        "name": function.name,
        "description": function.description,
        "inputSchema": function.parameters.model_json_schema(),
    }
    schema = _output_schema(function)
    return definition | ({"outputSchema": schema} if schema is not None else {})


def _output_schema(function: Any) -> dict[str, Json] | None:
    """The schema of what a function returns, wrapped where it is no object; None for a bare string or no type."""
    kind = function.return_type
    if _is_text(kind):
        return None
    pydantic = import_module("pydantic")
    schema: dict[str, Json] = pydantic.TypeAdapter(kind).json_schema(mode="serialization")
    if _is_object(schema):
        return schema
    definitions = schema.pop("$defs", None)
    whole: dict[str, Json] = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
    return whole | ({"$defs": definitions} if definitions else {})


def _is_text(kind: Any) -> bool:
    """Whether a function says that it returns text (or text or nothing), or does not say."""
    if kind is None or kind is str:
        return True
    arguments = getattr(kind, "__args__", ())
    return bool(arguments) and set(arguments) == {str, type(None)}


def _is_object(schema: Mapping[str, Json]) -> bool:
    if schema.get("type") == "object":
        return True
    reference = schema.get("$ref")
    named = reference.rpartition("/")[2] if isinstance(reference, str) else ""
    definitions = schema.get("$defs")
    target = definitions.get(named) if isinstance(definitions, Mapping) else None
    return isinstance(target, Mapping) and target.get("type") == "object"


def _result(function: Any, found: Any) -> dict[str, Json]:
    if isinstance(found, str) and _is_text(function.return_type):
        return {"content": [{"type": "text", "text": found}]}
    value = plain(found)
    structured = value if isinstance(value, dict) else {"result": value}
    text = json.dumps(structured, ensure_ascii=False)
    # Read back with exact numbers, as everything that came over a wire is.
    exact = json.loads(text, parse_float=Decimal)
    return {"content": [{"type": "text", "text": text}], "structuredContent": exact}


def _plain(value: Any) -> Any:
    """Arguments as Python's own JSON values: AgentDojo knows no exact decimals."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
