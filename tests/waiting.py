"""Waits of tests: for a condition, and never for a time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["GUARD", "until"]

T = TypeVar("T")

GUARD: Final = 60.0
"""Seconds after which a test that would hang ends. It judges nothing: what works takes a small part of it."""

_LOOK: Final = 0.01


def until(condition: Callable[[], T], what: str, *, state: Callable[[], object] = str, guard: float = GUARD) -> T:
    """Look until ``condition`` returns something true, and return it.

    ``what`` is told, with ``state()``, if that does not happen in ``guard`` seconds.
    """
    end = time.monotonic() + guard
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {guard:g} s for {what} {state()}"
        time.sleep(_LOOK)
    return found
