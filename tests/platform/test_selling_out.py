"""More buyers than pieces, while processes are killed: nothing is sold twice, nothing is lost, nothing is left open."""

import itertools
import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from tests.platform.conftest import Client, Person, Shop, eventually, run

pytestmark = pytest.mark.platform

PIECES = 100
ORDERS = 320
THREADS = 8
ORDERS_OF, NOTES_OF = "/api/orders/?page_size=100", "/api/notifications/?page_size=100"
VICTIMS = ("product-service-worker", "order-service-worker", "notification-service-worker", "order-service-web")


@dataclass
class Ledger:
    """What the clients know: the answer to each key."""

    orders: dict[str, str] = field(default_factory=dict)
    refusals: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture(scope="module")
def product(shop: Shop) -> dict[str, Any]:
    """A product of which there are as many pieces as the test says."""
    credentials = {"email": "admin@example.com", "password": "bandstand-demo"}
    signed_in = shop.client.post("/api/users/authenticate/", credentials)
    assert signed_in.status == 200, signed_in
    staff = Client(base=shop.gateway, fixed_token=signed_in.body["token"])
    body = {"sku": f"RARE-{uuid.uuid4().hex[:8].upper()}", "name": "Rare lamp", "price": "9.90"}
    added = staff.post("/api/products/", {**body, "inventory_count": PIECES})
    assert added.status == 201, added
    return added.body


def buy(person: Person, product_id: str, ledger: Ledger) -> None:
    """Order one piece, and repeat the request with its key until somebody answers for good."""
    key = uuid.uuid4().hex

    def answered() -> bool:
        try:
            answer = person.client.post(
                "/api/orders/", {"items": [{"product_id": product_id, "quantity": 1}]}, Idempotency_Key=key
            )
        except OSError:
            return False
        with ledger.lock:
            if answer.status == 201:
                assert ledger.orders.setdefault(key, answer.body["id"]) == answer.body["id"]
            else:
                ledger.refusals[answer.status] += 1
        return answer.status == 201

    eventually(answered, what=f"an answer to the order {key}")


def kill(shop: Shop, name: str) -> None:
    """Kill a process of the shop by the id that `bandstand ps` tells."""
    processes = json.loads(run(shop.folder, "ps", "--json").stdout)
    rows = processes["processes"] if isinstance(processes, dict) else processes
    pid = next(row["pid"] for row in rows if row["name"] == name)
    if pid:
        psutil.Process(pid).kill()


def killing(shop: Shop, over: threading.Event) -> Callable[[], int]:
    """Return what kills a process now and each second until it is ``over``, and says how many."""

    def work() -> int:
        for kills in itertools.count(1):
            kill(shop, VICTIMS[kills % len(VICTIMS)])
            if over.wait(1.0):
                return kills
        raise AssertionError("itertools.count ends")

    return work


def listed(person: Person, path: str) -> list[dict[str, Any]]:
    """Return what a list of somebody's holds, once it answers: what was killed may be starting again."""
    page = eventually(lambda: answer if (answer := person.client.get(path)).status == 200 else None)
    assert page.body["next"] is None
    return page.body["results"]


def test_320_orders_for_100_pieces(shop: Shop, product: dict[str, Any]) -> None:
    """Each acknowledged order exists once and ends; what is confirmed and what is left make up what there was."""
    buyers = [shop.person(f"buyer{number}") for number in range(THREADS)]
    ledger, over = Ledger(), threading.Event()
    with ThreadPoolExecutor(THREADS + 1) as pool:
        murderer = pool.submit(killing(shop, over))
        work = [pool.submit(buy, buyers[number % THREADS], product["id"], ledger) for number in range(ORDERS)]
        for each in work:
            each.result()
        over.set()
        murderer.result()
    assert set(ledger.refusals) <= {409, 502, 503, 504}, ledger.refusals

    def settled() -> list[dict[str, Any]]:
        found = [order for buyer in buyers for order in listed(buyer, ORDERS_OF)]
        return found if all(order["status"] != "pending" for order in found) else []

    orders = eventually(settled, what="every order leaves pending")
    assert sorted(order["id"] for order in orders) == sorted(ledger.orders.values()), "lost or doubled orders"
    statuses = Counter(order["status"] for order in orders)
    assert statuses == {"confirmed": PIECES, "rejected": ORDERS - PIECES}
    assert shop.client.get(f"/api/products/{product['id']}/").body["inventory_count"] == 0
    told_once(buyers, orders)
    give_back(shop, buyers, orders, product)


def told_once(buyers: list[Person], orders: list[dict[str, Any]]) -> None:
    """Each order's end is told in one notification, which is sent."""
    wanted = Counter(order["id"] for order in orders)

    def told() -> bool:
        notes = [note for buyer in buyers for note in listed(buyer, NOTES_OF) if note["kind"].startswith("order_")]
        said = Counter(order["id"] for order in orders for note in notes if order["id"] in note["body"])
        assert max(said.values(), default=0) <= 1, "somebody was told twice"
        return said == wanted and all(note["status"] == "sent" for note in notes)

    eventually(told, what="every order's notification is sent")


def give_back(shop: Shop, buyers: list[Person], orders: list[dict[str, Any]], product: dict[str, Any]) -> None:
    """Cancelling twenty confirmed orders, each by two clients at once, gives back twenty pieces."""
    owners = {order["id"]: buyer for buyer in buyers for order in listed(buyer, ORDERS_OF)}
    confirmed = [order["id"] for order in orders if order["status"] == "confirmed"]
    chosen = random.Random(7).sample(confirmed, 20)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda pk: owners[pk].client.post(f"/api/orders/{pk}/cancel/", {}), chosen * 2)
        assert {answer.status for answer in answers} == {200}

    def returned() -> bool:
        return bool(shop.client.get(f"/api/products/{product['id']}/").body["inventory_count"] == 20)

    eventually(returned, what="twenty pieces come back")
