"""A bulkhead: how many may be at something at once."""

__all__ = ["Limit"]


class Limit:
    """Lets ``most`` in at once, and the next in only when one has left. Nobody waits: whoever can't enter is told so.

    The bulkhead of M. Nygard, "Release It!": one slow service can't take all threads, connections and memory. There is
    a token for each place. Taking one out of a list and putting it back are atomic, so there is no lock.
    """

    __slots__ = ("_free", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = [None] * most

    def enter(self) -> bool:
        """Go in, or return False when it is full. Whoever went in calls :meth:`leave` once."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def leave(self) -> None:
        """Make room for the next."""
        self._free.append(None)

    @property
    def inside(self) -> int:
        """How many are in now."""
        return self._most - len(self._free)
