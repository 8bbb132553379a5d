"""The backend. Django asks for a class of this name in a module of this name."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction

from bandstand.exceptions import DeadlineExceeded
from bandstand.postgresql import direct
from bandstand.postgresql.deadlines import (
    explained,
    has_time,
    keep_deadline,
    limit_commit,
    limit_last,
    limit_statement,
    until_deadline,
)
from bandstand.postgresql.pool import HealingPool
from bandstand.postgresql.riders import Riders
from bandstand.postgresql.sessions import is_own_session
from bandstand.postgresql.timestamps import with_fast_timestamps
from bandstand.postgresql.validation import Validation

__all__ = ["DatabaseWrapper"]

logger: Final = logging.getLogger(__name__)

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
    """Django's own with a healing pool, deadlines, network time-outs, a fast loader of timestamps, and ways to save
    what each write pays: ``run_direct``, ``write_later`` and ``follow_commit``.
    """

    validation_class = Validation
    limited = False
    """Whether the transaction that is open may have a time limit for its statements."""
    limit = 0
    """The milliseconds of this limit as far as they are known."""
    _follower = ""
    _riders: Riders | None = None

    if TYPE_CHECKING:
        # Django's type information does not know the pool yet.
        _connection_pools: dict[str, HealingPool]

        def _configure_connection(self, connection: Any) -> bool: ...

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(keep_deadline)

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

    def run_direct(self, statement: str, parameters: Sequence[str], *, prepare: bool = False) -> int | None:
        """Run a statement of an ``atomic`` block past the cursors, with ``parameters`` (text) instead of each ``%s``;
        return how many rows it touched. BEGIN and the deadline's limit go along in the same round trip. With
        ``prepare`` each session of the server reads and plans it once only.

        Returns None, and does nothing, where a cursor is needed: somebody listens to the statements
        (``execute_wrapper``, the log of queries), no time is left, the transaction has failed, or a parameter holds a
        NUL.

        Raises:
            django.db.Error: it failed.
            DeadlineExceeded: the time that was left ended meanwhile.
        """
        if not self._goes_direct(parameters):
            return None
        limit = limit_statement(self)
        if limit is None:
            return None
        with self._explaining(), until_deadline(self.connection):
            return direct.run_command(self.connection, statement, parameters, before=limit, prepare=prepare)

    def write_later(self, insert: str, row: str, values: Sequence[str], *, what: str) -> bool:
        """Write a row of an ``atomic`` block with the next message to the server: with the COMMIT, if nothing else
        comes before it. Rows that wait together become one statement.

        ``insert`` ends before VALUES, ``row`` is what stands for each row, with ``values`` (text) instead of each
        ``%s``; an error that comes of it later begins with ``what``. Whatever undoes the transaction, or its
        savepoint, undoes the row; whatever commits it carries the row. Returns False, and does nothing, where
        ``run_direct`` would return None.

        Raises:
            django.db.Error: those that waited had to be sent, since they were more than 1 MiB or others; and failed.
            DeadlineExceeded: the time that was left ended meanwhile.
        """
        if not self._goes_direct(values) or not has_time(self):
            return False
        riders = self._riders
        if riders is None or riders.connection is not self.connection:
            riders = self._riders = Riders(self.connection, lambda: limit_last(self))
        if riders and insert != riders.insert:
            self._send(riders)
        if riders.add(insert, row, values, what):
            self._send(riders)
        return True

    def follow_commit(self, statement: str) -> None:
        """Run ``statement`` just after the commit of the present transaction, in the same round trip.

        Nobody hears of an error in it but the log: what was committed is committed.
        """
        self._follower = statement

    def _goes_direct(self, parameters: Sequence[str]) -> bool:
        if self.connection is None or not self.in_atomic_block or not direct.is_ready(self.connection):
            return False
        if self.needs_rollback or self.queries_logged or self.execute_wrappers != [keep_deadline]:
            return False
        return "\0" not in "".join(parameters)

    def _send(self, riders: Riders) -> None:
        with self._explaining():
            riders.flush()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            with self.wrap_database_errors:
                yield
        except OperationalError as error:
            raise explained(error) from error.__cause__

    def _set_autocommit(self, autocommit: bool) -> None:
        """Each transaction does it twice. Where psycopg would find nothing to do but to set its flag, set the flag."""
        driver = self.connection
        if driver is not None and direct.is_idle(driver) and not self._waiting():
            driver._autocommit = autocommit  # noqa: SLF001 - after this very check, in a generator under a lock
        else:
            super()._set_autocommit(autocommit)  # type: ignore[misc]

    def _commit(self) -> None:
        follower, self._follower = self._follower, ""
        riders = self._waiting()
        ready = self.connection is not None and (direct.is_ready if riders else direct.in_transaction)(self.connection)
        if not ready:
            super()._commit()  # type: ignore[misc] # unknown to the type information, as those below
            self.limited, self.limit = False, 0
            return
        before, what = (riders.take(), riders.what) if riders else ([], "")
        limit = limit_commit(self)
        try:
            with debug_transaction(self, "COMMIT"), self._explaining():
                error = direct.commit(self.connection, before=before, what=what, limit=limit, follower=follower)
        except DeadlineExceeded:
            self.rollback()  # as Django does after an error of its own
            raise
        self.limited, self.limit = False, 0
        if error:
            logger.warning("What should follow a commit failed", extra={"error": error})

    def _rollback(self) -> None:
        self._forget()
        super()._rollback()  # type: ignore[misc]

    def _savepoint_rollback(self, sid: str) -> None:
        # What waits came after the savepoint: SAVEPOINT itself was a message.
        if riders := self._waiting():
            riders.discard()
        super()._savepoint_rollback(sid)  # type: ignore[misc]

    def _close(self) -> None:
        self._forget()
        self._riders = None
        super()._close()  # type: ignore[misc]

    def _waiting(self) -> Riders | None:
        """What waits on this connection, if anything does."""
        return self._riders if self._riders and self._riders.connection is self.connection else None

    def _forget(self) -> None:
        """The transaction is undone."""
        self._follower, self.limited, self.limit = "", False, 0
        if riders := self._waiting():
            riders.discard()

    def _new_pool(self, options: dict[str, Any]) -> HealingPool:
        if cast("int | None", self.settings_dict.get("CONN_MAX_AGE", 0)) != 0:
            raise ImproperlyConfigured(
                f"DATABASES[{self.alias!r}] has a pool and CONN_MAX_AGE; a pool keeps connections itself. "
                f"Leave CONN_MAX_AGE out."
            )
        return HealingPool(
            kwargs={**self.get_connection_params(), "autocommit": True},
            configure=self._configure_connection,
            **options,
        )
