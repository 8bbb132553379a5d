"""Clients that use the shop while something happens, and count every answer that is no success."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.platform.conftest import Answer, Person

_PAUSE = 0.1  # seconds between two requests of one client: the machine has other work to do
_PATIENCE = 120.0  # seconds that a buyer repeats an order


@dataclass
class Count:
    """What clients saw. ``bought`` are the ids of orders, one for each intent."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, answer: Answer | OSError) -> None:
        good = isinstance(answer, Answer) and answer.status < 300
        with self.lock:
            self.answered += good
            if not good:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {what}: {answer!r}"[:400])


class Visitors:
    """Read from two services, write to a third, and buy, each request on a new connection.

    The gateway repeats reads and never writes. An order needs answers of two other services within a second, for which
    a busy machine may be too slow; so a buyer does what the API tells him to: he repeats it, under the same key.
    """

    def __init__(self, person: Person, product: str) -> None:
        self.count = Count()
        self._person, self._client, self._product = person, person.client, product
        self._over = threading.Event()

    def browse(self) -> Answer:
        return self._client.get("/api/products/?ordering=price")

    def look_at_orders(self) -> Answer:
        return self._client.get("/api/orders/")

    def write_profile(self) -> Answer:
        return self._client.request("PUT", f"/api/users/{self._person.id}/profile/", {"bio": uuid.uuid4().hex})

    def buy(self) -> Answer:
        wanted = {"items": [{"product_id": self._product, "quantity": 1}]}
        key, end = uuid.uuid4().hex, time.monotonic() + _PATIENCE
        answer = self._client.post("/api/orders/", wanted, Idempotency_Key=key)
        while answer.status in {409, 503, 504} and time.monotonic() < end:
            time.sleep(_PAUSE)
            answer = self._client.post("/api/orders/", wanted, Idempotency_Key=key)
        if answer.status == 201:
            self.count.bought.append(answer.body["id"])
        return answer

    def come(self) -> list[threading.Thread]:
        actions = (self.browse, self.look_at_orders, self.write_profile, self.buy)
        threads = [threading.Thread(target=self._repeat, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        return threads

    def go(self) -> None:
        self._over.set()

    def _repeat(self, action: Callable[[], Answer]) -> None:
        while not self._over.is_set():
            try:
                self.count.note(action.__name__, action())
            except OSError as error:
                self.count.note(action.__name__, error)
            self._over.wait(_PAUSE)


@contextmanager
def load(person: Person, product: str) -> Iterator[Count]:
    """Let visitors come until the block ends."""
    visitors = Visitors(person, product)
    threads = visitors.come()
    try:
        yield visitors.count
    finally:
        visitors.go()
        for thread in threads:
            thread.join()
