"""Recurring work of a worker: deletes old rows in small batches, measures the backlog, runs the periodic jobs."""

import itertools
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
from bandstand.events.periodic import JOBS, Schedule
from bandstand.events.status import subscription_counts

__all__ = ["Housekeeping"]

logger: Final = logging.getLogger(__name__)

_EVERY: Final = 15.0
_PURGE_EVERY: Final = 4  # as many times as the backlog is measured
_BATCH: Final = 500
_PAUSE: Final = 0.05  # between two batches, so that the relay is never kept waiting


class Housekeeping:
    """A thread that keeps the tables small and calls the functions of ``@periodic``."""

    def __init__(self, outbox: Outbox, settings: EventsSettings) -> None:
        self._outbox = outbox
        self._inbox = Inbox(settings.database)
        self._history = History(settings.database)
        self._settings = settings
        self._told: set[str] = set()
        self._schedule = Schedule(JOBS)
        self._rounds = itertools.count(1)
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
            self.work()

    def work(self) -> None:
        """Do one round: measure, delete old rows when that is due, and call the periodic functions that are due."""
        self._keep_tables()
        try:
            self._schedule.run_due()
        finally:
            reset_queries()
            connections.close_all()

    def _keep_tables(self) -> None:
        try:
            self.measure()
            if next(self._rounds) % _PURGE_EVERY == 0:
                self.purge()
        except DatabaseError as error:
            logger.warning("Housekeeping can't use the database", extra={"error": str(error)})
        except Exception:
            logger.exception("Housekeeping failed in a way that it must not; it goes on")

    def measure(self) -> None:
        """Measure the backlog."""
        self._measure_outbox()
        self._measure_subscriptions()

    def purge(self) -> None:
        """Delete what is old."""
        self._purge(lambda: self._outbox.purge(self._settings.outbox_retention, _BATCH))
        self._purge(lambda: self._inbox.purge(self._settings.inbox_retention, _BATCH))
        self._purge(lambda: self._history.purge(self._settings.inbox_retention, _BATCH))

    def _measure_outbox(self) -> None:
        backlog = self._outbox.backlog()
        metrics.outbox_pending.set(backlog.pending)
        metrics.outbox_oldest.set(backlog.oldest)
        metrics.outbox_in_flight.set(backlog.in_flight)
        metrics.outbox_parked.set(backlog.parked)
        metrics.outbox_parked_keys.set(backlog.parked_keys)

    def _measure_subscriptions(self) -> None:
        counts = subscription_counts(self._settings.database)
        self._told |= counts.keys()
        for name in self._told:  # also those of which nothing is left, or the last count would stand for ever
            found = counts.get(name, {})
            for state in ("waiting", "retrying", "running"):
                metrics.deliveries.labels(name, state).set(found.get(state, 0))
            metrics.oldest_delivery.labels(name).set(found.get("oldest", 0.0))
            metrics.dead_letters.labels(name).set(found.get("dead", 0))

    def _purge(self, batch: Callable[[], int]) -> None:
        while batch() == _BATCH and not self._stopping.wait(_PAUSE):
            continue
