"""The cost of a request through gateway and service, beside plain Django with REST framework, and with usual packages.

A list of 20 of the shop's 60 products, one product, and a new product that staff adds, on real PostgreSQL (fsync on),
granian with one process and 8 threads, and Envoy. "bandstand" is the shop's product service as it is, asked directly
and through the gateway: with its checks, limits (whose counters are in Valkey), problem documents, log lines and
metrics. "plain" is Django with REST framework and nothing else, and "packages" adds django-cors-headers,
django-prometheus, django-structlog, django-guid, drf-spectacular and simplejwt, which do the usual parts of what
Bandstand does; neither limits its clients. All have DEBUG on, as under `bandstand up`, and the same versions of Django
and REST framework.

Latency is that of one client, requests a second are those of 8 clients; all keep their connections. The ways take turns
in short rounds. Processor time is that of the service's process for one request, over both, and through the gateway
that of Envoy as well. Takes about four minutes.
"""

import itertools
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from platform_rig import Caller, seconds, tree
from report import Report, Target, at_most, parser
from service_rig import BANDSTAND, LIST, NAMES, PACKAGES, PLAIN, Catalogue, catalogue

CLIENTS = 8
GATEWAY = "gateway"
DIRECT, WITH_GATEWAY = 1.5, 2.0  # times the processor and the latency of plain Django, at most
BESIDE_PACKAGES = 1.0

Ask = Callable[[Caller], object]
"""Makes one request."""


@dataclass(kw_only=True)
class Way:
    """One way to ask one service, and what was measured of it."""

    base: str
    authorization: str
    pids: tuple[int, ...]  # whose processor time counts
    latencies: list[float] = field(default_factory=list)  # milliseconds of each request
    medians: list[float] = field(default_factory=list)  # of each round's latencies
    rates: list[float] = field(default_factory=list)  # of each round
    processor: list[float] = field(default_factory=list)  # seconds for one request, of each round

    @contextmanager
    def callers(self, count: int) -> Iterator[list[Caller]]:
        """Give ``count`` clients."""
        made = [Caller(self.base, self.authorization) for _ in range(count)]
        try:
            yield made
        finally:
            for caller in made:
                caller.close()

    def round(self, ask: Ask, requests: int) -> None:
        """Let one client make so many requests, then eight clients as many together."""
        before = self._seconds()
        with self.callers(1) as (caller,):
            ask(caller)  # connects
            taken = self._times(ask, caller, requests)
        self.latencies += taken
        self.medians.append(statistics.median(taken))
        share = requests // CLIENTS
        with self.callers(CLIENTS) as callers, ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, callers))
            begun = time.perf_counter()
            list(pool.map(lambda caller: self._times(ask, caller, share), callers))
            self.rates.append(CLIENTS * share / (time.perf_counter() - begun))
        made = 1 + requests + CLIENTS * (1 + share)
        self.processor.append((self._seconds() - before) / made)

    def _seconds(self) -> float:
        return sum(seconds(tree(pid)) for pid in self.pids)

    @staticmethod
    def _times(ask: Ask, caller: Caller, requests: int) -> list[float]:
        taken = []
        for _ in range(requests):
            begun = time.perf_counter()
            ask(caller)
            taken.append(1000 * (time.perf_counter() - begun))
        return taken


def actions(product: str) -> dict[str, Ask]:
    """Return the requests that are compared."""
    numbers = itertools.count()
    run = uuid.uuid4().hex[:8].upper()

    def create(caller: Caller) -> object:
        sku = f"BENCH-{run}-{next(numbers)}"
        new = {
            "sku": sku,
            "name": "Lamp",
            "description": "A lamp of the benchmark.",
            "price": "19.90",
            "inventory_count": 5,
        }
        return caller.post(LIST, new)

    return {
        "list": lambda caller: caller.get(LIST),
        "detail": lambda caller: caller.get(f"{LIST}{product}/"),
        "create": create,
    }


def first_product(way: Way) -> str:
    """Return the id of a product, once the list has as many as it should."""
    with way.callers(1) as (caller,):
        page = caller.get(LIST)
    assert len(page["results"]) == 20, f"{way.base} lists {len(page['results'])} products and not 20"
    return str(page["results"][0]["id"])


@contextmanager
def ways(given: Catalogue) -> Iterator[dict[str, Callable[[], Way]]]:
    """Start the services that do not run yet, and give what makes each way, without figures."""
    with ExitStack() as stack:
        staff = given.services[BANDSTAND].authorization
        found = {
            GATEWAY: partial(Way, base=given.gateway, authorization=staff, pids=(given.pid, given.gateway_pid)),
            BANDSTAND: partial(Way, base=given.url, authorization=staff, pids=(given.pid,)),
        }
        for name in (PLAIN, PACKAGES):
            if service := given.services.get(name):
                url, pid = stack.enter_context(service.running())
                found[name] = partial(Way, base=url, authorization=service.authorization, pids=(pid,))
        yield found


def ratios(own: list[float], other: list[float]) -> list[float]:
    """Return the ratio of each pair of rounds."""
    return [one / two for one, two in zip(own, other, strict=True)]


def add(report: Report, action: str, found: dict[str, Way]) -> None:
    """Report one action: each way, and Bandstand's beside the others."""
    for name, way in found.items():
        row = f"service.{action}.{name}"
        to = None if name == PLAIN else (NAMES[PLAIN], found[PLAIN].latencies)
        report.add(f"{row}.latency", way.latencies, "ms", to=to, processor=statistics.median(way.processor))
        to = None if name == PLAIN else (NAMES[PLAIN], found[PLAIN].rates)
        report.add(f"{row}.rate", way.rates, "requests/s", to=to)
    compare(report, f"service.{action}.direct", found[BANDSTAND], found[PLAIN], to="plain", target=at_most(DIRECT))
    target = at_most(WITH_GATEWAY)
    compare(report, f"service.{action}.through_gateway", found[GATEWAY], found[PLAIN], to="plain", target=target)
    if PACKAGES in found:
        beside = found[PACKAGES]
        target = at_most(BESIDE_PACKAGES)
        compare(report, f"service.{action}.direct", found[BANDSTAND], beside, to="packages", target=target)


def compare(report: Report, row: str, own: Way, other: Way, *, to: str, target: Target) -> None:
    """Judge processor time and latency by those of another way."""
    unit = f"of {to}"
    report.add(f"{row}.processor.to_{to}", ratios(own.processor, other.processor), unit, target=target)
    report.add(f"{row}.latency.to_{to}", ratios(own.medians, other.medians), unit, target=target)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    rounds, requests = (2, 16) if report.quick else (10, 160)
    with catalogue(report) as given, ways(given) as makers:
        products = {name: actions(first_product(make())) for name, make in makers.items()}
        for action in ("list", "detail", "create"):
            for name, make in makers.items():
                make().round(products[name][action], 16)  # warms up
            found = {name: make() for name, make in makers.items()}
            for _ in range(rounds):
                for name, way in found.items():
                    way.round(products[name][action], requests)
            add(report, action, found)
    report.end()


if __name__ == "__main__":
    main()
