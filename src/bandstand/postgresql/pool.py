"""A psycopg pool that heals by itself.

What psycopg's pool (3.3) does otherwise: after a restart of the database each dead connection costs one turn of a
check that waits 0, 1, 2, 4 seconds, so the first requests wait out their whole time and fail; while the database is
away each request waits as long, until no thread is left to say that the process lives; and attempts to reconnect come
more and more seldom, so that after an outage of a minute the next one may be a minute away.
"""

import gc
import select
import time
from collections.abc import Callable
from threading import Condition
from typing import Any, Final

from psycopg import Connection, OperationalError, pq
from psycopg_pool import ConnectionPool, PoolTimeout

from bandstand.context import bound
from bandstand.exceptions import DeadlineExceeded
from bandstand.postgresql.waiting import BoundedConnection

__all__ = ["HealingPool", "check_connection"]

_RECONNECT: Final = 0.5  # seconds from one attempt to the next while the database is away
_TURN: Final = 0.5  # seconds that a request waits before it looks whether waiting still makes sense
_TURN_AWAY: Final = 0.1  # the same while the database is known to be away
_MAX_WAITING: Final = 1000  # of psycopg's queue, which keeps requests that gave up until a connection comes
_COLLECT_INTERVAL: Final = 5.0  # seconds
_HEAL_INTERVAL: Final = 1.0  # seconds; within them the connections that fail are those from before
_CHECK_TIMEOUT: Final = 2.0  # seconds
_LEAST_PATIENCE: Final = 0.1  # seconds; a deadline that is near makes no connection look dead

Configure = Callable[[Connection[Any]], object]


class _NoAnswer(OperationalError):
    """It may come later."""


class HealingPool(ConnectionPool[Connection[Any]]):
    """Checks a connection when it is handed out, and at the first dead one replaces all that lie idle.

    While the database can't be reached, ``getconn()`` raises after half a second at most instead of waiting out its
    time, and the pool tries to reconnect twice a second.
    """

    def __init__(self, *, kwargs: dict[str, Any], configure: Configure, **options: Any) -> None:
        """``kwargs`` are for new connections, ``configure`` prepares one; ``options`` are those of psycopg's pool."""
        self._prepare = configure
        self._away = False
        self._changed = Condition()
        self._healed_at = float("-inf")
        self._collected_at = float("-inf")
        options = {"reconnect_timeout": _RECONNECT, "check": self._examine, "max_waiting": _MAX_WAITING, **options}
        super().__init__(
            connection_class=BoundedConnection,
            kwargs=kwargs,
            configure=self._connected,
            reconnect_failed=self._unreachable,
            open=False,
            **options,
        )

    @property
    def away(self) -> bool:
        """Whether the last attempts to reach the database failed."""
        return self._away

    def getconn(self, timeout: float | None = None) -> Connection[Any]:
        """Return a connection that works; wait at most ``timeout`` seconds, and the time of the bound context, for one.

        Raises:
            PoolTimeout: all are in use, or the database can't be reached.
            DeadlineExceeded: the time of the bound context is over.
        """
        context = bound()
        remaining = None if context is None else context.remaining()
        if remaining == 0:
            raise DeadlineExceeded("No time is left for this request, so it got no database connection.")
        patience = self.timeout if timeout is None else timeout
        patience = patience if remaining is None else min(patience, remaining)
        deadline = time.monotonic() + patience
        while True:
            if self._away and not self._has_idle():
                raise PoolTimeout("the database can't be reached")
            left = deadline - time.monotonic()
            try:
                return super().getconn(min(left, _TURN_AWAY if self._away else _TURN))
            except PoolTimeout:
                if self._away:
                    raise PoolTimeout("the database can't be reached") from None
                self._collect_lost()
                if time.monotonic() >= deadline:
                    if patience == remaining:
                        raise DeadlineExceeded(
                            "The time for this request ended, with all connections in use."
                        ) from None
                    raise PoolTimeout(f"all {self.max_size} connections were in use for {patience:g} s") from None

    def _collect_lost(self) -> None:
        """Collect garbage at times: only that returns the connections of threads that ended without closing them."""
        now = time.monotonic()
        if now - self._collected_at > _COLLECT_INTERVAL:
            self._collected_at = now
            gc.collect()

    def putconn(self, conn: Connection[Any]) -> None:
        """Take a connection back."""
        super().putconn(conn)
        with self._changed:
            self._changed.notify_all()

    def _has_idle(self) -> bool:
        """Return whether a connection lies idle, after a wait of ``_TURN_AWAY`` seconds at most.

        The wait is not in psycopg's queue, where a request stays until a connection comes, even after it gave up.
        """
        with self._changed:
            return self._changed.wait_for(self._idle, _TURN_AWAY)

    def _idle(self) -> bool:
        return not self._away or self.get_stats().get("pool_available", 0) > 0

    def _examine(self, connection: Connection[Any]) -> None:
        patience = _patience()
        try:
            check_connection(connection, patience)
        except Exception as error:
            now = time.monotonic()
            hasty = isinstance(error, _NoAnswer) and patience < _CHECK_TIMEOUT
            if not hasty and now - self._healed_at > _HEAL_INTERVAL:
                self._healed_at = now
                self.drain()
            raise

    def _connected(self, connection: Connection[Any]) -> None:
        """A new connection was made."""
        self._away = False
        self._prepare(connection)
        with self._changed:
            self._changed.notify_all()

    def _unreachable(self, _pool: ConnectionPool[Any]) -> None:
        """The pool has given up an attempt: say so, and begin another."""
        self._away = True
        self.check()  # with nothing to check it only lets the pool grow, which is the attempt


def _patience() -> float:
    """How long to wait for an answer, in seconds: a pooler gives none while all of its sessions are in use."""
    context = bound()
    remaining = None if context is None else context.remaining()
    return _CHECK_TIMEOUT if remaining is None else min(_CHECK_TIMEOUT, max(_LEAST_PATIENCE, remaining))


def check_connection(connection: Connection[Any], timeout: float = _CHECK_TIMEOUT) -> None:
    """Send an empty query and wait at most ``timeout`` seconds for the answer.

    Raises:
        OperationalError: the connection is dead, or the server did not answer in time (it is stopped, or the network
            swallows what is sent). Such a connection is closed.
    """
    server = connection.pgconn
    deadline = time.monotonic() + timeout
    server.send_query(b"")
    waiting = select.poll()
    waiting.register(server.socket, select.POLLIN)
    while server.flush() or server.is_busy():
        if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            connection.close()
            raise _NoAnswer(f"the connection did not answer within {timeout:g} s")
        server.consume_input()
    while result := server.get_result():
        if result.status not in {pq.ExecStatus.EMPTY_QUERY, pq.ExecStatus.COMMAND_OK}:
            raise OperationalError(server.get_error_message())
