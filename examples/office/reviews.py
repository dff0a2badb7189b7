"""Come in here to turn the office's review files into reviews that can be applied.

A review is of one fingerprint, and no file in ``reviews/`` names one: a file that did would be approved unseen. The
caller shows a person the quarantined definition and then puts *its* fingerprint in.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).parent / "reviews"
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")


def with_fingerprint(path: Path, fingerprint: str) -> dict[str, Any]:
    """The ToolReview in ``path`` for ``fingerprint`` (``sha256:`` and 64 hex digits), ready to be written as JSON.

    Raises ``ValueError`` if the file is no review or names a fingerprint already, or if ``fingerprint`` is none.
    """
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise ValueError("a fingerprint is sha256: and 64 hex digits")
    review = YAML(typ="safe", pure=True).load(path)
    if not isinstance(review, dict) or review.get("kind") != "ToolReview" or "fingerprint" in review:
        raise ValueError(f"{path.name} is not a ToolReview without a fingerprint")
    return {**review, "fingerprint": fingerprint}


def for_tools(fingerprints: dict[str, str]) -> list[dict[str, Any]]:
    """The reviews of the tools named in ``fingerprints`` (tool name to fingerprint), in that order."""
    return [with_fingerprint(FOLDER / f"{tool}.yaml", value) for tool, value in fingerprints.items()]
