"""Answers that don't come: a statement's own limit is kept by a server that works on it, and by nobody else.

One that waits in the queue of a pooler, or was sent to a server that is stopped, is unknown to any limit. So whoever
waits gives up too, a second later than the server would, and ends the connection: what it asked for in a transaction
is never committed then.
"""

import time
from collections.abc import Generator
from typing import Any, Final

from psycopg import Connection, errors

__all__ = ["BoundedConnection", "answered_within"]

_GRACE: Final = 1.0  # seconds that the server has to say itself that the time is over


class BoundedConnection(Connection[Any]):
    """Waits no longer than ``answered_within`` says; that is for what may be given up, so never for a COMMIT."""

    give_up_at: float | None = None
    """The moment by the monotonic clock."""

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Consume a generator of psycopg.

        Raises:
            QueryCanceled: no answer came in time, so the connection was closed.
        """
        bounded = gen if self.give_up_at is None else _until(self.give_up_at, gen, self)
        return super().wait(bounded, *arguments, **options)


class answered_within:  # noqa: N801 - used as a function is; every statement pays for it, and a generator's costs more
    """Give up what is asked in the block when ``seconds`` and a grace are over, on a ``BoundedConnection``."""

    __slots__ = ("_driver", "_moment")

    def __init__(self, driver: Any, seconds: float) -> None:
        self._driver = driver
        self._moment = time.monotonic() + seconds + _GRACE

    def __enter__(self) -> None:
        self._driver.give_up_at = self._moment

    def __exit__(self, *_: object) -> None:
        self._driver.give_up_at = None


def _until(moment: float, generator: Any, connection: Connection[Any]) -> Generator[Any, Any, Any]:
    """Do as ``generator``, and look at the clock when nothing came: psycopg then says so ten times a second."""
    try:
        wanted = next(generator)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > moment:
                connection.close()
                raise errors.QueryCanceled("no answer came in time, so the connection was closed")
            wanted = generator.send(ready)
    except StopIteration as end:
        return end.value
