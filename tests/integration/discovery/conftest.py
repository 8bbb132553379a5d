import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.discovery.processes import forget_all, manage
from tests.integration.optional.servers import Consul, consul


@pytest.fixture(scope="session")
def shared_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    with consul(tmp_path_factory.mktemp("consul")) as running:
        yield running


@pytest.fixture
def agent(shared_agent: Consul) -> Iterator[Consul]:
    """A Consul agent that knows nobody. A test may stop it: for the next one it runs again."""
    yield shared_agent
    if shared_agent.process is None:
        shared_agent.start()
    forget_all(shared_agent)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database."""
    folder = tmp_path_factory.mktemp("database")
    manage(None, folder, "migrate")
    return folder / "database.sqlite3"


@pytest.fixture
def folder(database: Path, tmp_path: Path) -> Path:
    """A folder with a database of this test's own, and room for logs."""
    shutil.copy(database, tmp_path)
    return tmp_path
