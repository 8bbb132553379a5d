import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.runtime.shop import Platform, write
from tests.ports import guarded_port

FOLDER = "tiny shöp"  # whatever is written into a configuration file must be quoted as that file wants it


@pytest.fixture(scope="session")
def started_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform that was started and stopped once; copies of it start in half the time."""
    folder = tmp_path_factory.mktemp("started") / FOLDER
    write(folder, port=guarded_port())
    with _stopped_at_the_end(folder) as platform:
        platform.up()
    return folder


@pytest.fixture
def platform(started_before: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform of one's own that does not run; stopped at the end however the test ends."""
    with _stopped_at_the_end(shutil.copytree(started_before, tmp_path / FOLDER)) as platform:
        yield platform


@pytest.fixture
def twin(started_before: Path, tmp_path: Path) -> Iterator[Platform]:
    """Another copy of the same platform, with the same ports in its state."""
    with _stopped_at_the_end(shutil.copytree(started_before, tmp_path / "twin")) as platform:
        yield platform


@pytest.fixture
def new_platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that was never started."""
    write(tmp_path / FOLDER, port=guarded_port())
    with _stopped_at_the_end(tmp_path / FOLDER) as platform:
        yield platform


@pytest.fixture(scope="module")
def running(started_before: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that runs, shared by the tests of a module."""
    folder = shutil.copytree(started_before, tmp_path_factory.mktemp("running") / FOLDER)
    with _stopped_at_the_end(folder) as platform:
        platform.up()
        yield platform


@contextmanager
def _stopped_at_the_end(folder: Path) -> Iterator[Platform]:
    platform = Platform(folder)
    try:
        yield platform
    finally:
        if platform.left():  # most tests end what they started; the command costs a second
            platform.run("down")
        for process in platform.left():
            process.kill()
