"""Promises and tests are tied both ways."""

import ast
from collections import defaultdict
from pathlib import Path

from tests.claims import CLAIMS, page

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"


def claimed() -> dict[str, list[str]]:
    """Each id that stands in a ``claim`` mark, with the tests that carry it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "claim":
                found[ast.literal_eval(node.args[0])].append(f"{path.name}:{node.lineno}")
    return found


def test_every_promise_is_attacked_by_a_test() -> None:
    attacked = claimed()
    assert [name for name in CLAIMS if name not in attacked] == []


def test_every_test_attacks_a_promise_that_was_made() -> None:
    assert {name: where for name, where in claimed().items() if name not in CLAIMS} == {}


def test_the_page_of_promises_is_current() -> None:
    assert (DOCS / "claims.md").read_text(encoding="utf-8") == page()
