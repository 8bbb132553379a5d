import re
from pathlib import Path
from typing import Any

from pytest_django import Settings

from bandstand.context.checks import check_context

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/context.md").read_text()


def test_the_examples_run(settings: Settings) -> None:
    """Each block of code on the page works as printed, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "context.md", "exec"), names)
    settings.MIDDLEWARE = names["MIDDLEWARE"]
    assert check_context() == []
    assert len(blocks) == 7


def test_every_check_is_explained() -> None:
    """The table of checks knows every id in the code."""
    source = (ROOT / "src/bandstand/context/checks.py").read_text()
    ids = set(re.findall(r"bandstand\.context\.([EW]\d+)", source))
    assert ids == set(re.findall(r"\b([EW]\d{3})\b", PAGE.partition("## System checks")[2]))
