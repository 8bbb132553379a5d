"""The consumer: from the broker to the handlers, each event once for each subscription.

The broker brings an event for its first attempt only. One whose handler fails, or whose process may have died over
it, or that must wait behind an older one of its key, is taken over into ``deliveries`` and acknowledged: from there
the ``Retrier`` goes on. So attempts and deaths are counted in one place, and the happy path writes the inbox row only.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Final

import msgspec
from django.conf import settings as django_settings
from django.db import connections, reset_queries

from bandstand import failpoints
from bandstand.conf.settings import EventsSettings
from bandstand.events.brokers import Binding, Broker, Incoming
from bandstand.events.deliveries import Deliveries, Letter, lane_key
from bandstand.events.envelope import Message, decode
from bandstand.events.errors import HandlerFailed, describe, is_interrupt, not_begun
from bandstand.events.gathering import Gathering
from bandstand.events.handling import Handling, Work
from bandstand.events.inbox import Entry, Inbox
from bandstand.events.lanes import Lanes
from bandstand.events.retrier import MAX_RETURNS, Retrier
from bandstand.events.subscriptions import Registry, Subscription
from bandstand.exceptions import InvalidEvent

__all__ = ["Consumer"]

logger: Final = logging.getLogger(__name__)

_RELEASE: Final = 1.0  # seconds until the broker brings an event again that this process could do nothing about

_MAX_PREFETCH: Final = 1000
_MAX_ID: Final = 200

Flight = tuple[str, str]
"""Subscription and message id."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker brought, as far as every subscription reads it the same."""

    message: Message
    data: bytes
    body: bytes
    repeated: bool


class Consumer:
    """Receives from the broker and runs the handlers on threads."""

    def __init__(
        self, broker: Broker, registry: Registry, settings: EventsSettings, *, lanes: Lanes | None = None
    ) -> None:
        self._broker = broker
        self._registry = registry
        self._settings = settings
        alias = settings.database
        self._lanes = lanes or Lanes(settings.threads, connections.close_all)
        self._inbox = Inbox(alias)
        self._deliveries = Deliveries(alias, max_deaths=settings.max_deaths)
        self._handling = Handling(alias, timeout=settings.handler_timeout)
        self.retrier = Retrier(
            lanes=self._lanes,
            inbox=self._inbox,
            deliveries=self._deliveries,
            handling=self._handling,
            registry=registry,
            settings=settings,
        )
        self._flights: dict[Flight, list[Incoming]] = {}
        self._released: set[Flight] = set()
        self._returns: Counter[Flight] = Counter()  # how often each was returned to the broker in a row
        self._gatherings: dict[str, Gathering[Arrival]] = {}
        self._lock = Lock()

    def start(self) -> None:
        """Start the threads and subscribe; messages come once the broker is open."""
        self._lanes.start()
        self.retrier.start()
        self._broker.consume([self._binding(each) for each in self._registry], self.receive)

    def _binding(self, subscription: Subscription) -> Binding:
        """With room for a batch that is handled and one that gathers, on each thread."""
        prefetch = 2 * (subscription.batch or 0) * self._settings.threads
        return Binding(
            subscription=subscription.name, pattern=subscription.pattern, prefetch=min(prefetch, _MAX_PREFETCH)
        )

    def stop(self, timeout: float) -> bool:
        """Take nothing more, finish what was taken within ``timeout`` seconds, and give the rest back."""
        self._broker.stop_consuming()
        self.retrier.stop_claiming()
        finished = self._lanes.drain(0.0 if failpoints.switched_off("consumer.drain") else timeout)
        self._lanes.close()
        self.retrier.stop()
        with self._lock:
            left = [incoming for copies in self._flights.values() for incoming in copies]
        for incoming in left:
            incoming.release(0.0)
        return finished

    def is_alive(self) -> bool:
        """Return whether the threads run that handle events."""
        return self._lanes.is_alive() and self.retrier.is_alive()

    def receive(self, incoming: Incoming) -> None:
        """Take a message from the broker, on the broker's thread."""
        subscription = self._registry.get(incoming.subscription)
        if subscription is None:
            incoming.release(_RELEASE)
            return
        try:
            message, data = decode(incoming.body)
            _refuse_disguise(incoming, message)
        except InvalidEvent as error:
            lane = _identity(incoming)
            letter = Letter(subscription=subscription.name, message_id=lane, body=incoming.body)
            work: Callable[[], None] = partial(self._bury, letter, str(error))
            flight = (subscription.name, lane)
            if self._take_off(flight, incoming):
                self._lanes.submit(subscription.name, lane, partial(self._fly, flight, work))
        else:
            flight = (subscription.name, message.id)
            repeated = incoming.repeated and flight not in self._released
            arrival = Arrival(message=message, data=data, body=incoming.body, repeated=repeated)
            if self._take_off(flight, incoming):
                self._submit(subscription, arrival)

    def _submit(self, subscription: Subscription, arrival: Arrival) -> None:
        lane = lane_key(arrival.message)
        if subscription.batch:
            self._gathering(subscription, subscription.batch).add(lane, arrival)
        else:
            self._lanes.submit(subscription.name, lane, partial(self._fly_alone, subscription, arrival))

    def _gathering(self, subscription: Subscription, size: int) -> Gathering[Arrival]:
        with self._lock:
            found = self._gatherings.get(subscription.name)
            if found is None:
                handle = partial(self._fly_together, subscription)
                found = self._gatherings[subscription.name] = Gathering(
                    self._lanes, subscription.name, size=size, parts=self._settings.threads, handle=handle
                )
        return found

    def _take_off(self, flight: Flight, incoming: Incoming) -> bool:
        """Remember what is being handled, and say whether it was not yet.

        The same again, after a reconnection or because it was published twice, is handled with it and settled with it:
        one that was not would be in hand for ever, and take the room of others.
        """
        with self._lock:
            copies = self._flights.setdefault(flight, [])
            copies.append(incoming)
            self._released.discard(flight)
        return len(copies) == 1

    def _fly(self, flight: Flight, work: Callable[[], None], letter: Callable[[], Letter] | None = None) -> None:
        """Do ``work``, then settle the message. If even the bookkeeping fails, the broker keeps the message.

        An event that is returned again and again while the database takes the record of it has failed.
        """
        try:
            work()
        except BaseException as error:  # most likely the database is down; nothing may be lost whatever it is
            if is_interrupt(error):
                raise
            if letter is None or not self._count_as_failed(flight, letter, error):
                self._give_back([flight], error)
                return
            self._settle(flight)
        else:
            self._settle(flight)
        finally:
            _forget_queries()

    def _fly_alone(self, subscription: Subscription, arrival: Arrival) -> None:
        flight = (subscription.name, arrival.message.id)
        letter = partial(Letter.of, subscription.name, arrival.message, arrival.body)  # which most events never need
        self._fly(flight, partial(self._first, subscription, arrival, letter), letter)

    def _count_as_failed(self, flight: Flight, letter: Callable[[], Letter], error: BaseException) -> bool:
        with self._lock:
            if self._returns[flight] < MAX_RETURNS:
                return False
        connections[self._settings.database].close()
        try:
            self.retrier.after_first_failure(letter(), not_begun(flight[0], error))
        except Exception:  # whatever it is, the broker has to keep the message
            logger.exception("A failed attempt can't be recorded", extra={"subscription": flight[0]})
            return False
        return True

    def _fly_together(self, subscription: Subscription, arrivals: list[Arrival]) -> None:
        """Handle in one transaction what can be, and the others one by one in their order."""
        flights = [(subscription.name, arrival.message.id) for arrival in arrivals]
        try:
            handled = self._together(subscription, arrivals)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._give_back(flights, error)
            return
        finally:
            _forget_queries()
        for flight in flights:
            if flight[1] in handled:
                self._settle(flight)
        for arrival in arrivals:
            if arrival.message.id not in handled:
                self._fly_alone(subscription, arrival)

    def _settle(self, flight: Flight) -> None:
        with self._lock:
            copies = self._flights.pop(flight)
            self._returns.pop(flight, None)
        failpoints.hit("consumer.before_acknowledge")
        for incoming in copies:
            incoming.acknowledge()

    def _give_back(self, flights: Collection[Flight], error: BaseException) -> None:
        connections[self._settings.database].close()
        for flight in flights:
            logger.warning("An event has to wait", extra={"subscription": flight[0], "error": describe(error)})
            with self._lock:
                self._released.add(flight)
                self._returns[flight] += 1
                copies = self._flights.pop(flight)
            for incoming in copies:
                incoming.release(_RELEASE)

    def _together(self, subscription: Subscription, arrivals: Sequence[Arrival]) -> Collection[str]:
        """Return the ids of what was handled; nothing, if that has to be tried one by one.

        One that may have ended its process is never handled with others, and those behind it keep behind it. Neither
        is one that had to be returned.
        """
        if len(arrivals) == 1 or any(self._is_suspicious(subscription, arrival) for arrival in arrivals):
            return ()
        works = list(_readable(subscription, arrivals))
        if not works:
            return ()
        letters = [(work.message.id, lane_key(work.message)) for work in works]
        try:
            enter = partial(self._inbox.enter_together, subscription.name, letters)
            return self._handling.run_together(subscription, works, enter=enter)
        except HandlerFailed as error:
            logger.warning(
                "The handler failed with %d events together, so each is handled alone",
                len(works),
                exc_info=error.__cause__,
                extra={"subscription": subscription.name},
            )
            return ()

    def _is_suspicious(self, subscription: Subscription, arrival: Arrival) -> bool:
        return arrival.repeated or (subscription.name, arrival.message.id) in self._returns

    def _first(self, subscription: Subscription, arrival: Arrival, letter: Callable[[], Letter]) -> None:
        message, key = arrival.message, lane_key(arrival.message)
        if arrival.repeated:
            self._suspect(letter())
            return
        try:
            event = subscription.decode(message, arrival.data)
            enter = partial(self._inbox.enter, subscription.name, message.id, key)
            entry = self._handling.run(subscription, message, event, enter=enter)
        except InvalidEvent as error:
            self._bury(letter(), str(error))
        except HandlerFailed as error:
            self.retrier.after_first_failure(letter(), error)
        else:
            if entry is Entry.WAITING:
                self._deliveries.take_over(letter(), attempts=0, deaths=0, delay=0.0)
                self.retrier.wake()

    def _suspect(self, letter: Letter) -> None:
        """It was brought before and never settled: perhaps it ended the process that handled it."""
        if not self._inbox.is_settled(letter.subscription, letter.message_id):
            self._deliveries.take_over(letter, attempts=0, deaths=1, delay=0.0)
            self.retrier.wake()

    def _bury(self, letter: Letter, error: str) -> None:
        logger.error(
            "An event can't be read, so it is a dead letter now",
            extra={"subscription": letter.subscription, "event_id": letter.message_id, "error": error},
        )
        self._deliveries.bury(letter, reason="invalid", error=error, attempts=0)


def _forget_queries() -> None:
    """With DEBUG Django keeps each of them, until a request ends; without, looking would cost more than the rest."""
    if django_settings.DEBUG:
        reset_queries()


def _readable(subscription: Subscription, arrivals: Iterable[Arrival]) -> Iterator[Work]:
    """Those that the handler can read; what it can't read is told of when it is alone."""
    for arrival in arrivals:
        with suppress(InvalidEvent):
            yield Work(message=arrival.message, event=subscription.decode(arrival.message, arrival.data))


def _refuse_disguise(incoming: Incoming, message: Message) -> None:
    """The broker lets a service publish in its own name only; what the event says of itself must be the same.

    Raises:
        InvalidEvent: it is another's name, or another type than the one it was published as.
    """
    same = (message.source, message.type) == (incoming.source, incoming.type)
    if not same and not failpoints.switched_off("consumer.source"):
        raise InvalidEvent(
            f"The event says that it is {message.type} from {message.source}, "
            f"but it was published as {incoming.type} by {incoming.source}."
        )


def _identity(incoming: Incoming) -> str:
    """What a message that can't be read is called: the broker's id for it, if a column can hold that."""
    if len(incoming.id) <= _MAX_ID and incoming.id.isprintable():
        return incoming.id
    return hashlib.sha256(incoming.id.encode("utf-8", "surrogatepass")).hexdigest()
