import logging
import os
from pathlib import Path

import pytest

from bandstand.exceptions import ConfigurationError
from bandstand.identity.watched import WatchedFile
from tests.identity.conftest import Clock


class Parser:
    """Reads upper-case text, counts, and finds fault with an empty file."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, content: bytes) -> str:
        self.times += 1
        if not content:
            raise ValueError("is empty")
        return content.decode().upper()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text("one")
    return path


@pytest.fixture
def parser() -> Parser:
    return Parser()


@pytest.fixture
def file(path: Path, parser: Parser, clock: Clock) -> WatchedFile[str]:
    return WatchedFile(str(path), parser, variable="KEYS_FILE", clock=clock)


def replace(path: Path, text: str) -> None:
    """Write as deployments do: a new file, moved over the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_change_is_seen_within_a_second(path: Path, file: WatchedFile[str], clock: Clock) -> None:
    """The file is looked after once a second, and read again when it has changed."""
    assert file.get() == "ONE"
    clock.pass_by(1)
    assert file.get() == "ONE"
    replace(path, "two")
    assert file.get() == "ONE"
    clock.pass_by(1)
    assert file.get() == "TWO"


def test_an_unchanged_file_is_read_once(file: WatchedFile[str], parser: Parser, clock: Clock) -> None:
    """Looking costs a stat, not a parse."""
    for _ in range(10):
        file.get()
        clock.pass_by(1)
    assert parser.times == 1


def test_between_two_looks_the_disk_is_left_alone(path: Path, file: WatchedFile[str], clock: Clock) -> None:
    """However many requests come in a second, one of them looks."""
    clock.pass_by(1)
    file.get()
    file.get()
    path.unlink()
    assert [file.get() for _ in range(100)] == ["ONE"] * 100


@pytest.mark.parametrize("harm", ["removed", "emptied", "a folder"])
def test_a_file_that_breaks_leaves_the_last_good_content(
    path: Path, file: WatchedFile[str], clock: Clock, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    """A broken or missing file changes nothing, is logged once, and is read again when it is mended."""
    assert file.get() == "ONE"
    path.unlink()
    if harm == "emptied":
        path.touch()
    elif harm == "a folder":
        path.mkdir()
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            clock.pass_by(1)
            assert file.get() == "ONE"
    (record,) = caplog.records
    assert "KEYS_FILE names" in record.getMessage()
    if harm == "a folder":
        path.rmdir()
    path.write_text("mended")
    clock.pass_by(1)
    assert file.get() == "MENDED"


def test_a_file_of_the_same_size_and_time_in_another_place_is_seen(
    path: Path, file: WatchedFile[str], clock: Clock
) -> None:
    """A replacement is seen although it kept length and time of the old file, as some copies do."""
    file.get()
    old = path.stat()
    replace(path, "two")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    clock.pass_by(1)
    assert file.get() == "TWO"


def test_a_linked_file_is_seen_to_change(tmp_path: Path, parser: Parser, clock: Clock) -> None:
    """Orchestrators swap a link to a folder of secrets; the content behind it counts."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    link = tmp_path / "now"
    link.symlink_to(tmp_path / "a")
    file = WatchedFile(str(link / "key"), parser, variable="KEYS_FILE", clock=clock)
    assert file.get() == "A"
    link.unlink()
    link.symlink_to(tmp_path / "b")
    clock.pass_by(1)
    assert file.get() == "B"


def test_a_file_that_was_never_read_is_a_configuration_error(tmp_path: Path, parser: Parser, clock: Clock) -> None:
    """The first read says which variable names what, and what is wrong; once the file is there, it is read."""
    path = tmp_path / "missing.json"
    file = WatchedFile(str(path), parser, variable="KEYS_FILE", clock=clock)
    with pytest.raises(ConfigurationError, match=r"KEYS_FILE names .*missing\.json, which can't be read"):
        file.get()
    path.touch()
    with pytest.raises(ConfigurationError, match=r"missing\.json, which is empty"):
        file.get()
    path.write_text("here")
    assert file.get() == "HERE"
