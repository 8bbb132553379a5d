import re
from pathlib import Path
from typing import Any

from bandstand.conf.settings import HealthSettings

PAGE = (Path(__file__).parents[2] / "docs/reference/health.md").read_text()


def test_the_examples_run() -> None:
    """Each block of code on the page works as printed."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "health.md", "exec"), names)
    assert len(blocks) == 2


def test_the_settings_are_explained() -> None:
    """The table has each setting of the room with its default."""
    rows = re.findall(r"\| `([A-Z]+)`.*?\| (\d+) \|", PAGE)
    defaults = HealthSettings()
    assert {name.lower(): float(value) for name, value in rows} == {
        name: getattr(defaults, name) for name in HealthSettings.__struct_fields__
    }
