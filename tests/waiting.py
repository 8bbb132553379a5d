"""Waiting for a condition, however long the machine takes for it."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["GUARD", "until"]

GUARD: Final = 180.0
"""Seconds after which a wait is given up, so that a test ends. It judges nothing: no slow machine comes near it."""

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, *, pause: float = 0.02, evidence: Callable[[], str] = str) -> T:
    """Return the first true value of ``condition``, which is asked every ``pause`` seconds.

    Raises:
        AssertionError: it never became true; the text names ``what`` was waited for and ends with the ``evidence``.
    """
    end = time.monotonic() + GUARD
    while not (value := condition()):
        assert time.monotonic() < end, f"still waiting for {what} after {GUARD:g} s\n{evidence()}"
        time.sleep(pause)
    return value
