"""How fast callers, pools and caches are while what they depend on is slow, silent, killed or away.

The faults are those of the tests in tests/integration, on the same servers. Those tests hold outcomes, order and
counts; here are the times: the p99 of callers and of routes that ask nobody (F14), of refusals while a circuit is open,
the time until a service is found again (F15), the end of calls to a black hole (F17), failed reads when an instance is
killed (F26), waits for a database connection (F19, F21), operations on a cache that hangs (F23), and the time until
the lease of a killed holder is free (F25). Takes about 90 s.
"""

import argparse
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from report import Report, at_least, at_most, parser

sys.path.insert(0, str(Path(__file__).parents[1]))

import django
from django.conf import settings

settings.configure(BANDSTAND={"SERVICE": "bench"}, USE_TZ=True, DATABASES={})
django.setup()

import psycopg  # noqa: E402 - Django must be set up first
from django.db import OperationalError  # noqa: E402
from django.db.utils import ConnectionHandler  # noqa: E402

from bandstand.cache.client import ResilientClient  # noqa: E402
from bandstand.cache.leases import LEASE  # noqa: E402
from bandstand.client import ServiceClient  # noqa: E402
from bandstand.context import bind, new_context  # noqa: E402
from bandstand.discovery import MemoryRegistry, use_registry  # noqa: E402
from bandstand.exceptions import BandstandError, DeadlineExceeded  # noqa: E402
from bandstand.testing import Fault, FaultProxy  # noqa: E402
from tests.integration.cache.server import Valkey, black_hole  # noqa: E402
from tests.integration.client.servers import BlackHole  # noqa: E402
from tests.integration.postgresql.server import RestartablePostgres  # noqa: E402
from tests.integration.resilience.nodes import Answer, Node, drive, in_background, kill  # noqa: E402

SLOW = Fault(latency=5.0)
SILENT = Fault(black_hole=True)


def percentile(answers: list[Answer], share: float) -> float:
    """Return the seconds within which that share of the answers was made."""
    times = sorted(answer.took for answer in answers)
    return times[min(len(times) - 1, int(len(times) * share))]


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds until ``work`` had ended, or failed as it may in an outage."""
    began = time.monotonic()
    with suppress(OperationalError, BandstandError):
        work()
    return time.monotonic() - began


def traffic(caller: Node, seconds: float) -> tuple[list[Answer], list[Answer]]:
    """Let one client ask for what the caller answers by itself, and four for what it has to ask another for."""
    end = time.monotonic() + seconds

    def over() -> bool:
        return time.monotonic() > end

    with in_background(lambda: drive(caller, "/task/", clients=4, until=over, pause=0.02)) as asked:
        own = drive(caller, "/own/", clients=1, until=over, pause=0.002)
    return own, asked


def slow_dependency(report: Report, folder: Path, seconds: float) -> None:
    """F14: a dependency that is five seconds slow, beside a caller of the same service that asks it directly."""
    with ExitStack() as stack:
        callee = stack.enter_context(Node(folder, "callee"))
        proxy = stack.enter_context(FaultProxy(port=callee.port))
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[proxy.url]))
        other = stack.enter_context(Node(folder, "other", asks="callee", at=[callee.url]))
        for node in (caller, other):
            drive(node, "/task/", clients=1, count=5)
        proxy.fault = SLOW
        began = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            (own, asked), (usual, _) = threads.map(lambda node: traffic(node, seconds), (caller, other))
    report.add("faults.slow.caller_p99", percentile(asked, 0.99), "s", target=at_most(1.1))
    refused = [answer.at - began for answer in asked if answer.code == "circuit_open"]
    if refused:
        report.add("faults.slow.circuit_open_after", min(refused), "s", target=at_most(10))
    else:
        report.leave_out(f"the circuit to the slow service was not open within {seconds:g} s")
    normal = percentile(usual, 0.99) * 1000
    target, beside = at_most(1.5 * normal), ("that of the other caller", normal)
    report.add("faults.slow.other_routes_p99", percentile(own, 0.99) * 1000, "ms", target=target, to=beside)


def away_and_back(report: Report, folder: Path, seconds: float) -> None:
    """F15: a dependency that swallows everything, and comes back."""
    with ExitStack() as stack:
        callee = stack.enter_context(Node(folder, "callee"))
        proxy = stack.enter_context(FaultProxy(port=callee.port))
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[proxy.url]))
        drive(caller, "/task/", clients=1, count=5)
        proxy.fault = SILENT
        drive(caller, "/task/", clients=8, count=40)
        accepted, end = proxy.accepted, time.monotonic() + seconds
        answers = drive(caller, "/task/", clients=2, until=lambda: time.monotonic() > end, pause=0.01)
        probes = proxy.accepted - accepted
        proxy.heal()
        began = time.monotonic()
        while drive(caller, "/task/", clients=1, count=1)[0].status != 200:
            time.sleep(0.05)
        back = time.monotonic() - began
        after = drive(caller, "/task/", clients=2, count=200)
    refused = [answer for answer in answers if answer.code == "circuit_open"]
    report.add("faults.away.refused", 100 * len(refused) / len(answers), "%", target=at_least(90))
    report.add("faults.away.refusal_p99", percentile(refused, 0.99) * 1000, "ms", target=at_most(20))
    report.add("faults.away.probes", probes, "", target=at_most(seconds / 5 + 2))
    report.add("faults.back.found_after", back, "s", target=at_most(15))
    good = sum(answer.status == 200 for answer in after)
    report.add("faults.back.answered", 100 * good / len(after), "%", target=at_least(99))


def killed_instance(report: Report, folder: Path, seconds: float) -> None:
    """F26: one of two instances gets SIGKILL under load."""
    with ExitStack() as stack:
        callees = [stack.enter_context(Node(folder, f"callee-{number}")) for number in (1, 2)]
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[callee.url for callee in callees]))
        over = threading.Event()
        with in_background(lambda: drive(caller, "/task/", clients=4, until=over.is_set)) as reads:
            time.sleep(seconds / 4)
            at = time.monotonic()
            kill(callees[0])
            time.sleep(max(3.0, seconds / 2))
            over.set()
    first = [answer.status != 200 for answer in reads if at <= answer.at < at + 1]
    later = [answer.status != 200 for answer in reads if answer.at >= at + 2]
    report.add("faults.killed.failed_in_the_first_second", 100 * sum(first) / len(first), "%", target=at_most(0.5))
    report.add("faults.killed.failed_after_two_seconds", sum(later), "", target=at_most(0))


def black_holes(report: Report, rounds: int) -> None:
    """F17: a call to an address where nobody takes the connection ends with its time."""
    with BlackHole() as hole, use_registry(MemoryRegistry({"user-service": [hole.url]})):
        client = ServiceClient("user-service")
        late = []
        for _ in range(rounds):
            with bind(new_context(timeout=0.4)):
                late.append(timed(lambda: client.get("/x/")) * 1000 - 400)
    report.add("faults.black_hole.late", max(late), "ms", target=at_most(100), note="the latest of all")


def handler(postgres: RestartablePostgres, **pool: Any) -> ConnectionHandler:
    """Return connections that share one pool."""
    place = {"HOST": "127.0.0.1", "PORT": postgres.port, "NAME": "postgres", "USER": "postgres"}
    options = {"pool": {"min_size": 4, "max_size": 4, "timeout": 5, **pool}, "connect_timeout": 3}
    engine = {"ENGINE": "bandstand.postgresql", "PASSWORD": postgres.password}
    return ConnectionHandler({"default": {**engine, **place, "OPTIONS": options}})


def ask(connections: ConnectionHandler, sql: str = "SELECT 1") -> None:
    """Take a connection, ask, and give it back."""
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def filled(connections: ConnectionHandler) -> ConnectionHandler:
    """Let the pool have all its connections idle."""
    pool = connections["default"].pool
    pool.open()
    pool.wait()
    return connections


def side_by_side(connections: ConnectionHandler, count: int) -> list[float]:
    """Return the seconds of so many requests, eight at a time."""
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda _: timed(lambda: ask(connections)), range(count)))


def databases(report: Report) -> None:
    """F19, F21 and F22: the longest wait for a connection, and how late a statement ends."""
    with RestartablePostgres() as postgres, ExitStack() as stack:

        def connections(**pool: Any) -> ConnectionHandler:
            made = filled(handler(postgres, **pool))
            stack.callback(made["default"].close_pool)
            return made

        restarted = connections()
        postgres.kill()
        postgres.start()
        report.add("faults.database.wait_after_restart", max(side_by_side(restarted, 40)), "s", target=at_most(0.5))
        away = connections()
        postgres.kill()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            timed(lambda: ask(away))
        report.add("faults.database.wait_while_away", max(side_by_side(away, 32)), "s", target=at_most(0.5))
        time.sleep(4)  # long enough for doubling pauses to pass any second
        postgres.start()
        report.add("faults.database.back_after", until_it_works(away), "s", target=at_most(1))
        hanging = connections()
        with postgres.stopped():
            report.add("faults.database.wait_while_it_hangs", timed(lambda: ask(hanging)), "s", target=at_most(6))
        until_it_works(hanging)
        crowded = handler(postgres, min_size=1, max_size=2)
        stack.callback(crowded["default"].close_pool)
        with ExitStack() as hogs:
            with suppress(psycopg.OperationalError):
                while True:
                    hogs.enter_context(psycopg.connect(postgres.url))
            waits = [timed(lambda: ask(crowded)) for _ in range(5)]
        report.add("faults.database.wait_with_too_many_clients", max(waits), "s", target=at_most(1.2))
        late_statements(report, connections(), postgres)


def late_statements(report: Report, connections: ConnectionHandler, postgres: RestartablePostgres) -> None:
    """Measure how long after their deadline statements end, on a server that works and on one that hangs."""

    def late(seconds: float = 0.3) -> float:
        began = time.monotonic()
        with suppress(DeadlineExceeded), bind(new_context(timeout=seconds)):
            ask(connections, "SELECT pg_sleep(20)")
        return time.monotonic() - began - seconds

    ask(connections)
    report.add("faults.database.statement_late", [late() * 1000 for _ in range(5)], "ms", target=at_most(100))
    connections["default"].ensure_connection()
    with postgres.stopped():
        report.add("faults.database.statement_late_when_it_hangs", late(), "s", target=at_most(1.5))


def until_it_works(connections: ConnectionHandler) -> float:
    """Return the seconds until a request succeeds."""
    began = time.monotonic()
    while True:
        try:
            ask(connections)
        except OperationalError:
            time.sleep(0.01)
        else:
            return time.monotonic() - began


def caches(report: Report, rounds: int) -> None:
    """F23 and F25: a Redis that hangs, one that is cut out, and a holder of a lease that is gone."""
    with black_hole() as port:
        client = ResilientClient([f"redis://127.0.0.1:{port}/0"])
        waits = []
        while client.is_available:
            waits.append(timed(lambda: client.get("k", None)) * 1000)
        report.add("faults.cache.wait_while_it_hangs", max(waits), "ms", target=at_most(65), note="50 ms and overhead")
        spent = timed(lambda: [client.get("k", None) for _ in range(rounds)])
    report.add("faults.cache.cut_out", spent / rounds * 1e6, "µs", target=at_most(50))
    valkey = Valkey()
    try:
        valkey.start()
        client = ResilientClient([valkey.url()], timeout=5.0)
        key = "user-service:lease"
        assert client.acquire(key, "of a process that is killed", LEASE)
        began = time.monotonic()
        while not client.acquire(key, "ours", LEASE):
            time.sleep(0.01)
        report.add("faults.cache.lease_of_a_killed_holder", time.monotonic() - began, "s", target=at_most(2))
    finally:
        valkey.close()


def options() -> argparse.Namespace:
    """Read the options."""
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=8.0, help="how long services are slow or away")
    return made.parse_args()


def main() -> None:
    """Inject each fault, and judge the times."""
    given = options()
    logging.disable(logging.WARNING)  # every fault is told
    report = Report(given)
    seconds, rounds = (2.0, 2) if given.quick else (given.seconds, 10)
    for measure in (slow_dependency, away_and_back, killed_instance):
        with tempfile.TemporaryDirectory() as folder:
            measure(report, Path(folder), seconds)
    black_holes(report, rounds)
    databases(report)
    caches(report, 100 * rounds)
    report.end()


if __name__ == "__main__":
    main()
