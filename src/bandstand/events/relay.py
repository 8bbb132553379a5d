"""The relay: from the outbox to the broker, in order for each key, with as many messages in flight as can be."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from threading import Event, Thread
from time import monotonic
from typing import Final

from django.db import Error as DatabaseError
from django.db import connections, reset_queries

from bandstand import failpoints
from bandstand.conf.settings import EventsSettings
from bandstand.events import metrics
from bandstand.events.brokers import Broker, Outgoing
from bandstand.events.outbox import Outbox, OutboxRow
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable

__all__ = ["Relay", "waves"]

logger: Final = logging.getLogger(__name__)

_LONGEST_PARKING: Final = 60.0
_PAUSE: Final = 0.2  # after the broker failed as a whole
# Poll intervals from one look to the next where the database notifies of what comes: while nothing waits, and while
# something waits behind what is held.
_QUIET: Final = 50
_HELD: Final = 10


def waves(rows: Collection[OutboxRow]) -> Iterator[list[OutboxRow]]:
    """Yield the rows so that each wave has at most one of a key, the oldest that is left.

    A wave is confirmed before the next is sent. So a row is only ever sent when all older ones of its key have
    arrived, whatever fails, and yet a batch of different keys is in flight at once.
    """
    seen: dict[str, int] = defaultdict(int)
    found: dict[int, list[OutboxRow]] = defaultdict(list)
    for row in rows:
        found[seen[row.key]].append(row)
        seen[row.key] += not failpoints.switched_off("relay.order")
    for number in sorted(found):
        yield found[number]


class Relay:
    """A thread that sends what is in the outbox, and a second one that helps while there is a backlog.

    While the batch of one travels, the other claims the next or records the last, so that neither the database nor the
    broker waits for the other. What makes that safe is what makes many relays safe: keys that are claimed are left
    alone. Many may run, in one process or in several.
    """

    def __init__(
        self,
        broker: Broker,
        outbox: Outbox,
        settings: EventsSettings,
        *,
        is_notified: Callable[[], bool] = lambda: False,
    ) -> None:
        """``is_notified`` returns whether ``wake`` will be called for what is committed from now on."""
        self._broker = broker
        self._outbox = outbox
        self._settings = settings
        self._is_notified = is_notified
        self._awake = Event()
        self._backlog = Event()
        self._stopping = False
        self._threads = [
            Thread(target=self._run, args=[work], name=f"bandstand-{name}", daemon=True)
            for name, work in (("relay", self._lead), ("relay-2", self._help))
        ]

    def start(self) -> None:
        """Begin to relay."""
        for thread in self._threads:
            thread.start()

    def is_alive(self) -> bool:
        """Return whether its threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def wake(self) -> None:
        """Look at the outbox now: a transaction was committed, or the broker came back."""
        self._awake.set()

    def stop(self) -> None:
        """Finish the batches that are being sent, then end."""
        self._stopping = True
        self._awake.set()
        self._backlog.set()

    def join(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for the end; say whether it came."""
        deadline = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while not self._stopping:
                work()
        finally:
            connections.close_all()

    def _lead(self) -> None:
        self._awake.clear()
        found = self._turn()
        if found is not _Found.MUCH:
            self._awake.wait(None if failpoints.switched_off("relay.polling") else self._pause(found))

    def _pause(self, found: "_Found") -> float:
        if not self._is_notified():
            return self._settings.poll_interval
        return self._settings.poll_interval * (_QUIET if found is _Found.NOTHING else _HELD)

    def _help(self) -> None:
        """Costs nothing unless there is a backlog: it has no clock of its own."""
        self._backlog.wait()
        self._backlog.clear()
        while not self._stopping and self._turn() is _Found.MUCH:
            continue
        connections[self._settings.database].close()
        self.wake()  # what was committed meanwhile may have had to wait for the keys of these batches

    def _turn(self) -> "_Found":
        """Relay one batch and keep house."""
        try:
            return self._relay()[0] if self._broker.connected else _Found.SOME
        except DatabaseError as error:
            # Healed by closing: the next query opens a new connection. What was claimed comes free with its lease.
            logger.warning("The relay can't use the database", extra={"error": str(error)})
            connections[self._settings.database].close()
            return _Found.SOME
        except Exception:
            logger.exception("The relay failed in a way that it must not; it goes on")
            return _Found.SOME
        finally:
            reset_queries()

    def relay(self) -> int:
        """Send one batch; return how many rows the broker confirmed."""
        return self._relay()[1]

    def _relay(self) -> "tuple[_Found, int]":
        batch, lease = self._settings.batch, self._settings.lease
        began = monotonic()
        rows = self._outbox.claim(batch, lease)
        if len(rows) >= batch:
            self._backlog.set()
        failpoints.hit("relay.after_claim")
        if not rows:
            return (_Found.SOME if self._outbox.waits() else _Found.NOTHING), 0
        sent = _Batch(self._broker, self._outbox, rows, began=began, lease=lease).send()
        return _Found.MUCH if sent >= batch else _Found.SOME, sent


class _Found(Enum):
    """What a look at the outbox says about the next one."""

    NOTHING = "nothing waits"
    SOME = "some, or some wait behind what is held, or it could not be seen"
    MUCH = "a full batch, so there may be more at once"


class _Batch:
    """The rows of one claim on their way: ``began`` is when it was asked for, and its ``lease`` ends no sooner."""

    def __init__(self, broker: Broker, outbox: Outbox, rows: list[OutboxRow], *, began: float, lease: float) -> None:
        self._broker = broker
        self._outbox = outbox
        self._rows = rows
        self._until = began + lease / 2
        self._lease_ends = began + lease
        self._sent: list[OutboxRow] = []
        self._stuck: set[str] = set()
        self._parked: set[int] = set()
        self._failed = False

    def send(self) -> int:
        try:
            for wave in waves(self._rows):
                if self._failed or self._is_after(self._until):
                    break
                self._send_wave([row for row in wave if row.key not in self._stuck])
            failpoints.hit("relay.after_publish")
        finally:
            self._settle()
        if self._failed:
            time.sleep(_PAUSE)
        return len(self._sent)

    def _send_wave(self, rows: list[OutboxRow]) -> None:
        outcomes = self._broker.publish(
            [Outgoing(id=row.message_id, type=row.type, body=row.body.encode()) for row in rows]
        )
        if failpoints.switched_off("relay.confirmation"):
            outcomes = [None] * len(rows)
        sent = [row for row, error in zip(rows, outcomes, strict=True) if error is None]
        self._sent += sent
        for event_type, count in Counter(row.type for row in sent).items():
            metrics.relayed.labels(event_type).inc(count)
        for row, error in zip(rows, outcomes, strict=True):
            if error is None:
                continue
            metrics.relay_failures.labels(error.code).inc()
            self._stuck.add(row.key)
            if isinstance(error, (BrokerUnavailable, Unroutable)) or failpoints.switched_off("relay.parking"):
                self._fail(error)
            else:
                self._park(row, error)

    def _fail(self, error: BrokerError) -> None:
        """The broker is in trouble, not the row: nothing is counted, everything unsent is tried again soon."""
        if not self._failed:
            logger.warning("The broker does not take events", extra={"error": str(error), "error_code": error.code})
        self._failed = True

    def _park(self, row: OutboxRow, error: BrokerError) -> None:
        delay = min(_LONGEST_PARKING, 2.0 ** min(row.attempts, 10))
        logger.error(
            "An event can't be sent, so its key waits",
            extra={"event_id": row.message_id, "event_type": row.type, "key": row.key, "error": str(error)},
        )
        self._parked.add(row.position)
        self._outbox.park(row, delay=delay, error=str(error))

    def _settle(self) -> None:
        self._outbox.mark_sent(self._sent)
        if self._is_after(self._lease_ends):
            return  # what is left is free by itself, or another's by now
        done = self._parked.union(row.position for row in self._sent)
        self._outbox.release([row for row in self._rows if row.position not in done])

    def _is_after(self, moment: float) -> bool:
        return monotonic() > moment and not failpoints.switched_off("relay.fence")
