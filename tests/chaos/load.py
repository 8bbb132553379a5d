"""The clients: they register, order and cancel at times that do not depend on the answers, and ask until answered."""

import http.client
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tests.chaos.ledger import Intent
from tests.platform.conftest import Answer, Client

__all__ = ["DOMAIN", "Book", "Buyer", "Load", "open_shop"]

DOMAIN: Final = "chaos.example.com"
PASSWORD: Final = "correct-horse-battery"
AT_ONCE: Final = 48  # clients that wait for an answer
ORDERS_OF_BUYER: Final = 900  # each has its own quantity, and a quantity is at most 1000
PLENTY: Final = 1_000_000_000
SCARCE: Final = 40
SHARE_OF_REGISTRATIONS, SHARE_OF_CANCELLATIONS, SHARE_OF_TWINS = 0.1, 0.2, 0.1

Kind = Literal["registration", "order", "cancellation"]


class Book:
    """What the clients wanted and were told."""

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()
        self._intents: dict[tuple[str, str], Intent] = {}
        self._acked_at: list[float] = []
        self._lock = threading.Lock()

    def attempt(self, kind: Kind, key: str) -> None:
        """Note that somebody is about to ask."""
        with self._lock:
            self._intents.setdefault((kind, key), Intent(kind=kind, key=key))

    def acknowledge(self, kind: Kind, key: str, answer: str) -> None:
        """Note an answer 2xx with the id that it has."""
        with self._lock:
            intent = self._intents[kind, key]
            self._intents[kind, key] = replace(intent, acked=True, answers=intent.answers | {answer})
            self._acked_at.append(time.monotonic())

    def answer_to(self, kind: Kind, key: str) -> str:
        """Return an id that was answered, or ""."""
        with self._lock:
            return next(iter(self._intents[kind, key].answers), "")

    def refuse(self, kind: Kind, answer: Answer) -> None:
        """Note an answer that no client deserved."""
        with self._lock:
            self.refusals[f"{kind} {answer.status} {_code(answer)}"] += 1

    def silence(self) -> float:
        """Return the longest time in seconds between two answers 2xx."""
        with self._lock:
            return max((after - before for before, after in itertools.pairwise(self._acked_at)), default=0.0)

    def intents(self) -> tuple[Intent, ...]:
        """Return all that was attempted."""
        with self._lock:
            return tuple(self._intents.values())


@dataclass(kw_only=True)
class Buyer:
    """Somebody who is signed in, and orders each quantity once."""

    id: str
    email: str
    client: Client
    quantities: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def sign_in(cls, gateway: str, email: str, password: str = PASSWORD) -> "Buyer":
        """Sign in; the shop must be healthy."""
        client = Client(base=gateway)
        answer = client.post("/api/users/authenticate/", {"email": email, "password": password})
        if answer.status != 200:
            raise RuntimeError(f"{email} could not sign in: {answer}")
        return cls(
            id=answer.body["user"]["id"], email=email, client=Client(base=gateway, fixed_token=answer.body["token"])
        )

    def renew(self) -> None:
        """Sign in anew, as the token is too old."""
        self.client = Buyer.sign_in(self.client.base, self.email).client


@dataclass(kw_only=True)
class Load:
    """Open-loop load of ``rate`` intents a second; one that would be over ``AT_ONCE`` is not begun."""

    gateway: str
    buyers: list[Buyer]
    plenty: list[str]
    scarce: str
    seed: int
    rate: float
    book: Book
    shed: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float, patience: float) -> None:
        """Begin intents for so many seconds, and let their clients ask for ``patience`` seconds more."""
        draw, begin = random.Random(self.seed), time.monotonic()
        free = threading.Semaphore(AT_ONCE)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            at = 0.0
            while (at := at + draw.expovariate(self.rate)) < seconds:
                time.sleep(max(0.0, begin + at - time.monotonic()))
                work = self._intent(random.Random(draw.random()))
                if free.acquire(blocking=False):
                    pool.submit(work).add_done_callback(lambda _done: free.release())
                else:
                    self.shed += 1
            timer = threading.Timer(patience, self.over.set)
            timer.start()
        timer.cancel()

    def _intent(self, draw: random.Random) -> Callable[[], None]:
        if draw.random() < SHARE_OF_REGISTRATIONS:
            return lambda: self._register(f"visitor-{draw.getrandbits(64):x}")
        return lambda: self._order(draw)

    def _register(self, name: str) -> None:
        email = f"{name}@{DOMAIN}"
        self.book.attempt("registration", email)
        body = {"email": email, "username": name, "password": PASSWORD}
        client = Client(base=self.gateway)
        answer, asked = self._until_answered("registration", lambda: client.post("/api/users/", body))
        if answer is None:
            return
        if answer.status == 201:
            self.book.acknowledge("registration", email, answer.body["id"])
        elif asked == 1 or answer.status != 400:  # asked again it is "taken": the first answer was lost
            self.book.refuse("registration", answer)

    def _order(self, draw: random.Random) -> None:
        buyer = draw.choice(self.buyers)
        quantity = next(buyer.quantities)
        items = [{"product_id": draw.choice(self.plenty), "quantity": quantity}]
        if draw.random() < 0.3:
            items.append({"product_id": self.scarce, "quantity": 1})
        key, token = f"{buyer.id}:{quantity}", f"{draw.getrandbits(64):016x}"
        self.book.attempt("order", key)
        twins = [threading.Thread(target=self._place, args=(buyer, key, token, items))]
        if draw.random() < SHARE_OF_TWINS:  # an impatient client asks twice at once
            twins.append(threading.Thread(target=self._place, args=(buyer, key, token, items)))
        for twin in twins:
            twin.start()
        for twin in twins:
            twin.join()
        placed = self.book.answer_to("order", key)
        if placed and draw.random() < SHARE_OF_CANCELLATIONS:
            self.over.wait(draw.uniform(0.0, 1.0))
            self._cancel(buyer, placed)

    def _place(self, buyer: Buyer, key: str, token: str, items: list[dict[str, Any]]) -> None:
        def ask() -> Answer:
            return buyer.client.post("/api/orders/", {"items": items}, Idempotency_Key=token)

        answer, _ = self._until_answered("order", ask, buyer)
        if answer is None:
            return
        if answer.status == 201:
            self.book.acknowledge("order", key, answer.body["id"])
        else:
            self.book.refuse("order", answer)

    def _cancel(self, buyer: Buyer, order: str) -> None:
        def cancel() -> Answer:
            return buyer.client.post(f"/api/orders/{order}/cancel/", {})

        self.book.attempt("cancellation", order)
        answer, _ = self._until_answered("cancellation", cancel, buyer)
        if answer is None or _code(answer) == "not_cancellable":  # it was rejected before
            return
        if answer.status == 200:
            self.book.acknowledge("cancellation", order, answer.body["id"])
        else:
            self.book.refuse("cancellation", answer)

    def _until_answered(
        self, kind: Kind, ask: Callable[[], Answer], buyer: Buyer | None = None
    ) -> tuple[Answer | None, int]:
        """Ask until somebody answers for good, or it is over; return the answer and how often was asked."""
        for times in itertools.count(1):
            try:
                answer = ask()
                if answer.status == 401 and buyer is not None:
                    buyer.renew()
                elif answer.status == 500:  # it should not be said; a client may ask again all the same
                    self.book.refuse(kind, answer)
                elif not _is_for_now(answer):
                    return answer, times
            except (OSError, http.client.HTTPException, ValueError, RuntimeError):
                pass  # nobody there, half an answer, or no sign-in for now
            if self.over.wait(min(0.2 * times, 2.0)):
                return None, times
        raise AssertionError("itertools.count ends")


def open_shop(gateway: str, *, seed: int, rate: float, seconds: float) -> tuple[Load, Mapping[str, int]]:
    """Register buyers and add products to a healthy shop; return the load, and how many pieces there are of each."""
    admin = Buyer.sign_in(gateway, "admin@example.com", "bandstand-demo")
    stock = {_added(admin, number, PLENTY): PLENTY for number in range(4)}
    scarce = _added(admin, 4, SCARCE)
    book = Book()
    buyers = []
    for number in range(min(80, 8 + int(rate * seconds / ORDERS_OF_BUYER))):
        email = f"buyer-{number}@{DOMAIN}"
        book.attempt("registration", email)
        body = {"email": email, "username": f"buyer-{number}", "password": PASSWORD}
        answer = Client(base=gateway).post("/api/users/", body)
        if answer.status != 201:
            raise RuntimeError(f"{email} could not be registered: {answer}")
        book.acknowledge("registration", email, answer.body["id"])
        buyers.append(Buyer.sign_in(gateway, email))
    load = Load(gateway=gateway, buyers=buyers, plenty=list(stock), scarce=scarce, seed=seed, rate=rate, book=book)
    return load, {**stock, scarce: SCARCE}


def _added(admin: Buyer, number: int, pieces: int) -> str:
    body = {"sku": f"CHAOS-{number:04}", "name": f"Lamp {number}", "price": "1.00", "inventory_count": pieces}
    answer = admin.client.post("/api/products/", body)
    if answer.status != 201:
        raise RuntimeError(f"The product could not be added: {answer}")
    return str(answer.body["id"])


def _is_for_now(answer: Answer) -> bool:
    """Say whether asking again may help: somebody is down, busy, or at it with the same key."""
    return answer.status in {429, 502, 503, 504} or (answer.status == 409 and _code(answer) != "not_cancellable")


def _code(answer: Answer) -> str:
    return str(answer.body.get("code", "")) if isinstance(answer.body, dict) else ""
