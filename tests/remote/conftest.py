from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches

from bandstand.testing.services import FakeServices, fake_services


@pytest.fixture(autouse=True)
def fake(db: Any) -> Iterator[FakeServices]:
    caches["default"].clear()
    with fake_services() as fake:
        yield fake
    caches["default"].clear()
