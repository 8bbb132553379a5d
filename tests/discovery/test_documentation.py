import re
from pathlib import Path
from typing import Any

from pytest_django import Settings

from bandstand.discovery import instances
from bandstand.discovery.checks import check_discovery

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/discovery.md").read_text()


def configure(settings: Settings, url: str) -> None:
    settings.BANDSTAND = {**settings.BANDSTAND, "DISCOVERY": {"URL": url}}


def test_the_examples_run(settings: Settings, tmp_path: Path) -> None:
    """Each block of code on the page works as printed, and the file and the URL on it are read."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "discovery.md", "exec"), names)
    assert len(blocks) == 2

    (document,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "registry.json"
    path.write_text(document)
    configure(settings, path.as_uri())
    assert instances("user-service")[0].id == "user-service-web-1"

    (static,) = re.findall(r"`(static:\S+?)`", PAGE.replace("`static:`", ""))
    configure(settings, static)
    assert instances("order-service")[0].url == "http://10.0.0.2:8000"


def test_every_check_is_explained(settings: Settings, tmp_path: Path) -> None:
    """A wrong URL is an error for each fault, which the page explains; a file may be written later."""
    configure(settings, "static:a=http://a:1")
    assert check_discovery() == []
    configure(settings, "static:a=ftp://a,b")
    assert [message.id for message in check_discovery()] == ["bandstand.discovery.E001"] * 2
    configure(settings, (tmp_path / "absent.json").as_uri())
    assert check_discovery() == []
    assert "`bandstand.discovery.E001`" in PAGE
