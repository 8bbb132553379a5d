import re
from pathlib import Path
from typing import Any, get_type_hints

from msgspec import to_builtins
from pytest_django import Settings

from bandstand.client import Policy
from bandstand.client.checks import check_client
from bandstand.client.preparation import Options

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/client.md").read_text()


def test_the_examples_run() -> None:
    """Each block of code on the page works as printed, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "client.md", "exec"), names)
    assert len(blocks) == 8


def test_every_option_is_explained() -> None:
    """The tables of options and of settings name what there is, with the defaults that hold."""
    options = re.findall(r"^\| `(\w+)` \|", PAGE.partition("| Option |")[2].partition("\n\n")[0], re.MULTILINE)
    assert set(options) == set(get_type_hints(Options))
    section = PAGE.partition("## The policy")[2].partition("\n\n## ")[0]
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([\w.]+)`? \|", section, re.MULTILINE))
    policy = Policy()
    assert {name.lower(): value for name, value in defaults.items()} == {
        name: format(value, "g") if isinstance(value, float) else str(value)
        for name, value in to_builtins(policy).items()
    }


def test_every_check_is_explained(settings: Settings) -> None:
    """A limit without sense is an error of `manage.py check`, one for each, with an id that the page explains."""
    assert check_client() == []
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TIMEOUT": 0, "RETRIES": -1}}
    found = check_client()
    assert [message.id for message in found] == ["bandstand.client.E001"] * 2
    assert "`bandstand.client.E001`" in PAGE
