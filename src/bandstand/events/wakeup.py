"""Waking the relay when a transaction with events commits: by NOTIFY on PostgreSQL, elsewhere it looks each second.

NOTIFY is sent just after the commit, not in the transaction: PostgreSQL takes one lock for all databases of a server
from NOTIFY to the end of the transaction, so that within the application's transactions it would queue up their
flushes to disk (measured with 8 writers: a third of the transactions a second). A notification that gets lost, as the
process dies between the two, costs one poll interval.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from threading import Event, Thread
from typing import Any, Final
from uuid import uuid4

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import on_commit as django_on_commit

from bandstand import failpoints
from bandstand.postgresql import PoolMode, connect_outside_pool, pool_mode

__all__ = ["CHANNEL", "Listener", "notify", "on_commit"]

logger: Final = logging.getLogger(__name__)

CHANNEL: Final = "bandstand_events"
_RETRY: Final = 1.0
_LOOK: Final = 1.0
_PROOF: Final = 5.0  # seconds until a notification that did not arrive counts as one that never will
_PROVE_AGAIN: Final = 60.0


def _notification(what: str) -> str:
    return f"NOTIFY {CHANNEL}, '{what}'"


def notify(connection: BaseDatabaseWrapper, what: str) -> None:
    """Wake the workers of this database: ``what`` is ``outbox`` or ``deliveries``."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_notification(what))


class _Notify:
    """A class, so that a transaction is seen to carry one however many events it publishes.

    What it does comes after the commit: if it failed, the client of a write that lasts would be told that it failed.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.__qualname__ = type(self).__qualname__  # Django logs a robust callback's failure by this

    def __call__(self) -> None:
        try:
            notify(self.connection, "outbox")
        except Error as error:
            logger.warning("The relay can't be woken, so it looks by itself", extra={"error": str(error)})


def on_commit(connection: BaseDatabaseWrapper) -> None:
    """Notify the relays once when the transaction of ``connection`` commits.

    A savepoint that is rolled back takes its callbacks with it, so what counts is the list of those that are left.
    """
    if connection.vendor != "postgresql" or failpoints.switched_off("relay.notification"):
        return
    if any(isinstance(entry[1], _Notify) for entry in connection.run_on_commit):
        return
    django_on_commit(_Notify(connection), using=connection.alias, robust=True)


class Listener:
    """A thread that passes notifications on. It comes back by itself when the connection breaks.

    Behind a pooler that shares sessions by transaction LISTEN succeeds and nothing ever comes, so nobody counts on
    notifications before one that was sent as a test has arrived.
    """

    def __init__(self, alias: str, wake: Mapping[str, Callable[[], None]]) -> None:
        self._alias = alias
        self._wake = wake
        self._stopping = Event()
        self._is_reported = False
        self.listening = False
        """True while each commit is notified."""
        self._thread = Thread(target=self._run, name="bandstand-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen, where the database can notify."""
        if connections[self._alias].vendor == "postgresql":
            self._thread.start()

    def stop(self) -> None:
        """End within a second; does not wait for it."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                heard = self._listen()
            except Exception as error:  # noqa: BLE001 - whatever the driver raises: polling goes on, this tries again
                logger.warning("The outbox can't be listened to, so the relay polls", extra={"error": str(error)})
                self._stopping.wait(_RETRY)
            else:
                if not heard:
                    self._report_silence()
                    self._stopping.wait(_PROVE_AGAIN)
            finally:
                self.listening = False

    def _listen(self) -> bool:
        """Listen until the end; return False at once where notifications do not arrive.

        The connection is our own, outside any pool: notifications belong to the session.
        """
        wrapper = connections[self._alias]
        connect = partial(connect_outside_pool, wrapper)
        if pool_mode(connect) is PoolMode.TRANSACTION:  # where LISTEN would stay behind in a session of others
            return False
        with connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            if not _is_heard(connection, connect):
                return False
            self.listening = True
            for wake in self._wake.values():  # what was committed before we listened
                wake()
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=_LOOK, stop_after=1):
                    self._wake.get(notification.payload, _ignore)()
        return True

    def _report_silence(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            logger.warning(
                "No notification arrives, since a pooler such as PgBouncer shares sessions by transaction (pool_mode = "
                "transaction): the relay looks every POLL_INTERVAL seconds. Lead the worker's DATABASE_URL to "
                "PostgreSQL itself to have it woken by each commit."
            )


def _is_heard(connection: Any, connect: Callable[[], Any]) -> bool:
    """Return whether ``connection``, which listens, gets what another connection notifies."""
    payload = f"probe {uuid4()}"
    with connect() as other:
        other.execute(f"NOTIFY {CHANNEL}, '{payload}'")
    return any(each.payload == payload for each in connection.notifies(timeout=_PROOF))


def _ignore() -> None:
    """A newer release may have more to say."""
