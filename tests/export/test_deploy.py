"""deploy/ is the shop of this repository, rendered: whoever changes the manifest or an exporter renders it anew."""

import re
from pathlib import Path

import pytest

from bandstand.workspace.export import EXPORTERS, RenderedFolder, mark
from bandstand.workspace.manifest import Workspace, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture
def shop() -> Workspace:
    return load(ROOT / "shop" / "bandstand.toml")


@pytest.mark.parametrize("kind", EXPORTERS)
def test_deploy_is_up_to_date(shop: Workspace, kind: str) -> None:
    """`make deploy` would change nothing."""
    difference = RenderedFolder(DEPLOY / kind, mark(kind)).compare(EXPORTERS[kind](shop))
    assert not difference, f"Run `make deploy`: {difference}"


@pytest.mark.parametrize("kind", EXPORTERS)
def test_every_file_says_where_it_comes_from(shop: Workspace, kind: str) -> None:
    """The mark stands in one of the first lines of every file: on it depends what is written over."""
    for file in EXPORTERS[kind](shop):
        assert mark(kind) in "".join(file.content.splitlines()[:3]), file.path


@pytest.mark.parametrize("kind", EXPORTERS)
def test_the_same_manifest_gives_the_same_bytes_anywhere(shop: Workspace, kind: str, tmp_path: Path) -> None:
    """Neither the place of the folder nor the time is in what is rendered."""
    (tmp_path / "other").mkdir()
    for service in shop.services:
        (tmp_path / "other" / service.name / service.module).mkdir(parents=True)
        (tmp_path / "other" / service.name / "manage.py").touch()
        (tmp_path / "other" / service.name / service.module / "wsgi.py").touch()
    manifest = (ROOT / "shop" / "bandstand.toml").read_text()
    (tmp_path / "other" / "bandstand.toml").write_text(manifest)
    elsewhere = load(tmp_path / "other" / "bandstand.toml")
    here = [file.content.replace("shop/", "other/") for file in EXPORTERS[kind](shop)]
    assert [file.content.replace("shop/", "other/") for file in EXPORTERS[kind](elsewhere)] == here


def test_make_deploy_knows_every_exporter() -> None:
    """The list in the Makefile is the list of exporters."""
    listed = re.search(r"^EXPORTS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    assert listed[1].split() == list(EXPORTERS)
