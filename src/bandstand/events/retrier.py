"""Retries: events that wait in ``deliveries``, handled when their time has come, and given up when it is too late."""

import logging
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

import msgspec
from django.db import Error as DatabaseError
from django.db import connections, reset_queries

from bandstand import failpoints
from bandstand.conf.settings import EventsSettings
from bandstand.events.deliveries import Deliveries, DeliveryRow, Letter
from bandstand.events.envelope import Message, decode
from bandstand.events.errors import HandlerFailed, TransactionEnded, describe, is_interrupt, not_begun
from bandstand.events.handling import Handling
from bandstand.events.inbox import Entry, HandledElsewhere, Inbox
from bandstand.events.lanes import Lanes
from bandstand.events.subscriptions import Registry, Subscription
from bandstand.exceptions import EventPostponed, InvalidEvent

__all__ = ["MAX_RETURNS", "Retrier"]

logger: Final = logging.getLogger(__name__)

_LOOK_EVERY: Final = 5.0  # for rows whose process died, and for replays that nobody told us of
_PAUSE: Final = 1.0  # after the database failed, and the least after the last of the delays
MAX_RETURNS: Final = 10
"""Times in a row that an event is returned before its handler began; the next one is a failed attempt."""


class Retrier:
    """A thread that claims rows that are due, and renews the leases of those that are being handled."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        inbox: Inbox,
        deliveries: Deliveries,
        handling: Handling,
        registry: Registry,
        settings: EventsSettings,
    ) -> None:
        self._lanes = lanes
        self._inbox = inbox
        self._deliveries = deliveries
        self._handling = handling
        self._registry = registry
        self._settings = settings
        self._awake = Event()
        self._claiming = True
        self._stopping = False
        self._lock = Lock()
        self._held: dict[int, tuple[str, bool]] = {}  # position -> its subscription, and whether it is a suspect
        self._abandoned: set[int] = set()  # held, but the database failed before it could be settled
        self._returns: Counter[int] = Counter()  # how often each row was abandoned in a row
        self._thread = Thread(target=self._run, name="bandstand-retrier", daemon=True)

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """A row was added that may be due at once."""
        self._awake.set()

    def stop_claiming(self) -> None:
        """Take nothing more; leases of what is being handled are still renewed."""
        self._claiming = False
        self._awake.set()

    def stop(self) -> None:
        """Give back what is still held, and end."""
        self._stopping = True
        self._awake.set()
        self._thread.join(self._settings.lease)

    def after_first_failure(self, letter: Letter, error: HandlerFailed) -> None:
        """Take over an event whose first attempt failed."""
        delay = self._delay_after(1, error)
        if delay is None:
            self._give_up(letter, error, attempts=1)
            return
        self._deliveries.take_over(letter, attempts=1, deaths=0, delay=delay, error=_told(error))
        self.wake()

    def _delay_after(self, attempts: int, error: HandlerFailed) -> float | None:
        """Return how many seconds to wait after so many failed attempts, or None when there is to be no further one."""
        if isinstance(error.__cause__, TransactionEnded):
            return None
        delays = self._settings.retry_delays
        if attempts < len(delays):
            return delays[attempts]
        if failpoints.switched_off("consumer.attempts"):
            return delays[-1]
        return max(delays[-1], _PAUSE) if isinstance(error.__cause__, EventPostponed) else None

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._awake.clear()
                self._awake.wait(self.turn())
            self._deliveries.release(list(self._held))
        except DatabaseError:
            logger.warning("What was held could not be given back; its leases run out")
        finally:
            connections.close_all()

    def turn(self) -> float:
        """Do what is to be done now; return for how many seconds nothing will be."""
        try:
            self._settle_abandoned()
            if not failpoints.switched_off("consumer.leases"):
                self._deliveries.renew(list(self._held), self._settings.lease)
            return self._claim() if self._claiming else self._settings.lease / 3
        except DatabaseError as error:
            logger.warning("Retries can't use the database", extra={"error": str(error)})
            connections[self._settings.database].close()
            return _PAUSE
        except Exception:
            logger.exception("The retrier failed in a way that it must not; it goes on")
            return _PAUSE
        finally:
            reset_queries()

    def _claim(self) -> float:
        names, suspects = self._open()
        wait = self._deliveries.wait(names, suspects=suspects)
        if wait == 0.0:  # else, as nearly always, that one query is all that a look costs
            self._claim_due(names, suspects=suspects)
            names, suspects = self._open()
            wait = self._deliveries.wait(names, suspects=suspects)
        longest = self._settings.lease / 3 if self._held else _LOOK_EVERY
        return longest if wait is None else min(longest, max(wait, 0.01))

    def _open(self) -> tuple[list[str], bool]:
        """Return the subscriptions of which more may be held, and whether a suspect may be.

        One that holds as many as there are threads is left alone until one of these ends, which wakes us: however long
        its handlers take, others have room. Of suspects there is one at a time: if this process dies again, it is clear
        over which event.
        """
        with self._lock:
            held = list(self._held.values())
        each = Counter(name for name, _ in held)
        names = [known.name for known in self._registry if each[known.name] < self._settings.threads]
        return names, not any(suspect for _, suspect in held)

    def _claim_due(self, names: list[str], *, suspects: bool) -> None:
        room = 2 * self._settings.threads
        self._submit(self._deliveries.claim(names, room, self._settings.lease, suspects=False), suspects=False)
        if suspects:
            self._submit(self._deliveries.claim(names, 1, self._settings.lease, suspects=True), suspects=True)

    def _submit(self, rows: list[DeliveryRow], *, suspects: bool) -> None:
        for row in rows:
            with self._lock:
                self._held[row.position] = (row.subscription, suspects)
            self._lanes.submit(row.subscription, row.key, partial(self._settle, row))

    def _settle(self, row: DeliveryRow) -> None:
        """Handle a row, on a handler's thread."""
        try:
            self._handle(row)
        except BaseException as error:  # most likely the database is down; nothing may be lost whatever it is
            if is_interrupt(error):
                raise
            logger.warning("An event has to wait", extra={"subscription": row.subscription, "error": describe(error)})
            connections[self._settings.database].close()
            self._abandon(row, error)
        else:
            with self._lock:
                self._returns.pop(row.position, None)
        finally:
            with self._lock:
                self._held.pop(row.position, None)
            self.wake()
            reset_queries()

    def _abandon(self, row: DeliveryRow, error: BaseException) -> None:
        """Return the row for another claim, or record a failed attempt after too many returns in a row."""
        with self._lock:
            self._returns[row.position] += 1
            hopeless = self._returns[row.position] > MAX_RETURNS
        if hopeless and self._count_as_failed(row, error):
            with self._lock:
                self._returns.pop(row.position, None)
            return
        with self._lock:
            self._abandoned.add(row.position)

    def _count_as_failed(self, row: DeliveryRow, error: BaseException) -> bool:
        try:
            message, _ = decode(row.body)
            letter = Letter.of(row.subscription, message, row.body)
            self._fail(row, letter, not_begun(row.subscription, error))
        except Exception:  # whatever it is, the row has to be claimed again
            logger.exception("A failed attempt can't be recorded", extra={"subscription": row.subscription})
            return False
        return True

    def _settle_abandoned(self) -> None:
        with self._lock:
            abandoned, self._abandoned = self._abandoned, set()
        try:
            self._deliveries.release(abandoned)
        except DatabaseError:
            with self._lock:
                self._abandoned |= abandoned
            raise

    def _handle(self, row: DeliveryRow) -> None:
        subscription = self._registry.get(row.subscription)
        if subscription is None:
            self._deliveries.release([row.position])
            return
        letter = Letter(subscription=row.subscription, message_id=row.message_id, body=row.body)
        try:
            message, data = decode(row.body)
            letter = Letter.of(row.subscription, message, row.body)
            if row.deaths >= self._settings.max_deaths and not failpoints.switched_off("consumer.deaths"):
                self._give_up_deadly(row, letter)
                return
            self._attempt(row, letter, subscription, message, data)
        except InvalidEvent as error:
            self._deliveries.bury(letter, reason="invalid", error=str(error), attempts=row.attempts)

    def _attempt(
        self, row: DeliveryRow, letter: Letter, subscription: Subscription, message: Message, data: bytes
    ) -> None:
        message = _at_attempt(message, row.attempts + row.deaths + 1)
        event = subscription.decode(message, data)
        try:
            self._handling.run(
                subscription, message, event, enter=self._entrance(row), leave=partial(self._deliveries.finish, row)
            )
        except HandledElsewhere:
            self._deliveries.release([row.position], delay=self._settings.lease)
        except HandlerFailed as error:
            self._fail(row, letter, error)

    def _fail(self, row: DeliveryRow, letter: Letter, error: HandlerFailed) -> None:
        delay = self._delay_after(row.attempts + 1, error)
        if delay is None:
            self._give_up(letter, error, attempts=row.attempts + 1, deaths=row.deaths)
        else:
            self._deliveries.postpone(row, delay=delay, error=_told(error))

    def _entrance(self, row: DeliveryRow) -> Callable[[], Entry]:
        def enter() -> Entry:
            first = self._inbox.enter_again(row.subscription, row.message_id)
            return Entry.FIRST if first else Entry.DUPLICATE

        return enter

    def _give_up(self, letter: Letter, error: HandlerFailed, *, attempts: int, deaths: int = 0) -> None:
        logger.error(
            "An event is a dead letter now: every attempt failed",
            extra={"subscription": letter.subscription, "event_id": letter.message_id, "attempts": attempts},
        )
        self._deliveries.bury(letter, reason="failed", error=_told(error), attempts=attempts, deaths=deaths)

    def _give_up_deadly(self, row: DeliveryRow, letter: Letter) -> None:
        logger.error(
            "An event is a dead letter now: process after process ended while it was handled",
            extra={"subscription": letter.subscription, "event_id": letter.message_id, "deaths": row.deaths},
        )
        error = f"{row.deaths} processes ended while they handled it, the last without a word."
        self._deliveries.bury(letter, reason="deaths", error=error, attempts=row.attempts, deaths=row.deaths)


def _told(error: HandlerFailed) -> str:
    return "".join(traceback.format_exception(error.__cause__ or error))


def _at_attempt(message: Message, attempt: int) -> Message:
    return msgspec.structs.replace(message, attempt=attempt)
