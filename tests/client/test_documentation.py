import re
from pathlib import Path
from typing import Any, get_type_hints

from pytest_django import Settings

from bandstand.client.checks import check_client
from bandstand.client.preparation import Options
from bandstand.conf.settings import ClientSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/client.md").read_text()


def test_the_examples_run() -> None:
    """Each block of code on the page works as printed, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "client.md", "exec"), names)
    assert len(blocks) == 6


def test_every_option_is_explained() -> None:
    """The tables of options and of settings name what there is, with the defaults that hold."""
    options = re.findall(r"^\| `(\w+)` \|", PAGE.partition("| Option |")[2].partition("\n\n")[0], re.MULTILINE)
    assert set(options) == set(get_type_hints(Options))
    section = PAGE.partition("## Time")[2].partition("\n\nA call")[0]
    defaults = {
        name.lower(): float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", section, re.MULTILINE)
    }
    settings = ClientSettings()
    assert defaults == {name: getattr(settings, name) for name in settings.__struct_fields__}


def test_every_check_is_explained(settings: Settings) -> None:
    """A limit without sense is an error of `manage.py check`, one for each, with an id that the page explains."""
    assert check_client() == []
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TIMEOUT": 0, "RETRIES": -1}}
    found = check_client()
    assert [message.id for message in found] == ["bandstand.client.E001"] * 2
    assert "`bandstand.client.E001`" in PAGE
