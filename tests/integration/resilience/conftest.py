from collections.abc import Iterator

import pytest

from tests.processor import preferred


@pytest.fixture(scope="package", autouse=True)
def _preferred() -> Iterator[None]:
    """What is measured here is what services do, and not what else the machine does."""
    with preferred("bandstand-resilience"):
        yield
