"""The Cedar engine, and the only door to it: nothing else imports ``cedarpy``.

What this file promises the rest of the room, whatever the library does:

- policies go in as data (Cedar's JSON form, here ``Est``) under ids of ours, never as text with something pasted in;
- templates are refused;
- every request is checked against a schema, and action groups come from that schema;
- any evaluation error is a no, because the engine itself skips a ``forbid`` that errors;
- no exception and no error text of the engine's passes: its texts quote arguments.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cedarpy

from remit.core.canonical import Json
from remit.core.errors import InvalidPolicy
from remit.policy.terms import CedarJson

# One policy, or one expression, in Cedar's JSON form: https://docs.cedarpolicy.com/policies/json-format.html
Est: TypeAlias = Mapping[str, Any]
Schema: TypeAlias = cedarpy.Schema

_POSITION = re.compile(r"policy(\d+)")
_FAILED = re.compile(r"error while evaluating policy `([A-Za-z0-9_.:-]+)`")
_DEEP: Final = "the policy is nested too deep; a set with `contains` is flatter than a long row of `||`"


@dataclass(frozen=True, slots=True)
class Fault:
    """One error of the validator: the position of the policy in the text, and what is wrong with it."""

    position: int
    message: str


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What the engine said: determining policy ids, and what could not be evaluated, in our words."""

    allowed: bool
    determining: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def parse(text: str) -> tuple[Est, ...]:
    """The policies of ``text`` in order. Raises ``InvalidPolicy``; templates are refused.

    The caller has bounded the text (``syntax.statements``): the parser's own stack is not bounded. INVARIANT: what is
    returned loads. The engine writes trees deeper than it reads, and what it can't read would deny every call.
    """
    try:
        written = cedarpy.policies_to_json_str(text)
    except ValueError as error:
        raise InvalidPolicy(f"not Cedar: {error}") from error
    try:
        cedarpy.PolicySet.from_json_str(written)
    except ValueError as error:
        raise InvalidPolicy(_DEEP) from error
    document = json.loads(written)
    if document["templates"] or document["templateLinks"]:
        raise InvalidPolicy("a policy template grants to whoever is filled in later, and is refused")
    policies = document["staticPolicies"]
    return tuple(policies[key] for key in sorted(policies, key=_position))


def render(policy: Est) -> str:
    """Cedar text of one policy. Raises ``InvalidPolicy`` unless the text reads back as the same policy."""
    try:
        text = cedarpy.policies_from_json_str(json.dumps(_set_of({"policy0": policy})))
    except ValueError as error:
        raise InvalidPolicy(_DEEP) from error
    if parse(text) != (policy,):
        raise InvalidPolicy("the policy can't be written down so that it reads back as itself")
    return text


def load_schema(document: Mapping[str, Json]) -> Schema:
    """A parsed schema. Raises ``InvalidPolicy`` if Cedar refuses it."""
    try:
        return cedarpy.Schema.from_json_str(json.dumps(document))
    except ValueError as error:
        raise InvalidPolicy(f"the tools give no valid Cedar schema: {error}") from error


def validate(text: str, schema: Schema) -> tuple[Fault, ...]:
    """What Cedar's strict validator finds wrong in ``text``; nothing found is an empty tuple."""
    result = cedarpy.validate_policies(text, schema)
    faults = tuple(Fault(_position(error.policy_id), _plain(error.error)) for error in result.errors)
    if not faults and not result.validation_passed:
        return (Fault(0, "the validator refused without saying why"),)
    return faults


@dataclass(frozen=True, slots=True)
class Bench:
    """Policies, entities and schema of one question, parsed: all but the request. Immutable."""

    policies: cedarpy.PolicySet
    entities: cedarpy.Entities
    schema: Schema

    @classmethod
    def of(cls, policies: Mapping[str, Est], entities: Sequence[Mapping[str, Any]], schema: Schema) -> "Bench":
        """Policies by id. Raises ``InvalidPolicy`` for what does not parse or fit the schema."""
        try:
            return cls(
                cedarpy.PolicySet.from_json_str(json.dumps(_set_of(policies))),
                # The schema adds the actions and their groups; without it `action in` a group is silently false.
                cedarpy.Entities.from_json_str(json.dumps(entities), schema),
                schema,
            )
        except ValueError as error:
            raise InvalidPolicy(f"the policies or entities do not load: {error}") from error

    def answer(
        self, principal: tuple[str, str], action: tuple[str, str], resource: tuple[str, str], context: CedarJson
    ) -> RawAnswer:
        """Yes only if Cedar allows without a single error. Entities are (type, id). Never raises."""
        try:
            request = {
                "principal": _uid(principal),
                "action": _uid(action),
                "resource": _uid(resource),
                "context": json.dumps(context, allow_nan=False),
            }
            result = cedarpy.is_authorized(request, self.policies, self.entities, self.schema)
        except Exception:  # noqa: BLE001 - the gate answers no to whatever the engine's binding throws
            return RawAnswer(allowed=False, errors=("the request could not be evaluated",))
        found = result.diagnostics
        errors = tuple(_failure(error) for error in found.errors)
        allowed = result.decision is cedarpy.Decision.Allow and not errors
        if result.decision is cedarpy.Decision.NoDecision and not errors:
            errors = ("the request could not be evaluated",)
        return RawAnswer(allowed, tuple(sorted(found.reasons)), errors)


def _set_of(policies: Mapping[str, Est]) -> dict[str, Any]:
    return {"staticPolicies": dict(policies), "templates": {}, "templateLinks": []}


def _uid(pair: tuple[str, str]) -> dict[str, str]:
    # As data, not as Cedar text: an id may hold quotes and line breaks.
    return {"type": pair[0], "id": pair[1]}


def _position(policy_id: str) -> int:
    found = _POSITION.fullmatch(policy_id)
    return int(found[1]) if found else 0


def _plain(message: str) -> str:
    """A validator message without the position that the caller names better."""
    return re.sub(r"^for policy `policy\d+`, ", "", message)


def _failure(error: str) -> str:
    """The engine's error in words that quote no argument."""
    found = _FAILED.match(error)
    return f"policy {found[1]} could not be evaluated" if found else "the request does not fit the schema"
