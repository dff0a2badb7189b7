"""What ``make conformance`` finds wrong: a difference nobody listed, a listed one that is gone, and one that grew."""

from pathlib import Path

import pytest

from conformance.programs import FOLDER, LOCKED
from conformance.suite import Ends, Listed, Verdict, compared, listed

DIRECT: Ends = {"says": "SUCCESS", "shows": "SUCCESS+SUCCESS"}
MEANT: Ends = {"says": "FAILURE"}


@pytest.mark.parametrize(
    ("through", "meant", "fault"),
    [
        (DIRECT, None, ""),
        ({**DIRECT, "says": "FAILURE"}, MEANT, ""),
        ({**DIRECT, "says": "FAILURE"}, None, "differs, and is not listed: {'says': 'FAILURE'}"),
        (DIRECT, MEANT, "is listed, and does not differ"),
        ({**DIRECT, "says": "WARNING"}, MEANT, "differs otherwise than is listed: {'says': 'WARNING'}"),
        (
            {"says": "FAILURE", "shows": "SUCCESS"},
            MEANT,
            "differs otherwise than is listed: {'says': 'FAILURE', 'shows': 'SUCCESS'}",
        ),
        ({}, None, "differs, and is not listed: {'says': 'ABSENT', 'shows': 'ABSENT'}"),
    ],
)
def test_a_scenario_ends_as_it_does_directly_or_just_as_is_listed(
    through: Ends, meant: Ends | None, fault: str
) -> None:
    wanted = {"one": Listed("for a reason", meant)} if meant is not None else {}
    there, here = (Verdict({"one": ends}, frozenset()) for ends in (DIRECT, through))
    assert [row["fault"] for row in compared("r", there, here, wanted)] == [fault]


def test_a_listed_scenario_that_the_suite_does_not_have_is_wrong() -> None:
    nothing = Verdict({}, frozenset())
    assert [row["fault"] for row in compared("r", nothing, nothing, {"one": Listed("", MEANT)})] != [""]


def test_every_listed_difference_has_a_reason_and_differs_in_something() -> None:
    meant = listed(Path(__file__).parents[1] / "conformance" / "differences.toml")
    assert all(one.why and one.ends for scenarios in meant.values() for one in scenarios.values())


def test_what_npm_installs_is_locked_by_hash_and_names_no_place() -> None:
    lock = (LOCKED / "package-lock.json").read_text(encoding="utf-8")
    assert lock.count('"version"') == lock.count('"integrity"')
    assert '"resolved"' not in lock
    assert FOLDER.relative_to(LOCKED.parents[1]).parts[0] == "build"
