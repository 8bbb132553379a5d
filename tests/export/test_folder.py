"""A folder of rendered files: what is stale, what is ours, and what is never touched."""

from pathlib import Path, PurePosixPath

import pytest

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export import File, RenderedFolder, mark


def file(path: str, content: str) -> File:
    return File(path=PurePosixPath(path), content=f"# {mark('compose')}\n{content}\n")


@pytest.fixture
def folder(tmp_path: Path) -> RenderedFolder:
    return RenderedFolder(tmp_path, mark("compose"))


def test_what_is_written_is_up_to_date(folder: RenderedFolder) -> None:
    """The second look finds nothing."""
    written = folder.write([file("a.yaml", "1"), file("deep/b.yaml", "2")])
    assert written.missing == (folder.path / "a.yaml", folder.path / "deep/b.yaml")
    assert not folder.compare([file("a.yaml", "1"), file("deep/b.yaml", "2")])


def test_what_is_stale_is_named(folder: RenderedFolder) -> None:
    """Missing, changed and gone are told apart, and a comparison writes nothing."""
    folder.write([file("a.yaml", "1"), file("b.yaml", "1")])
    difference = folder.compare([file("a.yaml", "2"), file("c.yaml", "1")])
    assert difference.missing == (folder.path / "c.yaml",)
    assert difference.changed == (folder.path / "a.yaml",)
    assert difference.gone == (folder.path / "b.yaml",)
    assert sorted(path.name for path in folder.path.iterdir()) == ["a.yaml", "b.yaml"]


def test_what_is_gone_is_deleted_and_nothing_else(folder: RenderedFolder) -> None:
    """A file without the mark of this exporter stays, whatever it is."""
    folder.write([file("a.yaml", "1"), file("b.yaml", "1")])
    (folder.path / "secrets").mkdir()
    (folder.path / "secrets" / "password").write_text("x")
    (folder.path / "other").write_text(mark("kubernetes"))
    assert folder.write([file("a.yaml", "1")]).gone == (folder.path / "b.yaml",)
    assert sorted(path.name for path in folder.path.iterdir()) == ["a.yaml", "other", "secrets"]


def test_somebody_elses_file_is_never_written_over(folder: RenderedFolder) -> None:
    """The command fails, says which file, and has written nothing."""
    (folder.path / "b.yaml").write_text("mine\n")
    with pytest.raises(WorkspaceError, match=r"b\.yaml would be written over"):
        folder.write([file("a.yaml", "1"), file("b.yaml", "1")])
    assert (folder.path / "b.yaml").read_text() == "mine\n"
    assert not (folder.path / "a.yaml").exists()
