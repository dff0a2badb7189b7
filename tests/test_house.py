"""The house is kept: rooms of a size that can be seen whole, and nothing in them that names where they were built."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "src" / "remit").rglob("*.py"))
MAX_LINES = 500
# One file by design: a copy of it alone verifies a log.
WHOLE_BY_DESIGN = {"verify.py"}
MAX_FUNCTION = 70
TEXT = {".py", ".md", ".toml", ".yaml", ".json", ".sql", ".cedar", ".sh", ".cfg", ""}
# Put together here so that this file does not hold what it looks for.
FOREIGN = re.compile("|".join(("/" + "work/", "/" + "tmp/v", r"\." + "library", "/" + "root/")))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_can_be_seen_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with a sentence"
    assert text.count("\n") <= MAX_LINES or path.name in WHOLE_BY_DESIGN
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


def test_nothing_names_the_machine_it_was_written_on() -> None:
    found = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if parts[0] in {".git", ".venv", "build"} or any(part.startswith(".") and part != ".ci" for part in parts):
            continue
        if "__pycache__" not in parts and path.is_file() and path.suffix in TEXT and path.stat().st_size < 2_000_000:
            match = FOREIGN.search(path.read_text(encoding="utf-8", errors="replace"))
            if match:
                found.append(f"{path.relative_to(ROOT)}: {match.group()}")
    assert found == []


def test_work_left_undone_is_not_hidden_in_comments() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    assert [path.name for path in MODULES if marks.search(path.read_text(encoding="utf-8"))] == []


def test_the_lock_meets_every_floor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = {one.name: one for one in map(Requirement, (line.rstrip(" \\") for line in lines if "==" in line))}
    for text in (*project["project"]["dependencies"], *project["dependency-groups"]["dev"]):
        wanted = Requirement(text)
        version = str(locked[canonicalize_name(wanted.name)].specifier).removeprefix("==")
        assert wanted.specifier.contains(version), f"{text} is locked at {version}: run `make lock`"
