"""How rendered files get onto the disk."""

from pathlib import Path, PurePosixPath

from bandstand.workspace.export import File, install


def file(path: str, content: str) -> File:
    return File(path=PurePosixPath(path), content=content)


def test_files_are_written_below_the_folder(tmp_path: Path) -> None:
    """Folders are made; content is UTF-8 with its line ends as they are."""
    written = install([file("a.json", "{}\n"), file("deep/er/b.txt", "ü\n")], tmp_path / "new")
    assert written == [tmp_path / "new" / "a.json", tmp_path / "new" / "deep" / "er" / "b.txt"]
    assert written[1].read_bytes() == "ü\n".encode()


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """A file with the same content keeps its inode, so that nobody who watches it is woken."""
    install([file("a", "1"), file("b", "1")], tmp_path)
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert install([file("a", "1"), file("b", "2")], tmp_path) == [tmp_path / "b"]
    after = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]


def test_a_file_is_replaced_by_a_rename(tmp_path: Path) -> None:
    """Who has the old file open reads it to its end, and no temporary file stays."""
    install([file("a", "old")], tmp_path)
    with (tmp_path / "a").open() as reader:
        install([file("a", "new")], tmp_path)
        assert reader.read() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "new"
