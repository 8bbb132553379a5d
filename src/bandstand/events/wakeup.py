"""Waking the relay when a transaction with events commits: by NOTIFY on PostgreSQL, elsewhere it looks each second.

NOTIFY is sent just after the commit, not in the transaction: PostgreSQL takes one lock for all databases of a server
from NOTIFY to the end of the transaction, so that within the application's transactions it would queue up their
flushes to disk (measured with 8 writers: a third of the transactions a second). A notification that gets lost, as the
process dies between the two, costs one poll interval.
"""

import logging
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any, Final

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import on_commit as django_on_commit

from bandstand import failpoints
from bandstand.postgresql import is_own_session

__all__ = ["CHANNEL", "Listener", "notify", "on_commit"]

logger: Final = logging.getLogger(__name__)

CHANNEL: Final = "bandstand_events"
_RETRY: Final = 1.0
_LOOK: Final = 1.0


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
    Where the commit brings the notification along, one that turned out to be needless is harmless.
    """
    if connection.vendor != "postgresql" or failpoints.switched_off("relay.notification"):
        return
    follow_commit = getattr(connection, "follow_commit", None)
    if follow_commit is not None:  # of ``bandstand.postgresql``: in the round trip of the commit
        follow_commit(_notification("outbox"))
        return
    if any(isinstance(entry[1], _Notify) for entry in connection.run_on_commit):
        return
    django_on_commit(_Notify(connection), using=connection.alias, robust=True)


class Listener:
    """A thread that passes notifications on. It comes back by itself when the connection breaks."""

    def __init__(self, alias: str, wake: Mapping[str, Callable[[], None]]) -> None:
        self._alias = alias
        self._wake = wake
        self._stopping = Event()
        self.listening = False
        """Whether what is committed now will be told."""
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
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever the driver raises: polling goes on, this tries again
                self.listening = False
                logger.warning("The outbox can't be listened to, so the relay polls", extra={"error": str(error)})
                self._stopping.wait(_RETRY)

    def _listen(self) -> None:
        """Use a connection of our own, outside of any pool: notifications belong to the session."""
        wrapper: Any = connections[self._alias]
        parameters = {**wrapper.get_connection_params(), "autocommit": True}
        with wrapper.Database.connect(**parameters) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            # Behind a pooler that shares sessions no notification comes: better look too often than once too little.
            self.listening = is_own_session(connection)
            for wake in self._wake.values():  # what was committed before we listened
                wake()
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=_LOOK, stop_after=1):
                    self._wake.get(notification.payload, _ignore)()


def _ignore() -> None:
    """A newer release may have more to say."""
