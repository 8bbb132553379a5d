"""A bulkhead: how many may be at something at once."""

import threading

__all__ = ["Limit"]


class Limit:
    """Lets ``most`` in at once, and the next in only when one has left. Nobody waits: whoever can't enter is told so.

    The bulkhead of M. Nygard, "Release It!": one slow service can't take all threads, connections and memory.
    """

    __slots__ = ("_inside", "_lock", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Go in, or return False when it is full. Whoever went in calls :meth:`leave` once."""
        with self._lock:
            if self._inside >= self._most:
                return False
            self._inside += 1
            return True

    def leave(self) -> None:
        """Make room for the next."""
        with self._lock:
            self._inside -= 1

    @property
    def inside(self) -> int:
        """How many are in now."""
        return self._inside
