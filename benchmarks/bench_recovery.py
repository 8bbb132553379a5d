"""How soon what was killed is back, or is seen to be gone, and how long protections keep others waiting.

Consul with two services (left out where it is not installed), NATS with a client, PostgreSQL with a migration that
waits for a table, and a small platform of `bandstand up`: real servers and processes, those of the tests. Measured is
the time from the kill, the return or the command until the state is seen, for which it looks every 20 ms. The tests
hold that each of these comes to pass, however slow the machine; here is how fast. Takes about eight minutes.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from report import Report, at_most, parser

sys.path.insert(0, str(Path(__file__).parents[1]))

from bandstand.discovery.backends.consul import ConsulRegistry
from bandstand.events.brokers import BrokerOptions
from bandstand.events.brokers.nats import NatsBroker
from bandstand.testing import EphemeralPostgres
from tests.integration.discovery.processes import manage, running
from tests.integration.migrating.conftest import StockService
from tests.integration.optional.servers import consul
from tests.integration.runtime.shop import Platform, eventually, write
from tests.integration.servers import Nats
from tests.ports import guarded_port
from tests.programs import find_program
from tests.waiting import GUARD, until

ROUNDS = 5
LIMITS = {
    "user-service-web": 2.0,
    "user-service-worker": 2.0,
    "gateway": 2.0,
    "redis": 8.0,
    "nats": 8.0,
    "postgres": 8.0,
}
CALM = 10.5  # seconds, after which the next death of a process counts as its first
LOCK_TIMEOUT = 0.3
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%'"


def seconds(condition: Callable[[], Any]) -> float:
    """Return how long it takes until ``condition`` holds."""
    begun = time.perf_counter()
    until(condition, "what is measured")
    return time.perf_counter() - begun


def routed_out(rounds: int) -> list[float]:
    """An instance is killed: until nobody is sent to it any more."""
    found = []
    with tempfile.TemporaryDirectory() as name, consul(Path(name)) as agent:
        folder, registry = Path(name), ConsulRegistry(agent.url.replace("http", "consul"))
        manage(None, folder, "migrate")
        for _ in range(rounds):
            with running("granian", agent, folder) as one, running("granian", agent, folder):
                until(lambda: len(registry.instances("user-service")) == 2, "both instances")
                one.kill()
                found.append(seconds(lambda: len(registry.instances("user-service")) == 1))
        registry.close()
    return found


def broker_found(rounds: int) -> list[float]:
    """NATS was killed and is up again: until the same broker is connected."""
    found, server = [], Nats()
    broker = NatsBroker(server.url(), BrokerOptions(platform="bench", service="order-service"))
    with contextlib.closing(server), contextlib.closing(broker):
        server.start()
        server.declare("bench", "order-service")
        broker.open(lambda: None)
        for _ in range(rounds):
            until(lambda: broker.connected, "a connection")
            server.kill()
            until(lambda: not broker.connected, "its loss")
            server.start()
            found.append(seconds(lambda: broker.connected))
    return found


def migrations(report: Report, rounds: int) -> None:
    """What `migrate` costs with nothing to do, and how long readers wait for one that waits for a table."""
    with tempfile.TemporaryDirectory() as name, EphemeralPostgres() as server:
        service = StockService(Path(name), server, nap=0.0)
        third = Path(name) / "stock" / "migrations" / "0003_third.py"
        content = third.read_text()
        third.unlink()
        service.race(1)
        [plain], [guarded] = (service.race(1, kind, times=2 * rounds + 1) for kind in ("plain", "guarded"))
        added = [one - two for one, two in zip(guarded["seconds"], plain["seconds"], strict=True)]
        report.add("migrate.nothing_to_do", added, "s more", target=at_most(0.2), note="than Django's own command")
        third.write_text(content)
        report.add("migrate.longest_read", longest_read(service), "s", target=at_most(5.0))


def longest_read(service: StockService) -> float:
    """The longest that a reader waits while a transaction holds the table, for three waits of the migration."""
    stop, reads = threading.Event(), [0.0]

    def read() -> None:
        with service.connect() as reader:
            while not stop.wait(0.005):
                begun = time.perf_counter()
                reader.execute("SELECT count(*) FROM stock_item")
                reads.append(time.perf_counter() - begun)

    reader = threading.Thread(target=read)
    with service.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT * FROM stock_item")
        reader.start()
        with service.begin("--lock-timeout", str(LOCK_TIMEOUT)) as migrator:
            for _ in range(3):
                until(lambda: service.ask(WAITING), "the migration to wait")
                until(lambda: not service.ask(WAITING), "the migration to step back")
            holder.execute("COMMIT")
            migrator.communicate(timeout=GUARD)
    stop.set()
    reader.join()
    return max(reads)


def platform(report: Report, rounds: int) -> None:
    """What the runner starts anew, and what is left of a platform whose runner is killed."""
    folder = Path(tempfile.mkdtemp())
    write(folder, port=guarded_port())
    tiny = Platform(folder)
    try:
        tiny.up()
        for name, limit in LIMITS.items():
            calm = 0.0 if report.quick else CALM
            report.add(f"recovery.{name}", [back(tiny, name, calm) for _ in range(rounds)], "s", target=at_most(limit))
        os.kill(tiny.state["pid"], signal.SIGKILL)
        gone = seconds(lambda: not tiny.left() and not tiny.listening())
        report.add("recovery.nothing_left", gone, "s", target=at_most(8.0), note="after kill -9 of the runner")
    finally:
        tiny.run("down")
        for process in tiny.left():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def back(tiny: Platform, name: str, calm: float) -> float:
    """Kill a process that was ready for ``calm`` seconds, and return the seconds until another one is ready."""
    eventually(lambda: tiny.process(name)["state"] == "ready")
    time.sleep(calm)
    pid = tiny.pid(name)
    psutil.Process(pid).kill()
    return seconds(lambda: (row := tiny.process(name))["state"] == "ready" and row["pid"] != pid)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    rounds = 1 if report.quick else ROUNDS
    if find_program("consul"):
        report.add("recovery.routed_out", routed_out(rounds), "s", target=at_most(15.0))
    else:
        report.leave_out("an instance that is killed: Consul is not installed")
    report.add("recovery.broker", broker_found(rounds), "s", target=at_most(3.0))
    migrations(report, rounds)
    platform(report, rounds)
    report.end()


if __name__ == "__main__":
    main()
