from collections.abc import Iterator

import pytest

from tests.integration.servers import Postgres

from .web import Web, running


@pytest.fixture(scope="package")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The database of the service, with its tables."""
    server = Postgres(fsync=False)
    server.start()
    Web(tmp_path_factory.mktemp("web") / "log", DATABASE_URL=server.url()).migrate()
    yield server
    server.close()


@pytest.fixture(scope="package")
def web(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with running(tmp_path_factory.mktemp("web") / "log", DATABASE_URL=postgres.url()) as web:
        yield web
