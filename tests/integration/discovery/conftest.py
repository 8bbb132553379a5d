from collections.abc import Iterator

import pytest

from tests.integration.optional.servers import Consul, consul


@pytest.fixture
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """A Consul agent of this test's own."""
    with consul(tmp_path_factory.mktemp("consul")) as running:
        yield running
