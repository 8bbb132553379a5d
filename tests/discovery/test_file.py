import json
import logging
import os
from pathlib import Path

import pytest

from bandstand.context import REGISTRY
from bandstand.discovery.backends.file import FileRegistry
from bandstand.exceptions import ConfigurationError, NoInstances, UnknownService
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.json"


def write(path: Path, *urls: str, version: int = 1) -> None:
    """Replace the file as the runner does: by rename."""
    entries = [{"id": url, "url": url} for url in urls]
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"version": version, "services": {"user-service": entries}}))
    beside.replace(path)


def urls(registry: FileRegistry) -> list[str]:
    return [instance.url for instance in registry.instances("user-service")]


@pytest.fixture
def registry(path: Path, clock: Clock) -> FileRegistry:
    write(path, "http://a:1")
    return FileRegistry(path.as_uri(), interval=0.2, clock=clock)


def test_a_replaced_file_is_read(registry: FileRegistry, path: Path, clock: Clock) -> None:
    """What is renamed into place is seen once the interval is over."""
    write(path, "http://a:1", "http://b:1")
    clock.now += 0.2
    assert urls(registry) == ["http://a:1", "http://b:1"]


def test_the_file_is_not_looked_at_more_often_than_told(registry: FileRegistry, path: Path, clock: Clock) -> None:
    """Within the interval the answer comes from memory alone, whatever happens to the file."""
    write(path, "http://b:1")
    clock.now += 0.199
    assert urls(registry) == ["http://a:1"]


def test_whoever_has_just_come_is_found_at_once(path: Path, clock: Clock) -> None:
    """Where the list in memory has nobody, the interval does not count: the first call after a start must not fail."""
    write(path)
    registry = FileRegistry(path.as_uri(), interval=0.2, clock=clock)
    with pytest.raises(NoInstances):
        urls(registry)
    write(path, "http://a:1")
    assert urls(registry) == ["http://a:1"]


def test_an_unchanged_file_is_not_read_again(
    registry: FileRegistry, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking costs one stat; the file is opened only when it is another one."""

    def refuse(*_: object) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(Path, "open", refuse)
    clock.now += 10
    assert urls(registry) == ["http://a:1"]


def test_a_file_of_the_same_size_and_time_is_still_seen(registry: FileRegistry, path: Path, clock: Clock) -> None:
    """Two replacements within one tick of the file system's clock differ in their inode."""
    before = path.stat()
    write(path, "http://b:1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    clock.now += 1
    assert urls(registry) == ["http://b:1"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "services": {"user',  # half a file
        b'{"version": 2, "services": {}}',
        b'{"version": 1, "services": {"user-service": [{"id": "1", "url": "nowhere"}]}}',
        b'{"version": 1, "services": {"user-service": [{"id": "1"}]}}',
        b"\xff\xfe",
        None,  # gone
    ],
)
def test_the_last_good_list_stays(
    registry: FileRegistry, path: Path, clock: Clock, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A registry that is away or broken stops no call, is said so once, and is used again once it is good."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for _ in range(3):
        clock.now += 1
        assert urls(registry) == ["http://a:1"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(path) in registry.trouble()
    assert registry.age() == 3

    write(path, "http://b:1")
    clock.now += 1
    assert urls(registry) == ["http://b:1"]
    assert registry.trouble() == ""
    assert registry.age() == 0


def test_the_trouble_ends_though_nobody_calls(registry: FileRegistry, path: Path, clock: Clock) -> None:
    """Who asks for the trouble alone, as health does, learns of its beginning and of its end."""
    path.rename(path.with_name("elsewhere"))
    clock.now += 1
    assert registry.trouble()
    path.with_name("elsewhere").rename(path)
    clock.now += 1
    assert registry.trouble() == ""


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"bandstand_discovery_{name}", {"service": "user-service"})


def test_metrics_tell_of_the_list(registry: FileRegistry, path: Path, clock: Clock) -> None:
    """The age grows while the file can't be read, and not while nobody calls."""
    write(path, "http://a:1", "http://b:1")
    clock.now += 1000
    assert (metric("age_seconds"), metric("instances")) == (0, 2)
    path.write_bytes(b"{")
    clock.now += 7
    assert (metric("age_seconds"), metric("instances")) == (7, 2)
    write(path)
    clock.now += 1
    assert (metric("age_seconds"), metric("instances")) == (0, 0)


def test_a_file_that_comes_later_is_found(path: Path, clock: Clock) -> None:
    """A service may start before its registry; until then the error says where the file was looked for."""
    registry = FileRegistry(path.as_uri(), clock=clock)
    with pytest.raises(UnknownService, match=str(path)):
        registry.instances("user-service")
    write(path, "http://a:1")
    clock.now += 1
    assert urls(registry) == ["http://a:1"]


def test_fields_of_a_newer_writer_are_ignored(path: Path) -> None:
    """A runner that writes more than is read here does not stop a service."""
    entry = {"id": "1", "url": "http://a:1", "zone": "b"}
    path.write_text(json.dumps({"version": 1, "written": 5, "services": {"user-service": [entry]}}))
    assert urls(FileRegistry(path.as_uri())) == ["http://a:1"]


def test_a_path_with_spaces_is_unquoted(tmp_path: Path) -> None:
    """The URL of a file may have quoted characters."""
    path = tmp_path / "my registry.json"
    write(path, "http://a:1")
    assert "%20" in path.as_uri()
    assert urls(FileRegistry(path.as_uri())) == ["http://a:1"]


@pytest.mark.parametrize("url", ["file:registry.json", "file://registry.json", "file://host/registry.json"])
def test_a_path_that_is_not_absolute_is_refused(url: str) -> None:
    """Where a service was started from must not decide whom it calls."""
    with pytest.raises(ConfigurationError, match="file:///path"):
        FileRegistry(url)
