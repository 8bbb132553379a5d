"""The cost of one operation of the cache, beside raw redis-py, Django's own backend, and no cache at all.

All ways ask one Valkey over loopback, take turns in short rounds, and get a value of about 1 kB, at 1 thread. redis-py
parses with hiredis, which it recommends. django-redis and django-valkey are measured when they are installed. Processor
time is the client's. Takes about 20 s.
"""

import importlib.util
import json
import secrets
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import redis
from django.conf import settings

from bandstand.workspace.runtime.wheels import find_valkey
from report import Report, at_most, parser, reading

ROUND = 300
QUICK_ROUND = 10
BUDGET = 18.0  # seconds
LIMIT = at_most(1)  # of raw redis-py's time for the same bytes
BASE, OURS = "redis-py get, undecoded", "ResilientRedisCache get"
VALUE: dict[str, Any] = {
    "id": "0190163d-8694-739b-aea5-966c26f8ad91",
    "price": "19.90",
    "name": "A product of the catalogue",
    "description": "x" * 700,
    "tags": [f"tag-{number}" for number in range(20)],
    "inventory_count": 42,
}
TYPED = {**VALUE, "price": Decimal("19.90"), "tags": tuple(VALUE["tags"])}
PEERS = {"django-redis": "django_redis.cache.RedisCache", "django-valkey": "django_valkey.cache.ValkeyCache"}


@contextmanager
def valkey() -> Iterator[int]:
    """Run a server that keeps nothing and return its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(find_valkey()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.1).close()
                    break
                except OSError:
                    time.sleep(0.01)
            yield port
        finally:
            process.kill()
            process.wait()


def configure(port: int) -> list[str]:
    """Set Django up with all backends that are installed; return the names of the peers."""
    url = f"redis://127.0.0.1:{port}/0"
    installed = [name for name in PEERS if importlib.util.find_spec(PEERS[name].partition(".")[0])]
    settings.configure(
        SECRET_KEY=secrets.token_hex(),
        USE_TZ=True,
        BANDSTAND={"SERVICE": "benchmark"},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={
            "default": {
                "BACKEND": "bandstand.cache.ResilientRedisCache",
                "LOCATION": url,
                "KEY_PREFIX": "benchmark",
                "OPTIONS": {"timeout": 1.0},
            },
            "down": {"BACKEND": "bandstand.cache.ResilientRedisCache", "LOCATION": "redis://127.0.0.1:1/0"},
            "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url},
            **{name: {"BACKEND": PEERS[name], "LOCATION": url} for name in installed},
        },
    )
    import django

    django.setup()
    return installed


def ways(port: int, peers: list[str]) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name; the first is what all others are compared with."""
    from django.core.cache import caches

    from bandstand.cache import DistributedCache, cache_result

    raw = redis.Redis(port=port, socket_timeout=1.0)
    raw.set("raw", json.dumps(VALUE))
    found: dict[str, Callable[[], object]] = {BASE: lambda: raw.get("raw")}
    for name, alias in {"ResilientRedisCache": "default", "Django RedisCache": "django"}.items():
        cache = caches[alias]
        cache.set("key", VALUE, 600)
        found[f"{name} get"] = lambda cache=cache: cache.get("key")
        found[f"{name} set"] = lambda cache=cache: cache.set("key", VALUE, 600)
    for name in peers:
        caches[name].set("key", VALUE, 600)
        found[f"{name} get"] = lambda cache=caches[name]: cache.get("key")
    caches["default"].set("typed", TYPED, 600)
    found["ResilientRedisCache get, typed values"] = lambda: caches["default"].get("typed")
    kept = DistributedCache("benchmark")
    kept.set("key", VALUE, 600)
    kept.set("tagged", VALUE, 600, tags=["one", "two"])
    found["DistributedCache get_or_set, hit"] = lambda: kept.get_or_set("key", dict, 600)
    found["DistributedCache get_or_set, hit, 2 tags"] = lambda: kept.get_or_set(
        "tagged", dict, 600, tags=["one", "two"]
    )

    @cache_result(timeout=600)
    def product(product_id: str, currency: str = "EUR") -> dict[str, Any]:  # noqa: ARG001 - they make the key
        return VALUE

    found["cache_result, hit"] = lambda: product("42")
    down = caches["down"]
    for _ in range(10):
        down.get("key")
    found["ResilientRedisCache get, cut out"] = lambda: down.get("key")
    return found


class Rounds:
    """Microseconds of one operation in each round, and its processor time in seconds."""

    def __init__(self, way: Callable[[], object]) -> None:
        self._way = way
        self.times: list[float] = []
        self.processor: list[float] = []

    def run(self, count: int) -> None:
        """Do it that often."""
        way, begun = self._way, reading()
        for _ in range(count):
            way()
        cost = reading() - begun
        self.times.append(cost.seconds / count * 1e6)
        self.processor.append(cost.processor / count)


def measure(found: dict[str, Rounds], count: int, budget: float) -> None:
    """Measure all ways in turns for ``budget`` seconds, and at least once."""
    end = time.perf_counter() + budget
    while True:
        for rounds in found.values():
            rounds.run(count)
        if time.perf_counter() >= end:
            return


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with valkey() as port:
        peers = configure(port)
        found = {name: Rounds(way) for name, way in ways(port, peers).items()}
        measure(found, QUICK_ROUND if report.quick else ROUND, 0 if report.quick else BUDGET)
    base = found[BASE].times
    for name, rounds in found.items():
        processor = statistics.median(rounds.processor)
        beside = None if name == BASE else ("redis-py", base)
        report.add(f"cache.{name}", rounds.times, "µs", processor=processor, to=beside)
    shares = [ours / theirs for ours, theirs in zip(found[OURS].times, base, strict=True)]
    report.add(f"cache.{OURS}.share", shares, "of redis-py", target=LIMIT, note="(rounds in pairs)")
    for name in PEERS:
        if name not in peers:
            report.leave_out(f"{name}: it is not installed")
    report.end()


if __name__ == "__main__":
    main()
