"""Clients that buy and browse while something happens, and count every answer that is no success."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.platform.conftest import Answer, Client

_PAUSE = 0.1  # seconds between two requests of one client: the machine has other work to do


@dataclass
class Count:
    """What clients saw."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, answer: Answer | Exception) -> None:
        good = isinstance(answer, Answer) and answer.status < 300
        with self.lock:
            self.answered += good
            if not good:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {what}: {answer!r}"[:400])


@contextmanager
def load(buyer: Client, product: str) -> Iterator[Count]:
    """Two clients read, one buys, each on a connection of its own for each request, until the block ends."""
    count, over = Count(), threading.Event()

    def browse() -> Answer:
        return buyer.get("/api/products/?ordering=price")

    def look_at_orders() -> Answer:
        return buyer.get("/api/orders/")

    def buy() -> Answer:
        wanted = {"items": [{"product_id": product, "quantity": 1}]}
        return buyer.post("/api/orders/", wanted, Idempotency_Key=uuid.uuid4().hex)

    def repeat(action: object) -> None:
        assert callable(action)
        while not over.is_set():
            try:
                count.note(action.__name__, action())  # type: ignore[attr-defined]
            except OSError as error:
                count.note(action.__name__, error)  # type: ignore[attr-defined]
            over.wait(_PAUSE)

    threads = [threading.Thread(target=repeat, args=(action,)) for action in (browse, look_at_orders, buy)]
    for thread in threads:
        thread.start()
    try:
        yield count
    finally:
        over.set()
        for thread in threads:
            thread.join()
