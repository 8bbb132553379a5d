from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches


class Clock:
    """A clock that moves when told. Redis and locmem have clocks of their own: their times are long in these tests."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def cache(db: Any) -> Iterator[Any]:
    cache = caches["default"]
    cache.clear()
    yield cache
    cache.clear()
