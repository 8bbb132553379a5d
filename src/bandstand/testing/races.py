"""Work that begins at the same moment on many threads, each with a database connection of its own."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections

__all__ = ["run_at_once"]

T = TypeVar("T")

_PATIENCE = 60.0  # seconds


def run_at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Call ``work(0)`` to ``work(count - 1)`` on threads that begin together, and return the results in that order.

    The test must be marked ``django_db(transaction=True)``: what it wrote itself is otherwise not committed, and the
    threads do not see it.

    Raises:
        Exception: the first that ``work`` raised. To look at it instead, catch it in ``work``.
        AssertionError: a thread has not ended within a minute; most likely two wait for each other.
    """
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(_PATIENCE)
            results[number] = work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below, on the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "Some threads have not ended; do they wait for each other?"
    return results
