"""Come in here for ``reviewers.yaml``: who must sign the reviews of a folder, by path, beside the reviews themselves.

    "office/*": [ada@example.test, bob@example.test]
    four_eyes: [spend, destroy, admin]

A path is taken from the folder that the file stands in; ``*`` also runs over ``/``. A signer must stand in every list
whose pattern fits, so a line more never lets anybody in, and a review that no line fits is signed by nobody. What is
found goes into the document that is sent, where Remit holds it against who is signed in.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from remit.cli.files import FileDocument, read_documents, read_value
from remit.core.canonical import Json
from remit.core.errors import Forbidden, InvalidDocument, NotFound
from remit.core.tools import EFFECTS

NAME: Final = "reviewers.yaml"
_FOUR: Final = "four_eyes"
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_MAX_FILES: Final = 5_000


def read_reviews(paths: Sequence[Path]) -> list[FileDocument]:
    """Every review in these files and folders, in order, each with the reviewers that its folder asks for.

    Raises as ``read_documents``; ``Forbidden`` for a review that no line of its ``reviewers.yaml`` fits.
    """
    found: list[FileDocument] = []
    for path, root in _files(paths):
        found.extend(_asked(document, path, root) for document in read_documents(path, "ToolReview"))
    return found


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Each file, and the uppermost folder where its ``reviewers.yaml`` is looked for."""
    count = 0
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for one in inside:
            wanted = one == path or (one.suffix in _SUFFIXES and one.name != NAME and one.is_file())
            if wanted:
                count += 1
                if count > _MAX_FILES:
                    raise InvalidDocument(f"more than {_MAX_FILES} files", hint="Apply them folder by folder.")
                yield one, path if path.is_dir() else path.absolute().parent.parent
        if path.is_dir() and not any(one.suffix in _SUFFIXES for one in inside):
            raise NotFound(f"{path} holds no review", hint="Name a folder with YAML or JSON files.")


def _asked(document: FileDocument, path: Path, root: Path) -> FileDocument:
    source = _nearest(path, root)
    if source is None:
        return document
    rules = read_value(source)
    within = path.absolute().relative_to(source.absolute().parent).as_posix()
    fitting = [
        _people(source, pattern, rules[pattern])
        for pattern in rules
        if pattern != _FOUR and fnmatchcase(within, pattern)
    ]
    four = _effects(source, rules.get(_FOUR, []))
    named = [person for person in fitting[0] if all(person in other for other in fitting)] if fitting else []
    if not named:
        raise Forbidden(
            f"{source} names nobody who may sign {within}",
            hint="Add a line for it, or a person who stands in each line that fits.",
        )
    asked: dict[str, Json] = {"reviewers": named}
    if document.value.get("effect") in four:
        asked[_FOUR] = True
    own = document.value.get("reviewers")
    if isinstance(own, list):
        asked["reviewers"] = [person for person in named if person in own] or [str(person) for person in own]
    return FileDocument(document.path, {**document.value, **asked}, document.lines)


def _nearest(path: Path, root: Path) -> Path | None:
    """The ``reviewers.yaml`` in the file's own folder, or above it up to ``root``."""
    top = root.absolute()
    for folder in path.absolute().parents:
        candidate = folder / NAME
        if candidate.is_file():
            return candidate
        if folder == top:
            break
    return None


def _people(source: Path, pattern: str, value: Json) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and "@" in one for one in value):
        raise InvalidDocument(f"{source}: {pattern!r} is a list of e-mail addresses", pointer=f"/{pattern}")
    return [str(one) for one in value]


def _effects(source: Path, value: Json) -> frozenset[str]:
    if not isinstance(value, list) or not all(one in EFFECTS for one in value):
        raise InvalidDocument(f"{source}: {_FOUR} is a list of effects", pointer=f"/{_FOUR}")
    return frozenset(str(one) for one in value)


def without_why(suggested: Mapping[str, Json]) -> dict[str, Json]:
    """A suggestion as it applies: without the members that only explain it."""
    return {name: value for name, value in suggested.items() if name not in ("because", "look_at")}
