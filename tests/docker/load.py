"""Clients that use the shop while something happens, and count every answer that is no success."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.platform.conftest import Answer, Person

_PAUSE = 0.3  # seconds between two requests of one client: a bounded load, whatever the machine


@dataclass
class Count:
    """What clients saw. ``bought`` are the ids of orders, one for each intent."""

    answered: int = 0  # with success
    failed: list[str] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, answer: Answer | OSError) -> None:
        good = isinstance(answer, Answer) and answer.status < 300
        with self.lock:
            self.answered += good
            if not good:
                said = f"{answer.status} {answer.body}" if isinstance(answer, Answer) else repr(answer)
                self.failed.append(f"{time.strftime('%H:%M:%S')} {what}: {said}"[:400])


class Visitors:
    """Read from two services, write to a third, and buy, each request on a new connection and once.

    Nobody repeats what failed, so also a 409 would be one too many: it says that a request came twice.
    """

    def __init__(self, people: Sequence[Person], product: str) -> None:
        self.count = Count()
        self._people, self._product = people, product
        self._over = threading.Event()

    def browse(self, person: Person) -> Answer:
        return person.client.get("/api/products/?ordering=price")

    def look_at_orders(self, person: Person) -> Answer:
        return person.client.get("/api/orders/")

    def write_profile(self, person: Person) -> Answer:
        return person.client.request("PUT", f"/api/users/{person.id}/profile/", {"bio": uuid.uuid4().hex})

    def buy(self, person: Person) -> Answer:
        wanted = {"items": [{"product_id": self._product, "quantity": 1}]}
        answer = person.client.post("/api/orders/", wanted, Idempotency_Key=uuid.uuid4().hex)
        if answer.status == 201:
            self.count.bought.append(answer.body["id"])
        return answer

    def come(self) -> list[threading.Thread]:
        actions = (self.browse, self.look_at_orders, self.write_profile, self.buy)
        pairs = itertools.product(actions, self._people)
        threads = [threading.Thread(target=self._repeat, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        return threads

    def go(self) -> None:
        self._over.set()

    def _repeat(self, action: Callable[[Person], Answer], person: Person) -> None:
        while not self._over.is_set():
            try:
                self.count.note(action.__name__, action(person))
            except OSError as error:
                self.count.note(action.__name__, error)
            self._over.wait(_PAUSE)


@contextmanager
def load(people: Sequence[Person], product: str) -> Iterator[Count]:
    """Let visitors come until the block ends."""
    visitors = Visitors(people, product)
    threads = visitors.come()
    try:
        yield visitors.count
    finally:
        visitors.go()
        for thread in threads:
            thread.join()
