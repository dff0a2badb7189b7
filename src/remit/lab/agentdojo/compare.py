"""Suggested labels held against reviewed ones, tool by tool: where they differ, and where the suggestion is laxer.

``python -m remit.lab.agentdojo.compare`` writes ``build/agentdojo-suggested/SUITE/TOOL.json`` (what ``tool suggest``
says) and ``build/agentdojo-labels.json`` (the differences), prints the table, and exits 1 if a suggestion is laxer on
an effect or on an argument that says who.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from remit.core.canonical import Json
from remit.core.tools import ArgumentReview, FieldReview, ToolReview, Writer
from remit.guards.json_in import as_json
from remit.lab.agentdojo.labels import reviewed, suggested
from remit.lab.agentdojo.tools import SUITES, suite
from remit.lab.results import write_results
from remit.policy.suggest.findings import RISK, demand
from remit.services.review_document import read_review

_LAX: Final[Mapping[Writer, int]] = {"anyone": 0, "members": 1, "system": 2}
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """One member that the two have otherwise, and whether the suggestion asks for less there."""

    tool: str
    member: str
    suggested: str
    reviewed: str
    laxer: bool


def differences(ours: ToolReview, theirs: ToolReview) -> Iterator[Difference]:
    """Every member on which a suggestion (``ours``) and a review (``theirs``) of one tool differ."""
    if ours.effect != theirs.effect:
        yield _row(ours, "effect", ours.effect, theirs.effect, laxer=RISK[ours.effect] < RISK[theirs.effect])
    yield from _arguments(ours, theirs)
    yield from _output(ours, theirs)
    more, less = set(ours.intent) - set(theirs.intent), set(theirs.intent) - set(ours.intent)
    if more or less:
        yield _row(ours, "intent", "+" + " ".join(sorted(more)), "+" + " ".join(sorted(less)), laxer=bool(more))


def _arguments(ours: ToolReview, theirs: ToolReview) -> Iterator[Difference]:
    for pointer in dict.fromkeys((*theirs.arguments, *ours.arguments)):
        one, other = ours.arguments.get(pointer), theirs.arguments.get(pointer)
        if one == other:
            continue
        laxer = _asked(ours, one) < _asked(theirs, other)
        yield _row(ours, f"argument {pointer}", _argument(one), _argument(other), laxer=laxer)


def _asked(review: ToolReview, argument: ArgumentReview | None) -> int:
    """What a value of an argument must be worth; an argument that is not named is text, and so `what`."""
    named = any(one.role == "reference" for one in review.arguments.values())
    shares = review.effect == "write" and named and any("readers_of" in one for one in review.discloses)
    return demand(review.effect, argument or ArgumentReview(role="what"), shares=shares)


def _output(ours: ToolReview, theirs: ToolReview) -> Iterator[Difference]:
    one, other = ours.output, theirs.output
    # What can't be told apart is nobody's, and as secret as anything in it may be.
    secrets = dict.fromkeys(label for field in one.fields.values() for label in field.confidentiality)
    everywhere = FieldReview(writer="anyone", confidentiality=tuple(secrets))
    if one.form != other.form:
        yield _row(ours, "output from", one.form, other.form, laxer=one.form != "opaque")
    for pointer in dict.fromkeys((*other.fields, *one.fields)):
        field, kept = one.fields.get(pointer), other.fields.get(pointer)
        if field != kept:
            laxer = _laxer_field(everywhere if one.form == "opaque" else field, kept)
            yield _row(ours, f"field {pointer}", _field(field), _field(kept), laxer=laxer)
    if one.records != other.records:
        least = one.records.listing if one.records else "anyone"
        most = other.records.listing if other.records else "anyone"
        yield _row(
            ours,
            "records",
            least if one.records else "none",
            most if other.records else "none",
            laxer=_LAX[least] > _LAX[most],
        )
    if ours.mints != theirs.mints:
        extra = set(ours.mints.items()) - set(theirs.mints.items())
        yield _row(ours, "mints", str(dict(ours.mints)), str(dict(theirs.mints)), laxer=bool(extra))


def _laxer_field(field: FieldReview | None, kept: FieldReview | None) -> bool:
    """A field is laxer where it is believed more, names more, or is less secret. One that is not named is nobody's."""
    one, other = field or FieldReview(writer="anyone"), kept or FieldReview(writer="anyone")
    believed = _LAX[one.writer] > _LAX[other.writer] or (one.custodian and not other.custodian)
    return believed or (one.naming and not other.naming) or not set(other.confidentiality) <= set(one.confidentiality)


def _argument(one: ArgumentReview | None) -> str:
    return "not named" if one is None else " ".join(part for part in (one.role, one.type) if part)


def _field(one: FieldReview | None) -> str:
    if one is None:
        return "not named"
    marks = [name for name in ("naming", "custodian") if getattr(one, name)]
    return " ".join(part for part in (one.writer, one.type, *marks, *one.confidentiality) if part)


def _row(review: ToolReview, member: str, ours: str, theirs: str, *, laxer: bool) -> Difference:
    return Difference(review.tool, member, ours, theirs, laxer)


def read(document: Mapping[str, Json]) -> ToolReview:
    """A label document as a review, of nobody."""
    kept = {name: value for name, value in document.items() if name not in ("because", "look_at")}
    return read_review(kept, org="", id="", reviewed_by="", reviewed_at=0)


def compared(build: Path | None = None) -> list[Difference]:
    """The differences over all suites; with ``build``, what was suggested is written there."""
    found: list[Difference] = []
    for name in SUITES:
        one = suite(name)
        theirs, ours = reviewed(one), suggested(one)
        for tool, document in ours.items():
            if build is not None:
                file = build / "agentdojo-suggested" / name / f"{tool}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(as_json(document))
            found.extend(differences(read(document), read(theirs[tool])))
    return found


def graver(one: Difference) -> bool:
    """Whether a suggestion is laxer where it matters most: the effect, or an argument that says who."""
    return one.laxer and (
        one.member == "effect" or (one.member.startswith("argument") and one.reviewed.startswith("who"))
    )


def main() -> int:
    """The table; 1 if a suggestion is laxer on an effect or an identity."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--build", type=Path, default=Path("build"), help="where results are written")
    build: Path = given.parse_args().build
    started, begun = time.time(), time.monotonic()
    rows = compared(build)
    kinds = Counter((one.member.partition(" ")[0], one.laxer) for one in rows)
    lines = [f"{'member':12} {'differ':>7} {'laxer':>6}"]
    lines.extend(
        f"{kind:12} {kinds[kind, True] + kinds[kind, False]:7} {kinds[kind, True]:6}"
        for kind in sorted({kind for kind, _ in kinds})
    )
    lines += ["", "where a suggestion is laxer than the review:"]
    lines += [
        f"  {one.tool:48} {one.member:40} {one.suggested[:_SHOWN]}  (reviewed: {one.reviewed[:_SHOWN]})"
        for one in rows
        if one.laxer
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    bad = [one for one in rows if graver(one)]
    shown = [asdict(one) for one in rows]
    seconds = time.monotonic() - begun
    write_results("agentdojo-labels", shown, ok=not bad, started=started, seconds=seconds, folder=build)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
