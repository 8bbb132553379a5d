"""Clients that use the shop while something happens, and count every answer that is no success.

What is not answered for now they repeat with the same key, when they are told to, as a good client does.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException

from tests.platform.conftest import Answer, Person

_PAUSE = 0.3  # seconds between two requests of one client: a bounded load, whatever the machine
_FOR_NOW = {409, 429, 502, 503, 504}  # answers after which one asks again; 409 where the same key is under way


@dataclass
class Count:
    """What clients saw. ``bought`` are the ids of orders, one for each intent."""

    answered: int = 0  # with success
    repeated: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, answer: Answer | OSError | HTTPException) -> bool:
        """Count an answer; return whether it is one for good."""
        status = answer.status if isinstance(answer, Answer) else 0
        said = f"{answer.status} {answer.body}" if isinstance(answer, Answer) else repr(answer)
        for_now = status in {0, *_FOR_NOW}
        with self.lock:
            self.answered += 200 <= status < 300
            if not 200 <= status < 300:
                kept = self.repeated if for_now else self.failed
                kept.append(f"{time.strftime('%H:%M:%S')} {what}: {said}"[:400])
        return not for_now


class Visitors:
    """Read from two services, write to a third, and buy, each request on a new connection."""

    def __init__(self, people: Sequence[Person], product: str) -> None:
        self.count = Count()
        self._people, self._product = people, product
        self._over = threading.Event()

    def browse(self, person: Person, key: str) -> Answer:
        del key
        return person.client.get("/api/products/?ordering=price")

    def look_at_orders(self, person: Person, key: str) -> Answer:
        del key
        return person.client.get("/api/orders/")

    def write_profile(self, person: Person, key: str) -> Answer:
        return person.client.request("PUT", f"/api/users/{person.id}/profile/", {"bio": key})

    def buy(self, person: Person, key: str) -> Answer:
        wanted = {"items": [{"product_id": self._product, "quantity": 1}]}
        answer = person.client.post("/api/orders/", wanted, Idempotency_Key=key)
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

    def _repeat(self, action: Callable[[Person, str], Answer], person: Person) -> None:
        while not self._over.is_set():
            self._until_answered(action, person, uuid.uuid4().hex)
            self._over.wait(_PAUSE)

    def _until_answered(self, action: Callable[[Person, str], Answer], person: Person, key: str) -> None:
        """Repeat also when it is over: what is bought must be known."""
        while True:
            pause = 1.0
            try:
                answer = action(person, key)
                if self.count.note(action.__name__, answer):
                    return
                pause = float(answer.headers.get("retry-after", pause))
            except (OSError, HTTPException) as error:
                self.count.note(action.__name__, error)
            time.sleep(pause)


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
