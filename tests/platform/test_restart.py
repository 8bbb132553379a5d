"""Every process of every service is replaced while people use the shop."""

import http.client
import itertools
import json
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.platform.conftest import Person, Shop, eventually, run

pytestmark = pytest.mark.platform

CLIENTS = 4
PAUSE = 0.03  # seconds
REQUESTS = int(os.environ.get("BANDSTAND_FAULT_REQUESTS", "2000"))

Request = tuple[str, str, dict[str, str], Any]


class Load:
    """Clients with connections of their own, for a ``with`` block; ``outcomes`` counts what came of the requests.

    Each is another person and takes a breath, so that none asks as often as a service allows nobody to.
    """

    def __init__(self, shop: Shop, requests: Callable[[Person], Iterator[Request]]) -> None:
        self.outcomes: Counter[str] = Counter()
        self._address = urlsplit(shop.gateway).netloc
        self._over = threading.Event()
        people = [shop.person("restart") for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(requests(person),)) for person in people]

    @property
    def total(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if not outcome.startswith("2")}

    def _run(self, requests: Iterator[Request]) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=20)
        while not self._over.is_set():
            method, path, headers, body = next(requests)
            try:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                content = response.read()
                outcome = str(response.status)
                if response.status >= 400:
                    outcome += f" {method} {path[:20]} {json.loads(content)['code']}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                outcome = repr(error)
            self.outcomes[outcome] += 1
            time.sleep(PAUSE)
        connection.close()

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def headers_of(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.client.token}", "Accept": "application/json"}


def everything(product: str) -> Callable[[Person], Iterator[Request]]:
    """What a person does: looks around, looks at what they bought, and buys."""

    def requests(person: Person) -> Iterator[Request]:
        headers = headers_of(person)
        for number in itertools.count():
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


def processes(shop: Shop) -> dict[str, int]:
    """The id of each process of a service that stays."""
    known = json.loads(run(shop.folder, "ps", "--json").stdout)["processes"]
    return {one["name"]: one["pid"] for one in known if one["name"].endswith(("-web", "-worker"))}


def test_no_request_fails_while_everything_is_replaced(shop: Shop) -> None:
    """All services are restarted under load through the gateway: each process is another one, and no request failed."""
    product = shop.client.get("/api/products/?in_stock=true").body["results"][0]["id"]
    before = processes(shop)
    with Load(shop, everything(product)) as load:
        rounds = 0
        while rounds == 0 or load.total < REQUESTS:
            restarted = run(shop.folder, "restart", "--json", timeout=600)
            assert restarted.returncode == 0, restarted.stdout + restarted.stderr
            rounds += 1
    print(f"{load.total} requests in {rounds} rounds of restarts, failed: {load.failed}")
    assert load.failed == {}
    assert load.total >= REQUESTS
    after = processes(shop)
    assert set(after) == set(before)
    assert len(after) == 8
    assert not set(before.values()) & set(after.values())


def test_tooth_a_process_that_just_ends_is_missed(shop: Shop) -> None:
    """The old way, end it and let it be started again: for a moment nobody answers."""
    pid = processes(shop)["product-service-web"]
    with Load(shop, catalogue) as load:
        eventually(lambda: load.total > 50)
        os.kill(pid, signal.SIGTERM)
        time.sleep(3)
    assert [outcome for outcome in load.failed if outcome.startswith(("502", "503", "504"))]
    eventually(lambda: processes(shop)["product-service-web"] not in {pid, None}, seconds=60)
    eventually(lambda: shop.client.get("/api/products/").status == 200, seconds=60)


def test_a_service_that_is_not_known(shop: Shop) -> None:
    """A typing mistake changes nothing, and is answered with the nearest name."""
    result = run(shop.folder, "restart", "order-servce")
    assert result.returncode == 1
    assert "Did you mean order-service?" in result.stderr
