"""What has to be done now and then: old rows deleted in small batches, the backlog measured."""

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from django.db import Error as DatabaseError
from django.db import connections, reset_queries

from bandstand.conf.settings import EventsSettings
from bandstand.events import metrics
from bandstand.events.history import History
from bandstand.events.inbox import Inbox
from bandstand.events.outbox import Outbox

__all__ = ["Housekeeping"]

logger: Final = logging.getLogger(__name__)

_EVERY: Final = 10.0
_BATCH: Final = 500
_PAUSE: Final = 0.05  # between two batches, so that the relay is never kept waiting


class Housekeeping:
    """A thread that keeps the tables small."""

    def __init__(self, outbox: Outbox, settings: EventsSettings) -> None:
        self._outbox = outbox
        self._inbox = Inbox(settings.database)
        self._history = History(settings.database)
        self._settings = settings
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="bandstand-housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait for it."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY):
            try:
                self.keep()
            except DatabaseError as error:
                logger.warning("Housekeeping can't use the database", extra={"error": str(error)})
            except Exception:
                logger.exception("Housekeeping failed in a way that it must not; it goes on")
            finally:
                reset_queries()
                connections.close_all()

    def keep(self) -> None:
        """Measure the backlog, delete what is old."""
        backlog = self._outbox.backlog()
        metrics.outbox_pending.set(backlog.pending)
        metrics.outbox_oldest.set(backlog.oldest)
        self._purge(lambda: self._outbox.purge(self._settings.outbox_retention, _BATCH))
        self._purge(lambda: self._inbox.purge(self._settings.inbox_retention, _BATCH))
        self._purge(lambda: self._history.purge(self._settings.inbox_retention, _BATCH))

    def _purge(self, batch: Callable[[], int]) -> None:
        while batch() == _BATCH and not self._stopping.wait(_PAUSE):
            continue
