"""A broker inside this process: for tests, and for a service that runs alone."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from threading import Lock, Timer
from typing import Final

import msgspec

from bandstand.events.brokers.base import Binding, Broker, BrokerOptions, Incoming, Outgoing, Receiver, Waiting
from bandstand.exceptions import BrokerError, BrokerUnavailable

__all__ = ["MemoryBroker"]

_KEPT: Final = 10_000
_REMEMBERED: Final = 10_000


class _Waiting(msgspec.Struct):
    message: Outgoing
    source: str
    deliveries: int = 0


class _Queue:
    """What one subscription of one service has still to get."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.waiting: deque[_Waiting] = deque()
        self.receiver: Callable[[_Waiting], None] | None = None
        self.room = 0
        self.unsettled = 0

    def wants(self, event_type: str) -> bool:
        words, wanted = event_type.split("."), self.pattern.split(".")
        return len(words) == len(wanted) and all(b in {a, "*"} for a, b in zip(words, wanted, strict=True))


class _Hub:
    """What all brokers of one URL and platform share."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.log: deque[tuple[str, Outgoing]] = deque(maxlen=_KEPT)
        self.ids: dict[str, None] = {}
        self.queues: dict[str, _Queue] = {}

    def publish(self, source: str, message: Outgoing) -> None:
        with self.lock:
            if message.id in self.ids:
                return
            self.ids[message.id] = None
            if len(self.ids) > _REMEMBERED:
                del self.ids[next(iter(self.ids))]
            self.log.append((source, message))
            queues = [queue for queue in self.queues.values() if queue.wants(message.type)]
            for queue in queues:
                queue.waiting.append(_Waiting(message=message, source=source))
        for queue in queues:
            self.push(queue)

    def bind(self, name: str, pattern: str) -> _Queue:
        with self.lock:
            queue = self.queues.get(name)
            if queue is None:
                queue = self.queues[name] = _Queue(pattern)
                queue.waiting.extend(
                    _Waiting(message=message, source=source)
                    for source, message in self.log
                    if queue.wants(message.type)
                )
            queue.pattern = pattern
        return queue

    def push(self, queue: _Queue) -> None:
        while True:
            with self.lock:
                receiver = queue.receiver
                if receiver is None or not queue.waiting or queue.room <= 0:
                    return
                queue.room -= 1
                queue.unsettled += 1
                waiting = queue.waiting.popleft()
                waiting.deliveries += 1
            receiver(waiting)

    def make_room(self, queue: _Queue) -> None:
        with self.lock:
            queue.room += 1
            queue.unsettled -= 1
        self.push(queue)

    def put_back(self, queue: _Queue, waiting: _Waiting) -> None:
        with self.lock:
            queue.waiting.appendleft(waiting)
        self.push(queue)


_hubs: Final[dict[tuple[str, str], _Hub]] = {}
_hubs_lock: Final = Lock()


class _MemoryIncoming(Incoming):
    __slots__ = ("_broker", "_queue", "_waiting")

    def __init__(self, broker: "MemoryBroker", subscription: str, queue: _Queue, waiting: _Waiting) -> None:
        message = waiting.message
        super().__init__(
            subscription=subscription,
            id=message.id,
            body=message.body,
            repeated=waiting.deliveries > 1,
            source=waiting.source,
            type=message.type,
        )
        self._broker = broker
        self._queue = queue
        self._waiting = waiting

    def acknowledge(self) -> None:
        if self._broker.unsettled.pop(id(self), None) is not None:
            self._broker.hub.make_room(self._queue)

    def release(self, delay: float) -> None:
        if self._broker.unsettled.pop(id(self), None) is not None:
            self._broker.hub.make_room(self._queue)
            timer = Timer(delay, self.put_back)
            timer.daemon = True
            timer.start()

    def put_back(self) -> None:
        self._broker.hub.put_back(self._queue, self._waiting)

    def give_back(self) -> None:
        self._broker.hub.make_room(self._queue)
        self.put_back()


class MemoryBroker(Broker):
    """Keeps everything in this process; ``memory://name`` keeps apart what has different names."""

    def __init__(self, url: str, options: BrokerOptions) -> None:
        super().__init__(url, options)
        with _hubs_lock:
            self.hub = _hubs.setdefault((url, options.platform), _Hub())
        self.unsettled: dict[int, _MemoryIncoming] = {}
        self._queues: list[_Queue] = []
        self._open = False

    @property
    def connected(self) -> bool:
        return self._open

    def open(self, changed: Callable[[], None]) -> None:
        self._open = True
        changed()

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        if not self._open:
            return [BrokerUnavailable("The memory broker is closed.") for _ in messages]
        for message in messages:
            self.hub.publish(self.options.service, message)
        return [None] * len(messages)

    def consume(self, bindings: Collection[Binding], receiver: Receiver) -> None:
        for binding in bindings:
            queue = self.hub.bind(f"{self.options.service}__{binding.subscription}", binding.pattern)
            queue.room = binding.room(self.options)
            queue.receiver = self._receive(binding.subscription, queue, receiver)
            self._queues.append(queue)
            self.hub.push(queue)

    def stop_consuming(self) -> None:
        for queue in self._queues:
            queue.receiver = None

    def close(self) -> None:
        """What was brought and not settled is brought to the next one who consumes."""
        self.stop_consuming()
        self._open = False
        for incoming in list(self.unsettled.values()):
            incoming.give_back()
        self.unsettled.clear()

    def waiting(self, subscriptions: Collection[str], timeout: float) -> dict[str, Waiting]:
        del timeout
        names = {name: f"{self.options.service}__{name}" for name in subscriptions}
        with self.hub.lock:
            return {
                name: Waiting(pending=len(queue.waiting), unsettled=queue.unsettled)
                for name, known_as in names.items()
                if (queue := self.hub.queues.get(known_as)) is not None
            }

    def _receive(self, subscription: str, queue: _Queue, receiver: Receiver) -> Callable[[_Waiting], None]:
        def receive(waiting: _Waiting) -> None:
            incoming = _MemoryIncoming(self, subscription, queue, waiting)
            self.unsettled[id(incoming)] = incoming
            receiver(incoming)

        return receive
