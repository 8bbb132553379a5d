"""One computation at a time in this process: threads that want the same value wait for the first one's."""

import copy
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["Flights"]

T = TypeVar("T")


class _Flight:
    def __init__(self) -> None:
        self.owner: Final = threading.get_ident()
        self.landed: Final = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None


class Flights:
    """Computations under way, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    def share(self, key: str, work: Callable[[], T], *, alone: Callable[[], T], patience: float) -> T:
        """Return what ``work`` returns, or what it returned to the thread that is at it.

        Those who wait get a copy of their own, and the same error if there was one. One who has waited ``patience``
        seconds works ``alone``; so does one who asks for the value while computing it.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                mine = self._flights[key] = _Flight()
        if flight is None:
            return self._fly(key, mine, work)
        if flight.owner == threading.get_ident() or not flight.landed.wait(patience):
            return alone()
        if flight.error is not None:
            raise flight.error
        value: T = copy.deepcopy(flight.value)
        return value

    def lead(self, key: str, work: Callable[[], T], *, otherwise: T) -> T:
        """Return what ``work`` returns, or ``otherwise`` at once when another thread is at it."""
        with self._lock:
            if key in self._flights:
                return otherwise
            mine = self._flights[key] = _Flight()
        return self._fly(key, mine, work)

    def _fly(self, key: str, flight: _Flight, work: Callable[[], T]) -> T:
        try:
            flight.value = value = work()
        except BaseException as error:
            flight.error = error
            raise
        else:
            return value
        finally:
            with self._lock:
                del self._flights[key]
            flight.landed.set()
