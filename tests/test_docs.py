"""Documentation moves with the code: generated pages are current, and links lead somewhere."""

import re
import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def test_the_generated_reference_is_what_the_code_says() -> None:
    assert runpy.run_path(str(DOCS / "generate.py"))["stale"]() == []


def test_every_link_between_pages_leads_to_a_page() -> None:
    pages = [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
