"""Clients that use the shop as a good client does: what is not answered for now they repeat, with the same key."""

import http.client
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.platform.conftest import Person, Shop
from tests.waiting import GUARD

__all__ = ["Load", "catalogue", "everything", "orders_of"]

CLIENTS = 4
PAUSE = 0.03  # seconds
FOR_NOW = {429, 502, 503, 504}  # answers after which one asks again
IN_PROGRESS = 409  # and this one, where the same key is under way

Request = tuple[str, str, dict[str, str], Any]


class Load:
    """Clients with connections of their own, for a ``with`` block.

    ``outcomes`` counts how their requests ended, ``repeated`` why some were sent again, and ``orders`` are the ids that
    each buyer was told. Each is another person and takes a breath, so that none asks as often as a service allows
    nobody to.
    """

    def __init__(self, shop: Shop, requests: Callable[[Person], Iterator[Request]]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.people = [shop.person("restart") for _ in range(CLIENTS)]
        self.orders: dict[str, list[str]] = {person.id: [] for person in self.people}
        self._address = urlsplit(shop.gateway).netloc
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(person, requests(person))) for person in self.people]

    @property
    def total(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if not outcome.startswith("2")}

    def _run(self, person: Person, requests: Iterator[Request]) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=GUARD)
        while not self._over.is_set():
            request = next(requests)
            status, content = self._answered(connection, request)
            method, path, _, _ = request
            self.outcomes[str(status) if status < 400 else f"{status} {method} {path[:20]} {content['code']}"] += 1
            if (method, status) == ("POST", 201):
                self.orders[person.id].append(content["id"])
            time.sleep(PAUSE)
        connection.close()

    def _answered(self, connection: http.client.HTTPConnection, request: Request) -> tuple[int, Any]:
        """Send ``request`` until it is answered for good; also when the load is over, or an order could get lost."""
        method, path, headers, body = request
        while True:
            pause = 1.0
            try:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                content = json.loads(response.read())
                if response.status not in FOR_NOW and not (response.status == IN_PROGRESS and method == "POST"):
                    return response.status, content
                why, pause = f"{response.status} {method}", float(response.headers.get("Retry-After", pause))
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                why = f"{type(error).__name__} {method}"
            self.repeated[why] += 1
            time.sleep(pause)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def headers_of(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.client.bearer()}", "Accept": "application/json"}


def everything(product: str) -> Callable[[Person], Iterator[Request]]:
    """What a person does: looks around, looks at what they bought, and buys."""

    def requests(person: Person) -> Iterator[Request]:
        for number in itertools.count():
            headers = headers_of(person)
            yield "GET", "/api/products/", headers, None
            yield "GET", f"/api/users/{person.id}/", headers, None
            yield "GET", f"/api/users/{person.id}/orders/", headers, None  # asks the order service
            yield "GET", "/api/notifications/", headers, None
            if number % 5 == 0:
                order = {"items": [{"product_id": product, "quantity": 1}]}
                key = {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"}
                yield "POST", "/api/orders/", {**headers, **key}, order

    return requests


def catalogue(person: Person) -> Iterator[Request]:
    """The list that everybody may see."""
    while True:
        yield "GET", "/api/products/", headers_of(person), None


def orders_of(person: Person) -> list[str]:
    """The ids of all orders that somebody has."""
    found, path = [], "/api/orders/?page_size=100"
    while path:
        page = person.client.get(path)
        assert page.status == 200, page
        found += [order["id"] for order in page.body["results"]]
        following = urlsplit(page.body["next"] or "")
        path = following.path and f"{following.path}?{following.query}"
    return found
