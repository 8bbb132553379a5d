"""An order in the real shop: the time from POST /orders/ to `confirmed`, orders a second, and their processor time.

The whole shop runs under `bandstand up`, with fsync on. Clients post orders of two products through the gateway: one
client with a pause after each order, then several that post one after the other. The order service asks the user and
product services, commits the order and `order.placed`; the product service holds the stock and publishes
`stock.reserved`; the order service confirms, and the notification service writes the mail. Nobody polls meanwhile:
the moment of the confirmation is `updated_at` of the order's row, which its UPDATE set, so all but its COMMIT is in
it. Orders a second are from the first POST to the last confirmation. The processor is that of all processes of the
platform until everything that follows from the orders is done, less what they use in that time when nobody orders,
divided by the orders; clients are not part of it. Takes about two minutes.
"""

import itertools
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg

from platform_rig import Caller, Platform, shop
from report import Report, Target, at_least, at_most, parser
from tests.chaos.load import Load as Customers
from tests.chaos.load import open_shop

Orders = psycopg.Connection[tuple[Any, ...]]
"""A connection to the database of the order service."""

PATIENCE = 60.0  # seconds until the last order of a load is confirmed
REST, QUICK_REST = 3.0, 0.5  # seconds after a load, in which notifications and mails are written
WARM_UP = 2.0
IDLE = 10.0  # seconds in which the idle platform is measured
QUICK = 2.0  # seconds of each load, and of that


@dataclass(frozen=True, kw_only=True)
class Load:
    """``clients`` that post for ``seconds``, each with a ``pause`` after an order."""

    name: str
    clients: int
    seconds: float
    pause: float = 0.0
    answered: Target | None = None  # milliseconds
    confirmed: Target | None = None  # milliseconds
    rate: Target | None = None
    processor: Target | None = None  # milliseconds


LOADS = (
    Load(name="at_rest", clients=1, seconds=20, pause=0.3, answered=at_most(50), confirmed=at_most(100)),
    Load(name="1_client", clients=1, seconds=15),
    Load(name="4_clients", clients=4, seconds=15),
    Load(name="8_clients", clients=8, seconds=15, rate=at_least(30), processor=at_most(60)),
)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An order: when it was posted (seconds since the epoch), and how long its answer took."""

    id: str
    at: float
    seconds: float


class Clients:
    """Clients that post orders. The buyers take turns, since each may make twenty requests a second."""

    def __init__(self, gateway: str, customers: Customers) -> None:
        self._gateway = gateway
        self._buyers = customers.buyers
        self._items = [{"product_id": product, "quantity": 1} for product in customers.plenty[:2]]

    def post(self, clients: int, lasting: float, pause: float) -> list[Placed]:
        """Return the orders that the clients placed in ``lasting`` seconds."""
        for buyer in self._buyers:  # a token lives five minutes
            buyer.renew()
        self._tokens = [f"Bearer {buyer.client.bearer()}" for buyer in self._buyers]
        end = time.monotonic() + lasting
        with ThreadPoolExecutor(clients) as pool:
            works = [pool.submit(self._post_until, end, number, pause) for number in range(clients)]
        return [placed for work in works for placed in work.result()]

    def _post_until(self, end: float, number: int, pause: float) -> list[Placed]:
        callers = [Caller(self._gateway, token) for token in self._tokens]
        placed = []
        for turn in itertools.count(number):
            placed.append(self._place(callers[turn % len(callers)]))
            if time.monotonic() + pause > end:
                break
            time.sleep(pause)
        for caller in callers:
            caller.close()
        return placed

    def _place(self, caller: Caller) -> Placed:
        at, begun = time.time(), time.perf_counter()
        answer = caller.post("/api/orders/", {"items": self._items}, f"Idempotency-Key: {uuid.uuid4().hex}")
        return Placed(id=answer["id"], at=at, seconds=time.perf_counter() - begun)


def confirmations(orders: Orders, placed: list[Placed]) -> dict[str, float]:
    """Wait until all are confirmed; return when each was, in seconds since the epoch."""
    ids = [uuid.UUID(each.id) for each in placed]
    query = "SELECT id::text, status, extract(epoch FROM updated_at)::float8 FROM orders_order WHERE id = ANY(%s)"
    deadline = time.monotonic() + PATIENCE
    while True:
        found = orders.execute(query, [ids]).fetchall()
        states = {status for _, status, _ in found}
        if states == {"confirmed"} and len(found) == len(placed):
            return {order: at for order, _, at in found}
        if states - {"confirmed", "pending"} or time.monotonic() > deadline:
            sys.exit(f"{len(placed):,} orders were placed, and {states} is what became of them in {PATIENCE:.0f} s.")
        time.sleep(0.5)


class Usage:
    """The processor time of the platform, less what it uses when it idles, which is measured first."""

    def __init__(self, platform: Platform, seconds: float) -> None:
        self._platform = platform
        self._idle: dict[str, float] = {}
        self.begin()
        time.sleep(seconds)
        taken = time.monotonic() - self._begun
        self._idle = {kind: used / taken for kind, used in self.used().items()}

    def begin(self) -> None:
        """Measure from now on."""
        self._before, self._begun = self._platform.seconds(), time.monotonic()

    def used(self) -> dict[str, float]:
        """Return the processor time since then, in seconds by kind of process."""
        taken = time.monotonic() - self._begun
        after = self._platform.seconds()
        return {kind: after[kind] - self._before[kind] - taken * self._idle.get(kind, 0.0) for kind in after}


def measure(report: Report, usage: Usage, clients: Clients, orders: Orders, load: Load) -> None:
    """Let the clients of a load post, and report."""
    usage.begin()
    placed = clients.post(load.clients, QUICK if report.quick else load.seconds, load.pause)
    confirmed = confirmations(orders, placed)
    time.sleep(QUICK_REST if report.quick else REST)
    used = {kind: seconds / len(placed) for kind, seconds in usage.used().items()}
    times = sorted(1000 * (confirmed[each.id] - each.at) for each in placed)
    rate = len(placed) / (max(confirmed.values()) - min(each.at for each in placed))
    name = f"order.{load.name}"
    note = f"({len(placed):,} orders)"
    report.add(f"{name}.answered", [1000 * each.seconds for each in placed], "ms", target=load.answered)
    report.add(f"{name}.confirmed", times, "ms", target=load.confirmed, note=note)
    report.add(f"{name}.confirmed.p99", times[int(len(times) * 0.99)], "ms")
    parts = ", ".join(f"{kind} {1000 * each:.1f}" for kind, each in used.items())
    if not load.pause:
        report.add(f"{name}.rate", rate, "orders/s", target=load.rate, processor=sum(used.values()))
    report.add(f"{name}.processor", 1000 * sum(used.values()), "ms/order", target=load.processor, note=f"({parts})")


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with shop() as started:
        platform = Platform(started.folder)
        customers, _ = open_shop(started.gateway, seed=1, rate=1.0, seconds=1.0)
        clients = Clients(started.gateway, customers)
        with psycopg.connect(platform.environment("order-service-web")["DATABASE_URL"], autocommit=True) as orders:
            confirmations(orders, clients.post(4, WARM_UP, 0.0))
            time.sleep(QUICK_REST if report.quick else REST)
            usage = Usage(platform, QUICK if report.quick else IDLE)
            for load in LOADS:
                measure(report, usage, clients, orders, load)
    report.end()


if __name__ == "__main__":
    main()
