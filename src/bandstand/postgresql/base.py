"""The backend. Django asks for a class of this name in a module of this name."""

import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from psycopg.pq import TransactionStatus

from bandstand.exceptions import DeadlineExceeded
from bandstand.postgresql.deadlines import TIME_ENDED, keep_deadline, limit_commit, ran_out
from bandstand.postgresql.pool import HealingPool
from bandstand.postgresql.sessions import is_own_session, note_change
from bandstand.postgresql.timestamps import with_fast_timestamps
from bandstand.postgresql.validation import Validation

__all__ = ["DatabaseWrapper"]

# libpq's own words. A peer that vanished without a word is noticed after 5 + 3 * 3 seconds on an idle connection, and
# after 10 on one that waits for an answer; the kernel's defaults are 2 hours and about 15 minutes.
_NETWORK: Final = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own with a healing pool, deadlines, network time-outs and a fast loader of timestamps."""

    validation_class = Validation
    limited = False
    """Whether the transaction that is open may have a time limit for its statements."""
    limit = 0
    """The milliseconds of this limit as far as they are known."""
    changed_session = False
    """True if a statement left something in the session that its next user must not meet."""
    _finalizer: "weakref.finalize[Any, Any] | None" = None

    if TYPE_CHECKING:
        # Django's type information does not know the pool yet.
        _connection_pools: dict[str, HealingPool]

        def _configure_connection(self, connection: Any) -> bool: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers += [note_change, keep_deadline]

    @property
    def pool(self) -> HealingPool | None:
        """The pool of this alias in this process, or None when ``OPTIONS["pool"]`` is not set."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        known = self._connection_pools.get(self.alias)
        if known is None:
            # When two threads are first at once, one of the two pools is never opened and just forgotten.
            known = self._connection_pools.setdefault(self.alias, self._new_pool({} if options is True else options))
        return known

    def get_connection_params(self) -> dict[str, Any]:
        """Return the arguments for a new connection."""
        parameters: dict[str, Any] = {**_NETWORK, **super().get_connection_params()}
        if "context" in parameters:
            parameters["context"] = with_fast_timestamps(parameters["context"], self.timezone)
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection, which goes back to its pool also if nobody closes this wrapper.

        Each thread has a wrapper of its own, and one that ends without closing it would take the connection along.
        """
        connection = super().get_new_connection(conn_params)
        if self.pool is not None:
            self._finalizer = weakref.finalize(self, _return_to_pool, self.pool, connection)
            self._finalizer.atexit = False
        return connection

    def chunked_cursor(self) -> Any:
        """Return a cursor whose rows come in pieces; they stay with the server, which takes a session for as long.

        Outside a transaction a pooler may give the session to others, who then read these rows, or we theirs: their
        cursors are often named alike. So there the rows come at once, as with ``DISABLE_SERVER_SIDE_CURSORS``.
        """
        if self.get_autocommit():  # which connects
            with self.wrap_database_errors:
                own = is_own_session(self.connection)
            if not own:
                return self.cursor()
        return super().chunked_cursor()

    def _commit(self) -> None:
        limit = limit_commit(self) if self._in_transaction() else ""
        if limit:
            self._commit_within(limit)
        else:
            super()._commit()  # type: ignore[misc] # unknown to the type information, as those below
        self.limited, self.limit = False, 0

    def _commit_within(self, limit: str) -> None:
        try:
            with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
                self.connection.execute(f"{limit};COMMIT", prepare=False)
        except OperationalError as error:
            if not ran_out(error):
                raise
            self.rollback()  # as Django does after an error of its own
            raise DeadlineExceeded(TIME_ENDED) from error

    def _in_transaction(self) -> bool:
        driver = self.connection
        return driver is not None and driver.info.transaction_status == TransactionStatus.INTRANS

    def _rollback(self) -> None:
        self.limited, self.limit = False, 0
        super()._rollback()  # type: ignore[misc]

    def _close(self) -> None:
        self.limited, self.limit = False, 0
        if self._finalizer is not None:
            self._finalizer.detach()
        if self.changed_session and self.pool is not None and self.connection is not None:
            self.connection.close()  # the pool makes another
        self.changed_session = False
        super()._close()  # type: ignore[misc]

    def prepare(self, connection: Any) -> bool:
        """Prepare a new connection, as Django does; return whether that needs a commit."""
        return self._configure_connection(connection)

    def _new_pool(self, options: dict[str, Any]) -> HealingPool:
        if cast("int | None", self.settings_dict.get("CONN_MAX_AGE", 0)) != 0:
            raise ImproperlyConfigured(
                f"DATABASES[{self.alias!r}] has a pool and CONN_MAX_AGE; a pool keeps connections itself. "
                f"Leave CONN_MAX_AGE out."
            )
        return HealingPool(
            kwargs={**self.get_connection_params(), "autocommit": True},
            # The pool keeps the wrapper that prepares its connections: this one must go with its thread.
            configure=self.copy().prepare,
            **options,
        )


def _return_to_pool(pool: HealingPool, connection: Any) -> None:
    """Return a connection whose wrapper was never closed, unless it is closed itself."""
    if not connection.closed:
        pool.putconn(connection)
