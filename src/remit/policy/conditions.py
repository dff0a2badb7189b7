"""A grant's ``when``: one Cedar expression, parsed alone, kept as a tree, and put into a permit as a tree.

Never pasted into text: measured, ``true) }; permit(principal,action,resource) when { (true`` inside a pasted policy
permits everything. Here the text is parsed twice, between braces and between braces and parentheses, and both must read
as exactly one unconstrained permit with one ``when`` and the same tree. Who closes one bracket can't close both.
"""

from dataclasses import dataclass
from typing import Final

from remit.core.errors import InvalidPolicy
from remit.core.grants import Grant
from remit.core.times import to_text
from remit.policy.cedar import Est, parse, render
from remit.policy.schema import ACTION, AGENT, PERSON, SERVER
from remit.policy.syntax import statements
from remit.policy.terms import Principal, PrincipalKind, ToolFacts

MAX_BYTES: Final = 4_096

_TYPES: Final[dict[PrincipalKind, str]] = {"Agent": AGENT, "Person": PERSON}
_ANYTHING: Final = {"op": "All"}


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One expression: the text a person wrote, and the tree that Cedar read from it."""

    text: str
    body: Est


def parse_condition(text: str) -> Condition:
    """The one expression of ``text``. Raises ``InvalidPolicy`` for anything more, less or larger."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidPolicy("a condition holds a lone surrogate") from error
    if size > MAX_BYTES:
        raise InvalidPolicy(f"a condition is at most {MAX_BYTES} bytes of UTF-8")
    # The line break ends a comment that would swallow the closing bracket.
    braced = _expression(f"permit(principal, action, resource) when {{\n{text}\n}};")
    doubled = _expression(f"permit(principal, action, resource) when {{ (\n{text}\n) }};")
    if braced != doubled:
        raise InvalidPolicy("a condition is one Cedar expression, and this is something else")
    render(_unconstrained(braced))
    return Condition(text, braced)


def principal_of(grant: Grant) -> Principal:
    """Whom a grant is for. Raises ``InvalidPolicy`` unless it names an agent or a person, and not both."""
    if grant.agent is not None and grant.person is None:
        return Principal("Agent", grant.agent)
    if grant.person is not None and grant.agent is None:
        return Principal("Person", grant.person)
    raise InvalidPolicy(f"grant {grant.id} must name an agent or a person")


def permit(grant: Grant, facts: ToolFacts, condition: Condition | None) -> Est:
    """The one permit of ``grant`` for the tool of ``facts``: this principal, action and resource, until it ends."""
    principal = principal_of(grant)
    bodies = [_before(grant.expires)] if condition is None else [_before(grant.expires), condition.body]
    return {
        "effect": "permit",
        "principal": {"op": "==", "entity": {"type": _TYPES[principal.kind], "id": principal.id}},
        "action": {"op": "==", "entity": {"type": ACTION, "id": facts.ref}},
        "resource": {"op": "==", "entity": {"type": SERVER, "id": facts.server}},
        "conditions": [{"kind": "when", "body": body} for body in bodies],
    }


def entity_type(principal: Principal) -> str:
    """The Cedar type of a principal; of no known kind, none."""
    return _TYPES.get(principal.kind, "")


def _expression(harness: str) -> Est:
    """The body of the harness's only ``when``, if that is all there is."""
    if len(list(statements(harness))) != 1:
        raise InvalidPolicy("a condition is one Cedar expression, without semicolon")
    policies = parse(harness)
    policy: Est = policies[0] if len(policies) == 1 else {}
    clauses = policy.get("conditions", ())
    if len(clauses) != 1 or policy != _unconstrained(clauses[0]["body"]):
        raise InvalidPolicy("a condition is one Cedar expression; it may not end the policy around it")
    body: Est = clauses[0]["body"]
    return body


def _unconstrained(body: Est) -> Est:
    return {
        "effect": "permit",
        "principal": _ANYTHING,
        "action": _ANYTHING,
        "resource": _ANYTHING,
        "conditions": [{"kind": "when", "body": body}],
    }


def _before(expires: int) -> Est:
    """``context.now < datetime("…")``: an engine that is older than a grant's end still knows it."""
    now = {".": {"left": {"Var": "context"}, "attr": "now"}}
    return {"<": {"left": now, "right": {"datetime": [{"Value": to_text(expires)}]}}}
