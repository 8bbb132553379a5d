import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def busy_switching() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
