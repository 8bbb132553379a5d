"""One migrator at a time, and none that holds up the platform while it waits.

The lock is PostgreSQL's advisory lock of the session that migrates: it ends with that session, so a migrator that was
killed leaves none behind for longer than two seconds, and what its session still did is over before the next one reads
what is applied.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from django.db import Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from bandstand.exceptions import MigrationBlocked
from bandstand.resilience import full_jitter

__all__ = ["LOCK_ID", "MigrationGuard"]

# Advisory locks are known by a number, and belong to one database.
LOCK_ID: Final = int.from_bytes(hashlib.sha256(b"bandstand migrate").digest()[:8], signed=True)

_LOCK_NOT_AVAILABLE: Final = "55P03"
_DEADLOCK: Final = "40P01"
_LONGEST_PAUSE: Final = 5.0  # seconds


class MigrationGuard:
    """Runs migrations alone in their database.

    ``lock_timeout`` is how long, in seconds, a statement of an atomic migration waits for a table: whoever comes after
    it waits as long. Then the migration is rolled back and tried again after a pause, until ``wait`` seconds have gone.
    A migration that is not atomic has no such limit, for half of it could not be tried again. ``tell`` gets a sentence
    when there is something to wait for.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        *,
        lock_timeout: float,
        wait: float,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connection = connection
        self._lock_timeout = lock_timeout
        self._wait = wait
        self._tell = tell
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._repeatable = True

    def run(self, migrate: Callable[[], object]) -> None:
        """Call ``migrate`` under the lock, and again as long as a table can't be had.

        Raises:
            MigrationBlocked: somebody else migrates, or holds a table, for longer than ``wait``.
        """
        deadline = self._clock() + self._wait
        with self._locked(deadline):
            self._repeat(migrate, deadline)

    def begin(self, *, atomic: bool) -> None:
        """Set how long the next migration may wait for a table. Called before each."""
        self._repeatable = atomic
        self._ask(
            "SELECT set_config('lock_timeout', %s, false)", f"{round(self._lock_timeout * 1000) if atomic else 0}ms"
        )

    def _repeat(self, migrate: Callable[[], object], deadline: float) -> None:
        attempt = 0
        while True:
            try:
                migrate()
                return
            except OperationalError as error:
                attempt += 1
                if not self._repeatable or _state(error) not in {_LOCK_NOT_AVAILABLE, _DEADLOCK}:
                    raise
                self._pause(
                    attempt,
                    deadline,
                    "A table is in use by somebody's long transaction.",
                    "Find it in pg_stat_activity (state, xact_start, pg_blocking_pids), end it, and migrate again.",
                )
            finally:
                with suppress(Error):
                    self._ask("SELECT set_config('lock_timeout', '0', false)")

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        attempt = 0
        while not self._ask("SELECT pg_try_advisory_lock(%s)", LOCK_ID):
            attempt += 1
            self._pause(
                attempt,
                deadline,
                "Another process migrates this database.",
                "Find it in pg_locks (locktype 'advisory'); if it stands still, end it, and migrate again.",
            )
        self._ask("SELECT set_config('statement_timeout', '0', false)")  # a role may have one, and indexes take long
        self._notice_death("2s")
        try:
            yield
        finally:
            self._notice_death("0")
            self._unlock()

    def _notice_death(self, interval: str) -> None:
        """Let PostgreSQL look whether this process lives while a statement runs: else a long one keeps the lock.

        Before PostgreSQL 14, and on some systems, there is no such look; the lock then stays until the statement ends.
        """
        with suppress(Error):
            self._ask("SELECT set_config('client_connection_check_interval', %s, false)", interval)

    def _unlock(self) -> None:
        try:
            released = self._ask("SELECT pg_advisory_unlock(%s)", LOCK_ID)
        except Error:
            return  # the session is gone, and its locks with it
        if not released:
            self._tell(
                "The lock was not held by this session: a pooler such as PgBouncer stands in between and shares "
                "sessions by transaction. Migrate on a direct connection, or one pooled by session."
            )

    def _pause(self, attempt: int, deadline: float, reason: str, remedy: str) -> None:
        left = deadline - self._clock()
        if left <= 0:
            raise MigrationBlocked(f"{reason} It did so for {self._wait:g} seconds. {remedy}")
        if attempt == 1:
            self._tell(f"{reason} Waiting, up to {self._wait:g} seconds.")
        pause = full_jitter(attempt, base=0.2, cap=_LONGEST_PAUSE, chance=self._chance)
        self._sleep(min(left, 0.05 + pause))

    def _ask(self, statement: str, *parameters: str | int) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchone()[0]


def _state(error: OperationalError) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)
