"""Operators' policies: read, checked whole, and refused whole. A bad set never comes into force in part.

Refused: what does not parse, templates, a policy without ``@id`` or with one that another policy has (the engine takes
both silently), an id that could pass for a grant's, what the strict validator finds against the reviewed tools, and a
permit on ``context.approval`` that is not scoped to tools or effects. The rest of what is unwise is a lint.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from remit.core.canonical import Json, canonical, digest
from remit.core.errors import InvalidPolicy, Malformed
from remit.policy.cedar import Est, Schema, load_schema, parse, validate
from remit.policy.encoding import RecordOf, argument_types, attribute_name
from remit.policy.lints import Path, lint_policy, master_key
from remit.policy.schema import whole_schema
from remit.policy.syntax import Statement, Unparsable, statements
from remit.policy.terms import Finding, PolicyReport, PolicySource, ToolFacts

MAX_SOURCE: Final = 1_048_576  # characters in one file
GRANT_PREFIX: Final = "grt_"
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True, eq=False)
class OperatorPolicy:
    """One policy of an operator, and where it stands. ``id`` is None where it has no ``@id``."""

    file: str
    line: int
    id: str | None
    est: Est


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """What an examination leaves: the report, and the policies that could be read."""

    report: PolicyReport
    policies: tuple[OperatorPolicy, ...]


def ask_policies() -> PolicySource:
    """The ``ask.cedar`` that a new home starts with: a person answers before a spend, destroy or admin call."""
    return PolicySource("ask.cedar", files("remit.policy").joinpath("ask.cedar").read_text("utf-8"))


def check(sources: Sequence[PolicySource], tools: Sequence[ToolFacts], servers: Iterable[str] = ()) -> PolicyReport:
    """Every error and lint of a set of operator policies. ``servers`` are names of servers that may have no tool yet.

    Raises ``InvalidPolicy`` only if the tools themselves give no schema.
    """
    return examine(sources, [(facts, argument_types(facts)) for facts in tools], servers).report


def examine(
    sources: Sequence[PolicySource], tools: Sequence[tuple[ToolFacts, RecordOf]], servers: Iterable[str]
) -> Examined:
    """The same, keeping what was read. Raises ``InvalidPolicy`` if the tools give no schema."""
    document = whole_schema(tools, servers)
    version = _version(sources, document)
    known = _EXAMINED.get(version)
    if known is None:
        _EXAMINED.clear()
        known = _EXAMINED[version] = _examined(sources, tools, load_schema(document), version)
    return known


# The last examination by the hash of all that it looked at. Most changes of the registry change neither policies nor
# tools, and holding them against each other again would take longer than everything else.
_EXAMINED: Final[dict[str, Examined]] = {}


def _examined(
    sources: Sequence[PolicySource], tools: Sequence[tuple[ToolFacts, RecordOf]], schema: Schema, version: str
) -> Examined:
    errors: list[Finding] = list(_repeated_files(sources))
    policies: list[OperatorPolicy] = []
    for source in sources:
        read, found = _read(source)
        policies += read
        errors += found or _validated(source, read, schema)
    errors += _bad_ids(policies)
    errors += [_finding(one, _MASTER_KEY) for one in policies if master_key(one.est)]
    listed = frozenset(path for _, types in tools for path in _arguments(types, ("context", "args")))
    lints = [_finding(one, text) for one in policies for text in lint_policy(one.est, listed)]
    return Examined(PolicyReport(version, tuple(errors), tuple(lints)), tuple(policies))


_MASTER_KEY: Final = (
    "a permit on context.approval must be scoped to tools or to effect groups: one yes would open everything"
)


def _version(sources: Sequence[PolicySource], document: Mapping[str, Json]) -> str:
    """The hash of what operators wrote, in its order, and of the schema it was held against."""
    texts: list[Json] = [[source.name, source.text] for source in sources]
    try:
        return digest(canonical({"policies": texts, "schema": document}))
    except Malformed as error:
        raise InvalidPolicy(f"a policy file or a tool's schema has no canonical form: {error}") from error


def _read(source: PolicySource) -> tuple[list[OperatorPolicy], list[Finding]]:
    """The policies of one file, and what keeps it from being read."""
    if len(source.text) > MAX_SOURCE:
        return [], [Finding(source.name, 1, None, f"the file is over {MAX_SOURCE} characters")]
    try:
        found = list(statements(source.text))
    except Unparsable as error:
        return [], [Finding(source.name, error.line, None, error.detail)]
    policies: list[OperatorPolicy] = []
    errors: list[Finding] = []
    for statement in found:
        try:
            policies.append(_single(source, statement))
        except InvalidPolicy as error:
            errors.append(Finding(source.name, statement.line, None, error.detail))
    if not errors and [one.est for one in policies] != list(parse(source.text)):
        # INVARIANT: lines and order come from our scanner, meaning from Cedar; where they differ nothing is believed.
        errors.append(Finding(source.name, 1, None, "the file reads differently in parts and as a whole"))
    return policies, errors


def _single(source: PolicySource, statement: Statement) -> OperatorPolicy:
    read = parse(statement.text)
    if len(read) != 1:
        raise InvalidPolicy("this is not one policy that ends in a semicolon")
    return OperatorPolicy(source.name, statement.line, read[0].get("annotations", {}).get("id"), read[0])


def _validated(source: PolicySource, policies: Sequence[OperatorPolicy], schema: Schema) -> Iterator[Finding]:
    for fault in validate(source.text, schema):
        at = policies[fault.position] if fault.position < len(policies) else None
        line, name = (at.line, at.id) if at is not None else (1, None)
        yield Finding(source.name, line, name, fault.message)


def _bad_ids(policies: Sequence[OperatorPolicy]) -> Iterator[Finding]:
    count = Counter(policy.id for policy in policies)
    for policy in policies:
        if policy.id is None or _ID.fullmatch(policy.id) is None:
            yield _finding(policy, "every policy needs an @id of 1 to 64 letters, digits, `_`, `.`, `:` or `-`")
        elif policy.id.startswith(GRANT_PREFIX):
            yield _finding(policy, f"an @id may not begin with {GRANT_PREFIX}: that is how grants are named")
        elif count[policy.id] > 1:
            yield _finding(policy, f"the @id {policy.id} is used more than once")


def _arguments(types: RecordOf, holder: Path) -> Iterator[Path]:
    """Every argument of a tool as policy names it."""
    for key, member in types.members.items():
        path = (*holder, attribute_name(key))
        yield path
        if isinstance(member.type, RecordOf):
            yield from _arguments(member.type, path)


def _repeated_files(sources: Sequence[PolicySource]) -> Iterator[Finding]:
    count = Counter(source.name for source in sources)
    for name in sorted(name for name, times in count.items() if times > 1):
        yield Finding(name, 1, None, "two files have this name")


def _finding(policy: OperatorPolicy, message: str) -> Finding:
    return Finding(policy.file, policy.line, policy.id, message)
