"""Links between the pages lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_an_end(page: Path) -> None:
    """Each relative link of a page is a file of the repository."""
    dead = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert dead == []


def test_every_page_is_listed() -> None:
    """The documentation's first page leads to all others."""
    docs = ROOT / "docs"
    listed = {(docs / link).resolve() for link in LINK.findall((docs / "README.md").read_text())}
    assert {page.resolve() for page in docs.glob("*/**/*.md")} <= listed
